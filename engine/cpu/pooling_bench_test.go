package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
)

// benchProgram reports the least milliseconds of each step but the first, and
// how fast it moved what it reads and writes.
func benchProgram(b *testing.B, g *graph.Graph, inputs ...*graph.Value) {
	b.Helper()
	p, err := g.Build()
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	in := map[string]engine.Tensor{}
	for _, v := range inputs {
		d := make([]float32, v.Shape.Size())
		for i := range d {
			d[i] = float32(r.NormFloat64())
		}
		in[v.Node.Name] = engine.Tensor{Shape: v.Shape, Data: d}
	}
	x, err := newEngine(b, cpu.Options{Profile: true}).Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := x.Run(in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, s := range x.(*cpu.Executable).Stats().Steps {
		if s.Name == "first" {
			continue
		}
		b.ReportMetric(float64(s.Best)/float64(time.Millisecond), "ms-"+s.Name)
		b.ReportMetric(float64(s.Bytes)/s.Best.Seconds()/1e9, "GB/s-"+s.Name)
	}
}

// awake is x after a step for all threads: while inputs are copied, all but one
// go to sleep.
func awake(g *graph.Graph, x *graph.Value) *graph.Value {
	return g.Scale("first", x, 0.5)
}

func BenchmarkMaxPool(b *testing.B) {
	for _, z := range []struct {
		n, size, c int
		pool       graph.MaxPool2D
		norm       bool // relu(norm(x)) is pooled
	}{
		{8, 112, 64, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}, false}, // ResNet-50's
		{8, 112, 64, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}, true},
		{1, 112, 64, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}, true},
		{64, 32, 64, graph.MaxPool2D{Size: 2, Stride: 2}, false},
		{64, 32, 64, graph.MaxPool2D{Size: 2, Stride: 2}, true},
		{64, 32, 8, graph.MaxPool2D{Size: 2, Stride: 2}, true},
	} {
		b.Run(fmt.Sprintf("%dx%d²x%d/%d.%d/norm=%t", z.n, z.size, z.c, z.pool.Size, z.pool.Stride, z.norm), func(b *testing.B) {
			g := graph.New()
			in := g.Input("x", graph.Float, z.n, z.size, z.size, z.c)
			x := awake(g, in)
			if z.norm {
				v := func(name string) *graph.Value {
					return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: graph.Shape{z.c}}})
				}
				x = g.ReLU("relu", g.BatchNorm2D("norm", x, graph.BatchNormVars{Weight: v("w"), Bias: v("b"), Mean: v("m"), Var: v("v")}, 1e-5, 0.1, false))
			}
			y := g.MaxPool2D("pool", x, z.pool)
			dy := g.Input("dy", graph.Float, y.Shape...)
			g.Output("y", y)
			g.Output("dx", g.Apply("dx", graph.MaxPool2DGrad{Pool: z.pool}, x, dy)[0])
			benchProgram(b, g, in, dy)
		})
	}
}

func BenchmarkDepthwise(b *testing.B) {
	for _, z := range []struct{ n, size, c, k, stride int }{
		{8, 112, 32, 3, 1}, {8, 112, 96, 3, 2}, {8, 56, 144, 5, 2}, {8, 28, 240, 5, 1}, {8, 14, 480, 3, 1}, {8, 14, 672, 5, 1}, {8, 7, 1152, 5, 1}, {8, 7, 1152, 3, 1},
	} {
		b.Run(fmt.Sprintf("%dx%d²x%d/%dx%d.%d", z.n, z.size, z.c, z.k, z.k, z.stride), func(b *testing.B) {
			g := graph.New()
			in, w := g.Input("x", graph.Float, z.n, z.size, z.size, z.c), g.Input("w", graph.Float, z.c, 1, z.k, z.k)
			x := awake(g, in)
			op := graph.Conv2D{Stride: z.stride, Pad: z.k / 2, Groups: z.c}
			y := g.Conv2D("y", x, w, op)
			dy := g.Input("dy", graph.Float, y.Shape...)
			g.Output("y", y)
			g.Output("dx", g.Apply("dx", graph.Conv2DGradInput{Conv: op, Input: x.Shape}, dy, w)[0])
			g.Output("dw", g.Apply("dw", graph.Conv2DGradWeight{Conv: op, Kernel: w.Shape}, x, dy)[0])
			benchProgram(b, g, in, w, dy)
		})
	}
}
