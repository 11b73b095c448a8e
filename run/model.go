package run

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"selfcon/checkpoint"
	"selfcon/engine"
	"selfcon/model"
	"selfcon/train"
)

// LoadModel puts a run's trained weights into an engine and returns the network.
func LoadModel(dir string, m Manifest, e engine.Engine) (*model.Network, error) {
	net, err := model.New(m.Config.Model)
	if err != nil {
		return nil, err
	}
	method, err := m.Config.LossMethod()
	if err != nil {
		return nil, err
	}
	step := train.NewStepConfig(m.Config, method, len(m.Classes))
	step.Batch = 1
	prog, err := train.NewForward(net, step)
	if err != nil {
		return nil, err
	}
	if _, err := e.Compile(prog); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, ModelFile)
	f, err := checkpoint.ReadTensors(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s yet: the run was stopped before its first checkpoint", dir, ModelFile)
	}
	if err != nil {
		return nil, err
	}
	if err := checkpoint.Restore(e, prog.Variables, f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return net, nil
}
