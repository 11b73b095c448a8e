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
// one draw of the rounding errors that this network amplifies. Another order of
// summation is another draw of the same kind.
//
//   - spread is what one draw may exceed another by. (Measured, our worst norm of
//     a gradient is 0.1 to 6 times as far off as PyTorch's.)
//   - The yardstick of the gradients is about norms, where errors of elements
//     cancel; single elements and sums stray further, by single. (Measured, with
//     assembly and plain Go alike: 2 to 4 times.)
//   - floor is for figures that PyTorch happened to hit: 256 roundings through the
//     layers. After an update the losses carry the gradients' error as well.
func newLimits(tol Tolerance, c *Case) limits {
	if tol.Exact > 0 {
		l := limit{tol.Exact, tol.Exact, tol.Exact, true}
		return limits{l, l, l, func(int) float64 { return tol.Exact }}
	}
	const spread, single = 8, 4
	floor := math.Exp2(8 - 24)
	worst := 0.0 // of the losses, up to each step
	upTo := make([]float64, c.Steps)
	for s := range upTo {
		if s < len(c.Yardstick.Losses) {
			worst = max(worst, c.Yardstick.Losses[s])
		}
		upTo[s] = worst
	}
	at := func(yardstick float64) limit {
		norm := max(spread*yardstick, floor)
		return limit{norm, single * norm, single * norm, false}
	}
	return limits{
		forward:    at(upTo[0]),
		gradient:   at(c.Yardstick.Gradient),
		evaluation: at(max(worst, c.Yardstick.Gradient)),
		loss: func(s int) float64 {
			if s == 0 {
				return at(upTo[0]).l2
			}
			return at(max(upTo[s], c.Yardstick.Gradient)).l2
		},
	}
}

// lossFloat32 is the allowed error of a loss and its gradient in float32: each
// logit z·z/τ is a sum of dim products of unit vectors, so off by at most
// (dim+1)·2⁻²⁴/τ, and enters through exp and log with derivative ≤ 1; the few
// sums over rows and the gradient's second product double it twice.
func lossFloat32(tau float64, dim int) float64 {
	return 4 * float64(dim+1) * math.Exp2(-24) / tau
}
