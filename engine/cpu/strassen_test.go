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
)

// 1×1 convolutions by seven products give what eight give, for positions that make
// one block and more, depths in one piece and more, strides, and the same bits with
// any number of threads.
func TestStrassenDoesNotMatter(t *testing.T) {
	shapes := []struct{ n, size, ci, co, stride int }{
		{258, 1, 64, 64, 1}, {30, 3, 64, 128, 1}, {8, 7, 128, 64, 1}, {8, 14, 64, 192, 1}, {2, 28, 128, 128, 1},
		{6, 8, 640, 64, 1}, {20, 4, 1024, 128, 1}, {8, 6, 64, 1024, 1}, {2, 56, 64, 64, 2}, {18, 7, 192, 128, 2}, {66, 6, 128, 640, 3},
	}
	sets := kernel.Usable()
	if raceEnabled { // what races in one set of kernels races in all
		sets = sets[:1]
	}
	for _, set := range sets {
		for _, z := range shapes {
			p, in := convProgram(t, z.n, z.size, z.ci, z.co, 1, z.stride)
			got, direct := sameByTransforms(t, fmt.Sprintf("%s, %+v", set.Name, z), set, p, in, 1.5e-5)
			for name, v := range direct {
				if name != "dw" && slices.Equal(got[name].Float64s(), v.Float64s()) {
					t.Errorf("%s, %+v: %s has the bits of direct sums: it did not go by seven products", set.Name, z, name)
				}
			}
		}
	}
}

// What a network makes of an image must not depend on the images beside it, so
// only trainings, whose batch norms mix them anyway, take seven products.
func TestStrassenChoice(t *testing.T) {
	if kernel.Best().Name == "generic" {
		t.Skip("plain Go keeps to direct sums")
	}
	for _, z := range []struct {
		n, size, ci, co int
		want            bool
	}{{2, 14, 256, 512, true}, {8, 7, 512, 128, true}, {8, 14, 64, 256, false}, {8, 14, 256, 64, false}, {1, 7, 256, 256, false}, {2, 14, 264, 256, true}, {2, 14, 256, 272, false}} {
		// In evaluation, with a head that trains, and in a training.
		for mode := range 3 {
			g := graph.New()
			x := g.Input("x", graph.Float, z.n, z.size, z.size, z.ci)
			w := g.Variable(graph.Variable{Name: "w", Type: graph.Type{Shape: graph.Shape{z.co, z.ci, 1, 1}}})
			y := g.Conv2D("conv", x, w, graph.Conv2D{Stride: 1, Groups: 1})
			g.Output("y", y)
			if mode > 0 {
				g.Update(w, g.ReLU("next", w))
			}
			if mode == 2 {
				channels := func(name string) *graph.Value {
					return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: graph.Shape{z.co}}})
				}
				g.Output("normal", g.BatchNorm2D("norm", y, graph.BatchNormVars{
					Weight: channels("scale"), Bias: channels("shift"), Mean: channels("mean"), Var: channels("var"),
				}, 1e-5, 0.1, true))
			}
			p, err := g.Build()
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			normal := func(shape ...int) engine.Tensor {
				d := make([]float32, graph.Shape(shape).Size())
				for i := range d {
					d[i] = float32(r.NormFloat64())
				}
				return engine.Float32(d, shape...)
			}
			in, weights := normal(z.n, z.size, z.size, z.ci), normal(z.co, z.ci, 1, 1)
			run := func(conv string) []float64 {
				e := newEngine(t, cpu.Options{Conv: conv})
				exe, err := e.Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				if err := e.Write("w", weights); err != nil {
					t.Fatal(err)
				}
				out, err := exe.Run(map[string]engine.Tensor{"x": in})
				if err != nil {
					t.Fatal(err)
				}
				return out["y"].Float64s()
			}
			if got := !slices.Equal(run(""), run("direct")); got != (z.want && mode == 2) {
				t.Errorf("%+v, mode %d: seven products: %v", z, mode, got)
			}
		}
	}
}

// What is fused with convolutions is fused with these: one step of random networks
// is the same without any pass but for rounding, and to the bit without those that
// change no sum.
func TestStrassenFusions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 13))
	for i := range networks(t) {
		c := networkOf(t, r, []int{64, 128}, []int{1}, []int{1, 2}, 1)
		c.Runs = c.Runs[:1]
		opt := cpu.Options{Threads: 2, Conv: "winograd"}
		want := state(t, opt, c)
		for pass, tolerance := range map[string]float64{
			"FuseNorm": 0, "FuseLoad": 0, "FuseUpdate": 0, "Recompute": 0, "FuseBefore": 0,
			"FuseMask": 1e-3, "FuseAccumulate": 1e-3, "FuseAfter": 1e-3, cpu.SkipAll: 1e-3,
		} {
			opt.Skip = []string{pass}
			same(t, fmt.Sprintf("network %d without %s", i, pass), state(t, opt, c), want, tolerance)
		}
	}
}
