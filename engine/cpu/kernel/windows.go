package kernel

import (
	"math"
	"unsafe"
)

// Windows are windows of KH×KW pixels of an image (NHWC), for some positions
// in a row and some channels. Distances are in elements.
type Windows struct {
	Pixels, C int // positions and channels to compute
	Step      int // from a position's window to the next one's
	Row       int // from a row of pixels to the next
	Tap       int // from a pixel to the next, of every image: all its channels
	KH, KW    int
}

// span is the elements from the first to behind the last, where positions are
// step apart and rows of the window row.
func (w Windows) span(step, row, kh int) int {
	return (w.Pixels-1)*step + (kh-1)*row + (w.KW-1)*w.Tap + w.C
}

// turns calls f with windows of as many positions as one call may take, and
// which they are.
func (w Windows) turns(f func(w Windows, first int)) {
	if w.Pixels <= 0 || w.C <= 0 || w.KH <= 0 || w.KW <= 0 {
		return
	}
	size := max(1, longest/(w.C*w.KH*w.KW))
	if size > 4 {
		size &^= 3 // the kernels like fours
	}
	for first, n := 0, w.Pixels; first < n; first += size {
		w.Pixels = min(size, n-first)
		f(w, first)
	}
}

// windows are a set's kernels over windows.
type windows struct {
	maxPool       func(dst, x *float32, pixels, c, step, tap, gap, kh, kw int)
	maxPoolGrad   func(dx, x, dy *float32, pixels, c, step, tap, gap, kh, kw, from, to int)
	depthwise     func(dst, x, k *float32, pixels, c, dstStep, step, tap, gap, kTap, kGap, kh, kw int, acc bool)
	depthwiseGrad func(sum, x, dy *float32, pixels, c, step, tap, gap, kTap, kGap, kh, kw int)
}

// MaxPool computes, for p < Pixels and j < C, the largest of a window
//
//	dst[p*Tap+j] = max of x[p*Step + ky*Row + kx*Tap + j] over ky < KH, kx < KW
//
// or, where there are NaNs, the last of them. Every set has the same bits.
func (s *Set) MaxPool(dst, x []float32, w Windows) {
	w.turns(func(w Windows, first int) {
		dst, x := dst[first*w.Tap:], x[first*w.Step:]
		_, _ = dst[(w.Pixels-1)*w.Tap+w.C-1], x[w.span(w.Step, w.Row, w.KH)-1]
		s.fn.maxPool(&dst[0], &x[0], w.Pixels, w.C, w.Step, w.Tap, w.Row-w.KW*w.Tap, w.KH, w.KW)
	})
}

// MaxPoolGrad adds each element of dy to the pixel of its window in x that
// [Set.MaxPool] takes, the first of equals, where that is in rows from to to-1
// of the window: for p < Pixels and j < C, in order of p,
//
//	dx[p*Step + (ky-from)*Row + kx*Tap + j] += dy[p*Tap+j]
//
// with ky, kx the pixel. So dx starts with row from of the first window. An
// element of dx must not be −0, which the others may add 0 to. Every set has the
// same bits.
func (s *Set) MaxPoolGrad(dx, x, dy []float32, w Windows, from, to int) {
	if from < 0 || to > w.KH {
		panic("kernel: MaxPoolGrad of rows that the window doesn't have")
	}
	if from >= to {
		return
	}
	w.turns(func(w Windows, first int) {
		dx, x, dy := dx[first*w.Step:], x[first*w.Step:], dy[first*w.Tap:]
		_, _, _ = dx[w.span(w.Step, w.Row, to-from)-1], x[w.span(w.Step, w.Row, w.KH)-1], dy[(w.Pixels-1)*w.Tap+w.C-1]
		s.fn.maxPoolGrad(&dx[0], &x[0], &dy[0], w.Pixels, w.C, w.Step, w.Tap, w.Row-w.KW*w.Tap, w.KH, w.KW, from, to)
	})
}

// Depthwise computes a correlation of each channel with its own kernel: for
// p < Pixels and j < C,
//
//	dst[p*dstStep+j] = (acc ? dst[p*dstStep+j] : 0) +
//		Σ_{ky<KH,kx<KW} x[p*Step + ky*Row + kx*Tap + j] * k[ky*kRow + kx*C + j]
//
// The sum starts from zero, runs through ky, kx in order with one accumulator,
// and is added to dst last.
func (s *Set) Depthwise(dst []float32, dstStep int, x, k []float32, kRow int, w Windows, acc bool) {
	w.turns(func(w Windows, first int) {
		dst, x := dst[first*dstStep:], x[first*w.Step:]
		_, _, _ = dst[(w.Pixels-1)*dstStep+w.C-1], x[w.span(w.Step, w.Row, w.KH)-1], k[(w.KH-1)*kRow+w.KW*w.C-1]
		s.fn.depthwise(&dst[0], &x[0], &k[0], w.Pixels, w.C, dstStep, w.Step, w.Tap, w.Row-w.KW*w.Tap, w.C, kRow-w.KW*w.C, w.KH, w.KW, acc)
	})
}

// DepthwiseGrad adds to the derivative of [Set.Depthwise] by its kernel: for
// ky < KH, kx < KW and j < C, in order of p,
//
//	dk[ky*kRow + kx*C + j] += Σ_{p<Pixels} x[p*Step + ky*Row + kx*Tap + j] * dy[p*Tap+j]
func (s *Set) DepthwiseGrad(dk []float32, kRow int, x, dy []float32, w Windows) {
	w.turns(func(w Windows, first int) {
		x, dy := x[first*w.Step:], dy[first*w.Tap:]
		_, _, _ = dk[(w.KH-1)*kRow+w.KW*w.C-1], x[w.span(w.Step, w.Row, w.KH)-1], dy[(w.Pixels-1)*w.Tap+w.C-1]
		s.fn.depthwiseGrad(&dk[0], &x[0], &dy[0], w.Pixels, w.C, w.Step, w.Tap, w.Row-w.KW*w.Tap, w.C, kRow-w.KW*w.C, w.KH, w.KW)
	})
}

// The definitions. gap is what is between the last pixel of a window's row and
// the first of its next, Row − KW·Tap; kTap and kGap are the same of a kernel.

// row is n elements from i on.
func row(p *float32, i, n int) []float32 { return unsafe.Slice(at(p, i), n) }

// larger says whether a pixel takes the place of the largest before it.
func larger(v, best float32) bool { return v > best || v != v }

func maxPoolPlain(dst, x *float32, pixels, c, step, tap, gap, kh, kw int) {
	for p := range pixels {
		best := row(dst, p*tap, c)
		for j := range best {
			best[j] = float32(math.Inf(-1))
		}
		for t := range kh * kw {
			for j, v := range row(x, p*step+t*tap+t/kw*gap, c) {
				if larger(v, best[j]) {
					best[j] = v
				}
			}
		}
	}
}

func maxPoolGradPlain(dx, x, dy *float32, pixels, c, step, tap, gap, kh, kw, from, to int) {
	const some = 64 // channels
	if c > some {
		for j := 0; j < c; j += some {
			maxPoolGradPlain(at(dx, j), at(x, j), at(dy, j), pixels, min(some, c-j), step, tap, gap, kh, kw, from, to)
		}
		return
	}
	for p := range pixels {
		var bests [some]float32
		var places [some]int // of the largest pixel in dx, or −1
		best, place := bests[:c], places[:c]
		for j := range best {
			best[j] = float32(math.Inf(-1))
		}
		for t := range kh * kw {
			here := -1
			if y := t / kw; from <= y && y < to {
				here = p*step + (t-from*kw)*tap + (y-from)*gap
			}
			if t == 0 {
				for j := range place {
					place[j] = here
				}
			}
			for j, v := range row(x, p*step+t*tap+t/kw*gap, c) {
				if larger(v, best[j]) {
					best[j], place[j] = v, here
				}
			}
		}
		for j, d := range row(dy, p*tap, c) {
			if place[j] >= 0 {
				*at(dx, place[j]+j) += d
			}
		}
	}
}

func depthwisePlain(dst, x, k *float32, pixels, c, dstStep, step, tap, gap, kTap, kGap, kh, kw int, acc bool) {
	const some = 64 // channels
	if c > some {
		for j := 0; j < c; j += some {
			depthwisePlain(at(dst, j), at(x, j), at(k, j), pixels, min(some, c-j), dstStep, step, tap, gap, kTap, kGap, kh, kw, acc)
		}
		return
	}
	for p := range pixels {
		var sum [some]float32
		for t := range kh * kw {
			weight := row(k, t*kTap+t/kw*kGap, c)
			for j, v := range row(x, p*step+t*tap+t/kw*gap, c) {
				sum[j] += v * weight[j]
			}
		}
		to := row(dst, p*dstStep, c)
		if !acc {
			copy(to, sum[:])
			continue
		}
		for j := range to {
			to[j] += sum[j]
		}
	}
}

func depthwiseGradPlain(sum, x, dy *float32, pixels, c, step, tap, gap, kTap, kGap, kh, kw int) {
	for p := range pixels {
		d := row(dy, p*tap, c)
		for t := range kh * kw {
			to := row(sum, t*kTap+t/kw*kGap, c)
			for j, v := range row(x, p*step+t*tap+t/kw*gap, c) {
				to[j] += v * d[j]
			}
		}
	}
}
