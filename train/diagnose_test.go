package train

import (
	"math"
	"strings"
	"testing"

	"selfcon/config"
	"selfcon/engine"
)

func diagnosisOf(t *testing.T, change func(*config.Run)) *diagnosis {
	t.Helper()
	return newDiagnosis(small(t, change))
}

// The measures of projections whose place on the sphere is known.
func TestHealth(t *testing.T) {
	d := diagnosisOf(t, nil)
	axes := func(n int, sign float64) []float64 {
		z := make([]float64, n*n)
		for i := range n {
			z[i*n+i] = sign
		}
		return z
	}
	for _, c := range []struct {
		name                   string
		z                      []float64
		dim                    int
		labels                 []int32
		rank, align, uniformty float64
	}{
		{"one point", []float64{0.6, 0.8, 0.6, 0.8, 0.6, 0.8}, 2, []int32{0, 0, 1}, 1, 0, 0},
		// Squared distances are 2.
		{"axes", axes(5, 1), 5, []int32{0, 1, 1, 0, 2}, 5, 2, -4},
		// Two points opposite each other: a pair of each kind in three, 4 apart or not.
		{"line", []float64{1, 0, -1, 0, 1, 0}, 2, []int32{0, 1, 0}, 1, 0, math.Log((1 + 2*math.Exp(-8)) / 3)},
		// σ = √2, 1: shares 0.586 and 0.414.
		{"unequal", []float64{1, 0, 1, 0, 0, 1}, 2, []int32{0, 0, 1}, math.Exp(-0.5857864*math.Log(0.5857864) - 0.4142136*math.Log(0.4142136)), 0, math.Log((1 + 2*math.Exp(-4)) / 3)},
	} {
		h := d.measure(c.z, c.dim, c.labels)
		if math.Abs(h.EffectiveRank-c.rank) > 1e-6 || math.Abs(h.Uniformity-c.uniformty) > 1e-9 || h.Alignment == nil || math.Abs(*h.Alignment-c.align) > 1e-9 {
			t.Errorf("%s: %+v, want rank %g, alignment %g, uniformity %g", c.name, h, c.rank, c.align, c.uniformty)
		}
	}
	if h := d.measure(axes(3, 1), 3, []int32{0, 1, 2}); h.Alignment != nil {
		t.Errorf("alignment %g without a positive", *h.Alignment)
	}
	if h := d.measure(make([]float64, 6), 3, []int32{0, 1}); h.EffectiveRank != 0 {
		t.Errorf("effective rank %g of zeros", h.EffectiveRank)
	}
	// Without labels the positives are the other view's.
	d = diagnosisOf(t, func(r *config.Run) { r.Method, r.Model.Exits = "simclr", nil })
	if h := d.measure([]float64{1, 0, 0, 1, 1, 0, 0, -1}, 2, []int32{0, 0}); h.Alignment == nil || *h.Alignment != 2 {
		t.Errorf("alignment of two views %+v, want (0 + 4)/2", h)
	}
}

// Each warning comes when it must, once, and says what to try.
func TestWarnings(t *testing.T) {
	place := Place{2, 7}
	d := diagnosisOf(t, func(r *config.Run) { r.Method, r.Model.Exits = "supcon-s", nil })
	if w := d.batch([]int32{0, 1, 1}, place); w != nil {
		t.Errorf("a batch with positives: %q", w)
	}
	w := d.batch([]int32{0, 1, 2}, place)
	if len(w) != 1 || !strings.Contains(w[0], "epoch 3, step 8") || !strings.Contains(w[0], "larger --batch") {
		t.Errorf("a batch without positives: %q", w)
	}
	if w := d.batch([]int32{0, 1, 2}, place); w != nil {
		t.Errorf("again: %q", w)
	}
	d = diagnosisOf(t, func(r *config.Run) { r.Method, r.Model.Exits = "supcon-s", nil })
	for i := range 60 {
		if w := d.batch([]int32{0, 0, 1, 2, 3}, place); (len(w) > 0) != (i == 49) {
			t.Errorf("batch %d of those with 3 of 5 anchors left out: %q", i, w)
		}
	}
	if w := diagnosisOf(t, nil).batch([]int32{0, 1, 2}, place); w != nil {
		t.Errorf("selfcon-s always has positives: %q", w)
	}

	d = diagnosisOf(t, nil)
	good := ExitHealth{Name: "backbone", EffectiveRank: 9, Uniformity: -2}
	p := Progress{Place: Place{d.warmup + 1, 0}, Steps: settled, MeanLoss: d.uniform, Exits: []ExitHealth{good}}
	early, before, learnt := p, p, p
	early.Steps, before.Epoch, learnt.MeanLoss = settled-1, d.warmup, 0.9*d.uniform
	for name, p := range map[string]Progress{"young": early, "warming up": before, "learning": learnt} {
		if w := d.epoch(p); w != nil {
			t.Errorf("%s: %q", name, w)
		}
	}
	if w := d.epoch(p); len(w) != 1 || !strings.Contains(w[0], "nothing is learnt; try another --lr") {
		t.Errorf("stuck: %q", w)
	}
	if w := d.epoch(p); w != nil {
		t.Errorf("stuck, again: %q", w)
	}
	for _, c := range []struct {
		bad  ExitHealth
		want string
	}{
		{ExitHealth{Name: "backbone", EffectiveRank: 1.01, Uniformity: -0.01}, "backbone lie in nearly one point"},
		{ExitHealth{Name: "sub-network 2", EffectiveRank: 1.2, Uniformity: -0.5}, "sub-network 2 lie along one line"},
	} {
		d := diagnosisOf(t, nil)
		p := learnt
		for i, h := range []ExitHealth{c.bad, good, c.bad, c.bad, c.bad} { // of two epochs in a row
			h.Name = c.bad.Name
			p.Exits = []ExitHealth{h}
			w := d.epoch(p)
			if (len(w) > 0) != (i == 3) || i == 3 && !strings.Contains(w[0], c.want) {
				t.Errorf("epoch %d of a collapse: %q", i, w)
			}
		}
	}
}

// A run tells the health of every exit at the end of every epoch, in
// micro-batches or not.
func TestProgressHealth(t *testing.T) {
	for _, micro := range []int{0, 8} {
		tr := newTrainer(t, small(t, func(r *config.Run) { r.MicroBatch, r.Epochs = micro, 2 }), 1)
		epochs := 0
		err := tr.Run(t.Context(), func(p Progress) {
			if !p.EpochDone {
				if p.Exits != nil {
					t.Errorf("health within an epoch: %+v", p.Exits)
				}
				return
			}
			epochs++
			if len(p.Exits) != 2 || p.Exits[0].Name != "sub-network 2" || p.Exits[1].Name != "backbone" {
				t.Fatalf("health of %+v, want of sub-network 2 and the backbone", p.Exits)
			}
			for _, h := range p.Exits {
				if !(h.EffectiveRank >= 1 && h.EffectiveRank <= 16) || h.Alignment == nil || !(h.Uniformity < 0 && h.Uniformity > -8) {
					t.Errorf("%+v of 16 rows", h)
				}
			}
		})
		if err != nil || epochs != 2 {
			t.Errorf("%d epochs, %v", epochs, err)
		}
	}
}

// An engine that does not watch still stops at a loss that is no number.
func TestDivergedWithoutWatcher(t *testing.T) {
	p := Progress{Loss: math.Inf(1), Rate: 0.1}
	if err := diverged(struct{ engine.Executable }{}, p, Place{}); err == nil || strings.Contains(err.Error(), "node") {
		t.Errorf("%v", err)
	}
	p.Loss = 3
	if err := diverged(struct{ engine.Executable }{}, p, Place{}); err != nil {
		t.Error(err)
	}
}
