package jpeg

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

// flat is inverse of a block whose first coefficient alone isn't zero.
func flat(out []uint8, stride int, dc int32) {
	v := pixel((dc<<passBits + 1<<(passBits+2)) >> (passBits + 3))
	word := uint64(v) * 0x0101010101010101
	for y := range 8 {
		o := out[y*stride:][:8:8]
		for i := range o {
			o[i] = uint8(word)
		}
	}
}

// inverse writes a block's 8×8 pixels.
func inverse(out []uint8, stride int, b *[64]int32) {
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
