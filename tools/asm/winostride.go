package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The points of the transforms of stride 2: ±sa, ±sb and infinity.
const (
	sa  = 1. / 2
	sb  = 5. / 4
	nsa = 1 / (2 * sa * (sa*sa - sb*sb))
	nsb = 1 / (2 * sb * (sb*sb - sa*sa))
)

// A phaseLine is a product of a matrix with one vector, of in numbers; how many
// of both sides there are says whether infinity is among the points.
type phaseLine struct {
	in, out int
	// write writes the product with x, using temporaries t and the constants c,
	// and returns the registers that hold it.
	write func(g *gen, x, t, c []reg.Physical) []reg.Physical
}

// phaseTransform is a transform of stride 2: a line for columns and then one for
// rows, of two kinds, without infinity and with it.
type phaseTransform struct {
	name          string
	from, to      square
	more          bool // may add something, or store past the caches
	consts        []float64
	temps         int
	without, with phaseLine
}

// square is where the numbers of a side lie: by pointers, grid to a row, or
// down and across steps apart.
type square struct {
	name         string
	ptr          bool
	grid         int
	down, across int
}

// phaseNames are the functions' suffixes, by the numbers down and across of a
// phase's pixels that count: 4, or 5 where infinity is among the points.
var phaseNames = []struct {
	suffix       string
	down, across bool
}{{"45", false, true}, {"55", true, true}, {"54", true, false}, {"44", false, false}}

var phaseTransforms = []phaseTransform{
	{name: "strideIn", from: square{name: "x", ptr: true, grid: 5}, to: square{name: "v", down: 5, across: 1}, temps: 2,
		consts:  []float64{sa, sb, sa * sa, sb * sb, sa*sa + sb*sb, sa * sa * sb * sb},
		without: phaseLine{4, 4, strideBT}, with: phaseLine{5, 5, strideBT}},
	{name: "strideOut", from: square{name: "m", down: 5, across: 1}, to: square{name: "y", ptr: true, grid: 4}, more: true, temps: 2,
		consts:  []float64{sa, sb, sa * sa, sb * sb, sa * sa * sa, sb * sb * sb},
		without: phaseLine{4, 4, strideAT}, with: phaseLine{5, 4, strideAT}},
	{name: "strideKernel", from: square{name: "w", down: 6, across: 2}, to: square{name: "u", down: 5, across: 1}, temps: 4,
		consts:  []float64{nsa, nsb, nsa * sa, nsb * sb},
		without: phaseLine{1, 4, strideG}, with: phaseLine{2, 5, strideG}},
	{name: "strideGrad", from: square{name: "dy", ptr: true, grid: 4}, to: square{name: "v", down: 5, across: 1}, temps: 3,
		consts: []float64{sa, sb, sa * sa, sb * sb},
		with:   phaseLine{4, 5, strideA}},
	{name: "strideKernelGrad", from: square{name: "m", down: 5, across: 1}, to: square{name: "dw", down: 6, across: 2}, temps: 2,
		consts:  []float64{nsa, nsb, nsa * sa, nsb * sb},
		without: phaseLine{4, 1, strideGT}, with: phaseLine{5, 2, strideGT}},
}

func strideBT(g *gen, d, t, c []reg.Physical) []reg.Physical {
	a, b, a2, b2, s, ab2 := c[0], c[1], c[2], c[3], c[4], c[5]
	g.VMOVAPS(d[2], t[0])
	g.VMOVAPS(d[3], t[1])
	g.VFNMADD231PS(b2, d[0], t[0])
	g.VFNMADD231PS(b2, d[1], t[1])
	if len(d) == 5 {
		g.VFNMADD231PS(s, d[2], d[4])
		g.VFMADD231PS(ab2, d[0], d[4])
	}
	g.VFNMADD231PS(a2, d[0], d[2])
	g.VFNMADD231PS(a2, d[1], d[3])
	g.VMOVAPS(t[0], d[0])
	g.VMOVAPS(d[2], d[1])
	g.VFMADD213PS(t[1], a, d[0])
	g.VFMSUB213PS(t[1], a, t[0])
	g.VFMADD213PS(d[3], b, d[1])
	g.VFMSUB213PS(d[3], b, d[2])
	return append([]reg.Physical{d[0], t[0], d[1], d[2]}, d[4:]...)
}

func strideAT(g *gen, m, t, c []reg.Physical) []reg.Physical {
	g.VADDPS(m[1], m[0], t[0])
	g.VADDPS(m[3], m[2], t[1])
	g.VSUBPS(m[1], m[0], m[0])
	g.VSUBPS(m[3], m[2], m[2])
	g.VADDPS(t[0], t[1], m[1])
	g.VMULPS(c[2], t[0], t[0])
	g.VMULPS(c[0], m[0], m[3])
	g.VFMADD231PS(c[3], t[1], t[0])
	g.VFMADD231PS(c[1], m[2], m[3])
	last := m[0]
	if len(m) == 5 {
		last = m[4]
		g.VFMADD231PS(c[4], m[0], last)
	} else {
		g.VMULPS(c[4], m[0], last)
	}
	g.VFMADD231PS(c[5], m[2], last)
	return []reg.Physical{m[1], m[3], t[0], last}
}

func strideG(g *gen, w, t, c []reg.Physical) []reg.Physical {
	g.VMULPS(c[0], w[0], t[0])
	g.VMULPS(c[1], w[0], t[1])
	if len(w) == 1 { // each point's is its opposite's
		return []reg.Physical{t[0], t[0], t[1], t[1]}
	}
	g.plusMinus(c[2], t[0], w[1], t[2])
	g.plusMinus(c[3], t[1], w[1], t[3])
	return []reg.Physical{t[2], t[0], t[3], t[1], w[1]}
}

func strideA(g *gen, y, t, c []reg.Physical) []reg.Physical {
	g.VMOVAPS(y[0], t[0])
	g.VMOVAPS(y[1], t[1])
	g.VFMADD231PS(c[2], y[2], t[0])
	g.VFMADD231PS(c[2], y[3], t[1])
	g.VFMADD231PS(c[3], y[2], y[0])
	g.VFMADD231PS(c[3], y[3], y[1])
	g.plusMinus(c[0], t[0], t[1], t[2])
	g.plusMinus(c[1], y[0], y[1], y[2])
	return []reg.Physical{t[2], t[0], y[2], y[0], y[3]}
}

func strideGT(g *gen, m, t, c []reg.Physical) []reg.Physical {
	g.VADDPS(m[1], m[0], t[0])
	g.VADDPS(m[3], m[2], t[1])
	g.VMULPS(c[0], t[0], t[0])
	g.VFMADD231PS(c[1], t[1], t[0])
	if len(m) == 4 {
		return []reg.Physical{t[0]}
	}
	g.VSUBPS(m[1], m[0], m[0])
	g.VSUBPS(m[3], m[2], m[2])
	g.VFMADD231PS(c[2], m[0], m[4])
	g.VFMADD231PS(c[3], m[2], m[4])
	return []reg.Physical{t[0], m[4]}
}

func winostride(g *gen, v *isa) {
	table := map[float64]int{}
	g.StaticGlobal("winostride")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, k := range phaseTransforms {
		for _, c := range k.consts {
			if _, ok := table[c]; !ok {
				table[c] = 4 * len(table)
				g.AddDatum(table[c], operand.U32(math.Float32bits(float32(c))))
			}
		}
	}
	for _, k := range phaseTransforms {
		for _, p := range phaseNames {
			pick := func(with bool) phaseLine {
				if with {
					return k.with
				}
				return k.without
			}
			if down, across := pick(p.down), pick(p.across); down.in > 0 && across.in > 0 {
				g.phase(v, k, k.name+p.suffix, down, across, table)
			}
		}
	}
}

// phase writes one of phaseTransforms: a loop over vectors of channels, in it
// products with the columns, which go to the stack, then with the rows of that.
func (g *gen) phase(v *isa, k phaseTransform, name string, down, across phaseLine, table map[float64]int) {
	side := func(s square) string {
		if s.ptr {
			return fmt.Sprintf("%s *[%d]*float32", s.name, s.grid*s.grid)
		}
		return fmt.Sprintf("%s *float32, %sStep int", s.name, s.name)
	}
	more := ""
	if k.more {
		more = fmt.Sprintf(", add *[%d]*float32, stream bool", k.to.grid*k.to.grid)
	}
	g.begin(name+v.suffix, fmt.Sprintf("func(%s, %s, c int%s)", side(k.to), side(k.from), more),
		"is defined by ["+k.name+"Plain].")
	g.Attributes(0) // the frame is too large for NOSPLIT

	consts := v.regs[len(v.regs)-len(k.consts):]
	constants := g.GP64()
	g.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("winostride"), 0), constants)
	for i, c := range k.consts {
		g.VBROADCASTSS(at(constants, nil, 0, table[c]), consts[i])
	}
	tmp := g.GP64()
	g.LEAQ(g.AllocLocal(down.out*across.in*v.bytes+v.bytes), tmp)
	g.ADDQ(operand.U8(v.bytes-1), tmp)
	g.ANDQ(operand.I8(-v.bytes), tmp)
	// What lies steps apart is read by columns and written by rows.
	from := g.line(k.from, k.from.down, down.in, k.from.across)
	to := g.line(k.to, k.to.across, across.out, k.to.down)
	count := g.Load(g.Param("c"), g.GP64())
	index := g.GP64()
	g.XORQ(index, index)
	t := v.regs[5 : 5+k.temps]

	body := func(add *linePlaces, store func(r, m operand.Op)) {
		loop := g.label("channels")
		g.Label(loop)
		from.begin(index)
		for j := range across.in {
			x := v.regs[:down.in]
			for i := range x {
				g.VMOVUPS(from.at(i*k.from.grid+j, i, index), x[i])
			}
			if j < across.in-1 {
				from.advance()
			}
			for i, r := range down.write(g, x, t, consts) {
				g.VMOVAPS(r, at(tmp, nil, 0, (i*across.in+j)*v.bytes))
			}
		}
		to.begin(index)
		for i := range down.out {
			x := v.regs[:across.in]
			for j := range x {
				g.VMOVAPS(at(tmp, nil, 0, (i*across.in+j)*v.bytes), x[j])
			}
			for j, r := range across.write(g, x, t, consts) {
				if add != nil {
					g.VADDPS(add.at(i*k.to.grid+j, j, index), r, r)
				}
				store(r, to.at(i*k.to.grid+j, j, index))
			}
			if i < down.out-1 {
				to.advance()
			}
		}
		g.ADDQ(operand.U8(v.bytes), index)
		g.SUBQ(operand.U8(v.lanes), count)
		g.JGT(operand.LabelRef(loop))
		g.VZEROUPPER()
		g.RET()
	}
	usual := func(r, m operand.Op) { g.VMOVUPS(r, m) }
	if !k.more {
		body(nil, usual)
		return
	}
	add := &linePlaces{gen: g, square: square{ptr: true}, base: g.Load(g.Param("add"), g.GP64())}
	g.TESTQ(add.base, add.base)
	g.JNE(operand.LabelRef("add"))
	if v == avx512 { // half a line at a time is slower than through the caches
		flag := g.Load(g.Param("stream"), g.GP8())
		g.TESTB(flag, flag)
		g.JNE(operand.LabelRef("stream"))
	}
	body(nil, usual)
	g.Label("add")
	body(add, usual)
	if v == avx512 {
		g.Label("stream")
		body(nil, func(r, m operand.Op) { g.VMOVNTPS(r, m) })
	}
}

// linePlaces are where the numbers of a line lie, and of the lines after it.
type linePlaces struct {
	*gen
	square
	base      reg.Register
	cursor    reg.Register         // the line's first number
	multiples map[int]reg.Register // of the distance in the line, in bytes
	next      reg.Register         // the bytes to the next line
}

// line are those of a parameter whose lines are n numbers that lie each steps
// apart, the lines themselves next steps.
func (g *gen) line(s square, each, n, next int) *linePlaces {
	p := &linePlaces{gen: g, square: s, base: g.Load(g.Param(s.name), g.GP64()), multiples: map[int]reg.Register{}}
	if s.ptr {
		return p
	}
	step := g.Load(g.Param(s.name+"Step"), g.GP64())
	g.SHLQ(operand.U8(2), step)
	times := func(k int) reg.Register {
		if k == 1 {
			return step
		}
		r := g.GP64()
		g.IMUL3Q(operand.U8(k), step, r)
		return r
	}
	if n > 1 {
		p.multiples[1] = times(each)
	}
	if n > 3 {
		p.multiples[3] = times(3 * each)
	}
	p.next = times(next)
	p.cursor = g.GP64()
	return p
}

func (p *linePlaces) begin(index reg.Register) {
	if !p.ptr {
		p.LEAQ(at(p.base, index, 1, 0), p.cursor)
	}
}

func (p *linePlaces) advance() {
	if !p.ptr {
		p.ADDQ(p.next, p.cursor)
	}
}

// at is number n, which is number i of its line.
func (p *linePlaces) at(n, i int, index reg.Register) operand.Mem {
	switch {
	case p.ptr:
		r := p.GP64()
		p.MOVQ(at(p.base, nil, 0, 8*n), r)
		return at(r, index, 1, 0)
	case i == 0:
		return at(p.cursor, nil, 0, 0)
	case i == 3:
		return at(p.cursor, p.multiples[3], 1, 0)
	}
	return at(p.cursor, p.multiples[1], uint8(i), 0)
}
