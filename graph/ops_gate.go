package graph

import "fmt"

// Activations and gates of networks with squeeze-and-excitation.

// Sigmoid is 1/(1 + e⁻ˣ).
type Sigmoid struct{}

func (Sigmoid) Infer(in []Type) ([]Type, error) { return in, operands(in, Float) }

func (Sigmoid) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.apply1("grad:"+n.Name, SigmoidGrad{}, n.Out[0], d[0])}
}

// Sigmoid is 1/(1 + e⁻ˣ).
func (g *Graph) Sigmoid(name string, x *Value) *Value { return g.apply1(name, Sigmoid{}, x) }

// SigmoidGrad is dy·y·(1 − y) from the sigmoid's result y; operands y, dy.
type SigmoidGrad struct{}

func (SigmoidGrad) Infer(in []Type) ([]Type, error) { return Add{}.Infer(in) }

// SiLU is x·σ(x) with the sigmoid σ, also called Swish (torch.nn.SiLU).
type SiLU struct{}

func (SiLU) Infer(in []Type) ([]Type, error) { return in, operands(in, Float) }

func (SiLU) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.apply1("grad:"+n.Name, SiLUGrad{}, n.In[0], d[0])}
}

// SiLU is x·σ(x).
func (g *Graph) SiLU(name string, x *Value) *Value { return g.apply1(name, SiLU{}, x) }

// SiLUGrad is dy·σ(x)·(1 + x·(1 − σ(x))); operands x, dy.
type SiLUGrad struct{}

func (SiLUGrad) Infer(in []Type) ([]Type, error) { return Add{}.Infer(in) }

// ScaleChannels multiplies each channel of each image by a number of its own:
// operands x [N×H×W×C], s [N×C]; result y[n,h,w,c] = x[n,h,w,c]·s[n,c].
type ScaleChannels struct{}

func (ScaleChannels) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	if err := rank(in, 0, 4, "images [N×H×W×C]"); err != nil {
		return nil, err
	}
	x := in[0].Shape
	if !in[1].Shape.Equal(Shape{x[0], x[3]}) {
		return nil, fmt.Errorf("images %v take one number for each channel of each image, %v, not %v", x, Shape{x[0], x[3]}, in[1].Shape)
	}
	return in[:1], nil
}

func (ScaleChannels) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{
		g.apply1("grad:"+n.Name+".input", ScaleChannels{}, d[0], n.In[1]),
		g.apply1("grad:"+n.Name+".scale", ScaleChannelsGrad{}, n.In[0], d[0]),
	}
}

// ScaleChannels multiplies channel c of image n of x [N×H×W×C] by s[n,c].
func (g *Graph) ScaleChannels(name string, x, s *Value) *Value {
	return g.apply1(name, ScaleChannels{}, x, s)
}

// ScaleChannelsGrad is the derivative of ScaleChannels by its numbers, the sum
// of x·dy over the pixels: operands x, dy [N×H×W×C]; result [N×C].
type ScaleChannelsGrad struct{}

func (ScaleChannelsGrad) Infer(in []Type) ([]Type, error) {
	if _, err := (Add{}).Infer(in); err != nil {
		return nil, err
	}
	if err := rank(in, 0, 4, "images [N×H×W×C]"); err != nil {
		return nil, err
	}
	x := in[0].Shape
	return []Type{{Shape{x[0], x[3]}, Float}}, nil
}
