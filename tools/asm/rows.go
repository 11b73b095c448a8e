package main

import (
	"math"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rows writes the kernels over rows of channels.
func rows(g *gen, v *isa) {
	if v == avx2 {
		tailTable(g)
	}
	expTable(g, v)
	for _, k := range mapKernels {
		g.mapKernel(v, k)
	}
	for _, k := range sumKernels {
		g.sumKernel(v, k)
	}
	g.dotKernel(v)
	g.matrixKernel(v, "addRows", func(a, b, to reg.Register) { g.VADDPS(b, a, to) })
	g.matrixKernel(v, "subRows", func(a, b, to reg.Register) { g.VSUBPS(b, a, to) })
	g.quarterSums(v)
}

// A mapKernel computes each element of its outputs from the same element of
// its streams, and the same channel of its channel vectors. Without channel
// vectors it takes one row of len(streams[0]) elements.
type mapKernel struct {
	name     string
	streams  []string // slices with an element for each element
	channels []string // slices with an element for each channel
	scalars  []string
	zero     bool // wants a vector of zeros
	exp      bool // wants the bounds of exponentials
	body     func(e *elem)
}

// elem writes the code for one vector of elements.
type elem struct {
	*gen
	v       *isa
	r       []reg.Register          // to use freely
	scalar  map[string]reg.Register // broadcast
	zero    reg.Register
	bounds  [2]reg.Register // of the exponential's argument
	address func(name string) operand.Mem
	tail    bool // fewer elements than lanes
	mask    reg.Register
}

func (e *elem) load(name string, r reg.Register) {
	switch m := e.address(name); {
	case !e.tail:
		e.VMOVUPS(m, r)
	case e.v == avx2:
		e.VMASKMOVPS(m, e.mask, r)
	default:
		e.VMOVUPS_Z(m, e.mask, r)
	}
}

func (e *elem) store(r reg.Register, name string) {
	switch m := e.address(name); {
	case !e.tail:
		e.VMOVUPS(r, m)
	case e.v == avx2:
		e.VMASKMOVPS(r, e.mask, m)
	default:
		e.VMOVUPS(r, e.mask, m)
	}
}

// relu is max(0, r) with the operands in the order that keeps NaN.
func (e *elem) relu(r reg.Register) { e.VMAXPS(r, e.zero, r) }

// positive is dy where y is positive, else 0.
func (e *elem) positive(y, dy reg.Register) {
	const greater = 0x1e // false for NaN, no exception
	if e.v == avx2 {
		e.VCMPPS(operand.U8(greater), e.zero, y, y)
		e.VANDPS(y, dy, dy)
	} else {
		e.VCMPPS(operand.U8(greater), e.zero, y, reg.K2)
		e.VMOVAPS_Z(dy, reg.K2, dy)
	}
}

var mapKernels = []mapKernel{
	{name: "add", streams: []string{"dst", "a", "b"}, body: func(e *elem) {
		e.load("a", e.r[0])
		e.load("b", e.r[1])
		e.VADDPS(e.r[1], e.r[0], e.r[0])
		e.store(e.r[0], "dst")
	}},
	{name: "scale", streams: []string{"dst", "a"}, scalars: []string{"s"}, body: func(e *elem) {
		e.load("a", e.r[0])
		e.VMULPS(e.scalar["s"], e.r[0], e.r[0])
		e.store(e.r[0], "dst")
	}},
	{name: "relu", streams: []string{"dst", "a"}, zero: true, body: func(e *elem) {
		e.load("a", e.r[0])
		e.relu(e.r[0])
		e.store(e.r[0], "dst")
	}},
	{name: "reluGrad", streams: []string{"dst", "y", "dy"}, zero: true, body: func(e *elem) {
		e.load("y", e.r[0])
		e.load("dy", e.r[1])
		e.positive(e.r[0], e.r[1])
		e.store(e.r[1], "dst")
	}},
	{name: "addReLU", streams: []string{"dst", "a", "b"}, zero: true, body: func(e *elem) {
		e.load("a", e.r[0])
		e.load("b", e.r[1])
		e.VADDPS(e.r[1], e.r[0], e.r[0])
		e.relu(e.r[0])
		e.store(e.r[0], "dst")
	}},
	{name: "sigmoid", streams: []string{"dst", "x"}, exp: true, body: func(e *elem) {
		e.load("x", e.r[0])
		e.expNeg()
		e.VADDPS(e.constant(expOne), e.r[0], e.r[0])
		e.VMOVUPS(e.constant(expOne), e.r[1])
		e.VDIVPS(e.r[0], e.r[1], e.r[0])
		e.store(e.r[0], "dst")
	}},
	{name: "sigmoidGrad", streams: []string{"dst", "y", "dy"}, body: func(e *elem) {
		e.load("y", e.r[0])
		e.load("dy", e.r[1])
		e.VMULPS(e.r[0], e.r[1], e.r[1])
		e.VMOVUPS(e.constant(expOne), e.r[2])
		e.VSUBPS(e.r[0], e.r[2], e.r[2])
		e.VMULPS(e.r[2], e.r[1], e.r[1])
		e.store(e.r[1], "dst")
	}},
	{name: "silu", streams: []string{"dst", "x"}, exp: true, body: func(e *elem) {
		e.load("x", e.r[0])
		e.expNeg()
		e.VADDPS(e.constant(expOne), e.r[0], e.r[0])
		e.load("x", e.r[1])
		e.VDIVPS(e.r[0], e.r[1], e.r[0])
		e.store(e.r[0], "dst")
	}},
	{name: "siluGrad", streams: []string{"dst", "x", "dy"}, exp: true, body: func(e *elem) {
		e.load("x", e.r[0])
		e.expNeg()
		e.VADDPS(e.constant(expOne), e.r[0], e.r[1])
		e.VMOVUPS(e.constant(expOne), e.r[2])
		e.VDIVPS(e.r[1], e.r[2], e.r[1])                  // σ
		e.VMULPS(e.r[1], e.r[0], e.r[0])                  // 1 − σ
		e.load("x", e.r[2])                               //
		e.VFMADD213PS(e.constant(expOne), e.r[2], e.r[0]) // 1 + x·(1 − σ)
		e.VMULPS(e.r[1], e.r[0], e.r[0])
		e.load("dy", e.r[1])
		e.VMULPS(e.r[1], e.r[0], e.r[0])
		e.store(e.r[0], "dst")
	}},
	{name: "sgd", streams: []string{"p", "g", "m"}, scalars: []string{"lr", "momentum", "weightDecay"}, body: func(e *elem) { sgd(e, false) }},
	{name: "sgdNest", streams: []string{"p", "g", "m"}, scalars: []string{"lr", "momentum", "weightDecay"}, body: func(e *elem) { sgd(e, true) }},
	{name: "scaleShift", streams: []string{"dst", "x"}, channels: []string{"scale", "shift"}, body: func(e *elem) { scaleShift(e, false, false) }},
	{name: "scaleShiftReLU", streams: []string{"dst", "x"}, channels: []string{"scale", "shift"}, zero: true, body: func(e *elem) { scaleShift(e, false, true) }},
	{name: "scaleShiftAdd", streams: []string{"dst", "x", "r"}, channels: []string{"scale", "shift"}, body: func(e *elem) { scaleShift(e, true, false) }},
	{name: "scaleShiftAddReLU", streams: []string{"dst", "x", "r"}, channels: []string{"scale", "shift"}, zero: true, body: func(e *elem) { scaleShift(e, true, true) }},
	{name: "scaleShiftReLUGrad", streams: []string{"dst", "x", "dy"}, channels: []string{"scale", "shift"}, zero: true, body: func(e *elem) {
		e.load("x", e.r[0])
		e.load("scale", e.r[1])
		e.load("shift", e.r[2])
		e.VFMADD213PS(e.r[2], e.r[1], e.r[0])
		e.load("dy", e.r[1])
		e.positive(e.r[0], e.r[1])
		e.store(e.r[1], "dst")
	}},
	{name: "bnGrad", streams: []string{"dx", "dy", "x"}, channels: []string{"a", "b", "d"}, body: func(e *elem) {
		sum := e.r[0]
		e.load("d", sum)
		e.load("b", e.r[1])
		e.load("x", e.r[2])
		e.VFMADD231PS(e.r[1], e.r[2], sum)
		e.load("a", e.r[1])
		e.load("dy", e.r[2])
		e.VFMADD231PS(e.r[1], e.r[2], sum)
		e.store(sum, "dx")
	}},
}

// exps are the constants of the exponential, a vector each, then its bounds.
var exps = []float64{
	-1.44269504088896341, 0.693359375, -2.12194440e-4, // −1/ln 2, ln 2 in two parts
	-1.9875691500e-4, 1.3981999507e-3, -8.3334519073e-3, 4.1665795894e-2, -1.6666665459e-1, 5.0000001201e-1, -1, 1, // e^−q from q⁷ down
	-88, 88,
}

const (
	expFirst = 3 // of the polynomial
	expOne   = 10
	expLow   = 11
)

// expTable writes exps.
func expTable(g *gen, v *isa) {
	g.StaticGlobal("exps")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, c := range exps {
		for lane := range v.lanes {
			g.AddDatum(i*v.bytes+lane*4, operand.U32(math.Float32bits(float32(c))))
		}
	}
}

func (g *gen) exp(v *isa, i int) operand.Mem {
	return operand.NewDataAddr(operand.NewStaticSymbol("exps"), i*v.bytes)
}

func (e *elem) constant(i int) operand.Mem { return e.exp(e.v, i) }

// expNeg turns r[0] from x to e⁻ˣ, x within its bounds and NaN kept: with n the
// nearest whole number to −x/ln 2 and q = x + n·ln 2, that is 2ⁿ·e^−q. It uses
// the other registers.
func (e *elem) expNeg() {
	p, q, n := e.r[0], e.r[1], e.r[2]
	e.VMINPS(p, e.bounds[1], q) // the second of the two if one is NaN
	e.VMAXPS(q, e.bounds[0], q)
	e.VMULPS(e.constant(0), q, n)
	if e.v == avx2 {
		e.VROUNDPS(operand.U8(0), n, n)
	} else {
		e.VRNDSCALEPS(operand.U8(0), n, n)
	}
	e.VFMADD231PS(e.constant(1), n, q)
	e.VFMADD231PS(e.constant(2), n, q)
	e.VMOVUPS(e.constant(expFirst), p)
	for i := expFirst + 1; i <= expOne; i++ {
		e.VFMADD213PS(e.constant(i), q, p)
	}
	e.VCVTPS2DQ(n, n)
	e.VPSLLD(operand.U8(23), n, n)
	e.VPADDD(n, p, p)
}

func sgd(e *elem, nesterov bool) {
	p, g, m := e.r[0], e.r[1], e.r[2]
	e.load("p", p)
	e.load("g", g)
	e.load("m", m)
	e.VFMADD231PS(e.scalar["weightDecay"], p, g) // g += weightDecay*p
	e.VFMADD213PS(g, e.scalar["momentum"], m)    // m = momentum*m + g
	e.store(m, "m")
	if nesterov {
		e.VFMADD231PS(e.scalar["momentum"], m, g) // g += momentum*m
		m = g
	}
	e.VFNMADD231PS(e.scalar["lr"], m, p) // p -= lr*m
	e.store(p, "p")
}

func scaleShift(e *elem, add, relu bool) {
	x := e.r[0]
	e.load("x", x)
	e.load("scale", e.r[1])
	e.load("shift", e.r[2])
	e.VFMADD213PS(e.r[2], e.r[1], x) // x = x*scale + shift
	if add {
		e.load("r", e.r[1])
		e.VADDPS(e.r[1], x, x)
	}
	if relu {
		e.relu(x)
	}
	e.store(x, "dst")
}

// signature returns "func(…)" for slices, scalars and ints.
func signature(slices, scalars, ints []string) string {
	var params []string
	for _, p := range []struct {
		names []string
		typ   string
	}{{slices, "[]float32"}, {scalars, "float32"}, {ints, "int"}} {
		if len(p.names) > 0 {
			params = append(params, strings.Join(p.names, ", ")+" "+p.typ)
		}
	}
	return "func(" + strings.Join(params, ", ") + ")"
}

const (
	unroll  = 4 // vectors of elements a turn of a loop
	scratch = 3 // registers for each
)

// mapKernel writes one of mapKernels: a loop over rows where there are channel
// vectors, in it one over four vectors of elements, one over one, and a masked
// rest.
func (g *gen) mapKernel(v *isa, k mapKernel) {
	byRow := len(k.channels) > 0
	slices := append(append([]string(nil), k.streams...), k.channels...)
	var ints []string
	if byRow {
		ints = []string{"rows", "c"}
	}
	g.begin(k.name+v.suffix, signature(slices, k.scalars, ints), "is defined by ["+k.name+"Plain].")

	free := v.regs[unroll*scratch:]
	take := func() reg.Register { r := free[0]; free = free[1:]; return r }
	e := elem{gen: g, v: v, scalar: map[string]reg.Register{}}
	pointer := map[string]reg.Register{}
	for _, s := range slices {
		pointer[s] = g.Load(g.Param(s).Base(), g.GP64())
	}
	for _, s := range k.scalars {
		m, err := g.Param(s).Resolve()
		if err != nil {
			panic(err)
		}
		e.scalar[s] = take()
		g.VBROADCASTSS(m.Addr, e.scalar[s])
	}
	if k.zero {
		e.zero = take()
		g.zero(v, e.zero)
	}
	if k.exp {
		for i := range e.bounds {
			e.bounds[i] = take()
			g.VMOVUPS(g.exp(v, expLow+i), e.bounds[i])
		}
	}
	n := g.GP64()
	var left, stride reg.Register
	if byRow {
		g.Load(g.Param("c"), n)
		left = g.Load(g.Param("rows"), g.GP64())
		stride = g.GP64()
		g.MOVQ(n, stride)
		g.SHLQ(operand.U8(2), stride)
	} else {
		g.Load(g.Param(k.streams[0]).Len(), n)
	}
	e.mask = g.tailMask(v, n)

	index := g.GP64()
	vector := func(slot int, tail bool) {
		e.tail = tail
		e.r = nil
		for _, r := range v.regs[slot*scratch : (slot+1)*scratch] {
			e.r = append(e.r, r)
		}
		e.address = func(name string) operand.Mem { return at(pointer[name], index, 1, slot*v.bytes) }
		k.body(&e)
	}
	g.Label("row")
	count := g.GP64()
	g.MOVQ(n, count)
	g.XORQ(index, index)
	g.strips(v, count, index, []int{unroll, 1}, func(strip int, tail bool) {
		for slot := range strip {
			vector(slot, tail)
		}
	})
	if byRow {
		for _, s := range k.streams {
			g.ADDQ(stride, pointer[s])
		}
		g.DECQ(left)
		g.JNE(operand.LabelRef("row"))
	}
	g.VZEROUPPER()
	g.RET()
}

// strips writes loops over count elements: for each size as many turns of
// size vectors as are left, then one turn for a rest of less than a vector.
// index, in bytes, moves along; count is lost.
func (g *gen) strips(v *isa, count, index reg.Register, sizes []int, turn func(strip int, tail bool)) {
	for _, size := range sizes {
		loop, next := g.label("loop"), g.label("next")
		g.SUBQ(operand.U32(size*v.lanes), count)
		g.JLT(operand.LabelRef(next))
		g.Label(loop)
		turn(size, false)
		g.ADDQ(operand.U32(size*v.bytes), index)
		g.SUBQ(operand.U32(size*v.lanes), count)
		g.JGE(operand.LabelRef(loop))
		g.Label(next)
		g.ADDQ(operand.U32(size*v.lanes), count)
	}
	end := g.label("end")
	g.JEQ(operand.LabelRef(end))
	turn(1, true)
	g.Label(end)
}

// A sumKernel adds to sums for each channel, over rows. Within a group of rows
// the sums start from zero and stay in registers.
type sumKernel struct {
	name  string
	sums  []string
	rows  []string // streams
	mean  bool     // has a channel vector "mean"
	strip int      // vectors of channels to take together
	// body adds one row: r are free registers, sums and mean are loaded.
	body func(e *elem, sums []reg.Register, mean reg.Register)
	// temps is how many free registers body wants.
	temps int
}

var sumKernels = []sumKernel{
	{name: "colSums", sums: []string{"sum"}, rows: []string{"x"}, strip: 4, temps: 1, body: func(e *elem, sums []reg.Register, _ reg.Register) {
		if !e.tail {
			e.VADDPS(e.address("x"), sums[0], sums[0])
			return
		}
		e.load("x", e.r[0])
		e.VADDPS(e.r[0], sums[0], sums[0])
	}},
	{name: "colVar", sums: []string{"sq"}, rows: []string{"x"}, mean: true, strip: 4, temps: 1, body: func(e *elem, sums []reg.Register, mean reg.Register) {
		e.load("x", e.r[0])
		e.VSUBPS(mean, e.r[0], e.r[0])
		e.VFMADD231PS(e.r[0], e.r[0], sums[0])
	}},
	{name: "colDot2", sums: []string{"s1", "s2"}, rows: []string{"dy", "x"}, mean: true, strip: 4, temps: 2, body: func(e *elem, sums []reg.Register, mean reg.Register) {
		e.load("dy", e.r[0])
		e.load("x", e.r[1])
		e.VADDPS(e.r[0], sums[0], sums[0])
		e.VSUBPS(mean, e.r[1], e.r[1])
		e.VFMADD231PS(e.r[0], e.r[1], sums[1])
	}},
}

// sumKernel writes one of sumKernels.
func (g *gen) sumKernel(v *isa, k sumKernel) {
	strip := k.strip
	if v == avx2 && len(k.sums) == 1 && !k.mean {
		strip = 8 // to have enough additions in flight
	}
	slices := append(append([]string(nil), k.sums...), k.rows...)
	if k.mean {
		slices = append(slices, "mean")
	}
	g.begin(k.name+v.suffix, signature(slices, nil, []string{"rows", "c", "group"}), "is defined by ["+k.name+"Plain].")

	pointer := map[string]reg.Register{}
	for _, s := range slices {
		pointer[s] = g.Load(g.Param(s).Base(), g.GP64())
	}
	stride := g.Load(g.Param("c"), g.GP64())
	e := elem{gen: g, v: v, mask: g.tailMask(v, stride)}
	g.SHLQ(operand.U8(2), stride)
	left := g.Load(g.Param("rows"), g.GP64())

	g.Label("group")
	many := g.Load(g.Param("group"), g.GP64())
	g.CMPQ(left, many)
	g.CMOVQLT(left, many)
	count, index := g.Load(g.Param("c"), g.GP64()), g.GP64()
	g.XORQ(index, index)
	sizes := []int{strip, 1}
	g.strips(v, count, index, sizes, func(strip int, tail bool) {
		free := v.regs
		if v == avx2 {
			free = free[:15] // the last is the mask
		}
		take := func() reg.Register { r := free[0]; free = free[1:]; return r }
		e.tail = tail
		sums := make([][]reg.Register, strip)
		means := make([]reg.Register, strip)
		e.r = nil
		for range k.temps {
			e.r = append(e.r, take())
		}
		for i := range strip {
			for range k.sums {
				r := take()
				g.zero(v, r)
				sums[i] = append(sums[i], r)
			}
			if k.mean {
				means[i] = take()
				e.address = func(name string) operand.Mem { return at(pointer[name], index, 1, i*v.bytes) }
				e.load("mean", means[i])
			}
		}
		row, turns := g.GP64(), g.GP64()
		g.MOVQ(index, row)
		g.MOVQ(many, turns)
		loop := g.label("rows")
		g.Label(loop)
		for i := range strip {
			e.address = func(name string) operand.Mem { return at(pointer[name], row, 1, i*v.bytes) }
			k.body(&e, sums[i], means[i])
		}
		g.ADDQ(stride, row)
		g.DECQ(turns)
		g.JNE(operand.LabelRef(loop))
		for i := range strip {
			e.address = func(name string) operand.Mem { return at(pointer[name], index, 1, i*v.bytes) }
			for j, s := range k.sums {
				e.load(s, e.r[0])
				g.VADDPS(sums[i][j], e.r[0], e.r[0])
				e.store(e.r[0], s)
			}
		}
	})
	g.SUBQ(many, left)
	g.IMULQ(stride, many)
	for _, s := range k.rows {
		g.ADDQ(many, pointer[s])
	}
	g.TESTQ(left, left)
	g.JGT(operand.LabelRef("group"))
	g.VZEROUPPER()
	g.RET()
}

// dotKernel writes dot: four vectors of sums, added in a fixed order.
func (g *gen) dotKernel(v *isa) {
	g.begin("dot"+v.suffix, "func(a, b []float32) float32", "is defined by [dotPlain], but for the order of the sum.")
	a := g.Load(g.Param("a").Base(), g.GP64())
	b := g.Load(g.Param("b").Base(), g.GP64())
	count := g.Load(g.Param("a").Len(), g.GP64())
	pointer := map[string]reg.Register{"a": a, "b": b}
	e := elem{gen: g, v: v, mask: g.tailMask(v, count)}
	sums := v.regs[:4]
	for _, r := range sums {
		g.zero(v, r)
	}
	index := g.GP64()
	g.XORQ(index, index)
	g.strips(v, count, index, []int{4, 1}, func(strip int, tail bool) {
		e.tail = tail
		for i := range strip {
			e.address = func(name string) operand.Mem { return at(pointer[name], index, 1, i*v.bytes) }
			x, y := v.regs[4+2*i], v.regs[5+2*i]
			e.load("a", x)
			e.load("b", y)
			g.VFMADD231PS(x, y, sums[i])
		}
	})
	s := sums[0]
	g.VADDPS(sums[1], s, s)
	g.VADDPS(sums[3], sums[2], sums[2])
	g.VADDPS(sums[2], s, s)
	y0, y1, x0, x1 := reg.Y0, reg.Y1, reg.X0, reg.X1
	if v == avx512 {
		g.VEXTRACTF64X4(operand.U8(1), s, y1)
		g.VADDPS(y1, y0, y0)
	}
	g.VEXTRACTF128(operand.U8(1), y0, x1)
	g.VADDPS(x1, x0, x0)
	g.VPERMILPS(operand.U8(0x0e), x0, x1) // lanes 2, 3
	g.VADDPS(x1, x0, x0)
	g.VPERMILPS(operand.U8(0x01), x0, x1) // lane 1
	g.VADDPS(x1, x0, x0)
	g.VZEROUPPER()
	g.Store(x0, g.ReturnIndex(0))
	g.RET()
}

// matrixKernel writes an operation on two matrices whose rows lie apart.
func (g *gen) matrixKernel(v *isa, name string, body func(a, b, to reg.Register)) {
	g.begin(name+v.suffix, "func(dst *float32, dstStep int, a *float32, aStep int, b *float32, bStep int, rows, n int)", "is defined by ["+name+"Plain].")
	pointer, step := map[string]reg.Register{}, map[string]reg.Register{}
	names := []string{"dst", "a", "b"}
	for _, s := range names {
		pointer[s] = g.Load(g.Param(s), g.GP64())
		step[s] = g.Load(g.Param(s+"Step"), g.GP64())
		g.SHLQ(operand.U8(2), step[s])
	}
	n := g.Load(g.Param("n"), g.GP64())
	left := g.Load(g.Param("rows"), g.GP64())
	e := elem{gen: g, v: v, mask: g.tailMask(v, n)}
	count, index := g.GP64(), g.GP64()
	g.Label("row")
	g.MOVQ(n, count)
	g.XORQ(index, index)
	g.strips(v, count, index, []int{4, 1}, func(strip int, tail bool) {
		e.tail = tail
		for i := range strip {
			e.address = func(name string) operand.Mem { return at(pointer[name], index, 1, i*v.bytes) }
			a, b := v.regs[2*i], v.regs[2*i+1]
			e.load("a", a)
			e.load("b", b)
			body(a, b, a)
			e.store(a, "dst")
		}
	})
	for _, s := range names {
		g.ADDQ(step[s], pointer[s])
	}
	g.DECQ(left)
	g.JNE(operand.LabelRef("row"))
	g.VZEROUPPER()
	g.RET()
}

// quarterSums writes the sums that Strassen's products make of the quarters of A.
func (g *gen) quarterSums(v *isa) {
	g.begin("quarterSums"+v.suffix, "func(s *float32, sPart, sStep int, a *float32, down, step, rows, n int)", "is defined by [quarterSumsPlain].")
	load := func(name string) reg.GPVirtual {
		r := g.GP64()
		g.Load(g.Param(name), r)
		return r
	}
	s1, top := load("s"), load("a")
	part, down, n := load("sPart"), load("down"), load("n")
	sStep, step, left := load("sStep"), load("step"), load("rows")
	for _, r := range []reg.Register{part, down, sStep, step} {
		g.SHLQ(operand.U8(2), r)
	}
	e := elem{gen: g, v: v, mask: g.tailMask(v, n)}
	count, index := g.GP64(), g.GP64()
	s3, bottom, right := g.GP64(), g.GP64(), g.GP64()
	g.Label("row")
	g.MOVQ(n, count)
	g.XORQ(index, index)
	g.LEAQ(at(top, down, 1, 0), bottom)
	g.LEAQ(at(s1, part, 2, 0), s3)
	g.strips(v, count, index, []int{2, 1}, func(strip int, tail bool) {
		e.tail = tail
		for i := range strip {
			r := v.regs[6*i : 6*i+6]
			addr := func(base reg.Register) func(string) operand.Mem {
				return func(string) operand.Mem { return at(base, index, 1, i*v.bytes) }
			}
			get := func(base, to reg.Register) { e.address = addr(base); e.load("", to) }
			put := func(from, base reg.Register) { e.address = addr(base); e.store(from, "") }
			get(top, r[0])
			get(bottom, r[2])
			g.LEAQ(at(top, n, 4, 0), right)
			get(right, r[1])
			g.LEAQ(at(bottom, n, 4, 0), right)
			get(right, r[3])
			g.VADDPS(r[3], r[2], r[4]) // S1 = A21 + A22
			g.VSUBPS(r[0], r[4], r[5]) // S2 = S1 − A11
			g.VSUBPS(r[2], r[0], r[0]) // S3 = A11 − A21
			g.VSUBPS(r[5], r[1], r[1]) // S4 = A12 − S2
			put(r[4], s1)
			g.LEAQ(at(s1, part, 1, 0), right)
			put(r[5], right)
			put(r[0], s3)
			g.LEAQ(at(s3, part, 1, 0), right)
			put(r[1], right)
		}
	})
	g.ADDQ(step, top)
	g.ADDQ(sStep, s1)
	g.DECQ(left)
	g.JNE(operand.LabelRef("row"))
	g.VZEROUPPER()
	g.RET()
}

// tailMask returns a mask register for the n modulo lanes elements that are
// left over.
func (g *gen) tailMask(v *isa, n reg.Register) reg.Register {
	rest := g.GP64()
	g.MOVQ(n, rest)
	g.ANDQ(operand.U8(v.lanes-1), rest)
	if v == avx2 {
		table := g.GP64()
		g.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("tails"), 0), table)
		g.SHLQ(operand.U8(2), rest)
		g.SUBQ(rest, table)
		mask := v.regs[15]
		g.VMOVUPS(at(table, nil, 0, v.bytes), mask)
		return mask
	}
	ones := g.GP32()
	g.MOVL(operand.U32(0xffff), ones)
	g.BZHIL(rest.As32(), ones, ones)
	g.KMOVW(ones, reg.K1)
	return reg.K1
}

// tailTable writes eight elements of ones, then eight of zeros.
func tailTable(g *gen) {
	g.StaticGlobal("tails")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		var x uint32
		if i < 8 {
			x = 0xffffffff
		}
		g.AddDatum(i*4, operand.U32(x))
	}
}
