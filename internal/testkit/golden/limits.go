package golden

import "math"

// limit is the allowed relative error of a tensor's stored figures.
type limit struct {
	l2, sum, head float64
	exact         bool
}

// scale is what an error is relative to. For a float64 engine it is the figure
// itself, but no less than a millionth of the tensor's length, or of a sum's
// usual size: where a sum cancels to nothing (the gradients of a classifier add
// up to 0 over the classes) only the last roundings of its terms are left. For a
// float32 engine it is at least the figure's usual size in a tensor of that
// length (a sum of n numbers of random sign, one number of n), since rounding
// does not shrink where terms happen to cancel.
func (l limit) scale(want, l2, usual float64) float64 {
	if l.exact {
		return max(math.Abs(want), 1e-6*l2*max(1, usual))
	}
	return max(math.Abs(want), l2*usual)
}

// limits of one case.
type limits struct {
	forward    limit
	gradient   func(parameter string) limit
	evaluation func(exit int) limit
	loss       func(step int) float64
	largest    float64 // norm of the stored gradients
	noise      float64 // what norm may be left of a gradient that cancels
}

// cancels says whether a stored gradient is 0 but for the reference's own
// rounding: that of a bias ahead of batch norm, which takes any constant away
// again. Rounding leaves some 1e-16 of what cancels; the smallest gradients that
// are none are above a thousandth of the largest.
func (l limits) cancels(grad summary) bool { return grad.L2 <= 1e-12*l.largest }

// spread is what one draw of rounding errors may exceed another by. (Measured,
// our worst norm of a gradient is 0.1 to 6 times as far off as PyTorch's.)
const spread = 8

// newLimits: a float64 engine meets tol.Exact everywhere. For a float32 engine
// rounding errors are drawn, for another order of summation is another draw of
// the same kind:
//
//   - The stored yardstick, how far PyTorch's own float32 run is from the float64
//     truth, is one draw of each loss. Of gradients it has only the worst of all
//     parameters, which says nothing of one of them and is not used.
//   - Draws on the oracle (see drawn) have every parameter's gradient by itself,
//     and where that is needed every loss and output too. After an update these
//     carry the gradients' errors as well, so those of norms count for them.
//   - floor is for what happens to be hit: 256 roundings through the layers. Single
//     elements and sums stray further than norms, where errors of elements cancel,
//     by single. (Measured, with assembly and plain Go alike: 2 to 4 times.)
//   - Before the first derivative nothing is decided for good, so loss, outputs
//     and running statistics of the first forward pass are held to the yardstick
//     alone.
//   - A gradient that cancels may leave 64 roundings of the largest one.
func newLimits(tol Tolerance, c *Case, d drawn) limits {
	largest := 0.0
	for _, p := range c.Expected.Parameters {
		largest = max(largest, p.Grad.L2)
	}
	if tol.Exact > 0 {
		l := limit{tol.Exact, tol.Exact, tol.Exact, true}
		return limits{
			forward: l, gradient: func(string) limit { return l }, evaluation: func(int) limit { return l },
			loss: func(int) float64 { return tol.Exact }, largest: largest, noise: math.Exp2(6-53) * largest,
		}
	}
	const single = 4
	floor := math.Exp2(8 - 24)
	learnt := 0.0 // of the gradients' norms
	for _, m := range d.gradients {
		learnt = max(learnt, m.norm)
	}
	upTo := make([]float64, c.Steps)
	worst := 0.0 // of the losses, up to each step
	for s := range upTo {
		if s < len(c.Yardstick.Losses) {
			worst = max(worst, c.Yardstick.Losses[s])
		}
		upTo[s] = worst
	}
	at := func(yardstick float64, m measure) limit {
		norm := max(spread*yardstick, floor)
		return limit{max(norm, spread*m.norm), max(single*norm, spread*m.sum), max(single*norm, spread*m.element), false}
	}
	return limits{
		forward:    at(upTo[0], measure{}),
		gradient:   func(p string) limit { return at(0, d.gradients[p]) },
		evaluation: func(exit int) limit { return at(max(worst, learnt), d.evaluation[exit]) },
		loss: func(s int) float64 {
			if s == 0 {
				return at(upTo[0], measure{}).l2
			}
			return at(max(upTo[s], learnt), measure{norm: d.losses[s]}).l2
		},
		largest: largest,
		noise:   math.Exp2(6-24) * largest,
	}
}

// lossFloat32 is the allowed error of a loss and its gradient in float32: each
// logit z·z/τ is a sum of dim products of unit vectors, so off by at most
// (dim+1)·2⁻²⁴/τ, and enters through exp and log with derivative ≤ 1; the few
// sums over rows and the gradient's second product double it twice.
func lossFloat32(tau float64, dim int) float64 {
	return 4 * float64(dim+1) * math.Exp2(-24) / tau
}
