package graph

import "fmt"

// Operations that move, add or scale numbers, and the sources of a program.

// Input is a tensor given to every run.
type Input struct{ Type Type }

func (o Input) Infer([]Type) ([]Type, error) { return positive(o.Type) }

// Read is the value of a variable at the start of a run.
type Read struct{ Variable *Variable }

func (o Read) Infer([]Type) ([]Type, error) { return positive(o.Variable.Type) }

func positive(t Type) ([]Type, error) {
	for _, d := range t.Shape {
		if d < 1 {
			return nil, fmt.Errorf("shape %v: every axis must have at least one element", t.Shape)
		}
	}
	return []Type{t}, nil
}

// Fill is a tensor full of one number.
type Fill struct {
	Shape Shape
	Value float64
}

func (o Fill) Infer([]Type) ([]Type, error) { return positive(Type{o.Shape, Float}) }

// Constant is a scalar that never changes.
func (g *Graph) Constant(name string, v float64) *Value {
	return g.apply1(name, Fill{Shape{}, v})
}

// Add is a + b, of one shape.
type Add struct{}

func (Add) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	if !in[0].Shape.Equal(in[1].Shape) {
		return nil, fmt.Errorf("adds %v and %v: shapes must be equal", in[0].Shape, in[1].Shape)
	}
	return in[:1], nil
}

func (Add) Gradient(_ *Graph, _ *Node, d []*Value) []*Value { return []*Value{d[0], d[0]} }

// Add is a + b, of one shape.
func (g *Graph) Add(name string, a, b *Value) *Value { return g.apply1(name, Add{}, a, b) }

// Scale is Factor · x.
type Scale struct{ Factor float64 }

func (Scale) Infer(in []Type) ([]Type, error) {
	return in, operands(in, Float)
}

func (o Scale) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.Scale("grad:"+n.Name, d[0], o.Factor)}
}

// Scale is factor · x.
func (g *Graph) Scale(name string, x *Value, factor float64) *Value {
	return g.apply1(name, Scale{factor}, x)
}

// Reshape gives the same numbers another shape.
type Reshape struct{ Shape Shape }

func (o Reshape) Infer(in []Type) ([]Type, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("takes 1 operand, not %d", len(in))
	}
	if o.Shape.Size() != in[0].Shape.Size() {
		return nil, fmt.Errorf("cannot reshape %v (%d elements) to %v (%d)", in[0].Shape, in[0].Shape.Size(), o.Shape, o.Shape.Size())
	}
	return positive(Type{o.Shape, in[0].DType})
}

func (o Reshape) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.Reshape("grad:"+n.Name, d[0], n.In[0].Shape...)}
}

// Reshape gives x another shape of as many elements.
func (g *Graph) Reshape(name string, x *Value, shape ...int) *Value {
	return g.apply1(name, Reshape{shape}, x)
}

// Concat joins tensors along their first axis.
type Concat struct{}

func (Concat) Infer(in []Type) ([]Type, error) {
	if len(in) == 0 {
		return nil, fmt.Errorf("takes at least 1 operand")
	}
	out := Type{append(Shape{}, in[0].Shape...), in[0].DType}
	for i, t := range in {
		if len(t.Shape) == 0 || t.DType != out.DType || !t.Shape[1:].Equal(out.Shape[1:]) {
			return nil, fmt.Errorf("operand %d is %v and does not fit the first, %v: all axes but the first must agree", i, t, in[0])
		}
		if i > 0 {
			out.Shape[0] += t.Shape[0]
		}
	}
	return []Type{out}, nil
}

func (Concat) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	out := make([]*Value, len(n.In))
	at := 0
	for i, in := range n.In {
		out[i] = g.Slice(fmt.Sprintf("grad:%s.%d", n.Name, i), d[0], at, at+in.Shape[0])
		at += in.Shape[0]
	}
	return out
}

// Concat joins values along their first axis.
func (g *Graph) Concat(name string, in ...*Value) *Value { return g.apply1(name, Concat{}, in...) }

// Slice takes rows [From, To) of the first axis.
type Slice struct{ From, To int }

func (o Slice) Infer(in []Type) ([]Type, error) {
	if len(in) != 1 || len(in[0].Shape) == 0 {
		return nil, fmt.Errorf("takes 1 operand with at least one axis")
	}
	if o.From < 0 || o.To <= o.From || o.To > in[0].Shape[0] {
		return nil, fmt.Errorf("rows [%d, %d) of %v", o.From, o.To, in[0].Shape)
	}
	t := Type{append(Shape{}, in[0].Shape...), in[0].DType}
	t.Shape[0] = o.To - o.From
	return []Type{t}, nil
}

func (o Slice) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	rows := n.In[0].Shape[0]
	return []*Value{g.apply1("grad:"+n.Name, PadRows{o.From, rows - o.To}, d[0])}
}

// Slice takes rows [from, to) of the first axis.
func (g *Graph) Slice(name string, x *Value, from, to int) *Value {
	return g.apply1(name, Slice{from, to}, x)
}

// PadRows puts Before and After rows of zeros around the first axis: the
// derivative of Slice.
type PadRows struct{ Before, After int }

func (o PadRows) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float); err != nil {
		return nil, err
	}
	if len(in[0].Shape) == 0 || o.Before < 0 || o.After < 0 {
		return nil, fmt.Errorf("pads %v with %d rows before and %d after", in[0].Shape, o.Before, o.After)
	}
	t := Type{append(Shape{}, in[0].Shape...), Float}
	t.Shape[0] += o.Before + o.After
	return []Type{t}, nil
}

func (o PadRows) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.Slice("grad:"+n.Name, d[0], o.Before, o.Before+n.In[0].Shape[0])}
}

// Lerp is (1 − Weight)·a + Weight·Factor·b: how running statistics move. It
// has no derivative.
type Lerp struct{ Weight, Factor float64 }

func (Lerp) Infer(in []Type) ([]Type, error) { return Add{}.Infer(in) }

// Increment is x + 1, for counters.
type Increment struct{}

func (Increment) Infer(in []Type) ([]Type, error) { return in, operands(in, Int) }

// operands checks the number and kind of an operation's operands.
func operands(in []Type, want ...DType) error {
	if len(in) != len(want) {
		return fmt.Errorf("takes %d operands, not %d", len(want), len(in))
	}
	for i, t := range in {
		if t.DType != want[i] {
			return fmt.Errorf("operand %d is %v, not %v", i, t, want[i])
		}
	}
	return nil
}

// rank checks that operand i has n axes, which what names.
func rank(in []Type, i, n int, what string) error {
	if len(in[i].Shape) != n {
		return fmt.Errorf("operand %d must be %s, not %v", i, what, in[i].Shape)
	}
	return nil
}
