package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
	"selfcon/internal/testkit/optest"
	"selfcon/model"
)

// stemShape is images of h×w and ci channels, and co output channels.
type stemShape struct{ n, h, w, ci, co int }

// stemStep is a 7×7 convolution of stride 2, of images or, with load, of what a
// norm and a ReLU make of them, behind which a norm takes statistics; and a step
// of SGD on its weights or, without, their gradient.
func stemStep(t *testing.T, z stemShape, load, sgd bool) optest.Case {
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
	norm := func(name string, x *graph.Value) *graph.Value {
		n := x.Shape[3]
		return g.BatchNorm2D(name, x, graph.BatchNormVars{
			Weight: variable(name+".w", normal(n)), Bias: variable(name+".b", normal(n)),
			Mean: variable(name+".m", normal(n)), Var: variable(name+".v", normal(n)),
		}, 1e-5, 0.1, true)
	}
	images := g.Input("x", graph.Float, z.n, z.h, z.w, z.ci)
	x := images
	if load {
		x = g.ReLU("relu", norm("first", x))
	}
	w := variable("w", normal(z.co, z.ci, 7, 7))
	op := graph.Conv2D{Stride: 2, Pad: 3, Groups: 1}
	y := g.Conv2D("conv", x, w, op)
	dy := g.Input("dy", graph.Float, y.Shape...)
	g.Output("y", y)
	g.Output("norm", norm("norm", y))
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
	in := map[string]engine.Tensor{"x": normal(images.Shape...), "dy": normal(dy.Shape...)}
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
		{5, 2, 2, 3, 16}, {2, 4, 6, 1, 16}, {2, 14, 14, 3, 64}, {1, 16, 16, 4, 16}, {5, 32, 32, 3, 16}, {2, 34, 34, 1, 64}, {3, 10, 46, 3, 48},
		{2, 42, 18, 2, 64}, {2, 64, 64, 4, 272}, {1, 8, 600, 3, 64}, {1, 224, 224, 3, 64},
	}
	sets := kernel.Usable()
	if raceEnabled { // what races in one set of kernels races in all
		sets, shapes = sets[:1], shapes[:len(shapes)-1]
	}
	for _, set := range sets {
		for _, z := range shapes {
			for _, how := range []struct{ load, sgd bool }{{false, false}, {false, true}, {true, true}} {
				c := stemStep(t, z, how.load, how.sgd)
				run := func(opt cpu.Options) map[string][]float64 {
					opt.Kernels = set.Name
					return state(t, opt, c)
				}
				what := fmt.Sprintf("%s, %+v, %+v", set.Name, z, how)
				got := run(cpu.Options{Conv: "winograd", Threads: 1})
				for _, threads := range []int{2, 3} {
					same(t, fmt.Sprintf("%s, %d threads", what, threads), run(cpu.Options{Conv: "winograd", Threads: threads}), got, 0)
				}
				for _, pass := range []string{"FuseLoad", "FuseUpdate"} {
					same(t, what+" without "+pass, run(cpu.Options{Conv: "winograd", Threads: 2, Skip: []string{pass}}), got, 0)
				}
				for name, v := range run(cpu.Options{Conv: "direct", Threads: 2}) {
					if err := farthest(got[name], v); !(err < 3e-5) {
						t.Errorf("%s: %s is off by %.2g of its root mean square", what, name, err)
					}
				}
			}
		}
	}
}

// By default the transforms are for images of tiles enough that don't stick out far.
func TestStemChoice(t *testing.T) {
	if kernel.Best().Name == "generic" {
		t.Skip("plain Go keeps to direct sums")
	}
	for _, z := range []struct {
		stemShape
		want bool
	}{
		{stemShape{1, 64, 64, 3, 64}, true}, {stemShape{8, 14, 14, 1, 16}, true}, {stemShape{16, 8, 8, 3, 64}, false},
		{stemShape{1, 32, 32, 3, 64}, false}, {stemShape{1, 63, 64, 3, 64}, false}, {stemShape{1, 64, 64, 5, 64}, false}, {stemShape{1, 64, 64, 3, 24}, false},
	} {
		c := stemStep(t, z.stemShape, false, false)
		direct, got := state(t, cpu.Options{Conv: "direct"}, c), state(t, cpu.Options{}, c)
		for _, name := range []string{"output y of run 0", "output dw of run 0"} {
			if differs := !slices.Equal(got[name], direct[name]); differs != z.want {
				t.Errorf("%+v: %s by transforms: %t", z.stemShape, name, differs)
			}
		}
	}
}

// A network with the stem has the same bits with any number of threads and
// without the passes that change none, and in inference, where its weights are
// transformed once and its norm is applied to each block of results.
func TestStemResNet(t *testing.T) {
	config := model.Config{Arch: "resnet18", Exits: []int{2}, Width: 16, ImageHeight: 34, ImageWidth: 46, ImageChannels: 3, Stem: model.LargeStem}
	p, in := trainingStep(t, config, 3)
	c := optest.Case{Program: p, Variables: map[string]engine.Tensor{}, Runs: []map[string]engine.Tensor{in}}
	for _, v := range p.Variables {
		c.Variables[v.Name] = engine.InitialValue(v, 1)
	}
	want := state(t, cpu.Options{Threads: 2, Conv: "winograd"}, c)
	same(t, "3 threads", state(t, cpu.Options{Threads: 3, Conv: "winograd"}, c), want, 0)
	for _, pass := range []string{"FuseNorm", "FuseLoad", "FuseUpdate", "Recompute"} {
		same(t, "without "+pass, state(t, cpu.Options{Threads: 2, Conv: "winograd", Skip: []string{pass}}, c), want, 0)
	}

	net, err := model.New(config)
	if err != nil {
		t.Fatal(err)
	}
	g := graph.New()
	for i, f := range net.Encode(g, g.Input("x", graph.Float, 3, 34, 46, 3), false) {
		g.Output(fmt.Sprint("exit", i), f)
	}
	if c.Program, err = g.Build(); err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 3*34*46*3)
	r := rand.New(rand.NewPCG(7, 8))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	c.Variables = map[string]engine.Tensor{}
	for _, v := range c.Program.Variables {
		c.Variables[v.Name] = engine.InitialValue(v, 1)
	}
	images := map[string]engine.Tensor{"x": engine.Float32(x, 3, 34, 46, 3)}
	c.Runs = []map[string]engine.Tensor{images, images}
	want = state(t, cpu.Options{Threads: 1, Conv: "winograd", Skip: []string{cpu.SkipAll}}, c)
	same(t, "inference", state(t, cpu.Options{Threads: 2, Conv: "winograd"}, c), want, 0)
}
