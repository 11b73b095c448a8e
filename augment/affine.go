package augment

import "math"

// matrix maps a result's place to the image's: x' = m[0]x + m[1]y + m[2],
// y' = m[3]x + m[4]y + m[5].
type matrix [6]float64

// shear moves rows (x) or columns (y) apart, about the upper left corner.
// Source: torchvision transforms.autoaugment._apply_op and
// functional._get_inverse_affine_matrix with shear atan(amount), centre (0, 0).
func shear(x, y float64) matrix {
	degrees := func(amount float64) float64 { // to degrees and back, as there
		const perDegree = math.Pi / 180
		return float64(math.Atan(amount)*(180/math.Pi)) * perDegree
	}
	sx, sy := degrees(x), degrees(y)
	a := math.Cos(-sy) / math.Cos(sy)
	b := -math.Cos(-sy) * math.Tan(sx) / math.Cos(sy)
	c := math.Sin(-sy) / math.Cos(sy)
	d := float64(-math.Sin(-sy)*math.Tan(sx)/math.Cos(sy)) + 1
	return matrix{d, -b, 0, -c, a, 0}
}

// rotation turns an image of w×h about its centre, anticlockwise.
// Source: Pillow, Image.rotate.
func rotation(degrees float64, w, h int) matrix {
	if degrees = math.Mod(degrees, 360); degrees < 0 {
		degrees += 360
	}
	angle := -(degrees * (math.Pi / 180))
	round := func(v float64) float64 { return math.RoundToEven(v*1e15) / 1e15 }
	cos, sin := round(math.Cos(angle)), round(math.Sin(angle))
	m := matrix{cos, sin, 0, round(-math.Sin(angle)), cos, 0}
	cx, cy := float64(w)/2, float64(h)/2
	m[2] = float64(m[0]*-cx) + float64(m[1]*-cy) + cx
	m[5] = float64(m[3]*-cx) + float64(m[4]*-cy) + cy
	return m
}

// apply writes the nearest pixels, black where there are none. dst and src are
// images of the same size, not the same memory.
// Source: Pillow, src/libImaging/Geometry.c, affine_fixed: 16.16 fixed point,
// which takes images of up to 32767 pixels a side.
func (m matrix) apply(dst, src []uint8, w, h, ch int) {
	fix := func(v float64) int { return int(math.Floor(float64(v*65536) + 0.5)) }
	a0, a1, a3, a4 := fix(m[0]), fix(m[1]), fix(m[3]), fix(m[4])
	rowX := fix(m[2] + float64(m[0]*0.5) + float64(m[1]*0.5))
	rowY := fix(m[5] + float64(m[3]*0.5) + float64(m[4]*0.5))
	at := 0
	for range h {
		x, y := rowX, rowY
		for range w {
			sx, sy := x>>16, y>>16
			out := dst[at : at+ch : at+ch]
			if uint(sx) < uint(w) && uint(sy) < uint(h) {
				copy(out, src[(sy*w+sx)*ch:])
			} else {
				clear(out)
			}
			at += ch
			x += a0
			y += a3
		}
		rowX += a1
		rowY += a4
	}
}

// shift moves an image right and down, black coming in.
// Source: torchvision functional.affine with a translation only.
func shift(dst, src []uint8, w, h, ch, right, down int) {
	clear(dst)
	n := w - max(right, -right)
	if n <= 0 {
		return
	}
	for y := range h {
		if from := y - down; from >= 0 && from < h {
			copy(dst[(y*w+max(right, 0))*ch:][:n*ch], src[(from*w+max(-right, 0))*ch:])
		}
	}
}
