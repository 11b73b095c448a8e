package graph_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
	"selfcon/internal/testkit/optest"
)

// gradientCase is an operation at operands, of which those in wrt (all float
// ones if nil) are checked.
type gradientCase struct {
	name string
	op   graph.Op
	in   []engine.Tensor
	wrt  []int
}

// TestGradients holds the derivative of every operation by every operand to
// finite differences of the oracle.
func TestGradients(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range gradientCases() {
		kind := (&graph.Node{Op: c.op}).Kind()
		covered[kind] = true
		t.Run(kind+"/"+c.name, func(t *testing.T) { checkGradient(t, c) })
	}
	for _, op := range optest.Operations(t, ".", "Gradient") {
		if !covered[op] {
			t.Errorf("operation %s has a derivative and no case", op)
		}
	}
}

// checkGradient compares the derivatives of f = Σ c_i·y_i, with y the
// operation's first result and c drawn at random, with
//
//	(8·(f(x+h) − f(x−h)) − (f(x+2h) − f(x−2h))) / 12h
//
// for up to 40 elements of each operand. Its error is h⁴/30·|f⁽⁵⁾| + ε·S/h, with
// S = Σ|c_i·y_i| and ε = 2⁻⁵². The steepest function here is the contrast at
// temperature 0.07, with fifth derivatives of about 0.07⁻⁵ ≈ 10⁶: with h = 3·10⁻⁴
// that makes 3·10⁻¹⁰, and ε·S/h is 10⁻⁹ for S = 1000. Hence 10⁻⁸, relative to the
// largest derivative where that is above 1; a wrong term is off by far more.
func checkGradient(t *testing.T, c gradientCase) {
	const h, tolerance = 3e-4, 1e-8
	r := rand.New(rand.NewPCG(3, 4))
	g := graph.New()
	in := map[string]engine.Tensor{}
	operands := make([]*graph.Value, len(c.in))
	wrt := c.wrt
	for i, x := range c.in {
		dtype := graph.Float
		if _, ok := x.Data.([]int32); ok {
			dtype = graph.Int
		} else if c.wrt == nil {
			wrt = append(wrt, i)
		}
		name := fmt.Sprint(i)
		operands[i] = g.Input(name, dtype, x.Shape...)
		in[name] = x
	}
	y := g.Apply("op", c.op, operands...)[0]
	n := y.Shape.Size()
	in["c"] = random(r, n, 1)
	product := g.Apply("weighted", graph.MatMul{}, g.Reshape("row", y, 1, n), g.Input("c", graph.Float, n, 1))[0]
	f := g.Reshape("f", product, []int{}...)
	g.Output("f", f)
	value := program(t, g)

	var checked []*graph.Value
	for _, i := range wrt {
		checked = append(checked, operands[i])
	}
	for i, d := range g.Gradients(f, checked) {
		if g.Err() == nil && !d.Shape.Equal(checked[i].Shape) {
			t.Fatalf("the derivative by operand %d is %v, the operand %v", wrt[i], d.Type, checked[i].Type)
		}
		g.Output(fmt.Sprint("d", wrt[i]), d)
	}
	got := runOn(t, program(t, g), in)

	exec, err := oracle.New().Compile(value)
	if err != nil {
		t.Fatal(err)
	}
	at := func() float64 {
		out, err := exec.Run(in)
		if err != nil {
			t.Fatal(err)
		}
		return out["f"].Item()
	}
	for _, i := range wrt {
		x, d := c.in[i].Data.([]float64), got[fmt.Sprint("d", i)].Float64s()
		scale := 1.0
		for _, v := range d {
			scale = max(scale, math.Abs(v))
		}
		for _, k := range r.Perm(len(x))[:min(len(x), 40)] {
			center := x[k]
			difference := func(h float64) float64 {
				x[k] = center + h
				up := at()
				x[k] = center - h
				down := at()
				x[k] = center
				return up - down
			}
			want := (8*difference(h) - difference(2*h)) / (12 * h)
			if !(math.Abs(d[k]-want) <= tolerance*scale) {
				t.Errorf("operand %d element %d: derivative %.12g, finite difference %.12g", i, k, d[k], want)
			}
		}
	}
}

func random(r *rand.Rand, shape ...int) engine.Tensor {
	data := make([]float64, graph.Shape(shape).Size())
	for i := range data {
		data[i] = r.NormFloat64()
	}
	return engine.Tensor{Shape: shape, Data: data}
}

// apart draws numbers no two of which, nor any and 0, are closer than 0.005: a
// finite difference then crosses no corner of a ReLU or a maximum.
func apart(r *rand.Rand, shape ...int) engine.Tensor {
	x := random(r, shape...)
	data := x.Data.([]float64)
	for i, k := range r.Perm(len(data)) {
		data[i] = 0.01*float64(k-len(data)/2) + 0.005
	}
	return x
}

func ints(v ...int32) engine.Tensor { return engine.Int32(v, len(v)) }

func program(t *testing.T, g *graph.Graph) *graph.Program {
	t.Helper()
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runOn runs a program without variables on the oracle.
func runOn(t *testing.T, p *graph.Program, in map[string]engine.Tensor) map[string]engine.Tensor {
	t.Helper()
	exec, err := oracle.New().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]engine.Tensor{} // a gradient may need fewer inputs
	for _, i := range p.Inputs {
		used[i.Name] = in[i.Name]
	}
	out, err := exec.Run(used)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func gradientCases() []gradientCase {
	r := rand.New(rand.NewPCG(1, 2))
	var cases []gradientCase
	add := func(op graph.Op, in ...engine.Tensor) {
		cases = append(cases, gradientCase{name: fmt.Sprintf("%v %+v", in[0].Shape, op), op: op, in: in})
	}
	shapes := [][]int{{1}, {7}, {3, 5}, {2, 3, 1, 5}}
	for _, s := range shapes {
		add(graph.Add{}, random(r, s...), random(r, s...))
		add(graph.Scale{Factor: -2.5}, random(r, s...))
		add(graph.Reshape{Shape: graph.Shape{graph.Shape(s).Size(), 1}}, random(r, s...))
		add(graph.Concat{}, random(r, s...), random(r, append([]int{4}, s[1:]...)...), random(r, s...))
		add(graph.Slice{From: s[0] / 2, To: s[0]}, random(r, s...))
		add(graph.Slice{From: 0, To: 1}, random(r, s...))
		add(graph.PadRows{Before: 2, After: 3}, random(r, s...))
		add(graph.ReLU{}, apart(r, s...))
		add(graph.Sigmoid{}, random(r, s...))
		add(graph.SiLU{}, random(r, s...))
		add(graph.Dropout{P: 0.5, Seed: 1, Key: r.Uint64(), Rows: true}, random(r, s...), engine.Tensor{Shape: graph.Shape{}, Data: []int32{5}})
		for _, p := range []float64{0, 0.4, 0.9} {
			add(graph.Dropout{P: p, Seed: 1, Key: r.Uint64()}, random(r, s...), engine.Tensor{Shape: graph.Shape{}, Data: []int32{5}})
		}
	}

	add(graph.ScaleChannels{}, random(r, 1, 1, 1, 1), random(r, 1, 1))
	add(graph.ScaleChannels{}, random(r, 2, 3, 4, 5), random(r, 2, 5))
	add(graph.AddBias{}, random(r, 2, 3, 4, 5), random(r, 5))
	add(graph.Conv2D{Stride: 2, Pad: 1, PadEnd: 1, Groups: 1}, random(r, 2, 6, 8, 3), random(r, 4, 3, 5, 5))
	add(graph.Conv2D{Stride: 2, PadEnd: 1, Groups: 4}, random(r, 2, 8, 6, 4), random(r, 4, 1, 3, 3))
	for _, s := range []struct{ n, h, w, c, kh, kw, o, stride, pad, groups int }{
		{1, 1, 1, 1, 1, 1, 1, 1, 0, 1},
		{2, 5, 5, 3, 3, 3, 5, 1, 1, 1},
		{1, 7, 6, 1, 3, 3, 3, 2, 1, 1},
		{2, 8, 5, 4, 3, 3, 6, 3, 1, 2},
		{1, 9, 11, 3, 7, 7, 2, 2, 3, 1},
		{3, 5, 7, 5, 1, 1, 7, 1, 0, 1},
		{1, 6, 7, 3, 1, 1, 5, 2, 0, 1},
		{1, 5, 5, 3, 1, 1, 2, 3, 1, 1},
		{1, 6, 5, 5, 3, 3, 10, 1, 1, 5},
		{2, 2, 3, 3, 3, 3, 3, 1, 2, 3},
		{1, 7, 8, 2, 2, 3, 3, 2, 1, 1},
		{1, 8, 8, 1, 2, 2, 1, 3, 0, 1},
	} {
		add(graph.Conv2D{Stride: s.stride, Pad: s.pad, Groups: s.groups},
			random(r, s.n, s.h, s.w, s.c), random(r, s.o, s.c/s.groups, s.kh, s.kw))
	}
	for _, o := range []graph.MaxPool2D{{Size: 1, Stride: 1}, {Size: 2, Stride: 2}, {Size: 3, Stride: 2, Pad: 1}, {Size: 3, Stride: 1, Pad: 1}, {Size: 2, Stride: 3}} {
		add(o, apart(r, 1, 5, 7, 1))
		add(o, apart(r, 2, 6, 5, 3))
	}
	add(graph.GlobalAvgPool{}, random(r, 1, 1, 1, 1))
	add(graph.GlobalAvgPool{}, random(r, 3, 4, 3, 5))

	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 2}, {4, 1, 3}} {
		m, k, n := s[0], s[1], s[2]
		add(graph.MatMul{}, random(r, m, k), random(r, k, n))
		add(graph.MatMul{TransA: true}, random(r, k, m), random(r, k, n))
		add(graph.MatMul{TransB: true}, random(r, m, k), random(r, n, k))
		add(graph.MatMul{TransA: true, TransB: true}, random(r, k, m), random(r, n, k))
		add(graph.AddBias{}, random(r, m, n), random(r, n))
		add(graph.L2Normalize{Eps: 1e-12}, random(r, m, k+1))
	}
	short := random(r, 2, 3)
	for i := range short.Data.([]float64) {
		short.Data.([]float64)[i] *= 0.1
	}
	add(graph.L2Normalize{Eps: 5}, short) // all rows shorter than Eps

	for _, s := range [][]int{{3, 1}, {9, 3}, {2, 3, 3, 1}, {1, 3, 5, 5}, {3, 2, 2, 7}} {
		c := s[len(s)-1]
		variance := random(r, c)
		for i, v := range variance.Data.([]float64) {
			variance.Data.([]float64)[i] = 0.5 + v*v
		}
		for _, eps := range []float64{1e-5, 0.3} {
			add(graph.BatchNorm{Eps: eps}, random(r, s...), random(r, c), random(r, c))
			add(graph.BatchNormInference{Eps: eps}, random(r, s...), random(r, c), random(r, c), random(r, c), variance)
			cases[len(cases)-1].wrt = []int{0, 1, 2} // the statistics are held fixed
		}
	}

	add(graph.CrossEntropy{}, random(r, 1, 1), ints(0))
	add(graph.CrossEntropy{}, random(r, 1, 5), ints(3))
	add(graph.CrossEntropy{}, random(r, 6, 3), ints(0, 2, 1, 1, 0, 2))
	for _, s := range [][2]int{{1, 1}, {1, 5}, {6, 3}} {
		targets := random(r, s[0], s[1]) // need not be probabilities
		add(graph.CrossEntropy{}, random(r, s[0], s[1]), targets)
		cases[len(cases)-1].name += "soft"
		cases[len(cases)-1].wrt = []int{0} // targets are held fixed
	}

	for _, temperature := range []float64{0.5, 1, 3} {
		for _, s := range [][2]int{{1, 1}, {1, 5}, {6, 3}} {
			add(graph.Distill{Temperature: temperature}, random(r, s[0], s[1]), random(r, s[0], s[1]))
			cases[len(cases)-1].wrt = []int{0} // the teacher is held fixed
		}
	}

	for _, o := range contrasts() {
		for _, labels := range []engine.Tensor{ints(0), ints(0, 1, 0, 2, 1), ints(0, 1, 2, 3), ints(7, 7, 7)} {
			rows := o.Exits * o.Views * labels.Shape[0]
			add(o, unitRows(r, rows, 6), labels)
			cases[len(cases)-1].name += fmt.Sprint(labels.Data)
		}
		if o.Positives == graph.SameLabel {
			o.Positives = graph.SharedLabels
			for _, labels := range []engine.Tensor{
				{Shape: graph.Shape{4, 3}, Data: []float64{1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0}}, // the last image has none
				{Shape: graph.Shape{3, 2}, Data: []float64{0.9, 0.1, 0.5, 0.5, 0.2, 0.8}},
			} {
				add(o, unitRows(r, o.Exits*o.Views*labels.Shape[0], 6), labels)
				cases[len(cases)-1].name += fmt.Sprint(labels.Data)
				cases[len(cases)-1].wrt = []int{0} // labels are held fixed
			}
		}
	}
	return cases
}

// contrasts are all rules for positives with one to three exits, one and two
// views, all or some exits as anchors, and three temperatures in turn.
func contrasts() []graph.Contrast {
	var out []graph.Contrast
	temperatures := []float64{0.07, 0.1, 0.5}
	for _, positives := range []graph.Positives{graph.SameLabel, graph.SameImage, graph.SameImageView} {
		for _, anchors := range [][]bool{{true}, {true, true}, {false, true}, {true, false, true}} {
			for _, views := range []int{1, 2} {
				out = append(out, graph.Contrast{Exits: len(anchors), Views: views, Anchors: anchors, Positives: positives,
					Temperature: temperatures[len(out)%3], BaseTemperature: []float64{0.07, 1}[len(out)%2]})
			}
		}
	}
	return out
}

func unitRows(r *rand.Rand, rows, d int) engine.Tensor {
	z := random(r, rows, d)
	for row := range slices.Chunk(z.Data.([]float64), d) {
		sum := 0.0
		for _, v := range row {
			sum += v * v
		}
		for i := range row {
			row[i] /= math.Sqrt(sum)
		}
	}
	return z
}

// TestContrastWithoutPositives: the loss of a table in which no anchor has a
// positive is 0, and so is its derivative.
func TestContrastWithoutPositives(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, rows := range []int{1, 2, 5} {
		g := graph.New()
		z := g.Input("z", graph.Float, rows, 3)
		loss := g.Contrast("contrast", z, g.Input("labels", graph.Int, rows), graph.Contrast{
			Exits: 1, Views: 1, Anchors: []bool{true}, Positives: graph.SameImage, Temperature: 0.1, BaseTemperature: 0.07})
		g.Output("loss", loss)
		g.Output("dz", g.Gradients(loss, []*graph.Value{z})[0])
		out := runOn(t, program(t, g), map[string]engine.Tensor{"z": unitRows(r, rows, 3), "labels": ints(make([]int32, rows)...)})
		if v := out["loss"].Item(); v != 0 {
			t.Errorf("%d rows: loss %g, want 0", rows, v)
		}
		for i, v := range out["dz"].Float64s() {
			if v != 0 {
				t.Errorf("%d rows: derivative %g at %d, want 0", rows, v, i)
			}
		}
	}
}

// TestGradientOfSharedValue: a value used several times gets the sum of the
// derivatives of its uses: d/dx (x + x + 3x + ⟨x, x⟩) = 5 + 2x.
func TestGradientOfSharedValue(t *testing.T) {
	g := graph.New()
	x := g.Input("x", graph.Float, 1, 1)
	sum := g.Add("sum", g.Add("twice", x, x), g.Scale("thrice", x, 3))
	sum = g.Add("all", sum, g.Apply("square", graph.MatMul{TransB: true}, x, x)[0])
	d := g.Gradients(g.Reshape("loss", sum), []*graph.Value{x})
	g.Output("d", d[0])
	out := runOn(t, program(t, g), map[string]engine.Tensor{"x": {Shape: graph.Shape{1, 1}, Data: []float64{7}}})
	if got := out["d"].Item(); got != 19 {
		t.Errorf("derivative %g, want 19", got)
	}
}

// TestGradientOfNetwork checks a small graph as a whole: its
// parts are right by themselves, their order and wiring is what can be wrong.
func TestGradientOfNetwork(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	g := graph.New()
	tensors := map[string]engine.Tensor{"labels": ints(0, 1, 0), "step": {Shape: graph.Shape{}, Data: []int32{2}}}
	var wrt []*graph.Value
	input := func(name string, shape ...int) *graph.Value {
		tensors[name] = random(r, shape...)
		v := g.Input(name, graph.Float, shape...)
		wrt = append(wrt, v)
		return v
	}
	labels, step := g.Input("labels", graph.Int, 3), g.Input("step", graph.Int)
	x := g.Conv2D("conv", input("x", 3, 5, 5, 2), input("w", 4, 1, 3, 3), graph.Conv2D{Stride: 1, Pad: 1, Groups: 2})
	x = g.Apply("bn", graph.BatchNorm{Eps: 1e-5}, x, input("gamma", 4), input("beta", 4))[0]
	x = g.Add("residual", x, g.Conv2D("again", x, input("w2", 4, 4, 1, 1), graph.Conv2D{Stride: 1, Groups: 1}))
	pooled := g.GlobalAvgPool("pool", x)
	pooled = g.Apply("dropout", graph.Dropout{P: 0.3, Key: 4}, pooled, step)[0]
	z := g.L2Normalize("z", g.Linear("fc", pooled, input("fc.w", 5, 4), input("fc.b", 5)))
	z2 := g.L2Normalize("z2", g.Linear("fc2", g.GlobalAvgPool("pool2", x), input("fc2.w", 5, 4), input("fc2.b", 5)))
	loss := g.Add("loss", g.Scale("weighted", g.CrossEntropy("ce", z, labels), 0.7),
		g.Contrast("contrast", g.Concat("all", z, z2), labels, graph.Contrast{Exits: 2, Views: 1, Anchors: []bool{false, true}, Temperature: 0.5, BaseTemperature: 0.5}))
	g.Output("loss", loss)
	forward := program(t, g)
	for i, d := range g.Gradients(loss, wrt) {
		g.Output("d:"+wrt[i].Node.Name, d)
	}
	got := runOn(t, program(t, g), tensors)
	const h = 1e-4 // error h⁴·|f⁽⁵⁾|/30 + ε/h: below 1e-9
	for _, v := range wrt {
		name := v.Node.Name
		data := tensors[name].Data.([]float64)
		for _, k := range r.Perm(len(data))[:min(len(data), 10)] {
			difference := func(h float64) float64 {
				center := data[k]
				defer func() { data[k] = center }()
				data[k] = center + h
				up := runOn(t, forward, tensors)["loss"].Item()
				data[k] = center - h
				return up - runOn(t, forward, tensors)["loss"].Item()
			}
			want := (8*difference(h) - difference(2*h)) / (12 * h)
			if d := got["d:"+name].Float64s()[k]; !(math.Abs(d-want) <= 1e-8) {
				t.Errorf("%s element %d: derivative %.12g, finite difference %.12g", name, k, d, want)
			}
		}
	}
}
