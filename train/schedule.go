package train

import (
	"math"

	"selfcon/config"
)

// Schedule gives the learning rate as a pure function of the place in the run,
// as the reference does (util.py: adjust_learning_rate, warmup_learning_rate):
// it is constant within an epoch except during warm-up, where it rises linearly
// from From step by step to what the schedule says at the end of warm-up.
type Schedule struct {
	Rate       float64 // at the start
	Epochs     int
	Kind       string  // cosine: to Rate·0.1³; step: ×0.1 after each milestone; constant
	Milestones []int   // ascending, in epochs
	Warmup     int     // epochs, at most half of all
	From       float64 // where warm-up starts
}

// The reference's constants.
const (
	decay      = 0.1
	warmupFrom = 0.01 // the reference's rates are 0.5 and the like: a fiftieth
	bigBatch   = 1024 // from here on the reference warms up; we do for smaller ones too (docs/log.md)
	bigWarmup  = 10   // epochs
)

// NewSchedule is the schedule of a configuration.
func NewSchedule(c config.Run) Schedule {
	s := Schedule{Rate: Rate(c), Epochs: c.Epochs, Kind: c.Schedule, Milestones: c.Milestones, Warmup: c.WarmupEpochs}
	s.From = min(warmupFrom, s.Rate)
	if c.Optimizer == "adamw" { // whose rates are of another size
		s.From = s.Rate / 50
	}
	if s.Warmup < 0 {
		s.Warmup = c.Epochs / 10
		if c.Batch >= bigBatch {
			s.Warmup = bigWarmup
		}
	}
	s.Warmup = min(s.Warmup, c.Epochs/2) // a short run must still train
	return s
}

// Rate is a run's learning rate, scaled to its batch where that is asked for
// (Goyal et al. 2017, arXiv 1706.02677).
func Rate(c config.Run) float64 {
	if c.RateScaling == "linear" {
		return c.Rate * float64(c.Batch) / config.ScalingBatch
	}
	return c.Rate
}

// At is the rate of step batch (from 0) of batches in an epoch (from 0).
func (s Schedule) At(epoch, batch, batches int) float64 {
	if epoch < s.Warmup {
		to := s.Rate
		if s.Kind == "cosine" {
			to = s.scheduled(s.Warmup)
		}
		p := float64(epoch*batches+batch) / float64(s.Warmup*batches)
		return s.From + p*(to-s.From)
	}
	return s.scheduled(epoch + 1)
}

// scheduled is the rate of an epoch counted from 1, as the reference counts.
func (s Schedule) scheduled(epoch int) float64 {
	if s.Kind == "cosine" {
		low := s.Rate * decay * decay * decay
		return low + (s.Rate-low)*(1+math.Cos(math.Pi*float64(epoch)/float64(s.Epochs)))/2
	}
	rate := s.Rate
	for _, m := range s.Milestones { // none: constant
		if epoch > m {
			rate *= decay
		}
	}
	return rate
}
