package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"selfcon/augment"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/oracle"
	"selfcon/graph"
	"selfcon/loss"
	"selfcon/model"
)

// twoSteps trains two steps on an engine and gives the losses and the
// variables, by name, but for sums of gradients. micro 0: the whole batch.
func twoSteps(t *testing.T, e engine.Engine, net *model.Network, c StepConfig, micro int) ([]float64, map[string][]float64) {
	t.Helper()
	var step engine.Executable
	var programs []*graph.Program
	if micro == 0 {
		p, err := NewStep(net, c)
		if err != nil {
			t.Fatal(err)
		}
		programs = []*graph.Program{p}
		if step, err = e.Compile(p); err != nil {
			t.Fatal(err)
		}
	} else {
		var err error
		if step, programs, err = compileMicro(e, net, c, micro); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range programs {
		if err := engine.Initialize(e, p, 1); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	shape := graph.Shape{c.Method.Views * c.Batch, net.ImageHeight, net.ImageWidth, net.ImageChannels}
	var losses []float64
	for range 2 {
		images, labels := make([]float32, shape.Size()), make([]int32, c.Batch)
		for i := range images {
			images[i] = float32(r.NormFloat64())
		}
		for i := range labels {
			labels[i] = r.Int32N(3)
		}
		given := engine.Int32(labels, c.Batch)
		if c.Soft {
			targets := make([]float32, c.Batch*c.Classes)
			augment.Mix{Lambda: 0.7}.Targets(targets, labels, c.Classes, 0.1)
			given = engine.Float32(targets, c.Batch, c.Classes)
		}
		out, err := step.Run(map[string]engine.Tensor{
			InputImages: {Shape: shape, Data: images}, InputLabels: given, InputRate: engine.Scalar(0.1),
		})
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, out[OutputLoss].Item())
	}
	values := map[string][]float64{}
	for _, p := range programs {
		for _, v := range p.Variables {
			x, err := e.Read(v.Name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(v.Name, slotSum) {
				values[v.Name] = slices.Clone(x.Float64s())
				continue
			}
			if slices.ContainsFunc(x.Float64s(), func(v float64) bool { return v != 0 }) {
				t.Errorf("%s is not zero between steps", v.Name)
			}
		}
	}
	return losses, values
}

func microNetwork(t *testing.T, arch string, exits []int) *model.Network {
	t.Helper()
	side := 16
	var dropout *float64
	if strings.HasPrefix(arch, "vgg") {
		side, dropout = 32, new(float64) // which its poolings need; none
	}
	net, err := model.New(model.Config{Arch: arch, Dropout: dropout, Stem: model.SmallStem, Exits: exits, Width: 4, ImageHeight: side, ImageWidth: side, ImageChannels: 3})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

func stepOf(t *testing.T, method string, alpha float64, batch int) StepConfig {
	t.Helper()
	m, err := loss.Parse(method)
	if err == nil && alpha > 0 {
		m, err = m.WithAlpha(alpha)
	}
	if err != nil {
		t.Fatal(err)
	}
	return StepConfig{
		Method: m, Temperatures: loss.Temperatures{Tau: 0.1, Base: 0.07}, Dim: 8, Classes: 3, Batch: batch,
		Optimizer: Optimizer{Momentum: 0.9, WeightDecay: 1e-3, Average: 0.9},
	}
}

func sameValues(t *testing.T, name string, got, want map[string][]float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d variables, want %d", name, len(got), len(want))
	}
	for v, w := range want {
		if len(got[v]) != len(w) {
			t.Errorf("%s: %s has %d elements, want %d", name, v, len(got[v]), len(w))
			continue
		}
		largest, worst := 0.0, 0.0
		for i := range w {
			largest, worst = max(largest, math.Abs(w[i])), max(worst, math.Abs(got[v][i]-w[i]))
		}
		if !(worst <= tolerance*largest) {
			t.Errorf("%s: %s is off by %.3g of %.3g", name, v, worst, largest)
		}
	}
}

// Without batch norm a step in micro-batches is that of the whole batch, for
// every kind of objective, up to rounding: in float64 some 1e-15, amplified by
// the network and two steps; in float32 2⁻²⁴ likewise.
func TestMicroBatches(t *testing.T) {
	for _, c := range []struct {
		method string
		alpha  float64
		exits  []int
	}{
		{"selfcon-s", 0, []int{1, 3}}, {"selfcon-m", 0, []int{2}}, {"selfcon-mu", 0.5, []int{2}}, {"supcon", 0, nil}, {"simclr", 0, nil},
		{"ce", 0, nil}, {"kd", 0, []int{2}}, {"selfcon", 0, []int{2, 3}},
	} {
		net := microNetwork(t, "vgg13", c.exits)
		cfg := stepOf(t, c.method, c.alpha, 6)
		wantLosses, want := twoSteps(t, oracle.New(), net, cfg, 0)
		for _, micro := range []int{1, 2, 3, 6} {
			name := fmt.Sprintf("%s in micro-batches of %d", cfg.Method.Name, micro)
			losses, got := twoSteps(t, oracle.New(), net, cfg, micro)
			for i, l := range losses {
				if !(math.Abs(l-wantLosses[i]) <= 1e-11*wantLosses[i]) {
					t.Errorf("%s: loss %.15g in step %d, want %.15g", name, l, i, wantLosses[i])
				}
			}
			sameValues(t, name, got, want, 1e-9)
		}
	}
}

func TestMicroBatchesCPU(t *testing.T) {
	open := func() engine.Engine {
		e, err := cpu.New(cpu.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		return e
	}
	net, cfg := microNetwork(t, "vgg13", []int{2}), stepOf(t, "selfcon-m", 0, 6)
	_, want := twoSteps(t, open(), net, cfg, 0)
	_, got := twoSteps(t, open(), net, cfg, 2)
	sameValues(t, "cpu", got, want, 1e-4)
}

// With batch norm and dropout, micro-batches as large as the batch are the
// batch: running statistics move once, and both passes drop the same.
func TestMicroBatchOfAll(t *testing.T) {
	for _, arch := range []string{"resnet18", "wrn_10_1"} {
		net, cfg := microNetwork(t, arch, []int{1}), stepOf(t, "selfcon-s", 0, 4)
		_, want := twoSteps(t, oracle.New(), net, cfg, 0)
		_, got := twoSteps(t, oracle.New(), net, cfg, 4)
		sameValues(t, arch, got, want, 1e-9)
	}
}

func TestMicroErrors(t *testing.T) {
	net := microNetwork(t, "resnet18", []int{2})
	for _, c := range []struct {
		batch, micro int
		want         string
	}{{6, 4, "must be a multiple"}, {6, 0, "must be a multiple"}, {0, 1, "batch 0"}} {
		if _, _, err := compileMicro(oracle.New(), net, stepOf(t, "selfcon-s", 0, c.batch), c.micro); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("batch %d in %d: %v, want %q", c.batch, c.micro, err, c.want)
		}
	}
	// A step that fails leaves no sums of gradients behind. (Here it fails before
	// there are any: some are put there.)
	e := oracle.New()
	cfg := stepOf(t, "kd", 0, 4)
	step, programs, err := compileMicro(e, net, cfg, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if err := engine.Initialize(e, p, 1); err != nil {
			t.Fatal(err)
		}
	}
	in := map[string]engine.Tensor{
		InputImages: engine.Float32(make([]float32, 4*16*16*3), 4, 16, 16, 3), InputLabels: engine.Int32([]int32{0, 1, 2, 3}, 4), InputRate: engine.Scalar(0.1),
	}
	sum := programs[3].Variables[slices.IndexFunc(programs[3].Variables, func(v *graph.Variable) bool { return strings.HasPrefix(v.Name, slotSum) })]
	if err := e.Write(sum.Name, engine.Tensor{Shape: sum.Shape, Data: slices.Repeat([]float64{1}, sum.Shape.Size())}); err != nil {
		t.Fatal(err)
	}
	if _, err := step.Run(in); err == nil || !strings.Contains(err.Error(), "label 3") {
		t.Errorf("label 3 of 3 classes: %v", err)
	}
	for _, v := range programs[3].Variables {
		if x, err := e.Read(v.Name); strings.HasPrefix(v.Name, slotSum) && (err != nil || slices.Max(x.Float64s()) != 0) {
			t.Errorf("%s is left behind by a step that failed (%v)", v.Name, err)
		}
	}
}
