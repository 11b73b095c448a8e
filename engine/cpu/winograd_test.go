package cpu_test

import (
	"fmt"
	"math"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
)

// Winograd's transforms give what the definition gives, for images that tiles
// fit and that they don't, for few channels and for those that take other ways,
// and the same bits with any number of threads.
func TestWinogradDoesNotMatter(t *testing.T) {
	shapes := []struct{ n, size, ci, co int }{
		{1, 1, 16, 16}, {2, 2, 32, 16}, {3, 5, 16, 48}, {2, 7, 48, 32}, {1, 14, 16, 32}, {2, 11, 64, 64},
		{9, 8, 64, 64}, {3, 4, 128, 144}, {1, 4, 256, 256}, {2, 9, 272, 240}, {1, 6, 512, 160}, {5, 4, 400, 176},
	}
	for _, set := range kernel.Usable() {
		for _, z := range shapes {
			if set.Name == "generic" && z.ci > 300 {
				continue // slow
			}
			if raceEnabled && z.ci*z.co > 4096 {
				continue
			}
			p, in := convProgram(t, z.n, z.size, z.ci, z.co, 3, 1)
			run := func(conv string, threads int) map[string]engine.Tensor {
				e := newEngine(t, cpu.Options{Kernels: set.Name, Conv: conv, Threads: threads})
				x, err := e.Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				out, err := x.Run(in)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			want, got := run("direct", 2), run("winograd", 1)
			for _, threads := range []int{2, 5} {
				for name, v := range run("winograd", threads) {
					g := got[name].Float64s()
					for i, f := range v.Float64s() {
						if math.Float64bits(f) != math.Float64bits(g[i]) {
							t.Fatalf("%s, %+v: element %d of %s is %g with %d threads, %g with one", set.Name, z, i, name, f, threads, g[i])
						}
					}
				}
			}
			for name, v := range want {
				if err := farthest(got[name].Float64s(), v.Float64s()); !(err < 3e-5) {
					t.Errorf("%s, %+v: %s is off by %.2g of its root mean square", set.Name, z, name, err)
				}
			}
		}
	}
}

// farthest is the largest difference over the root mean square of want.
func farthest(got, want []float64) float64 {
	sum, most := 0.0, 0.0
	for i, w := range want {
		sum += w * w
		d := math.Abs(got[i] - w)
		if !(d <= most) { // or not a number
			most = d
		}
	}
	return most / math.Sqrt(sum/float64(len(want)))
}

func TestConvOption(t *testing.T) {
	if _, err := cpu.New(cpu.Options{Conv: "fourier"}); err == nil {
		t.Error("an unknown algorithm is accepted")
	}
	for _, conv := range []string{"", "direct", "winograd"} {
		t.Run(fmt.Sprintf("%q", conv), func(t *testing.T) { newEngine(t, cpu.Options{Conv: conv}) })
	}
}
