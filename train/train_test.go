package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"selfcon/config"
	"selfcon/data"
	"selfcon/engine/cpu"
)

// small is a quick setup on real images: the first of the embedded sample.
func small(t *testing.T, change func(*config.Run)) *Setup {
	t.Helper()
	c := config.Quickstart()
	c.Model.Width, c.Epochs, c.Batch = 4, 3, 16
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

// weights are all variables of a trainer, one after another.
func weights(t *testing.T, tr *Trainer) []float64 {
	t.Helper()
	var out []float64
	for _, v := range tr.Program.Variables {
		x, err := tr.Engine.Read(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x.Float64s()...)
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

// A run stopped anywhere and resumed ends with the bits of one that was not.
func TestResume(t *testing.T) {
	whole := newTrainer(t, small(t, nil), 2)
	losses(t, whole)
	want := weights(t, whole)
	for _, stop := range []int{1, 4, 7} { // in the first epoch, at its end, in the second
		dir := t.TempDir()
		first := newTrainer(t, small(t, nil), 2)
		ctx, cancel := context.WithCancel(context.Background())
		steps := 0
		err := first.Run(ctx, func(Progress) {
			if steps++; steps == stop {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || steps != stop {
			t.Fatalf("stopped at %d of %d steps with %v", steps, stop, err)
		}
		m := NewManifest(first.Setup, first.Engine, "test")
		if err := first.Save(dir, m); err != nil {
			t.Fatal(err)
		}
		read, err := OpenRun(dir)
		if err != nil || read.Done {
			t.Fatalf("manifest %+v, %v", read, err)
		}
		second := newTrainer(t, small(t, nil), 1)
		if err := second.Resume(dir); err != nil {
			t.Fatal(err)
		}
		if got := second.Place.Epoch*4 + second.Place.Batch; got != stop {
			t.Fatalf("resumes after step %d, want %d", got, stop)
		}
		losses(t, second)
		if !slices.Equal(weights(t, second), want) {
			t.Errorf("stopped after step %d: the resumed run ends elsewhere", stop)
		}
		m.Done = true
		if err := second.Save(dir, m); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, StateFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a run that is done still has its state: %v", err)
		}
	}
}

// A run that is resumed on fewer images than it began with must not wait for
// batches that never come.
func TestResumeOnFewerImages(t *testing.T) {
	tr := newTrainer(t, small(t, nil), 1)
	tr.Place = Place{1, 4} // of 4 steps an epoch
	if err := tr.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "not those it began with") {
		t.Errorf("a place behind the end of the epoch: %v", err)
	}
	s := small(t, nil)
	s.Config.Batch = 71
	if _, err := NewTrainer(s, tr.Engine); err == nil || !strings.Contains(err.Error(), "more than the 70 training images") {
		t.Errorf("a batch of 71: %v", err)
	}
}

// What was written after the state that a run goes on from is done again:
// neither metrics nor classifiers of it may stay.
func TestResumeDropsWhatCameAfter(t *testing.T) {
	dir := t.TempDir()
	tr := newTrainer(t, small(t, nil), 1)
	tr.Place = Place{2, 1}
	probe := filepath.Join(dir, ProbeFile)
	if err := os.WriteFile(probe, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := tr.Save(dir, NewManifest(tr.Setup, tr.Engine, "test")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(probe); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("saving another model leaves the classifiers of the one before: %v", err)
	}
	for _, more := range []string{"", "{\"epoch\": 4", "\n"} {
		for epoch := range 3 {
			if err := AppendMetrics(dir, Progress{Place: Place{epoch + 1, 0}}); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, MetricsFile)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, more...), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := tr.Resume(dir); err != nil {
			t.Fatal(err)
		}
		if text, err = os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 2 || !strings.Contains(string(text), `"epoch":2`) {
			t.Errorf("metrics of 2 epochs and then more are %q, %v", text, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Resume(dir); err != nil {
		t.Errorf("without metrics: %v", err)
	}
}

func TestLoadModel(t *testing.T) {
	tr := newTrainer(t, small(t, nil), 2)
	losses(t, tr)
	dir := t.TempDir()
	m := NewManifest(tr.Setup, tr.Engine, "test")
	m.Done = true
	if err := tr.Save(dir, m); err != nil {
		t.Fatal(err)
	}
	e, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := LoadModel(dir, m, e); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"encoder.conv1.weight", "encoder.bn1.running_var", "sub_heads.0.2.bias"} {
		a, err1 := tr.Engine.Read(name)
		b, err2 := e.Read(name)
		if err1 != nil || err2 != nil || !slices.Equal(a.Float64s(), b.Float64s()) {
			t.Errorf("%s is not what was saved (%v, %v)", name, err1, err2)
		}
	}
}

// A loss that is no number stops the run and says what to try.
func TestDiverged(t *testing.T) {
	tr := newTrainer(t, small(t, func(r *config.Run) { r.Rate = 1e30 }), 2)
	err := tr.Run(context.Background(), nil)
	if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "smaller learning rate") {
		t.Errorf("at learning rate 1e30: %v", err)
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
