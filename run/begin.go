package run

import (
	"fmt"
	"strings"

	"selfcon/checkpoint"
	"selfcon/graph"
	"selfcon/model"
	"selfcon/train"
)

// Begin gives the encoder of a trainer that has not begun the weights and running
// statistics of the run or checkpoint that path names, all of them; heads and
// classifiers start anew.
func Begin(t *train.Trainer, path string) error {
	dir, m, err := OpenModel(path)
	if err != nil {
		return err
	}
	f, err := ReadModel(dir, m)
	if err != nil {
		return err
	}
	var encoder []checkpoint.Named
	for _, x := range f.Tensors {
		if strings.HasPrefix(x.Name, model.EncoderPrefix) {
			encoder = append(encoder, x)
		}
	}
	var vars []*graph.Variable
	for _, v := range t.Variables {
		if strings.HasPrefix(v.Name, model.EncoderPrefix) && (v.Role == graph.Parameter || v.Role == graph.Statistic) {
			vars = append(vars, v)
		}
	}
	if err := checkpoint.Restore(t.Engine, vars, checkpoint.File{Tensors: encoder}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return t.StartAverages()
}
