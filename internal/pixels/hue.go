package pixels

import "sync"

// TurnHue converts RGB pixels to HSV bytes, adds shift to the hue, wrapping
// around at 256, and converts back. Shift 0 is not quite the identity.
// Source: Pillow's conversions, below.
func (s *Set) TurnHue(rgb []uint8, shift uint8) {
	if s.fn.hue != nil {
		n := stretches(len(rgb)/3, 8, func(from, n int) { s.fn.hue(&rgb[3*from], n, shift) })
		rgb = rgb[3*n:]
	}
	turnHue(rgb, shift)
}

// turnHue is TurnHue in plain Go.
//
// Hue and saturation are looked up: with the largest channel, the smallest and the
// middle one named, the hue depends on which is which and on two differences.
func turnHue(rgb []uint8, shift uint8) {
	t := hueTables()
	for ; len(rgb) >= 3; rgb = rgb[3:] {
		r, g, b := rgb[0], rgb[1], rgb[2]
		hi, lo := max(r, g, b), min(r, g, b)
		chroma := hi - lo
		s := t.saturation[hi][chroma]
		if s == 0 {
			rgb[0], rgb[1], rgb[2] = hi, hi, hi
			continue
		}
		var order int
		var mid uint8
		switch {
		case hi == r:
			if mid = g; lo == g {
				order, mid = 1, b
			}
		case hi == g:
			order = 2
			if mid = r; lo == r {
				order, mid = 3, b
			}
		default:
			order = 4
			if mid = r; lo == r {
				order, mid = 5, g
			}
		}
		h := t.hue[order][chroma][hi-mid]
		rgb[0], rgb[1], rgb[2] = HSVToRGB(h+shift, s, hi)
	}
}

// hueTable holds what RGBToHSV gives.
type hueTable struct {
	saturation [256][256]uint8    // by the largest channel and the chroma
	hue        [6][256][256]uint8 // by the channels' order, the chroma, and largest less middle
}

var hueTables = sync.OnceValue(func() *hueTable {
	t := new(hueTable)
	for chroma := 1; chroma < 256; chroma++ {
		for hi := chroma; hi < 256; hi++ {
			_, t.saturation[hi][chroma], _ = RGBToHSV(uint8(hi), uint8(hi-chroma), uint8(hi-chroma))
		}
		for d := range chroma + 1 {
			hi, mid, lo := uint8(255), uint8(255-d), uint8(255-chroma)
			for order, px := range [6][3]uint8{{hi, mid, lo}, {hi, lo, mid}, {mid, hi, lo}, {lo, hi, mid}, {mid, lo, hi}, {lo, mid, hi}} {
				t.hue[order][chroma][d], _, _ = RGBToHSV(px[0], px[1], px[2])
			}
		}
	}
	return t
})

// RGBToHSV is Pillow's conversion of one pixel: float32 variables, float64
// where a constant of C's type double takes part, cut off to integers.
// Source: Pillow, src/libImaging/Convert.c, rgb2hsv_row.
func RGBToHSV(r, g, b uint8) (h, s, v uint8) {
	hi, lo := max(r, g, b), min(r, g, b)
	if hi == lo {
		return 0, 0, hi
	}
	chroma := float32(hi - lo)
	rc := float32(hi-r) / chroma
	gc := float32(hi-g) / chroma
	bc := float32(hi-b) / chroma
	var x float32
	switch hi {
	case r:
		x = bc - gc
	case g:
		x = float32(2 + float64(rc) - float64(bc))
	default:
		x = float32(4 + float64(gc) - float64(rc))
	}
	turn := float64(x)/6 + 1 // in [5/6, 2): the remainder of a division by 1 follows
	if turn >= 1 {
		turn--
	}
	h = uint8(float64(float32(turn)) * 255)
	s = uint8(float64(chroma/float32(hi)) * 255)
	return h, s, hi
}

// HSVToRGB is the way back, s > 0.
// Source: Pillow, src/libImaging/Convert.c, hsv2rgb.
func HSVToRGB(h, s, v uint8) (r, g, b uint8) {
	sector := &sectors[h]
	fs := float32(float64(s) / 255)
	fv := float64(v)
	p := uint8(float64(fv*(1-float64(fs))) + 0.5)
	// One of Pillow's q (float32 product) and t (float64 product).
	var x uint8
	if sector.odd {
		x = uint8(float64(fv*(1-float64(float32(fs*sector.part)))) + 0.5)
	} else {
		x = uint8(float64(fv*(1-float64(float64(fs)*sector.rest))) + 0.5)
	}
	out := [4]uint8{v, x, p}
	return out[sector.r&3], out[sector.g&3], out[sector.b&3]
}

// sector says how a hue becomes red, green and blue: which of the three levels
// (0: v, 1: between, 2: p) each takes, and how far the hue is inside its sixth
// of the circle.
type sector struct {
	rest    float64 // 1 − part
	part    float32
	r, g, b uint8
	odd     bool
}

var sectors = func() (table [256]sector) {
	levels := [6][3]uint8{{0, 1, 2}, {1, 0, 2}, {2, 0, 1}, {2, 1, 0}, {1, 2, 0}, {0, 2, 1}}
	for h := range table {
		x := float64(h) * 6 / 255 // in [0, 6]
		i := int(x)
		part := float32(x - float64(float32(i)))
		l := levels[i%6]
		table[h] = sector{rest: 1 - float64(part), part: part, r: l[0], g: l[1], b: l[2], odd: i%2 == 1}
	}
	return table
}()
