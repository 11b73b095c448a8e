package cpu_test

import (
	"math"
	"slices"
	"testing"

	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
)

// Convolutions of few positions give what the definition gives, with channels
// that panels fit and that they don't, and the same bits with any number of
// threads.
func TestFewPositions(t *testing.T) {
	for _, set := range kernel.Usable() {
		for _, z := range []struct{ n, size, ci, co, kernel, stride int }{
			{1, 4, 256, 256, 3, 1}, {1, 8, 100, 90, 3, 2}, {2, 3, 65, 129, 3, 1}, {1, 5, 48, 33, 5, 1},
			{3, 6, 16, 40, 3, 2}, {1, 1, 64, 64, 3, 1}, {1, 9, 20, 200, 2, 3}, {1, 12, 64, 96, 3, 1},
		} {
			p, in := convProgram(t, z.n, z.size, z.ci, z.co, z.kernel, z.stride)
			shape := p.Outputs[0].Value.Shape
			var want []float64
			for _, threads := range []int{1, 2, 5} {
				e := newEngine(t, cpu.Options{Kernels: set.Name, Conv: "direct", Threads: threads})
				x, err := e.Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				out, err := x.Run(in)
				if err != nil {
					t.Fatal(err)
				}
				y := out["y"].Float64s()
				if want == nil {
					want = definedConv(in["x"].Float64s(), in["w"].Float64s(), z.n, z.size, z.ci, z.co, z.kernel, z.stride, shape)
					if err := farthest(y, want); !(err < 3e-6) {
						t.Errorf("%s, %+v: off by %.2g of the root mean square", set.Name, z, err)
					}
					want = y
				}
				for i, v := range y {
					if math.Float64bits(v) != math.Float64bits(want[i]) {
						t.Fatalf("%s, %+v: element %d is %g with %d threads, %g with one", set.Name, z, i, v, threads, want[i])
					}
				}
			}
		}
	}
}

// Of few positions and many channels, 3×3 convolutions go by F(2×2, 3×3): on
// images of even and odd sides, with panels of one width and of several, within
// twice the error of direct sums, and the same bits with any number of threads.
func TestWinogradFew(t *testing.T) {
	for _, set := range kernel.Usable() {
		for _, z := range []struct{ n, size, ci, co int }{
			{1, 8, 256, 256}, {4, 4, 160, 144}, {1, 7, 256, 80}, {1, 9, 80, 96}, {2, 6, 160, 144},
		} {
			p, in := convProgram(t, z.n, z.size, z.ci, z.co, 3, 1)
			run := func(conv string, threads int) []float64 {
				x, err := newEngine(t, cpu.Options{Kernels: set.Name, Conv: conv, Threads: threads}).Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				out, err := x.Run(in)
				if err != nil {
					t.Fatal(err)
				}
				return slices.Clone(out["y"].Float64s())
			}
			want := definedConv(in["x"].Float64s(), in["w"].Float64s(), z.n, z.size, z.ci, z.co, 3, 1, p.Outputs[0].Value.Shape)
			got, direct := run("", 1), run("direct", 1)
			if err := farthest(got, want); !(err < 6e-6) {
				t.Errorf("%s, %+v: off by %.2g of the root mean square", set.Name, z, err)
			}
			if slices.Equal(got, direct) != (set.Name == "generic") {
				t.Errorf("%s, %+v: direct sums %t", set.Name, z, slices.Equal(got, direct))
			}
			for _, threads := range []int{2, 5} {
				if !slices.Equal(run("", threads), got) {
					t.Errorf("%s, %+v: other bits with %d threads", set.Name, z, threads)
				}
			}
		}
	}
}

// definedConv is a convolution padded by half its kernel, as its definition
// says.
func definedConv(x, w []float64, n, size, ci, co, k, stride int, shape graph.Shape) []float64 {
	y := make([]float64, shape.Size())
	for i := range y {
		o, ox, oy, im := i%co, i/co%shape[2], i/co/shape[2]%shape[1], i/co/shape[2]/shape[1]
		for ky := range k {
			for kx := range k {
				row, col := oy*stride+ky-k/2, ox*stride+kx-k/2
				if row < 0 || col < 0 || row >= size || col >= size {
					continue
				}
				from := x[((im*size+row)*size+col)*ci:][:ci]
				for l, v := range from {
					y[i] += v * w[(o*ci+l)*k*k+ky*k+kx]
				}
			}
		}
	}
	return y
}
