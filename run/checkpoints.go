package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/engine"
	"selfcon/graph"
	"selfcon/train"
)

// The files of a checkpoint, checkpoints/step-N, N being the steps done. Beside
// the checkpoints lie two files with the name of one: last and best.
const (
	StateFile  = "state.safetensors" // all variables: parameters, running statistics, averages, the optimizer's and random counters
	PlaceFile  = "state.json"        // the rest: checkpointState
	LastFile   = "last"
	BestFile   = "best"
	stepPrefix = "step-"
	setAside   = ".damaged" // what a checkpoint that can't be used is renamed to
)

const checkpointFormat = 1

// checkpointState is what a checkpoint has beside its variables.
type checkpointState struct {
	Format  int         `json:"format"`
	Version string      `json:"selfcon"` // the program that wrote it
	Step    int         `json:"step"`
	State   train.State `json:"state"`
	Cost    Cost        `json:"cost"`
}

// stepName is a checkpoint's name.
func stepName(step int) string { return stepPrefix + strconv.Itoa(step) }

// steps lists the checkpoints of a run by their steps, ascending.
func steps(dir string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(dir, CheckpointsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), stepPrefix)
		n, err := strconv.Atoi(digits)
		if ok && err == nil && stepName(n) == e.Name() && e.IsDir() {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// runOf is the folder of the run that a path names a checkpoint of, as by
// RUN/checkpoints/best; empty if it names none.
func runOf(path string) string {
	folder := filepath.Dir(filepath.Clean(path))
	dir := filepath.Dir(folder)
	if filepath.Base(folder) != CheckpointsDir {
		return ""
	}
	if _, err := os.Stat(filepath.Join(dir, ManifestFile)); err != nil {
		return ""
	}
	return dir
}

// IsCheckpoint says whether a path names a checkpoint of a run, be it there or not.
func IsCheckpoint(path string) bool { return runOf(path) != "" }

// OpenModel opens the run that a path names, or one of its checkpoints: its
// folder, or checkpoints/best or checkpoints/last in place of that. dir is the
// folder that has the weights, as ReadModel and LoadModel take it, and that keeps
// the classifiers which are trained on them: those of a checkpoint are not the
// run's.
func OpenModel(path string) (dir string, m Manifest, err error) {
	of := runOf(path)
	if of == "" {
		m, err = Open(path)
		return path, m, err
	}
	if m, err = Open(of); err != nil {
		return path, m, err
	}
	name := filepath.Base(filepath.Clean(path))
	if name == LastFile || name == BestFile {
		if name, err = pointer(of, name); err != nil {
			return path, m, err
		}
	}
	all, err := steps(of)
	if err != nil {
		return path, m, err
	}
	if !slices.ContainsFunc(all, func(step int) bool { return stepName(step) == name }) {
		have := "it has none"
		if len(all) > 0 {
			have = "there are"
			for _, step := range all {
				have += " " + stepName(step)
			}
		}
		return path, m, &config.Error{Setting: "run", Reason: fmt.Sprintf("%s: %s has no such checkpoint; %s", path, of, have)}
	}
	dir = filepath.Join(of, CheckpointsDir, name)
	var s checkpointState
	err = checkpoint.ReadJSON(filepath.Join(dir, PlaceFile), &s)
	if errors.Is(err, fs.ErrNotExist) {
		return dir, m, checkpoint.Invalidf("%s %w: it has no %s", dir, checkpoint.ErrDamaged, PlaceFile)
	}
	if err != nil {
		return dir, m, err
	}
	m.At = &s.State.Place
	return dir, m, nil
}

// Beside is the name of what is made from the model in dir, as OpenModel found it,
// beside its run.
func Beside(dir, suffix string) string {
	dir = filepath.Clean(dir)
	if of := runOf(dir); of != "" {
		dir, suffix = of, filepath.Base(dir)+"-"+suffix
	}
	if base := filepath.Base(dir); base == "." || base == ".." { // no name to add to
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
	}
	return Fresh(dir + "-" + suffix)
}

// snapshot is a checkpoint in memory: a copy that the training does not touch.
type snapshot struct {
	state   checkpointState
	tensors []checkpoint.Named
	weights map[string]bool // names of those that make the model
	metrics []byte
}

func takeSnapshot(t *train.Trainer, m Manifest, metrics []byte) (*snapshot, error) {
	s := &snapshot{
		state:   checkpointState{checkpointFormat, m.Version, stepOf(t), t.State, m.Cost},
		weights: map[string]bool{}, metrics: slices.Clone(metrics),
	}
	for _, v := range t.Variables {
		s.weights[v.Name] = v.Role == graph.Parameter || v.Role == graph.Statistic
	}
	var err error
	s.tensors, err = checkpoint.Snapshot(t.Engine, t.Variables)
	return s, err
}

// stepOf is how many steps a trainer has done.
func stepOf(t *train.Trainer) int { return t.Epoch*t.Batches() + t.Batch }

// write makes the checkpoint, whole or not at all.
func (s *snapshot) write(dir string) error {
	folder := filepath.Join(dir, CheckpointsDir)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return checkpoint.WriteFolder(filepath.Join(folder, stepName(s.state.Step)), []checkpoint.Part{
		checkpoint.TensorPart(StateFile, checkpoint.File{Tensors: s.tensors}),
		checkpoint.JSONPart(PlaceFile, s.state),
		checkpoint.BytesPart(MetricsFile, s.metrics),
	})
}

// model is what the run is judged by and used for: the weights and running
// statistics, or their averages where the run keeps them.
func (s *snapshot) model(m Manifest) checkpoint.File {
	return modelFile(m, s.tensors, func(name string) bool { return s.weights[name] })
}

func modelFile(m Manifest, all []checkpoint.Named, weight func(name string) bool) checkpoint.File {
	f := checkpoint.File{Metadata: map[string]string{"format": "pt", "selfcon": m.Version, "arch": m.Config.Model.Arch, "method": m.Config.Method}}
	averaged, _ := Averaged(all)
	for _, t := range averaged {
		if weight(t.Name) {
			f.Tensors = append(f.Tensors, t)
		}
	}
	return f
}

// Averaged gives the variables of a run that have a moving average its value, and
// leaves the averages out; found says whether there are some.
func Averaged(all []checkpoint.Named) (out []checkpoint.Named, found bool) {
	value, average := map[string]engine.Tensor{}, map[string]bool{}
	for _, t := range all {
		value[t.Name] = t.Tensor
	}
	for _, t := range all {
		name := train.AverageName(t.Name)
		if a, ok := value[name]; ok {
			t.Tensor, average[name] = a, true
		}
		out = append(out, t)
	}
	return slices.DeleteFunc(out, func(t checkpoint.Named) bool { return average[t.Name] }), len(average) > 0
}

// readCheckpoint reads a checkpoint whose files are those that were written.
func readCheckpoint(path string) (s checkpointState, f checkpoint.File, metrics []byte, err error) {
	if err = checkpoint.CheckFolder(path, StateFile, PlaceFile, MetricsFile); err != nil {
		return
	}
	if err = checkpoint.ReadJSON(filepath.Join(path, PlaceFile), &s); err != nil {
		return
	}
	if s.Format != checkpointFormat {
		err = fmt.Errorf("%s: format %d; this program reads format %d", filepath.Join(path, PlaceFile), s.Format, checkpointFormat)
		return
	}
	if f, err = checkpoint.ReadTensors(filepath.Join(path, StateFile)); err != nil {
		return
	}
	metrics, err = os.ReadFile(filepath.Join(path, MetricsFile))
	return
}

// Restore puts a new trainer of the run's configuration where the last whole
// checkpoint was made, or leaves it at the beginning if there is none; the
// metrics become those of that moment. A damaged checkpoint is set aside, not
// deleted; notes say so.
func (f *Folder) Restore(t *train.Trainer) (notes []string, err error) {
	all, err := steps(f.Dir)
	if err != nil {
		return nil, err
	}
	f.Manifest.Cost = Cost{}
	var damaged []string
	for _, step := range slices.Backward(all) {
		path := filepath.Join(f.Dir, CheckpointsDir, stepName(step))
		s, tensors, metrics, err := readCheckpoint(path)
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return notes, err // it may be whole
			}
			notes = append(notes, err.Error())
			damaged = append(damaged, path)
			continue
		}
		if err := checkpoint.Restore(t.Engine, t.Variables, tensors); err != nil {
			return notes, fmt.Errorf("%s: %w", path, err)
		}
		t.State, f.metrics, f.Manifest.Cost = s.State, metrics, s.Cost
		f.saved = &s.State
		break
	}
	where := "the beginning"
	if f.saved != nil {
		where = stepName(stepOf(t))
	}
	for _, path := range damaged {
		to := path + setAside
		if err := os.RemoveAll(to); err != nil {
			return notes, err
		}
		if err := os.Rename(path, to); err != nil {
			return notes, err
		}
	}
	if len(damaged) > 0 {
		notes = append(notes, fmt.Sprintf("going on from %s; what is damaged was renamed to …%s", where, setAside))
	}
	for _, name := range []string{LastFile, BestFile} { // of what is gone
		to, err := pointer(f.Dir, name)
		if err != nil {
			return notes, err
		}
		if _, err := os.Stat(filepath.Join(f.Dir, CheckpointsDir, to)); to != "" && errors.Is(err, fs.ErrNotExist) {
			if err := remove(filepath.Join(f.Dir, CheckpointsDir, name)); err != nil {
				return notes, err
			}
		}
	}
	return notes, f.rewriteMetrics()
}
