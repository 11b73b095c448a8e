package optest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

// reference is what a case must give.
type reference struct {
	runs []referenceRun
	// unstable: rounding may change which unit of a ReLU is active or which
	// pixel of a window is the largest, so that derivatives jump.
	unstable bool
}

type referenceRun struct{ outputs, variables map[string]expectation }

// worlds is how many times a case is computed: once exactly, and then with
// every operation off by a random part of its rounding bound.
const worlds = 5

// refer computes a case on the oracle, node by node.
//
// The tolerance of an operation whose operands are exact is the bound of its own
// rounding. Further down a program rounding errors of earlier operations
// arrive too, amplified or damped in ways that depend on the numbers; there the
// tolerance is measured: twice the largest deviation, over the tensor, of the
// worlds in which every operation errs by its bound times a random number in
// [−1, 1).
func refer(c Case) (*reference, error) { return referFrom(c, 0) }

// Apart says, for each variable, how far rounding in the derivatives alone may
// bring it from the exact value in the case's first run: a tolerance for two
// programs whose forward passes make the same numbers, and with them the same
// choices of ReLUs and pooling, however many of these are close.
func Apart(c Case) (map[string]float64, error) {
	c.Runs = c.Runs[:1]
	ref, err := referFrom(c, slices.IndexFunc(c.Program.Nodes, func(n *graph.Node) bool { return strings.Contains(n.Kind(), "Grad") }))
	if err != nil {
		return nil, err
	}
	most := map[string]float64{}
	for name, x := range ref.runs[0].variables {
		most[name] = slices.Max(x.tolerance)
	}
	return most, nil
}

// referFrom is refer with operations that err from node first on.
func referFrom(c Case, first int) (*reference, error) {
	ref := &reference{}
	noise := rand.New(rand.NewPCG(7, 7))
	nodes := map[*graph.Node]*single{}
	operations := 0
	for _, n := range c.Program.Nodes {
		if len(n.In) > 0 {
			operations++
		}
	}
	vars := make([]map[string]engine.Tensor, worlds)
	if operations <= 1 { // nothing arrives from earlier operations
		vars = vars[:1]
	}
	spread := map[string][]float64{} // tolerances of the variables; nil: exact
	for w := range vars {
		vars[w] = map[string]engine.Tensor{}
		for _, v := range c.Program.Variables {
			vars[w][v.Name] = engine.Tensor{Shape: v.Shape, Data: make([]float64, v.Shape.Size())}
			if v.DType == graph.Int {
				vars[w][v.Name] = engine.Tensor{Shape: v.Shape, Data: make([]int32, v.Shape.Size())}
			}
			if t, ok := c.Variables[v.Name]; ok {
				vars[w][v.Name] = widen(t)
			}
		}
	}
	for _, in := range c.Runs {
		values := make([]map[*graph.Value]engine.Tensor, len(vars))
		for w := range values {
			values[w] = map[*graph.Value]engine.Tensor{}
		}
		tolerance := map[*graph.Value][]float64{} // missing: exact
		for at, n := range c.Program.Nodes {
			switch op := n.Op.(type) {
			case graph.Input:
				for w := range values {
					values[w][n.Out[0]] = widen(in[n.Name])
				}
				continue
			case graph.Read:
				for w := range values {
					values[w][n.Out[0]] = vars[w][op.Variable.Name]
				}
				if t := spread[op.Variable.Name]; t != nil {
					tolerance[n.Out[0]] = t
				}
				continue
			}
			s := nodes[n]
			if s == nil {
				var err error
				if s, err = newSingle(n); err != nil {
					return nil, err
				}
				nodes[n] = s
			}
			exact := true
			for _, v := range n.In {
				exact = exact && tolerance[v] == nil
			}
			for w := range values {
				operands := make([]engine.Tensor, len(n.In))
				for i, v := range n.In {
					operands[i] = values[w][v]
				}
				out, err := s.run(operands)
				if err != nil {
					return nil, err
				}
				bounds := s.bound(operands, out)
				for i, v := range n.Out {
					if w == 0 {
						if exact && bounds[i] != nil {
							tolerance[v] = bounds[i]
						}
						if !exact && v.DType == graph.Float {
							tolerance[v] = make([]float64, v.Shape.Size())
						}
					} else if bounds[i] != nil && at >= first {
						d := out[i].Data.([]float64)
						for k := range d {
							d[k] += bounds[i][k] * (2*noise.Float64() - 1)
						}
					}
					values[w][v] = out[i]
				}
				if w == 0 {
					continue
				}
				switch n.Op.(type) {
				case graph.ReLUGrad, graph.MaxPool2DGrad:
					ref.unstable = ref.unstable || zerosDiffer(values[0][n.Out[0]], out[0])
				}
			}
			if exact {
				continue
			}
			for _, v := range n.Out {
				if v.DType == graph.Int {
					continue
				}
				largest := 0.0
				for _, noisy := range values[1:] {
					for i, x := range noisy[v].Data.([]float64) {
						largest = max(largest, math.Abs(x-values[0][v].Data.([]float64)[i]))
					}
				}
				for i := range tolerance[v] {
					tolerance[v][i] = 2 * largest
				}
			}
		}
		for _, u := range c.Program.Updates {
			for w := range vars {
				vars[w][u.Variable.Name] = values[w][u.Value]
			}
			spread[u.Variable.Name] = tolerance[u.Value]
		}
		r := referenceRun{map[string]expectation{}, map[string]expectation{}}
		for _, o := range c.Program.Outputs {
			r.outputs[o.Name] = expect(values[0][o.Value], tolerance[o.Value])
		}
		for _, v := range c.Program.Variables {
			r.variables[v.Name] = expect(vars[0][v.Name], spread[v.Name])
		}
		ref.runs = append(ref.runs, r)
	}
	return ref, nil
}

func expect(v engine.Tensor, tolerance []float64) expectation {
	if d, ok := v.Data.([]float64); ok && tolerance == nil {
		tolerance = make([]float64, len(d))
	}
	return expectation{v, tolerance}
}

// widen copies a tensor, floats as float64.
func widen(t engine.Tensor) engine.Tensor {
	if n, ok := t.Data.([]int32); ok {
		return engine.Tensor{Shape: t.Shape, Data: slices.Clone(n)}
	}
	return engine.Tensor{Shape: t.Shape, Data: slices.Clone(t.Float64s())}
}

func zerosDiffer(a, b engine.Tensor) bool {
	y := b.Data.([]float64)
	for i, x := range a.Data.([]float64) {
		if (x == 0) != (y[i] == 0) {
			return true
		}
	}
	return false
}

// single is one node as a program of the oracle: its operands are the inputs.
type single struct {
	node *graph.Node
	exec engine.Executable
}

func newSingle(n *graph.Node) (*single, error) {
	g := graph.New()
	in := make([]*graph.Value, len(n.In))
	for i, v := range n.In {
		in[i] = g.Input(strconv.Itoa(i), v.DType, v.Shape...)
	}
	for i, v := range g.Apply(n.Name, n.Op, in...) {
		g.Output(strconv.Itoa(i), v)
	}
	p, err := g.Build()
	if err != nil {
		return nil, err
	}
	exec, err := oracle.New().Compile(p)
	return &single{n, exec}, err
}

func (s *single) run(in []engine.Tensor) ([]engine.Tensor, error) {
	named := map[string]engine.Tensor{}
	for i, t := range in {
		named[strconv.Itoa(i)] = t
	}
	res, err := s.exec.Run(named)
	if err != nil {
		return nil, err
	}
	out := make([]engine.Tensor, len(s.node.Out))
	for i := range out {
		out[i] = widen(res[strconv.Itoa(i)])
	}
	return out, nil
}

// absolute is the operation on the absolute values of its operands, those in
// keep as they are.
func (s *single) absolute(in []engine.Tensor, keep ...int) [][]float64 {
	pos := slices.Clone(in)
	for i, t := range in {
		if f, ok := t.Data.([]float64); ok && !slices.Contains(keep, i) {
			a := make([]float64, len(f))
			for k, v := range f {
				a[k] = math.Abs(v)
			}
			pos[i].Data = a
		}
	}
	out, err := s.run(pos)
	if err != nil {
		panic(fmt.Sprintf("optest: %s ran on its operands but not on their absolute values: %v", s.node.Name, err))
	}
	res := make([][]float64, len(out))
	for i, t := range out {
		res[i] = t.Float64s()
	}
	return res
}
