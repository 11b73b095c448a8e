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
		{ExitHealth{Name: "sub-network 2", EffectiveRank: 1, Uniformity: -0.01}, "sub-network 2 lie in nearly one point"},
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

// Projections of length 1 can't but lie along one line.
func TestOneDimension(t *testing.T) {
	d := diagnosisOf(t, func(r *config.Run) { r.ProjectionDim = 1 })
	p := Progress{Place: Place{d.warmup + 1, 0}, Steps: settled, MeanLoss: 0.9 * d.uniform}
	for range 3 {
		p.Exits = []ExitHealth{{Name: "backbone", EffectiveRank: 1, Uniformity: -0.7}}
		if w := d.epoch(p); w != nil {
			t.Errorf("%q", w)
		}
	}
}

// A loss that stays where it began is told of wherever that is; one that has
// fallen and moves no more, or began where others end, is not.
func TestNotFallen(t *testing.T) {
	const batches, epochs = 100, 30
	uniform := diagnosisOf(t, nil).uniform
	for name, c := range map[string]struct {
		loss func(step int) float64
		from Place // where the run goes on
		warn int   // epoch of the warning; 0: none
	}{
		"flat above uniform": {loss: func(int) float64 { return 1.1 * uniform }, warn: settled / batches},
		"flat below uniform": {loss: func(int) float64 { return 0.9 * uniform }, warn: settled / batches},
		"noise":              {loss: func(i int) float64 { return uniform * (1.1 + 0.05*math.Sin(float64(i))) }, warn: settled / batches},
		"risen":              {loss: func(i int) float64 { return uniform * (1.1 + 1e-4*float64(i)) }, warn: settled / batches},
		"fallen, then flat":  {loss: func(i int) float64 { return uniform * (0.8 + 0.3*math.Exp(-float64(i)/30)) }},
		"fallen late":        {loss: func(i int) float64 { return uniform * (1.1 - 0.2*min(1, max(0, float64(i)-400)/400)) }},
		"slow":               {loss: func(i int) float64 { return uniform * (1.1 - 1e-4*float64(i)) }},
		"converged before":   {loss: func(int) float64 { return 0.4 * uniform }},
		"goes on":            {loss: func(int) float64 { return 0.8 * uniform }, from: Place{7, 0}},
		"goes on early":      {loss: func(int) float64 { return 0.8 * uniform }, from: Place{0, 30}},
	} {
		d := diagnosisOf(t, nil)
		warned := 0
		p := Progress{Place: c.from, Batches: batches}
		for p.Epoch < epochs {
			sum, n := 0.0, 0
			for epoch := p.Epoch; p.Epoch == epoch; {
				p.Steps++
				p.Loss = c.loss(p.Steps)
				sum, n = sum+p.Loss, n+1
				if p.Batch++; p.Batch == batches {
					p.Epoch, p.Batch = p.Epoch+1, 0
				}
				d.step(p)
			}
			p.MeanLoss = sum / float64(n)
			for _, w := range d.epoch(p) {
				if warned != 0 || !strings.Contains(w, "has not fallen since the run began") || !strings.Contains(w, "try a larger --lr") {
					t.Errorf("%s, epoch %d: %q", name, p.Epoch, w)
				}
				warned = p.Epoch
			}
		}
		if warned != c.warn {
			t.Errorf("%s: warned in epoch %d, want %d", name, warned, c.warn)
		}
	}
}

// A run passes on what its diagnosis says, each thing once, when it is known.
func TestTrainerWarns(t *testing.T) {
	for want, change := range map[string]func(*config.Run){
		"it teaches nothing":            func(r *config.Run) { r.Method, r.Model.Exits, r.Epochs = "supcon-s", nil, 1 },
		"the loss has not fallen since": func(r *config.Run) { r.Method, r.Model.Exits = "ce", nil },
	} {
		tr := newTrainer(t, small(t, func(r *config.Run) { // too small a rate to learn anything
			r.Model.Width, r.Image, r.Batch, r.Epochs, r.Rate, r.WarmupEpochs = 1, 8, 2, settled/35+2, 1e-12, 0
			change(r)
		}), 1)
		times := 0
		err := tr.Run(t.Context(), func(p Progress) {
			for _, w := range p.Warnings {
				if !strings.Contains(w, want) {
					continue
				}
				times++
				if !strings.HasPrefix(want, "it ") && (!p.EpochDone || p.Steps < settled) {
					t.Errorf("after step %d: %q", p.Steps, w)
				}
			}
		})
		if err != nil || times != 1 {
			t.Errorf("%d times %q, %v", times, want, err)
		}
	}
}

// A run tells the health of every exit at the end of every epoch, in
// micro-batches or not, also where classifiers are trained with it.
func TestProgressHealth(t *testing.T) {
	for _, c := range []struct {
		method string
		micro  int
	}{{"selfcon-s", 0}, {"selfcon-s", 8}, {"selfcon", 0}, {"selfcon", 8}} {
		tr := newTrainer(t, small(t, func(r *config.Run) { r.Method, r.MicroBatch, r.Epochs = c.method, c.micro, 2 }), 1)
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
