package graph

import "fmt"

// MatMul is A·B for matrices, each transposed first where asked.
type MatMul struct{ TransA, TransB bool }

func (o MatMul) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	for i := range in {
		if err := rank(in, i, 2, "a matrix"); err != nil {
			return nil, err
		}
	}
	m, k := oriented(in[0].Shape, o.TransA)
	k2, n := oriented(in[1].Shape, o.TransB)
	if k != k2 {
		return nil, fmt.Errorf("multiplies %d×%d by %d×%d: inner sizes must agree", m, k, k2, n)
	}
	return []Type{{Shape{m, n}, Float}}, nil
}

func oriented(s Shape, trans bool) (int, int) {
	if trans {
		return s[1], s[0]
	}
	return s[0], s[1]
}

func (o MatMul) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	a, b := n.In[0], n.In[1]
	mul := func(what string, x, y *Value, tx, ty bool) *Value {
		return g.apply1("grad:"+n.Name+what, MatMul{tx, ty}, x, y)
	}
	// With Ā = op(A), B̄ = op(B): dĀ = dC·B̄ᵀ, dB̄ = Āᵀ·dC, transposed back where needed.
	var da, db *Value
	if o.TransA {
		da = mul(".a", b, d[0], o.TransB, true)
	} else {
		da = mul(".a", d[0], b, false, !o.TransB)
	}
	if o.TransB {
		db = mul(".b", d[0], a, true, o.TransA)
	} else {
		db = mul(".b", a, d[0], !o.TransA, false)
	}
	return []*Value{da, db}
}

// AddBias adds b [C] to every row of x [N×C] or pixel of x [N×H×W×C].
type AddBias struct{}

func (AddBias) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	if err := rows(in); err != nil {
		return nil, err
	}
	if x := in[0].Shape; !in[1].Shape.Equal(x[len(x)-1:]) {
		return nil, fmt.Errorf("bias %v does not fit rows %v", in[1].Shape, x)
	}
	return in[:1], nil
}

func (AddBias) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{d[0], g.apply1("grad:"+n.Name, SumRows{}, d[0])}
}

// rows checks that operand 0 has channels, the last axis, of something.
func rows(in []Type) error {
	if len(in[0].Shape) < 2 {
		return fmt.Errorf("operand 0 must be rows [N×C] or images [N×H×W×C], not %v", in[0].Shape)
	}
	return nil
}

// SumRows is the sum over all axes but the last: [N×C] or [N×H×W×C] → [C].
type SumRows struct{}

func (SumRows) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float); err != nil {
		return nil, err
	}
	if err := rows(in); err != nil {
		return nil, err
	}
	return []Type{{in[0].Shape[len(in[0].Shape)-1:], Float}}, nil
}

// Linear is x·wᵀ + b with x [N×I], w [O×I], b [O] (torch.nn.functional.linear).
func (g *Graph) Linear(name string, x, w, b *Value) *Value {
	return g.AddBias(name+".bias", g.apply1(name, MatMul{TransB: true}, x, w), b)
}

// AddBias adds b [C] to every row of x [N×C] or pixel of x [N×H×W×C].
func (g *Graph) AddBias(name string, x, b *Value) *Value { return g.apply1(name, AddBias{}, x, b) }

// SGD is one step of stochastic gradient descent with momentum as
// torch.optim.SGD does it (dampening 0): operands p, gradient, momentum buffer
// and the learning rate (a scalar); results the new p and buffer:
//
//	g ← g + WeightDecay·p;  m ← Momentum·m + g;  p ← p − lr·m   (Nesterov: lr·(g + Momentum·m))
type SGD struct {
	Momentum, WeightDecay float64
	Nesterov              bool
}

func (o SGD) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float, Float, Float); err != nil {
		return nil, err
	}
	if !in[0].Shape.Equal(in[1].Shape) || !in[0].Shape.Equal(in[2].Shape) || len(in[3].Shape) != 0 {
		return nil, fmt.Errorf("takes a parameter, its gradient and momentum of one shape and a scalar rate, not %v, %v, %v, %v", in[0].Shape, in[1].Shape, in[2].Shape, in[3].Shape)
	}
	if o.Momentum < 0 || o.WeightDecay < 0 {
		return nil, fmt.Errorf("momentum %g and weight decay %g must not be negative", o.Momentum, o.WeightDecay)
	}
	return []Type{in[0], in[0]}, nil
}
