package plan

import (
	"slices"

	"selfcon/graph"
)

// Before is a step with the one that makes its first operand, row by row: each of
// its tasks makes the rows that it reads, which are stored for others too. The
// operands and results of Make come after those of Then, of which there are so
// many.
type Before struct {
	Name       string // of the step that makes it
	Make, Then any    // NormApply or NormGradApply; Conv or ConvGradInput
	In, Out    int
}

// Parts are the two steps.
func (b Before) Parts(s *Step) (first, then *Step) {
	return &Step{b.Name, b.Make, s.In[b.In:], s.Out[b.Out:], s.Pass}, &Step{s.Name, b.Then, s.In[:b.In], s.Out[:b.Out], s.Pass}
}

// FuseBefore joins norms, and their derivatives, to the convolution or data gradient
// behind them where that may: what they read comes while products are computed,
// and what they make is read in cache. It is for a list that is in order, and that
// nothing is repeated in any more.
func FuseBefore(l *List, may func(*Step) bool) {
	for _, then := range slices.Clone(l.Steps) {
		switch then.Op.(type) {
		case Conv, ConvGradInput:
		default:
			continue
		}
		first := l.producer[then.In[0]]
		if first == nil || first.Out[0] != then.In[0] {
			continue
		}
		switch first.Op.(type) {
		case NormApply, NormGradApply:
		default:
			continue
		}
		late := func(v *graph.Value) bool {
			p := l.producer[v]
			return p != nil && l.at[p] >= l.at[first]
		}
		if slices.ContainsFunc(then.In[1:], late) || !may(then) {
			continue
		}
		steps := slices.Clone(l.Steps)
		steps[l.at[first]] = &Step{then.Name, Before{first.Name, first.Op, then.Op, len(then.In), len(then.Out)},
			slices.Concat(then.In, first.In), slices.Concat(then.Out, first.Out), "FuseBefore"}
		l.set(slices.Delete(steps, l.at[then], l.at[then]+1))
	}
}
