package train

import (
	"math"
	"testing"

	"selfcon/config"
)

// The figures were worked out from the reference's formulas by hand.
func TestSchedule(t *testing.T) {
	cosine := Schedule{Rate: 0.5, Epochs: 1000, Cosine: true}
	warm := Schedule{Rate: 0.5, Epochs: 1000, Cosine: true, Warmup: 10}
	step := Schedule{Rate: 3, Epochs: 100, Milestones: []int{60, 80}}
	gentle := Schedule{Rate: 0.002, Epochs: 100, Milestones: []int{60}, Warmup: 2}
	low := 0.5e-3
	at10 := low + (0.5-low)*(1+math.Cos(math.Pi*10/1000))/2
	for _, c := range []struct {
		name         string
		s            Schedule
		epoch, batch int
		want         float64
	}{
		{"cosine, first epoch", cosine, 0, 0, low + (0.5-low)*(1+math.Cos(math.Pi/1000))/2},
		{"cosine, half way", cosine, 499, 3, low + (0.5-low)/2},
		{"cosine, last epoch", cosine, 999, 9, low},
		{"warm-up, start", warm, 0, 0, 0.01},
		{"warm-up, half way", warm, 5, 0, 0.01 + 0.5*(at10-0.01)},
		{"warm-up, one step on", warm, 5, 1, 0.01 + 0.51*(at10-0.01)},
		{"warm-up, over", warm, 10, 0, low + (0.5-low)*(1+math.Cos(math.Pi*11/1000))/2},
		{"warm-up to a rate below 0.01", gentle, 0, 0, 0.002},
		{"step, before", step, 59, 0, 3},
		{"step, after the first", step, 60, 0, 0.3},
		{"step, after the second", step, 80, 0, 0.03},
	} {
		if got := c.s.At(c.epoch, c.batch, 10); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

func TestWarmupDefault(t *testing.T) {
	c := config.Default()
	c.Epochs = 100
	c.WarmupEpochs = 0
	if w := NewSchedule(c).Warmup; w != 0 {
		t.Errorf("no warm-up became %d epochs", w)
	}
	c.WarmupEpochs = -1
	c.Epochs = 300
	if w := NewSchedule(c).Warmup; w != 30 {
		t.Errorf("batch %d warms up over %d of 300 epochs, want a tenth", c.Batch, w)
	}
	c.Batch = 1024
	if w := NewSchedule(c).Warmup; w != 10 {
		t.Errorf("batch 1024 warms up over %d epochs, want 10 as the reference", w)
	}
	c.WarmupEpochs = 3
	if w := NewSchedule(c).Warmup; w != 3 {
		t.Errorf("explicit warm-up of 3 epochs became %d", w)
	}
	c.Epochs = 2
	if w := NewSchedule(c).Warmup; w != 1 {
		t.Errorf("a run of 2 epochs warms up over %d, want half of them", w)
	}
}
