package augment

import "math"

// plane is a rectangle of pixels, channels interleaved; rows are stride bytes apart.
type plane struct {
	pix           []uint8
	stride        int
	width, height int
	ch            int
}

func (p plane) row(y int) []uint8 { return p.pix[y*p.stride:][:p.width*p.ch] }

func (p plane) sub(r rect) plane {
	p.pix = p.pix[r.top*p.stride+r.left*p.ch:]
	p.width, p.height = r.width, r.height
	return p
}

// precision is the number of fraction bits of a weight, Pillow's PRECISION_BITS:
// 8 for the result and 2 for overflow are left of 32.
const precision = 32 - 8 - 2

// filter holds the weights of one axis: result i is
//
//	clip((2^21 + Σ_{k<count[i]} in[first[i]+k]·weight[i·taps+k]) >> 22)
type filter struct {
	taps   int
	first  []int32
	count  []int32
	weight []int32
	exact  []float64 // weights before rounding, of one result
}

// set computes the weights of results from, …, from+n−1 when an axis of in
// pixels is resampled to out: a triangle of half-width max(1, in/out) around
// each result's centre (so shrinking averages: antialiasing), cut at the
// edges, normalised in float64, rounded to 22 bits.
//
// Source: Pillow, src/libImaging/Resample.c: precompute_coeffs with
// bilinear_filter, normalize_coeffs_8bpc; the box is the whole axis. The
// conversions forbid fused multiply-adds.
func (f *filter) set(in, out, from, n int) {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	inv := 1 / support
	f.taps = int(math.Ceil(support))*2 + 1
	f.first = grow(f.first, n)
	f.count = grow(f.count, n)
	f.weight = grow(f.weight, n*f.taps)
	f.exact = grow(f.exact, f.taps)

	for i := range n {
		centre := float64((float64(from+i) + 0.5) * scale)
		lo := max(int(centre-support+0.5), 0)
		hi := min(int(centre+support+0.5), in)
		exact := f.exact[:hi-lo]
		sum := 0.0
		for k := range exact {
			x := math.Abs(float64((float64(k+lo) - centre + 0.5) * inv))
			if x < 1 {
				x = 1 - x
			} else {
				x = 0
			}
			exact[k] = x
			sum += x
		}
		w := f.weight[i*f.taps:][:f.taps]
		for k := range exact {
			x := exact[k]
			if sum != 0 {
				x /= sum
			}
			w[k] = int32(0.5 + float64(x*(1<<precision)))
		}
		clear(w[len(exact):])
		f.first[i], f.count[i] = int32(lo), int32(hi-lo)
	}
}

// pairs rewrites a filter of at most two taps a result as one of exactly two,
// taps = 2, and reports whether it could. in is the length of the axis.
func (f *filter) pairs(in int) bool {
	for _, n := range f.count {
		if n > 2 || in < 2 {
			return false
		}
	}
	for i, lo := range f.first {
		w0, w1 := f.weight[i*f.taps], f.weight[i*f.taps+1]
		if int(lo) == in-1 { // one tap, at the end: the pair starts before it
			f.first[i], w0, w1 = lo-1, 0, w0
		}
		f.weight[2*i], f.weight[2*i+1] = w0, w1
	}
	f.taps = 2
	return true
}

// fixed rewrites a filter of at most n taps a result as one of exactly n,
// taps = n, and reports whether it could: taps must not be fewer. in is the length
// of the axis.
func (f *filter) fixed(in, n int) bool {
	if in < n || f.taps < n {
		return false
	}
	for _, c := range f.count {
		if int(c) > n {
			return false
		}
	}
	for i, lo := range f.first {
		back := max(int(lo)+n-in, 0) // at the end: it starts before
		f.first[i] = lo - int32(back)
		var w [6]int32 // the old and the new places overlap
		copy(w[back:n], f.weight[i*f.taps:][:f.count[i]])
		copy(f.weight[i*n:][:n], w[:n])
	}
	f.taps = n
	return true
}

// clip8 turns a sum of weighted bytes, with a half added, into a byte. Weights
// of a triangle are not negative.
func clip8(sum int32) uint8 { return uint8(min(sum>>precision, 255)) }

const half = 1 << (precision - 1)

// resample scales src to the size to and writes the window of the result to
// dst: first along rows into bytes, then along columns. An axis that keeps its
// length is copied.
//
// Source: Pillow, src/libImaging/Resample.c: ImagingResampleInner (Python's
// Image.resize(size, BILINEAR)), as it is in all versions up to 12. Pillow 13
// may do the columns first, which can differ by 1 where both axes are resampled.
// Results do not depend on each other, so that a window of them is computed alone.
func (s *scratch) resample(dst []uint8, src plane, to size, window rect) {
	alongRows, alongCols := src.width != to.width, src.height != to.height

	if alongCols {
		s.rows.set(src.height, to.height, window.top, window.height)
		// Only the rows that are used go through the first pass.
		first, end := s.rows.span()
		for i := range s.rows.first {
			s.rows.first[i] -= int32(first)
		}
		src = src.sub(rect{first, 0, end - first, src.width})
	} else {
		src = src.sub(rect{window.top, 0, window.height, src.width})
	}

	if alongRows {
		s.cols.set(src.width, to.width, window.left, window.width)
		out := plane{pix: dst, stride: window.width * src.ch, width: window.width, height: src.height, ch: src.ch}
		if alongCols {
			s.tmp = grow(s.tmp, out.stride*out.height)
			out.pix = s.tmp
		}
		s.cols.alongRows(out, src)
		src = out
	} else {
		src = src.sub(rect{0, window.left, src.height, window.width})
	}

	switch {
	case alongCols:
		s.acc = grow(s.acc, src.width*src.ch)
		s.rows.alongCols(dst, src, s.acc)
	case !alongRows:
		for y := range src.height {
			copy(dst[y*src.width*src.ch:], src.row(y))
		}
	}
}

// span is the range of inputs that the results read.
func (f *filter) span() (first, end int) {
	n := len(f.first) - 1
	return int(f.first[0]), int(f.first[n] + f.count[n])
}

// alongRows resamples each row of src to a row of dst.
// Source: Pillow, ImagingResampleHorizontal_8bpc.
func (f *filter) alongRows(dst, src plane) {
	if f.pairs(src.width) {
		for y := range dst.height {
			f.rowOfPairs(dst.row(y), src.row(y), src.ch)
		}
		return
	}
	four := src.ch == 3 && f.fixed(src.width, 4)
	six := !four && src.ch == 3 && f.fixed(src.width, 6)
	for y := range dst.height {
		in, out := src.row(y), dst.row(y)
		if four {
			f.rowOfFours(out, in)
			continue
		}
		if six {
			f.rowOfSixes(out, in)
			continue
		}
		for i, first := range f.first {
			w := f.weight[i*f.taps:][:f.count[i]]
			if src.ch == 1 {
				sum := int32(half)
				for k, v := range in[first:][:len(w)] {
					sum += int32(v) * w[k]
				}
				out[i] = clip8(sum)
				continue
			}
			r, g, b := int32(half), int32(half), int32(half)
			px := in[first*3:][:3*len(w)]
			for _, w := range w {
				r += int32(px[0]) * w
				g += int32(px[1]) * w
				b += int32(px[2]) * w
				px = px[3:]
			}
			o := out[3*i:][:3:3]
			o[0], o[1], o[2] = clip8(r), clip8(g), clip8(b)
		}
	}
}

// rowOfPairs is alongRows for one row and two taps a result, the case of all
// enlarged crops. Two weights add up to 2^22 or one more or less: no clipping.
func (f *filter) rowOfPairs(out, in []uint8, ch int) {
	w := f.weight
	if ch == 1 {
		for i, first := range f.first {
			px := in[first:][:2:2]
			k := w[2*i:][:2:2]
			out[i] = uint8((half + int32(px[0])*k[0] + int32(px[1])*k[1]) >> precision)
		}
		return
	}
	for i, first := range f.first {
		px := in[3*first:][:6:6]
		k := w[2*i:][:2:2]
		k0, k1 := k[0], k[1]
		o := out[3*i:][:3:3]
		o[0] = uint8((half + int32(px[0])*k0 + int32(px[3])*k1) >> precision)
		o[1] = uint8((half + int32(px[1])*k0 + int32(px[4])*k1) >> precision)
		o[2] = uint8((half + int32(px[2])*k0 + int32(px[5])*k1) >> precision)
	}
}

// rowOfFours is alongRows for one row of RGB and four taps a result: all axes
// that shrink to more than half.
func (f *filter) rowOfFours(out, in []uint8) {
	for i, first := range f.first {
		px := in[3*first:][:12:12]
		w := f.weight[4*i:][:4:4]
		a, b, c, d := w[0], w[1], w[2], w[3]
		o := out[3*i:][:3:3]
		o[0] = clip8(half + int32(px[0])*a + int32(px[3])*b + int32(px[6])*c + int32(px[9])*d)
		o[1] = clip8(half + int32(px[1])*a + int32(px[4])*b + int32(px[7])*c + int32(px[10])*d)
		o[2] = clip8(half + int32(px[2])*a + int32(px[5])*b + int32(px[8])*c + int32(px[11])*d)
	}
}

// rowOfSixes is the same for six: to more than a third.
func (f *filter) rowOfSixes(out, in []uint8) {
	for i, first := range f.first {
		px := in[3*first:][:18:18]
		w := f.weight[6*i:][:6:6]
		a, b, c, d, e, g := w[0], w[1], w[2], w[3], w[4], w[5]
		o := out[3*i:][:3:3]
		o[0] = clip8(half + int32(px[0])*a + int32(px[3])*b + int32(px[6])*c + int32(px[9])*d + int32(px[12])*e + int32(px[15])*g)
		o[1] = clip8(half + int32(px[1])*a + int32(px[4])*b + int32(px[7])*c + int32(px[10])*d + int32(px[13])*e + int32(px[16])*g)
		o[2] = clip8(half + int32(px[2])*a + int32(px[5])*b + int32(px[8])*c + int32(px[11])*d + int32(px[14])*e + int32(px[17])*g)
	}
}

// alongCols resamples each column of src to a column of dst, a row at a time.
// acc has room for one row.
// Source: Pillow, ImagingResampleVertical_8bpc.
func (f *filter) alongCols(dst []uint8, src plane, acc []int32) {
	n := src.width * src.ch
	pairs := f.pairs(src.height)
	fours := !pairs && f.fixed(src.height, 4)
	for i, first := range f.first {
		out := dst[i*n:][:n]
		w := f.weight[i*f.taps:]
		if pairs {
			a, b := src.row(int(first)), src.row(int(first)+1)
			blendRows(out, a, b, w[0], w[1])
			continue
		}
		if fours {
			y := int(first)
			blendFour(out, src.row(y), src.row(y+1), src.row(y+2), src.row(y+3), w[:4])
			continue
		}
		for x := range acc {
			acc[x] = half
		}
		for k := range f.count[i] {
			wk := w[k]
			for x, v := range src.row(int(first + k)) {
				acc[x] += int32(v) * wk
			}
		}
		for x, sum := range acc {
			out[x] = clip8(sum)
		}
	}
}

// blendRows writes the sum of two weighted rows.
func blendRows(out, a, b []uint8, wa, wb int32) {
	a, b = a[:len(out)], b[:len(out)]
	for x := range out {
		out[x] = uint8((half + int32(a[x])*wa + int32(b[x])*wb) >> precision)
	}
}

// blendFour writes the sum of four weighted rows.
func blendFour(out, a, b, c, d []uint8, w []int32) {
	a, b, c, d = a[:len(out)], b[:len(out)], c[:len(out)], d[:len(out)]
	wa, wb, wc, wd := w[0], w[1], w[2], w[3]
	for x := range out {
		out[x] = clip8(half + int32(a[x])*wa + int32(b[x])*wb + int32(c[x])*wc + int32(d[x])*wd)
	}
}
