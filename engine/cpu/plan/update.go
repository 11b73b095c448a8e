package plan

import (
	"slices"

	"selfcon/graph"
)

// Update is what a gradient's step does with it: with Do, SGD follows on what it
// computes. Parameters, momentum and rate are the step's last operands then, and
// its results are SGD's.
type Update struct {
	Do  bool
	SGD graph.SGD
}

// MatMul is a matrix product, with the operands of an update.
type MatMul struct {
	graph.MatMul
	Update
}

// updates is how many operands an update has of its own.
const updates = 3

// Parameters is the place of the first of an update's operands.
func (s *Step) Parameters() int { return len(s.In) - updates }

// FuseUpdate joins a gradient to the step of SGD behind it, where nothing else
// wants the gradient, of a convolution without groups or a matrix product: it is
// never stored, and the parameters are changed while it lies in cache.
func FuseUpdate(l *List) {
	l.each(func(s *Step) {
		sgd, ok := s.Op.(graph.SGD)
		if !ok {
			return
		}
		g := s.In[1]
		p := l.producer[g]
		if p == nil || l.only(g) != s {
			return
		}
		update := Update{true, sgd}
		var fused any
		switch op := p.Op.(type) {
		case ConvGradWeight:
			if op.Grad.Conv.Groups != 1 {
				return
			}
			op.Update = update
			fused = op
		case graph.MatMul:
			if !op.TransA { // products like that have fewer rows than a gradient has
				return
			}
			fused = MatMul{op, update}
		default:
			return
		}
		in := slices.Concat(p.In, []*graph.Value{s.In[0], s.In[2], s.In[3]})
		l.fuse(&Step{p.Name, fused, in, s.Out, "FuseUpdate"}, p, s)
	})
}
