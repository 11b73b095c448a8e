// Package oracle is the engine that defines what every operation means: float64,
// one operation at a time, loops written for reading. Tests hold the other
// engines and the derivative rules to it. Matrix products, and with them
// convolutions, go through gonum's Gemm: 4 to 7 GFLOP/s a core, as much as
// register-blocked Go reaches.
//
// Results do not depend on the number of threads: what is shared out among
// them is whole images and whole blocks of a product, and sums over images are
// taken in a fixed order.
package oracle

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"selfcon/engine"
	"selfcon/graph"
)

// Engine holds variables in float64 and runs programs on them. New makes one.
type Engine struct{ vars map[string]*variable }

type variable struct {
	graph.Type
	tensor
}

// tensor is a value during a run: row-major, f or n by its DType. Kernels do
// not write to their operands, so values may share storage with each other but
// never with a variable or with the caller.
type tensor struct {
	f []float64
	n []int32
}

func floats(f []float64) []tensor { return []tensor{{f: f}} }

func (t tensor) clone() tensor { return tensor{slices.Clone(t.f), slices.Clone(t.n)} }

// kernel computes a node's results from its operands.
type kernel func(in []tensor) ([]tensor, error)

// New returns an engine that holds no variables.
func New() *Engine { return &Engine{map[string]*variable{}} }

// Name is "oracle float64".
func (e *Engine) Name() string { return "oracle float64" }

// Close does nothing.
func (e *Engine) Close() error { return nil }

// Read copies a variable out.
func (e *Engine) Read(name string) (engine.Tensor, error) {
	v, ok := e.vars[name]
	if !ok {
		return engine.Tensor{}, fmt.Errorf("oracle: no variable %q", name)
	}
	return host(v.Type, v.clone()), nil
}

// Write copies a variable in.
func (e *Engine) Write(name string, t engine.Tensor) error {
	v, ok := e.vars[name]
	if !ok {
		return fmt.Errorf("oracle: no variable %q", name)
	}
	if err := t.Check(v.Type); err != nil {
		return fmt.Errorf("oracle: variable %q: value %w", name, err)
	}
	v.tensor = device(t)
	return nil
}

// host wraps a tensor for the caller; device copies one in.
func host(t graph.Type, v tensor) engine.Tensor {
	if t.DType == graph.Int {
		return engine.Tensor{Shape: t.Shape, Data: v.n}
	}
	return engine.Tensor{Shape: t.Shape, Data: v.f}
}

func device(t engine.Tensor) tensor {
	if n, ok := t.Data.([]int32); ok {
		return tensor{n: slices.Clone(n)}
	}
	return tensor{f: slices.Clone(t.Float64s())}
}

type program struct {
	*graph.Program
	engine  *Engine
	kernels []kernel         // one a node; nil for Input and Read
	dead    [][]*graph.Value // after each node: the values that nothing needs any more
}

// Compile finds a kernel for every node.
func (e *Engine) Compile(p *graph.Program) (engine.Executable, error) {
	c := &program{p, e, make([]kernel, len(p.Nodes)), make([][]*graph.Value, len(p.Nodes))}
	for i, n := range p.Nodes {
		switch n.Op.(type) {
		case graph.Input, graph.Read:
			continue
		}
		for _, family := range []func(*graph.Node) kernel{basic, convolution, linear, norm, gate, loss} {
			if k := family(n); k != nil {
				c.kernels[i] = k
			}
		}
		if c.kernels[i] == nil {
			return nil, fmt.Errorf("oracle: node %s: operation %s is not known", n.Name, n.Kind())
		}
	}
	for _, v := range p.Variables {
		if old, ok := e.vars[v.Name]; ok && (!old.Shape.Equal(v.Shape) || old.DType != v.DType) {
			return nil, fmt.Errorf("oracle: variable %q is %v in this program but %v in an earlier one", v.Name, v.Type, old.Type)
		}
	}
	for _, v := range p.Variables {
		if _, ok := e.vars[v.Name]; ok {
			continue
		}
		t := tensor{f: make([]float64, v.Shape.Size())}
		if v.DType == graph.Int {
			t = tensor{n: make([]int32, v.Shape.Size())}
		}
		e.vars[v.Name] = &variable{v.Type, t}
	}

	// Lifetimes: outputs and updates stay to the end, everything else dies at its
	// last use.
	seen := map[*graph.Value]bool{}
	for _, o := range p.Outputs {
		seen[o.Value] = true
	}
	for _, u := range p.Updates {
		seen[u.Value] = true
	}
	for i, n := range slices.Backward(p.Nodes) {
		for _, v := range slices.Concat(n.Out, n.In) {
			if !seen[v] {
				seen[v] = true
				c.dead[i] = append(c.dead[i], v)
			}
		}
	}
	return c, nil
}

// Run evaluates the nodes in order.
func (p *program) Run(in map[string]engine.Tensor) (map[string]engine.Tensor, error) {
	if err := engine.CheckInputs(p.Program, in); err != nil {
		return nil, fmt.Errorf("oracle: %w", err)
	}
	values := map[*graph.Value]tensor{}
	for _, i := range p.Inputs {
		values[i.Value] = device(in[i.Name])
	}
	var operands []tensor
	for i, n := range p.Nodes {
		operands = operands[:0]
		for _, v := range n.In {
			operands = append(operands, values[v])
		}
		switch op := n.Op.(type) {
		case graph.Input: // set above
		case graph.Read:
			values[n.Out[0]] = p.engine.vars[op.Variable.Name].clone()
		default:
			out, err := p.kernels[i](operands)
			if err != nil {
				return nil, fmt.Errorf("oracle: node %s (%s): %w", n.Name, n.Kind(), err)
			}
			for j, v := range n.Out {
				values[v] = out[j]
			}
		}
		for _, v := range p.dead[i] {
			delete(values, v)
		}
	}
	for _, u := range p.Updates {
		p.engine.vars[u.Variable.Name].tensor = values[u.Value].clone()
	}
	out := map[string]engine.Tensor{}
	for _, o := range p.Outputs {
		out[o.Name] = host(o.Value.Type, values[o.Value].clone())
	}
	return out, nil
}

// parallel calls f(0) … f(n−1) on all cores, in no order.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
