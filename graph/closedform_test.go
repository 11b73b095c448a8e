package graph_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

func close12(got, want float64) bool { return math.Abs(got-want) <= 1e-12*max(1, math.Abs(want)) }

// train runs a program three times, reading variable name after each.
func train(t *testing.T, g *graph.Graph, name string, start map[string]float64, runs []map[string]engine.Tensor) []float64 {
	t.Helper()
	e := oracle.New()
	exec, err := e.Compile(program(t, g))
	if err != nil {
		t.Fatal(err)
	}
	for v, x := range start {
		if err := e.Write(v, engine.Tensor{Shape: graph.Shape{1}, Data: []float64{x}}); err != nil {
			t.Fatal(err)
		}
	}
	var out []float64
	for _, in := range runs {
		if _, err := exec.Run(in); err != nil {
			t.Fatal(err)
		}
		v, err := e.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v.Item())
	}
	return out
}

// TestSGD: three steps by hand, of torch.optim.SGD's rule, from p = 1 with
// gradients 0.5, −1, 0.25 at rate 0.1:
//
//	plain:     1 − 0.05 = 0.95;  0.95 + 0.1 = 1.05;  1.05 − 0.025 = 1.025
//	momentum 0.9:
//	  m = 0.5                        p = 1 − 0.05     = 0.95
//	  m = 0.45 − 1 = −0.55           p = 0.95 + 0.055 = 1.005
//	  m = −0.495 + 0.25 = −0.245     p = 1.005 + 0.0245 = 1.0295
//	decay 0.1, momentum 0.9:
//	  g = 0.6    m = 0.6             p = 0.94
//	  g = −0.906 m = −0.366          p = 0.9766
//	  g = 0.34766 m = 0.01826        p = 0.974774
//	and Nesterov, which steps by g + 0.9m:
//	  g = 0.6, m = 0.6: 1.14         p = 0.886
//	  g = −0.9114, m = −0.3714: −1.24566    p = 1.010566
//	  g = 0.3510566, m = 0.0167966: 0.36617354    p = 0.973948646
func TestSGD(t *testing.T) {
	for _, c := range []struct {
		op   graph.SGD
		want [3]float64
	}{
		{graph.SGD{}, [3]float64{0.95, 1.05, 1.025}},
		{graph.SGD{Momentum: 0.9}, [3]float64{0.95, 1.005, 1.0295}},
		{graph.SGD{Momentum: 0.9, WeightDecay: 0.1}, [3]float64{0.94, 0.9766, 0.974774}},
		{graph.SGD{Momentum: 0.9, WeightDecay: 0.1, Nesterov: true}, [3]float64{0.886, 1.010566, 0.973948646}},
	} {
		g := graph.New()
		p, m := variable(g, "p", 1), variable(g, "m", 1)
		out := g.Apply("sgd", c.op, p, g.Input("gradient", graph.Float, 1), m, g.Constant("lr", 0.1))
		g.Update(p, out[0])
		g.Update(m, out[1])
		var runs []map[string]engine.Tensor
		for _, d := range []float64{0.5, -1, 0.25} {
			runs = append(runs, map[string]engine.Tensor{"gradient": {Shape: graph.Shape{1}, Data: []float64{d}}})
		}
		for i, got := range train(t, g, "p", map[string]float64{"p": 1}, runs) {
			if !close12(got, c.want[i]) {
				t.Errorf("%+v: p is %.12g after step %d, want %.12g", c.op, got, i+1, c.want[i])
			}
		}
	}
}

// TestLARS: two weights (3, 4) and gradients of length 1 and 0.5 by hand, trust
// 0.1, decay 0.2, rate 0.5, momentum 0.9:
//
//	gradient (0.6, −0.8): ratio 0.1·5/(1 + 0.2·5) = 0.25
//	  m = 0.25·(0.6 + 0.6, −0.8 + 0.8) = (0.3, 0)      p = (2.85, 4)
//	gradient (0.3, 0.4): ‖p‖ = √24.1225, ratio 0.1·‖p‖/(0.5 + 0.2·‖p‖)
//	  m = 0.9·m + ratio·(0.87, 1.2)
func TestLARS(t *testing.T) {
	g := graph.New()
	p, m := variable(g, "p", 2), variable(g, "m", 2)
	out := g.Apply("lars", graph.LARS{Momentum: 0.9, WeightDecay: 0.2, Trust: 0.1}, p, g.Input("gradient", graph.Float, 2), m, g.Constant("lr", 0.5))
	g.Update(p, out[0])
	g.Update(m, out[1])
	e := oracle.New()
	exec, err := e.Compile(program(t, g))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write("p", engine.Tensor{Shape: graph.Shape{2}, Data: []float64{3, 4}}); err != nil {
		t.Fatal(err)
	}
	length := math.Sqrt(24.1225)
	ratio := 0.1 * length / (0.5 + 0.2*length)
	for i, c := range []struct{ gradient, want []float64 }{
		{[]float64{0.6, -0.8}, []float64{2.85, 4}},
		{[]float64{0.3, 0.4}, []float64{2.85 - 0.5*(0.27+ratio*0.87), 4 - 0.5*ratio*1.2}},
	} {
		if _, err := exec.Run(map[string]engine.Tensor{"gradient": {Shape: graph.Shape{2}, Data: c.gradient}}); err != nil {
			t.Fatal(err)
		}
		got, err := e.Read("p")
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range got.Float64s() {
			if !close12(v, c.want[k]) {
				t.Errorf("step %d: p[%d] is %.15g, want %.15g", i+1, k, v, c.want[k])
			}
		}
	}
}

// TestAdamW: three steps of torch.optim.AdamW (2.15, float64) from p = 1 with
// gradients 0.5, −1, 0.25. The first by hand: m/(1−0.9) = 0.5, v/(1−0.99) = 0.25,
// p = 1 − 0.1·(0.2 + 0.5/(0.5 + 0.001)).
func TestAdamW(t *testing.T) {
	g := graph.New()
	p, m, v := variable(g, "p", 1), variable(g, "m", 1), variable(g, "v", 1)
	step := g.Variable(graph.Variable{Name: "step", Type: graph.Type{Shape: graph.Shape{}, DType: graph.Int}, Role: graph.Counter})
	out := g.Apply("adamw", graph.AdamW{Beta1: 0.9, Beta2: 0.99, Eps: 1e-3, WeightDecay: 0.2}, p, g.Input("gradient", graph.Float, 1), m, v, g.Constant("lr", 0.1), step)
	for i, s := range []*graph.Value{p, m, v} {
		g.Update(s, out[i])
	}
	g.Update(step, g.Apply("next", graph.Increment{}, step)[0])
	var runs []map[string]engine.Tensor
	for _, d := range []float64{0.5, -1, 0.25} {
		runs = append(runs, map[string]engine.Tensor{"gradient": {Shape: graph.Shape{1}, Data: []float64{d}}})
	}
	want := []float64{0.8801996007984032, 0.899110261800093, 0.8947854521291578}
	for i, got := range train(t, g, "p", map[string]float64{"p": 1}, runs) {
		if !close12(got, want[i]) {
			t.Errorf("p is %.16g after step %d, want %.16g", got, i+1, want[i])
		}
	}
}

// TestRunningStatistics: the running variance moves towards the unbiased one.
// Four values 1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9 = 14, so variance 14/4
// biased, 14/3 unbiased. Inference then uses the running ones.
func TestRunningStatistics(t *testing.T) {
	in := map[string]engine.Tensor{"x": {Shape: graph.Shape{2, 2, 1, 1}, Data: []float64{1, 2, 3, 6}}}
	e := oracle.New()
	build := func(training bool) engine.Executable {
		g := graph.New()
		v := graph.BatchNormVars{Weight: variable(g, "w", 1), Bias: variable(g, "b", 1), Mean: variable(g, "mean", 1), Var: variable(g, "var", 1)}
		g.Output("y", g.BatchNorm2D("bn", g.Input("x", graph.Float, 2, 2, 1, 1), v, 1e-5, 0.1, training))
		exec, err := e.Compile(program(t, g))
		if err != nil {
			t.Fatal(err)
		}
		return exec
	}
	training, inference := build(true), build(false)
	for name, v := range map[string]float64{"w": 2, "b": 5, "mean": 0, "var": 1} {
		if err := e.Write(name, engine.Tensor{Shape: graph.Shape{1}, Data: []float64{v}}); err != nil {
			t.Fatal(err)
		}
	}
	mean, variance := 0.0, 1.0
	for range 2 {
		out, err := training.Run(in)
		if err != nil {
			t.Fatal(err)
		}
		mean, variance = 0.9*mean+0.1*3, 0.9*variance+0.1*14/3
		if got, want := out["y"].Float64s()[3], 2*3/math.Sqrt(3.5+1e-5)+5; !close12(got, want) {
			t.Errorf("training: y = %.12g, want %.12g", got, want)
		}
		for name, want := range map[string]float64{"mean": mean, "var": variance} {
			if got, err := e.Read(name); err != nil || !close12(got.Item(), want) {
				t.Errorf("running %s %.12g (error %v), want %.12g", name, got.Item(), err, want)
			}
		}
	}
	out, err := inference.Run(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out["y"].Float64s()[3], 2*(6-mean)/math.Sqrt(variance+1e-5)+5; !close12(got, want) {
		t.Errorf("inference: y = %.12g, want %.12g", got, want)
	}
}

// TestContrastOfEqualRows: with all similarities equal, every contrast is as
// likely as every other, and the loss is (τ/τ0)·ln(rows − 1), whatever counts as
// positive.
func TestContrastOfEqualRows(t *testing.T) {
	for _, o := range contrasts() {
		const images = 5
		rows := o.Exits * o.Views * images
		want := o.Temperature / o.BaseTemperature * math.Log(float64(rows-1))
		if rows == images && o.Positives != graph.SameLabel || o.Exits == 1 && o.Positives == graph.SameImageView {
			want = 0 // no row has a positive
		}
		g := graph.New()
		g.Output("loss", g.Contrast("contrast", g.Apply("z", graph.Fill{Shape: graph.Shape{rows, 4}, Value: 0.5})[0], g.Input("labels", graph.Int, images), o))
		out := runOn(t, program(t, g), map[string]engine.Tensor{"labels": ints(0, 1, 0, 1, 0)})
		if got := out["loss"].Item(); !close12(got, want) {
			t.Errorf("%+v: loss %.12g, want %.12g", o, got, want)
		}
	}
}

// TestContrastIsItsFormula writes the loss out as its definition has it, with
// the positives told from image, view, exit and label.
func TestContrastIsItsFormula(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	labels := []int32{0, 1, 0, 2}
	for _, o := range contrasts() {
		rows := o.Exits * o.Views * len(labels)
		z := unitRows(r, rows, 3)
		data := z.Data.([]float64)
		place := func(row int) (exit, view, image int) {
			return row / len(labels) / o.Views, row / len(labels) % o.Views, row % len(labels)
		}
		s := func(a, b int) float64 {
			return (data[3*a]*data[3*b] + data[3*a+1]*data[3*b+1] + data[3*a+2]*data[3*b+2]) / o.Temperature
		}
		loss, anchors := 0.0, 0
		for a := range rows {
			exit, view, image := place(a)
			if !o.Anchors[exit] {
				continue
			}
			sum, positives, count := 0.0, 0.0, 0
			for q := range rows {
				if q == a {
					continue
				}
				sum += math.Exp(s(a, q))
				_, v, i := place(q)
				positive := labels[i] == labels[image]
				switch o.Positives {
				case graph.SameImage:
					positive = i == image
				case graph.SameImageView:
					positive = i == image && v == view
				}
				if positive {
					positives += s(a, q)
					count++
				}
			}
			if count > 0 {
				anchors++
				loss -= positives/float64(count) - math.Log(sum)
			}
		}
		if anchors > 0 {
			loss *= o.Temperature / o.BaseTemperature / float64(anchors)
		}
		g := graph.New()
		g.Output("loss", g.Contrast("contrast", g.Input("z", graph.Float, rows, 3), g.Input("labels", graph.Int, len(labels)), o))
		out := runOn(t, program(t, g), map[string]engine.Tensor{"z": z, "labels": ints(labels...)})
		if got := out["loss"].Item(); !close12(got, loss) {
			t.Errorf("%+v: loss %.12g, want %.12g", o, got, loss)
		}
	}
}

// TestContrastKeys: positives are told by position for images and by label for
// classes.
func TestContrastKeys(t *testing.T) {
	labels := []int32{4, 9, 4}
	for _, c := range []struct {
		o         graph.Contrast
		positives string
		anchors   int
	}{
		{graph.Contrast{Exits: 1, Views: 1, Anchors: []bool{true}}, "[1 0 1]", 2},
		{graph.Contrast{Exits: 2, Views: 1, Anchors: []bool{false, true}}, "[3 1 3 3 1 3]", 3},
		{graph.Contrast{Exits: 1, Views: 2, Anchors: []bool{true}, Positives: graph.SameImage}, "[1 1 1 1 1 1]", 6},
		{graph.Contrast{Exits: 1, Views: 2, Anchors: []bool{true}, Positives: graph.SameImageView}, "[0 0 0 0 0 0]", 0},
		{graph.Contrast{Exits: 2, Views: 2, Anchors: []bool{true, false}, Positives: graph.SameImageView}, "[1 1 1 1 1 1 1 1 1 1 1 1]", 6},
	} {
		_, positives, anchors := c.o.Keys(labels)
		if got := fmt.Sprint(positives); got != c.positives || anchors != c.anchors {
			t.Errorf("%+v: positives %s, %d anchors; want %s, %d", c.o, got, anchors, c.positives, c.anchors)
		}
	}
}

// TestCrossEntropyOfEqualLogits: ln K, with derivative (1/K − onehot)/N.
func TestCrossEntropyOfEqualLogits(t *testing.T) {
	g := graph.New()
	logits := g.Input("logits", graph.Float, 2, 4)
	loss := g.CrossEntropy("ce", logits, g.Input("labels", graph.Int, 2))
	g.Output("loss", loss)
	g.Output("d", g.Gradients(loss, []*graph.Value{logits})[0])
	big := []float64{1e4, 1e4, 1e4, 1e4, -1e4, -1e4, -1e4, -1e4}
	out := runOn(t, program(t, g), map[string]engine.Tensor{"logits": {Shape: graph.Shape{2, 4}, Data: big}, "labels": ints(1, 3)})
	if got := out["loss"].Item(); !close12(got, math.Log(4)) {
		t.Errorf("loss %.12g, want ln 4", got)
	}
	for i, got := range out["d"].Float64s() {
		want := 0.125
		if i == 1 || i == 7 {
			want -= 0.5
		}
		if !close12(got, want) {
			t.Errorf("derivative %d is %.12g, want %g", i, got, want)
		}
	}
}

// TestDropout: elements are kept or not as Random says, by seed, key, step and
// position, and the derivative passes where the value did.
func TestDropout(t *testing.T) {
	o := graph.Dropout{P: 0.25, Seed: 3, Key: 4}
	g := graph.New()
	y := g.Apply("dropout", o, g.Apply("ones", graph.Fill{Shape: graph.Shape{1000}, Value: 1})[0], g.Input("step", graph.Int))[0]
	g.Output("y", y)
	p := program(t, g)
	for _, step := range []int32{0, 1, 77} {
		kept := 0
		out := runOn(t, p, map[string]engine.Tensor{"step": {Shape: graph.Shape{}, Data: []int32{step}}})
		for i, got := range out["y"].Float64s() {
			want := 0.0
			if graph.Random(3, 4, uint64(step), uint64(i)) >= 0.25 {
				want = 1 / 0.75
				kept++
			}
			if got != want {
				t.Fatalf("step %d element %d: %g, want %g", step, i, got, want)
			}
		}
		if kept < 690 || kept > 810 { // 750 ± 4.4 standard deviations
			t.Errorf("step %d kept %d of 1000 elements, want about 750", step, kept)
		}
	}
}
