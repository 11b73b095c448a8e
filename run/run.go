// Package run keeps a run's folder: what it is (run.go), how it went
// (metrics.go), what it has learnt (state.go, model.go).
package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/engine"
	"selfcon/train"
)

// The files of a run's folder.
const (
	ManifestFile   = "run.json"          // Manifest
	ModelFile      = "model.safetensors" // parameters and running statistics, the reference's names
	MetricsFile    = "metrics.jsonl"     // a line an epoch
	SummaryFile    = "summary.csv"       // the same for a spreadsheet
	LogFile        = "train.log"         // what the terminal got
	CheckpointsDir = "checkpoints"
	ProbeFile      = "probe.safetensors" // the linear classifiers of selfcon probe
	ResultsFile    = "probe.json"        // their accuracies
)

// manifestFormat is the Manifest.Format that this program writes and reads.
const manifestFormat = 1

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

	Imported *Imported `json:"imported,omitempty"` // nil: trained here
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
	return &config.Error{Setting: "data", Reason: fmt.Sprintf("%s was imported and has no data yet; first: selfcon probe --data FORMAT:PATH %s", dir, dir)}
}

// Cost is what a training has taken so far, all its parts together if it was
// interrupted and resumed.
type Cost struct {
	Seconds float64 `json:"seconds"`           // from the first step on: steps, waiting for images, saving
	Waited  float64 `json:"data_wait_seconds"` // of them, for images
	Steps   int     `json:"steps"`
	Peak    int64   `json:"peak_bytes"` // the largest peak resident set of a process that trained it
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
func NewManifest(s *train.Setup, e engine.Engine, version string) Manifest {
	name := ""
	if e != nil {
		name = e.Name()
	}
	m := Manifest{Format: manifestFormat, Version: version, Engine: name, Created: time.Now().UTC().Truncate(time.Second)}
	m.SetData(s)
	return m
}

// SetData gives a run its configuration and what follows from its data; nil:
// none yet.
func (m *Manifest) SetData(s *train.Setup) {
	if s != nil {
		m.Config, m.Classes, m.Images = s.Config, s.Classes, s.Counts()
	}
}

// Fresh is base, or base-2, base-3, … : the first that is not there.
func Fresh(base string) string {
	dir := base
	for i := 2; ; i++ {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return dir
		}
		dir = fmt.Sprintf("%s-%d", base, i)
	}
}

// Open reads a run's manifest.
func Open(dir string) (Manifest, error) {
	m := Manifest{Config: config.Default()} // of settings that older programs did not have
	path := filepath.Join(dir, ManifestFile)
	err := checkpoint.ReadJSON(path, &m)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, &config.Error{Setting: "run", Reason: fmt.Sprintf("%s is not the folder of a run: it has no %s", dir, ManifestFile)}
	case err != nil:
		return m, err
	case m.Format != manifestFormat:
		return m, checkpoint.Invalidf("%s: format %d; this program reads format %d", path, m.Format, manifestFormat)
	case len(m.Classes) < 2 && !m.needsData():
		return m, checkpoint.Invalidf("%s: has %d classes; a run has at least 2", path, len(m.Classes))
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
