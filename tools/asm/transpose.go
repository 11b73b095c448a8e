package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose writes the transposition of a matrix, in squares of a vector's
// lanes; the last columns may be fewer.
func transpose(g *gen, v *isa) {
	if v == avx2 {
		tailTable(g)
	}
	g.begin("transpose"+v.suffix, "func(dst *float32, dstStep int, src *float32, srcStep int, rows, cols int)", "is defined by [transposePlain].")
	dst := g.Load(g.Param("dst"), g.GP64())
	src := g.Load(g.Param("src"), g.GP64())
	dstStep := g.Load(g.Param("dstStep"), g.GP64())
	srcStep := g.Load(g.Param("srcStep"), g.GP64())
	rows := g.Load(g.Param("rows"), g.GP64())
	g.SHLQ(operand.U8(2), dstStep)
	g.SHLQ(operand.U8(2), srcStep)

	from, to, row, cols := g.GP64(), g.GP64(), g.GP64(), g.GP64()
	g.Label("rows")
	g.MOVQ(src, from)
	g.MOVQ(dst, to)
	g.Load(g.Param("cols"), cols)
	g.CMPQ(cols, operand.U8(v.lanes))
	g.JLT(operand.LabelRef("rest"))

	g.Label("cols")
	g.MOVQ(from, row)
	for i := range v.lanes {
		g.VMOVUPS(at(row, nil, 0, 0), v.regs[i])
		if i < v.lanes-1 {
			g.ADDQ(srcStep, row)
		}
	}
	for _, r := range g.transposed(v) {
		g.VMOVUPS(r, at(to, nil, 0, 0))
		g.ADDQ(dstStep, to)
	}
	g.ADDQ(operand.U8(v.bytes), from)
	g.SUBQ(operand.U8(v.lanes), cols)
	g.CMPQ(cols, operand.U8(v.lanes))
	g.JGE(operand.LabelRef("cols"))

	g.Label("rest")
	g.TESTQ(cols, cols)
	g.JLE(operand.LabelRef("next"))
	mask := g.tailMask(v, cols)
	g.MOVQ(from, row)
	for i := range v.lanes {
		if v == avx2 {
			g.VMASKMOVPS(at(row, nil, 0, 0), mask, v.regs[i])
		} else {
			g.VMOVUPS_Z(at(row, nil, 0, 0), mask, v.regs[i])
		}
		if i < v.lanes-1 {
			g.ADDQ(srcStep, row)
		}
	}
	for i, r := range g.transposed(v) {
		g.VMOVUPS(r, at(to, nil, 0, 0))
		if i == v.lanes-2 { // there are no more
			break
		}
		g.DECQ(cols)
		g.JEQ(operand.LabelRef("next"))
		g.ADDQ(dstStep, to)
	}

	g.Label("next")
	g.ADDQ(operand.U8(v.bytes), dst)
	for range v.lanes {
		g.ADDQ(srcStep, src)
	}
	g.SUBQ(operand.U8(v.lanes), rows)
	g.JGT(operand.LabelRef("rows"))
	g.VZEROUPPER()
	g.RET()
}

// transposed transposes the square in the first registers, a row each, using
// as many more, and returns those that hold the columns.
func (g *gen) transposed(v *isa) []reg.Physical {
	a, b := v.regs[:v.lanes], v.regs[v.lanes:2*v.lanes]
	for i := 0; i < v.lanes; i += 2 { // pairs of rows
		g.VUNPCKLPS(a[i+1], a[i], b[i])
		g.VUNPCKHPS(a[i+1], a[i], b[i+1])
	}
	for i := 0; i < v.lanes; i += 4 { // four rows: a[i+j] has columns j, 4+j, …
		g.VUNPCKLPD(b[i+2], b[i], a[i])
		g.VUNPCKHPD(b[i+2], b[i], a[i+1])
		g.VUNPCKLPD(b[i+3], b[i+1], a[i+2])
		g.VUNPCKHPD(b[i+3], b[i+1], a[i+3])
	}
	if v == avx2 {
		for j := range 4 {
			g.VPERM2F128(operand.U8(0x20), a[4+j], a[j], b[j])
			g.VPERM2F128(operand.U8(0x31), a[4+j], a[j], b[4+j])
		}
		return b
	}
	for j := range 4 {
		const even, odd = 0x88, 0xdd // quarters 0 and 2, or 1 and 3, of both
		g.VSHUFF32X4(operand.U8(even), a[4+j], a[j], b[j])
		g.VSHUFF32X4(operand.U8(odd), a[4+j], a[j], b[4+j])
		g.VSHUFF32X4(operand.U8(even), a[12+j], a[8+j], b[8+j])
		g.VSHUFF32X4(operand.U8(odd), a[12+j], a[8+j], b[12+j])
		g.VSHUFF32X4(operand.U8(even), b[8+j], b[j], a[j])
		g.VSHUFF32X4(operand.U8(odd), b[8+j], b[j], a[8+j])
		g.VSHUFF32X4(operand.U8(even), b[12+j], b[4+j], a[4+j])
		g.VSHUFF32X4(operand.U8(odd), b[12+j], b[4+j], a[12+j])
	}
	return a
}
