package augment

import "selfcon/internal/pixels"

// Operations that map each byte by a table of its channel.

// mapBytes puts every byte of a channel through that channel's table.
func mapBytes(pix []uint8, ch int, table func(channel int) [256]uint8) {
	for c := range ch {
		t := table(c)
		for i := c; i < len(pix); i += ch {
			pix[i] = t[pix[i]]
		}
	}
}

func tableOf(f func(v int) int) func(int) [256]uint8 {
	var t [256]uint8
	for v := range t {
		t[v] = uint8(f(v))
	}
	return func(int) [256]uint8 { return t }
}

// posterize keeps the highest bits of each byte, 0 to 8. Source: Pillow, ImageOps.posterize.
func posterize(pix []uint8, bits int) {
	mask := ^(1<<(8-bits) - 1)
	mapBytes(pix, 1, tableOf(func(v int) int { return v & mask }))
}

// solarize inverts bytes from threshold on. Source: Pillow, ImageOps.solarize.
func solarize(pix []uint8, threshold float64) {
	mapBytes(pix, 1, tableOf(func(v int) int {
		if float64(v) < threshold {
			return v
		}
		return 255 - v
	}))
}

func invert(pix []uint8) { solarize(pix, 0) }

func histogram(pix []uint8, ch, c int) (h [256]int) {
	for i := c; i < len(pix); i += ch {
		h[pix[i]]++
	}
	return h
}

// autoContrast stretches each channel to 0…255. Source: Pillow, ImageOps.autocontrast.
func autoContrast(pix []uint8, ch int) {
	mapBytes(pix, ch, func(c int) (t [256]uint8) {
		h := histogram(pix, ch, c)
		lo, hi := 0, 255
		for lo < 255 && h[lo] == 0 {
			lo++
		}
		for hi > 0 && h[hi] == 0 {
			hi--
		}
		for v := range t {
			t[v] = uint8(v)
		}
		if hi <= lo {
			return t
		}
		scale := 255 / float64(hi-lo)
		offset := float64(-lo) * scale
		for v := range t {
			t[v] = uint8(min(max(int(float64(float64(v)*scale)+offset), 0), 255))
		}
		return t
	})
}

// equalize makes each channel's histogram even. Source: Pillow, ImageOps.equalize.
func equalize(pix []uint8, ch int) {
	mapBytes(pix, ch, func(c int) (t [256]uint8) {
		h := histogram(pix, ch, c)
		last, values, sum := 0, 0, 0
		for _, n := range h {
			if n > 0 {
				last = n
				values++
			}
			sum += n
		}
		step := (sum - last) / 255
		if values <= 1 || step == 0 {
			for v := range t {
				t[v] = uint8(v)
			}
			return t
		}
		n := step / 2
		for v := range t {
			t[v] = uint8(min(n/step, 255))
			n += h[v]
		}
		return t
	})
}

// sharpen blends an image with its smoothed self: a factor of 0 smooths, 1
// changes nothing, more sharpens. smooth has room for the image.
// Source: Pillow, ImageEnhance.Sharpness, ImageFilter.SMOOTH (weights 1, the
// centre's 5, of 13; the edge stays), src/libImaging/Filter.c.
func sharpen(pix, smooth []uint8, w, h, ch int, factor float64) {
	copy(smooth, pix)
	stride := w * ch
	for y := 1; y < h-1; y++ {
		for i := y*stride + ch; i < (y+1)*stride-ch; i++ {
			up, down := pix[i-stride-ch:], pix[i+stride-ch:]
			s := int(up[0]) + int(up[ch]) + int(up[2*ch]) + int(pix[i-ch]) + 5*int(pix[i]) + int(pix[i+ch]) +
				int(down[0]) + int(down[ch]) + int(down[2*ch])
			smooth[i] = uint8((2*s + 13) / 26) // rounded; a tie can't be, 13 being odd
		}
	}
	alpha := float32(factor)
	for i, v := range pix {
		pix[i] = pixels.Blend(int32(smooth[i]), int32(v), alpha)
	}
}
