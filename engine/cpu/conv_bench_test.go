package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
)

// convProgram is a convolution and both of its derivatives.
func convProgram(tb testing.TB, n, size, ci, co, k, stride int) (*graph.Program, map[string]engine.Tensor) {
	tb.Helper()
	return convProgramOf(tb, n, size, size, ci, co, k, stride)
}

// convProgramOf is the same of images of h×w.
func convProgramOf(tb testing.TB, n, h, w, ci, co, k, stride int) (*graph.Program, map[string]engine.Tensor) {
	tb.Helper()
	g := graph.New()
	x := g.Input("x", graph.Float, n, h, w, ci)
	kernel := g.Input("w", graph.Float, co, ci, k, k)
	y := g.Conv2D("conv", x, kernel, graph.Conv2D{Stride: stride, Pad: k / 2, Groups: 1})
	dy := g.Input("dy", graph.Float, y.Shape...)
	op := graph.Conv2D{Stride: stride, Pad: k / 2, Groups: 1}
	g.Output("y", y)
	g.Output("dx", g.Apply("dx", graph.Conv2DGradInput{Conv: op, Input: x.Shape}, dy, kernel)[0])
	g.Output("dw", g.Apply("dw", graph.Conv2DGradWeight{Conv: op, Kernel: kernel.Shape}, x, dy)[0])
	p, err := g.Build()
	if err != nil {
		tb.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	in := map[string]engine.Tensor{}
	for _, v := range []*graph.Value{x, kernel, dy} {
		d := make([]float32, v.Shape.Size())
		for i := range d {
			d[i] = float32(r.NormFloat64())
		}
		in[v.Node.Name] = engine.Tensor{Shape: v.Shape, Data: d}
	}
	return p, in
}

// BenchmarkConv reports the least milliseconds of a convolution and of its two
// derivatives. SELFCON_CONV, as n,size,in,out,kernel,stride, adds a shape.
func BenchmarkConv(b *testing.B) {
	shapes := [][6]int{
		{64, 32, 64, 64, 3, 1}, {64, 16, 128, 128, 3, 1}, {64, 8, 256, 256, 3, 1}, {64, 4, 512, 512, 3, 1},
	}
	if env := os.Getenv("SELFCON_CONV"); env != "" {
		var z [6]int
		if _, err := fmt.Sscanf(strings.ReplaceAll(env, ",", " "), "%d %d %d %d %d %d", &z[0], &z[1], &z[2], &z[3], &z[4], &z[5]); err != nil {
			b.Fatal(err)
		}
		shapes = append([][6]int{z}, shapes...)
	}
	for _, z := range shapes {
		for _, conv := range []string{"direct", "winograd"} {
			b.Run(fmt.Sprintf("%dx%d²/%d-%d/%dx%d.%d/%s", z[0], z[1], z[2], z[3], z[4], z[4], z[5], conv), func(b *testing.B) {
				p, in := convProgram(b, z[0], z[1], z[2], z[3], z[4], z[5])
				e := newEngine(b, cpu.Options{Profile: true, Conv: conv})
				x, err := e.Compile(p)
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
					b.ReportMetric(float64(s.Best)/float64(time.Millisecond), "ms-"+s.Name)
				}
			})
		}
	}
}
