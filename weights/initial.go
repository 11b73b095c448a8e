package weights

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"selfcon/engine"
	"selfcon/graph"
	"selfcon/model"
)

// Initial says what a network took over from a file to begin with.
type Initial struct {
	Copied  []string // variables
	Missing []string // variables that the file has nothing for
	Misfits []string // variables that are of another shape in the file, with both
	Unused  []string // tensors of the file that are no variables
}

// LoadInitial copies the tensors of f into the variables of the same name and
// shape: parameters and running statistics, of the encoder and, where they fit,
// of heads. The others stay as they are. It is an error, and nothing is copied,
// if no variable of the encoder fits.
func LoadInitial(e engine.Engine, vars []*graph.Variable, f *File) (*Initial, error) {
	have := map[string]engine.Tensor{}
	for _, t := range f.Tensors {
		have[t.Name] = t.Tensor
	}
	in := &Initial{}
	encoder := 0
	var fit []*graph.Variable
	for _, v := range vars {
		if v.Role != graph.Parameter && v.Role != graph.Statistic {
			continue
		}
		t, ok := have[v.Name]
		delete(have, v.Name)
		switch {
		case !ok:
			in.Missing = append(in.Missing, v.Name)
		case !t.Shape.Equal(v.Shape):
			in.Misfits = append(in.Misfits, fmt.Sprintf("%s is %v, must be %v", v.Name, t.Shape, v.Shape))
		default:
			if err := t.Check(v.Type); err != nil {
				return nil, bad(f.Path, "%s %v", v.Name, err)
			}
			if strings.HasPrefix(v.Name, model.EncoderPrefix) {
				encoder++
			}
			fit = append(fit, v)
		}
	}
	in.Unused = slices.Sorted(maps.Keys(have))
	if encoder == 0 {
		hint := ""
		if c, err := f.Recognise(""); err == nil {
			hint = "; it is " + Describe(c)
		}
		return nil, bad(f.Path, "nothing in it fits the network's encoder%s", hint)
	}
	values := map[string]engine.Tensor{}
	for _, t := range f.Tensors {
		values[t.Name] = t.Tensor
	}
	for _, v := range fit {
		if err := e.Write(v.Name, values[v.Name]); err != nil {
			return nil, err
		}
		in.Copied = append(in.Copied, v.Name)
	}
	return in, nil
}

// Lines are what a person should know, a line each.
func (in *Initial) Lines() []string {
	lines := []string{fmt.Sprintf("%d variables begin with the file's weights", len(in.Copied))}
	for _, x := range []struct {
		what  string
		names []string
	}{{"begin anew, the file has none", in.Missing}, {"begin anew, the file's are of another shape", in.Misfits}, {"are in the file and not in the network", in.Unused}} {
		if len(x.names) > 0 {
			lines = append(lines, fmt.Sprintf("%d %s: %s", len(x.names), x.what, some(x.names, 6)))
		}
	}
	return lines
}
