package main

import (
	"strconv"

	"github.com/mmcloughlin/avo/operand"
)

// jpegKernels writes what a JPEG decoder does to samples.
func jpegKernels(g *gen) {
	g.inverseDCT()
	g.chroma()
	g.yccToRGB()
}

// inverseDCT is libjpeg's accurate transform with a column a lane, then with a row.
func (g *gen) inverseDCT() {
	consts := map[int]operand.Mem{}
	for _, v := range []int{2446, 3196, 4433, 6270, 7373, 9633, 12299, 15137, 16069, 16819, 20995, 25172} {
		consts[v] = g.lanes("f"+strconv.Itoa(v), dwords(uint32(v)))
	}
	halves := [2]operand.Mem{g.lanes("dctHalf1", dwords(1<<10)), g.lanes("dctHalf2", dwords(1<<17))}
	square := g.lanes("square", twice(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15))
	sign := g.lanes("sign", dwords(0x80808080))

	g.begin("inverseDCTAVX2", "func(out *uint8, stride int, b *int32)", "is InverseDCT.")
	out := g.Load(g.Param("out"), g.GP64())
	stride := g.Load(g.Param("stride"), g.GP64())
	b := g.Load(g.Param("b"), g.GP64())

	mul := func(v, r, to int) { g.VPMULLD(consts[v], y(r), y(to)) }
	add := func(a, b, to int) { g.VPADDD(y(b), y(a), y(to)) }
	sub := func(a, b, to int) { g.VPSUBD(y(b), y(a), y(to)) }
	// pass transforms registers 8 to 15 to 0 to 7.
	pass := func(half operand.Mem, down int) {
		const i0, i1, i2, i3, i4, i5, i6, i7 = 8, 9, 10, 11, 12, 13, 14, 15
		add(i2, i6, 0)
		mul(4433, 0, 0)
		mul(15137, i6, 1)
		sub(0, 1, 1) // t2
		mul(6270, i2, 2)
		add(0, 2, 2) // t3
		add(i0, i4, 0)
		sub(i0, i4, i0)
		for _, r := range []int{0, i0} {
			g.VPSLLD(operand.U8(13), y(r), y(r))
			g.VPADDD(half, y(r), y(r))
		}
		add(0, 2, i2)
		sub(0, 2, i6)
		add(i0, 1, i4)
		sub(i0, 1, i0)
		const e0, e1, e2, e3 = i2, i4, i0, i6

		add(i7, i1, 0)
		add(i5, i3, 1)
		add(i7, i3, 2)
		add(i5, i1, 3)
		add(2, 3, 4)
		mul(9633, 4, 4)
		mul(16069, 2, 2)
		sub(4, 2, 2)
		mul(3196, 3, 3)
		sub(4, 3, 3)
		mul(7373, 0, 0)
		mul(20995, 1, 1)
		for _, o := range []struct{ r, by, less, more int }{{i7, 2446, 0, 2}, {i5, 16819, 1, 3}, {i3, 25172, 1, 2}, {i1, 12299, 0, 3}} {
			mul(o.by, o.r, o.r)
			sub(o.r, o.less, o.r)
			add(o.r, o.more, o.r)
		}
		const o0, o1, o2, o3 = i7, i5, i3, i1
		for k, p := range [4][2]int{{e0, o3}, {e1, o2}, {e2, o1}, {e3, o0}} {
			add(p[0], p[1], k)
			sub(p[0], p[1], 7-k)
			g.VPSRAD(operand.U8(down), y(k), y(k))
			g.VPSRAD(operand.U8(down), y(7-k), y(7-k))
		}
	}
	for i := range 8 {
		g.VMOVDQU(at(b, nil, 0, 32*i), y(8+i))
	}
	pass(halves[0], 11)
	g.transposed(avx2) // into 8 to 15
	pass(halves[1], 18)
	// Bytes, in squares of 4×4, then in rows.
	for i := 0; i < 8; i += 2 {
		g.VPACKSSDW(y(i+1), y(i), y(i))
	}
	for i := 0; i < 8; i += 4 {
		g.VPACKSSWB(y(i+2), y(i), y(i))
		g.VPSHUFB(square, y(i), y(i))
		g.VPXOR(sign, y(i), y(i))
	}
	g.VPUNPCKLDQ(y(4), y(0), y(1)) // rows 0, 1; 4, 5
	g.VPUNPCKHDQ(y(4), y(0), y(2)) // rows 2, 3; 6, 7
	g.VEXTRACTI128(operand.U8(1), y(1), x(3))
	g.VEXTRACTI128(operand.U8(1), y(2), x(4))
	for _, r := range []int{1, 2, 3, 4} {
		g.VMOVQ(x(r), at(out, nil, 0, 0))
		g.VMOVHPS(x(r), at(out, stride, 1, 0))
		g.LEAQ(at(out, stride, 2, 0), out)
	}
	g.VPXOR(y(0), y(0), y(0))
	for i := range 8 {
		g.VMOVDQU(y(0), at(b, nil, 0, 32*i))
	}
	g.VZEROUPPER()
	g.RET()
}

// chroma writes the two halves of smooth upsampling.
func (g *gen) chroma() {
	g.begin("chromaSumsAVX2", "func(sums *uint16, near, far *uint8, n int)", "is 3·near + far, of a multiple of 16 from n on.")
	to := g.Load(g.Param("sums"), g.GP64())
	near := g.Load(g.Param("near"), g.GP64())
	far := g.Load(g.Param("far"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	g.Label("sums")
	g.VPMOVZXBW(at(near, nil, 0, 0), y(0))
	g.VPMOVZXBW(at(far, nil, 0, 0), y(1))
	g.VPADDW(y(0), y(1), y(1))
	g.VPADDW(y(0), y(0), y(0))
	g.VPADDW(y(0), y(1), y(1))
	g.VMOVDQU(y(1), at(to, nil, 0, 0))
	g.ADDQ(operand.U8(16), near)
	g.ADDQ(operand.U8(16), far)
	g.ADDQ(operand.U8(32), to)
	g.SUBQ(operand.U8(16), n)
	g.JGT(operand.LabelRef("sums"))
	g.VZEROUPPER()
	g.RET()

	g.begin("chromaSpreadAVX2", "func(dst *uint8, sums *uint16, n int, even, odd uint16)",
		"writes (3·s[x] + s[x−1] + even) >> 4 and (3·s[x] + s[x+1] + odd) >> 4, of a\nmultiple of 16 from n on; s begins after sums.")
	dst := g.Load(g.Param("dst"), g.GP64())
	s := g.Load(g.Param("sums"), g.GP64())
	n = g.Load(g.Param("n"), g.GP64())
	for i, name := range []string{"even", "odd"} {
		v := g.Load(g.Param(name), g.GP32())
		g.VMOVD(v, x(8+i))
		g.VPBROADCASTW(x(8+i), y(8+i))
	}
	g.Label("spread")
	g.VMOVDQU(at(s, nil, 0, 2), y(0))
	g.VPADDW(y(0), y(0), y(1))
	g.VPADDW(y(0), y(1), y(1))
	for i, r := range []int{2, 3} {
		g.VPADDW(at(s, nil, 0, 4*i), y(1), y(r))
		g.VPADDW(y(8+i), y(r), y(r))
		g.VPSRLW(operand.U8(4), y(r), y(r))
	}
	g.VPSLLW(operand.U8(8), y(3), y(3))
	g.VPOR(y(3), y(2), y(2))
	g.VMOVDQU(y(2), at(dst, nil, 0, 0))
	g.ADDQ(operand.U8(32), s)
	g.ADDQ(operand.U8(32), dst)
	g.SUBQ(operand.U8(16), n)
	g.JGT(operand.LabelRef("spread"))
	g.VZEROUPPER()
	g.RET()
}

// yccToRGB: products of 17 bits are taken apart into a multiple of 2^16, which is
// added as it is, and 16 bits; the half is 2·2^14.
func (g *gen) yccToRGB() {
	red := g.lanes("yccRed", wordPairs(91881-65536, 1<<14))
	blue := g.lanes("yccBlue", wordPairs(116130-2*65536, 1<<14))
	green := g.lanes("yccGreen", wordPairs(-22554, 65536-46802))
	half := g.lanes("yccHalf", dwords(1<<15))
	k128 := g.lanes("words128", dwords(128|128<<16))
	k2 := g.lanes("words2", dwords(2|2<<16))
	// Byte i of the three results is of channel i%3 and pixel i/3.
	var shuffle [3][3]operand.Mem
	for o := range 3 {
		for c := range 3 {
			m := make([]int, 16)
			for i := range m {
				m[i] = -1
				if at := 16*o + i; at%3 == c {
					m[i] = at / 3
				}
			}
			shuffle[o][c] = g.lanes("interleave"+strconv.Itoa(o)+strconv.Itoa(c), twice(m...))
		}
	}
	g.begin("yccToRGBAVX2", "func(dst, luma, cb, cr *uint8, n int)", "converts n ≥ 32 pixels.")
	dst := g.Load(g.Param("dst"), g.GP64())
	ys := g.Load(g.Param("luma"), g.GP64())
	us := g.Load(g.Param("cb"), g.GP64())
	vs := g.Load(g.Param("cr"), g.GP64())
	n := g.Load(g.Param("n"), g.GP64())
	g.SUBQ(operand.U8(32), n)
	pos, to := g.GP64(), g.GP64()
	g.XORQ(pos, pos)
	const zero, two = 15, 14
	const rgb = 8 // six registers: two of each channel
	g.VPXOR(y(zero), y(zero), y(zero))
	g.VMOVDQU(k2, y(two))

	g.Label("vector")
	g.VMOVDQU(at(ys, pos, 1, 0), y(0))
	g.VMOVDQU(at(us, pos, 1, 0), y(1))
	g.VMOVDQU(at(vs, pos, 1, 0), y(2))
	for h := range 2 {
		const u, v, l = 3, 4, 5
		unpack := g.VPUNPCKLBW
		if h == 1 {
			unpack = g.VPUNPCKHBW
		}
		unpack(y(zero), y(1), y(u))
		unpack(y(zero), y(2), y(v))
		unpack(y(zero), y(0), y(l))
		g.VPSUBW(k128, y(u), y(u))
		g.VPSUBW(k128, y(v), y(v))
		product := func(a, b int, by operand.Mem, add bool, to int) {
			g.VPUNPCKLWD(y(b), y(a), y(6))
			g.VPUNPCKHWD(y(b), y(a), y(7))
			for _, r := range []int{6, 7} {
				g.VPMADDWD(by, y(r), y(r))
				if add {
					g.VPADDD(half, y(r), y(r))
				}
				g.VPSRAD(operand.U8(16), y(r), y(r))
			}
			g.VPACKSSDW(y(7), y(6), y(to))
			g.VPADDW(y(l), y(to), y(to))
		}
		product(v, two, red, false, rgb+h)
		g.VPADDW(y(v), y(rgb+h), y(rgb+h))
		product(u, v, green, true, rgb+2+h)
		g.VPSUBW(y(v), y(rgb+2+h), y(rgb+2+h))
		product(u, two, blue, false, rgb+4+h)
		g.VPADDW(y(u), y(rgb+4+h), y(rgb+4+h))
		g.VPADDW(y(u), y(rgb+4+h), y(rgb+4+h))
	}
	for c := range 3 {
		g.VPACKUSWB(y(rgb+2*c+1), y(rgb+2*c), y(c))
	}
	g.LEAQ(at(pos, pos, 2, 0), to)
	g.ADDQ(dst, to)
	for o := range 3 {
		g.VPSHUFB(shuffle[o][0], y(0), y(3))
		g.VPSHUFB(shuffle[o][1], y(1), y(4))
		g.VPSHUFB(shuffle[o][2], y(2), y(5))
		g.VPOR(y(4), y(3), y(3))
		g.VPOR(y(5), y(3), y(3))
		g.VMOVDQU(x(3), at(to, nil, 0, 16*o))
		g.VEXTRACTI128(operand.U8(1), y(3), at(to, nil, 0, 48+16*o))
	}
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
