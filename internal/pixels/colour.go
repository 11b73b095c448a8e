package pixels

// Grey is Pillow's convert("L") of one pixel, ITU-R 601 with 16 fraction bits.
// Source: Pillow, src/libImaging/Convert.c, L24.
func Grey(r, g, b uint8) uint8 {
	return uint8((uint32(r)*19595 + uint32(g)*38470 + uint32(b)*7471 + 0x8000) >> 16)
}

// ToGrey writes Grey of the RGB pixels to dst, which may be their own beginning.
func (s *Set) ToGrey(dst, rgb []uint8) {
	n := 0
	dst = dst[:len(rgb)/3]
	if s.fn.toGrey != nil {
		n = stretches(len(dst), 8, func(from, n int) { s.fn.toGrey(&dst[from], &rgb[3*from], n) })
	}
	for rgb = rgb[3*n:]; len(rgb) >= 3; rgb = rgb[3:] {
		dst[n] = Grey(rgb[0], rgb[1], rgb[2])
		n++
	}
}

// GreySum adds Grey of the RGB pixels.
func (s *Set) GreySum(rgb []uint8) int {
	n, sum := 0, 0
	if s.fn.greySum != nil {
		n = stretches(len(rgb)/3, 8, func(from, n int) { sum += int(s.fn.greySum(&rgb[3*from], n)) })
	}
	for rgb = rgb[3*n:]; len(rgb) >= 3; rgb = rgb[3:] {
		sum += int(Grey(rgb[0], rgb[1], rgb[2]))
	}
	return sum
}

// Blend is Pillow's Image.blend of two bytes: grey + alpha·(v − grey) in float32,
// cut off to an integer, clipped to a byte. alpha is in [0, 1001].
// Source: Pillow, src/libImaging/Blend.c. Its shortcuts for alpha 0 and 1 give
// the same. The conversion forbids a fused multiply-add.
func Blend(grey, v int32, alpha float32) uint8 {
	x := int32(float32(grey) + float32(alpha*float32(v-grey)))
	if uint32(x) > 255 {
		x = ^(x >> 31) & 255
	}
	return uint8(x)
}

// BlendWith blends all bytes with one grey value.
func (s *Set) BlendWith(pix []uint8, grey uint8, alpha float32) {
	if s.fn.blendBytes != nil {
		n := stretches(len(pix), 32, func(from, n int) { s.fn.blendBytes(&pix[from], n, grey, alpha) })
		for i, v := range pix[n:] {
			pix[n+i] = Blend(int32(grey), int32(v), alpha)
		}
		return
	}
	var table [256]uint8
	for v := range table {
		table[v] = Blend(int32(grey), int32(v), alpha)
	}
	for i, v := range pix {
		pix[i] = table[v]
	}
}

// Saturate blends RGB pixels with their grey values.
// Source: Pillow, ImageEnhance.Color.
func (s *Set) Saturate(rgb []uint8, alpha float32) {
	if s.fn.saturate != nil {
		n := stretches(len(rgb)/3, 8, func(from, n int) { s.fn.saturate(&rgb[3*from], n, alpha) })
		rgb = rgb[3*n:]
	}
	for ; len(rgb) >= 3; rgb = rgb[3:] {
		l := int32(Grey(rgb[0], rgb[1], rgb[2]))
		rgb[0] = Blend(l, int32(rgb[0]), alpha)
		rgb[1] = Blend(l, int32(rgb[1]), alpha)
		rgb[2] = Blend(l, int32(rgb[2]), alpha)
	}
}
