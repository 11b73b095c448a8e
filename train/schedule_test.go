package train

import (
	"math"
	"strings"
	"testing"

	"selfcon/config"
)

// The figures were worked out from the reference's formulas by hand.
func TestSchedule(t *testing.T) {
	cosine := Schedule{Rate: 0.5, Epochs: 1000, Kind: "cosine"}
	warm := Schedule{Rate: 0.5, Epochs: 1000, Kind: "cosine", Warmup: 10, From: 0.01}
	step := Schedule{Rate: 3, Epochs: 100, Kind: "step", Milestones: []int{60, 80}}
	gentle := Schedule{Rate: 0.002, Epochs: 100, Kind: "step", Milestones: []int{60}, Warmup: 2, From: 0.002}
	constant := Schedule{Rate: 0.3, Epochs: 100, Kind: "constant", Warmup: 10, From: 0.01}
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
		{"constant, warming up", constant, 5, 0, 0.155},
		{"constant, first", constant, 10, 0, 0.3},
		{"constant, last", constant, 99, 9, 0.3},
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

func TestRate(t *testing.T) {
	c := config.Default()
	c.Rate, c.Batch, c.Epochs = 0.2, 1024, 100
	if r := NewSchedule(c).Rate; r != 0.2 {
		t.Errorf("without scaling: rate %g, want 0.2", r)
	}
	c.RateScaling = "linear"
	if r := NewSchedule(c).Rate; r != 0.8 {
		t.Errorf("batch 1024, linear scaling: rate %g, want 4 times that of 256", r)
	}
	for _, x := range []struct {
		optimizer  string
		rate, from float64
	}{{"sgd", 0.5, 0.01}, {"sgd", 0.002, 0.002}, {"lars", 0.5, 0.01}, {"adamw", 0.001, 0.00002}} {
		c := config.Default()
		c.Optimizer, c.Rate, c.Epochs = x.optimizer, x.rate, 100
		if from := NewSchedule(c).At(0, 0, 10); math.Abs(from-x.from) > 1e-15 {
			t.Errorf("%s at %g warms up from %g, want %g", x.optimizer, x.rate, from, x.from)
		}
	}
}

// The cosine is at its end in a run's last epoch, which is worth a note where that
// is much of the run.
func TestShortCosine(t *testing.T) {
	for _, x := range []struct {
		epochs   int
		schedule string
		want     string
	}{
		{1, "cosine", "all of this run trains at 0.0001, not at 0.1"}, {2, "cosine", "the second half of this run trains at 0.0001, not at 0.1"},
		{3, "cosine", ""}, {1, "constant", ""},
	} {
		s := small(t, func(c *config.Run) { c.Epochs, c.Schedule, c.WarmupEpochs = x.epochs, x.schedule, -1 })
		if got := strings.Join(s.Notes, "\n"); (x.want == "") != (got == "") || !strings.Contains(got, x.want) {
			t.Errorf("%d epochs, %s: %q, want %q", x.epochs, x.schedule, got, x.want)
		}
	}
}
