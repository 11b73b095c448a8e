//go:build unix

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/internal/testkit"
)

// eachWindow calls f with windows of many shapes: every rest of channels and
// positions, pixels closer and farther apart than what is computed of them,
// windows that overlap and don't, and more than one call takes.
func eachWindow(t *testing.T, f func(t *testing.T, s *Set, r *rand.Rand, w Windows, back bool)) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(21, 22))
		try := func(w Windows) {
			if w.C <= 0 || w.Pixels <= 0 {
				return
			}
			w.Row = (w.KW + r.IntN(9)) * w.Tap
			for _, back := range []bool{false, true} {
				f(t, s, r, w, back)
				if t.Failed() {
					t.Fatalf("%+v, back %v", w, back)
				}
			}
		}
		for c := 1; c <= 140; c++ {
			tap := c + r.IntN(2)*r.IntN(40)
			try(Windows{Pixels: 1 + c%8, C: c, Tap: tap, Step: tap * (1 + r.IntN(3)), KH: 1 + r.IntN(3), KW: 1 + r.IntN(3)})
		}
		for pixels := range 20 {
			for _, c := range []int{3, 8, 16, 41} {
				try(Windows{Pixels: pixels, C: c, Tap: c, Step: c, KH: 1 + r.IntN(5), KW: 1 + r.IntN(5)})
			}
		}
		try(Windows{Pixels: 900, C: 20, Tap: 20, Step: 20, KH: 3, KW: 3})
		try(Windows{Pixels: 3, C: longest / 8, Tap: longest / 8, Step: longest / 8, KH: 3, KW: 1})
	})
}

// odd fills x with few different values, so that windows have ties, and with
// zeros of both signs, infinities and NaNs.
func odd(r *rand.Rand, x []float32) {
	values := []float32{1, 2, 3, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0, float32(math.Copysign(0, -1))}
	for i := range x {
		x[i] = values[r.IntN(4)]
		if r.IntN(8) == 0 {
			x[i] = values[r.IntN(len(values))]
		}
		if x[i] != x[i] {
			x[i] = math.Float32frombits(math.Float32bits(x[i]) + uint32(r.IntN(3))) // to tell NaNs apart
		}
	}
}

// largest is the definition of the pixel that a maximum is: its row and column.
func largest(x []float32, w Windows, p, j int) (ky, kx int) {
	best := x[p*w.Step+j]
	for t := range w.KH * w.KW {
		if v := x[p*w.Step+t/w.KW*w.Row+t%w.KW*w.Tap+j]; v > best || math.IsNaN(float64(v)) {
			best, ky, kx = v, t/w.KW, t%w.KW
		}
	}
	return ky, kx
}

func TestMaxPool(t *testing.T) {
	gx, gd := testkit.NewGuard(t, 4*longest), testkit.NewGuard(t, 4*longest)
	eachWindow(t, func(t *testing.T, s *Set, r *rand.Rand, w Windows, back bool) {
		x, dst := gx.Place(w.span(w.Step, w.Row, w.KH), back), gd.Place((w.Pixels-1)*w.Tap+w.C, back)
		odd(r, x)
		fill(r, dst)
		want := append([]float32(nil), dst...)
		for p := range w.Pixels {
			for j := range w.C {
				ky, kx := largest(x, w, p, j)
				want[p*w.Tap+j] = x[p*w.Step+ky*w.Row+kx*w.Tap+j]
			}
		}
		s.MaxPool(dst, x, w)
		same(t, fmt.Sprintf("%+v", w), dst, want)
	})
}

func TestMaxPoolGrad(t *testing.T) {
	gx, gy, gd := testkit.NewGuard(t, 4*longest), testkit.NewGuard(t, 4*longest), testkit.NewGuard(t, 4*longest)
	eachWindow(t, func(t *testing.T, s *Set, r *rand.Rand, w Windows, back bool) {
		from := r.IntN(w.KH)
		to := from + 1 + r.IntN(w.KH-from)
		x, dy := gx.Place(w.span(w.Step, w.Row, w.KH), back), gy.Place((w.Pixels-1)*w.Tap+w.C, back)
		dx := gd.Place(w.span(w.Step, w.Row, to-from), back)
		odd(r, x)
		fill(r, dy)
		fill(r, dx)
		want := append([]float32(nil), dx...)
		for p := range w.Pixels {
			for j := range w.C {
				if ky, kx := largest(x, w, p, j); from <= ky && ky < to {
					want[p*w.Step+(ky-from)*w.Row+kx*w.Tap+j] += dy[p*w.Tap+j]
				}
			}
		}
		s.MaxPoolGrad(dx, x, dy, w, from, to)
		same(t, fmt.Sprintf("%+v, rows %d to %d", w, from, to), dx, want)
		s.MaxPoolGrad(dx[:0], nil, nil, w, from, from)
	})
}

func TestDepthwise(t *testing.T) {
	gx, gk, gd := testkit.NewGuard(t, 4*longest), testkit.NewGuard(t, 4*longest), testkit.NewGuard(t, 4*longest)
	eachWindow(t, func(t *testing.T, s *Set, r *rand.Rand, w Windows, back bool) {
		kRow, dstStep, acc := (w.KW+r.IntN(3))*w.C, w.C+r.IntN(20), r.IntN(2) == 0
		x := gx.Place(w.span(w.Step, w.Row, w.KH), back)
		k := gk.Place((w.KH-1)*kRow+w.KW*w.C, back)
		dst := gd.Place((w.Pixels-1)*dstStep+w.C, back)
		fill(r, x)
		fill(r, k)
		fill(r, dst)
		was := append([]float32(nil), dst...)
		s.Depthwise(dst, dstStep, x, k, kRow, w, acc)
		for i, got := range dst {
			p, j := i/dstStep, i%dstStep
			want, magnitude := float64(was[i]), abs(float64(was[i]))
			bound := 0.0
			if j < w.C {
				if !acc {
					want, magnitude = 0, 0
				}
				for t := range w.KH * w.KW {
					v := float64(x[p*w.Step+t/w.KW*w.Row+t%w.KW*w.Tap+j]) * float64(k[t/w.KW*kRow+t%w.KW*w.C+j])
					want, magnitude = want+v, magnitude+abs(v)
				}
				// A product and an addition a tap, and the one to dst.
				bound = 1.01 * float64(w.KH*w.KW+2) * unit * magnitude
			}
			if diff := math.Abs(float64(got) - want); !(diff <= bound) {
				t.Fatalf("%+v, dstStep %d, kRow %d, acc %v: element %d is %g, want %g ± %g", w, dstStep, kRow, acc, i, got, want, bound)
			}
		}
	})
}

func TestDepthwiseGrad(t *testing.T) {
	gx, gy, gs := testkit.NewGuard(t, 4*longest), testkit.NewGuard(t, 4*longest), testkit.NewGuard(t, 4*longest)
	eachWindow(t, func(t *testing.T, s *Set, r *rand.Rand, w Windows, back bool) {
		sumRow := (w.KW + r.IntN(3)) * w.C
		x, dy := gx.Place(w.span(w.Step, w.Row, w.KH), back), gy.Place((w.Pixels-1)*w.Tap+w.C, back)
		sum := gs.Place((w.KH-1)*sumRow+w.KW*w.C, back)
		fill(r, x)
		fill(r, dy)
		fill(r, sum)
		was := append([]float32(nil), sum...)
		s.DepthwiseGrad(sum, sumRow, x, dy, w)
		for i, got := range sum {
			ky, kx, j := i/sumRow, i%sumRow/w.C, i%sumRow%w.C
			want, magnitude := float64(was[i]), abs(float64(was[i]))
			bound := 0.0
			if kx < w.KW {
				for p := range w.Pixels {
					v := float64(x[p*w.Step+ky*w.Row+kx*w.Tap+j]) * float64(dy[p*w.Tap+j])
					want, magnitude = want+v, magnitude+abs(v)
				}
				// A product and an addition a position.
				bound = 1.01 * float64(w.Pixels+1) * unit * magnitude
			}
			if diff := math.Abs(float64(got) - want); !(diff <= bound) {
				t.Fatalf("%+v, sumRow %d: element %d is %g, want %g ± %g", w, sumRow, i, got, want, bound)
			}
		}
	})
}

// However positions are split among calls, an element has the same bits.
func TestDepthwiseSplits(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(23, 24))
		w := Windows{Pixels: 13, C: 43, Step: 86, Row: 43 * 40, Tap: 43, KH: 3, KW: 5}
		x, k := make([]float32, w.span(w.Step, w.Row, w.KH)), make([]float32, 15*43)
		dst, parts := make([]float32, 13*43), make([]float32, 13*43)
		sum, sums := make([]float32, 15*43), make([]float32, 15*43)
		fill(r, x)
		fill(r, k)
		s.Depthwise(dst, 43, x, k, 5*43, w, false)
		s.DepthwiseGrad(sum, 5*43, x, dst, w)
		for p := 0; p < 13; {
			part := w
			part.Pixels = min(1+r.IntN(4), 13-p)
			s.Depthwise(parts[p*43:], 43, x[p*86:], k, 5*43, part, false)
			s.DepthwiseGrad(sums, 5*43, x[p*86:], dst[p*43:], part)
			p += part.Pixels
		}
		same(t, "Depthwise", parts, dst)
		same(t, "DepthwiseGrad", sums, sum)
	})
}

func TestWindowsAllocateNothing(t *testing.T) {
	x := make([]float32, 1000)
	w := Windows{Pixels: 4, C: 10, Step: 10, Row: 100, Tap: 10, KH: 3, KW: 3}
	eachSet(t, func(t *testing.T, s *Set) {
		if n := testing.AllocsPerRun(100, func() {
			s.MaxPool(x[500:], x, w)
			s.MaxPoolGrad(x[500:], x, x, w, 0, 3)
			s.Depthwise(x[500:], 10, x, x, 30, w, true)
			s.DepthwiseGrad(x[500:], 30, x, x, w)
		}); n > 0 {
			t.Errorf("%g allocations", n)
		}
	})
}
