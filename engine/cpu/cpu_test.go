package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
	"selfcon/internal/testkit/optest"
	"selfcon/model"
)

const variableState = "variable " // a variable's name in a state

// state is everything that a program left behind: outputs and variables.
func state(t *testing.T, opt cpu.Options, c optest.Case) map[string][]float64 {
	t.Helper()
	e := newEngine(t, opt)
	x, err := e.Compile(c.Program)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range c.Variables {
		if err := e.Write(name, v); err != nil {
			t.Fatal(err)
		}
	}
	s := map[string][]float64{}
	for i, in := range c.Runs {
		out, err := x.Run(in)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range out {
			s[fmt.Sprintf("output %s of run %d", name, i)] = v.Float64s()
		}
	}
	for _, v := range c.Program.Variables {
		got, err := e.Read(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		s[variableState+v.Name] = got.Float64s()
	}
	return s
}

// same compares bits where tolerance is 0, else the error against the largest
// element.
func same(t *testing.T, what string, got, want map[string][]float64, tolerance float64) {
	t.Helper()
	within(t, what, got, want, func(_ string, largest float64) float64 {
		if tolerance == 0 {
			return 0 // whatever is largest, be it infinite
		}
		return tolerance * largest
	})
}

// near holds outputs to 1e-5 of their largest element and variables to four units
// in its last place and four times what is given for them.
func near(t *testing.T, what string, got, want map[string][]float64, apart map[string]float64) {
	t.Helper()
	within(t, what, got, want, func(name string, largest float64) float64 {
		if variable, ok := strings.CutPrefix(name, variableState); ok {
			return 4 * (apart[variable] + largest*0x1p-23)
		}
		return 1e-5 * largest
	})
}

// within holds each element to a limit, given its tensor's name and largest element;
// where that is 0, bits may be the same instead.
func within(t *testing.T, what string, got, want map[string][]float64, limitOf func(name string, largest float64) float64) {
	t.Helper()
	for name, w := range want {
		largest := 0.0
		for _, v := range w {
			largest = max(largest, math.Abs(v))
		}
		limit := limitOf(name, largest)
		for i, v := range w {
			g := got[name][i]
			if limit == 0 && math.Float64bits(g) == math.Float64bits(v) || math.Abs(g-v) <= limit {
				continue
			}
			t.Errorf("%s: %s: element %d is %g, not %g ± %.2g", what, name, i, g, v, limit)
			break
		}
	}
}

// randomNetwork is two steps of training a random convolutional network:
// strides, groups, residual sums, pools and odd numbers of channels.
func randomNetwork(t *testing.T, r *rand.Rand) optest.Case {
	t.Helper()
	return networkOf(t, r, []int{3, 8, 12, 16, 24, 40}, []int{1, 2, 3, 5}, []int{1, 2, 3}, 2)
}

// networkOf is a random network with blocks of such numbers of channels, whose
// first convolutions have such kernels and strides and, some, groups.
func networkOf(t *testing.T, r *rand.Rand, channelsOf, kernels, strides []int, groups int) optest.Case {
	t.Helper()
	g := graph.New()
	c := optest.Case{Variables: map[string]engine.Tensor{}}
	normal := func(scale float64, shape ...int) engine.Tensor {
		d := make([]float32, graph.Shape(shape).Size())
		for i := range d {
			d[i] = float32(scale * r.NormFloat64())
		}
		return engine.Float32(d, shape...)
	}
	variable := func(name string, v engine.Tensor, trainable bool) *graph.Value {
		c.Variables[name] = v
		return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: v.Shape}, Trainable: trainable})
	}
	conv := func(name string, x *graph.Value, out, k, stride, groups int) *graph.Value {
		in := x.Shape[3] / groups
		w := variable(name, normal(1/math.Sqrt(float64(in*k*k)), out, in, k, k), true)
		return g.Conv2D(name, x, w, graph.Conv2D{Stride: stride, Pad: k / 2, Groups: groups})
	}
	norm := func(name string, x *graph.Value) *graph.Value {
		n := x.Shape[len(x.Shape)-1]
		v := graph.BatchNormVars{
			Weight: variable(name+".w", normal(1, n), true), Bias: variable(name+".b", normal(1, n), true),
			Mean: variable(name+".m", normal(1, n), false), Var: variable(name+".v", normal(1, n), false),
		}
		return g.BatchNorm2D(name, x, v, 1e-5, 0.1, true)
	}
	pick := func(n ...int) int { return n[r.IntN(len(n))] }

	batch, size, channels := 2+r.IntN(8), 5+r.IntN(20), pick(1, 2, 3, 8)
	images := g.Input("x", graph.Float, batch, size, size, channels)
	labels := g.Input("labels", graph.Int, batch)
	rate := g.Input("lr", graph.Float)
	x := images
	for b := range 1 + r.IntN(4) {
		name := fmt.Sprint("block", b, ".")
		cut := 1
		out := pick(channelsOf...)
		if x.Shape[3]%2 == 0 && out%2 == 0 && r.IntN(3) == 0 {
			cut = groups
		}
		stride := pick(strides...)
		h := g.ReLU(name+"relu", norm(name+"norm", conv(name+"conv", x, out, pick(kernels...), stride, cut)))
		if b%2 == 1 {
			h = g.ReLU(name+"relu1", norm(name+"norm1", conv(name+"depthwise", h, out, 5, 1+b/2, out)))
		}
		h2 := norm(name+"norm2", conv(name+"conv2", h, out, 3, 1, 1))
		x = g.ReLU(name+"relu2", g.Add(name+"add", h2, h))
		if x.Shape[1] >= 4 && r.IntN(3) == 0 {
			x = g.MaxPool2D(name+"pool", x, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1})
		}
	}
	const classes = 7
	f := g.GlobalAvgPool("pool", x)
	logits := g.Linear("fc", f, variable("fc.w", normal(0.3, classes, f.Shape[1]), true), variable("fc.b", normal(0.3, classes), true))
	z := g.L2Normalize("z", logits)
	loss := g.Add("loss", g.CrossEntropy("ce", logits, labels),
		g.Contrast("contrast", z, labels, graph.Contrast{Exits: 1, Views: 1, Anchors: []bool{true}, Temperature: 0.5, BaseTemperature: 1}))
	g.Output("loss", loss)
	params := g.Trainable()
	for i, d := range g.Gradients(loss, params) {
		name := params[i].Node.Name
		m := variable(name+".momentum", normal(0.01, params[i].Shape...), false)
		out := g.Apply("sgd."+name, graph.SGD{Momentum: 0.9, WeightDecay: 1e-3, Nesterov: i%2 == 0}, params[i], d, m, rate)
		g.Update(params[i], out[0])
		g.Update(m, out[1])
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	c.Program = p
	for range 2 {
		n := make([]int32, batch)
		for i := range n {
			n[i] = int32(r.IntN(classes))
		}
		c.Runs = append(c.Runs, map[string]engine.Tensor{
			"x": normal(1, images.Shape...), "labels": engine.Int32(n, batch), "lr": engine.Scalar(1e-3),
		})
	}
	return c
}

// networks is how many random networks a test tries.
func networks(t *testing.T) int {
	if testing.Short() || raceEnabled {
		return 4
	}
	return 20
}

func TestThreadsDoNotMatter(t *testing.T) {
	for _, set := range kernel.Usable() {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range networks(t) {
			c := randomNetwork(t, r)
			want := state(t, cpu.Options{Kernels: set.Name, Threads: 1}, c)
			for _, threads := range []int{2, 3, 8} {
				got := state(t, cpu.Options{Kernels: set.Name, Threads: threads}, c)
				same(t, fmt.Sprintf("%s, network %d, %d threads", set.Name, i, threads), got, want, 0)
			}
		}
	}
}

// Passes that move things don't change a bit, nor do those that only save a
// result. The others change where a convolution's data gradient is rounded, or the
// order of a norm's sums (FuseAfter's of its statistics too, to a unit in the last
// place): after one step (in a second a ReLU might fall on the other side) they may
// be as far apart as rounding brings derivatives, which depends on the network: a
// batch norm over few positions cancels much.
func TestPassesDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range networks(t) {
		c := randomNetwork(t, r)
		compare := func(judge func(name string, got, want map[string][]float64), options map[string]cpu.Options) {
			want := state(t, cpu.Options{Threads: 2}, c)
			for name, o := range options {
				o.Threads = max(o.Threads, 2)
				judge(fmt.Sprintf("network %d, %s", i, name), state(t, o, c), want)
			}
		}
		compare(func(name string, got, want map[string][]float64) { same(t, name, got, want, 0) }, map[string]cpu.Options{
			"NoOrder":                    {NoOrder: true},
			"NoReuse":                    {NoReuse: true},
			"Memory":                     {Memory: cpu.MemoryLeast},
			"Memory, 3 threads, NoOrder": {Threads: 3, Memory: cpu.MemoryLeast, NoOrder: true},
			"Arena":                      {Arena: 1},
			"fast Memory":                {Memory: cpu.MemoryFast},
			"Profile":                    {Profile: true},
			"without Recompute":          {Skip: []string{"Recompute"}},
			"without FuseNorm":           {Skip: []string{"FuseNorm"}},
			"without FuseLoad":           {Skip: []string{"FuseLoad"}},
			"without FuseBoth":           {Skip: []string{"FuseBoth"}},
			"without FuseBefore":         {Skip: []string{"FuseBefore"}},
			"without FuseUpdate":         {Skip: []string{"FuseUpdate"}},
		})
		c.Runs = c.Runs[:1]
		apart, err := optest.Apart(c)
		if err != nil {
			t.Fatal(err)
		}
		compare(func(name string, got, want map[string][]float64) { near(t, name, got, want, apart) }, map[string]cpu.Options{
			"without FuseMask":       {Skip: []string{"FuseMask"}},
			"without FuseAccumulate": {Skip: []string{"FuseAccumulate"}},
			"without FuseAfter":      {Skip: []string{"FuseAfter"}},
			"without any":            {Skip: []string{cpu.SkipAll}},
		})
	}
}

// Recomputing makes the arena smaller and changes no bit of a network's step.
func TestRecompute(t *testing.T) {
	for _, c := range []model.Config{
		{Arch: "resnet18", Exits: []int{2}, Width: 8, ImageHeight: 16, ImageWidth: 16, ImageChannels: 3},
		{Arch: "resnet50", Exits: []int{1, 3}, Width: 8, ImageHeight: 64, ImageWidth: 64, ImageChannels: 3, Stem: model.LargeStem},
	} {
		p, in := trainingStep(t, c, 4)
		k := optest.Case{Program: p, Variables: map[string]engine.Tensor{}, Runs: []map[string]engine.Tensor{in, in}}
		for _, v := range p.Variables {
			k.Variables[v.Name] = engine.InitialValue(v, 1)
		}
		want := state(t, cpu.Options{Threads: 1}, k)
		for _, o := range []cpu.Options{
			{Threads: 1, Memory: cpu.MemoryLeast}, {Threads: 3, Memory: cpu.MemoryLeast}, {Threads: 2, NoOrder: true, Memory: cpu.MemoryLeast},
			{Threads: 2, NoReuse: true, Memory: cpu.MemoryLeast}, {Threads: 2, Arena: 1}, {Threads: 2, NoOrder: true, Arena: 1},
		} {
			same(t, fmt.Sprintf("%s, %+v", c.Arch, o), state(t, o, k), want, 0)
		}
		x, err := newEngine(t, cpu.Options{Threads: 1, Memory: cpu.MemoryLeast}).Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		s := x.(*cpu.Executable).Stats()
		if 4*s.Arena > 3*s.Kept {
			t.Errorf("%s: arena of %d bytes, without recomputation %d", c.Arch, s.Arena, s.Kept)
		}
		if x, err = newEngine(t, cpu.Options{Threads: 1, Arena: s.Kept * 3 / 4}).Compile(p); err != nil {
			t.Fatal(err)
		}
		fit := x.(*cpu.Executable).Stats()
		if share := fit.Recomputed(); 4*fit.Arena > 3*fit.Kept || share == 0 || share > 0.1 {
			t.Errorf("%s: arena of %d bytes for %.3f of the products, without recomputation %d", c.Arch, fit.Arena, share, fit.Kept)
		}
		t.Logf("%s: arena of %d bytes, without recomputation %d", c.Arch, s.Arena, s.Kept)
	}
}

// Balance counts rounds of tasks: with what lies outside of loops for one
// thread only.
func TestBalance(t *testing.T) {
	s := cpu.Stats{Threads: 2, Steps: []cpu.StepStats{
		{Best: 60, Loops: []cpu.Loop{{Tasks: 3, Time: 20}, {Tasks: 8, Time: 40}}}, // tasks of 10 each
		{Best: 10},
	}}
	for threads, want := range map[int]float64{1: 1, 2: 120. / 70, 4: 120. / 40, 64: 120. / 30} {
		if got := s.Balance(threads); math.Abs(got-want) > 1e-9 {
			t.Errorf("%d threads: %g, want %g", threads, got, want)
		}
	}
	if got := (cpu.Stats{Threads: 2, Steps: make([]cpu.StepStats, 1)}).Balance(2); got != 0 {
		t.Errorf("without times %g, want 0", got)
	}
}

func TestFusesResNet(t *testing.T) {
	p, in := trainingStep(t, model.Config{Arch: "resnet18", Exits: []int{2}, Width: 8, ImageHeight: 8, ImageWidth: 8, ImageChannels: 1}, 2)
	e := newEngine(t, cpu.Options{Threads: 2, Profile: true})
	x, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, s := range x.(*cpu.Executable).Stats().Steps {
		if s.Pass != "Recompute" {
			count[s.Kind]++
		} else if s.Kind != "NormApply" {
			t.Errorf("step %s, a %s, is repeated", s.Name, s.Kind)
		}
	}
	// 20 norms, whose statistics come with convolutions; those of the 8 blocks' first convolutions are applied as the
	// second ones read, those of the 3 shortcuts with their blocks'. The derivatives' sums come with a convolution but for the
	// last block's, behind the pooling; for that of the exit's stage, whose
	// derivative is an addition; and for the shortcuts', which share a mask with
	// their block's.
	for kind, want := range map[string]int{"NormStats": 0, "NormApply": 9, "NormGradSums": 5, "Add": 1, "NormGradApply": 20, "ReLUGrad": 2} {
		if count[kind] != want {
			t.Errorf("%d steps of kind %s, want %d", count[kind], kind, want)
		}
	}
	s := x.(*cpu.Executable).Stats()
	if s.Arena >= s.Unshared {
		t.Errorf("arena of %d bytes, unshared %d", s.Arena, s.Unshared)
	}
	if err := engine.Initialize(e, p, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Run(in); err != nil {
		t.Fatal(err)
	}
	table := x.(*cpu.Executable).Explain()
	for _, want := range []string{"encoder.layer1.0.conv1", "%peak", " FuseMask ", " FuseLoad ", " FuseAfter ", " FuseNorm ", " graph ", "balance: 2 threads "} {
		if !strings.Contains(table, want) {
			t.Errorf("Explain lacks %q:\n%s", want, table)
		}
	}
	for _, step := range x.(*cpu.Executable).Stats().Steps {
		var loops time.Duration
		for _, l := range step.Loops {
			loops += l.Time
		}
		if loops > step.Best || step.Kind == "Conv" && len(step.Loops) != 2 && len(step.Loops) != 3 { // weights, perhaps inputs, then tasks
			t.Errorf("step %s (%s): %s, loops %v", step.Name, step.Kind, step.Best, step.Loops)
		}
	}
	if allocs := testing.AllocsPerRun(5, func() {
		if _, err := x.Run(in); err != nil {
			t.Fatal(err)
		}
	}); allocs > 30 && !raceEnabled { // those of Contrast.Keys; the race detector empties pools at random
		t.Errorf("%g allocations a run", allocs)
	}
}

// In inference a norm, the sum and the ReLU behind it are one pass, to the bit.
func TestFusesInference(t *testing.T) {
	net, err := model.New(model.Config{Arch: "resnet18", Width: 8, ImageHeight: 9, ImageWidth: 9, ImageChannels: 3})
	if err != nil {
		t.Fatal(err)
	}
	g := graph.New()
	for i, f := range net.Encode(g, g.Input("x", graph.Float, 2, 9, 9, 3), false) {
		g.Output(fmt.Sprint("exit", i), f)
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 2*9*9*3)
	r := rand.New(rand.NewPCG(7, 8))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	c := optest.Case{Program: p, Variables: map[string]engine.Tensor{}, Runs: []map[string]engine.Tensor{{"x": engine.Float32(x, 2, 9, 9, 3)}}}
	for _, v := range p.Variables {
		c.Variables[v.Name] = engine.InitialValue(v, 1)
	}
	want := state(t, cpu.Options{Threads: 1, Skip: []string{cpu.SkipAll}}, c)
	same(t, "fused", state(t, cpu.Options{Threads: 1}, c), want, 0)

	e := newEngine(t, cpu.Options{Threads: 1})
	exe, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range exe.(*cpu.Executable).Stats().Steps {
		if s.Kind == "ReLU" || s.Kind == "Add" {
			t.Errorf("step %s is a %s of its own", s.Name, s.Kind)
		}
	}
}

// Updates see the values from before: variables can swap.
func TestSwap(t *testing.T) {
	g := graph.New()
	counter := func(name string) *graph.Value {
		return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: graph.Shape{2}, DType: graph.Int}, Role: graph.Counter})
	}
	a, b := counter("a"), counter("b")
	g.Update(a, b)
	g.Update(b, a)
	f := g.Variable(graph.Variable{Name: "f", Type: graph.Type{Shape: graph.Shape{1}}})
	h := g.Variable(graph.Variable{Name: "h", Type: graph.Type{Shape: graph.Shape{1}}})
	g.Update(f, h)
	g.Update(h, f)
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, cpu.Options{Threads: 1})
	x, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string][]int32{"a": {1, 2}, "b": {3, 4}} {
		if err := e.Write(name, engine.Int32(v, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Write("f", engine.Float32([]float32{5}, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Run(nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"f": 0, "h": 5} {
		if got, err := e.Read(name); err != nil || got.Item() != want {
			t.Errorf("%s is %v, want %v (%v)", name, got.Data, want, err)
		}
	}
	for name, want := range map[string][]int32{"a": {3, 4}, "b": {1, 2}} {
		got, err := e.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Data.([]int32), want) {
			t.Errorf("%s is %v, want %v", name, got.Data, want)
		}
	}
}

func TestClosed(t *testing.T) {
	g := graph.New()
	v := g.Variable(graph.Variable{Name: "v", Type: graph.Type{Shape: graph.Shape{2}}})
	g.Output("y", g.Add("y", g.Input("x", graph.Float, 2), v))
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, cpu.Options{Threads: 3})
	x, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Run(map[string]engine.Tensor{"x": engine.Float32([]float32{1, 2}, 2)}); err == nil {
		t.Error("Run after Close succeeds")
	}
	if _, err := e.Compile(p); err == nil {
		t.Error("Compile after Close succeeds")
	}
	if _, err := e.Read("v"); err == nil {
		t.Error("Read after Close succeeds")
	}
	if err := e.Write("v", engine.Float32([]float32{1, 2}, 2)); err == nil {
		t.Error("Write after Close succeeds")
	}
}

func TestOptions(t *testing.T) {
	for _, opt := range []cpu.Options{{Threads: -1}, {Kernels: "abacus"}, {Memory: "little"}, {Skip: []string{"FuseNothing"}}} {
		if _, err := cpu.New(opt); err == nil {
			t.Errorf("New(%+v) succeeds", opt)
		}
	}
	e := newEngine(t, cpu.Options{Threads: 2, Kernels: "generic"})
	if got := e.Name(); got != "cpu generic, 2 threads" {
		t.Errorf("Name is %q", got)
	}
	var names []string
	for _, s := range kernel.Usable() {
		names = append(names, s.Name)
	}
	if !slices.Contains(names, "generic") {
		t.Error("no generic kernels")
	}
}

// Convolutions that make what they read first, and data gradients: the same bits
// as where it is made before, of norms, of those of a block and its shortcut, and
// of their derivatives, with a mask and without.
func TestFuseBefore(t *testing.T) {
	p, in := trainingStep(t, model.Config{Arch: "resnet50", Exits: []int{2}, Width: 16, ImageHeight: 20, ImageWidth: 20, ImageChannels: 3}, 12)
	c := optest.Case{Program: p, Variables: map[string]engine.Tensor{}, Runs: []map[string]engine.Tensor{in, in}}
	for _, v := range p.Variables {
		c.Variables[v.Name] = engine.InitialValue(v, 1)
	}
	for _, set := range kernel.Usable() {
		x, err := newEngine(t, cpu.Options{Kernels: set.Name, Threads: 2}).Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		joined := map[string]int{}
		for _, s := range x.(*cpu.Executable).Stats().Steps {
			if s.Pass == "FuseBefore" {
				joined[s.Kind]++
			}
		}
		if joined["Conv"] < 2 || joined["ConvGradInput"] < 4 {
			t.Errorf("%s: joined are %v", set.Name, joined)
		}
		want := state(t, cpu.Options{Kernels: set.Name, Threads: 1, Skip: []string{"FuseBefore"}}, c)
		options := []cpu.Options{{}, {Memory: cpu.MemoryLeast}, {Memory: cpu.MemoryFast, NoReuse: true}, {NoOrder: true}}
		if set.Name == "generic" || raceEnabled {
			options = options[:1] // slow
		}
		for _, o := range options {
			for _, threads := range []int{1, 3} {
				o.Threads = threads
				o.Kernels = set.Name
				same(t, fmt.Sprintf("%+v", o), state(t, o, c), want, 0)
			}
		}
	}
}
