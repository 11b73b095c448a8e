package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
	"selfcon/internal/testkit/optest"
)

// windowCase is a program whose outputs are an operation over windows and its
// derivatives.
func windowCase(t *testing.T, r *rand.Rand, build func(g *graph.Graph, input func(name string, shape ...int) *graph.Value)) optest.Case {
	t.Helper()
	g, in := graph.New(), map[string]engine.Tensor{}
	build(g, func(name string, shape ...int) *graph.Value {
		d := make([]float32, graph.Shape(shape).Size())
		for i := range d {
			if d[i] = float32(r.NormFloat64()); name == "images" && r.IntN(10) == 0 {
				d[i] = []float32{0, float32(math.NaN()), float32(math.Inf(-1)), 1}[r.IntN(4)]
			}
		}
		in[name] = engine.Float32(d, shape...)
		return g.Input(name, graph.Float, shape...)
	})
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return optest.Case{Program: p, Runs: []map[string]engine.Tensor{in}}
}

// Max pooling rounds nothing but the sums of its derivative, which are in one
// order: threads and kernels change no bit. The images are higher than a task.
func TestPoolingBits(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for _, op := range []graph.MaxPool2D{{Size: 3, Stride: 2, Pad: 1}, {Size: 3, Stride: 1, Pad: 1}, {Size: 5, Stride: 2, Pad: 2}, {Size: 2, Stride: 2}, {Size: 2, Stride: 3}} {
		c := windowCase(t, r, func(g *graph.Graph, input func(string, ...int) *graph.Value) {
			x := input("images", 2, 75, 21, 37)
			y := g.MaxPool2D("pool", x, op)
			g.Output("y", y)
			// What is scaled lies where dx will: it has to be cleared where no window is.
			g.Output("other", g.MaxPool2D("other", g.Scale("scale", x, 3), op))
			g.Output("dx", g.Apply("dx", graph.MaxPool2DGrad{Pool: op}, x, input("dy", y.Shape...))[0])
		})
		want := state(t, cpu.Options{Kernels: "generic", Threads: 1}, c)
		for _, set := range kernel.Usable() {
			for _, threads := range []int{1, 2, 3, 8} {
				got := state(t, cpu.Options{Kernels: set.Name, Threads: threads}, c)
				same(t, fmt.Sprintf("%+v, %s, %d threads", op, set.Name, threads), got, want, 0)
			}
		}
	}
}

func TestDepthwiseThreadsDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	for _, z := range []struct{ n, h, w, c, k, stride int }{{2, 61, 40, 48, 3, 1}, {3, 30, 31, 70, 5, 2}, {5, 7, 7, 400, 5, 1}} {
		c := windowCase(t, r, func(g *graph.Graph, input func(string, ...int) *graph.Value) {
			op := graph.Conv2D{Stride: z.stride, Pad: z.k / 2, Groups: z.c}
			x, w := input("x", z.n, z.h, z.w, z.c), input("w", z.c, 1, z.k, z.k)
			y := g.Conv2D("y", x, w, op)
			dy := input("dy", y.Shape...)
			g.Output("y", y)
			g.Output("dx", g.Apply("dx", graph.Conv2DGradInput{Conv: op, Input: x.Shape}, dy, w)[0])
			g.Output("dw", g.Apply("dw", graph.Conv2DGradWeight{Conv: op, Kernel: w.Shape}, x, dy)[0])
		})
		for _, set := range kernel.Usable() {
			want := state(t, cpu.Options{Kernels: set.Name, Threads: 1}, c)
			for _, threads := range []int{2, 3, 8} {
				got := state(t, cpu.Options{Kernels: set.Name, Threads: threads}, c)
				same(t, fmt.Sprintf("%+v, %s, %d threads", z, set.Name, threads), got, want, 0)
			}
		}
	}
}
