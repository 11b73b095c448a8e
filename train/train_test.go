package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

// small is a quick setup on real images: the first of the embedded sample.
func small(t *testing.T, change func(*config.Run)) *Setup {
	t.Helper()
	c := config.Quickstart()
	c.Optimizer, c.Rate, c.WeightDecay = "sgd", 0.1, 1e-4
	c.Model.Width, c.Epochs, c.Batch, c.ValidateEvery = 4, 3, 16, 0
	if change != nil {
		change(&c)
	}
	s, err := NewSetup(c)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]int, 70) // 4 full batches of 16 and a rest
	for i := range first {
		first[i] = i
	}
	s.Train = data.Subset(s.Train, first)
	return s
}

func newTrainer(t *testing.T, s *Setup, threads int) *Trainer {
	t.Helper()
	e, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	tr, err := NewTrainer(s, e)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// losses trains and returns every step's loss.
func losses(t *testing.T, tr *Trainer) []float64 {
	t.Helper()
	var out []float64
	if err := tr.Run(context.Background(), func(p Progress) { out = append(out, p.Loss) }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSameBitsForAnyThreadsAndWorkers(t *testing.T) {
	for _, method := range []string{"selfcon-s", "supcon", "ce"} {
		var want []float64
		for _, c := range []struct{ threads, workers int }{{1, 1}, {2, 1}, {2, 4}, {3, 2}} {
			s := small(t, func(r *config.Run) {
				r.Workers, r.Method = c.workers, method
				if method != "selfcon-s" {
					r.Model.Exits = nil
				}
			})
			got := losses(t, newTrainer(t, s, c.threads))
			if len(got) != 12 {
				t.Fatalf("%s: %d steps, want 3 epochs of 4", method, len(got))
			}
			if want == nil {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: %d threads, %d workers: losses %v, want %v", method, c.threads, c.workers, got, want)
			}
		}
	}
}

func TestSeedMatters(t *testing.T) {
	a := losses(t, newTrainer(t, small(t, nil), 2))
	b := losses(t, newTrainer(t, small(t, func(r *config.Run) { r.Seed = 2 }), 2))
	if a[0] == b[0] {
		t.Errorf("seeds 1 and 2 both start at loss %v", a[0])
	}
}

// A run that is resumed on fewer images than it began with must not wait for
// batches that never come.
func TestResumeOnFewerImages(t *testing.T) {
	tr := newTrainer(t, small(t, nil), 1)
	tr.Place = Place{1, 5} // of 4 steps an epoch
	if err := tr.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "not those it began with") {
		t.Errorf("a place behind the end of the epoch: %v", err)
	}
	s := small(t, nil)
	s.Config.Batch = 71
	if _, err := NewTrainer(s, tr.Engine); err == nil || !strings.Contains(err.Error(), "more than the 70 training images") {
		t.Errorf("a batch of 71: %v", err)
	}
}

// The average begins at the first weights and follows the weights step by
// step: after two steps it is k²·w0 + k·(1−k)·w1 + (1−k)·w2.
func TestAverage(t *testing.T) {
	const keep = 0.75
	tr := newTrainer(t, small(t, func(r *config.Run) { r.Average = keep }), 1)
	for _, name := range []string{"encoder.conv1.weight", "encoder.layer1.0.bn1.running_mean"} {
		var w [][]float64
		read := func(name string) []float64 {
			x, err := tr.Engine.Read(name)
			if err != nil {
				t.Fatal(err)
			}
			return slices.Clone(x.Float64s())
		}
		w = append(w, read(name))
		if name == "encoder.conv1.weight" && !slices.Equal(read(slotAverage+name), w[0]) {
			t.Fatalf("the average of %s does not begin with the first weights", name)
		}
		start := read(slotAverage + name)
		ctx, cancel := context.WithCancel(t.Context())
		if err := tr.Run(ctx, func(p Progress) {
			if w = append(w, read(name)); len(w) == 3 {
				cancel()
			}
		}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for i, got := range read(slotAverage + name) {
			want := keep*keep*start[i] + keep*(1-keep)*w[1][i] + (1-keep)*w[2][i]
			if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
				t.Fatalf("average of %s: %g at %d, want %g", name, got, i, want)
			}
		}
	}
}

// Vectors are left out of weight decay where that is asked for, of every
// optimizer, and decay otherwise: with no gradient but decay the weights
// would shrink.
func TestNoDecay(t *testing.T) {
	for _, kind := range []string{"sgd", "lars", "adamw"} {
		for _, skip := range []bool{false, true} {
			g := graph.New()
			var params, grads []*graph.Value
			for name, shape := range map[string]graph.Shape{"vector": {3}, "matrix": {3, 2}} {
				params = append(params, g.Variable(graph.Variable{Name: name, Trainable: true, Type: graph.Type{Shape: shape}, Init: graph.Init{Kind: graph.Constant1}}))
				grads = append(grads, g.Apply("no gradient of "+name, graph.Fill{Shape: shape})[0])
			}
			o := Optimizer{Kind: kind, WeightDecay: 0.5, Trust: 1, SkipVectors: skip}
			o.add(g, params, grads, g.Constant("lr", 0.1))
			p, err := g.Build()
			if err != nil {
				t.Fatal(err)
			}
			e := oracle.New()
			exec, err := e.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := engine.Initialize(e, p, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := exec.Run(nil); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]bool{"vector": skip, "matrix": false} {
				v, err := e.Read(name)
				if err != nil {
					t.Fatal(err)
				}
				if same := v.Float64s()[0] == 1; same != want {
					t.Errorf("%s, skip %t: %s is %g after a step without a gradient", kind, skip, name, v.Float64s()[0])
				}
			}
		}
	}
}

// Numbers that are not finite stop the run, which says where and when and what
// to try.
func TestDiverged(t *testing.T) {
	for _, micro := range []int{0, 4} {
		tr := newTrainer(t, small(t, func(r *config.Run) { r.Rate, r.MicroBatch = 1e30, micro }), 2)
		steps := 0
		err := tr.Run(context.Background(), func(Progress) { steps++ })
		if !errors.Is(err, ErrDiverged) {
			t.Fatalf("at learning rate 1e30: %v", err)
		}
		for _, want := range []string{"smaller learning rate", "epoch 1, step ", "at learning rate", "node encoder."} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("at learning rate 1e30: %v, want %q", err, want)
			}
		}
	}
}

// What the last update of an epoch did to the weights is found before anybody
// is told of the epoch, let alone saves it: no later loss would tell.
func TestDivergedInTheLastStep(t *testing.T) {
	for name, change := range map[string]func(*config.Run){
		"plain":            func(*config.Run) {},
		"validation":       func(r *config.Run) { r.ValidateEvery = 1 },
		"micro-batches":    func(r *config.Run) { r.MicroBatch = 4 },
		"average":          func(r *config.Run) { r.Average = 0.9 },
		"not in the first": func(r *config.Run) { r.Epochs, r.WarmupEpochs = 2, 1 },
	} {
		s := small(t, func(r *config.Run) {
			r.Rate, r.Epochs, r.Batch, r.WarmupEpochs, r.HeadRate = 1e38, 1, 64, 0, 1e38 // 64 of 70 images: an epoch is a step
			change(r)
		})
		tr := newTrainer(t, s, 2)
		told := 0
		err := tr.Run(t.Context(), func(Progress) { told++ })
		if !errors.Is(err, ErrDiverged) || told != s.Config.Epochs-1 {
			t.Fatalf("%s: told of %d epochs, %v", name, told, err)
		}
		for _, want := range []string{"try a smaller learning rate", fmt.Sprintf("after epoch %d", s.Config.Epochs)} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	for _, method := range []string{"selfcon-s", "subnet_ce"} {
		for _, every := range []int{0, 1} { // weights that are finite, of a network whose features are not
			tr := newTrainer(t, small(t, func(r *config.Run) {
				r.Method, r.Rate, r.Epochs, r.Batch, r.WarmupEpochs, r.ValidateEvery = method, 1e8, 1, 64, 0, every
			}), 2)
			if err := tr.Run(t.Context(), nil); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "after epoch 1: ") || tr.Finite() != nil {
				t.Errorf("%s: %v, %v", method, err, tr.Finite())
			}
		}
	}
	tr := newTrainer(t, small(t, nil), 2)
	losses(t, tr)
	if err := tr.Finite(); err != nil {
		t.Error(err)
	}
	v := tr.Variables[0]
	x, err := tr.Engine.Read(v.Name)
	if err != nil {
		t.Fatal(err)
	}
	x.Float32s()[0] = float32(math.Inf(-1))
	if err := tr.Engine.Write(v.Name, x); err != nil {
		t.Fatal(err)
	}
	if err := tr.Finite(); !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), v.Name+" after epoch 3, step 4, at learning rate") {
		t.Error(err)
	}
}

func TestStepErrors(t *testing.T) {
	s := small(t, nil)
	ce, err := config.Run{Method: "ce"}.LossMethod()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  StepConfig
		want string
	}{
		{"no batch", StepConfig{Method: s.Method}, "batch 0"},
		{"exits without a gradient", StepConfig{Method: ce, Batch: 2, Classes: 10}, "leave the exits out"},
	} {
		if _, err := NewStep(s.Net, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// TestHeadRate: after one step heads have moved by their own rate, the encoder by
// its own.
func TestHeadRate(t *testing.T) {
	moved := func(head float64) map[string]float64 {
		s := small(t, func(c *config.Run) {
			c.Rate, c.HeadRate, c.Momentum, c.WeightDecay, c.WarmupEpochs = 0.5, head, 0, 0, 0
		})
		tr := newTrainer(t, s, 1)
		read := func(name string) []float64 {
			x, err := tr.Engine.Read(name)
			if err != nil {
				t.Fatal(err)
			}
			return x.Float64s()
		}
		out := map[string]float64{}
		for _, v := range tr.Variables {
			if v.Trainable {
				out[v.Name] = -read(v.Name)[0]
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		if err := tr.Run(ctx, func(Progress) { stop() }); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for name := range out {
			out[name] += read(name)[0]
		}
		return out
	}
	plain, heads := moved(0), moved(2)
	n := 0
	for name, d := range plain {
		want := d
		if !strings.HasPrefix(name, "encoder.") {
			want = 4 * d // 2 / 0.5
			n++
		}
		if math.Abs(heads[name]-want) > 1e-6+1e-4*math.Abs(want) {
			t.Errorf("%s moved by %g, want %g", name, heads[name], want)
		}
	}
	if n != 8 { // two exits, two layers with weight and bias each
		t.Errorf("%d variables of heads", n)
	}
}
