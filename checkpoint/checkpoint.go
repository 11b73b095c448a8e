// Package checkpoint keeps a run's state on disk: tensors as safetensors, the
// rest as JSON beside them. A file is replaced whole or not at all, and read
// strictly: what does not fit is an error that names the file.
//
// A tensor of a File is an engine.Tensor whose Data may also be []int64, so
// that files of others survive reading and writing.
package checkpoint

import (
	"fmt"
	"math"
	"strings"

	"selfcon/engine"
	"selfcon/graph"
)

// File is the contents of a safetensors file.
type File struct {
	Metadata map[string]string
	Tensors  []Named
}

// Named is a tensor with its name.
type Named struct {
	Name string
	engine.Tensor
}

// Snapshot copies variables out of an engine, in the order of vars. The engine
// must hold them: a program that has them must have been compiled.
func Snapshot(e engine.Engine, vars []*graph.Variable) ([]Named, error) {
	out := make([]Named, len(vars))
	for i, v := range vars {
		t, err := e.Read(v.Name)
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
		if err := t.Check(v.Type); err != nil {
			return nil, fmt.Errorf("checkpoint: variable %q %w", v.Name, err)
		}
		out[i] = Named{v.Name, t}
	}
	return out, nil
}

// Restore copies the tensors of f into an engine's variables. It is strict
// both ways: each of vars must be in f with its shape and kind, and f must hold
// nothing else; otherwise no variable is touched.
func Restore(e engine.Engine, vars []*graph.Variable, f File) error {
	have := make(map[string]engine.Tensor, len(f.Tensors))
	for _, t := range f.Tensors {
		have[t.Name] = t.Tensor
	}
	known := make(map[string]bool, len(vars))
	var missing, unknown, misfit []string
	values := make([]engine.Tensor, len(vars))
	for i, v := range vars {
		known[v.Name] = true
		t, ok := have[v.Name]
		if !ok {
			missing = append(missing, v.Name)
			continue
		}
		var err error
		if values[i], err = narrow(t); err == nil {
			err = values[i].Check(v.Type)
		}
		if err != nil {
			misfit = append(misfit, v.Name+" "+err.Error())
		}
	}
	for _, t := range f.Tensors {
		if !known[t.Name] {
			unknown = append(unknown, t.Name)
		}
	}
	var wrong []string
	for _, w := range []struct {
		what  string
		names []string
	}{{"missing", missing}, {"not known to the network", unknown}, {"of the wrong type", misfit}} {
		if len(w.names) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s: %s", len(w.names), w.what, some(w.names)))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("checkpoint: the tensors (%d) do not fit the variables (%d): %s", len(f.Tensors), len(vars), strings.Join(wrong, "; "))
	}
	for i, v := range vars {
		if err := e.Write(v.Name, values[i]); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	return nil
}

// some joins the first five names.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", …"
}

// narrow makes []int64, which engines do not take, []int32.
func narrow(t engine.Tensor) (engine.Tensor, error) {
	wide, ok := t.Data.([]int64)
	if !ok {
		return t, nil
	}
	out := make([]int32, len(wide))
	for i, v := range wide {
		if v < math.MinInt32 || v > math.MaxInt32 {
			return t, fmt.Errorf("holds %d (element %d), which needs more than 32 bits", v, i)
		}
		out[i] = int32(v)
	}
	return engine.Tensor{Shape: t.Shape, Data: out}, nil
}
