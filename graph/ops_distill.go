package graph

import "fmt"

// Distill is the loss of knowledge distillation (Hinton et al. 2015, arXiv
// 1503.02531): the cross-entropy of a student's softened probabilities under
// the teacher's, a mean over rows; operands the logits of student and teacher
// [N×K], result a scalar. With p(x) = softmax(x/Temperature),
//
//	loss = −Temperature² · mean_n Σ_k p(teacher)_nk · log p(student)_nk
//
// The factor keeps the size of the gradient whatever the temperature. The
// teacher is held fixed: the loss has no derivative by it.
type Distill struct{ Temperature float64 }

func (o Distill) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	if err := rank(in, 0, 2, "logits [N×K]"); err != nil {
		return nil, err
	}
	if !in[1].Shape.Equal(in[0].Shape) {
		return nil, fmt.Errorf("logits of the teacher %v do not fit those of the student %v", in[1].Shape, in[0].Shape)
	}
	if !(o.Temperature > 0) {
		return nil, fmt.Errorf("temperature %g must be positive", o.Temperature)
	}
	return []Type{{Shape{}, Float}}, nil
}

func (o Distill) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.apply1("grad:"+n.Name, DistillGrad(o), n.In[0], n.In[1], d[0]), nil}
}

// Distill adds the loss of distillation, a scalar.
func (g *Graph) Distill(name string, student, teacher *Value, temperature float64) *Value {
	return g.apply1(name, Distill{temperature}, student, teacher)
}

// DistillGrad is Temperature·(p(student) − p(teacher))·dloss/N; operands
// student, teacher, dloss.
type DistillGrad struct{ Temperature float64 }

func (o DistillGrad) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float, Float); err != nil {
		return nil, err
	}
	if _, err := Distill(o).Infer(in[:2]); err != nil {
		return nil, err
	}
	return in[:1], rank(in, 2, 0, "a scalar")
}
