package pixels

// The inverse transform is Loeffler, Ligtenberg and Moschytz's (ICASSP 1989) with
// 12 multiplications, in fixed point of 13 bits, 2 bits being kept between the
// passes: libjpeg's accurate one (jidctint.c), bit for bit.
const (
	constBits = 13
	passBits  = 2

	f0298 = 2446
	f0390 = 3196
	f0541 = 4433
	f0765 = 6270
	f0899 = 7373
	f1175 = 9633
	f1501 = 12299
	f1847 = 15137
	f1961 = 16069
	f2053 = 16819
	f2562 = 20995
	f3072 = 25172
)

// pixel is a result of the transform as a byte.
func pixel(v int32) uint8 {
	v += 128
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

// InverseDCT writes the 8×8 pixels of a block of coefficients in 16 bits, rows stride
// apart, and clears it.
func (s *Set) InverseDCT(out []uint8, stride int, b *[64]int32) {
	_ = out[7*stride+7]
	if s.fn.inverseDCT != nil {
		s.fn.inverseDCT(&out[0], stride, &b[0])
		return
	}
	for x := range 8 {
		i0, i1, i2, i3 := b[x], b[8+x], b[16+x], b[24+x]
		i4, i5, i6, i7 := b[32+x], b[40+x], b[48+x], b[56+x]
		if i1|i2|i3|i4|i5|i6|i7 == 0 {
			dc := i0 << passBits
			b[x], b[8+x], b[16+x], b[24+x], b[32+x], b[40+x], b[48+x], b[56+x] = dc, dc, dc, dc, dc, dc, dc, dc
			continue
		}
		e0, e1, e2, e3, o0, o1, o2, o3 := butterflies(i0, i1, i2, i3, i4, i5, i6, i7)
		const half, down = 1 << (constBits - passBits - 1), constBits - passBits
		e0, e1, e2, e3 = e0+half, e1+half, e2+half, e3+half
		b[x], b[56+x] = (e0+o3)>>down, (e0-o3)>>down
		b[8+x], b[48+x] = (e1+o2)>>down, (e1-o2)>>down
		b[16+x], b[40+x] = (e2+o1)>>down, (e2-o1)>>down
		b[24+x], b[32+x] = (e3+o0)>>down, (e3-o0)>>down
	}
	for y := range 8 {
		r := b[8*y:][:8:8]
		e0, e1, e2, e3, o0, o1, o2, o3 := butterflies(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		const half, down = 1 << (constBits + passBits + 2), constBits + passBits + 3
		e0, e1, e2, e3 = e0+half, e1+half, e2+half, e3+half
		o := out[y*stride:][:8:8]
		o[0], o[7] = pixel((e0+o3)>>down), pixel((e0-o3)>>down)
		o[1], o[6] = pixel((e1+o2)>>down), pixel((e1-o2)>>down)
		o[2], o[5] = pixel((e2+o1)>>down), pixel((e2-o1)>>down)
		o[3], o[4] = pixel((e3+o0)>>down), pixel((e3-o0)>>down)
	}
	clear(b[:])
}

// FlatDCT is InverseDCT of a block whose first coefficient alone isn't zero.
func FlatDCT(out []uint8, stride int, dc int32) {
	v := pixel((dc<<passBits + 1<<(passBits+2)) >> (passBits + 3))
	word := uint64(v) * 0x0101010101010101
	for y := range 8 {
		o := out[y*stride:][:8:8]
		for i := range o {
			o[i] = uint8(word)
		}
	}
}

// butterflies are the even and the odd half of eight values' transform.
func butterflies(i0, i1, i2, i3, i4, i5, i6, i7 int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	z1 := (i2 + i6) * f0541
	t2, t3 := z1-i6*f1847, z1+i2*f0765
	t0, t1 := (i0+i4)<<constBits, (i0-i4)<<constBits
	e0, e3, e1, e2 = t0+t3, t0-t3, t1+t2, t1-t2

	z1, z2, z3, z4 := i7+i1, i5+i3, i7+i3, i5+i1
	z5 := (z3 + z4) * f1175
	z1, z2, z3, z4 = -z1*f0899, -z2*f2562, z5-z3*f1961, z5-z4*f0390
	return e0, e1, e2, e3, i7*f0298 + z1 + z3, i5*f2053 + z2 + z4, i3*f3072 + z2 + z3, i1*f1501 + z1 + z4
}

// Parts of the colour conversion by chroma value.
// Source: libjpeg, jdcolor.c, build_ycc_rgb_table.
var redOf, blueOf, greenOfU, greenOfV = func() (r, b, gu, gv [256]int32) {
	for i := range r {
		x := int32(i) - 128
		r[i] = (91881*x + 1<<15) >> 16
		b[i] = (116130*x + 1<<15) >> 16
		gv[i] = -46802 * x
		gu[i] = -22554*x + 1<<15
	}
	return
}()

func clip(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

// YCbCrToRGB converts a row of samples, all of the same length, to interleaved RGB.
func (s *Set) YCbCrToRGB(dst, luma, cb, cr []uint8) {
	n := len(luma)
	dst, cb, cr = dst[:3*n], cb[:n], cr[:n]
	if s.fn.yccToRGB != nil && n >= 32 {
		s.fn.yccToRGB(&dst[0], &luma[0], &cb[0], &cr[0], n)
		return
	}
	for x, l := range luma {
		u, v := cb[x], cr[x]
		o := dst[3*x:][:3:3]
		o[0] = clip(int32(l) + redOf[v])
		o[1] = clip(int32(l) + (greenOfU[u]+greenOfV[v])>>16)
		o[2] = clip(int32(l) + blueOf[u])
	}
}

// Room is how many samples the slices of Upsample must have for n samples.
func Room(n int) int { return (n + 15) &^ 15 }

// Upsample writes 2n samples between and on both sides of n: with s[x] = 3·near[x] +
// far[x] (the row and its neighbour; the same row twice where rows are not doubled),
//
//	dst[2x]   = (3·s[x] + s[x−1] + even) >> 4     s[−1] = s[0]
//	dst[2x+1] = (3·s[x] + s[x+1] + odd) >> 4      s[n] = s[n−1]
//
// dst has 2·Room(n) bytes, sums Room(n)+2 numbers of scratch; near and far have
// Room(n), of which those from n on don't matter.
// Source: libjpeg, jdsample.c: h2v1_fancy_upsample (even 4, odd 8, as four times its
// numbers) and h2v2_fancy_upsample (even 8, odd 7).
func (s *Set) Upsample(dst, near, far []uint8, n int, sums []uint16, even, odd uint16) {
	room := Room(n)
	dst, near, far, sums = dst[:2*room], near[:room], far[:room], sums[:room+2]
	if s.fn.chromaSums != nil {
		s.fn.chromaSums(&sums[1], &near[0], &far[0], n)
	} else {
		for x, v := range near {
			sums[x+1] = 3*uint16(v) + uint16(far[x])
		}
	}
	sums[0], sums[n+1] = sums[1], sums[n]
	if s.fn.chromaSpread != nil {
		s.fn.chromaSpread(&dst[0], &sums[0], n, even, odd)
		return
	}
	before, now := sums[0], sums[1]
	for x, next := range sums[2 : n+2] {
		o := dst[2*x:][:2:2]
		o[0], o[1] = uint8((3*now+before+even)>>4), uint8((3*now+next+odd)>>4)
		before, now = now, next
	}
}
