package plan

import "selfcon/graph"

// pair says that result Out of a step may lie where operand In lies.
type pair struct{ out, in int }

// inPlace lists the results that a step can compute on top of an operand, the
// better choice first.
func inPlace(s *Step) []pair {
	op := s.Op
	switch o := op.(type) {
	case graph.Add, graph.Dropout, graph.Scale, graph.ReLU, graph.Lerp, graph.AddBias,
		graph.Sigmoid, graph.SiLU, graph.ScaleChannels, graph.L2Normalize, graph.CrossEntropyGrad:
		if _, ok := op.(graph.Add); ok {
			return []pair{{0, 0}, {0, 1}}
		}
		return []pair{{0, 0}}
	case graph.ReLUGrad, graph.SigmoidGrad, graph.SiLUGrad:
		return []pair{{0, 1}, {0, 0}}
	case graph.BatchNormInferenceGrad:
		return []pair{{0, 4}, {0, 0}}
	case graph.L2NormalizeGrad:
		return []pair{{0, 2}, {0, 0}}
	case graph.SGD, graph.LARS:
		return []pair{{0, 0}, {1, 2}}
	case graph.AdamW:
		return []pair{{0, 0}, {1, 2}, {2, 3}}
	case NormApply:
		if o.Add {
			return []pair{{0, 2}, {0, 0}}
		}
		return []pair{{0, 0}}
	case NormGradSums:
		return []pair{{1, 0}}
	case NormGradApply:
		return []pair{{0, 0}, {0, 1}}
	case Before:
		first, then := o.Parts(s)
		pairs := inPlace(then)
		for _, p := range inPlace(first) {
			pairs = append(pairs, pair{p.out + o.Out, p.in + o.In})
		}
		return pairs
	case ConvGradInput:
		if o.Add {
			return []pair{{0, 2}}
		}
	case ConvGradWeight:
		return s.updated(o.Update)
	case MatMul:
		return s.updated(o.Update)
	}
	return nil
}

// updated lets an update's results replace its operands.
func (s *Step) updated(u Update) []pair {
	if !u.Do {
		return nil
	}
	return []pair{{0, s.Parameters()}, {1, s.Parameters() + 1}}
}
