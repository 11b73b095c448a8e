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

// Convolutions of stride 2 by the transforms of their phases give what the
// definition gives, for images of even and odd sides, that tiles of four fit,
// of four and three and neither, for few channels and for those that take other
// ways, and the same bits with any number of threads.
func TestStrideDoesNotMatter(t *testing.T) {
	shapes := []struct{ n, size, ci, co int }{
		{1, 1, 16, 16}, {2, 2, 32, 16}, {3, 5, 16, 48}, {2, 7, 48, 32}, {1, 14, 16, 32}, {2, 11, 64, 64},
		{9, 8, 64, 64}, {3, 4, 128, 144}, {1, 4, 256, 256}, {2, 9, 272, 240}, {1, 6, 512, 160}, {5, 4, 400, 176},
		{1, 20, 32, 64}, {28, 3, 32, 80}, {4, 14, 256, 272}, {3, 28, 128, 96}, {2, 21, 80, 112},
		{140, 14, 16, 16}, // stored in two chunks, each of two kinds of tiles
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
			sameByTransforms(t, fmt.Sprintf("%s, %+v", set.Name, z), set, p, in, 2e-5)
		}
	}
}

// By default the phases' transforms are for shapes where they were measured to
// pay: which results then have other bits than direct sums.
func TestStrideChoice(t *testing.T) {
	if kernel.Best().Name == "generic" {
		t.Skip("plain Go keeps to direct sums")
	}
	all := []string{"dw", "dx", "y"}
	best := kernel.Best()
	for _, z := range []struct {
		n, size, ci, co int
		want            []string
		slow, half      []string // where a core stores slowly, and where it multiplies 16 numbers a cycle
	}{
		{8, 56, 128, 128, all, []string{"dx", "y"}, all}, {8, 28, 256, 256, all, nil, all}, {8, 14, 512, 512, all, all, all},
		{16, 32, 64, 128, all, []string{"dx", "y"}, all}, {16, 16, 128, 256, all, all, all}, {32, 8, 256, 512, all, all, all},
		{8, 56, 32, 64, []string{"dw", "dx"}, []string{"dx"}, all}, {8, 56, 16, 16, []string{"dx"}, []string{"dx"}, []string{"dw", "dx"}},
		{1, 32, 64, 128, nil, nil, nil}, {8, 56, 120, 128, nil, nil, nil},
	} {
		switch {
		case best.SlowStores:
			z.want = z.slow
		case best.Lanes <= 16:
			z.want = z.half
		}
		p, in := convProgram(t, z.n, z.size, z.ci, z.co, 3, 2)
		run := func(conv string) map[string]engine.Tensor {
			x, err := newEngine(t, cpu.Options{Conv: conv}).Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			out, err := x.Run(in)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		var got []string
		direct := run("direct")
		for name, v := range run("") {
			if !slices.Equal(v.Float64s(), direct[name].Float64s()) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, z.want) {
			t.Errorf("%d×%d², %d to %d: transforms for %v, want %v", z.n, z.size, z.ci, z.co, got, z.want)
		}
	}
}

// What is fused with convolutions is fused with those by transforms, of stride 2
// by their phases: one step of random networks is the same without any pass but
// for rounding.
func TestStrideFusions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 12))
	for i := range networks(t) {
		c := networkOf(t, r, []int{16, 32, 48}, []int{3}, []int{2 - i%4/3}, 1)
		c.Runs = c.Runs[:1]
		want := state(t, cpu.Options{Threads: 2, Conv: "winograd"}, c)
		for _, pass := range []string{"FuseNorm", "FuseMask", "FuseAccumulate", "FuseAfter", cpu.SkipAll} {
			got := state(t, cpu.Options{Threads: 2, Conv: "winograd", Skip: []string{pass}}, c)
			same(t, fmt.Sprintf("network %d without %s", i, pass), got, want, 1e-3)
		}
	}
}

// The same bits for the passes that change none, of residual networks whose
// strided convolutions also normalise what they read and add to gradients.
// Images have sides of 20, 10, 5 and 3.
func TestStrideResNets(t *testing.T) {
	for _, arch := range []string{"resnet18", "resnet50"} {
		p, in := trainingStep(t, model.Config{Arch: arch, Exits: []int{2}, Width: 16, ImageHeight: 20, ImageWidth: 20, ImageChannels: 3}, 12)
		c := optest.Case{Program: p, Variables: map[string]engine.Tensor{}, Runs: []map[string]engine.Tensor{in}}
		for _, v := range p.Variables {
			c.Variables[v.Name] = engine.InitialValue(v, 1)
		}
		want := state(t, cpu.Options{Threads: 2, Conv: "winograd"}, c)
		same(t, arch+", 3 threads", state(t, cpu.Options{Threads: 3, Conv: "winograd"}, c), want, 0)
		for _, pass := range []string{"FuseNorm", "FuseLoad", "FuseUpdate", "Recompute", "FuseBefore"} {
			got := state(t, cpu.Options{Threads: 2, Conv: "winograd", Skip: []string{pass}}, c)
			same(t, arch+" without "+pass, got, want, 0)
		}
	}
}

// In inference a strided convolution's norm is applied to each block of its
// results: the same bits as apart.
func TestStrideInference(t *testing.T) {
	net, err := model.New(model.Config{Arch: "resnet50", Width: 32, ImageHeight: 18, ImageWidth: 18, ImageChannels: 3})
	if err != nil {
		t.Fatal(err)
	}
	g := graph.New()
	for i, f := range net.Encode(g, g.Input("x", graph.Float, 5, 18, 18, 3), false) {
		g.Output(fmt.Sprint("exit", i), f)
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 5*18*18*3)
	r := rand.New(rand.NewPCG(7, 8))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	c := optest.Case{Program: p, Variables: map[string]engine.Tensor{}, Runs: []map[string]engine.Tensor{{"x": engine.Float32(x, 5, 18, 18, 3)}}}
	for _, v := range p.Variables {
		c.Variables[v.Name] = engine.InitialValue(v, 1)
	}
	want := state(t, cpu.Options{Threads: 1, Conv: "winograd", Skip: []string{cpu.SkipAll}}, c)
	same(t, "fused", state(t, cpu.Options{Threads: 2, Conv: "winograd"}, c), want, 0)
}

// What phases of even rows do not need of pixels that are normalised first may not
// be there: the last tiles of a program whose scratch is no longer than that.
func TestStrideLoadAlone(t *testing.T) {
	g := graph.New()
	channels := func(name string) *graph.Value {
		return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: graph.Shape{16}}, Init: graph.Init{Kind: graph.Constant1}})
	}
	x := g.BatchNorm2D("norm", g.Input("x", graph.Float, 8, 16, 16, 16), graph.BatchNormVars{
		Weight: channels("scale"), Bias: channels("shift"), Mean: channels("mean"), Var: channels("var"),
	}, 1e-5, 0.1, false)
	w := g.Variable(graph.Variable{Name: "w", Type: graph.Type{Shape: graph.Shape{16, 16, 3, 3}}, Init: graph.Init{Kind: graph.Normal, Scale: 1}})
	g.Output("y", g.Conv2D("conv", g.ReLU("relu", x), w, graph.Conv2D{Stride: 2, Pad: 1, Groups: 1}))
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := make([]float32, 8*16*16*16)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range d {
		d[i] = float32(r.NormFloat64())
	}
	c := optest.Case{Program: p, Variables: map[string]engine.Tensor{}, Runs: []map[string]engine.Tensor{{"x": engine.Float32(d, 8, 16, 16, 16)}}}
	for _, v := range p.Variables {
		c.Variables[v.Name] = engine.InitialValue(v, 1)
	}
	want := state(t, cpu.Options{Conv: "direct"}, c)
	same(t, "phases", state(t, cpu.Options{Conv: "winograd"}, c), want, 1e-5)
}
