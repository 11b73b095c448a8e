package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/eval"
)

// A validation says what an engine of its own says about the weights, or their
// averages where the run keeps them, and the best is noted.
func TestValidation(t *testing.T) {
	for _, c := range []struct {
		method  string
		average float64
	}{{"selfcon-s", 0}, {"selfcon-s", 0.9}, {"kd", 0}, {"kd", 0.9}} {
		s := small(t, func(r *config.Run) { r.Method, r.Average, r.Epochs, r.ValidateEvery = c.method, c.average, 5, 4 })
		tr := newTrainer(t, s, 2)
		var got []*Validation
		var improved []bool
		if err := tr.Run(t.Context(), func(p Progress) {
			if p.Validation != nil {
				got, improved = append(got, p.Validation), append(improved, p.Improved)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || !improved[0] || improved[1] != (got[1].Score > got[0].Score) {
			t.Fatalf("%s: %d validations, improved %v, want one after 4 and one after 5 epochs", c.method, len(got), improved)
		}
		if best := max(got[0].Score, got[1].Score); tr.Best == nil || tr.Best.Score != best {
			t.Errorf("%s: best %+v, want %v", c.method, tr.Best, best)
		}
		n := s.Val.Len()
		step := NewStepConfig(s.Config, s.Method, len(s.Classes))
		step.Batch = n
		p, err := NewForward(s.Net, step)
		if err != nil {
			t.Fatal(err)
		}
		e, err := cpu.New(cpu.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		forward, err := e.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range p.Variables {
			from := v.Name
			if c.average > 0 {
				from = AverageName(from)
			}
			x, err := tr.Engine.Read(from)
			if err == nil {
				err = e.Write(v.Name, x)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		batches := func(ds data.Dataset) iter.Seq2[*data.Batch, error] {
			l, err := s.Loader(ds, ds.Len(), false)
			if err != nil {
				t.Fatal(err)
			}
			return l.Epoch(t.Context(), 0, 0)
		}
		want := make([]float64, 2)
		if c.method == "kd" {
			for b, err := range batches(s.Val) {
				if err != nil {
					t.Fatal(err)
				}
				out, err := forward.Run(map[string]engine.Tensor{InputImages: engine.Float32(b.Images, n, s.Net.ImageHeight, s.Net.ImageWidth, s.Net.ImageChannels)})
				if err != nil {
					t.Fatal(err)
				}
				for i := range want {
					logits := out[fmt.Sprint(OutputExit, i)].Float32s()
					for k, label := range b.Labels {
						row := logits[k*10:][:10]
						if slices.Index(row, slices.Max(row)) == int(label) {
							want[i] += 1 / float64(n)
						}
					}
				}
			}
		} else {
			take := func(ds data.Dataset) *eval.Features {
				f, err := eval.Extract(t.Context(), e, s.Net, batches(ds), ds.Len(), ds.Len(), nil)
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			table, err := eval.KNN(t.Context(), e, take(s.Train), take(s.Val), 10, eval.KNNConfig{K: 7, Temperature: 0.1}, eval.DefaultEnsemble(), nil)
			if err != nil {
				t.Fatal(err)
			}
			want[0], want[1] = table[0].Top1, table[1].Top1
		}
		for i, w := range want {
			if g := got[1].Exits[i].Top1; math.Abs(g-w) > 1e-9 {
				t.Errorf("%s, average %v, %s: %v, want %v", c.method, c.average, got[1].Exits[i].Name, g, w)
			}
		}
	}
}

// Stopped before the network was judged, an epoch is closed later, with what it
// would have been told.
func TestStoppedBeforeValidation(t *testing.T) {
	every := func(r *config.Run) { r.ValidateEvery, r.Epochs = 1, 2 }
	run := func(tr *Trainer, stop int64) (out []Progress) { // at the image after so many
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var read atomic.Int64
		tr.Setup.Train = cancelling{tr.Setup.Train, func() {
			if read.Add(1) > stop && stop > 0 {
				cancel()
			}
		}}
		if err := tr.Run(ctx, func(p Progress) {
			if p.EpochDone {
				out = append(out, p)
			}
		}); err != nil && (stop == 0 || !errors.Is(err, context.Canceled)) {
			t.Fatal(err)
		}
		return out
	}
	want := run(newTrainer(t, small(t, every), 2), 0)
	tr := newTrainer(t, small(t, every), 2)
	epoch := int64(4 * tr.Setup.Config.Batch)
	if early := run(tr, epoch); len(early) != 0 || tr.Place != (Place{0, 4}) {
		t.Fatalf("stopped within the first validation: at %v, told %v", tr.Place, early)
	}
	got := run(tr, 0)
	if len(got) != 2 {
		t.Fatalf("told of %d epochs, want 2", len(got))
	}
	for i, p := range got {
		w := want[i]
		if p.Place != w.Place || p.MeanLoss != w.MeanLoss || p.Rate != w.Rate || p.Improved != w.Improved || p.Validation.Score != w.Validation.Score ||
			len(p.Exits) != 2 || p.Exits[0].Uniformity != w.Exits[0].Uniformity || p.Exits[1].EffectiveRank != w.Exits[1].EffectiveRank {
			t.Errorf("epoch %d: %+v, want %+v", i+1, p, w)
		}
	}
}

// cancelling calls a function before each image.
type cancelling struct {
	data.Dataset
	before func()
}

func (c cancelling) Image(i int) (data.Image, error) {
	c.before()
	return c.Dataset.Image(i)
}

// A validation may cost a twentieth of the time at most, where nobody says how
// often it is made.
func TestValidateEvery(t *testing.T) {
	s := small(t, nil) // trains on 70 images, has 500 for validation
	for epochs, want := range map[int]int{1: 1, 10: 10, 100: 55, 1000: 100} {
		if got := s.validateEvery(epochs); got != want {
			t.Errorf("%d epochs: every %d, want %d", epochs, got, want)
		}
	}
}
