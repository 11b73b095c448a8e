package loss

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

// run gives the loss and the gradients of each exit's projections on the oracle.
func run(t *testing.T, m Method, z [][]float64, labels []int32, dim int, tau Temperatures) (float64, [][]float64) {
	t.Helper()
	return runOn(t, oracle.New(), m, z, labels, dim, tau)
}

func runOn(t *testing.T, e engine.Engine, m Method, z [][]float64, labels []int32, dim int, tau Temperatures) (float64, [][]float64) {
	t.Helper()
	if !m.NeedsExits() {
		z = z[len(z)-1:]
	}
	g := graph.New()
	in := map[string]engine.Tensor{}
	var values []*graph.Value
	rows := m.Views * len(labels)
	for i, data := range z {
		name := string(rune('a' + i))
		values = append(values, g.Input(name, graph.Float, rows, dim))
		in[name] = engine.Tensor{Shape: graph.Shape{rows, dim}, Data: data}
	}
	y := g.Input("labels", graph.Int, len(labels))
	in["labels"] = engine.Int32(labels, len(labels))
	l := m.Add(g, Heads{Projections: values}, y, tau)
	g.Output("loss", l)
	for i, d := range g.Gradients(l, values) {
		g.Output("d"+string(rune('a'+i)), d)
	}
	out := execute(t, e, g, in)
	var grads [][]float64
	for i := range values {
		grads = append(grads, out["d"+string(rune('a'+i))].Float64s())
	}
	return out["loss"].Item(), grads
}

func execute(t *testing.T, e engine.Engine, g *graph.Graph, in map[string]engine.Tensor) map[string]engine.Tensor {
	t.Helper()
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exe.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Features that have all collapsed to one point have uniform logits: the loss is
// (τ/τ₀)·ln(N−1) whatever the labels, for every method.
func TestUniform(t *testing.T) {
	labels := []int32{0, 1, 0, 1, 2, 2}
	tau := Temperatures{Tau: 0.1, Base: 0.07}
	const dim, exits = 4, 3
	for _, m := range Methods() {
		if m.OneStage() {
			continue
		}
		variants := []Method{m}
		if m.NeedsExits() {
			starred, err := m.WithAlpha(0.4)
			if err != nil {
				t.Fatal(err)
			}
			variants = append(variants, starred)
		}
		for _, v := range variants {
			z := make([][]float64, exits)
			for e := range z {
				for range v.Views * len(labels) {
					z[e] = append(z[e], 1, 0, 0, 0)
				}
			}
			got, _ := run(t, v, z, labels, dim, tau)
			if want := v.Uniform(exits, len(labels), 0, tau); math.Abs(got-want) > 1e-12*want {
				t.Errorf("%s: loss %.15g of collapsed features, want %.15g", v.Name, got, want)
			}
		}
	}
}

// Methods of one stage: equal logits and collapsed projections give Uniform,
// with any number of exits.
func TestUniformOneStage(t *testing.T) {
	labels := []int32{0, 1, 4, 1}
	tau := Temperatures{Tau: 0.1, Base: 0.07}
	const classes, dim = 5, 3
	for _, m := range Methods() {
		for exits := 1; m.OneStage() && exits <= 4; exits++ {
			if m.NeedsExits() && exits == 1 {
				continue
			}
			g := graph.New()
			var h Heads
			for e := range exits {
				l := g.Apply(fmt.Sprint("logits", e), graph.Fill{Shape: graph.Shape{len(labels), classes}, Value: 0.7})[0]
				h.Logits = append(h.Logits, l)
				z := g.Apply(fmt.Sprint("z", e), graph.Fill{Shape: graph.Shape{len(labels), dim}, Value: 1 / math.Sqrt(dim)})[0]
				h.Projections = append(h.Projections, z)
			}
			g.Output("loss", m.Add(g, h, g.Input("labels", graph.Int, len(labels)), tau))
			out := execute(t, oracle.New(), g, map[string]engine.Tensor{"labels": engine.Int32(labels, len(labels))})
			if got, want := out["loss"].Item(), m.Uniform(exits, len(labels), classes, tau); math.Abs(got-want) > 1e-12*want {
				t.Errorf("%s, %d exits: loss %.15g of equal logits, want %.15g", m.Name, exits, got, want)
			}
		}
	}
}

// The weights and the temperature of a method of one stage can be others, each
// of the term that it names; the table stays as it was.
func TestWeights(t *testing.T) {
	with := func(name string, how func(Method, float64) (Method, error), v float64) Method {
		m, err := Parse(name)
		if err == nil {
			m, err = how(m, v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	tau := Temperatures{Tau: 0.1, Base: 0.07}
	ln, contrast := math.Log(5), 0.1/0.07*math.Log(15)
	for _, c := range []struct {
		m    Method
		want float64 // of 5 classes, 8 images and 2 sub-networks, all logits equal
	}{
		{with("subnet_ce", Method.WithSubs, 0.3), ln * (1 + 2*0.3)},
		{with("kd", Method.WithSubs, 0.3), ln * (1 + 2*(0.3+0.5*9))},
		{with("kd", Method.WithDistill, 0.2), ln * (1 + 2*(0.5+0.2*9))},
		{with("kd", Method.WithDistillTemperature, 4), ln * (1 + 2*(0.5+0.5*16))},
		{with("selfcon", Method.WithSubs, 0.3), ln*(1+2*0.3) + 0.8*2*contrast},
		{with("selfcon", Method.WithContrast, 0.1), ln*(1+2) + 0.1*2*contrast},
	} {
		if got := c.m.Uniform(3, 8, 5, tau); math.Abs(got-c.want) > 1e-12*c.want {
			t.Errorf("%+v: %g, want %g", c.m, got, c.want)
		}
	}
	if m, err := Parse("kd"); err != nil || *m.Classifiers != (Classifiers{0.5, 0.5, 3}) {
		t.Errorf("the table has changed: %+v, %v", m.Classifiers, err)
	}
	if m, err := Parse("selfcon"); err != nil || *m.Classifiers != (Classifiers{Subs: 1}) || m.Terms[0].Weight != 0.8 {
		t.Errorf("the table has changed: %+v, %v", m, err)
	}
	for _, c := range []struct {
		name string
		how  func(Method, float64) (Method, error)
		v    float64
		want string
	}{
		{"ce", Method.WithSubs, 1, "ce has no weight of the sub-networks' cross-entropy"},
		{"selfcon-s", Method.WithSubs, 1, "selfcon-s has no"},
		{"subnet_ce", Method.WithDistill, 1, "subnet_ce has no weight of the distillation"},
		{"subnet_ce", Method.WithDistillTemperature, 1, "no temperature of the distillation"},
		{"selfcon-s", Method.WithContrast, 1, "selfcon-s has no"},
		{"kd", Method.WithContrast, 1, "kd has no"},
		{"kd", Method.WithDistill, 0, "must be positive"},
		{"selfcon", Method.WithContrast, math.NaN(), "must be positive"},
	} {
		m, err := Parse(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.how(m, c.v); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %g: %v, want %q", c.name, c.v, err, c.want)
		}
	}
}

// Anchors without a positive are left out; with none at all the loss is 0 and
// nothing is pulled anywhere.
func TestNoPositives(t *testing.T) {
	m, err := Parse("supcon-s")
	if err != nil {
		t.Fatal(err)
	}
	z := [][]float64{{1, 0, 0, 1, 0.6, 0.8}}
	loss, grads := run(t, m, z, []int32{0, 1, 2}, 2, Temperatures{0.1, 0.07})
	if loss != 0 {
		t.Errorf("loss %v without a positive, want 0", loss)
	}
	for _, d := range grads[0] {
		if d != 0 {
			t.Errorf("gradient %v without a positive, want 0", grads[0])
			break
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"SelfCon-S", `did you mean "selfcon-s"?`},
		{"sup-con", `did you mean "supcon"?`},
		{"barlow", "known: selfcon-s, selfcon-m"},
	} {
		if _, err := Parse(c.name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%q): %v, want %q", c.name, err, c.want)
		}
	}
	m, _ := Parse("selfcon-s")
	for _, name := range []string{"supcon", "selfcon", "kd"} {
		m, _ := Parse(name)
		if _, err := m.WithAlpha(0.5); err == nil || !strings.Contains(err.Error(), name+" has none") {
			t.Errorf("%s with alpha: %v", name, err)
		}
	}
	for _, a := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := m.WithAlpha(a); err == nil {
			t.Errorf("alpha %v is taken", a)
		}
	}
}

func TestAddErrors(t *testing.T) {
	g := graph.New()
	labels := g.Input("labels", graph.Int, 4)
	z := g.Input("z", graph.Float, 4, 2)
	m, _ := Parse("selfcon-s")
	m.Add(g, Heads{Projections: []*graph.Value{z}}, labels, Temperatures{0.1, 0.07})
	if g.Err() == nil || !strings.Contains(g.Err().Error(), "at least one sub-network") {
		t.Errorf("selfcon-s on one exit: %v", g.Err())
	}
}
