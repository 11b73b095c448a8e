package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/engine"
	"selfcon/graph"
	"selfcon/model"
)

// The files of a run's folder.
const (
	ManifestFile = "run.json"          // Manifest
	ModelFile    = "model.safetensors" // parameters and running statistics, the reference's names
	StateFile    = "state.safetensors" // all variables and the place, of a run that is not done
	MetricsFile  = "metrics.jsonl"     // a line an epoch
	ProbeFile    = "probe.safetensors" // the linear classifiers of selfcon probe
	ResultsFile  = "probe.json"        // their accuracies
)

// manifestFormat is the Manifest.Format that this program writes and reads.
const manifestFormat = 1

// Manifest describes a run; it lies in the run's folder as run.json.
type Manifest struct {
	Format  int        `json:"format"`
	Version string     `json:"selfcon"` // the program that wrote it
	Engine  string     `json:"engine"`
	Created time.Time  `json:"created"`
	Config  config.Run `json:"config"` // resolved
	Classes []string   `json:"classes"`
	Images  Counts     `json:"images"`
	Done    bool       `json:"done"`
}

// Counts are the sizes of a run's splits.
type Counts struct {
	Train int `json:"train"`
	Val   int `json:"val"`
	Test  int `json:"test"`
}

// NewManifest describes a run that is about to start.
func NewManifest(s *Setup, e engine.Engine, version string) Manifest {
	return Manifest{
		Format: manifestFormat, Version: version, Engine: e.Name(), Created: time.Now().UTC().Truncate(time.Second),
		Config: s.Config, Classes: s.Classes, Images: s.Counts(),
	}
}

// CreateFolder makes a new folder for a run: dir itself if there is none, an
// error if it is there and not empty.
func CreateFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is there already and not empty; name another folder, or remove it", dir)
	}
	return os.MkdirAll(dir, 0o755)
}

// FreshFolder is base, or base-2, base-3, … : the first that is not there.
func FreshFolder(base string) string {
	dir := base
	for i := 2; ; i++ {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return dir
		}
		dir = fmt.Sprintf("%s-%d", base, i)
	}
}

// OpenRun reads a run's manifest.
func OpenRun(dir string) (Manifest, error) {
	m := Manifest{Config: config.Default()} // of settings that older programs did not have
	path := filepath.Join(dir, ManifestFile)
	err := checkpoint.ReadJSON(path, &m)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, &config.Error{Setting: "run", Reason: fmt.Sprintf("%s is not the folder of a run: it has no %s", dir, ManifestFile)}
	case err != nil:
		return m, err
	case m.Format != manifestFormat:
		return m, fmt.Errorf("%s: format %d; this program reads format %d", path, m.Format, manifestFormat)
	case len(m.Classes) < 2:
		return m, fmt.Errorf("%s: has %d classes; a run has at least 2", path, len(m.Classes))
	}
	if err := m.Config.Validate(); err != nil {
		return m, fmt.Errorf("%s: damaged, or changed by hand: %v", path, err) // not the caller's setting
	}
	return m, nil
}

// Save writes the run into its folder: the model (the moving average of its
// weights where one is kept), the manifest, and, for a run
// that is not done, the state to go on from. Each file is replaced whole or not
// at all. The classifiers of a probe are removed: they were trained on the
// features of the model that is replaced.
func (t *Trainer) Save(dir string, m Manifest) error {
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
			if a, err := t.Engine.Read(slotAverage + v.Name); err == nil {
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
func (t *Trainer) Resume(dir string) error {
	path := filepath.Join(dir, StateFile)
	f, err := checkpoint.ReadTensors(path)
	if err != nil {
		return err
	}
	place := Place{}
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
	step := NewStepConfig(m.Config, method, len(m.Classes))
	step.Batch = 1
	prog, err := NewForward(net, step)
	if err != nil {
		return nil, err
	}
	if _, err := e.Compile(prog); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, ModelFile)
	f, err := checkpoint.ReadTensors(path)
	if err != nil {
		return nil, err
	}
	if err := checkpoint.Restore(e, prog.Variables, f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return net, nil
}

// metrics is a line of the metrics' file. Means and times are since the run was
// started or resumed.
type metrics struct {
	Epoch   int     `json:"epoch"` // done, so from 1
	Loss    float64 `json:"loss"`  // mean over the epoch's steps
	Rate    float64 `json:"lr"`    // of the epoch's last step
	Speed   float64 `json:"images_per_s"`
	Seconds float64 `json:"seconds"`
	Waited  float64 `json:"data_wait_seconds"`

	Exits []ExitHealth `json:"exits,omitempty"` // of the epoch's last batch
}

// AppendMetrics adds a line about a finished epoch to the run's metrics.
func AppendMetrics(dir string, p Progress) (err error) {
	line, err := json.Marshal(metrics{p.Epoch, p.MeanLoss, p.Rate, p.ImagesPerSecond, p.Elapsed.Seconds(), p.Waited.Seconds(), p.Exits})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, MetricsFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(append(line, '\n'))
	return err
}

// trimMetrics cuts the metrics off before the first line that is not about one
// of the first epochs, as many as given, or that is cut short.
func trimMetrics(dir string, epochs int) error {
	path := filepath.Join(dir, MetricsFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	keep := 0
	for line := range bytes.Lines(text) {
		var m metrics
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &m) != nil || m.Epoch > epochs {
			break
		}
		keep += len(line)
	}
	if keep == len(text) {
		return nil
	}
	return os.Truncate(path, int64(keep))
}
