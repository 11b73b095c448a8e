// Package graph describes a network, its loss and its update as a small typed
// list of operations on tensors, with a derivative rule for each.
//
// A Graph is built once, checked while it is built (an error names the node),
// differentiated with Gradients, and turned into a Program that an engine
// compiles. Operations are logical: memory layout, fusion, threads and
// precision are the engine's business. Activations are NHWC; convolution
// weights are OIHW and linear weights out×in, as in PyTorch.
package graph

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DType is the kind of a tensor's elements. How many bits they have is up to
// the engine.
type DType uint8

const (
	Float DType = iota
	Int
)

func (d DType) String() string {
	if d == Int {
		return "int"
	}
	return "float"
}

// Shape lists the sizes of a tensor's axes; a scalar has none.
type Shape []int

// Size is the number of elements.
func (s Shape) Size() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Equal says whether two shapes have the same axes.
func (s Shape) Equal(o Shape) bool { return slices.Equal(s, o) }

func (s Shape) String() string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = fmt.Sprint(d)
	}
	return "[" + strings.Join(parts, "×") + "]"
}

// Type is the shape and element kind of a Value.
type Type struct {
	Shape Shape
	DType DType
}

func (t Type) String() string { return t.DType.String() + t.Shape.String() }

// Value is one result of a Node.
type Value struct {
	Type
	ID    int   // unique within the graph
	Node  *Node // the node that computes it
	Index int   // which of the node's outputs
}

// Node applies an operation to values.
type Node struct {
	ID   int // position in the graph: inputs have smaller ones
	Name string
	Op   Op
	In   []*Value
	Out  []*Value
}

// Kind is the operation's name, such as "Conv2D".
func (n *Node) Kind() string {
	return strings.TrimPrefix(fmt.Sprintf("%T", n.Op), "graph.")
}

// Op is an operation: plain data that says what to compute.
type Op interface {
	// Infer gives the types of the results for operands of the given types, or
	// says what is wrong with them.
	Infer(in []Type) ([]Type, error)
}

// Differentiable is an Op with a derivative.
type Differentiable interface {
	Op
	// Gradient adds the nodes that compute the derivative of the loss by each
	// operand, given that by each result (nil where the loss does not depend on
	// it), and returns them in the order of n.In, nil for none. It is called with
	// at least one dOut that is not nil.
	Gradient(g *Graph, n *Node, dOut []*Value) []*Value
}

// Role says what a variable is for.
type Role uint8

const (
	Parameter Role = iota // weights: learnt
	Statistic             // running means and variances
	Slot                  // an optimizer's state, such as momentum
	Counter               // steps, for random streams
)

// Variable is state that lives inside the engine and outlasts a run. Programs
// of one engine that name the same variable share it.
type Variable struct {
	Name string // PyTorch's name for parameters and statistics
	Type
	Role      Role
	Trainable bool
	Init      Init
}

// Update stores Value in Variable at the end of a run; everything in the
// program sees the variable as it was at the start.
type Update struct {
	Variable *Variable
	Value    *Value
}

// Output is a named result of a program.
type Output struct {
	Name  string
	Value *Value
}

// Graph is a program under construction. The first error sticks and is
// returned by Build; methods called after it return values of no meaning.
type Graph struct {
	nodes     []*Node
	values    int
	inputs    []Output
	outputs   []Output
	updates   []Update
	variables map[string]*Value
	order     []*Variable
	err       error
}

// New returns an empty graph.
func New() *Graph { return &Graph{variables: map[string]*Value{}} }

// Err is the first error of the construction.
func (g *Graph) Err() error { return g.err }

// Fail records an error that a builder on top of the graph has found; the
// first one recorded wins.
func (g *Graph) Fail(format string, args ...any) *Value {
	if g.err == nil {
		g.err = fmt.Errorf(format, args...)
	}
	return &Value{Type: Type{Shape: Shape{}}, ID: -1}
}

// Apply adds a node and returns its results.
func (g *Graph) Apply(name string, op Op, in ...*Value) []*Value {
	n := &Node{ID: len(g.nodes), Name: name, Op: op, In: in}
	if g.err != nil {
		return []*Value{g.Fail(""), g.Fail(""), g.Fail("")}
	}
	types := make([]Type, len(in))
	for i, v := range in {
		if !g.owns(v) {
			what := "not a value of this graph"
			if v == nil {
				what = "nil"
			}
			g.Fail("graph: %s (%s): operand %d is %s", name, n.Kind(), i, what)
			return g.Apply(name, op, in...)
		}
		types[i] = v.Type
	}
	out, err := op.Infer(types)
	if err != nil {
		g.Fail("graph: %s (%s): %w", name, n.Kind(), err)
		return g.Apply(name, op, in...)
	}
	for i, t := range out {
		n.Out = append(n.Out, &Value{Type: t, ID: g.values, Node: n, Index: i})
		g.values++
	}
	g.nodes = append(g.nodes, n)
	return n.Out
}

// owns says whether v was computed by a node of g.
func (g *Graph) owns(v *Value) bool {
	return v != nil && v.Node != nil && v.Node.ID < len(g.nodes) && g.nodes[v.Node.ID] == v.Node
}

func (g *Graph) apply1(name string, op Op, in ...*Value) *Value { return g.Apply(name, op, in...)[0] }

// Input declares a tensor that every run is given.
func (g *Graph) Input(name string, dtype DType, shape ...int) *Value {
	for _, in := range g.inputs {
		if in.Name == name {
			return g.Fail("graph: input %q is declared twice", name)
		}
	}
	v := g.apply1(name, Input{Type{slices.Clone(shape), dtype}})
	g.inputs = append(g.inputs, Output{name, v})
	return v
}

// Variable declares (or finds again) a variable and returns its value at the
// start of the run.
func (g *Graph) Variable(v Variable) *Value {
	if old, ok := g.variables[v.Name]; ok {
		have := old.Node.Op.(Read).Variable
		if !have.Shape.Equal(v.Shape) || have.DType != v.DType {
			return g.Fail("graph: variable %q is declared as %v and as %v", v.Name, have.Type, v.Type)
		}
		return old
	}
	p := &v
	val := g.apply1(v.Name, Read{p})
	g.variables[v.Name] = val
	g.order = append(g.order, p)
	return val
}

// Output names a result of the program.
func (g *Graph) Output(name string, v *Value) {
	for _, o := range g.outputs {
		if o.Name == name {
			g.Fail("graph: output %q is declared twice", name)
		}
	}
	if g.err == nil && !g.owns(v) {
		g.Fail("graph: output %q is not a value of this graph", name)
	}
	g.outputs = append(g.outputs, Output{name, v})
}

// Update makes the program store v in the variable that to is the value of.
func (g *Graph) Update(to, v *Value) {
	if g.err != nil {
		return
	}
	if !g.owns(to) || !g.owns(v) {
		g.Fail("graph: update with a value that is not of this graph")
		return
	}
	r, ok := to.Node.Op.(Read)
	switch {
	case !ok:
		g.Fail("graph: update of %s (%s), which is not a variable", to.Node.Name, to.Node.Kind())
		return
	case !r.Variable.Shape.Equal(v.Shape) || r.Variable.DType != v.DType:
		g.Fail("graph: update of variable %q of type %v with a value of type %v", r.Variable.Name, r.Variable.Type, v.Type)
		return
	}
	for _, u := range g.updates {
		if u.Variable == r.Variable {
			g.Fail("graph: variable %q is updated twice", r.Variable.Name)
			return
		}
	}
	g.updates = append(g.updates, Update{r.Variable, v})
}

// Trainable returns the values of the trainable parameters in the order of
// their declaration.
func (g *Graph) Trainable() []*Value {
	var out []*Value
	for _, v := range g.order {
		if v.Trainable {
			out = append(out, g.variables[v.Name])
		}
	}
	return out
}

// Program is a finished graph: what engines compile.
type Program struct {
	Nodes     []*Node // operands come before the nodes that use them
	Inputs    []Output
	Outputs   []Output
	Updates   []Update
	Variables []*Variable // those that Nodes read
}

// Build finishes the graph: nodes that no output and no update needs are left
// out. Declared inputs and variables stay only where they are used.
func (g *Graph) Build() (*Program, error) {
	if g.err != nil {
		return nil, g.err
	}
	if len(g.outputs) == 0 && len(g.updates) == 0 {
		return nil, errors.New("graph: no output and no update: the program would compute nothing")
	}
	live := make([]bool, len(g.nodes))
	for _, o := range g.outputs {
		live[o.Value.Node.ID] = true
	}
	for _, u := range g.updates {
		live[u.Value.Node.ID] = true
		live[g.variables[u.Variable.Name].Node.ID] = true
	}
	for i := len(g.nodes) - 1; i >= 0; i-- {
		if live[i] {
			for _, in := range g.nodes[i].In {
				live[in.Node.ID] = true
			}
		}
	}
	p := &Program{Outputs: g.outputs, Updates: g.updates}
	for _, in := range g.inputs {
		if live[in.Value.Node.ID] {
			p.Inputs = append(p.Inputs, in)
		}
	}
	for i, n := range g.nodes {
		if !live[i] {
			continue
		}
		p.Nodes = append(p.Nodes, n)
		if r, ok := n.Op.(Read); ok {
			p.Variables = append(p.Variables, r.Variable)
		}
	}
	return p, nil
}

// Gradients adds the nodes that compute the derivative of the scalar loss by
// each of wrt (reverse mode) and returns those derivatives. A value that the
// loss does not depend on is an error, as is an operation without a derivative.
func (g *Graph) Gradients(loss *Value, wrt []*Value) []*Value {
	out := make([]*Value, len(wrt))
	if g.err != nil {
		for i := range out {
			out[i] = g.Fail("")
		}
		return out
	}
	if len(loss.Shape) != 0 || loss.DType != Float {
		g.Fail("graph: gradients of %s, which is %v and not a float scalar", loss.Node.Name, loss.Type)
		return g.Gradients(loss, wrt)
	}
	return g.Pullback([]*Value{loss}, []*Value{g.Constant("grad:"+loss.Node.Name, 1)}, wrt)
}

// Pullback is Gradients of Σ ⟨of_i, by_i⟩ with the by_i held fixed: given the
// derivative of something by values of the graph, it gives that by the values
// they were computed from. Each by_i has the type of of_i.
func (g *Graph) Pullback(of, by, wrt []*Value) []*Value {
	out := make([]*Value, len(wrt))
	fail := func(format string, args ...any) []*Value {
		for i := range out {
			out[i] = g.Fail(format, args...)
		}
		return out
	}
	if g.err != nil {
		return fail("")
	}
	if len(of) != len(by) {
		return fail("graph: pullback of %d values by %d derivatives", len(of), len(by))
	}
	for i, v := range of {
		if !g.owns(v) || !g.owns(by[i]) {
			return fail("graph: pullback of a value that is not of this graph")
		}
		if !v.Shape.Equal(by[i].Shape) || v.DType != Float || by[i].DType != Float {
			return fail("graph: pullback of %s, which is %v, by a derivative that is %v", v.Node.Name, v.Type, by[i].Type)
		}
	}
	n := len(g.nodes) // the forward part
	// depends[i]: node i computes one of wrt or depends on one, so the derivative
	// by its results is wanted; through[i]: by its operands too.
	depends, through := make([]bool, n), make([]bool, n)
	for _, v := range wrt {
		if !g.owns(v) {
			return fail("graph: gradient by a value that is not of this graph")
		}
		depends[v.Node.ID] = true
	}
	for _, nd := range g.nodes[:n] {
		for _, in := range nd.In {
			if depends[in.Node.ID] {
				depends[nd.ID], through[nd.ID] = true, true
			}
		}
	}
	grads := map[*Value]*Value{}
	add := func(to, d *Value) {
		if prev := grads[to]; prev != nil {
			d = g.Add("grad:"+to.Node.Name, prev, d)
		}
		grads[to] = d
	}
	for i, v := range of {
		add(v, by[i])
	}
	for i := n - 1; i >= 0; i-- {
		nd := g.nodes[i]
		if !through[i] {
			continue
		}
		dOut := make([]*Value, len(nd.Out))
		reached := false
		for j, o := range nd.Out {
			dOut[j] = grads[o]
			reached = reached || dOut[j] != nil
		}
		if !reached {
			continue
		}
		d, ok := nd.Op.(Differentiable)
		if !ok {
			return fail("graph: %s (%s) has no derivative, but the loss depends on a parameter through it", nd.Name, nd.Kind())
		}
		for k, dv := range d.Gradient(g, nd, dOut) {
			in := nd.In[k]
			if dv != nil && depends[in.Node.ID] {
				add(in, dv)
			}
		}
		if g.err != nil {
			return fail("")
		}
	}
	for i, v := range wrt {
		if out[i] = grads[v]; out[i] == nil {
			out[i] = g.Fail("graph: the loss does not depend on %s", v.Node.Name)
		}
	}
	return out
}
