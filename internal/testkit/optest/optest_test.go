package optest

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

// cases are another draw than the one that Run uses.
var cases = sync.OnceValue(func() []Case { return Cases(2) })

func TestOracle(t *testing.T) {
	Run(t, func() engine.Engine { return oracle.New() })
}

func TestCasesAreReproducible(t *testing.T) {
	a, b := Cases(3), Cases(3)
	names := map[string]bool{}
	for i := range a {
		if a[i].Name != b[i].Name || !reflect.DeepEqual(bits(a[i].Runs...), bits(b[i].Runs...)) || !reflect.DeepEqual(bits(a[i].Variables), bits(b[i].Variables)) {
			t.Errorf("case %d is %s and %s, or has different numbers", i, a[i].Name, b[i].Name)
		}
		if names[a[i].Name] {
			t.Errorf("two cases are called %s", a[i].Name)
		}
		names[a[i].Name] = true
	}
}

// bits has floats as their bits, so that NaNs are equal.
func bits(all ...map[string]engine.Tensor) []map[string][]uint64 {
	var b []map[string][]uint64
	for _, tensors := range all {
		m := map[string][]uint64{}
		for name, t := range tensors {
			for _, v := range t.Float64s() {
				m[name] = append(m[name], math.Float64bits(v))
			}
		}
		b = append(b, m)
	}
	return b
}

// TestEveryOperationHasCases reads the graph package's source: an operation is
// whatever has an Infer method.
func TestEveryOperationHasCases(t *testing.T) {
	covered := map[string]int{}
	for _, c := range cases() {
		for _, n := range c.Program.Nodes {
			covered[n.Kind()]++
		}
	}
	ops := Operations(t, "../../../graph", "Infer")
	for _, op := range ops {
		if covered[op] == 0 {
			t.Errorf("operation %s has no case", op)
		}
	}
	if len(ops) < 30 {
		t.Errorf("found only %d operations in the source of package graph: %v", len(ops), ops)
	}
}

// TestTolerancesAreTight: a tolerance that lets through a thousandth of a
// tensor's largest element would hide mistakes. (In a network's third step, a
// hundredth.)
func TestTolerancesAreTight(t *testing.T) {
	for _, c := range cases() {
		switch {
		case strings.HasPrefix(c.Name, "BatchNormGrad/[2×1×1×1]"): // two rows: the terms cancel
			continue
		case c.Name == "BatchNorm/constant_channels": // 1/√Eps times the rounding of the mean
			continue
		}
		ref := c.want
		limit := 1e-2
		if ref == nil {
			limit = 1e-3
			var err error
			if ref, err = refer(c); err != nil {
				t.Fatal(err)
			}
		}
		for i, r := range ref.runs {
			for _, values := range []map[string]expectation{r.outputs, r.variables} {
				for name, x := range values {
					largest, allowed := largestOf(x.value.Float64s()), largestOf(x.tolerance)
					if allowed > limit*largest && largest > 1e-6 {
						t.Errorf("%s run %d: %s is at most %.3g, tolerance %.3g", c.Name, i, name, largest, allowed)
					}
				}
			}
		}
	}
}

// float32Engine is the oracle with the result of every operation rounded to
// float32, and one kind of operation wrong.
type float32Engine struct {
	*oracle.Engine
	wrong string
}

type float32Program struct {
	p     *graph.Program
	e     *oracle.Engine
	nodes map[*graph.Node]*single
	wrong string
}

func (e float32Engine) Compile(p *graph.Program) (engine.Executable, error) {
	if _, err := e.Engine.Compile(p); err != nil {
		return nil, err
	}
	x := &float32Program{p, e.Engine, map[*graph.Node]*single{}, e.wrong}
	for _, n := range p.Nodes {
		var err error
		if x.nodes[n], err = newSingle(n); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (x *float32Program) Run(in map[string]engine.Tensor) (map[string]engine.Tensor, error) {
	values := map[*graph.Value]engine.Tensor{}
	for _, n := range x.p.Nodes {
		var out []engine.Tensor
		var err error
		switch op := n.Op.(type) {
		case graph.Input:
			out = []engine.Tensor{widen(in[n.Name])}
		case graph.Read:
			var v engine.Tensor
			v, err = x.e.Read(op.Variable.Name)
			out = []engine.Tensor{v}
		default:
			operands := make([]engine.Tensor, len(n.In))
			for i, v := range n.In {
				operands[i] = values[v]
			}
			out, err = x.nodes[n].run(operands)
		}
		if err != nil {
			return nil, err
		}
		for i, v := range n.Out {
			switch d := out[i].Data.(type) {
			case []float64:
				for k := range d {
					d[k] = float64(float32(d[k]))
				}
				if n.Kind() == x.wrong { // the last element, by 1 % of the largest
					if last := &d[len(d)-1]; math.IsNaN(*last) {
						*last = 1
					} else {
						*last += 0.01*largestOf(d) + 1e-30
					}
				}
			case []int32:
				if n.Kind() == x.wrong {
					d[len(d)-1]++
				}
			}
			values[v] = out[i]
		}
	}
	for _, u := range x.p.Updates {
		if err := x.e.Write(u.Variable.Name, values[u.Value]); err != nil {
			return nil, err
		}
	}
	out := map[string]engine.Tensor{}
	for _, o := range x.p.Outputs {
		out[o.Name] = values[o.Value]
	}
	return out, nil
}

// TestFloat32Passes: rounding every result to float32 is within tolerance.
func TestFloat32Passes(t *testing.T) {
	for _, c := range cases() {
		if err := Check(float32Engine{oracle.New(), ""}, c); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// TestMistakesAreFound: a small mistake in one element of one operation's
// result fails every case of that operation.
func TestMistakesAreFound(t *testing.T) {
	for _, c := range cases() {
		last := c.Program.Nodes[len(c.Program.Nodes)-1].Kind()
		if len(c.Runs) > 1 {
			last = "BatchNormGrad"
		} else if ref, err := refer(c); err != nil {
			t.Fatal(err)
		} else if largestOf(ref.runs[0].outputs[c.Program.Outputs[0].Name].value.Float64s()) < 1e-6 {
			continue // 0, but for rounding: nothing to be wrong by 1 % of
		}
		if err := Check(float32Engine{oracle.New(), last}, c); err == nil {
			t.Errorf("%s: a mistake in %s was not found", c.Name, last)
		}
	}
}

func TestCheckFindsNaN(t *testing.T) {
	x := expectation{engine.Scalar(1), []float64{1}}
	for _, v := range []float64{math.NaN(), math.Inf(1)} {
		if x.check(engine.Scalar(v), graph.Type{Shape: graph.Shape{}}) == nil {
			t.Errorf("%g passes for 1", v)
		}
	}
	x = expectation{engine.Scalar(math.NaN()), []float64{1}}
	if x.check(engine.Scalar(1), graph.Type{Shape: graph.Shape{}}) == nil {
		t.Error("1 passes for NaN")
	}
}

func TestOperations(t *testing.T) {
	dir := t.TempDir()
	source := "package x\n\ntype A struct{}\n\nfunc (A) Infer() {}\n\nfunc (b *B) Infer() {}\n\nfunc (A) Gradient() {}\n\nfunc Infer() {}\n"
	if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Operations(t, dir, "Infer"); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("operations %v, want A and B", got)
	}
	for _, op := range Operations(t, "../../../graph", "Gradient") {
		if !regexp.MustCompile(`^[A-Z]\w+$`).MatchString(op) {
			t.Errorf("operation called %q", op)
		}
	}
}
