package run

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"selfcon/checkpoint"
	"selfcon/engine"
	"selfcon/graph"
	"selfcon/internal/shell"
	"selfcon/model"
	"selfcon/train"
)

// LoadModel puts the trained weights of a run, or of a checkpoint, into an engine
// and returns the network: with its heads, or of an imported run the encoder alone.
func LoadModel(dir string, m Manifest, e engine.Engine) (*model.Network, error) {
	net, err := model.New(m.Config.Model)
	if err != nil {
		return nil, err
	}
	prog, err := forward(net, m)
	if err != nil {
		return nil, err
	}
	if _, err := e.Compile(prog); err != nil {
		return nil, err
	}
	f, err := readModel(dir, m, prog)
	if err != nil {
		return nil, err
	}
	if m.Imported != nil {
		f.Tensors = slices.DeleteFunc(f.Tensors, func(t checkpoint.Named) bool { return !strings.HasPrefix(t.Name, model.EncoderPrefix) })
	}
	if err := checkpoint.Restore(e, prog.Variables, f); err != nil {
		return nil, checkpoint.Invalidf("%s: %w", modelPath(dir, m), err)
	}
	return net, nil
}

// ReadModel reads the trained weights of a run in dir, or of a checkpoint, as
// OpenModel found it.
func ReadModel(dir string, m Manifest) (checkpoint.File, error) {
	net, err := model.New(m.Config.Model)
	if err != nil {
		return checkpoint.File{}, err
	}
	prog, err := forward(net, m)
	if err != nil {
		return checkpoint.File{}, err
	}
	return readModel(dir, m, prog)
}

// readModel is ReadModel, given what the weights are those of.
func readModel(dir string, m Manifest, prog *graph.Program) (checkpoint.File, error) {
	if m.At != nil {
		_, f, _, err := readCheckpoint(dir)
		if err != nil {
			return f, checkpoint.Invalidf("%w", err)
		}
		return modelFile(m, f.Tensors, func(name string) bool {
			return slices.ContainsFunc(prog.Variables, func(v *graph.Variable) bool { return v.Name == name })
		}), nil
	}
	f, err := checkpoint.ReadTensors(modelPath(dir, m))
	if errors.Is(err, fs.ErrNotExist) && m.Done {
		return f, checkpoint.Invalidf("%s has no %s any more, though it is done: put the file back, or train again with: selfcon train --config %s", dir, ModelFile, shell.Quote(filepath.Join(dir, ConfigFile)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("%s has no %s yet: the run was stopped before its first checkpoint; go on with: selfcon train --resume %s", dir, ModelFile, shell.Quote(dir))
	}
	return f, err
}

// modelPath is the file that has a model's weights.
func modelPath(dir string, m Manifest) string {
	if m.At != nil {
		return filepath.Join(dir, StateFile)
	}
	return filepath.Join(dir, ModelFile)
}

// forward builds the network in evaluation mode, for its variables.
func forward(net *model.Network, m Manifest) (*graph.Program, error) {
	if m.Imported != nil {
		return train.NewEncoder(net, 1)
	}
	method, err := m.Config.LossMethod()
	if err != nil {
		return nil, err
	}
	step := train.NewStepConfig(m.Config, method, len(m.Classes))
	step.Batch = 1
	return train.NewForward(net, step)
}
