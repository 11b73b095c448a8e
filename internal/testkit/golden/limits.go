package golden

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"selfcon/engine"
	"selfcon/engine/oracle"
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

// spread is what one draw of rounding errors may exceed another by. (Measured,
// our worst norm of a gradient is 0.1 to 6 times as far off as PyTorch's.)
const spread = 8

// newLimits: a float64 engine meets tol.Exact everywhere. For a float32 engine
// the yardstick is how far PyTorch's own float32 run is from the float64 truth:
// one draw of the rounding errors that this network amplifies. Another order of
// summation is another draw of the same kind.
//
//   - The yardstick of the gradients is about norms, where errors of elements
//     cancel; single elements and sums stray further, by single. (Measured, with
//     assembly and plain Go alike: 2 to 4 times.)
//   - A draw can be lucky, and PyTorch's often is: see explain.
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
	const single = 4
	floor := math.Exp2(8 - 24)
	gradient := c.Yardstick.Gradient
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

// draws is how many draws of rounding errors are tried to explain a figure. Of
// what happens in one of eight draws, eight miss a third.
const draws = 8

// explain raises limits that the stored yardstick sets too low, one draw among
// others: where the operand of a ReLU, or the lead of a window's largest pixel, is
// so close to 0 that rounding decides, a derivative is off either by next to
// nothing or by that decision's whole share, and so is what is learnt from it.
// Further draws are made in float64: the case is run on the oracle from weights
// that are off, at random, by as much as makes the results of each convolution
// off by what a float32 engine's are. What a draw is off by, times spread, is
// allowed. Before the first derivative nothing is decided for good: loss,
// outputs and running statistics of the first forward pass keep their limits.
// And the oracle itself must meet the case, or draws would explain that away.
func (c *Case) explain(r *Report, steps int) error {
	if r.OK() || !r.Buffers.OK() || !r.Output.OK() {
		return nil
	}
	exact := Report{Name: c.Name}
	if err := c.runSteps(&exact, oracle.New(), Float64, steps); err != nil || !exact.OK() {
		return err
	}
	for seed := range uint64(draws) {
		if r.OK() {
			return nil
		}
		d := Report{Name: c.Name}
		if err := c.runSteps(&d, jittered{oracle.New(), rand.New(rand.NewPCG(seed, 1))}, Float32, steps); err != nil {
			return err
		}
		r.Draws++
		r.Losses.explain(d.Losses)
		r.Gradients.explain(d.Gradients)
		r.Evaluation.explain(d.Evaluation)
	}
	return nil
}

func (e *Error) explain(draw Error) {
	if limit := spread * draw.Worst; !e.OK() && e.Worst <= limit {
		e.Value, e.Limit = e.Worst, limit
		e.Where += fmt.Sprintf(" (and others; a draw of rounding errors is off by %.1e)", draw.Worst)
	}
}

// jittered is the oracle with everything that is written to it off by up to
// 2⁻¹⁹. Sums of many products are then off by 2⁻¹⁹/√3 = 1.1e-6 of their size,
// which is what Winograd's transforms measure in float32 (docs/log.md).
type jittered struct {
	*oracle.Engine
	r *rand.Rand
}

func (e jittered) Write(name string, t engine.Tensor) error {
	data := slices.Clone(t.Float64s())
	for i := range data {
		data[i] *= 1 + math.Exp2(-19)*(2*e.r.Float64()-1)
	}
	return e.Engine.Write(name, engine.Tensor{Shape: t.Shape, Data: data})
}
