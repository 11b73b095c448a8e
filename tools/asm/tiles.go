package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile is a matrix product kernel: mr rows by cols vectors of accumulators.
type tile struct {
	v        *isa
	mr, cols int
	// embed multiplies by an element of A straight from memory (EVEX
	// embedded broadcast), which saves an instruction when every element is
	// used once.
	embed bool
	// ahead is how many bytes further B is prefetched where it may come from
	// past the caches; what is touched may not be there.
	ahead int
}

func tilesAVX512(g *gen) {
	tileKernel(g, tile{v: avx512, mr: 14, cols: 2, ahead: 2048})
	tileKernel(g, tile{v: avx512, mr: 14, cols: 1, embed: true})
	tileKernel(g, tile{v: vl, mr: 14, cols: 1, embed: true})
	peak(g, avx512, 24)
}

func tilesAVX2(g *gen) {
	tileKernel(g, tile{v: avx2, mr: 6, cols: 2})
	tileKernel(g, tile{v: avx2, mr: 12, cols: 1})
	peak(g, avx2, 12)
}

// tileKernel writes one tile kernel: a body for every number of rows, and a
// chain of comparisons before them. What changes from tile to tile is kept in the
// arguments' memory, as no register is left.
//
// One pointer walks down A, a step of depth at a time. Index registers with
// 1, 3, 5, … 13 times the row stride, scaled by 1, 2, 4 or 8, reach its rows.
func tileKernel(g *gen, t tile) {
	name := fmt.Sprintf("tile%dx%d%s", t.mr, t.cols*t.v.lanes, t.v.suffix)
	g.begin(name, "func(tiles, rows, depth int, a *float32, ars, ads int, b *float32, ldb int, c *float32, ldc int, add *float32, ldd int, cold bool, next *float32, step, dense int)",
		"is [Tile].Run; [tile4x8] is its definition.")

	ads := g.Load(g.Param("ads"), g.GP64())
	ldb := g.Load(g.Param("ldb"), g.GP64())
	rows := g.Load(g.Param("rows"), g.GP64())
	index := map[int]reg.Register{1: g.Load(g.Param("ars"), g.GP64())}
	g.SHLQ(operand.U8(2), ads)
	g.SHLQ(operand.U8(2), ldb)
	g.SHLQ(operand.U8(2), index[1])
	for _, m := range []struct{ row, base, index, scale int }{
		{3, 1, 1, 2}, {5, 1, 1, 4}, {9, 1, 1, 8}, {7, 3, 1, 4}, {11, 3, 1, 8}, {13, 5, 1, 8},
	} {
		if m.row < t.mr {
			index[m.row] = g.GP64()
			g.LEAQ(at(index[m.base], index[m.index], uint8(m.scale), 0), index[m.row])
		}
	}
	for r := t.mr - 1; r >= 1; r-- {
		g.CMPQ(rows, operand.U8(r))
		g.JEQ(operand.LabelRef(fmt.Sprintf("rows%d", r)))
	}
	for r := t.mr; r >= 1; r-- {
		if r < t.mr {
			g.Label(fmt.Sprintf("rows%d", r))
		}
		g.tileBody(t, r, ads, ldb, index)
	}
}

// tileBody writes the body for one number of rows.
//
// It takes two steps of depth at a time, or one where B is cold and fetched or
// what is next comes densely. On
// Ice Lake the two fetches of B cost a thirtieth, and with what counts the steps
// a twentieth; on Zen 4 neither costs anything. What is next comes slowly enough
// for its lines on their way not to hold up the product's own, one for two steps,
// unless most would then not have come when they are needed.
func (g *gen) tileBody(t tile, rows int, ads, ldb reg.Register, index map[int]reg.Register) {
	acc := func(r, c int) reg.Physical { return t.v.regs[r*t.cols+c] }
	n := func(s string) string { return fmt.Sprintf("%s%d", s, rows) }
	g.Label(n("tile"))
	a, b := g.Load(g.Param("a"), g.GP64()), g.Load(g.Param("b"), g.GP64())
	depth := g.Load(g.Param("depth"), g.GP64())
	next, step := g.Load(g.Param("next"), g.GP64()), g.Load(g.Param("step"), g.GP64())
	g.SHLQ(operand.U8(2), step)
	for r := range rows {
		for c := range t.cols {
			g.zero(t.v, acc(r, c))
		}
	}
	g.TESTQ(depth, depth)
	g.JLE(operand.LabelRef(n("sum")))
	cold := g.Load(g.Param("cold"), g.GP8())
	g.TESTB(cold, cold)
	g.JEQ(operand.LabelRef(n("warm")))
	g.TESTQ(next, next)
	if t.ahead > 0 {
		g.JNE(operand.LabelRef(n("coldAhead")))
		g.tileLoop(t, rows, "cold", a, ads, b, ldb, index, depth, nil, nil, n)
		g.JMP(operand.LabelRef(n("sum")))
	} else {
		g.JEQ(operand.LabelRef(n("alone")))
	}
	g.tileLoop(t, rows, "coldAhead", a, ads, b, ldb, index, depth, next, step, n)
	g.Store(next, g.Param("next"))
	g.JMP(operand.LabelRef(n("sum")))
	g.Label(n("warm"))
	g.TESTQ(next, next)
	g.JEQ(operand.LabelRef(n("alone")))
	g.tilePairs(t, rows, "ahead", a, ads, b, ldb, index, depth, next, step, n)
	g.Label(n("aheadEnd"))
	g.Store(next, g.Param("next"))
	g.JMP(operand.LabelRef(n("sum")))
	g.tilePairs(t, rows, "alone", a, ads, b, ldb, index, depth, nil, nil, n)

	g.Label(n("sum"))
	c := g.Load(g.Param("c"), g.GP64())
	ldc := g.Load(g.Param("ldc"), g.GP64())
	g.SHLQ(operand.U8(2), ldc)
	p := g.Load(g.Param("add"), g.GP64())
	g.TESTQ(p, p)
	g.JEQ(operand.LabelRef(n("store")))
	down := g.Load(g.Param("ldd"), g.GP64())
	g.SHLQ(operand.U8(2), down)
	for r := range rows {
		for i := range t.cols {
			g.VADDPS(at(p, nil, 0, i*t.v.bytes), acc(r, i), acc(r, i))
		}
		g.ADDQ(down, p)
	}
	g.Store(p, g.Param("add"))
	g.Label(n("store"))
	for r := range rows {
		for i := range t.cols {
			g.VMOVUPS(acc(r, i), at(c, nil, 0, i*t.v.bytes))
		}
		g.ADDQ(ldc, c)
	}

	left := g.Load(g.Param("tiles"), g.GP64())
	g.DECQ(left)
	g.JLE(operand.LabelRef(n("end")))
	g.Store(left, g.Param("tiles"))
	g.Store(c, g.Param("c"))
	a = g.Load(g.Param("a"), g.GP64())
	rowsBytes := g.GP64()
	g.IMUL3Q(operand.U8(rows), index[1], rowsBytes)
	g.ADDQ(rowsBytes, a)
	g.Store(a, g.Param("a"))
	dense := g.Load(g.Param("dense"), g.GP64())
	single := g.GP8()
	g.TESTQ(dense, dense)
	g.SETNE(single)
	g.Store(single, g.Param("cold"))
	g.JMP(operand.LabelRef(n("tile")))
	g.Label(n("end"))
	g.VZEROUPPER()
	g.RET()
}

// tileLoop writes a loop of single steps of depth that fetches B and, where there
// is a next, a line of that or two, of which the second may be the first again.
func (g *gen) tileLoop(t tile, rows int, label string, a, ads, b, ldb reg.Register, index map[int]reg.Register, depth, next, step reg.Register, n func(string) string) {
	var second reg.Register
	g.Label(n(label))
	if next != nil {
		second = g.Load(g.Param("dense"), g.GP64())
		g.SHRQ(operand.U8(1), second)
		g.IMULQ(step, second)
	}
	g.Label(n(label + "Step"))
	g.tileStep(t, rows, a, b, nil, index, true)
	if next != nil {
		g.PREFETCHT1(at(next, second, 1, 0))
		g.fetch(next, step)
		g.ADDQ(second, next)
	}
	g.ADDQ(ads, a)
	g.ADDQ(ldb, b)
	g.DECQ(depth)
	g.JNE(operand.LabelRef(n(label + "Step")))
}

// tilePairs writes a loop of two steps of depth, and the last step of an odd
// depth. Where there is a next, it fetches one line of that.
func (g *gen) tilePairs(t tile, rows int, label string, a, ads, b, ldb reg.Register, index map[int]reg.Register, depth, next, step reg.Register, n func(string) string) {
	second, end := g.GP64(), "sum"
	if next != nil {
		end = label + "End"
	}
	g.Label(n(label))
	g.LEAQ(at(a, ads, 1, 0), second)
	g.SUBQ(operand.U8(2), depth)
	g.JL(operand.LabelRef(n(label + "Last")))
	g.Label(n(label + "Pair"))
	g.tileStep(t, rows, a, b, nil, index, false)
	g.fetch(next, step)
	g.LEAQ(at(a, ads, 2, 0), a)
	g.tileStep(t, rows, second, b, ldb, index, false)
	g.LEAQ(at(second, ads, 2, 0), second)
	g.LEAQ(at(b, ldb, 2, 0), b)
	g.SUBQ(operand.U8(2), depth)
	g.JGE(operand.LabelRef(n(label + "Pair")))
	g.Label(n(label + "Last"))
	g.ADDQ(operand.U8(2), depth)
	g.JEQ(operand.LabelRef(n(end)))
	g.tileStep(t, rows, a, b, nil, index, false)
}

// fetch writes the fetch of the line at next, if there is one.
func (g *gen) fetch(next, step reg.Register) {
	if next != nil {
		g.PREFETCHT1(at(next, nil, 0, 0))
		g.ADDQ(step, next)
	}
}

// tileStep writes one step of depth, of B at b or, where there is one, ldb
// further; with fetch, B is prefetched.
func (g *gen) tileStep(t tile, rows int, a, b, ldb reg.Register, index map[int]reg.Register, fetch bool) {
	acc := func(r, c int) reg.Physical { return t.v.regs[r*t.cols+c] }
	temp := t.v.regs[rows*t.cols:]
	bv, av := temp[:t.cols], temp[t.cols:]
	for c := range t.cols {
		g.VMOVUPS(at(b, ldb, 1, c*t.v.bytes), bv[c])
		if fetch && t.ahead > 0 {
			g.PREFETCHT0(at(b, nil, 0, c*t.v.bytes+t.ahead))
		}
	}
	for r := range rows {
		m := at(a, nil, 0, 0)
		if r > 0 {
			odd, scale := r, 1
			for odd%2 == 0 {
				odd, scale = odd/2, scale*2
			}
			m = at(a, index[odd], uint8(scale), 0)
		}
		if t.embed {
			g.VFMADD231PS_BCST(m, bv[0], acc(r, 0))
			continue
		}
		x := av[r%min(len(av), 2)]
		g.VBROADCASTSS(m, x)
		for c := range t.cols {
			g.VFMADD231PS(x, bv[c], acc(r, c))
		}
	}
}

// peak writes a loop of multiply-adds in n registers.
func peak(g *gen, v *isa, n int) {
	g.begin("peak"+v.suffix, "func(iters int)", fmt.Sprintf("does iters times %d fused multiply-adds of %d lanes.", n, v.lanes))
	iters := g.Load(g.Param("iters"), g.GP64())
	for _, r := range v.regs[:n+1] {
		g.zero(v, r)
	}
	g.Label("loop")
	for _, r := range v.regs[:n] {
		g.VFMADD231PS(v.regs[n], v.regs[n], r)
	}
	g.DECQ(iters)
	g.JNE(operand.LabelRef("loop"))
	g.VZEROUPPER()
	g.RET()
}
