// Package engine says what an engine is: something that compiles a graph's
// program, runs it, and keeps the variables between runs.
package engine

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"

	"selfcon/graph"
)

// Engine compiles programs and holds their variables. Programs compiled by one
// engine share variables of the same name. An engine is used by one goroutine
// at a time.
type Engine interface {
	// Name says which engine this is and how it runs ("cpu avx512, 2 threads").
	Name() string
	// Compile prepares a program. Variables that the engine does not hold yet
	// are created, full of zeros.
	Compile(p *graph.Program) (Executable, error)
	// Read copies a variable out, in PyTorch's layout.
	Read(variable string) (Tensor, error)
	// Write copies a variable in.
	Write(variable string, t Tensor) error
	// Close frees what the engine holds (threads, memory).
	Close() error
}

// Executable is a compiled program.
type Executable interface {
	// Run executes the program once. in has a tensor for every input of the
	// program; the outputs belong to the executable and are valid until its next
	// Run. Run applies the updates only if everything before them succeeded.
	Run(in map[string]Tensor) (map[string]Tensor, error)
}

// Tensor is host data: row-major, Data is []float32, []float64 or []int32.
// Engines take either kind of float and give their own.
type Tensor struct {
	Shape graph.Shape
	Data  any
}

// Float32 makes a tensor of the given shape around data.
func Float32(data []float32, shape ...int) Tensor { return Tensor{shape, data} }

// Int32 makes a tensor of the given shape around data.
func Int32(data []int32, shape ...int) Tensor { return Tensor{shape, data} }

// Scalar makes a float tensor without axes.
func Scalar(v float64) Tensor { return Tensor{graph.Shape{}, []float64{v}} }

// Float64s returns the elements as float64: a copy unless they are already.
func (t Tensor) Float64s() []float64 {
	switch d := t.Data.(type) {
	case []float64:
		return d
	case []float32:
		out := make([]float64, len(d))
		for i, v := range d {
			out[i] = float64(v)
		}
		return out
	case []int32:
		out := make([]float64, len(d))
		for i, v := range d {
			out[i] = float64(v)
		}
		return out
	}
	return nil
}

// Float32s returns the elements as float32: a copy unless they are already.
func (t Tensor) Float32s() []float32 {
	if d, ok := t.Data.([]float32); ok {
		return d
	}
	d := t.Float64s()
	out := make([]float32, len(d))
	for i, v := range d {
		out[i] = float32(v)
	}
	return out
}

// Item is the value of a tensor with one element.
func (t Tensor) Item() float64 {
	if d := t.Float64s(); len(d) == 1 {
		return d[0]
	}
	return math.NaN()
}

// Check says what is wrong with t as a tensor of the given type, if anything.
func (t Tensor) Check(want graph.Type) error {
	n, dtype := -1, graph.Float
	switch d := t.Data.(type) {
	case []float32:
		n = len(d)
	case []float64:
		n = len(d)
	case []int32:
		n, dtype = len(d), graph.Int
	}
	if n < 0 {
		return fmt.Errorf("holds %T; must be []float32, []float64 or []int32", t.Data)
	}
	if !t.Shape.Equal(want.Shape) || dtype != want.DType {
		return fmt.Errorf("is %v, must be %v", graph.Type{Shape: t.Shape, DType: dtype}, want)
	}
	if n != t.Shape.Size() {
		return fmt.Errorf("has shape %v but %d elements", t.Shape, n)
	}
	return nil
}

// CheckInputs says what is wrong with the tensors given to a run of p.
func CheckInputs(p *graph.Program, in map[string]Tensor) error {
	for _, want := range p.Inputs {
		t, ok := in[want.Name]
		if !ok {
			return fmt.Errorf("input %q is missing", want.Name)
		}
		if err := t.Check(want.Value.Type); err != nil {
			return fmt.Errorf("input %q %w", want.Name, err)
		}
	}
	if len(in) > len(p.Inputs) {
		known := map[string]bool{}
		for _, want := range p.Inputs {
			known[want.Name] = true
		}
		for name := range in {
			if !known[name] {
				return fmt.Errorf("the program has no input %q", name)
			}
		}
	}
	return nil
}

// CheckLabels says which label is out of [0, classes).
func CheckLabels(labels []int32, classes int) error {
	for i, l := range labels {
		if l < 0 || int(l) >= classes {
			return fmt.Errorf("label %d of row %d is not in [0, %d)", l, i, classes)
		}
	}
	return nil
}

// InitialValue is the first value of a variable for a seed: it depends on the
// seed and the variable's name, shape and Init alone.
func InitialValue(v *graph.Variable, seed uint64) Tensor {
	n := v.Shape.Size()
	if v.DType == graph.Int {
		return Tensor{v.Shape, make([]int32, n)}
	}
	data := make([]float32, n)
	initialize(data, v, seed)
	return Tensor{v.Shape, data}
}

// initialize writes the first value of a float variable over data.
func initialize(data []float32, v *graph.Variable, seed uint64) {
	h := fnv.New64a()
	h.Write([]byte(v.Name))
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	switch v.Init.Kind {
	case graph.Constant1:
		for i := range data {
			data[i] = 1
		}
	case graph.Normal:
		for i := range data {
			data[i] = float32(v.Init.Scale * r.NormFloat64())
		}
	case graph.Uniform:
		for i := range data {
			data[i] = float32(v.Init.Scale * (2*r.Float64() - 1))
		}
	default:
		clear(data)
	}
}

// Initialize gives every variable of the program its first value.
func Initialize(e Engine, p *graph.Program, seed uint64) error {
	// One buffer for all: together they can be as large as the network.
	most := 0
	for _, v := range p.Variables {
		most = max(most, v.Shape.Size())
	}
	buffer := make([]float32, most)
	for _, v := range p.Variables {
		t := Tensor{v.Shape, buffer[:v.Shape.Size()]}
		if v.DType == graph.Int {
			t = InitialValue(v, seed)
		} else {
			initialize(buffer[:v.Shape.Size()], v, seed)
		}
		if err := e.Write(v.Name, t); err != nil {
			return err
		}
	}
	return nil
}
