package cpu_test

import (
	"math"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
)

// The first node whose result is not finite is named, of every run anew.
func TestNotFinite(t *testing.T) {
	e, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	g := graph.New()
	x := g.Input("x", graph.Float, 2, 3)
	y := g.Scale("twice", x, 2)
	g.Output("loss", g.CrossEntropy("the loss", g.Add("sum", y, x), g.Input("labels", graph.Int, 2)))
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	large := float32(math.MaxFloat32)
	for _, c := range []struct {
		x    float32
		want string
	}{{1, ""}, {large, "twice (Scale)"}, {large / 2.5, "sum (Add)"}, {float32(math.NaN()), "twice (Scale)"}, {0, ""}} {
		_, err := exe.Run(map[string]engine.Tensor{
			"x": engine.Float32([]float32{0, 1, 2, 3, c.x, 4}, 2, 3), "labels": engine.Int32([]int32{0, 1}, 2),
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := exe.(engine.Watcher).NotFinite(); got != c.want {
			t.Errorf("of %g: %q, want %q", c.x, got, c.want)
		}
	}
}
