package golden

import (
	"math"
	"math/rand/v2"
	"slices"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/train"
)

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
	forward, gradient, evaluation limit
	loss                          func(step int) float64
	largest                       float64 // norm of the stored gradients
	noise                         float64 // what norm may be left of a gradient that cancels
}

// cancels says whether a stored gradient is 0 but for the reference's own
// rounding: that of a bias ahead of batch norm, which takes any constant away
// again. Rounding leaves some 1e-16 of what cancels; the smallest gradients that
// are none are above a thousandth of the largest.
func (l limits) cancels(grad summary) bool { return grad.L2 <= 1e-12*l.largest }

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
//   - A draw can be lucky. Where a ReLU's operand is so close to 0 that rounding
//     decides, the error is either tiny or that decision's whole share of the
//     gradient; draws (see Sensitivity) are added to the yardstick of the cases
//     for which they were needed.
//   - floor is for figures that PyTorch happened to hit: 256 roundings through the
//     layers. After an update the losses carry the gradients' error as well.
//   - A gradient that cancels may leave 64 roundings of the largest one.
func newLimits(tol Tolerance, c *Case) limits {
	largest := 0.0
	for _, p := range c.Expected.Parameters {
		largest = max(largest, p.Grad.L2)
	}
	if tol.Exact > 0 {
		l := limit{tol.Exact, tol.Exact, tol.Exact, true}
		return limits{l, l, l, func(int) float64 { return tol.Exact }, largest, math.Exp2(6-53) * largest}
	}
	const spread, single = 8, 4
	floor := math.Exp2(8 - 24)
	gradient := max(c.Yardstick.Gradient, draws[c.Name])
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
		gradient:   at(gradient),
		evaluation: at(max(worst, gradient)),
		largest:    largest,
		noise:      math.Exp2(6-24) * largest,
		loss: func(s int) float64 {
			if s == 0 {
				return at(upTo[0]).l2
			}
			return at(max(upTo[s], gradient)).l2
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

// draws are the largest of Sensitivity's figures for seeds 0 to 5, rounded
// down, of cases whose stored yardstick was a lucky draw. Of this one they are
// 1.3e-4, 1e-7, 1.9e-5 (PyTorch's own), 1.1e-4, 1.1e-4 and 1e-7: whole decisions
// of ReLUs, or none.
var draws = map[string]float64{"resnet18-onestage-selfcon": 1.2e-4}

// Sensitivity is one more draw of a case's rounding errors: the worst relative
// error of a gradient's norm in the first step, computed in float64 from weights
// that are off by up to half a unit in the last place of float32, at random.
// Rounding alone, wherever it happens, moves a gradient by that much.
func (c *Case) Sensitivity(seed uint64) (float64, error) {
	e := jittered{oracle.New(), rand.New(rand.NewPCG(seed, 1))}
	_, _, step, in, err := c.start(e)
	if err != nil {
		return 0, err
	}
	out, err := step.Run(in)
	if err != nil {
		return 0, err
	}
	worst, lim := 0.0, newLimits(Float64, c)
	for _, p := range c.Expected.Parameters {
		if p.Trainable && !lim.cancels(p.Grad) {
			worst = max(worst, math.Abs(summarise(out[train.OutputGrad+p.Name].Float64s()).L2-p.Grad.L2)/p.Grad.L2)
		}
	}
	return worst, nil
}

// jittered is the oracle with everything that is written to it off by up to
// half a unit in float32's last place.
type jittered struct {
	*oracle.Engine
	r *rand.Rand
}

func (e jittered) Write(name string, t engine.Tensor) error {
	data := slices.Clone(t.Float64s())
	for i := range data {
		data[i] *= 1 + math.Exp2(-24)*(2*e.r.Float64()-1)
	}
	return e.Engine.Write(name, engine.Tensor{Shape: t.Shape, Data: data})
}
