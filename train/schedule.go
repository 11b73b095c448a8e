package train

import (
	"math"

	"selfcon/config"
)

// Schedule gives the learning rate as a pure function of the place in the run,
// as the reference does (util.py: adjust_learning_rate, warmup_learning_rate):
// it is constant within an epoch except during warm-up, where it rises linearly
// from 0.01, or from Rate if that is smaller, step by step to what the schedule
// says at the end of warm-up.
type Schedule struct {
	Rate       float64 // at the start
	Epochs     int
	Cosine     bool  // to Rate·0.1³; otherwise ×0.1 after each milestone
	Milestones []int // ascending, in epochs
	Warmup     int   // epochs, at most half of all
}

// The reference's constants.
const (
	decay      = 0.1
	warmupFrom = 0.01
	bigBatch   = 1024 // from here on the reference warms up; we do for smaller ones too (docs/log.md)
	bigWarmup  = 10   // epochs
)

// NewSchedule is the schedule of a configuration.
func NewSchedule(c config.Run) Schedule {
	s := Schedule{Rate: c.Rate, Epochs: c.Epochs, Cosine: c.Schedule == "cosine", Milestones: c.Milestones, Warmup: c.WarmupEpochs}
	if s.Warmup < 0 {
		s.Warmup = c.Epochs / 10
		if c.Batch >= bigBatch {
			s.Warmup = bigWarmup
		}
	}
	s.Warmup = min(s.Warmup, c.Epochs/2) // a short run must still train
	return s
}

// At is the rate of step batch (from 0) of batches in an epoch (from 0).
func (s Schedule) At(epoch, batch, batches int) float64 {
	if epoch < s.Warmup {
		to := s.Rate
		if s.Cosine {
			to = s.scheduled(s.Warmup)
		}
		from := min(warmupFrom, s.Rate)
		p := float64(epoch*batches+batch) / float64(s.Warmup*batches)
		return from + p*(to-from)
	}
	return s.scheduled(epoch + 1)
}

// scheduled is the rate of an epoch counted from 1, as the reference counts.
func (s Schedule) scheduled(epoch int) float64 {
	if s.Cosine {
		low := s.Rate * decay * decay * decay
		return low + (s.Rate-low)*(1+math.Cos(math.Pi*float64(epoch)/float64(s.Epochs)))/2
	}
	rate := s.Rate
	for _, m := range s.Milestones {
		if epoch > m {
			rate *= decay
		}
	}
	return rate
}
