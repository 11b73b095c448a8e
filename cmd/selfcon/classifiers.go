package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"selfcon/checkpoint"
	"selfcon/engine"
	"selfcon/eval"
	"selfcon/graph"
	"selfcon/internal/shell"
	"selfcon/model"
	"selfcon/run"
)

// The metadata of a file of classifiers that say how they vote together.
const (
	metaMean  = "ensemble_mean"
	metaExits = "ensemble_exits" // their names, separated by commas; empty: all
)

// saveProbe writes the classifiers of every exit, and how they vote together, into
// a run's folder.
func saveProbe(dir string, found []eval.ProbeResult, ensemble eval.Ensemble) error {
	f := checkpoint.File{Metadata: map[string]string{"format": "pt", metaMean: string(ensemble.Mean), metaExits: strings.Join(ensemble.Exits, ",")}}
	for i, x := range found {
		l := x.Linear
		name := fmt.Sprintf("%d.", i)
		f.Tensors = append(f.Tensors,
			checkpoint.Named{Name: name + "weight", Tensor: engine.Float32(l.Weight, l.Classes, l.Dim)},
			checkpoint.Named{Name: name + "bias", Tensor: engine.Float32(l.Bias, l.Classes)})
	}
	return checkpoint.WriteTensors(filepath.Join(dir, run.ProbeFile), f)
}

// loadProbe reads both back, the classifiers in the order of the network's exits. A file that
// is not of this network and this many classes is an error.
func loadProbe(dir string, net *model.Network, classes int) ([]*eval.Linear, eval.Ensemble, error) {
	ensemble := eval.DefaultEnsemble()
	path := filepath.Join(dir, run.ProbeFile)
	f, err := checkpoint.ReadTensors(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ensemble, usagef("%s has no classifiers yet; first: selfcon probe %s", dir, shell.Quote(dir))
	}
	if err != nil {
		return nil, ensemble, err
	}
	if mean, ok := f.Metadata[metaMean]; ok { // older files have none, and the paper's
		ensemble.Mean = eval.Mean(mean)
		if exits := f.Metadata[metaExits]; exits != "" {
			ensemble.Exits = strings.Split(exits, ",")
		}
	}
	if err := ensemble.Check(net.ExitNames()); err != nil {
		return nil, ensemble, fmt.Errorf("%s: %w; probe the run again", path, err)
	}
	have := map[string]engine.Tensor{}
	for _, t := range f.Tensors {
		have[t.Name] = t.Tensor
	}
	take := func(name string, shape ...int) ([]float32, error) {
		t := have[name]
		if err := t.Check(graph.Type{Shape: shape}); err != nil {
			return nil, fmt.Errorf("%s: %s %w; probe the run again", path, name, err)
		}
		delete(have, name)
		return t.Float32s(), nil
	}
	var out []*eval.Linear
	for i := range net.ExitNames() {
		w, err := take(fmt.Sprintf("%d.weight", i), classes, net.Dim())
		if err != nil {
			return nil, ensemble, err
		}
		b, err := take(fmt.Sprintf("%d.bias", i), classes)
		if err != nil {
			return nil, ensemble, err
		}
		out = append(out, &eval.Linear{Classes: classes, Dim: net.Dim(), Weight: w, Bias: b})
	}
	for name := range have {
		return nil, ensemble, fmt.Errorf("%s: the network has no exit for %s; probe the run again", path, name)
	}
	return out, ensemble, nil
}
