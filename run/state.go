package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"selfcon/checkpoint"
	"selfcon/graph"
	"selfcon/train"
)

// Save writes the run into its folder: the model (the moving average of its
// weights where one is kept), the manifest, and, for a run
// that is not done, the state to go on from. Each file is replaced whole or not
// at all. The classifiers of a probe are removed: they were trained on the
// features of the model that is replaced.
func Save(t *train.Trainer, dir string, m Manifest) error {
	var weights []*graph.Variable
	for _, v := range t.Variables {
		if v.Role == graph.Parameter || v.Role == graph.Statistic {
			weights = append(weights, v)
		}
	}
	state := filepath.Join(dir, StateFile)
	if !m.Done {
		all, err := checkpoint.Snapshot(t.Engine, t.Variables)
		if err != nil {
			return err
		}
		err = checkpoint.WriteTensors(state, checkpoint.File{Tensors: all, Metadata: map[string]string{
			"epoch": strconv.Itoa(t.Place.Epoch), "batch": strconv.Itoa(t.Place.Batch),
		}})
		if err != nil {
			return err
		}
	}
	tensors, err := checkpoint.Snapshot(t.Engine, weights)
	if err != nil {
		return err
	}
	if m.Config.Average > 0 { // the average is what is used
		for i, v := range weights {
			if a, err := t.Average(v.Name); err == nil {
				tensors[i].Tensor = a
			}
		}
	}
	for _, name := range []string{ProbeFile, ResultsFile} {
		if err := remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	meta := map[string]string{"format": "pt", "selfcon": m.Version, "arch": m.Config.Model.Arch, "method": m.Config.Method}
	if err := checkpoint.WriteTensors(filepath.Join(dir, ModelFile), checkpoint.File{Metadata: meta, Tensors: tensors}); err != nil {
		return err
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, ManifestFile), m); err != nil {
		return err
	}
	if m.Done {
		return remove(state)
	}
	return nil
}

// remove deletes a file if there is one.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Resume puts the trainer where an interrupted run of the same configuration
// was saved, and drops the metrics of epochs that ended after that.
func Resume(t *train.Trainer, dir string) error {
	path := filepath.Join(dir, StateFile)
	f, err := checkpoint.ReadTensors(path)
	if err != nil {
		return err
	}
	place := train.Place{}
	for name, to := range map[string]*int{"epoch": &place.Epoch, "batch": &place.Batch} {
		if *to, err = strconv.Atoi(f.Metadata[name]); err != nil || *to < 0 {
			return fmt.Errorf("%s: %s is %q, must be a count", path, name, f.Metadata[name])
		}
	}
	if err := checkpoint.Restore(t.Engine, t.Variables, f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	t.Place = place
	return trimMetrics(dir, place.Epoch)
}
