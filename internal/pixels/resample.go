package pixels

// Precision is the number of fraction bits of a weight, Pillow's PRECISION_BITS:
// 8 for the result and 2 for overflow are left of 32.
const Precision = 32 - 8 - 2

const half = 1 << (Precision - 1)

// Taps says how an axis is resampled: result i is
//
//	clip((2^21 + Σ_{k<N} in[First[i]+k]·Weight[i·N+k]) >> 22)
//
// Weights are not negative and add up to about 2^22. What First and N name must
// lie in the axis.
type Taps struct {
	N      int
	First  []int32
	Weight []int32

	split []int16 // weights as assembly wants them
}

// Split must be called when the weights have changed and before they are used: each
// pair of weights becomes the two's lowest 15 bits and then their rests.
func (t *Taps) Split() {
	if t.N%2 != 0 {
		return
	}
	t.split = grow(t.split, t.step()*len(t.First))
	clear(t.split)
	for i := range t.First {
		s := t.split[t.step()*i:]
		for k, w := range t.Weight[i*t.N:][:t.N] {
			at := k/2*4 + k%2
			s[at], s[at+2] = int16(w&0x7fff), int16(w>>15)
		}
	}
}

// step is how many words of split a result has: two a tap, with zeros after the last
// where there are more than two taps and not a multiple of four.
func (t *Taps) step() int {
	if t.N == 2 {
		return 4
	}
	return 8 * t.blocks()
}

// blocks is how many blocks of four taps there are.
func (t *Taps) blocks() int { return (t.N + 3) / 4 }

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// clip8 turns a sum of weighted bytes, with a half added, into a byte.
func clip8(sum int32) uint8 { return uint8(min(sum>>Precision, 255)) }

// ResampleRows resamples rows of 1 or 3 interleaved channels: with x = len(t.First)
// results a row,
//
//	dst[y·dstStep + i·ch + c] is result i of src[y·srcStep + c], with ch bytes a step
//
// Source: Pillow, src/libImaging/Resample.c, ImagingResampleHorizontal_8bpc.
func (s *Set) ResampleRows(dst []uint8, dstStep int, src []uint8, srcStep, rows, ch int, t *Taps) {
	n := len(t.First)
	if rows < 1 || n < 1 {
		return
	}
	_ = dst[(rows-1)*dstStep+n*ch-1]
	y := 0
	if s.fn.rows != nil && ch == 3 && t.N%2 == 0 && n >= 4 {
		// Rows that end far enough from the end for reads of whole vectors.
		last := int32(0)
		for _, f := range t.First {
			last = max(last, f)
		}
		run, reads := s.fn.rows, 12*t.blocks()+4
		if t.N == 2 {
			run, reads = s.fn.rowsOfPairs, 16
		}
		far := 0
		if room := len(src) - 3*int(last) - reads; room >= 0 {
			far = min(room/srcStep+1, rows)
		}
		whole := n &^ 3
		for ; y < far; y += 2 {
			d, s := dstStep, srcStep
			if y+1 == far {
				d, s = 0, 0 // the same row twice
			}
			run(&dst[y*dstStep], d, &src[y*srcStep], s, &t.First[0], &t.split[0], t.blocks(), whole)
		}
		if whole < n {
			for y := range far {
				t.row(dst[y*dstStep:], src[y*srcStep:], ch, whole)
			}
		}
		y = far
	}
	for ; y < rows; y++ {
		t.row(dst[y*dstStep:], src[y*srcStep:], ch, 0)
	}
}

// row is ResampleRows of one row, from result from on.
func (t *Taps) row(out, in []uint8, ch, from int) {
	n := t.N
	firsts, w := t.First[from:], t.Weight[from*n:]
	out = out[from*ch:][:len(firsts)*ch]
	switch {
	case ch == 3 && n == 2:
		for i, first := range firsts {
			px := in[3*first:][:6:6]
			k := w[2*i:][:2:2]
			a, b := k[0], k[1]
			o := out[3*i:][:3:3]
			o[0] = clip8(half + int32(px[0])*a + int32(px[3])*b)
			o[1] = clip8(half + int32(px[1])*a + int32(px[4])*b)
			o[2] = clip8(half + int32(px[2])*a + int32(px[5])*b)
		}
	case ch == 3 && n == 4:
		for i, first := range firsts {
			px := in[3*first:][:12:12]
			k := w[4*i:][:4:4]
			a, b, c, d := k[0], k[1], k[2], k[3]
			o := out[3*i:][:3:3]
			o[0] = clip8(half + int32(px[0])*a + int32(px[3])*b + int32(px[6])*c + int32(px[9])*d)
			o[1] = clip8(half + int32(px[1])*a + int32(px[4])*b + int32(px[7])*c + int32(px[10])*d)
			o[2] = clip8(half + int32(px[2])*a + int32(px[5])*b + int32(px[8])*c + int32(px[11])*d)
		}
	case ch == 3:
		for i, first := range firsts {
			r, g, b := int32(half), int32(half), int32(half)
			px := in[3*first:][:3*n]
			for _, k := range w[i*n:][:n] {
				r += int32(px[0]) * k
				g += int32(px[1]) * k
				b += int32(px[2]) * k
				px = px[3:]
			}
			o := out[3*i:][:3:3]
			o[0], o[1], o[2] = clip8(r), clip8(g), clip8(b)
		}
	default:
		for i, first := range firsts {
			sum := int32(half)
			px := in[first:][:n]
			for j, k := range w[i*n:][:n] {
				sum += int32(px[j]) * k
			}
			out[i] = clip8(sum)
		}
	}
}

// ResampleColumns resamples the columns of rows of n bytes:
//
//	dst[i·dstStep + x] is result i of src[x], with srcStep bytes a step, x < n
//
// Source: Pillow, src/libImaging/Resample.c, ImagingResampleVertical_8bpc.
func (s *Set) ResampleColumns(dst []uint8, dstStep int, src []uint8, srcStep, n int, t *Taps) {
	for i, first := range t.First {
		out, in := dst[i*dstStep:][:n], src[int(first)*srcStep:][:(t.N-1)*srcStep+n]
		w := t.Weight[i*t.N:][:t.N]
		switch {
		case s.fn.columns != nil && n >= 32 && t.N%2 == 0:
			s.fn.columns(&out[0], &in[0], srcStep, &t.split[t.step()*i], t.N/2, n)
		default:
			addRows(out, in, srcStep, w)
		}
	}
}

// addRows writes the sum of weighted rows.
func addRows(out, in []uint8, step int, w []int32) {
	n := len(out)
	switch len(w) {
	case 2:
		a, b := in[:n], in[step:][:n]
		wa, wb := w[0], w[1]
		for x := range out {
			out[x] = clip8(half + int32(a[x])*wa + int32(b[x])*wb)
		}
	case 4:
		a, b, c, d := in[:n], in[step:][:n], in[2*step:][:n], in[3*step:][:n]
		wa, wb, wc, wd := w[0], w[1], w[2], w[3]
		for x := range out {
			out[x] = clip8(half + int32(a[x])*wa + int32(b[x])*wb + int32(c[x])*wc + int32(d[x])*wd)
		}
	default:
		for x := range out {
			sum := int32(half)
			for k, wk := range w {
				sum += int32(in[k*step+x]) * wk
			}
			out[x] = clip8(sum)
		}
	}
}
