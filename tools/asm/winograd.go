package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The points of Winograd's F(4×4, 3×3): 0, ±pa, ±pb and infinity.
const (
	pa = 5. / 8
	pb = 3. / 2
	n0 = 1 / (pa * pa * pb * pb)
	na = 1 / (2 * pa * pa * (pa*pa - pb*pb))
	nb = 1 / (2 * pb * pb * (pb*pb - pa*pa))
)

// A transform multiplies squares of numbers, one a channel, from both sides by
// a matrix of out×in. Operands come by pointers to each number's first channel,
// or side by side.
type transform struct {
	name          string
	in, out       int
	inPtr, outPtr bool
	more          bool   // may add something, or store past the caches
	to, from      string // parameters' names
	consts        []float64
	temps         int
	// line writes the product with one vector, x, using temporaries t and the
	// constants c, and returns the registers that hold it.
	line func(g *gen, x, t, c []reg.Physical) []reg.Physical
}

var transforms = []transform{
	{name: "winoIn", in: 6, out: 6, inPtr: true, to: "v", from: "x", temps: 2,
		consts: []float64{pa * pa * pb * pb, pa*pa + pb*pb, pa, pb, pa * pa, pb * pb},
		line: func(g *gen, d, t, c []reg.Physical) []reg.Physical {
			ab2, s, a, b, a2, b2 := c[0], c[1], c[2], c[3], c[4], c[5]
			g.VMOVAPS(d[4], t[0])
			g.VMOVAPS(d[3], t[1])
			g.VFMADD213PS(d[4], ab2, d[0])
			g.VFMADD231PS(ab2, d[1], d[5])
			g.VFNMADD231PS(b2, d[2], t[0])
			g.VFNMADD231PS(b2, d[1], t[1])
			g.VFNMADD231PS(s, d[2], d[0])
			g.VFNMADD231PS(s, d[3], d[5])
			g.VFNMADD231PS(a2, d[2], d[4])
			g.VFNMADD231PS(a2, d[1], d[3])
			g.plusMinus(a, t[0], t[1], d[1])
			g.plusMinus(b, d[4], d[3], d[2])
			return []reg.Physical{d[0], d[1], t[0], d[2], d[4], d[5]}
		}},
	{name: "winoOut", in: 6, out: 4, outPtr: true, more: true, to: "y", from: "m", temps: 2,
		consts: []float64{pa, pb, pa * pa, pb * pb, pa * pa * pa, pb * pb * pb},
		line: func(g *gen, m, t, c []reg.Physical) []reg.Physical {
			g.sumsAndDifferences(m, t)
			g.VADDPS(t[0], m[0], m[0])
			g.VMULPS(c[0], m[1], m[2])
			g.VFMADD231PS(c[4], m[1], m[5])
			g.VMULPS(c[2], t[0], t[0])
			g.VADDPS(t[1], m[0], m[0])
			g.VFMADD231PS(c[1], m[3], m[2])
			g.VFMADD231PS(c[3], t[1], t[0])
			g.VFMADD231PS(c[5], m[3], m[5])
			return []reg.Physical{m[0], m[2], t[0], m[5]}
		}},
	{name: "winoKernel", in: 3, out: 6, to: "u", from: "w", temps: 4, consts: kernelConsts,
		line: func(g *gen, w, t, c []reg.Physical) []reg.Physical {
			g.VMULPS(c[1], w[0], t[1])
			g.VMULPS(c[4], w[0], t[2])
			g.VMULPS(c[0], w[0], t[0])
			g.VFMADD231PS(c[3], w[2], t[1])
			g.VFMADD231PS(c[6], w[2], t[2])
			g.plusMinus(c[2], t[1], w[1], t[3])
			g.plusMinus(c[5], t[2], w[1], w[0])
			return []reg.Physical{t[0], t[3], t[1], w[0], t[2], w[2]}
		}},
	{name: "winoGrad", in: 4, out: 6, inPtr: true, to: "v", from: "dy", temps: 3,
		consts: []float64{pa, pb, pa * pa, pb * pb},
		line: func(g *gen, y, t, c []reg.Physical) []reg.Physical {
			g.VMOVAPS(y[0], t[0])
			g.VMOVAPS(y[1], t[1])
			g.VMOVAPS(y[0], t[2])
			g.VFMADD231PS(c[2], y[2], t[0])
			g.VFMADD231PS(c[2], y[3], t[1])
			g.VFMADD231PS(c[3], y[2], t[2])
			g.VFMADD231PS(c[3], y[3], y[1])
			g.plusMinus(c[0], t[0], t[1], y[2])
			g.plusMinus(c[1], t[2], y[1], t[1])
			return []reg.Physical{y[0], y[2], t[0], t[1], t[2], y[3]}
		}},
	{name: "winoKernelGrad", in: 6, out: 3, to: "dw", from: "m", temps: 2, consts: kernelConsts,
		line: func(g *gen, m, t, c []reg.Physical) []reg.Physical {
			g.sumsAndDifferences(m, t)
			g.VMULPS(c[0], m[0], m[0])
			g.VMULPS(c[2], m[1], m[2])
			g.VFMADD231PS(c[3], t[0], m[5])
			g.VFMADD231PS(c[1], t[0], m[0])
			g.VFMADD231PS(c[5], m[3], m[2])
			g.VFMADD231PS(c[6], t[1], m[5])
			g.VFMADD231PS(c[4], t[1], m[0])
			return []reg.Physical{m[0], m[2], m[5]}
		}},

	// F(2×2, 3×3), with the points 0, ±1 and infinity.
	{name: "wino2In", in: 4, out: 4, inPtr: true, to: "v", from: "x", temps: 1,
		line: func(g *gen, d, t, _ []reg.Physical) []reg.Physical {
			g.VADDPS(d[2], d[1], t[0])
			g.VSUBPS(d[2], d[0], d[0])
			g.VSUBPS(d[1], d[2], d[2])
			g.VSUBPS(d[1], d[3], d[3])
			return []reg.Physical{d[0], t[0], d[2], d[3]}
		}},
	{name: "wino2Out", in: 4, out: 2, outPtr: true, to: "y", from: "m", temps: 0,
		line: func(g *gen, m, _, _ []reg.Physical) []reg.Physical {
			g.VADDPS(m[1], m[0], m[0])
			g.VSUBPS(m[2], m[1], m[1])
			g.VADDPS(m[2], m[0], m[0])
			g.VADDPS(m[3], m[1], m[1])
			return []reg.Physical{m[0], m[1]}
		}},
	{name: "wino2Kernel", in: 3, out: 4, to: "u", from: "w", temps: 2, consts: []float64{0.5},
		line: func(g *gen, w, t, c []reg.Physical) []reg.Physical {
			g.VADDPS(w[2], w[0], t[0])
			g.VMULPS(c[0], t[0], t[0])
			g.plusMinus(c[0], t[0], w[1], t[1])
			return []reg.Physical{w[0], t[1], t[0], w[2]}
		}},
}

var kernelConsts = []float64{n0, na, na * pa, na * pa * pa, nb, nb * pb, nb * pb * pb}

// plusMinus is p = x + c·y and x = x − c·y.
func (g *gen) plusMinus(c, x, y, p reg.Physical) {
	g.VMOVAPS(x, p)
	g.VFMADD231PS(c, y, p)
	g.VFNMADD231PS(c, y, x)
}

// sumsAndDifferences is t0 = m1 + m2, m1 = m1 − m2, and the same of m3 and m4.
func (g *gen) sumsAndDifferences(m, t []reg.Physical) {
	g.VADDPS(m[2], m[1], t[0])
	g.VADDPS(m[4], m[3], t[1])
	g.VSUBPS(m[2], m[1], m[1])
	g.VSUBPS(m[4], m[3], m[3])
}

func winograd(g *gen, v *isa) {
	table := map[float64]int{}
	g.StaticGlobal("winograd")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, k := range transforms {
		for _, c := range k.consts {
			if _, ok := table[c]; !ok {
				table[c] = 4 * len(table)
				g.AddDatum(table[c], operand.U32(math.Float32bits(float32(c))))
			}
		}
	}
	for _, k := range transforms {
		g.transform(v, k, table)
	}
}

// transform writes one of transforms: a loop over vectors of channels, in it
// products with the columns, which go to the stack, then with the rows of that.
func (g *gen) transform(v *isa, k transform, table map[float64]int) {
	side := func(name string, n int, ptr bool) string {
		if ptr {
			return fmt.Sprintf("%s *[%d]*float32", name, n*n)
		}
		return fmt.Sprintf("%s *float32, %sStep int", name, name)
	}
	more := ""
	if k.more {
		more = fmt.Sprintf(", add *[%d]*float32, stream bool", k.out*k.out)
	}
	g.begin(k.name+v.suffix, fmt.Sprintf("func(%s, %s, c int%s)", side(k.to, k.out, k.outPtr), side(k.from, k.in, k.inPtr), more),
		"is defined by ["+k.name+"Plain].")
	g.Attributes(0) // the frame is too large for NOSPLIT

	consts := v.regs[len(v.regs)-len(k.consts):]
	constants := g.GP64()
	g.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("winograd"), 0), constants)
	for i, c := range k.consts {
		g.VBROADCASTSS(at(constants, nil, 0, table[c]), consts[i])
	}
	tmp := g.GP64()
	g.LEAQ(g.AllocLocal(k.out*k.in*v.bytes+v.bytes), tmp)
	g.ADDQ(operand.U8(v.bytes-1), tmp)
	g.ANDQ(operand.I8(-v.bytes), tmp)
	// What lies side by side is read by columns and written by rows.
	from := g.places(k.from, k.inPtr, k.in, k.in)
	to := g.places(k.to, k.outPtr, 1, k.out)
	count := g.Load(g.Param("c"), g.GP64())
	index := g.GP64()
	g.XORQ(index, index)
	x, t := v.regs[:k.in], v.regs[k.in:k.in+k.temps]

	body := func(add *places, store func(r, m operand.Op)) {
		loop := g.label("channels")
		g.Label(loop)
		column := g.GP64()
		if !k.inPtr {
			g.LEAQ(at(from.base, index, 1, 0), column)
		}
		for j := range k.in {
			for i := range k.in {
				g.VMOVUPS(from.at(i*k.in+j, column, k.in, i, index), x[i])
			}
			if !k.inPtr && j < k.in-1 {
				g.ADDQ(from.step, column)
			}
			for i, r := range k.line(g, x, t, consts) {
				g.VMOVAPS(r, at(tmp, nil, 0, (i*k.in+j)*v.bytes))
			}
		}
		row := g.GP64()
		if !k.outPtr {
			g.LEAQ(at(to.base, index, 1, 0), row)
		}
		for i := range k.out {
			for j := range k.in {
				g.VMOVAPS(at(tmp, nil, 0, (i*k.in+j)*v.bytes), x[j])
			}
			for j, r := range k.line(g, x, t, consts) {
				if add != nil {
					g.VADDPS(add.at(i*k.out+j, nil, 1, j, index), r, r)
				}
				store(r, to.at(i*k.out+j, row, 1, j, index))
			}
			if !k.outPtr && i < k.out-1 {
				g.ADDQ(to.times(k.out), row)
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
	add := &places{gen: g, ptr: true, base: g.Load(g.Param("add"), g.GP64())}
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

// places are where the numbers of a square lie.
type places struct {
	*gen
	ptr        bool
	base, step reg.Register
	multiple   map[int]reg.Register
}

// places are those of a parameter, read or written in lines of n numbers that
// are each steps apart.
func (g *gen) places(name string, ptr bool, each, n int) *places {
	p := &places{gen: g, ptr: ptr, base: g.Load(g.Param(name), g.GP64()), multiple: map[int]reg.Register{}}
	if ptr {
		return p
	}
	p.step = g.Load(g.Param(name+"Step"), g.GP64())
	g.SHLQ(operand.U8(2), p.step)
	p.multiple[1] = p.step
	times := func(k, of int, f uint8) { // k is of·(1 + f)
		if _, ok := p.multiple[k]; !ok {
			p.multiple[k] = g.GP64()
			g.LEAQ(at(p.multiple[of], p.multiple[of], f, 0), p.multiple[k])
		}
	}
	switch n { // a line's odd places, and the next line's start
	case 3:
		times(3, 1, 2)
	case 4:
		times(2, 1, 1)
		times(4, 2, 1)
		times(3*each, each, 2)
	case 6:
		times(3, 1, 2)
		times(6, 3, 1)
		times(3*each, each, 2)
		times(5*each, each, 4)
	}
	return p
}

// times is a register with n steps.
func (p *places) times(n int) reg.Register {
	r, ok := p.multiple[n]
	if !ok {
		panic(fmt.Sprintf("no register for %d steps", n))
	}
	return r
}

// at is the operand for number n: by its pointer, or from base, a pointer to
// one in its column or row, i times each steps on.
func (p *places) at(n int, base reg.Register, each, i int, index reg.Register) operand.Mem {
	if p.ptr {
		r := p.GP64()
		p.MOVQ(at(p.base, nil, 0, 8*n), r)
		return at(r, index, 1, 0)
	}
	if i == 0 {
		return at(base, nil, 0, 0)
	}
	scale := 1
	for i%2 == 0 {
		i, scale = i/2, scale*2
	}
	return at(base, p.times(each*i), uint8(scale), 0)
}
