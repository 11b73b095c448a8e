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

// LoadModel puts a run's trained weights into an engine and returns the network:
// with its heads, or of an imported run the encoder alone.
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
	path := filepath.Join(dir, ModelFile)
	f, err := checkpoint.ReadTensors(path)
	if errors.Is(err, fs.ErrNotExist) && m.Done {
		return nil, checkpoint.Invalidf("%s has no %s any more, though it is done: put the file back, or train again with: selfcon train --config %s", dir, ModelFile, shell.Quote(filepath.Join(dir, ConfigFile)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s yet: the run was stopped before its first checkpoint; go on with: selfcon train --resume %s", dir, ModelFile, shell.Quote(dir))
	}
	if err != nil {
		return nil, err
	}
	if m.Imported != nil {
		f.Tensors = slices.DeleteFunc(f.Tensors, func(t checkpoint.Named) bool { return !strings.HasPrefix(t.Name, model.EncoderPrefix) })
	}
	if err := checkpoint.Restore(e, prog.Variables, f); err != nil {
		return nil, checkpoint.Invalidf("%s: %w", path, err)
	}
	return net, nil
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
