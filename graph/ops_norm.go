package graph

import "fmt"

// BatchNorm normalises each channel (the last axis) over all others, in
// training mode: operands x, weight [C], bias [C]; results
//
//	y = (x − mean)/√(var + Eps) · weight + bias,  mean [C],  var [C] (biased)
//
// The variance is that of the centred values: E[x²] − mean² in float32 loses
// everything where the mean is large beside the deviation.
type BatchNorm struct{ Eps float64 }

func (o BatchNorm) Infer(in []Type) ([]Type, error) {
	if err := channelVectors(in, o.Eps, 2); err != nil {
		return nil, err
	}
	c := Type{in[1].Shape, Float}
	return []Type{in[0], c, c}, nil
}

// channelVectors checks an operand x followed by n vectors of its channels.
func channelVectors(in []Type, eps float64, n int) error {
	if len(in) != n+1 {
		return fmt.Errorf("takes %d operands, not %d", n+1, len(in))
	}
	if eps <= 0 {
		return fmt.Errorf("eps %g must be positive", eps)
	}
	x := in[0].Shape
	if len(x) < 2 || in[0].DType != Float {
		return fmt.Errorf("operand 0 must be float with at least two axes, the last one channels, not %v", in[0])
	}
	for i := 1; i <= n; i++ {
		if in[i].DType != Float || !in[i].Shape.Equal(x[len(x)-1:]) {
			return fmt.Errorf("operand %d must be float[%d], one for each channel of %v, not %v", i, x[len(x)-1], x, in[i])
		}
	}
	return nil
}

func (o BatchNorm) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	if d[1] != nil || d[2] != nil {
		g.Fail("graph: %s (BatchNorm): the loss depends on the batch statistics themselves, which have no derivative", n.Name)
		return nil
	}
	if d[0] == nil {
		return []*Value{nil, nil, nil}
	}
	return g.Apply("grad:"+n.Name, BatchNormGrad(o), n.In[0], n.In[1], n.Out[1], n.Out[2], d[0])[:3]
}

// BatchNormGrad is the derivative of BatchNorm: operands x, weight, mean, var,
// dy; results dx, dweight, dbias. With x̂ = (x − mean)/√(var + Eps) and M rows,
//
//	dbias = Σ dy,  dweight = Σ dy·x̂,
//	dx = weight/√(var + Eps) · (dy − dbias/M − x̂·dweight/M)
type BatchNormGrad struct{ Eps float64 }

func (o BatchNormGrad) Infer(in []Type) ([]Type, error) {
	if len(in) != 5 || !in[4].Shape.Equal(in[0].Shape) {
		return nil, fmt.Errorf("takes x, weight, mean, var and dy of x's shape")
	}
	if err := channelVectors(in[:4], o.Eps, 3); err != nil {
		return nil, err
	}
	return []Type{in[0], in[1], in[1]}, nil
}

// BatchNormInference normalises with given statistics: operands x, weight,
// bias, mean, var; result (x − mean)/√(var + Eps) · weight + bias.
type BatchNormInference struct{ Eps float64 }

func (o BatchNormInference) Infer(in []Type) ([]Type, error) {
	if err := channelVectors(in, o.Eps, 4); err != nil {
		return nil, err
	}
	return in[:1], nil
}

func (o BatchNormInference) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	r := g.Apply("grad:"+n.Name, BatchNormInferenceGrad(o), n.In[0], n.In[1], n.In[3], n.In[4], d[0])
	return []*Value{r[0], r[1], r[2], nil, nil}
}

// BatchNormInferenceGrad is the derivative of BatchNormInference by x, weight
// and bias, the statistics held fixed: operands x, weight, mean, var, dy.
type BatchNormInferenceGrad struct{ Eps float64 }

func (o BatchNormInferenceGrad) Infer(in []Type) ([]Type, error) { return BatchNormGrad(o).Infer(in) }

// BatchNormVars are the four variables of a batch-norm layer, [C] each.
type BatchNormVars struct{ Weight, Bias, Mean, Var *Value }

// BatchNorm2D adds a batch-norm layer as torch.nn.BatchNorm2d: in training it
// normalises by the batch and moves the running statistics by momentum (the
// variance unbiased); otherwise it normalises by the running statistics.
func (g *Graph) BatchNorm2D(name string, x *Value, v BatchNormVars, eps, momentum float64, training bool) *Value {
	if !training {
		return g.apply1(name, BatchNormInference{eps}, x, v.Weight, v.Bias, v.Mean, v.Var)
	}
	out := g.Apply(name, BatchNorm{eps}, x, v.Weight, v.Bias)
	if g.err != nil {
		return out[0]
	}
	rows := x.Shape.Size() / x.Shape[len(x.Shape)-1]
	if rows < 2 {
		return g.Fail("graph: %s (BatchNorm): one value a channel (%v): the variance of a single value is not defined; use larger images or batches", name, x.Shape)
	}
	g.Update(v.Mean, g.apply1(name+".running_mean", Lerp{momentum, 1}, v.Mean, out[1]))
	g.Update(v.Var, g.apply1(name+".running_var", Lerp{momentum, float64(rows) / float64(rows-1)}, v.Var, out[2]))
	return out[0]
}

// ReLU is max(x, 0).
type ReLU struct{}

func (ReLU) Infer(in []Type) ([]Type, error) { return in, operands(in, Float) }

func (ReLU) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.apply1("grad:"+n.Name, ReLUGrad{}, n.Out[0], d[0])}
}

// ReLU is max(x, 0).
func (g *Graph) ReLU(name string, x *Value) *Value { return g.apply1(name, ReLU{}, x) }

// ReLUGrad is dy where the ReLU's result y is positive, 0 elsewhere; operands
// y, dy.
type ReLUGrad struct{}

func (ReLUGrad) Infer(in []Type) ([]Type, error) { return Add{}.Infer(in) }

// Dropout zeroes each element with probability P and scales the others by
// 1/(1−P). Operands x and step, an int scalar (a Counter variable); element i
// is kept where Random(Seed, Key, step, i) ≥ P, the step sign-extended. With
// Rows, all elements of a row of the first axis share the draw of its number i:
// whole images are zeroed (drop-connect, stochastic depth). It is its own
// derivative.
type Dropout struct {
	P         float64
	Seed, Key uint64
	Rows      bool
}

// Group is how many elements of a tensor of shape s share a draw.
func (o Dropout) Group(s Shape) int {
	if o.Rows {
		return s[1:].Size()
	}
	return 1
}

func (o Dropout) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Int); err != nil {
		return nil, err
	}
	if o.P < 0 || o.P >= 1 {
		return nil, fmt.Errorf("probability %g must be in [0, 1)", o.P)
	}
	if len(in[1].Shape) != 0 {
		return nil, fmt.Errorf("the step must be a scalar, not %v", in[1])
	}
	if o.Rows && len(in[0].Shape) == 0 {
		return nil, fmt.Errorf("drops rows of the first axis, but operand 0 is a scalar")
	}
	return in[:1], nil
}

func (o Dropout) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.apply1("grad:"+n.Name, o, d[0], n.In[1]), nil}
}

// L2Normalize divides each row of x [N×D] by its length, or by Eps where that
// is smaller (torch.nn.functional.normalize).
type L2Normalize struct{ Eps float64 }

func (o L2Normalize) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float); err != nil {
		return nil, err
	}
	if o.Eps <= 0 {
		return nil, fmt.Errorf("eps %g must be positive", o.Eps)
	}
	return in, rank(in, 0, 2, "rows [N×D]")
}

func (o L2Normalize) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.apply1("grad:"+n.Name, L2NormalizeGrad(o), n.In[0], n.Out[0], d[0])}
}

// L2Normalize divides each row of x [N×D] by its length (eps 1e-12, as PyTorch).
func (g *Graph) L2Normalize(name string, x *Value) *Value {
	return g.apply1(name, L2Normalize{1e-12}, x)
}

// L2NormalizeGrad is (dy − y·⟨y, dy⟩)/‖x‖ by rows (dy/Eps for rows shorter than
// Eps); operands x, y, dy.
type L2NormalizeGrad struct{ Eps float64 }

func (L2NormalizeGrad) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float, Float); err != nil {
		return nil, err
	}
	if !in[0].Shape.Equal(in[1].Shape) || !in[0].Shape.Equal(in[2].Shape) {
		return nil, fmt.Errorf("takes x, y and dy of one shape, not %v, %v, %v", in[0].Shape, in[1].Shape, in[2].Shape)
	}
	return in[:1], rank(in, 0, 2, "rows [N×D]")
}
