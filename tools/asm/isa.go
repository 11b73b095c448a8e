package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set: its vectors, and the few things that are spelled
// differently with it.
type isa struct {
	suffix string // of function names
	lanes  int    // float32s in a vector
	bytes  int    // of a vector
	regs   []reg.Physical
}

var xmm = []reg.VecPhysical{
	reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7,
	reg.X8, reg.X9, reg.X10, reg.X11, reg.X12, reg.X13, reg.X14, reg.X15,
	reg.X16, reg.X17, reg.X18, reg.X19, reg.X20, reg.X21, reg.X22, reg.X23,
	reg.X24, reg.X25, reg.X26, reg.X27, reg.X28, reg.X29, reg.X30, reg.X31,
}

var (
	avx2   = &isa{suffix: "AVX2", lanes: 8, bytes: 32, regs: ymms(16)}
	avx512 = &isa{suffix: "AVX512", lanes: 16, bytes: 64, regs: zmms()}
	// vl is AVX-512's instructions on vectors of 256 bits.
	vl = &isa{suffix: "AVX512", lanes: 8, bytes: 32, regs: ymms(32)}
)

func ymms(n int) []reg.Physical {
	var rs []reg.Physical
	for _, x := range xmm[:n] {
		rs = append(rs, x.AsY().(reg.Physical))
	}
	return rs
}

func zmms() []reg.Physical {
	var rs []reg.Physical
	for _, x := range xmm {
		rs = append(rs, x.AsZ().(reg.Physical))
	}
	return rs
}

// zero clears a vector register.
func (g *gen) zero(v *isa, r reg.Register) {
	if v == avx512 || v == vl {
		g.VPXORD(r, r, r)
	} else {
		g.VXORPS(r, r, r)
	}
}

// at returns the memory at base + index*scale + disp.
func at(base, index reg.Register, scale uint8, disp int) operand.Mem {
	m := operand.Mem{Base: base, Disp: disp}
	if index != nil {
		m.Index, m.Scale = index, scale
	}
	return m
}
