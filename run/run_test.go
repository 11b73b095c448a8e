package run

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
	"selfcon/train"
)

// small is a quick setup on real images: the first of the embedded sample.
func small(t *testing.T, change func(*config.Run)) *train.Setup {
	t.Helper()
	c := config.Quickstart()
	c.Model.Width, c.Epochs, c.Batch = 4, 3, 16
	if change != nil {
		change(&c)
	}
	s, err := train.NewSetup(c)
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

func newTrainer(t *testing.T, s *train.Setup, threads int) *train.Trainer {
	t.Helper()
	e, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	tr, err := train.NewTrainer(s, e)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// losses trains and returns every step's loss.
func losses(t *testing.T, tr *train.Trainer) []float64 {
	t.Helper()
	var out []float64
	if err := tr.Run(context.Background(), func(p train.Progress) { out = append(out, p.Loss) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// weights are all variables of a trainer, one after another.
func weights(t *testing.T, tr *train.Trainer) []float64 {
	t.Helper()
	var out []float64
	for _, v := range tr.Variables {
		x, err := tr.Engine.Read(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x.Float64s()...)
	}
	return out
}

// A run stopped anywhere and resumed ends with the bits of one that was not,
// whatever state the optimizer has.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Run)
		stops  []int // in the first epoch, at its end, in the second
	}{
		{"sgd", nil, []int{1, 4, 7}},
		{"sgd, Nesterov, average", func(r *config.Run) { r.Nesterov, r.Average = true, 0.9 }, []int{5}},
		{"lars", func(r *config.Run) { r.Optimizer, r.NoDecay = "lars", "vectors" }, []int{5}},
		{"adamw, average", func(r *config.Run) { r.Optimizer, r.Rate, r.Average = "adamw", 0.001, 0.9 }, []int{5}},
		{"micro-batches", func(r *config.Run) { r.MicroBatch, r.Average = 4, 0.9 }, []int{5}},
		{"dropout", func(r *config.Run) { r.Model.Arch, r.Model.Exits = "wrn_10_1", []int{1} }, []int{5}},
		{"drop-connect", func(r *config.Run) { r.Model.Arch, r.Model.Exits = "efficientnet", []int{1} }, []int{5}},
		{"one stage", func(r *config.Run) { r.Method, r.Average = "selfcon", 0.5 }, []int{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole := newTrainer(t, small(t, c.change), 2)
			losses(t, whole)
			want := weights(t, whole)
			for _, stop := range c.stops {
				resumes(t, c.change, stop, want)
			}
		})
	}
}

// resumes stops a run after some steps, resumes it and compares the end.
func resumes(t *testing.T, change func(*config.Run), stop int, want []float64) {
	dir := t.TempDir()
	first := newTrainer(t, small(t, change), 2)
	ctx, cancel := context.WithCancel(context.Background())
	steps := 0
	err := first.Run(ctx, func(train.Progress) {
		if steps++; steps == stop {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || steps != stop {
		t.Fatalf("stopped at %d of %d steps with %v", steps, stop, err)
	}
	m := NewManifest(first.Setup, first.Engine, "test")
	if err := Save(first, dir, m); err != nil {
		t.Fatal(err)
	}
	read, err := Open(dir)
	if err != nil || read.Done {
		t.Fatalf("manifest %+v, %v", read, err)
	}
	second := newTrainer(t, small(t, change), 1)
	if err := Resume(second, dir); err != nil {
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
	if err := Save(second, dir, m); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, StateFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run that is done still has its state: %v", err)
	}
}

// What was written after the state that a run goes on from is done again:
// neither metrics nor classifiers of it may stay.
func TestResumeDropsWhatCameAfter(t *testing.T) {
	dir := t.TempDir()
	tr := newTrainer(t, small(t, nil), 1)
	tr.Place = train.Place{Epoch: 2, Batch: 1}
	probe := filepath.Join(dir, ProbeFile)
	if err := os.WriteFile(probe, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Save(tr, dir, NewManifest(tr.Setup, tr.Engine, "test")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(probe); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("saving another model leaves the classifiers of the one before: %v", err)
	}
	for _, more := range []string{"", "{\"epoch\": 4", "\n"} {
		for epoch := range 3 {
			if err := AppendEpoch(dir, Epoch{Epoch: epoch + 1}); err != nil {
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
		if err := Resume(tr, dir); err != nil {
			t.Fatal(err)
		}
		if text, err = os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != 2 || !strings.Contains(string(text), `"epoch":2`) {
			t.Errorf("metrics of 2 epochs and then more are %q, %v", text, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := Resume(tr, dir); err != nil {
		t.Errorf("without metrics: %v", err)
	}
}

// What is loaded is what was saved: the weights, or their average.
func TestLoadModel(t *testing.T) {
	for _, c := range []struct {
		method  string
		average float64
		names   []string
	}{
		{"selfcon-s", 0, []string{"encoder.conv1.weight", "encoder.bn1.running_var", "sub_heads.0.2.bias"}},
		{"selfcon-s", 0.9, []string{"encoder.conv1.weight", "encoder.bn1.running_var", "sub_heads.0.2.bias"}},
		{"selfcon", 0.9, []string{"encoder.conv1.weight", "logit_fc.0.weight", "feat_fc.0.bias", "f_fc.bias"}},
		{"kd", 0, []string{"encoder.conv1.weight", "l_fc.weight"}},
	} {
		tr := newTrainer(t, small(t, func(r *config.Run) { r.Method, r.Average = c.method, c.average }), 2)
		losses(t, tr)
		dir := t.TempDir()
		m := NewManifest(tr.Setup, tr.Engine, "test")
		m.Done = true
		if err := Save(tr, dir, m); err != nil {
			t.Fatal(err)
		}
		e, err := cpu.New(cpu.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if _, err := LoadModel(dir, m, e); err != nil {
			t.Fatalf("%s: %v", c.method, err)
		}
		for _, name := range c.names {
			read := tr.Engine.Read
			if c.average > 0 && name != "f_fc.bias" { // that one never changes
				read = tr.Average
			}
			a, err1 := read(name)
			b, err2 := e.Read(name)
			if err1 != nil || err2 != nil || !slices.Equal(a.Float64s(), b.Float64s()) {
				t.Errorf("%s: %s is not what was saved (%v, %v)", c.method, name, err1, err2)
			}
		}
	}
}
