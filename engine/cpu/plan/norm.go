package plan

import "selfcon/graph"

// Norm is batch norm with what follows it. In training the operands are x,
// weight, bias and the results y, mean, var; in inference the operands are x,
// weight, bias, mean, var and the result is y. With Add the last operand is
// added after normalising; with ReLU negative results become 0.
type Norm struct {
	Eps       float64
	Inference bool
	Add, ReLU bool
}

// FuseNorm joins BatchNorm → ReLU, BatchNorm → Add and BatchNorm → Add → ReLU,
// in training and in inference.
func FuseNorm(l *List) {
	l.each(func(s *Step) {
		var op Norm
		switch o := s.Op.(type) {
		case graph.BatchNorm:
			op = Norm{Eps: o.Eps}
		case graph.BatchNormInference:
			op = Norm{Eps: o.Eps, Inference: true}
		default:
			return
		}
		parts, y := []*Step{s}, s.Out[0]
		in := append([]*graph.Value(nil), s.In...)
		next := l.only(y)
		if next != nil && next.Op == (graph.Add{}) {
			other := next.In[0]
			if other == y {
				other = next.In[1]
			}
			if l.dependsOn(other, s) {
				return
			}
			op.Add, in, parts, y = true, append(in, other), append(parts, next), next.Out[0]
			next = l.only(y)
		}
		if next != nil && next.Op == (graph.ReLU{}) {
			op.ReLU, parts, y = true, append(parts, next), next.Out[0]
		}
		if len(parts) > 1 {
			out := append([]*graph.Value{y}, s.Out[1:]...)
			l.fuse(&Step{s.Name, op, in, out, "FuseNorm"}, parts...)
		}
	})
}
