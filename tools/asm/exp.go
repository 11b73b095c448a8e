package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exponentials writes the kernels of exponentials that reach 0 and infinity,
// which expNeg, bounded for the sake of sigmoids, does not.
func exponentials(g *gen, v *isa) {
	if v == avx2 {
		tailTable(g)
	}
	exponentialTable(g)
	for _, k := range []mapKernel{
		{name: "expSub", streams: []string{"dst", "x"}, scalars: []string{"scale", "shift"}, body: func(e *elem) {
			e.load("x", e.r[0])
			e.VFMSUB213PS(e.scalar["shift"], e.scalar["scale"], e.r[0])
			e.store(exponential(e), "dst")
		}},
		{name: "expAdd", streams: []string{"dst", "x", "l", "add"}, scalars: []string{"scale"}, body: func(e *elem) {
			e.load("x", e.r[0])
			e.load("l", e.r[1])
			e.VFMSUB213PS(e.r[1], e.scalar["scale"], e.r[0])
			y := exponential(e)
			e.load("add", e.r[0])
			e.VADDPS(e.r[0], y, y)
			e.store(y, "dst")
		}},
	} {
		g.mapKernel(v, k)
	}
}

// expConstants are those of kernel.Exp. At lowest, 2ⁿ comes out as 0, at
// highest as infinity.
var expConstants = []struct {
	name string
	bits uint32
}{
	{"lowest", math.Float32bits(-88)}, {"highest", math.Float32bits(89)},
	{"log2e", math.Float32bits(1.44269504088896341)}, {"magic", math.Float32bits(3 << 22)},
	{"hi", math.Float32bits(0.693359375)}, {"lo", math.Float32bits(-2.12194440e-4)},
	{"c0", math.Float32bits(1.9875691500e-4)}, {"c1", math.Float32bits(1.3981999507e-3)}, {"c2", math.Float32bits(8.3334519073e-3)},
	{"c3", math.Float32bits(4.1665795894e-2)}, {"c4", math.Float32bits(1.6666665459e-1)}, {"c5", math.Float32bits(5.0000001201e-1)},
	{"one", math.Float32bits(1)}, // its bits are those of 2⁰, too
}

// exponentialTable writes each constant 16 times: a vector of any length.
func exponentialTable(g *gen) {
	g.StaticGlobal("exponentials")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, c := range expConstants {
		for lane := range 16 {
			g.AddDatum((16*i+lane)*4, operand.U32(c.bits))
		}
	}
}

// exponential replaces r[0] by its exponential, using r[1] and r[2], and returns where
// it is.
func exponential(e *elem) reg.Register {
	c := func(name string) operand.Mem {
		for i, k := range expConstants {
			if k.name == name {
				return operand.NewDataAddr(operand.NewStaticSymbol("exponentials"), 64*i)
			}
		}
		panic("asm: no constant " + name)
	}
	x, n, p := e.r[0], e.r[1], e.r[2]
	e.VMOVUPS(c("lowest"), n)
	e.VMAXPS(x, n, x) // in the order that keeps NaN
	e.VMOVUPS(c("highest"), n)
	e.VMINPS(x, n, x)
	e.VMULPS(c("log2e"), x, n)
	e.VADDPS(c("magic"), n, n) // the last bits are the integer
	e.VSUBPS(c("magic"), n, p)
	e.VFNMADD231PS(c("hi"), p, x)
	e.VFNMADD231PS(c("lo"), p, x)
	e.VMOVUPS(c("c0"), p)
	for _, k := range []string{"c1", "c2", "c3", "c4", "c5"} {
		e.VFMADD213PS(c(k), x, p)
	}
	e.VMULPS(x, p, p)
	e.VFMADD213PS(x, x, p)
	e.VADDPS(c("one"), p, p)
	e.VPSLLD(operand.U8(23), n, n)
	e.VPADDD(c("one"), n, n)
	e.VMULPS(n, p, p)
	return p
}
