package cpu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"selfcon/engine"
	"selfcon/graph"
)

// onceNet is a network with a convolution of every kind and a linear layer; in
// training, also the step of SGD on the sum of its squared outputs.
func onceNet(t *testing.T, batch int, training bool) *graph.Program {
	t.Helper()
	g := graph.New()
	weight := func(name string, shape ...int) *graph.Value {
		return g.Variable(graph.Variable{
			Name: name, Trainable: true, Type: graph.Type{Shape: shape},
			Init: graph.Init{Kind: graph.Normal, Scale: 0.1},
		})
	}
	x := g.Input("x", graph.Float, batch, 12, 12, 16)
	x = g.Conv2D("winograd", x, weight("winograd.w", 32, 16, 3, 3), graph.Conv2D{Stride: 1, Pad: 1, Groups: 1})
	x = g.Conv2D("strided", x, weight("strided.w", 32, 32, 3, 3), graph.Conv2D{Stride: 2, Pad: 1, Groups: 1})
	x = g.Conv2D("grouped", x, weight("grouped.w", 32, 16, 3, 3), graph.Conv2D{Stride: 1, Pad: 1, Groups: 2})
	x = g.Conv2D("pointwise", x, weight("pointwise.w", 24, 32, 1, 1), graph.Conv2D{Stride: 1, Groups: 1})
	y := g.Linear("linear", g.GlobalAvgPool("pool", x), weight("linear.w", 5, 24), weight("linear.b", 5))
	g.Output("y", y)
	if training {
		loss := g.CrossEntropy("loss", y, g.Input("labels", graph.Int, batch))
		params := g.Trainable()
		for i, d := range g.Gradients(loss, params) {
			name := params[i].Node.Op.(graph.Read).Variable.Name
			slot := g.Variable(graph.Variable{Name: "momentum." + name, Type: params[i].Type, Role: graph.Slot})
			out := g.Apply("sgd."+name, graph.SGD{Momentum: 0.9}, params[i], d, slot, g.Constant("lr", 0.1))
			g.Update(params[i], out[0])
			g.Update(slot, out[1])
		}
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// onceRun runs a program on images that depend on its batch alone.
func onceRun(t *testing.T, x engine.Executable, batch int, training bool) []float32 {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(batch)))
	images := make([]float32, batch*12*12*16)
	for i := range images {
		images[i] = float32(r.NormFloat64())
	}
	in := map[string]engine.Tensor{"x": engine.Float32(images, batch, 12, 12, 16)}
	if training {
		in["labels"] = engine.Int32(make([]int32, batch), batch)
	}
	out, err := x.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(out["y"].Data.([]float32))
}

// What programs without updates make of a weight is made once, and again after
// whatever changes the weight: Write, and another program's updates.
func TestWeightsArePackedOnce(t *testing.T) {
	for _, opt := range []Options{{Threads: 2}, {Threads: 2, Conv: convWinograd}, {Threads: 2, Skip: []string{SkipAll}, NoReuse: true}} {
		t.Run(fmt.Sprintf("%+v", opt), func(t *testing.T) {
			e := onceEngine(t, opt)
			batches := []int{1, 4}
			var programs []*Executable
			packs := 0
			for _, batch := range batches {
				p := onceNet(t, batch, false)
				x, err := e.Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				if err := engine.Initialize(e, p, 1); err != nil {
					t.Fatal(err)
				}
				exe := x.(*Executable)
				for i := range exe.steps {
					if pack := exe.steps[i].pack; pack != nil {
						exe.steps[i].pack = func() {
							packs++
							pack()
						}
					}
				}
				programs = append(programs, exe)
			}
			trainer, err := e.Compile(onceNet(t, 3, true))
			if err != nil {
				t.Fatal(err)
			}
			const layers = 5

			// check runs both programs twice and wants what an engine gives that
			// starts from the weights as they are now, after so many packings.
			check := func(what string, wantPacks int) {
				t.Helper()
				before := packs
				var got [2][2][]float32
				for again := range 2 {
					for i, x := range programs {
						got[i][again] = onceRun(t, x, batches[i], false)
					}
				}
				if n := packs - before; n != wantPacks {
					t.Errorf("%s: %d weights were packed in two runs of two programs, want %d", what, n, wantPacks)
				}
				for i, batch := range batches {
					other := onceEngine(t, opt)
					p := onceNet(t, batch, false)
					x, err := other.Compile(p)
					if err != nil {
						t.Fatal(err)
					}
					for _, v := range p.Variables {
						value, err := e.Read(v.Name)
						if err != nil {
							t.Fatal(err)
						}
						if err := other.Write(v.Name, value); err != nil {
							t.Fatal(err)
						}
					}
					want := onceRun(t, x, batch, false)
					for again := range 2 {
						if !slices.Equal(got[i][again], want) {
							t.Errorf("%s: batch %d, run %d gives %v, want %v", what, batch, again, got[i][again], want)
						}
					}
				}
			}
			check("the first time", 2*layers)
			check("nothing changed", 0)
			w, err := e.Read("strided.w")
			if err != nil {
				t.Fatal(err)
			}
			data := w.Data.([]float32)
			for i := range data {
				data[i] *= -0.5
			}
			if err := e.Write("strided.w", w); err != nil {
				t.Fatal(err)
			}
			check("one weight written", 2)
			before := onceRun(t, programs[0], 1, false)
			onceRun(t, trainer, 3, true)
			check("a step of training", 2*layers)
			if slices.Equal(before, onceRun(t, programs[0], 1, false)) {
				t.Error("a step of training changed nothing")
			}
		})
	}
}

func onceEngine(t *testing.T, opt Options) *Engine {
	t.Helper()
	e, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}
