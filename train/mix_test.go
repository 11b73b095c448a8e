package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"selfcon/augment"
	"selfcon/config"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

// mixing changes a run to one that mixes and smooths.
func mixing(method string) func(*config.Run) {
	return func(r *config.Run) {
		r.Method, r.Mixup, r.CutMix, r.LabelSmoothing = method, 0.4, 1, 0.1
		if method == "ce" {
			r.Model.Exits = nil
		}
	}
}

// trained are the losses and the shares of hits of a run, and its variables at the end.
func trained(t *testing.T, tr *Trainer) (steps []float64, values map[string][]float64) {
	t.Helper()
	if err := tr.Run(t.Context(), func(p Progress) { steps = append(steps, p.Loss, *p.Top1) }); err != nil {
		t.Fatal(err)
	}
	return steps, variables(t, tr)
}

func variables(t *testing.T, tr *Trainer) map[string][]float64 {
	t.Helper()
	out := map[string][]float64{}
	for _, v := range tr.Variables {
		x, err := tr.Engine.Read(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		out[v.Name] = slices.Clone(x.Float64s())
	}
	return out
}

// A run that mixes has the same bits whatever the threads and workers, and after
// each step at which it is stopped; another seed mixes otherwise.
func TestMixingIsDeterministic(t *testing.T) {
	for _, method := range []string{"ce", "subnet_ce", "kd"} {
		change := mixing(method)
		steps, values := trained(t, newTrainer(t, small(t, change), 1))
		again := func(name string, got []float64, now map[string][]float64) {
			t.Helper()
			if !slices.Equal(got, steps) {
				t.Errorf("%s, %s: losses and hits %v, want %v", method, name, got, steps)
			}
			sameValues(t, method+", "+name, now, values, 0)
		}
		got, now := trained(t, newTrainer(t, small(t, func(r *config.Run) { change(r); r.Workers = 3 }), 2))
		again("2 threads and 3 workers", got, now)
		for _, stop := range []int{1, 6} { // of 3 epochs of 4 steps
			tr := newTrainer(t, small(t, change), 2)
			ctx, cancel := context.WithCancel(t.Context())
			var got []float64
			if err := tr.Run(ctx, func(p Progress) {
				if got = append(got, p.Loss, *p.Top1); len(got) == 2*stop {
					cancel()
				}
			}); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			next := newTrainer(t, small(t, change), 1)
			next.State = tr.State
			for _, v := range tr.Variables {
				x, err := tr.Engine.Read(v.Name)
				if err == nil {
					err = next.Engine.Write(v.Name, x)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			rest, now := trained(t, next)
			again(fmt.Sprintf("stopped after step %d", stop), append(got, rest...), now)
		}
	}
	s := small(t, mixing("ce"))
	seen := map[augment.Mix]bool{}
	for seed := range uint64(3) {
		s.Config.Seed = seed
		for epoch := range 3 {
			for batch := range 3 {
				m := s.Mix(Place{epoch, batch})
				if m != s.Mix(Place{epoch, batch}) {
					t.Error("the same place is mixed in two ways")
				}
				seen[m] = true
			}
		}
	}
	if len(seen) != 27 {
		t.Errorf("27 seeds, epochs and batches are mixed in %d ways", len(seen))
	}
}

// TestMixedStep makes a run's first steps by hand, in float64: the loader's images
// mixed, the labels mixed and smoothed, and one program.
func TestMixedStep(t *testing.T) {
	s := small(t, mixing("subnet_ce"))
	s.Config.Average = 0
	tr := newTrainer(t, s, 2)
	var got []float64
	var share []float64
	ctx, cancel := context.WithCancel(t.Context())
	if err := tr.Run(ctx, func(p Progress) {
		got, share = append(got, p.Loss), append(share, *p.Top1)
		if len(got) == 3 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	c := NewStepConfig(s.Config, s.Method, len(s.Classes))
	c.Heads = true
	e := oracle.New()
	step, _, err := CompileStep(e, s.Net, c, 0, s.Config.Seed)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := s.Loader(s.Train, c.Batch, true)
	if err != nil {
		t.Fatal(err)
	}
	schedule := NewSchedule(s.Config)
	classes, n, size := len(s.Classes), c.Batch, s.Net.ImageHeight*s.Net.ImageWidth*s.Net.ImageChannels
	right := 0.0
	i := 0
	for b, err := range loader.Epoch(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		mix := s.Mix(Place{0, i})
		before := slices.Clone(b.Images)
		mix.Apply(b.Images, n, s.Net.ImageHeight, s.Net.ImageWidth, s.Net.ImageChannels)
		if slices.Equal(before[:size], b.Images[:size]) {
			t.Errorf("step %d is not mixed: %+v", i, mix)
		}
		targets := make([]float64, n*classes)
		for k := range n {
			targets[k*classes+int(b.Labels[k])] += 0.9 * mix.Lambda
			targets[k*classes+int(b.Labels[(k+n-1)%n])] += 0.9 * (1 - mix.Lambda)
			for j := range classes {
				targets[k*classes+j] += 0.1 / float64(classes)
			}
		}
		out, err := step.Run(map[string]engine.Tensor{
			InputImages: engine.Float32(b.Images, n, s.Net.ImageHeight, s.Net.ImageWidth, s.Net.ImageChannels),
			InputLabels: {Shape: graph.Shape{n, classes}, Data: targets},
			InputRate:   engine.Scalar(schedule.At(0, i, tr.Batches())),
		})
		if err != nil {
			t.Fatal(err)
		}
		// Two steps on float32's roundings of 2⁻²⁴, amplified by a network of 18 layers.
		if want := out[OutputLoss].Item(); math.Abs(got[i]-want) > 1e-4*want {
			t.Errorf("step %d: loss %.9g, want %.9g", i, got[i], want)
		}
		main := out[fmt.Sprint(OutputExit, 1)].Float64s()
		for k := range n {
			row := main[k*classes : (k+1)*classes]
			best := slices.Index(row, slices.Max(row))
			right += (targets[k*classes+best] - 0.1/float64(classes)) / 0.9
		}
		if want := right / float64((i+1)*n); math.Abs(share[i]-want) > 1e-9 {
			t.Errorf("step %d: training accuracy %g, want %g", i, share[i], want)
		}
		if i++; i == 3 {
			break
		}
	}
}

// A step in micro-batches is that of the whole batch with soft targets as well.
func TestSoftMicroBatches(t *testing.T) {
	net, cfg := microNetwork(t, "vgg13", []int{2}), stepOf(t, "kd", 0, 6)
	cfg.Soft = true
	_, want := twoSteps(t, oracle.New(), net, cfg, 0)
	for _, micro := range []int{2, 3} {
		_, got := twoSteps(t, oracle.New(), net, cfg, micro)
		sameValues(t, fmt.Sprint("micro-batches of ", micro), got, want, 1e-9)
	}
	e, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, got := twoSteps(t, e, net, cfg, 3)
	sameValues(t, "cpu", got, want, 1e-3)
	cfg.Method.Terms = stepOf(t, "selfcon", 0, 6).Method.Terms
	if _, err := NewStep(net, cfg); err == nil || !strings.Contains(err.Error(), "can't take soft targets") {
		t.Errorf("soft targets of a contrast: %v", err)
	}
}

func TestHits(t *testing.T) {
	logits := engine.Float32([]float32{
		0, 1, 0, // class 1
		2, 1, 0, // 0
		0, 1, 3, // 2
	}, 3, 3)
	for _, c := range []struct {
		mix    augment.Mix
		labels []int32
		want   float64
	}{
		{augment.Mix{Lambda: 1}, []int32{1, 0, 0}, 2},
		{augment.Mix{Lambda: 0.75}, []int32{1, 0, 0}, 0.75 + 0.75},
		{augment.Mix{Lambda: 0.75}, []int32{0, 1, 2}, 0 + 0.25 + 0.75},
		{augment.Mix{Lambda: 0.75}, []int32{2, 0, 1}, 0.25 + 0.75 + 0},
		{augment.Mix{Lambda: 0.75}, []int32{1, 1, 1}, 1},
	} {
		if got := hits(logits, c.labels, c.mix); got != c.want {
			t.Errorf("%+v, labels %v: %g hits, want %g", c.mix, c.labels, got, c.want)
		}
	}
}
