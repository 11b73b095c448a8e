package kernel

import "time"

// Peak measures the floating-point operations that one core does in a second
// when it multiplies and adds in registers only, with this set's
// instructions, for about the time d. It returns the best of many short runs,
// so that a busy machine disturbs it little.
func (s *Set) Peak(d time.Duration) float64 {
	const iters = 20000 // tens of microseconds
	best := 0.0
	for start := time.Now(); ; {
		t := time.Now()
		s.fn.peak(iters)
		if sec := time.Since(t).Seconds(); sec > 0 {
			best = max(best, float64(iters*s.fn.peakFLOP)/sec)
		}
		if time.Since(start) >= d {
			return best
		}
	}
}
