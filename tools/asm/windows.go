package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// windows writes the kernels over windows of images. All go through positions,
// channels, and the taps of a window, the last innermost, so that images are
// read in the order in which they lie in memory.
func windows(g *gen, v *isa) {
	if v == avx2 {
		tailTable(g)
	}
	g.maxPool(v)
	g.maxPoolGrad(v)
	g.depthwise(v)
	g.depthwiseGrad(v)
}

// window is a kernel's registers: pointers to the first position's first
// channel, strides in bytes, and where a loop is.
type window struct {
	*gen
	v                      *isa
	pixels, tap, mask      reg.Register
	index, count, row, col reg.Register
	tail                   bool
}

func (g *gen) window(v *isa) *window {
	w := &window{gen: g, v: v}
	w.pixels = g.Load(g.Param("pixels"), g.GP64())
	w.tap = g.bytes("tap")
	w.index, w.count, w.row, w.col = g.GP64(), g.GP64(), g.GP64(), g.GP64()
	g.Load(g.Param("c"), w.count)
	w.mask = g.tailMask(v, w.count)
	return w
}

// bytes loads a stride, in elements, as bytes.
func (g *gen) bytes(param string) reg.Register {
	r := g.Load(g.Param(param), g.GP64())
	g.SHLQ(operand.U8(2), r)
	return r
}

// skip adds a parameter, in elements, to a pointer.
func (g *gen) skip(pointer reg.Register, param string) {
	r := g.Load(g.Param(param), g.GP64())
	g.LEAQ(at(pointer, r, 4, 0), pointer)
}

// move copies the pointer moved by index.
func (g *gen) move(pointer, index reg.Register) reg.Register {
	r := g.GP64()
	g.LEAQ(at(pointer, index, 1, 0), r)
	return r
}

// channels writes the loops over channels, of so many vectors a turn.
func (w *window) channels(sizes []int, turn func(strip int)) {
	w.Load(w.Param("c"), w.count)
	w.XORQ(w.index, w.index)
	w.strips(w.v, w.count, w.index, sizes, func(strip int, tail bool) {
		w.tail = tail
		turn(strip)
	})
}

// taps writes the loops over a window's rows, as many as the register row says,
// and its columns. A pointer into an image moves along, and one into a kernel if
// there is one.
func (w *window) taps(image, kernel reg.Register, tap func()) {
	row, col := w.label("row"), w.label("col")
	w.Label(row)
	w.Load(w.Param("kw"), w.col)
	w.Label(col)
	tap()
	w.ADDQ(w.tap, image)
	if kernel != nil {
		w.skip(kernel, "kTap")
	}
	w.DECQ(w.col)
	w.JNE(operand.LabelRef(col))
	w.skip(image, "gap")
	if kernel != nil {
		w.skip(kernel, "kGap")
	}
	w.DECQ(w.row)
	w.JNE(operand.LabelRef(row))
}

func (w *window) load(m operand.Mem, r reg.Register) {
	switch {
	case !w.tail:
		w.VMOVUPS(m, r)
	case w.v == avx2:
		w.VMASKMOVPS(m, w.mask, r)
	default:
		w.VMOVUPS_Z(m, w.mask, r)
	}
}

func (w *window) store(r reg.Register, m operand.Mem) {
	switch {
	case !w.tail:
		w.VMOVUPS(r, m)
	case w.v == avx2:
		w.VMASKMOVPS(r, w.mask, m)
	default:
		w.VMOVUPS(r, w.mask, m)
	}
}

// fma adds the product of r and memory to sum.
func (w *window) fma(m operand.Mem, r, sum, temp reg.Register) {
	if !w.tail {
		w.VFMADD231PS(m, r, sum)
		return
	}
	w.load(m, temp)
	w.VFMADD231PS(temp, r, sum)
}

const (
	unordered = 3
	above     = 0x1e // false for NaN, no exception
)

// minusInf returns a vector of −∞ in r.
func (g *gen) minusInf(r reg.Register) reg.Register {
	bits := g.GP32()
	g.MOVL(operand.U32(math.Float32bits(float32(math.Inf(-1)))), bits)
	g.VMOVD(bits, reg.X15)
	g.VBROADCASTSS(reg.X15, r)
	return r
}

// maxPool takes a vector's larger pixel with one instruction, which prefers
// its second operand where one is NaN: the best so far; then the pixel where
// that is NaN.
func (g *gen) maxPool(v *isa) {
	g.begin("maxPool"+v.suffix, "func(dst, x *float32, pixels, c, step, tap, gap, kh, kw int)", "is defined by [maxPoolPlain].")
	dst, x := g.Load(g.Param("dst"), g.GP64()), g.Load(g.Param("x"), g.GP64())
	floor := g.minusInf(v.regs[14])
	w := g.window(v)
	best, pixel, nan := v.regs[:4], v.regs[4:8], v.regs[8]
	g.Label("pixel")
	w.channels([]int{4, 1}, func(strip int) {
		for i := range strip {
			g.VMOVAPS(floor, best[i])
		}
		from := g.move(x, w.index)
		g.Load(g.Param("kh"), w.row)
		w.taps(from, nil, func() {
			for i := range strip {
				p := pixel[i]
				w.load(at(from, nil, 0, i*v.bytes), p)
				g.VMAXPS(best[i], p, best[i])
				if v == avx2 {
					g.VCMPPS(operand.U8(unordered), p, p, nan)
					g.VBLENDVPS(nan, p, best[i], best[i])
				} else {
					g.VCMPPS(operand.U8(unordered), p, p, reg.K2)
					g.VMOVAPS(p, reg.K2, best[i])
				}
			}
		})
		for i := range strip {
			w.store(best[i], at(dst, w.index, 1, i*v.bytes))
		}
	})
	g.ADDQ(w.tap, dst)
	g.skip(x, "step")
	g.DECQ(w.pixels)
	g.JNE(operand.LabelRef("pixel"))
	g.VZEROUPPER()
	g.RET()
}

// maxPoolGrad goes through the taps twice: to find the largest pixel's number,
// and to add where a tap has that number.
func (g *gen) maxPoolGrad(v *isa) {
	g.begin("maxPoolGrad"+v.suffix, "func(dx, x, dy *float32, pixels, c, step, tap, gap, kh, kw, from, to int)", "is defined by [maxPoolGradPlain].")
	dx, x, dy := g.Load(g.Param("dx"), g.GP64()), g.Load(g.Param("x"), g.GP64()), g.Load(g.Param("dy"), g.GP64())
	floor := g.minusInf(v.regs[14])
	w := g.window(v)
	best, number := v.regs[:4], v.regs[4:8]
	tap, one, p, m := v.regs[8], v.regs[9], v.regs[10], v.regs[11]
	broadcast := func(from reg.Register, to reg.Physical) {
		x := xmm[to.PhysicalIndex()]
		g.VMOVD(from.(reg.GP).As32(), x)
		g.VPBROADCASTD(x, to)
	}
	g.MOVQ(operand.U32(1), w.row)
	broadcast(w.row, v.regs[9])
	g.Label("pixel")
	w.channels([]int{4, 1}, func(strip int) {
		for i := range strip {
			g.VMOVAPS(floor, best[i])
			g.zero(v, number[i])
		}
		g.zero(v, tap)
		from := g.move(x, w.index)
		g.Load(g.Param("kh"), w.row)
		w.taps(from, nil, func() {
			for i := range strip {
				w.load(at(from, nil, 0, i*v.bytes), p)
				if v == avx2 {
					g.VCMPPS(operand.U8(above), best[i], p, m)
					g.VCMPPS(operand.U8(unordered), p, p, v.regs[12])
					g.VORPS(v.regs[12], m, m)
					g.VBLENDVPS(m, p, best[i], best[i])
					g.VBLENDVPS(m, tap, number[i], number[i])
				} else {
					g.VCMPPS(operand.U8(above), best[i], p, reg.K2)
					g.VCMPPS(operand.U8(unordered), p, p, reg.K3)
					g.KORW(reg.K2, reg.K3, reg.K2)
					g.VMOVAPS(p, reg.K2, best[i])
					g.VMOVDQA32(tap, reg.K2, number[i])
				}
			}
			g.VPADDD(one, tap, tap)
		})
		first := g.Load(g.Param("from"), g.GP64())
		g.Load(g.Param("to"), w.row)
		g.SUBQ(first, w.row)
		g.Load(g.Param("kw"), w.col)
		g.IMULQ(w.col, first)
		broadcast(first, v.regs[8])
		d := best
		for i := range strip {
			w.load(at(dy, w.index, 1, i*v.bytes), d[i])
		}
		to := g.move(dx, w.index)
		w.taps(to, nil, func() {
			for i := range strip {
				mem := at(to, nil, 0, i*v.bytes)
				w.load(mem, p)
				if v == avx2 {
					g.VPCMPEQD(number[i], tap, m)
					g.VANDPS(d[i], m, m)
					g.VADDPS(m, p, p)
				} else {
					g.VPCMPEQD(number[i], tap, reg.K2)
					g.VADDPS(d[i], p, reg.K2, p)
				}
				w.store(p, mem)
			}
			g.VPADDD(one, tap, tap)
		})
	})
	g.ADDQ(w.tap, dy)
	g.skip(x, "step")
	g.skip(dx, "step")
	g.DECQ(w.pixels)
	g.JNE(operand.LabelRef("pixel"))
	g.VZEROUPPER()
	g.RET()
}

// blocks are how many positions and vectors of channels to take together: one
// load of a weight serves all positions, and there are eight chains of
// additions for the latency of one.
var blocks = []struct{ pixels, vectors int }{{4, 2}, {2, 4}, {1, 8}}

// positions writes the loops over positions. Address gives the memory of a
// position's element at a pointer into x.
func (w *window) positions(x reg.Register, body func(pixels int, sizes []int, address func(p reg.Register, pixel, disp int) operand.Mem), next func(pixels int)) {
	step := w.bytes("step")
	step3 := w.GP64()
	w.LEAQ(at(step, step, 2, 0), step3)
	address := func(p reg.Register, pixel, disp int) operand.Mem {
		switch pixel {
		case 0:
			return at(p, nil, 0, disp)
		case 3:
			return at(p, step3, 1, disp)
		}
		return at(p, step, uint8(pixel), disp)
	}
	for _, b := range blocks {
		loop, end := w.label("positions"), w.label("fewer")
		w.Label(loop)
		w.CMPQ(w.pixels, operand.U8(b.pixels))
		w.JLT(operand.LabelRef(end))
		body(b.pixels, []int{b.vectors, 1}, address)
		next(b.pixels)
		w.LEAQ(at(x, step, uint8(b.pixels), 0), x)
		w.SUBQ(operand.U8(b.pixels), w.pixels)
		w.JMP(operand.LabelRef(loop))
		w.Label(end)
	}
	w.VZEROUPPER()
	w.RET()
}

func (g *gen) depthwise(v *isa) {
	g.begin("depthwise"+v.suffix, "func(dst, x, k *float32, pixels, c, dstStep, step, tap, gap, kTap, kGap, kh, kw int, acc bool)", "is defined by [depthwisePlain].")
	dst, x, weights := g.Load(g.Param("dst"), g.GP64()), g.Load(g.Param("x"), g.GP64()), g.Load(g.Param("k"), g.GP64())
	w := g.window(v)
	w.positions(x, func(pixels int, sizes []int, address func(p reg.Register, pixel, disp int) operand.Mem) {
		w.channels(sizes, func(strip int) {
			sum := func(p, i int) reg.Register { return v.regs[p*strip+i] }
			temp := v.regs[pixels*strip : 14]
			for p := range pixels {
				for i := range strip {
					g.zero(v, sum(p, i))
				}
			}
			from, weight := g.move(x, w.index), g.move(weights, w.index)
			g.Load(g.Param("kh"), w.row)
			w.taps(from, weight, func() {
				for i := range strip {
					t := temp[i%(len(temp)-1)]
					w.load(at(weight, nil, 0, i*v.bytes), t)
					for p := range pixels {
						w.fma(address(from, p, i*v.bytes), t, sum(p, i), temp[len(temp)-1])
					}
				}
			})
			plain := g.label("store")
			to := g.move(dst, w.index)
			dstStep := g.bytes("dstStep")
			acc := g.Load(g.Param("acc"), g.GP8())
			old := g.GP64()
			g.MOVQ(to, old)
			g.TESTB(acc, acc)
			g.JEQ(operand.LabelRef(plain))
			for p := range pixels {
				for i := range strip {
					w.load(at(old, nil, 0, i*v.bytes), temp[0])
					g.VADDPS(temp[0], sum(p, i), sum(p, i))
				}
				g.ADDQ(dstStep, old)
			}
			g.Label(plain)
			for p := range pixels {
				for i := range strip {
					w.store(sum(p, i), at(to, nil, 0, i*v.bytes))
				}
				g.ADDQ(dstStep, to)
			}
		})
	}, func(pixels int) {
		for range pixels {
			g.skip(dst, "dstStep")
		}
	})
}

func (g *gen) depthwiseGrad(v *isa) {
	g.begin("depthwiseGrad"+v.suffix, "func(sum, x, dy *float32, pixels, c, step, tap, gap, kTap, kGap, kh, kw int)", "is defined by [depthwiseGradPlain].")
	sums, x, dy := g.Load(g.Param("sum"), g.GP64()), g.Load(g.Param("x"), g.GP64()), g.Load(g.Param("dy"), g.GP64())
	w := g.window(v)
	w.positions(x, func(pixels int, sizes []int, address func(p reg.Register, pixel, disp int) operand.Mem) {
		w.channels(sizes, func(strip int) {
			d := func(p, i int) reg.Register { return v.regs[p*strip+i] }
			temp := v.regs[pixels*strip : 15]
			of := g.move(dy, w.index)
			for p := range pixels {
				for i := range strip {
					w.load(at(of, nil, 0, i*v.bytes), d(p, i))
				}
				g.ADDQ(w.tap, of)
			}
			from, sum := g.move(x, w.index), g.move(sums, w.index)
			g.Load(g.Param("kh"), w.row)
			w.taps(from, sum, func() {
				for i := range strip {
					t, m := temp[i%(len(temp)-1)], at(sum, nil, 0, i*v.bytes)
					w.load(m, t)
					for p := range pixels {
						w.fma(address(from, p, i*v.bytes), d(p, i), t, temp[len(temp)-1])
					}
					w.store(t, m)
				}
			})
		})
	}, func(pixels int) {
		for range pixels {
			g.ADDQ(w.tap, dy)
		}
	})
}
