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

// Max pooling that normalises what it reads gives the bits of pooling what a
// norm has stored: in training and with given statistics, for rows that a strip
// holds all of, some of and only a window's, and with rows that no window has.
func TestPoolingNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(37, 38))
	sets := kernel.Usable()
	if raceEnabled { // what races in one set of kernels races in all
		sets = sets[:1]
	}
	for _, z := range []struct {
		n, h, w, c int
		op         graph.MaxPool2D
		kept       bool // what is pooled is wanted besides
	}{
		{2, 75, 21, 37, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}, false},
		{2, 75, 21, 37, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}, true},
		{2, 50, 75, 64, graph.MaxPool2D{Size: 3, Stride: 1, Pad: 1}, false},
		{1, 15, 250, 131, graph.MaxPool2D{Size: 5, Stride: 2, Pad: 2}, false},
		{1, 14, 1100, 20, graph.MaxPool2D{Size: 6, Stride: 1, Pad: 3}, false},
		{5, 18, 18, 3, graph.MaxPool2D{Size: 2, Stride: 2}, false},
		{2, 64, 40, 50, graph.MaxPool2D{Size: 2, Stride: 3}, false},
		{7, 3, 1, 16, graph.MaxPool2D{Size: 3, Stride: 3, Pad: 1}, false},
	} {
		for _, train := range []bool{true, false} {
			vars := map[string]engine.Tensor{}
			c := windowCase(t, r, func(g *graph.Graph, input func(string, ...int) *graph.Value) {
				vector := func(name string, trainable bool) *graph.Value {
					d := make([]float32, z.c)
					for i := range d {
						d[i] = float32(r.NormFloat64())
						if name == "var" {
							d[i] *= d[i]
						}
					}
					vars[name] = engine.Float32(d, z.c)
					return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: graph.Shape{z.c}}, Trainable: trainable})
				}
				x, k := input("x", z.n, z.h, z.w, z.c), input("k", 4, z.c, 1, 1)
				v := graph.BatchNormVars{Weight: vector("weight", true), Bias: vector("bias", true), Mean: vector("mean", false), Var: vector("var", false)}
				h := g.ReLU("relu", g.BatchNorm2D("norm", x, v, 1e-5, 0.1, train))
				y := g.MaxPool2D("pool", h, z.op)
				g.Output("y", y)
				if z.kept {
					g.Output("h", h)
				}
				// A convolution of the same images may normalise as it reads, too.
				f := g.GlobalAvgPool("average", g.Conv2D("conv", h, k, graph.Conv2D{Stride: 1, Groups: 1}))
				loss := g.CrossEntropy("loss", g.Apply("features", graph.MatMul{TransA: true}, g.GlobalAvgPool("pooled", y), f)[0], input("target", z.c, 4))
				for i, d := range g.Gradients(loss, []*graph.Value{x, v.Weight, v.Bias, k}) {
					g.Output(fmt.Sprint("d", i), d)
				}
			})
			c.Variables = vars
			for _, set := range sets {
				want := state(t, cpu.Options{Kernels: set.Name, Threads: 1, Skip: []string{"FuseLoad"}}, c)
				for _, opt := range []cpu.Options{{Threads: 1}, {Threads: 3}, {Threads: 2, Memory: cpu.MemoryLeast}, {Threads: 2, NoReuse: true}} {
					opt.Kernels = set.Name
					same(t, fmt.Sprintf("%+v, training %t, %+v", z, train, opt), state(t, opt, c), want, 0)
				}
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
