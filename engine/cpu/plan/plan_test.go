package plan

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"selfcon/graph"
)

// build makes a list from a graph.
func build(t *testing.T, g *graph.Graph) (*graph.Program, *List) {
	t.Helper()
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return p, NewList(p)
}

func vector(g *graph.Graph, name string, n int) *graph.Value {
	return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: graph.Shape{n}}})
}

func kinds(l *List) []string {
	var k []string
	l.each(func(s *Step) { k = append(k, s.Kind()) })
	return k
}

// residual is relu(bn(x) + bn(x)), and its gradient by the norms' weights.
func residual(g *graph.Graph) {
	x := g.Input("x", graph.Float, 5, 3)
	var params []*graph.Value
	norm := func(name string) *graph.Value {
		v := graph.BatchNormVars{Weight: vector(g, name+".w", 3), Bias: vector(g, name+".b", 3), Mean: vector(g, name+".m", 3), Var: vector(g, name+".v", 3)}
		params = append(params, v.Weight, v.Bias)
		return g.BatchNorm2D(name, x, v, 1e-5, 0.1, true)
	}
	y := g.ReLU("relu", g.Add("add", norm("a"), norm("b")))
	labels := g.Input("labels", graph.Int, 5)
	loss := g.CrossEntropy("loss", y, labels)
	for _, d := range g.Gradients(loss, params) {
		g.Output("grad."+d.Node.Name+string(rune('0'+d.Index)), d)
	}
}

func TestFuseResidual(t *testing.T) {
	g := graph.New()
	residual(g)
	_, l := build(t, g)
	Split(l)
	FuseNorm(l)
	FuseMask(l)
	Order(l, true)
	got := kinds(l)
	slices.Sort(got)
	want := []string{"CrossEntropyGrad", "Lerp", "Lerp", "Lerp", "Lerp", "NormApply", "NormApply", "NormGradApply", "NormGradApply", "NormGradSums", "NormGradSums", "NormStats", "NormStats"}
	if !slices.Equal(got, want) {
		t.Errorf("steps %v, want %v", got, want)
	}
	inOrder(t, l)
}

// The norm of a shortcut is applied with that of its block.
func TestFuseBoth(t *testing.T) {
	g := graph.New()
	residual(g)
	_, l := build(t, g)
	Split(l)
	FuseNorm(l)
	FuseBoth(l)
	Order(l, true)
	inOrder(t, l)
	var applied []*Step
	l.each(func(s *Step) {
		if s.Kind() == "NormApply" {
			applied = append(applied, s)
		}
	})
	if len(applied) != 1 || len(applied[0].In) != 4 || applied[0].Op != (NormApply{Add: true, Both: true, ReLU: true}) {
		t.Errorf("norms are applied by %d steps, the first %+v", len(applied), applied[0])
	}
}

// Pooling and its derivative normalise what they read, unless that is wanted
// besides.
func TestFuseLoadPooling(t *testing.T) {
	for _, z := range []struct {
		kept bool
		want int // norms that are applied
	}{{false, 0}, {true, 1}} {
		g := graph.New()
		x := g.Input("x", graph.Float, 2, 8, 8, 3)
		v := graph.BatchNormVars{Weight: vector(g, "w", 3), Bias: vector(g, "b", 3), Mean: vector(g, "m", 3), Var: vector(g, "v", 3)}
		y := g.ReLU("relu", g.BatchNorm2D("norm", x, v, 1e-5, 0.1, true))
		if z.kept {
			g.Output("y", y)
		}
		pooled := g.GlobalAvgPool("average", g.MaxPool2D("pool", y, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}))
		loss := g.CrossEntropy("loss", pooled, g.Input("labels", graph.Int, 2))
		g.Output("dx", g.Gradients(loss, []*graph.Value{x})[0])
		_, l := build(t, g)
		Split(l)
		FuseNorm(l)
		FuseMask(l)
		FuseLoad(l)
		Order(l, true)
		inOrder(t, l)
		applied := 0
		for _, s := range l.Steps {
			var loads bool
			switch s.Op.(type) {
			case NormApply:
				applied++
			case MaxPool2D:
				loads = len(s.In) == 2
			case MaxPool2DGrad:
				loads = len(s.In) == 3
			}
			if fused := s.Pass == "FuseLoad"; fused != loads || fused && s.In[0] != x {
				t.Errorf("kept %t: step %s (%s) of pass %s has %d operands", z.kept, s.Name, s.Kind(), s.Pass, len(s.In))
			}
		}
		if applied != z.want {
			t.Errorf("kept %t: %d norms are applied, want %d", z.kept, applied, z.want)
		}
	}
}

// inOrder checks that operands come before their users.
func inOrder(t *testing.T, l *List) {
	t.Helper()
	made := map[*graph.Value]bool{}
	for _, s := range l.Steps {
		for _, v := range s.In {
			if l.producer[v] != nil && !made[v] {
				t.Errorf("step %s (%s) runs before its operand %s", s.Name, s.Kind(), v.Node.Name)
			}
		}
		for _, v := range s.Out {
			made[v] = true
		}
	}
}

// A norm whose result something else wants as well stays as it is.
func TestFuseKeepsWhatIsUsed(t *testing.T) {
	g := graph.New()
	x := g.Input("x", graph.Float, 5, 3)
	v := graph.BatchNormVars{Weight: vector(g, "w", 3), Bias: vector(g, "b", 3), Mean: vector(g, "m", 3), Var: vector(g, "v", 3)}
	y := g.BatchNorm2D("bn", x, v, 1e-5, 0.1, false)
	g.Output("relu", g.ReLU("relu", y))
	g.Output("y", y)
	_, l := build(t, g)
	FuseNorm(l)
	if got := kinds(l); !slices.Equal(got, []string{"BatchNormInference", "ReLU"}) {
		t.Errorf("steps %v", got)
	}
}

// An optimizer step comes as soon as its gradient is there, and in the
// variable's place; a variable that is read later keeps its value.
func TestUpdatesInPlace(t *testing.T) {
	for _, readLater := range []bool{false, true} {
		g := graph.New()
		x := g.Input("x", graph.Float, 4)
		w, m, rate := vector(g, "w", 4), vector(g, "m", 4), g.Input("lr", graph.Float)
		out := g.Apply("sgd", graph.SGD{}, w, x, m, rate)
		g.Update(w, out[0])
		g.Update(m, out[1])
		big := g.Scale("later", x, 2)
		if readLater {
			g.Output("old", w)
		}
		g.Output("big", big)
		_, l := build(t, g)
		Order(l, true)
		if l.Steps[0].Name != "sgd" {
			t.Errorf("first step %s", l.Steps[0].Name)
		}
		y := Lay(l, true)
		inPlaceW := y.Buffers[y.places[out[0].ID].Buffer].Variable != nil
		inPlaceM := y.Buffers[y.places[out[1].ID].Buffer].Variable != nil
		if inPlaceW == readLater || !inPlaceM {
			t.Errorf("read later %t: parameter in place %t, momentum in place %t", readLater, inPlaceW, inPlaceM)
		}
	}
}

// Two variables that swap values each get the other's old one.
func TestSwapCopies(t *testing.T) {
	g := graph.New()
	a, b := vector(g, "a", 4), vector(g, "b", 4)
	g.Update(a, b)
	g.Update(b, a)
	_, l := build(t, g)
	if got := kinds(l); !slices.Equal(got, []string{"Copy", "Copy"}) {
		t.Errorf("steps %v", got)
	}
}

// Recompute keeps the order, repeats no step twice and no update at all, and
// takes the list that is the smallest.
func TestRecompute(t *testing.T) {
	g := graph.New()
	x := g.Input("x", graph.Float, 64, 8)
	first := x
	for i := range 9 {
		n := string(rune('a' + i))
		v := graph.BatchNormVars{Weight: vector(g, n+".w", 8), Bias: vector(g, n+".b", 8), Mean: vector(g, n+".m", 8), Var: vector(g, n+".v", 8)}
		x = g.ReLU(n+".relu", g.BatchNorm2D(n, x, v, 1e-5, 0.1, true))
	}
	loss := g.CrossEntropy("loss", x, g.Input("labels", graph.Int, 64))
	g.Output("grad", g.Gradients(loss, []*graph.Value{first})[0])
	_, l := build(t, g)
	Order(l, true)
	anyStep := func(*Step) bool { return true }
	m, _ := recompute(l, anyStep, peakTo)
	inOrder(t, m)
	if before, now := peak(l), peak(m); 3*now > 2*before {
		t.Errorf("%d elements, before %d", now, before)
	}
	seen := map[string]int{}
	for _, s := range m.Steps {
		if s.Pass == "Recompute" {
			seen[s.Name]++
			if seen[s.Name] > 1 || s.Kind() == "Lerp" {
				t.Errorf("step %s (%s) is repeated %d times", s.Name, s.Kind(), seen[s.Name])
			}
		}
	}
	if len(seen) == 0 {
		t.Error("nothing is repeated")
	}
	if again, _ := recompute(l, anyStep, func(*List, int) int { return 1 }); again != l {
		t.Error("a list that is no smaller is taken")
	}
}

// peak is the memory of a list without temporaries.
func peak(l *List) int { return peakTo(l, math.MaxInt) }

func peakTo(l *List, most int) int {
	var items []Item
	for _, b := range Lay(l, true).Buffers {
		if b.Variable == nil && b.Constant == nil {
			items = append(items, b.Item)
		}
	}
	_, total := Assign(items, most)
	return total
}

// costs are a list's without temporaries.
func costs(work func(*Step) float64) Cost {
	return Cost{Work: work, Temp: func(*Step) int { return 0 }, Size: peakTo}
}

// chain is a training step of n 1×1 convolutions, each with its norm, with such
// strides and, some, with the sum of what they read.
func chain(t *testing.T, n int, of func(i int) (stride int, sum bool)) *List {
	t.Helper()
	g := graph.New()
	x := g.Input("x", graph.Float, 4, 8, 8, 8)
	var weights []*graph.Value
	for i := range n {
		n := string(rune('a' + i))
		stride, sum := of(i)
		w := g.Variable(graph.Variable{Name: n + ".kernel", Type: graph.Type{Shape: graph.Shape{8, 8, 1, 1}, DType: graph.Float}})
		weights = append(weights, w)
		v := graph.BatchNormVars{Weight: vector(g, n+".w", 8), Bias: vector(g, n+".b", 8), Mean: vector(g, n+".m", 8), Var: vector(g, n+".v", 8)}
		y := g.BatchNorm2D(n+".norm", g.Conv2D(n, x, w, graph.Conv2D{Stride: stride, Groups: 1}), v, 1e-5, 0.1, true)
		if sum && stride == 1 {
			y = g.Add(n+".sum", y, x)
		}
		x = g.ReLU(n+".relu", y)
	}
	loss := g.CrossEntropy("loss", g.Reshape("flat", x, 4, x.Shape.Size()/4), g.Input("labels", graph.Int, 4))
	for i, d := range g.Gradients(loss, weights) {
		g.Output(weights[i].Node.Name+".grad", d)
	}
	_, l := build(t, g)
	Split(l)
	LowerConv(l)
	for _, f := range Fusions {
		f.Run(l)
	}
	Order(l, true)
	return l
}

// improvable fails where one of the results that are chosen to be made again could be
// made less often, alone or with a cheaper one in its place, for less work in as
// little memory.
func improvable(t *testing.T, f *fit, chosen choice, most int) {
	t.Helper()
	least := f.spent(f.repeat(chosen))
	try := func(c choice, what ...string) {
		if m := f.repeat(c); f.spent(m) < least && peak(m) <= most {
			t.Errorf("%v: work %g instead of %g", what, f.spent(m), least)
		}
	}
	for _, v := range f.all {
		if chosen[v] == kept {
			continue
		}
		less := maps.Clone(chosen)
		less[v]--
		try(less, "less of", v.Node.Name)
		for _, w := range f.all {
			if f.made[w.Node] < f.made[v.Node] && chosen[w] != apart {
				other := maps.Clone(less)
				f.set(other, w, other[w]+1)
				try(other, "less of", v.Node.Name, "more of", w.Node.Name)
			}
		}
	}
}

// Fit repeats convolutions until the list fits, the cheap ones first, and never
// for more than the limit.
func TestFit(t *testing.T) {
	l := chain(t, 9, func(int) (stride int, sum bool) { return 1, false })
	work := func(s *Step) float64 {
		switch {
		case s.Kind() != "Conv":
			return math.Inf(1)
		case s.Name < "e":
			return 1e6
		}
		return 1.5e6
	}
	repeated := func(m *List) (names []string, sum float64) {
		for _, s := range m.Steps {
			if s.Pass == "Recompute" && s.Kind() == "Conv" {
				names, sum = append(names, s.Name), sum+work(s)
			}
		}
		return names, sum
	}
	full := peak(Recompute(l, costs(nil)))
	last := full
	for _, limit := range []float64{0, 2e6, 5e6, 100e6} {
		m := Fit(l, full*2/3, costs(work), limit)
		inOrder(t, m)
		names, sum := repeated(m)
		if sum > limit || len(names) == 0 && limit > 0 {
			t.Errorf("limit %g: repeats %v, work %g", limit, names, sum)
		}
		if n := peak(m); n > last || limit == 100e6 && n > full*2/3 {
			t.Errorf("limit %g: %d elements, with less work %d, wanted %d", limit, n, last, full*2/3)
		} else {
			last = n
		}
	}
	if names, _ := repeated(Fit(l, full, costs(work), 100e6)); len(names) > 0 {
		t.Errorf("repeats %v of a list that fits", names)
	}
	if names, _ := repeated(Fit(l, full-1, costs(work), 100e6)); len(names) != 1 || names[0] >= "e" {
		t.Errorf("repeats %v where one of the cheap ones is enough", names)
	}
}

// What Fit repeats can't be changed in one place for the better.
func TestFitImproves(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	fits := 0
	for range 40 {
		l := chain(t, 14, func(i int) (int, bool) { return 1 + i%5/4*r.IntN(2), r.IntN(3) > 0 })
		price := map[string]float64{}
		for _, s := range l.Steps {
			price[s.Name] = float64((30 + r.IntN(300)) * s.Out[0].Shape.Size())
		}
		work := func(s *Step) float64 {
			if s.Kind() != "Conv" {
				return math.Inf(1)
			}
			return price[s.Name]
		}
		m, given := recompute(l, norms, peakTo)
		most := peak(m) * 4 / 5
		f := newFit(l, costs(work))
		for _, start := range []choice{given, {}} {
			m, n, c := f.smaller(start, most-most/8, most, math.Inf(1))
			if n > most {
				continue
			}
			fits++
			better, chosen := f.cheaper(m, c, most)
			if got, want := f.spent(better), f.spent(f.repeat(chosen)); got != want || got > f.spent(m) {
				t.Errorf("work %g, of what is chosen %g, before %g", got, want, f.spent(m))
			}
			improvable(t, f, chosen, most)
			break
		}
	}
	if fits < 20 {
		t.Errorf("only %d lists fit", fits)
	}
}
