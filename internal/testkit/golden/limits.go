package golden

import "math"

// limit is the allowed relative error of a tensor's stored figures.
type limit struct {
	l2, sum, head float64
	exact         bool
}

// scale is what an error is relative to. For a float64 engine it is the figure
// itself, but no less than a millionth of the tensor's length: where a sum
// cancels to nothing (the gradients of a classifier's biases add up to 0) only
// the last roundings of its terms are left. For a float32 engine it is at least the figure's usual size in a tensor of
// that length (a sum of n numbers of random sign, one number of n), since
// rounding does not shrink where terms happen to cancel.
func (l limit) scale(want, l2, usual float64) float64 {
	if l.exact {
		return max(math.Abs(want), 1e-6*l2)
	}
	return max(math.Abs(want), l2*usual)
}

// limits of one case.
type limits struct {
	forward, gradient, evaluation limit
	loss                          func(step int) float64
}

// newLimits: a float64 engine meets tol.Exact everywhere. For a float32 engine
// the yardstick is how far PyTorch's own float32 run is from the float64 truth:
// that is one draw of the rounding errors this network amplifies, and another
// order of summation is another draw of the same size. The factor 8 covers the
// spread between draws (the yardstick is a worst case over tensors for the
// gradients, but a single figure for each loss, so a lucky one can be far too
// small: losses take the largest up to their step, and never less than
// 4 000 roundings of 2⁻²⁴ through the layers).
func newLimits(tol Tolerance, c *Case) limits {
	if tol.Exact > 0 {
		l := limit{tol.Exact, tol.Exact, tol.Exact, true}
		return limits{l, l, l, func(int) float64 { return tol.Exact }}
	}
	const spread = 8
	floor := 4000 * math.Exp2(-24)
	at := func(x float64) limit {
		x = max(spread*x, floor)
		return limit{x, x, x, false}
	}
	worst := make([]float64, c.Steps)
	for s := range worst {
		w := 0.0
		if s < len(c.Yardstick.Losses) {
			w = c.Yardstick.Losses[s]
		}
		worst[s] = w
		if s > 0 {
			worst[s] = max(w, worst[s-1])
		}
	}
	last := 0.0
	if c.Steps > 0 {
		last = worst[c.Steps-1]
	}
	return limits{
		forward:  at(0),
		gradient: at(c.Yardstick.Gradient),
		// The outputs after the last step carry the error of every step before.
		evaluation: at(max(last, c.Yardstick.Gradient)),
		loss:       func(s int) float64 { return max(spread*worst[s], floor) },
	}
}

// lossFloat32 is the allowed error of a loss and its gradient in float32: each
// logit z·z/τ is a sum of dim products of unit vectors, so off by at most
// (dim+1)·2⁻²⁴/τ, and enters through exp and log with derivative ≤ 1; the few
// sums over rows and the gradient's second product double it twice.
func lossFloat32(tau float64, dim int) float64 {
	return 4 * float64(dim+1) * math.Exp2(-24) / tau
}
