// Package run keeps a run's folder: what it is (run.go), how it went
// (metrics.go), what it has learnt (state.go, model.go).
package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/internal/machine"
	"selfcon/internal/reason"
	"selfcon/train"
)

// The files of a run's folder.
const (
	ManifestFile   = "run.json"          // Manifest
	ConfigFile     = "config.yaml"       // a copy of its settings, for people and for --config
	ModelFile      = "model.safetensors" // parameters and running statistics, the reference's names
	MetricsFile    = "metrics.jsonl"     // a line an epoch
	SummaryFile    = "summary.csv"       // the same for a spreadsheet
	LogFile        = "train.log"         // what the terminal got
	CheckpointsDir = "checkpoints"
	ProbeFile      = "probe.safetensors" // the linear classifiers of selfcon probe
	ResultsFile    = "probe.json"        // their accuracies
)

// manifestFormat is the Manifest.Format that this program writes; it reads the
// older ones too. Format 1 had neither Machine, Later nor Data.
const manifestFormat = 2

// Manifest describes a run; it lies in the run's folder as run.json.
type Manifest struct {
	Format  int          `json:"format"`
	Version string       `json:"selfcon"` // the program that wrote it
	Engine  string       `json:"engine"`
	Created time.Time    `json:"created"`
	Config  config.Run   `json:"config"` // resolved
	Classes []string     `json:"classes"`
	Images  train.Counts `json:"images"`
	Done    bool         `json:"done"`
	Cost    Cost         `json:"cost"`
	From    string       `json:"from,omitempty"` // the run whose encoder this one began with
	Init    string       `json:"init,omitempty"` // the file or run whose weights this one began with, as far as they fit

	Machine *machine.Machine  `json:"machine,omitempty"`          // that it began on
	Later   []Part            `json:"later,omitempty"`            // by what other programs and machines it was gone on with
	Data    *data.Fingerprint `json:"data_fingerprint,omitempty"` // as it began, or as was accepted later; nil: begun by a program that took none

	Imported *Imported `json:"imported,omitempty"` // nil: trained here

	At *train.Place `json:"-"` // the checkpoint that was opened; nil: the run
}

// Part is a part of a training that another program or machine did than the one
// before, or with other data.
type Part struct {
	Time    time.Time       `json:"time"`  // when it began
	Steps   int             `json:"steps"` // that were done by then
	Version string          `json:"selfcon"`
	Engine  string          `json:"engine"`
	Machine machine.Machine `json:"machine"`
	Data    string          `json:"data_changed,omitempty"` // how it differs from that of the parts before, where that was accepted
}

// String is who did the part.
func (p Part) String() string {
	s := fmt.Sprintf("selfcon %s, %s, %s", p.Version, p.Engine, p.Machine)
	if p.Data != "" {
		s += "; other data: " + p.Data
	}
	return s
}

// Imported is where a run that was not trained here comes from. Its model holds
// an encoder, and what else the file had; it may have no data and no classes
// until it is probed.
type Imported struct {
	File   string `json:"file"`
	Format string `json:"format"` // safetensors or PyTorch
	Naming string `json:"naming"` // whose names it had
}

// needsData says whether a run was imported and not probed yet.
func (m Manifest) needsData() bool {
	return m.Imported != nil && m.Config.Data == "" && m.Classes == nil
}

// NeedData is an error for a run in dir that was imported and has no data yet.
func (m Manifest) NeedData(dir string) error {
	if !m.needsData() {
		return nil
	}
	return &config.Error{Setting: "data", Reason: fmt.Sprintf("%s was imported and has no data yet: name some with --data FORMAT:PATH", dir)}
}

// Cost is what a training has taken so far, all its parts together if it was
// interrupted and resumed.
type Cost struct {
	Seconds float64 `json:"seconds"`           // from the first step on: steps, waiting for images, saving
	Waited  float64 `json:"data_wait_seconds"` // of them, for images
	Steps   int     `json:"steps"`
	Peak    int64   `json:"peak_bytes"` // the largest peak resident set of a process that trained it
}

// Spent is what the run in dir has cost up to its newest checkpoint, which is more
// than its manifest knows of a run that was interrupted or is in work.
func (m Manifest) Spent(dir string) Cost {
	points, err := steps(dir)
	if err != nil || m.Done {
		return m.Cost
	}
	for _, n := range slices.Backward(points) {
		var s checkpointState
		if checkpoint.ReadJSON(filepath.Join(dir, CheckpointsDir, stepName(n), PlaceFile), &s) == nil { // otherwise damaged: --resume deals with it
			return s.Cost
		}
	}
	return m.Cost
}

// ImagesPerSecond is the training's speed in labelled images, for a batch.
func (c Cost) ImagesPerSecond(batch int) float64 {
	if c.Seconds == 0 {
		return 0
	}
	return float64(c.Steps*batch) / c.Seconds
}

// NewManifest describes a run that is about to start, or, without an engine, one
// that is imported, and without a setup, one that has no data yet.
func NewManifest(s *train.Setup, e engine.Engine, version string) (Manifest, error) {
	m := Manifest{Format: manifestFormat, Version: version, Created: now()}
	if e != nil {
		here := machine.Here()
		m.Engine, m.Machine = e.Name(), &here
	}
	return m, m.SetData(s)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// SetData gives a run its configuration and what follows from its data; nil:
// none yet. An error is the data's.
func (m *Manifest) SetData(s *train.Setup) error {
	if s == nil {
		return nil
	}
	f, err := s.Data.Fingerprint()
	m.Config, m.Classes, m.Images, m.Data = s.Config, s.Classes, s.Counts(), &f
	return err
}

// Write writes the manifest into a run's folder, in the present format.
func (m Manifest) Write(dir string) error {
	m.Format = manifestFormat
	return checkpoint.WriteJSON(filepath.Join(dir, ManifestFile), m)
}

// Fresh is base, or base-2, base-3, … : the first that is not there.
func Fresh(base string) string {
	dir := base
	for i := 2; ; i++ {
		if _, err := os.Lstat(dir); err != nil { // what else there may be, Create says
			return dir
		}
		dir = fmt.Sprintf("%s-%d", base, i)
	}
}

// notRun says of a folder without a manifest what it is instead.
func notRun(dir string) string {
	if of := runOf(dir); of != "" {
		return fmt.Sprintf("%s is a checkpoint, and this takes the run: %s", dir, of)
	}
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no folder " + dir
	case err == nil && !st.IsDir():
		return dir + " is a file, not the folder of a run"
	}
	reason := fmt.Sprintf("%s is not the folder of a run: it has no %s", dir, ManifestFile)
	if in, _ := filepath.Glob(filepath.Join(dir, "*", ManifestFile)); len(in) > 0 {
		reason += "; name one of those in it, such as " + filepath.Dir(in[0])
	}
	return reason
}

// Open reads a run's manifest.
func Open(dir string) (Manifest, error) {
	m := Manifest{Config: config.Default()} // of settings that older programs did not have
	m.Config.Optimizer = "sgd"              // the only one there was
	path := filepath.Join(dir, ManifestFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return m, &config.Error{Setting: "run", Reason: notRun(dir)}
	}
	if err != nil {
		return m, fmt.Errorf("%s: can't be read: %w", path, reason.Of(err))
	}
	var later struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(text, &later) == nil && later.Format > manifestFormat { // whose fields are not known here
		return m, checkpoint.Invalidf("%s: format %d, which a later selfcon wrote; this one reads formats 1 to %d: update it", path, later.Format, manifestFormat)
	}
	if err := checkpoint.ReadJSON(path, &m); err != nil {
		return m, err
	}
	switch {
	case m.Format < 1:
		return m, checkpoint.Invalidf("%s: format %d: must be 1 to %d", path, m.Format, manifestFormat)
	case len(m.Classes) < 2 && !m.needsData():
		return m, checkpoint.Invalidf("%s: has %d classes; a run has at least 2", path, len(m.Classes))
	}
	if m.Imported != nil { // how it was trained is not known: these follow from the data that it was probed with
		def := config.Default()
		m.Config.Epochs, m.Config.ValidateEvery = def.Epochs, def.ValidateEvery
	}
	check := m.Config
	if m.needsData() {
		check.Data = "sample"
	}
	if err := check.Validate(); err != nil {
		return m, checkpoint.Invalidf("%s: damaged, or changed by hand: %v", path, err) // not the caller's setting
	}
	return m, nil
}
