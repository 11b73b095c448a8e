package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
	"selfcon/loss"
	"selfcon/model"
)

// trainingStep is the whole step of a network with one exit and the
// self-contrastive loss, and what to run it on.
func trainingStep(tb testing.TB, c model.Config, batch int) (*graph.Program, map[string]engine.Tensor) {
	tb.Helper()
	net, err := model.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	method, err := loss.Parse("selfcon-s")
	if err != nil {
		tb.Fatal(err)
	}
	g := graph.New()
	shape := []int{batch, c.ImageHeight, c.ImageWidth, c.ImageChannels}
	images := g.Input("images", graph.Float, shape...)
	labels := g.Input("labels", graph.Int, batch)
	rate := g.Input("lr", graph.Float)
	total := method.Add(g, loss.Heads{Projections: net.Project(g, net.Encode(g, images, true), 128)}, labels, loss.Temperatures{Tau: 0.1, Base: 0.07})
	g.Output("loss", total)
	params := g.Trainable()
	for i, d := range g.Gradients(total, params) {
		v := params[i].Node.Op.(graph.Read).Variable
		slot := g.Variable(graph.Variable{Name: "momentum." + v.Name, Type: v.Type, Role: graph.Slot})
		out := g.Apply("sgd."+v.Name, graph.SGD{Momentum: 0.9, WeightDecay: 1e-4}, params[i], d, slot, rate)
		g.Update(params[i], out[0])
		g.Update(slot, out[1])
	}
	p, err := g.Build()
	if err != nil {
		tb.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, graph.Shape(shape).Size())
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	n := make([]int32, batch)
	for i := range n {
		n[i] = int32(r.IntN(10))
	}
	return p, map[string]engine.Tensor{
		"images": engine.Float32(x, shape...), "labels": engine.Int32(n, batch), "lr": engine.Scalar(0.05),
	}
}

func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name  string
		model model.Config
	}{
		{"width=64/image=32", model.Config{Arch: "resnet18", Exits: []int{2}, Width: 64, ImageHeight: 32, ImageWidth: 32, ImageChannels: 3}},
		{"width=8/image=28", model.Config{Arch: "resnet18", Exits: []int{2}, Width: 8, ImageHeight: 28, ImageWidth: 28, ImageChannels: 1}},
	} {
		for _, profile := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/profile=%t", c.name, profile), func(b *testing.B) {
				const batch = 64
				p, in := trainingStep(b, c.model, batch)
				e := newEngine(b, cpu.Options{Profile: profile})
				x, err := e.Compile(p)
				if err != nil {
					b.Fatal(err)
				}
				if err := engine.Initialize(e, p, 1); err != nil {
					b.Fatal(err)
				}
				best := time.Hour
				b.ReportAllocs()
				for b.Loop() {
					start := time.Now()
					if _, err := x.Run(in); err != nil {
						b.Fatal(err)
					}
					best = min(best, time.Since(start))
				}
				b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
				b.ReportMetric(float64(batch)/best.Seconds(), "best-images/s")
				if profile {
					fmt.Fprintln(os.Stderr, x.(*cpu.Executable).Explain())
				}
			})
		}
	}
}
