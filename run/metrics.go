package run

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"selfcon/checkpoint"
	"selfcon/train"
)

// Epoch is a line of the metrics' file: how an epoch went.
type Epoch struct {
	Epoch   int       `json:"epoch"`                // done, so from 1
	Step    int       `json:"step"`                 // steps done since the run began
	Time    time.Time `json:"time"`                 // when the epoch ended
	Loss    float64   `json:"loss"`                 // mean over the epoch's steps
	Top1    *float64  `json:"train_top1,omitempty"` // of the training images as they were augmented; nil: nothing classifies
	Rate    float64   `json:"lr"`                   // of the epoch's last step
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
		Loss: p.MeanLoss, Top1: p.Top1, Rate: p.Rate, Speed: p.ImagesPerSecond, Seconds: p.EpochTook.Seconds(), Waited: p.EpochWaited.Seconds(),
		Exits: p.Exits, Validation: p.Validation,
	}
}

// appendLine adds a line to a file.
func appendLine(path string, line []byte) (err error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(line)
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
	return parseEpochs(path, text)
}

func parseEpochs(path string, text []byte) ([]Epoch, error) {
	var out []Epoch
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var e Epoch
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, checkpoint.Invalidf("%s:%d: damaged: %w; must be a JSON object a line, as the training wrote it", path, len(out)+1, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// writeSummary writes the metrics as a table with a line an epoch and a column a
// number.
func writeSummary(dir string, metrics []byte) error {
	path := filepath.Join(dir, SummaryFile)
	epochs, err := parseEpochs(path, metrics)
	if err != nil {
		return err
	}
	head := []string{"epoch", "step", "time", "loss", "lr", "images_per_s", "seconds", "data_wait_seconds", "validation"}
	column := map[string]int{} // of an exit's score
	trained := 0               // the column of train_top1
	for _, e := range epochs {
		if e.Top1 != nil && trained == 0 {
			trained = len(head)
			head = append(head, "train_top1")
		}
		if e.Validation == nil {
			continue
		}
		for _, x := range e.Validation.Exits {
			if name := "validation " + x.Name; column[name] == 0 {
				column[name] = len(head)
				head = append(head, name)
			}
		}
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write(head) // to memory: nothing can fail
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, e := range epochs {
		row := make([]string, len(head))
		copy(row, []string{strconv.Itoa(e.Epoch), strconv.Itoa(e.Step), e.Time.Format(time.RFC3339), number(e.Loss), number(e.Rate), number(e.Speed), number(e.Seconds), number(e.Waited)})
		if e.Top1 != nil {
			row[trained] = number(*e.Top1)
		}
		if e.Validation != nil {
			row[8] = number(e.Validation.Score)
			for _, x := range e.Validation.Exits {
				row[column["validation "+x.Name]] = number(x.Top1)
			}
		}
		w.Write(row)
	}
	w.Flush()
	return checkpoint.WriteText(path, b.Bytes())
}
