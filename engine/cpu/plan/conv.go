package plan

import (
	"slices"

	"selfcon/graph"
)

// Conv is a convolution: operands x, w and, with Load, affine: what it reads is
// relu(factor·x + summand), zeros around it. With Apply, NormApply Then follows
// on what it computes, and its operands but for the first come last. With Stats,
// NormStats Of of what it computes follows: operands weight and bias come last,
// and its results after the images.
type Conv struct {
	Conv  graph.Conv2D
	Load  bool
	Apply bool
	Then  NormApply
	Stats bool
	Of    NormStats
}

// images is a convolution step that computes the images alone, for a step that
// takes their statistics as well.
func (s *Step) images() *Step {
	op, ok := s.Op.(Conv)
	if !ok || !op.Stats {
		return s
	}
	op.Stats, op.Of = false, NormStats{}
	return &Step{s.Name, op, s.In[:len(s.In)-2], s.Out[:1], s.Pass}
}

// ConvGradInput is the derivative of a convolution by its images: operands dy,
// w and, with Add, what is added to it. With Sums, NormGradSums of what it
// computes follows: its other operands come last, and its results are dz, in
// the place of dx, and sums.
type ConvGradInput struct {
	Grad graph.Conv2DGradInput
	Add  bool
	Sums bool
	Mask Mask
}

// ConvGradWeight is the derivative of a convolution by its kernel: operands x,
// dy and, with Load, affine, as with Conv, and those of an update.
type ConvGradWeight struct {
	Grad graph.Conv2DGradWeight
	Load bool
	Update
}

// LowerConv makes this package's operations of the graph's convolutions.
func LowerConv(l *List) {
	for _, s := range l.Steps {
		switch op := s.Op.(type) {
		case graph.Conv2D:
			s.Op = Conv{Conv: op}
		case graph.Conv2DGradInput:
			s.Op = ConvGradInput{Grad: op}
		case graph.Conv2DGradWeight:
			s.Op = ConvGradWeight{Grad: op}
		}
	}
}

// FuseAccumulate joins ConvGradInput → Add: where the other summand dies there,
// the convolution adds to it in place.
func FuseAccumulate(l *List) {
	l.each(func(s *Step) {
		if s.Op != (graph.Add{}) || s.In[0] == s.In[1] {
			return
		}
		for i, dx := range s.In {
			p, other := l.producer[dx], s.In[1-i]
			if p == nil || l.only(dx) != s {
				continue
			}
			op, ok := p.Op.(ConvGradInput)
			if !ok || op.Add || l.dependsOn(other, p) {
				continue
			}
			op.Add = true
			l.fuse(&Step{p.Name, op, []*graph.Value{p.In[0], p.In[1], other}, s.Out, "FuseAccumulate"}, p, s)
			return
		}
	})
}

// convBefore is the convolution that computes the first operand of s, if it can
// work on that for s as well: nothing follows it yet, and no other operand of s
// depends on it.
func (l *List) convBefore(s *Step) (*Step, Conv, bool) {
	p := l.producer[s.In[0]]
	if p == nil {
		return nil, Conv{}, false
	}
	conv, ok := p.Op.(Conv)
	return p, conv, ok && !conv.Apply && !conv.Stats && !l.waitsFor(s, p)
}

// waitsFor is whether an operand of s but the first depends on p.
func (l *List) waitsFor(s, p *Step) bool {
	return slices.ContainsFunc(s.In[1:], func(v *graph.Value) bool { return l.dependsOn(v, p) })
}

// withOperands are the operands of p, and those of s but the first.
func withOperands(p, s *Step) []*graph.Value { return slices.Concat(p.In, s.In[1:]) }

// FuseAfter joins NormStats to the convolution before them, NormGradSums to the
// data gradient before it, and NormApply to the convolution before it where the
// factors don't depend on that, as in inference: each block of results is worked
// on while it lies in cache.
func FuseAfter(l *List) {
	l.each(func(s *Step) {
		switch op := s.Op.(type) {
		case NormStats:
			x := s.In[0]
			if p, conv, ok := l.convBefore(s); ok {
				conv.Stats, conv.Of = true, op
				l.fuse(&Step{p.Name, conv, withOperands(p, s), append([]*graph.Value{x}, s.Out...), "FuseAfter"}, p, s)
			}
		case NormApply:
			if p, conv, ok := l.convBefore(s); ok && l.only(s.In[0]) == s {
				conv.Apply, conv.Then = true, op
				l.fuse(&Step{p.Name, conv, withOperands(p, s), s.Out, "FuseAfter"}, p, s)
			}
		case NormGradSums:
			dy, dz := s.In[0], s.Out[1]
			p := l.producer[dy]
			if p == nil || l.kept[dy] && op.Mask != NoMask {
				return
			}
			grad, ok := p.Op.(ConvGradInput)
			if !ok || grad.Sums {
				return
			}
			if l.waitsFor(s, p) {
				return
			}
			switch op.Mask {
			case NoMask:
				dz = dy
			case ByResult:
				if l.only(dy) != s {
					return
				}
			case ByInput:
				// Only the second pass reads dy as well; from now on it is masked.
				apply := l.only(s.Out[0])
				if dz != nil || apply == nil || len(l.users[dy]) != 2 || apply.In[0] != dy {
					return
				}
				a := apply.Op.(NormGradApply)
				a.Mask = NoMask
				l.fuse(&Step{apply.Name, a, apply.In[:6], apply.Out, apply.Pass}, apply)
				dz = dy
			}
			grad.Sums, grad.Mask = true, op.Mask
			l.fuse(&Step{p.Name, grad, withOperands(p, s), []*graph.Value{dz, s.Out[0]}, "FuseAfter"}, p, s)
		}
	})
}
