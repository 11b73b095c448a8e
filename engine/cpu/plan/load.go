package plan

import (
	"slices"

	"selfcon/graph"
)

// MaxPool2D is max pooling of relu(factor·x + summand): operands x and affine.
type MaxPool2D struct{ Pool graph.MaxPool2D }

// MaxPool2DGrad is its derivative by what it pools: operands x, dy and affine.
type MaxPool2DGrad struct{ Pool graph.MaxPool2D }

// FuseLoad lets convolutions, their weight gradients and max pooling with its
// derivative normalise as they read, where nothing else wants relu(norm(x)): it
// is never stored.
func FuseLoad(l *List) {
	l.each(func(s *Step) {
		if s.Op != (NormApply{ReLU: true}) || l.kept[s.Out[0]] {
			return
		}
		y := s.Out[0]
		for _, u := range l.users[y] {
			if loads(u) == nil || u.In[0] != y || slices.Contains(u.In[1:], y) {
				return
			}
		}
		for _, u := range slices.Clone(l.users[y]) {
			in := slices.Insert(slices.Clone(u.In), min(2, len(u.In)), s.In[1])
			in[0] = s.In[0]
			l.fuse(&Step{u.Name, loads(u), in, u.Out, "FuseLoad"}, u)
		}
		l.remove(s)
	})
}

// loads is the operation of s where its first operand is normalised as it reads,
// or nil.
func loads(s *Step) any {
	switch op := s.Op.(type) {
	case Conv:
		if op.Load = true; op.Conv.Groups == 1 {
			return op
		}
	case ConvGradWeight:
		if op.Load = true; op.Grad.Conv.Groups == 1 {
			return op
		}
	case graph.MaxPool2D:
		return MaxPool2D{op}
	case graph.MaxPool2DGrad:
		return MaxPool2DGrad(op)
	}
	return nil
}
