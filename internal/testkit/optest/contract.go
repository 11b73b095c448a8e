package optest

import (
	"math"
	"slices"
	"strings"
	"testing"

	"selfcon/engine"
	"selfcon/graph"
)

// contract tests what package engine asks of every engine beyond arithmetic.
func contract(t *testing.T, newEngine func() engine.Engine) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, e engine.Engine)
	}{
		{"variables start as zeros", startsAtZero},
		{"variables are shared between programs", shared},
		{"updates see the start of the run", swap},
		{"outputs of a kind", outputs},
		{"tensors do not alias the engine", noAlias},
		{"wrong tensors are refused", refuses},
		{"a failed run updates nothing", failedRun},
	} {
		t.Run("contract/"+strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			e := newEngine()
			defer e.Close()
			c.test(t, e)
		})
	}
}

func floatVariable(g *graph.Graph, name string, shape ...int) *graph.Value {
	return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: shape}, Role: graph.Slot})
}

func compile(t *testing.T, e engine.Engine, g *graph.Graph) engine.Executable {
	t.Helper()
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	x, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func run(t *testing.T, x engine.Executable, in map[string]engine.Tensor) map[string]engine.Tensor {
	t.Helper()
	out, err := x.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t *testing.T, e engine.Engine, name string, v ...float32) {
	t.Helper()
	if err := e.Write(name, engine.Float32(v, len(v))); err != nil {
		t.Fatal(err)
	}
}

// holds fails unless the variable has these values (which float32 holds exactly).
func holds(t *testing.T, e engine.Engine, name string, want ...float64) {
	t.Helper()
	v, err := e.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "variable "+name, v, want...)
}

func equal(t *testing.T, what string, got engine.Tensor, want ...float64) {
	t.Helper()
	if g := got.Float64s(); !slices.Equal(g, want) {
		t.Errorf("%s is %v, want %v", what, g, want)
	}
}

func startsAtZero(t *testing.T, e engine.Engine) {
	g := graph.New()
	g.Output("v", floatVariable(g, "v", 3))
	g.Output("n", g.Variable(graph.Variable{Name: "n", Type: graph.Type{Shape: graph.Shape{2}, DType: graph.Int}, Role: graph.Counter}))
	out := run(t, compile(t, e, g), nil)
	equal(t, "output v", out["v"], 0, 0, 0)
	equal(t, "output n", out["n"], 0, 0)
	if _, ok := out["n"].Data.([]int32); !ok {
		t.Errorf("an int output holds %T, not []int32", out["n"].Data)
	}
	holds(t, e, "v", 0, 0, 0)
}

func shared(t *testing.T, e engine.Engine) {
	g := graph.New()
	v := floatVariable(g, "v", 2)
	g.Update(v, g.Scale("double", v, 2))
	double := compile(t, e, g)
	write(t, e, "v", 1, -3)
	run(t, double, nil)

	g = graph.New()
	g.Output("v", floatVariable(g, "v", 2))
	read := compile(t, e, g) // must not reset v
	equal(t, "output v", run(t, read, nil)["v"], 2, -6)
	run(t, double, nil)
	equal(t, "output v", run(t, read, nil)["v"], 4, -12)

	g = graph.New()
	g.Output("v", floatVariable(g, "v", 3))
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Compile(p); err == nil || !strings.Contains(err.Error(), `"v"`) {
		t.Errorf("a program that gives variable v another shape compiled: error %v", err)
	}
	holds(t, e, "v", 4, -12)
}

func swap(t *testing.T, e engine.Engine) {
	g := graph.New()
	a, b, c := floatVariable(g, "a", 2), floatVariable(g, "b", 2), floatVariable(g, "c", 2)
	sum := g.Add("sum", a, b)
	g.Update(a, b)
	g.Update(b, a)
	g.Update(c, a)
	g.Output("a", a)
	g.Output("sum", sum)
	x := compile(t, e, g)
	write(t, e, "a", 1, 2)
	write(t, e, "b", 3, 4)
	out := run(t, x, nil)
	equal(t, "output a", out["a"], 1, 2)
	equal(t, "output sum", out["sum"], 4, 6)
	holds(t, e, "a", 3, 4)
	holds(t, e, "b", 1, 2)
	holds(t, e, "c", 1, 2)
	out = run(t, x, nil)
	equal(t, "output a of run 2", out["a"], 3, 4)
	holds(t, e, "a", 1, 2)
	holds(t, e, "c", 3, 4)
}

// outputs names an input, a value twice, and values that share memory if an
// engine is clever about reshapes and slices.
func outputs(t *testing.T, e engine.Engine) {
	g := graph.New()
	x := g.Input("x", graph.Float, 2, 2)
	y := g.Scale("y", x, 2)
	g.Output("x", x)
	g.Output("y", y)
	g.Output("again", y)
	g.Output("flat", g.Reshape("flat", y, 4))
	g.Output("part", g.Slice("part", y, 1, 2))
	g.Output("relu", g.ReLU("relu", y))
	out := run(t, compile(t, e, g), map[string]engine.Tensor{"x": engine.Float32([]float32{1, -2, 3, -4}, 2, 2)})
	equal(t, "x", out["x"], 1, -2, 3, -4)
	equal(t, "y", out["y"], 2, -4, 6, -8)
	equal(t, "again", out["again"], 2, -4, 6, -8)
	equal(t, "flat", out["flat"], 2, -4, 6, -8)
	equal(t, "part", out["part"], 6, -8)
	equal(t, "relu", out["relu"], 2, 0, 6, 0)
	for name, want := range map[string]graph.Shape{"x": {2, 2}, "flat": {4}, "part": {1, 2}} {
		if !out[name].Shape.Equal(want) {
			t.Errorf("output %s has shape %v, want %v", name, out[name].Shape, want)
		}
	}
	if len(out) != 6 {
		t.Errorf("%d outputs, want 6", len(out))
	}
}

func noAlias(t *testing.T, e engine.Engine) {
	g := graph.New()
	v, x := floatVariable(g, "v", 2), g.Input("x", graph.Float, 2)
	g.Update(v, x)
	g.Output("v", v)
	exec := compile(t, e, g)
	first, second, in := []float32{1, 2}, []float64{3, 4}, []float64{5, 6}
	for _, data := range []any{first, second} {
		if err := e.Write("v", engine.Tensor{Shape: graph.Shape{2}, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	first[0], second[0] = -1, -1
	holds(t, e, "v", 3, 4)
	read, err := e.Read("v")
	if err != nil {
		t.Fatal(err)
	}
	run(t, exec, map[string]engine.Tensor{"x": {Shape: graph.Shape{2}, Data: in}})
	in[0] = -1
	equal(t, "what Read returned before the run", read, 3, 4)
	holds(t, e, "v", 5, 6)
}

func refuses(t *testing.T, e engine.Engine) {
	g := graph.New()
	x := g.Input("x", graph.Float, 2)
	v := floatVariable(g, "v", 2)
	g.Output("sum", g.Add("sum", x, v))
	exec := compile(t, e, g)
	good := engine.Float32([]float32{1, 2}, 2)
	refused := func(what string, err error, name string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want one that names %s", what, err, name)
		}
	}
	for what, in := range map[string]map[string]engine.Tensor{
		"no input":        {},
		"another shape":   {"x": engine.Float32([]float32{1, 2}, 2, 1)},
		"too few numbers": {"x": engine.Float32([]float32{1}, 2)},
		"ints":            {"x": engine.Int32([]int32{1, 2}, 2)},
		"no data":         {"x": {Shape: graph.Shape{2}}},
		"strings":         {"x": {Shape: graph.Shape{2}, Data: []string{"a", "b"}}},
	} {
		_, err := exec.Run(in)
		refused(what, err, "x")
	}
	_, err := exec.Run(map[string]engine.Tensor{"x": good, "surplus": good})
	refused("one input too many", err, "surplus")
	_, err = e.Read("unknown")
	refused("read of an unknown variable", err, "unknown")
	refused("write of an unknown variable", e.Write("unknown", good), "unknown")
	refused("write of another shape", e.Write("v", engine.Float32([]float32{1, 2, 3}, 3)), "v")
	refused("write of ints", e.Write("v", engine.Int32([]int32{1, 2}, 2)), "v")
	equal(t, "sum after all that", run(t, exec, map[string]engine.Tensor{"x": good})["sum"], 1, 2)
}

func failedRun(t *testing.T, e engine.Engine) {
	g := graph.New()
	x := floatVariable(g, "x", 2, 3)
	labels := g.Input("labels", graph.Int, 2)
	loss := g.CrossEntropy("the loss", x, labels)
	m := floatVariable(g, "m", 2, 3)
	out := g.Apply("sgd", graph.SGD{Momentum: 0.9}, x, g.Gradients(loss, []*graph.Value{x})[0], m, g.Constant("lr", 1))
	g.Update(x, out[0])
	g.Update(m, out[1])
	count := g.Variable(graph.Variable{Name: "count", Type: graph.Type{Shape: graph.Shape{}, DType: graph.Int}, Role: graph.Counter})
	g.Update(count, g.Apply("next", graph.Increment{}, count)[0])
	g.Output("loss", loss)
	exec := compile(t, e, g)
	for _, bad := range []int32{-1, 3, math.MaxInt32} {
		_, err := exec.Run(map[string]engine.Tensor{"labels": engine.Int32([]int32{0, bad}, 2)})
		if err == nil || !strings.Contains(err.Error(), "label") {
			t.Errorf("label %d of 3 classes: error %v, want one that says so", bad, err)
		}
	}
	holds(t, e, "x", 0, 0, 0, 0, 0, 0)
	holds(t, e, "m", 0, 0, 0, 0, 0, 0)
	holds(t, e, "count", 0)
	got := run(t, exec, map[string]engine.Tensor{"labels": engine.Int32([]int32{0, 2}, 2)})["loss"].Item()
	if math.Abs(got-math.Log(3)) > 1e-6 {
		t.Errorf("loss of equal logits over 3 classes is %g, want ln 3 = %g", got, math.Log(3))
	}
	holds(t, e, "count", 1)
}
