// Package optest is the conformance suite for engines: every operation at
// awkward shapes, small networks trained for a few steps, and the contract of
// package engine. It compares an engine that computes in float32 with the
// oracle, within what float32 rounding explains (see tolerance.go).
//
//	func TestConformance(t *testing.T) {
//		optest.Run(t, func() engine.Engine { return cpu.New() })
//	}
package optest

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"selfcon/engine"
	"selfcon/graph"
)

// Case is a program and what to run it on. All its numbers are float32 numbers,
// so that every engine starts from the same ones.
type Case struct {
	Name      string
	Program   *graph.Program
	Variables map[string]engine.Tensor   // written before the first run
	Runs      []map[string]engine.Tensor // the inputs of each run

	want *reference // computed when first needed
}

// Run holds the engines that newEngine makes to the whole suite.
func Run(t *testing.T, newEngine func() engine.Engine) {
	for _, c := range Cases(1) {
		t.Run(c.Name, func(t *testing.T) {
			e := newEngine()
			defer e.Close()
			Compare(t, e, c)
		})
	}
	contract(t, newEngine)
}

// Compare runs the case on the oracle and on got, and fails the test where an
// output or a variable differs by more than rounding explains.
func Compare(t *testing.T, got engine.Engine, c Case) {
	t.Helper()
	if err := Check(got, c); err != nil {
		t.Error(err)
	}
}

// Check is Compare for callers without a test.
func Check(got engine.Engine, c Case) error {
	if c.want == nil {
		var err error
		if c.want, err = refer(c); err != nil {
			return err
		}
	}
	x, err := got.Compile(c.Program)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	for name, t := range c.Variables {
		if err := got.Write(name, t); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	var errs []error
	for i, in := range c.Runs {
		out, err := x.Run(in)
		if err != nil {
			return fmt.Errorf("run %d: %w", i, err)
		}
		for _, o := range c.Program.Outputs {
			v, ok := out[o.Name]
			if !ok {
				return fmt.Errorf("run %d: output %s is missing", i, o.Name)
			}
			if err := c.want.runs[i].outputs[o.Name].check(v, o.Value.Type); err != nil {
				errs = append(errs, fmt.Errorf("run %d: output %s: %w", i, o.Name, err))
			}
		}
		for _, v := range c.Program.Variables {
			t, err := got.Read(v.Name)
			if err != nil {
				return fmt.Errorf("run %d: %w", i, err)
			}
			if err := c.want.runs[i].variables[v.Name].check(t, v.Type); err != nil {
				errs = append(errs, fmt.Errorf("run %d: variable %s: %w", i, v.Name, err))
			}
		}
		if len(errs) > 0 {
			break // later runs start from these
		}
	}
	return errors.Join(errs...)
}

// expectation is a value of the oracle and how far each element may be from it.
type expectation struct {
	value     engine.Tensor
	tolerance []float64 // nil for int
}

func (x expectation) check(got engine.Tensor, want graph.Type) error {
	if err := got.Check(want); err != nil {
		return err
	}
	g, w := got.Float64s(), x.value.Float64s()
	wrong, worst, excess := 0, 0, 0.0
	for i := range w {
		if math.IsNaN(w[i]) && math.IsNaN(g[i]) {
			continue
		}
		allowed := 0.0
		if x.tolerance != nil {
			allowed = x.tolerance[i] + 2*unit*math.Abs(w[i]) + tiny
		}
		if d := math.Abs(g[i] - w[i]); !(d <= allowed) { // also catches NaN
			wrong++
			if e := d / allowed; !(e <= excess) && !math.IsNaN(excess) {
				worst, excess = i, e
			}
		}
	}
	if wrong == 0 {
		return nil
	}
	allowed := 0.0
	if x.tolerance != nil {
		allowed = x.tolerance[worst]
	}
	return fmt.Errorf("%d of %d elements of %v differ: worst at %v: got %.9g, want %.9g ± %.2g",
		wrong, len(w), want, index(worst, want.Shape), g[worst], w[worst], allowed)
}

// index is where element i of a row-major tensor stands.
func index(i int, s graph.Shape) []int {
	at := make([]int, len(s))
	for k := len(s) - 1; k >= 0; k-- {
		at[k] = i % s[k]
		i /= s[k]
	}
	return at
}
