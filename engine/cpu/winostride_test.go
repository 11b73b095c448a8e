package cpu_test

import (
	"math"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
)

// Convolutions of stride 2 by the transforms of their phases give what the
// definition gives, for images of even and odd sides, that tiles of four fit,
// of four and three and neither, for few channels and for those that take other
// ways, and the same bits with any number of threads.
func TestStrideDoesNotMatter(t *testing.T) {
	shapes := []struct{ n, size, ci, co int }{
		{1, 1, 16, 16}, {2, 2, 32, 16}, {3, 5, 16, 48}, {2, 7, 48, 32}, {1, 14, 16, 32}, {2, 11, 64, 64},
		{9, 8, 64, 64}, {3, 4, 128, 144}, {1, 4, 256, 256}, {2, 9, 272, 240}, {1, 6, 512, 160}, {5, 4, 400, 176},
		{1, 20, 32, 64}, {28, 3, 32, 80}, {4, 14, 256, 272}, {3, 28, 128, 96}, {2, 21, 80, 112},
	}
	sets := kernel.Usable()
	if raceEnabled { // what races in one set of kernels races in all
		sets = sets[:1]
	}
	for _, set := range sets {
		for _, z := range shapes {
			if set.Name == "generic" && z.ci > 200 {
				continue // slow
			}
			p, in := convProgram(t, z.n, z.size, z.ci, z.co, 3, 2)
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
				if err := farthest(got[name].Float64s(), v.Float64s()); !(err < 2e-5) {
					t.Errorf("%s, %+v: %s is off by %.2g of its root mean square", set.Name, z, name, err)
				}
			}
		}
	}
}
