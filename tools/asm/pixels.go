package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The kernels of internal/pixels are AVX2 only: what they do to bytes leaves
// little for wider vectors.

func y(i int) reg.VecPhysical { return xmm[i].AsY().(reg.VecPhysical) }
func x(i int) reg.VecPhysical { return xmm[i] }

// lanes writes a constant of 32 bytes and returns where it is.
func (g *gen) lanes(name string, b [32]byte) operand.Mem {
	m := g.StaticGlobal(name)
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, v := range b {
		g.AddDatum(i, operand.U8(v))
	}
	return m
}

// twice is the same 16 bytes in both lanes; −1 in a shuffle means zero.
func twice(b ...int) (l [32]byte) {
	for i := range l {
		l[i] = 0x80
	}
	for i, v := range b {
		if v >= 0 {
			l[i], l[16+i] = byte(v), byte(v)
		}
	}
	return l
}

// packedLanes is for 24 bytes, of which lane 0 holds bytes 0 to 15 and lane 1 bytes
// 8 to 23: four pixels each, those of lane 1 four bytes later.
func packedLanes(b ...int) [32]byte {
	l := twice(b...)
	for i := 16; i < 32; i++ {
		if l[i] != 0x80 {
			l[i] += 4
		}
	}
	return l
}

func dwords(v ...uint32) (l [32]byte) {
	for i := range 8 {
		for k := range 4 {
			l[4*i+k] = byte(v[i%len(v)] >> (8 * k))
		}
	}
	return l
}

func floats(v ...float32) [32]byte {
	bits := make([]uint32, len(v))
	for i := range v {
		bits[i] = math.Float32bits(v[i])
	}
	return dwords(bits...)
}

func wordPairs(lo, hi int16) [32]byte { return dwords(uint32(uint16(lo)) | uint32(uint16(hi))<<16) }

// store24 writes four pixels of 4 bytes, the fourth unused, from each lane of r as
// 24 bytes of 3. t is overwritten.
func (g *gen) store24(r, t int, compact, to operand.Mem) {
	g.VPSHUFB(compact, y(r), y(r))
	g.VEXTRACTI128(operand.U8(1), y(r), x(t))
	g.VMOVDQU(x(r), to) // four bytes more, which come next
	g.VMOVQ(x(t), to.Offset(12))
	g.VPEXTRD(operand.U8(2), x(t), to.Offset(20))
}

func (g *gen) load24(r int, from operand.Mem) {
	g.VMOVDQU(from, x(r))
	g.VINSERTI128(operand.U8(1), from.Offset(8), y(r), y(r))
}

// resample writes the kernels of both passes of a resampling. A weight of 23 bits is
// two words, its lowest 15 bits and the rest, so that products come in pairs.
func resample(g *gen) {
	first := g.lanes("tapsFirst", twice(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5))
	second := g.lanes("tapsSecond", twice(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11))
	compact := g.lanes("compact", twice(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14))
	half := g.lanes("half", dwords(1<<21))
	g.rows(false, first, second, compact, half)
	g.rows(true, first, second, compact, half)
	g.columns(half)
}

func (g *gen) rows(pairs bool, first, second, compact, half operand.Mem) {
	name, doc := "rowsAVX2", "resamples two rows of RGB, of n results, a multiple of 4, with blocks times four taps.\nIt reads 16 bytes where a block has 12."
	if pairs {
		name, doc = "rowsOfPairsAVX2", "is rowsAVX2 for two taps."
	}
	g.begin(name, "func(dst *uint8, dstStep int, src *uint8, srcStep int, first *int32, weight *int16, blocks int, n int)", doc)
	dst := g.Load(g.Param("dst"), g.GP64())
	dst2 := g.Load(g.Param("dstStep"), g.GP64())
	src := g.Load(g.Param("src"), g.GP64())
	src2 := g.Load(g.Param("srcStep"), g.GP64())
	at0 := g.Load(g.Param("first"), g.GP64())
	weight := g.Load(g.Param("weight"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	g.ADDQ(dst, dst2)
	g.ADDQ(src, src2)
	const maskA, maskB, pack, low, high, data, a, b, w = 0, 1, 2, 4, 8, 9, 10, 11, 12
	g.VMOVDQU(first, y(maskA))
	g.VMOVDQU(second, y(maskB))
	g.VMOVDQU(compact, y(pack))
	off, count := g.GP64(), g.GP64()

	g.Label("four")
	for k := range 4 {
		acc := low + k
		g.MOVLQSX(at(at0, nil, 0, 4*k), off)
		g.LEAQ(at(off, off, 2, 0), off)
		g.VMOVDQU(half, y(acc))
		g.VPXOR(y(high), y(high), y(high))
		again := g.label("block")
		if !pairs {
			g.Load(g.Param("blocks"), count)
			g.Label(again)
		}
		g.VMOVDQU(at(src, off, 1, 0), x(data))
		g.VINSERTI128(operand.U8(1), at(src2, off, 1, 0), y(data), y(data))
		add := func(mask, words, lo, hi int) {
			g.VPSHUFB(y(mask), y(data), y(words))
			g.VPBROADCASTD(at(weight, nil, 0, lo), y(w))
			g.VPBROADCASTD(at(weight, nil, 0, hi), y(w+1))
			g.VPMADDWD(y(w), y(words), y(w))
			g.VPMADDWD(y(w+1), y(words), y(w+1))
			g.VPADDD(y(w), y(acc), y(acc))
			g.VPADDD(y(w+1), y(high), y(high))
		}
		if pairs {
			add(maskA, a, 0, 4)
			g.ADDQ(operand.U8(8), weight)
		} else {
			add(maskA, a, 0, 4)
			add(maskB, b, 8, 12)
			g.ADDQ(operand.U8(16), weight)
			g.ADDQ(operand.U8(12), off)
			g.DECQ(count)
			g.JNE(operand.LabelRef(again))
		}
		g.VPSLLD(operand.U8(15), y(high), y(high))
		g.VPADDD(y(high), y(acc), y(acc))
		g.VPSRLD(operand.U8(22), y(acc), y(acc))
	}
	g.VPACKSSDW(y(low+1), y(low), y(low))
	g.VPACKSSDW(y(low+3), y(low+2), y(low+2))
	g.VPACKUSWB(y(low+2), y(low), y(low))
	g.VPSHUFB(y(pack), y(low), y(low))
	g.VEXTRACTI128(operand.U8(1), y(low), x(low+1))
	for i, to := range []reg.Register{dst, dst2} {
		g.VMOVQ(x(low+i), at(to, nil, 0, 0))
		g.VPEXTRD(operand.U8(2), x(low+i), at(to, nil, 0, 8))
		g.ADDQ(operand.U8(12), to)
	}
	g.ADDQ(operand.U8(16), at0)
	g.SUBQ(operand.U8(4), n)
	g.JGT(operand.LabelRef("four"))
	g.VZEROUPPER()
	g.RET()
}

func (g *gen) columns(half operand.Mem) {
	g.begin("columnsAVX2", "func(dst *uint8, src *uint8, step int, weight *int16, pairs int, n int)",
		"adds weighted rows of n ≥ 32 bytes, pairs times two, step bytes apart.")
	dst := g.Load(g.Param("dst"), g.GP64())
	src := g.Load(g.Param("src"), g.GP64())
	step := g.Load(g.Param("step"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	g.SUBQ(operand.U8(32), n) // where the last vector begins
	pos, p, w, count := g.GP64(), g.GP64(), g.GP64(), g.GP64()
	g.XORQ(pos, pos)
	const low, high, zero, a, b, words, wl, wh = 0, 4, 8, 9, 10, 11, 12, 13
	g.VPXOR(y(zero), y(zero), y(zero))

	g.Label("vector")
	for i := range 4 {
		g.VMOVDQU(half, y(low+i))
		g.VPXOR(y(high+i), y(high+i), y(high+i))
	}
	g.LEAQ(at(src, pos, 1, 0), p)
	g.Load(g.Param("weight"), w)
	g.Load(g.Param("pairs"), count)
	g.Label("pair")
	g.VMOVDQU(at(p, nil, 0, 0), y(a))
	g.VMOVDQU(at(p, step, 1, 0), y(b))
	g.LEAQ(at(p, step, 2, 0), p)
	g.VPBROADCASTD(at(w, nil, 0, 0), y(wl))
	g.VPBROADCASTD(at(w, nil, 0, 4), y(wh))
	g.ADDQ(operand.U8(8), w)
	const both, product = 14, 15
	for i := range 4 {
		if i == 0 {
			g.VPUNPCKLBW(y(b), y(a), y(both))
		}
		if i == 2 {
			g.VPUNPCKHBW(y(b), y(a), y(both))
		}
		if i%2 == 0 {
			g.VPUNPCKLBW(y(zero), y(both), y(words))
		} else {
			g.VPUNPCKHBW(y(zero), y(both), y(words))
		}
		g.VPMADDWD(y(wl), y(words), y(product))
		g.VPADDD(y(product), y(low+i), y(low+i))
		g.VPMADDWD(y(wh), y(words), y(product))
		g.VPADDD(y(product), y(high+i), y(high+i))
	}
	g.DECQ(count)
	g.JNE(operand.LabelRef("pair"))
	for i := range 4 {
		g.VPSLLD(operand.U8(15), y(high+i), y(high+i))
		g.VPADDD(y(high+i), y(low+i), y(low+i))
		g.VPSRLD(operand.U8(22), y(low+i), y(low+i))
	}
	g.VPACKSSDW(y(low+1), y(low), y(low))
	g.VPACKSSDW(y(low+3), y(low+2), y(low+2))
	g.VPACKUSWB(y(low+2), y(low), y(low))
	g.VMOVDQU(y(low), at(dst, pos, 1, 0))
	g.CMPQ(pos, n)
	g.JEQ(operand.LabelRef("done"))
	g.ADDQ(operand.U8(32), pos)
	g.CMPQ(pos, n)
	g.JLE(operand.LabelRef("vector"))
	g.MOVQ(n, pos) // the last vector overlaps the one before
	g.JMP(operand.LabelRef("vector"))
	g.Label("done")
	g.VZEROUPPER()
	g.RET()
}

// colour writes the kernels of colour changes.
func colour(g *gen) {
	c := &colourTables{
		compact: g.lanes("compact", twice(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14)),
		rg:      g.lanes("redGreen", packedLanes(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10)),
		gb:      g.lanes("greenBlue", packedLanes(1, -1, 2, -1, 4, -1, 5, -1, 7, -1, 8, -1, 10, -1, 11)),
		// 0.299, 0.587 and 0.114 of 2^16, the second halved to fit.
		wrg:  g.lanes("weightsRG", wordPairs(19595, 19235)),
		wgb:  g.lanes("weightsGB", wordPairs(19235, 7471)),
		half: g.lanes("greyHalf", dwords(1<<15)),
	}
	for i, name := range []string{"red", "green", "blue"} {
		c.channel[i] = g.lanes(name, packedLanes(i, -1, -1, -1, 3+i, -1, -1, -1, 6+i, -1, -1, -1, 9+i))
	}
	g.greySum(c)
	g.toGrey(c)
	g.blendBytes()
	g.saturate(c)
	g.hue(c)
	g.normalize()
}

type colourTables struct {
	compact, rg, gb, wrg, wgb, half operand.Mem
	channel                         [3]operand.Mem
}

// grey puts convert("L") of eight pixels into r as dwords; t is overwritten.
func (g *gen) grey(c *colourTables, data, r, t int) {
	g.VPSHUFB(c.rg, y(data), y(r))
	g.VPSHUFB(c.gb, y(data), y(t))
	g.VPMADDWD(c.wrg, y(r), y(r))
	g.VPMADDWD(c.wgb, y(t), y(t))
	g.VPADDD(c.half, y(r), y(r))
	g.VPADDD(y(t), y(r), y(r))
	g.VPSRLD(operand.U8(16), y(r), y(r))
}

func (g *gen) greySum(c *colourTables) {
	g.begin("greySumAVX2", "func(rgb *uint8, n int) uint32", "adds the grey values of n pixels, a multiple of 8.")
	p := g.Load(g.Param("rgb"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	g.VPXOR(y(0), y(0), y(0))
	g.Label("eight")
	g.load24(1, at(p, nil, 0, 0))
	g.grey(c, 1, 2, 3)
	g.VPADDD(y(2), y(0), y(0))
	g.ADDQ(operand.U8(24), p)
	g.SUBQ(operand.U8(8), n)
	g.JGT(operand.LabelRef("eight"))
	g.VEXTRACTI128(operand.U8(1), y(0), x(1))
	g.VPADDD(x(1), x(0), x(0))
	g.VPSHUFD(operand.U8(0x4e), x(0), x(1))
	g.VPADDD(x(1), x(0), x(0))
	g.VPSHUFD(operand.U8(0xb1), x(0), x(1))
	g.VPADDD(x(1), x(0), x(0))
	sum := g.GP32()
	g.VMOVD(x(0), sum)
	g.VZEROUPPER()
	g.Store(sum, g.ReturnIndex(0))
	g.RET()
}

func (g *gen) toGrey(c *colourTables) {
	g.begin("toGreyAVX2", "func(dst, rgb *uint8, n int)", "writes the grey values of n pixels, a multiple of 8; dst may be rgb.")
	to := g.Load(g.Param("dst"), g.GP64())
	p := g.Load(g.Param("rgb"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	g.Label("eight")
	g.load24(1, at(p, nil, 0, 0))
	g.grey(c, 1, 2, 3)
	g.VEXTRACTI128(operand.U8(1), y(2), x(3))
	g.VPACKSSDW(x(3), x(2), x(2))
	g.VPACKUSWB(x(2), x(2), x(2))
	g.VMOVQ(x(2), at(to, nil, 0, 0))
	g.ADDQ(operand.U8(24), p)
	g.ADDQ(operand.U8(8), to)
	g.SUBQ(operand.U8(8), n)
	g.JGT(operand.LabelRef("eight"))
	g.VZEROUPPER()
	g.RET()
}

// blendBytes: the numbers stay far from where a float would not be an int32.
func (g *gen) blendBytes() {
	order := g.lanes("blendOrder", dwords(0, 4, 1, 5, 2, 6, 3, 7))
	g.begin("blendBytesAVX2", "func(pix *uint8, n int, grey uint8, alpha float32)", "blends n bytes, a multiple of 32, with grey.")
	p := g.Load(g.Param("pix"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	v := g.Load(g.Param("grey"), g.GP32())
	const alpha, greyInt, grey, perm = 12, 13, 14, 15
	g.VMOVD(v, x(greyInt))
	g.VPBROADCASTD(x(greyInt), y(greyInt))
	g.VCVTDQ2PS(y(greyInt), y(grey))
	m, err := g.Param("alpha").Resolve()
	if err != nil {
		panic(err)
	}
	g.VBROADCASTSS(m.Addr, y(alpha))
	g.VMOVDQU(order, y(perm))
	g.Label("vector")
	for i := range 4 {
		g.VPMOVZXBD(at(p, nil, 0, 8*i), y(i))
		g.VPSUBD(y(greyInt), y(i), y(i))
		g.VCVTDQ2PS(y(i), y(i))
		g.VMULPS(y(alpha), y(i), y(i))
		g.VADDPS(y(grey), y(i), y(i))
		g.VCVTTPS2DQ(y(i), y(i))
	}
	g.VPACKSSDW(y(1), y(0), y(0))
	g.VPACKSSDW(y(3), y(2), y(2))
	g.VPACKUSWB(y(2), y(0), y(0))
	g.VPERMD(y(0), y(perm), y(0))
	g.VMOVDQU(y(0), at(p, nil, 0, 0))
	g.ADDQ(operand.U8(32), p)
	g.SUBQ(operand.U8(32), n)
	g.JGT(operand.LabelRef("vector"))
	g.VZEROUPPER()
	g.RET()
}

func (g *gen) saturate(c *colourTables) {
	planar := g.lanes("planar", twice(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11))
	g.begin("saturateAVX2", "func(rgb *uint8, n int, alpha float32)", "blends n pixels, a multiple of 8, with their grey values.")
	p := g.Load(g.Param("rgb"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	m, err := g.Param("alpha").Resolve()
	if err != nil {
		panic(err)
	}
	const alpha = 15
	g.VBROADCASTSS(m.Addr, y(alpha))
	g.Label("eight")
	g.load24(0, at(p, nil, 0, 0))
	g.grey(c, 0, 4, 5)
	g.VCVTDQ2PS(y(4), y(5))
	for i := range 3 {
		r := 1 + i
		g.VPSHUFB(c.channel[i], y(0), y(r))
		g.VPSUBD(y(4), y(r), y(r))
		g.VCVTDQ2PS(y(r), y(r))
		g.VMULPS(y(alpha), y(r), y(r))
		g.VADDPS(y(5), y(r), y(r))
		g.VCVTTPS2DQ(y(r), y(r))
	}
	g.VPACKSSDW(y(2), y(1), y(1))
	g.VPACKSSDW(y(3), y(3), y(3))
	g.VPACKUSWB(y(3), y(1), y(1))
	g.store24(1, 2, planar, at(p, nil, 0, 0))
	g.ADDQ(operand.U8(24), p)
	g.SUBQ(operand.U8(8), n)
	g.JGT(operand.LabelRef("eight"))
	g.VZEROUPPER()
	g.RET()
}

// hue turns the hue of eight pixels at a time, without tables. That Pillow's floats
// round as these few exact or nearly exact steps do was searched for, and is tested
// for every pixel:
//
//	q = (max − middle)/(max − min);  x = base ± q, in sixths of the circle
//	hue        = ⌊42.5·x + ε⌋, ε by the channels' order
//	saturation = ⌊255·(max − min)/max⌋
//	levels     = max − [max·s·m/255²], max − [max·s/255], rounded; m is 255 times the
//	             part of a sixth, or 255 less that
//
// 1.5·2^23 added to a number rounds it and leaves the integer in its lowest bits.
func (g *gen) hue(c *colourTables) {
	const magic = 3 << 22
	one := g.lanes("ones", dwords(1))
	four := g.lanes("fours", dwords(4))
	low8 := g.lanes("low8", dwords(255))
	six := g.lanes("sixes", wordPairs(6, 0))
	k255 := g.lanes("white", floats(255))
	k425 := g.lanes("sixth", floats(42.5))
	kMagic := g.lanes("magic", floats(magic))
	over1 := g.lanes("overWhite", floats(float32(1)/255))
	over2 := g.lanes("overWhite2", floats(float32(1)/(255*255)))
	// By the channels' order: r≥g≥b, r≥b>g, g≥r>b, g≥b≥r, b≥r≥g, b≥g≥r.
	base := g.lanes("hueBase", floats(1, -1, 1, 3, 5, 3, 0, 0))
	sign := g.lanes("hueSign", floats(-1, 1, 1, -1, -1, 1, 0, 0))
	start := g.lanes("hueStart", floats(magic, magic+255, magic, magic, magic, magic, magic, magic))
	slack := g.lanes("hueSlack", floats(0, -1e-3, -1e-3, -3.8e-6, -3.8e-6, -1.3e-6, 0, 0))
	// By the sixth: which of largest, between and smallest red, green and blue take.
	levels := func(r, g, b uint32) uint32 { return r | g<<8 | b<<16 }
	sixths := g.lanes("levels", dwords(levels(0, 1, 2), levels(1, 0, 2), levels(2, 0, 1), levels(2, 1, 0), levels(1, 2, 0), levels(0, 2, 1), levels(0, 1, 2), 0))
	offset := g.lanes("levelOffset", dwords(0, 0x040404, 0x080808, 0x0c0c0c))

	g.begin("hueAVX2", "func(rgb *uint8, n int, shift uint8)", "turns the hue of n pixels, a multiple of 8.")
	p := g.Load(g.Param("rgb"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	s := g.Load(g.Param("shift"), g.GP32())
	const shift = 15
	g.VMOVD(s, x(shift))
	g.VPBROADCASTD(x(shift), y(shift))

	g.Label("eight")
	g.load24(0, at(p, nil, 0, 0))
	const red, green, blue, hi, lo = 1, 2, 3, 4, 5
	for i := range 3 {
		g.VPSHUFB(c.channel[i], y(0), y(red+i))
	}
	g.VPMAXSD(y(green), y(red), y(hi))
	g.VPMINSD(y(green), y(red), y(lo))
	g.VPMAXSD(y(blue), y(hi), y(hi))
	g.VPMINSD(y(blue), y(lo), y(lo))
	// The order.
	const order, isRed, t = 6, 7, 8
	g.VPCMPEQD(y(green), y(hi), y(order))
	g.VPADDD(y(order), y(order), y(order))
	g.VPADDD(four, y(order), y(order)) // 2, or 4 for blue
	g.VPCMPEQD(y(red), y(lo), y(t))
	g.VPSUBD(y(t), y(order), y(order))
	g.VPCMPEQD(y(blue), y(lo), y(t))
	g.VPADDD(one, y(t), y(t))
	g.VPCMPEQD(y(red), y(hi), y(isRed))
	g.VPBLENDVB(y(isRed), y(t), y(order), y(order))
	// Largest less middle is 2·max + min − sum.
	const diff, chroma, value, sat = 0, 7, 9, 10
	g.VPADDD(y(green), y(red), y(diff))
	g.VPADDD(y(blue), y(diff), y(diff))
	g.VPADDD(y(hi), y(hi), y(t))
	g.VPADDD(y(lo), y(t), y(t))
	g.VPSUBD(y(diff), y(t), y(diff))
	g.VPSUBD(y(lo), y(hi), y(chroma))
	// Grey pixels come out as they are whatever their hue.
	g.VCVTDQ2PS(y(chroma), y(sat))
	g.VMULPS(k255, y(sat), y(sat))
	g.VPMAXSD(one, y(chroma), y(chroma))
	g.VCVTDQ2PS(y(chroma), y(chroma))
	g.VCVTDQ2PS(y(diff), y(diff))
	g.VDIVPS(y(chroma), y(diff), y(diff))
	g.VCVTDQ2PS(y(hi), y(value))
	g.VPMAXSD(one, y(hi), y(t))
	g.VCVTDQ2PS(y(t), y(t))
	g.VDIVPS(y(t), y(sat), y(sat))
	g.VCVTTPS2DQ(y(sat), y(sat))
	// The hue.
	const turn, near, rest = 1, 2, 3
	g.VPERMPS(base, y(order), y(turn))
	g.VPERMPS(sign, y(order), y(t))
	g.VFMADD231PS(y(t), y(diff), y(turn))
	g.VPERMPS(start, y(order), y(t))
	g.VMOVUPS(k425, y(5))
	g.VMOVAPS(y(turn), y(near))
	g.VFMADD213PS(y(t), y(5), y(near)) // rounded
	g.VSUBPS(y(t), y(near), y(rest))
	g.VFMSUB231PS(y(turn), y(5), y(rest))
	g.VPERMPS(slack, y(order), y(t))
	g.VCMPPS(operand.U8(0x11), y(t), y(rest), y(t)) // rest < −ε: one less
	g.VPADDD(y(t), y(near), y(near))
	g.VPADDD(y(shift), y(near), y(near))
	g.VPAND(low8, y(near), y(near))
	// Sixth and part.
	const part, sixth = 2, 3
	g.VPMADDWD(six, y(near), y(part))
	g.VPSRLD(operand.U8(8), y(part), y(sixth))
	g.VPADDD(y(part), y(sixth), y(sixth))
	g.VPADDD(one, y(sixth), y(sixth))
	g.VPSRLD(operand.U8(8), y(sixth), y(sixth)) // ⌊6h/255⌋
	g.VPSLLD(operand.U8(8), y(sixth), y(t))
	g.VPSUBD(y(t), y(part), y(part))
	g.VPADDD(y(sixth), y(part), y(part))
	g.VPSLLD(operand.U8(31), y(sixth), y(t))
	g.VPSRAD(operand.U8(31), y(t), y(t))
	g.VPANDN(low8, y(t), y(t))
	g.VPXOR(y(t), y(part), y(part)) // from the other end in even sixths
	// The levels.
	const between, small, rounder = 5, 6, 7
	g.VADDPS(kMagic, y(value), y(rounder))
	g.VPMADDWD(y(sat), y(part), y(between))
	g.VCVTDQ2PS(y(between), y(between))
	g.VMULPS(y(value), y(between), y(between))
	g.VFNMADD132PS(over2, y(rounder), y(between))
	g.VCVTDQ2PS(y(sat), y(small))
	g.VMULPS(y(value), y(small), y(small))
	g.VFNMADD132PS(over1, y(rounder), y(small))
	g.VPSLLD(operand.U8(8), y(between), y(between))
	g.VPSLLD(operand.U8(16), y(small), y(small))
	g.VPOR(y(between), y(hi), y(hi))
	g.VPOR(y(small), y(hi), y(hi))
	g.VPERMD(sixths, y(sixth), y(t))
	g.VPADDD(offset, y(t), y(t))
	g.VPSHUFB(y(t), y(hi), y(hi))
	g.store24(hi, t, c.compact, at(p, nil, 0, 0))
	g.ADDQ(operand.U8(24), p)
	g.SUBQ(operand.U8(8), n)
	g.JGT(operand.LabelRef("eight"))
	g.VZEROUPPER()
	g.RET()
}

// normalize divides by multiplying with the reciprocal and correcting by the
// remainder: rounded as a division is for nearly all numbers, which the caller checks.
func (g *gen) normalize() {
	k255 := g.lanes("white2", floats(255))
	over := g.lanes("over255", floats(float32(1)/255))
	g.begin("normalizeAVX2", "func(dst *float32, pix *uint8, n int, mean, std, over *float32)",
		"writes (pix/255 − mean)/std of n bytes, a multiple of 24. mean, std and 1/std\nare of 24 bytes.")
	to := g.Load(g.Param("dst"), g.GP64())
	p := g.Load(g.Param("pix"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	mean := g.Load(g.Param("mean"), g.GP64())
	std := g.Load(g.Param("std"), g.GP64())
	overStd := g.Load(g.Param("over"), g.GP64())
	const m, s, o, white, overWhite, v, q = 0, 3, 6, 9, 10, 11, 12
	for i := range 3 {
		g.VMOVUPS(at(mean, nil, 0, 32*i), y(m+i))
		g.VMOVUPS(at(std, nil, 0, 32*i), y(s+i))
		g.VMOVUPS(at(overStd, nil, 0, 32*i), y(o+i))
	}
	g.VMOVUPS(k255, y(white))
	g.VMOVUPS(over, y(overWhite))
	g.Label("vectors")
	for i := range 3 {
		divide := func(by, over int) { // v by it
			g.VMULPS(y(over), y(v), y(q))
			g.VFNMADD231PS(y(by), y(q), y(v)) // remainder
			g.VFMADD213PS(y(q), y(over), y(v))
		}
		g.VPMOVZXBD(at(p, nil, 0, 8*i), y(v))
		g.VCVTDQ2PS(y(v), y(v))
		divide(white, overWhite)
		g.VSUBPS(y(m+i), y(v), y(v))
		divide(s+i, o+i)
		g.VMOVUPS(y(v), at(to, nil, 0, 32*i))
	}
	g.ADDQ(operand.U8(24), p)
	g.ADDQ(operand.U8(96), to)
	g.SUBQ(operand.U8(24), n)
	g.JGT(operand.LabelRef("vectors"))
	g.VZEROUPPER()
	g.RET()
}
