package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
	"selfcon/internal/testkit/optest"
)

// stemShape is images of h×w and ci channels, and co output channels.
type stemShape struct{ n, h, w, ci, co int }

// stemStep is a 7×7 convolution of stride 2 behind which a norm takes statistics,
// and a step of SGD on its weights or, without, their gradient.
func stemStep(t *testing.T, z stemShape, sgd bool) optest.Case {
	t.Helper()
	g := graph.New()
	c := optest.Case{Variables: map[string]engine.Tensor{}}
	r := rand.New(rand.NewPCG(9, 10))
	normal := func(shape ...int) engine.Tensor {
		d := make([]float32, graph.Shape(shape).Size())
		for i := range d {
			d[i] = float32(r.NormFloat64())
		}
		return engine.Float32(d, shape...)
	}
	variable := func(name string, v engine.Tensor) *graph.Value {
		c.Variables[name] = v
		return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: v.Shape}})
	}
	x := g.Input("x", graph.Float, z.n, z.h, z.w, z.ci)
	w := variable("w", normal(z.co, z.ci, 7, 7))
	op := graph.Conv2D{Stride: 2, Pad: 3, Groups: 1}
	y := g.Conv2D("conv", x, w, op)
	dy := g.Input("dy", graph.Float, y.Shape...)
	g.Output("y", y)
	g.Output("norm", g.BatchNorm2D("norm", y, graph.BatchNormVars{
		Weight: variable("weight", normal(z.co)), Bias: variable("bias", normal(z.co)),
		Mean: variable("mean", normal(z.co)), Var: variable("var", normal(z.co)),
	}, 1e-5, 0.1, true))
	dw := g.Apply("dw", graph.Conv2DGradWeight{Conv: op, Kernel: w.Shape}, x, dy)[0]
	if sgd {
		m := variable("m", normal(w.Shape...))
		out := g.Apply("sgd", graph.SGD{Momentum: 0.9, WeightDecay: 1e-3, Nesterov: true}, w, dw, m, g.Input("lr", graph.Float))
		g.Update(w, out[0])
		g.Update(m, out[1])
	} else {
		g.Output("dw", dw)
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	c.Program = p
	in := map[string]engine.Tensor{"x": normal(x.Shape...), "dy": normal(dy.Shape...)}
	if sgd {
		in["lr"] = engine.Scalar(1e-3)
	}
	c.Runs = []map[string]engine.Tensor{in}
	return c
}

// The stem by transforms gives what the definition gives, for sides that tiles
// of three fit and that they don't, and the same bits with any number of threads.
func TestStemDoesNotMatter(t *testing.T) {
	shapes := []stemShape{
		{2, 2, 2, 3, 16}, {2, 4, 6, 1, 16}, {2, 14, 14, 3, 64}, {1, 16, 16, 4, 16}, {5, 32, 32, 3, 16}, {2, 34, 34, 1, 64}, {3, 10, 46, 3, 48},
		{2, 42, 18, 2, 64}, {2, 64, 64, 4, 272}, {1, 8, 600, 3, 64}, {1, 224, 224, 3, 64},
	}
	sets := kernel.Usable()
	if raceEnabled { // what races in one set of kernels races in all
		sets, shapes = sets[:1], shapes[:len(shapes)-1]
	}
	for _, set := range sets {
		for _, z := range shapes {
			for _, sgd := range []bool{false, true} {
				c := stemStep(t, z, sgd)
				run := func(conv string, threads int) map[string][]float64 {
					return state(t, cpu.Options{Kernels: set.Name, Conv: conv, Threads: threads}, c)
				}
				got := run("winograd", 1)
				for _, threads := range []int{2, 3} {
					same(t, fmt.Sprintf("%s, %+v, SGD %t, %d threads", set.Name, z, sgd, threads), run("winograd", threads), got, 0)
				}
				for name, v := range run("direct", 2) {
					if err := farthest(got[name], v); !(err < 3e-5) {
						t.Errorf("%s, %+v, SGD %t: %s is off by %.2g of its root mean square", set.Name, z, sgd, name, err)
					}
				}
			}
		}
	}
}
