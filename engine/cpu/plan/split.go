package plan

import (
	"slices"

	"selfcon/graph"
)

// Batch norm takes two passes over its images, and its derivative too: one that
// gathers sums and one that applies them. Split makes two steps of each, so
// that each pass can be joined with what comes before or after it.

// NormStats is the first pass of batch norm in training: operands x, weight,
// bias; results mean, var and affine [2×C], the factors weight/√(var + Eps) and
// the summands bias − mean·factor.
type NormStats struct{ Eps float64 }

// Mixes says whether a list takes statistics over images.
func (l *List) Mixes() bool {
	return slices.ContainsFunc(l.Steps, func(s *Step) bool {
		conv, _ := s.Op.(Conv)
		_, stats := s.Op.(NormStats)
		return stats || conv.Stats
	})
}

// NormScale makes affine from statistics that are given: operands weight, bias,
// mean, var.
type NormScale struct{ Eps float64 }

// NormApply is the second pass, y = factor·x + summand: operands x, affine and,
// with Add, what is added to that; with Both, that is normalised as well, and its
// affine comes last. With ReLU negative results become 0.
type NormApply struct{ Add, Both, ReLU bool }

// Mask says how a derivative passes a ReLU on its way.
type Mask uint8

const (
	NoMask   Mask = iota // it doesn't
	ByResult             // it stays where the ReLU's result, the last operand, is positive
	ByInput              // it stays where factor·x + summand is; the last operand is affine
)

// NormGradSums is the first pass of batch norm's derivative: operands dy, x,
// mean and what Mask needs; results sums [2×C], Σ dz and Σ dz·(x − mean), and
// dz, which is dy with the mask.
type NormGradSums struct{ Mask Mask }

// NormGradApply is the second: operands dy, x, weight, mean, var, sums and what
// Mask (not ByResult) needs; results dx, dweight, dbias.
type NormGradApply struct {
	Eps  float64
	Mask Mask
}

// Split makes two steps of every batch norm and of its derivative in training.
func Split(l *List) {
	var steps []*Step
	for _, s := range l.Steps {
		fresh := func(channels *graph.Value) *graph.Value {
			return l.fresh(graph.Type{Shape: graph.Shape{2, channels.Shape[0]}}, s.Out[0].Node, 0)
		}
		step := func(op any, in []*graph.Value, out ...*graph.Value) {
			steps = append(steps, &Step{s.Name, op, in, out, "Split"})
		}
		switch op := s.Op.(type) {
		case graph.BatchNorm:
			affine := fresh(s.In[1])
			step(NormStats(op), s.In, s.Out[1], s.Out[2], affine)
			step(NormApply{}, []*graph.Value{s.In[0], affine}, s.Out[0])
		case graph.BatchNormInference:
			affine := fresh(s.In[1])
			step(NormScale(op), s.In[1:], affine)
			step(NormApply{}, []*graph.Value{s.In[0], affine}, s.Out[0])
		case graph.BatchNormGrad:
			x, w, mean, variance, dy := s.In[0], s.In[1], s.In[2], s.In[3], s.In[4]
			sums := fresh(w)
			step(NormGradSums{}, []*graph.Value{dy, x, mean}, sums, nil)
			step(NormGradApply{Eps: op.Eps}, []*graph.Value{dy, x, w, mean, variance, sums}, s.Out...)
		default:
			steps = append(steps, s)
		}
	}
	l.set(steps)
}
