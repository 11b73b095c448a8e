package loss

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"selfcon/augment"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

// TestSoftTargetsRecorded: mixed and smoothed labels are torchvision's to the bit,
// and cross-entropy learns them as torch's does.
func TestSoftTargetsRecorded(t *testing.T) {
	raw, err := os.ReadFile("testdata/soft.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Classes int
		Labels  []int32
		Logits  []float64
		Cases   []struct {
			Kind              string
			Lam, Smoothing    float64
			Targets, Gradient []float64
			Loss              float64
		}
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		t.Fatal(err)
	}
	if len(rec.Cases) != 18 {
		t.Fatalf("%d cases", len(rec.Cases))
	}
	n, shape := len(rec.Labels), graph.Shape{len(rec.Labels), rec.Classes}
	c, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := Parse("ce")
	if err != nil {
		t.Fatal(err)
	}
	learn := func(e engine.Engine, targets any) (float64, []float64) {
		g := graph.New()
		x := g.Input("logits", graph.Float, shape...)
		l := m.Add(g, Heads{Logits: []*graph.Value{x}}, g.Input("targets", graph.Float, shape...), Temperatures{})
		g.Output("loss", l)
		g.Output("dx", g.Gradients(l, []*graph.Value{x})[0])
		out := execute(t, e, g, map[string]engine.Tensor{"logits": {Shape: shape, Data: rec.Logits}, "targets": {Shape: shape, Data: targets}})
		return out["loss"].Item(), out["dx"].Float64s()
	}
	for _, r := range rec.Cases {
		mix := augment.Mix{Lambda: r.Lam}
		got := make([]float32, n*rec.Classes)
		mix.Targets(got, rec.Labels, rec.Classes, 0)
		exact := make([]float64, len(got))
		for i, want := range r.Targets {
			if got[i] != float32(want) {
				t.Errorf("%s %g: target %d is %v, want %v", r.Kind, r.Lam, i, got[i], want)
			}
			exact[i] = (1-r.Smoothing)*want + r.Smoothing/float64(rec.Classes)
		}
		mix.Targets(got, rec.Labels, rec.Classes, r.Smoothing)
		for _, x := range []struct {
			name      string
			engine    engine.Engine
			targets   any
			tolerance float64
		}{
			{"float64", oracle.New(), exact, 1e-13},
			// A few roundings of 2⁻²⁴ of logits up to 10.
			{"float32 targets", oracle.New(), got, 1e-6},
			{"float32", c, got, 1e-6},
		} {
			l, dx := learn(x.engine, x.targets)
			off := math.Abs(l - r.Loss)
			for i, d := range dx {
				off = max(off, math.Abs(d-r.Gradient[i]))
			}
			if !(off <= x.tolerance) {
				t.Errorf("%s %g, smoothing %g, %s: off by %g", r.Kind, r.Lam, r.Smoothing, x.name, off)
			}
		}
	}
}
