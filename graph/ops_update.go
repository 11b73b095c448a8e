package graph

import (
	"fmt"
	"slices"
)

// LARS is a step of layer-wise adaptive rate scaling (You et al. 2017, arXiv
// 1708.03888, with the rate outside of the momentum): operands and results are
// those of SGD. With norms over the whole tensor and ratio 1 where one of them
// is 0,
//
//	ratio = Trust·‖p‖ / (‖gradient‖ + WeightDecay·‖p‖)
//	m ← Momentum·m + ratio·(gradient + WeightDecay·p);  p ← p − lr·m
type LARS struct{ Momentum, WeightDecay, Trust float64 }

func (o LARS) Infer(in []Type) ([]Type, error) {
	if !(o.Trust > 0) {
		return nil, fmt.Errorf("trust coefficient %g must be positive", o.Trust)
	}
	return SGD{Momentum: o.Momentum, WeightDecay: o.WeightDecay}.Infer(in)
}

// AdamW is a step of Adam with decoupled weight decay as torch.optim.AdamW does
// it (Loshchilov & Hutter 2017, arXiv 1711.05101): operands p, gradient, the
// moments m and v, the learning rate and how many steps were done before (int
// scalar); results the new p, m and v. With t the number of this step, from 1,
//
//	m ← Beta1·m + (1 − Beta1)·gradient;  v ← Beta2·v + (1 − Beta2)·gradient²
//	p ← p − lr·(WeightDecay·p + (m/(1 − Beta1ᵗ)) / (√(v/(1 − Beta2ᵗ)) + Eps))
type AdamW struct{ Beta1, Beta2, Eps, WeightDecay float64 }

func (o AdamW) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float, Float, Float, Float, Int); err != nil {
		return nil, err
	}
	for i := range 4 {
		if !in[i].Shape.Equal(in[0].Shape) {
			return nil, fmt.Errorf("takes a parameter, its gradient and moments of one shape, not %v, %v, %v, %v", in[0].Shape, in[1].Shape, in[2].Shape, in[3].Shape)
		}
	}
	if err := rank(in, 4, 0, "a scalar rate"); err != nil {
		return nil, err
	}
	if err := rank(in, 5, 0, "a scalar count"); err != nil {
		return nil, err
	}
	if !(o.Beta1 >= 0 && o.Beta1 < 1 && o.Beta2 >= 0 && o.Beta2 < 1) {
		return nil, fmt.Errorf("betas %g and %g must be at least 0 and below 1", o.Beta1, o.Beta2)
	}
	if !(o.Eps > 0) || o.WeightDecay < 0 {
		return nil, fmt.Errorf("eps %g must be positive and weight decay %g not negative", o.Eps, o.WeightDecay)
	}
	return []Type{in[0], in[0], in[0]}, nil
}

// Updates lists the updates declared so far.
func (g *Graph) Updates() []Update { return g.updates }

// DropUpdates takes back the updates of variables that drop says so of.
func (g *Graph) DropUpdates(drop func(*Variable) bool) {
	g.updates = slices.DeleteFunc(g.updates, func(u Update) bool { return drop(u.Variable) })
}
