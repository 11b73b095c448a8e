package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"selfcon/train"
)

// Epoch is a line of the metrics' file: how an epoch went.
type Epoch struct {
	Epoch   int       `json:"epoch"` // done, so from 1
	Step    int       `json:"step"`  // steps done since the run began
	Time    time.Time `json:"time"`  // when the epoch ended
	Loss    float64   `json:"loss"`  // mean over the epoch's steps
	Rate    float64   `json:"lr"`    // of the epoch's last step
	Speed   float64   `json:"images_per_s"`
	Seconds float64   `json:"seconds"`           // that the epoch took, without validation
	Waited  float64   `json:"data_wait_seconds"` // of them

	Exits      []train.ExitHealth `json:"exits,omitempty"`      // of the epoch's last batch
	Validation *train.Validation  `json:"validation,omitempty"` // nil: this epoch was not judged
}

// NewEpoch is the line about the epoch that p ends.
func NewEpoch(p train.Progress) Epoch {
	return Epoch{
		Epoch: p.Epoch, Step: p.Epoch * p.Batches, Time: time.Now().UTC().Truncate(time.Millisecond),
		Loss: p.MeanLoss, Rate: p.Rate, Speed: p.ImagesPerSecond, Seconds: p.Elapsed.Seconds(), Waited: p.Waited.Seconds(),
		Exits: p.Exits, Validation: p.Validation,
	}
}

// AppendEpoch adds a line to the metrics of the run in dir.
func AppendEpoch(dir string, e Epoch) (err error) {
	line, err := json.Marshal(e)
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

// ReadEpochs reads the metrics of the run in dir: none if it has no such file
// yet. A last line that is cut short, as one that is being written or was when
// the machine stopped, is left out; any other line that can't be read is an
// error that names it.
func ReadEpochs(dir string) ([]Epoch, error) {
	path := filepath.Join(dir, MetricsFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Epoch
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var e Epoch
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, len(out)+1, err)
		}
		out = append(out, e)
	}
	return out, nil
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
		var e Epoch
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &e) != nil || e.Epoch > epochs {
			break
		}
		keep += len(line)
	}
	if keep == len(text) {
		return nil
	}
	return os.Truncate(path, int64(keep))
}
