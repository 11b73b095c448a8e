package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Benchmarks report the best of many short runs, since machines are shared,
// beside the set's peak measured in the same way.

var peaks = map[string]float64{}

func peakOf(s *Set) float64 {
	if peaks[s.Name] == 0 {
		peaks[s.Name] = s.Peak(100 * time.Millisecond)
	}
	return peaks[s.Name]
}

// fastest runs f in b's loop and returns the seconds that a call took at best.
// A run of several calls takes some tens of microseconds.
func fastest(b *testing.B, f func()) float64 {
	f()
	t := time.Now()
	f()
	n := 1 + int(30*time.Microsecond/(1+time.Since(t)))
	best := time.Duration(1 << 62)
	for b.Loop() {
		t := time.Now()
		for range n {
			f()
		}
		best = min(best, time.Since(t))
	}
	sec := best.Seconds() / float64(n)
	b.ReportMetric(1e9*sec, "ns/op")
	return sec
}

func reportFLOP(b *testing.B, s *Set, flop int, sec float64) {
	speed := float64(flop) / sec
	b.ReportMetric(speed/1e9, "GFLOP/s")
	b.ReportMetric(100*speed/peakOf(s), "%peak")
}

// floats returns n elements that aren't zero: memory that was never written to
// is one page, many times, and caches treat it oddly.
func floats(n int) []float32 {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()
	}
	return x
}

func BenchmarkTile(b *testing.B) {
	for _, s := range Usable() {
		for _, t := range s.Tiles {
			for _, depth := range []int{72, 256, 1152} {
				for _, layout := range []struct {
					name     string
					ars, ads int
				}{{"rows", depth, 1}, {"columns", 1, t.MR}} {
					b.Run(fmt.Sprintf("%s/%dx%d/depth=%d/A=%s", s.Name, t.MR, t.NR, depth, layout.name), func(b *testing.B) {
						peakOf(s)
						x, y, z := floats(t.MR*depth), floats(depth*t.NR), floats(t.MR*t.NR)
						sec := fastest(b, func() {
							t.Run(1, t.MR, depth, &x[0], layout.ars, layout.ads, &y[0], t.NR, &z[0], t.NR, &z[0], t.NR, false, nil, 0, 0)
						})
						reportFLOP(b, s, 2*t.MR*t.NR*depth, sec)
					})
				}
			}
		}
	}
}

func BenchmarkGemm(b *testing.B) {
	shapes := []struct {
		name    string
		m, n, k int
		columns bool // A is depth-major
	}{
		{"narrow8", 1024, 8, 72, false},
		{"narrow16", 1024, 16, 144, false},
		{"narrow10", 1024, 10, 64, false},
		{"layer64", 1024, 64, 576, false},
		{"layer256", 256, 256, 2304, false},
		{"layer512", 128, 512, 4608, false},
		{"classes10", 64, 10, 512, false},
		{"square1024", 1024, 1024, 1024, false},
		{"weights64", 576, 64, 1024, true},
		{"weights512", 512, 512, 1024, true},
		{"ones512", 256, 512, 256, false},
	}
	for _, s := range Usable() {
		for _, z := range shapes {
			for _, how := range []string{"plain", "packed"} {
				b.Run(fmt.Sprintf("%s/%s=%dx%dx%d/%s", s.Name, z.name, z.m, z.n, z.k, how), func(b *testing.B) {
					peakOf(s)
					x, y, c := floats(z.m*z.k), floats(z.k*z.n), floats(z.m*z.n)
					ars, ads := z.k, 1
					if z.columns {
						ars, ads = 1, z.m
					}
					packed := make([]float32, s.PackedLen(z.k, z.n))
					s.PackB(packed, z.k, z.n, y, z.n)
					sec := fastest(b, func() {
						if how == "packed" {
							s.GemmPacked(z.m, z.n, z.k, x, ars, ads, packed, c, z.n, true)
						} else {
							s.Gemm(z.m, z.n, z.k, x, ars, ads, y, z.n, c, z.n, true)
						}
					})
					reportFLOP(b, s, 2*z.m*z.n*z.k, sec)
				})
			}
		}
	}
}

func BenchmarkRows(b *testing.B) {
	for _, s := range Usable() {
		for _, z := range []struct{ rows, c int }{{4096, 8}, {2048, 16}, {512, 64}, {64, 512}, {32768, 64}} {
			n := z.rows * z.c
			x, y, r, dst := floats(n), floats(n), floats(n), floats(n)
			p, q, o := floats(z.c), floats(z.c), floats(z.c)
			for _, k := range []struct {
				name    string
				streams int
				f       func()
			}{
				{"Add", 3, func() { s.Add(dst, x, y) }},
				{"ReLUGrad", 3, func() { s.ReLUGrad(dst, x, y) }},
				{"SGD", 5, func() { s.SGD(x, y, r, 0.001, 0.9, 0.001, true) }},
				{"Dot", 2, func() { s.Dot(x, y) }},
				{"ColSums", 1, func() { s.ColSums(p, x, z.rows, z.c) }},
				{"ColVar", 1, func() { s.ColVar(p, x, q, z.rows, z.c) }},
				{"ColDot2", 2, func() { s.ColDot2(p, o, y, x, q, z.rows, z.c) }},
				{"ScaleShiftReLU", 2, func() { s.ScaleShiftReLU(dst, x, p, q, z.rows, z.c) }},
				{"ScaleShiftAddReLU", 3, func() { s.ScaleShiftAddReLU(dst, x, p, q, r, z.rows, z.c) }},
				{"BNGrad", 3, func() { s.BNGrad(dst, y, x, p, q, o, z.rows, z.c) }},
			} {
				b.Run(fmt.Sprintf("%s/%s/%dx%d", s.Name, k.name, z.rows, z.c), func(b *testing.B) {
					sec := fastest(b, k.f)
					b.ReportMetric(float64(4*n*k.streams)/sec/1e9, "GB/s")
				})
			}
		}
	}
}

// BenchmarkWindows goes through a row of positions, whose pixels are in the
// first-level cache (32 channels) or the second.
func BenchmarkWindows(b *testing.B) {
	for _, s := range Usable() {
		for _, c := range []int{32, 128} {
			for _, size := range []int{3, 5} {
				w := Windows{Pixels: 28, C: c, Step: c, Row: 32 * c, Tap: c, KH: size, KW: size}
				x, dst, dx, k := floats(w.span(w.Step, w.Row, w.KH)), floats(28*c), floats(w.span(w.Step, w.Row, w.KH)), floats(size*size*c)
				for _, z := range []struct {
					name string
					flop int
					f    func()
				}{
					{"MaxPool", 1, func() { s.MaxPool(dst, x, w) }},
					{"MaxPoolGrad", 1, func() { s.MaxPoolGrad(dx, x, dst, w, 0, size) }},
					{"Depthwise", 2, func() { s.Depthwise(dst, c, x, k, size*c, w, false) }},
					{"DepthwiseGrad", 2, func() { s.DepthwiseGrad(k, size*c, x, dst, w) }},
				} {
					b.Run(fmt.Sprintf("%s/%s/%dx%dx%d", s.Name, z.name, size, size, c), func(b *testing.B) {
						peakOf(s)
						reportFLOP(b, s, z.flop*28*c*size*size, fastest(b, z.f))
					})
				}
			}
		}
	}
}
