package augment

import (
	"math"

	"selfcon/internal/pixels"
)

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

// filter is how one axis is resampled.
type filter struct {
	pixels.Taps
	counts []int32
	exact  []float64 // weights before rounding, of one result
}

// set computes the weights of results from, …, from+n−1 when an axis of in
// pixels is resampled to out: a triangle of half-width max(1, in/out) around
// each result's centre (so shrinking averages: antialiasing), cut at the
// edges, normalised in float64, rounded to 22 bits. mirrored gives them in
// reverse order.
//
// Source: Pillow, src/libImaging/Resample.c: precompute_coeffs with
// bilinear_filter, normalize_coeffs_8bpc; the box is the whole axis. The
// conversions forbid fused multiply-adds.
func (f *filter) set(in, out, from, n int, mirrored bool) {
	scale := float64(in) / float64(out)
	support := max(scale, 1)
	inv := 1 / support
	taps := int(math.Ceil(support))*2 + 2 // at most one less is needed
	f.First = grow(f.First, n)
	f.counts = grow(f.counts, n)
	f.Weight = grow(f.Weight, n*taps)
	f.exact = grow(f.exact, taps)

	most := int32(0)
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
		at := i
		if mirrored {
			at = n - 1 - i
		}
		w := f.Weight[at*taps:][:taps]
		for k := range exact {
			x := exact[k]
			if sum != 0 {
				x /= sum
			}
			w[k] = int32(0.5 + float64(x*(1<<pixels.Precision)))
		}
		f.First[at], f.counts[at] = int32(lo), int32(hi-lo)
		most = max(most, f.counts[at])
	}

	// As many taps for each result, an even number where the axis has that many:
	// those that are added weigh nothing. They must not lie behind the axis.
	f.N = min(int(most+1)&^1, in)
	for i, lo := range f.First {
		back := max(int(lo)+f.N-in, 0)
		f.First[i] = lo - int32(back)
		old := f.Weight[i*taps:][:f.counts[i]]
		to := f.Weight[i*f.N:][:f.N]
		// The places overlap, the new one not being behind the old.
		copy(to[back:], old)
		clear(to[:back])
		clear(to[back+len(old):])
	}
	f.Split()
}

// resample scales src to the size to and writes the window of the result to
// dst: first along rows into bytes, then along columns. An axis that keeps its
// length is copied.
//
// Source: Pillow, src/libImaging/Resample.c: ImagingResampleInner (Python's
// Image.resize(size, BILINEAR)), as it is in all versions up to 12. Pillow 13
// may do the columns first, which can differ by 1 where both axes are resampled.
// Results do not depend on each other, so that a window of them is computed alone.
// mirrored turns each row of the result around.
func (s *scratch) resample(dst []uint8, src plane, to size, window rect, mirrored bool) {
	alongRows, alongCols := src.width != to.width, src.height != to.height

	if alongCols {
		s.rows.set(src.height, to.height, window.top, window.height, false)
		// Only the rows that are used go through the first pass.
		first, end := s.rows.span()
		for i := range s.rows.First {
			s.rows.First[i] -= int32(first)
		}
		src = src.sub(rect{first, 0, end - first, src.width})
	} else {
		src = src.sub(rect{window.top, 0, window.height, src.width})
	}

	if alongRows {
		s.cols.set(src.width, to.width, window.left, window.width, mirrored)
		out := plane{pix: dst, stride: window.width * src.ch, width: window.width, height: src.height, ch: src.ch}
		if alongCols {
			s.tmp = grow(s.tmp, out.stride*out.height)
			out.pix = s.tmp
		}
		kernels.ResampleRows(out.pix, out.stride, src.pix, src.stride, src.height, src.ch, &s.cols.Taps)
		src = out
	} else {
		src = src.sub(rect{0, window.left, src.height, window.width})
	}

	stride := src.width * src.ch
	switch {
	case alongCols:
		kernels.ResampleColumns(dst, stride, src.pix, src.stride, stride, &s.rows.Taps)
	case !alongRows:
		for y := range src.height {
			copy(dst[y*stride:], src.row(y))
		}
	}
	if mirrored && !alongRows {
		mirrorRows(dst[:window.height*stride], window.width, src.ch)
	}
}

// span is the range of inputs that the results read.
func (f *filter) span() (first, end int) {
	n := len(f.First) - 1
	return int(f.First[0]), int(f.First[n]) + f.N
}
