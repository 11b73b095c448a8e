// Package report makes a run's report.html: what was trained, how it went and
// how good it is, on one page that needs nothing else, neither network nor
// scripts.
package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/eval"
	"selfcon/model"
	"selfcon/run"
	"selfcon/tensorboard"
)

// The files of a run's folder that belong to its report.
const (
	File      = "report.html"
	ViewsFile = "views.png" // augmented views of some training images
)

// judgement is what the report needs of a probe's results.
type judgement struct {
	Split  string     `json:"split"`
	Images int        `json:"images"`
	Labels int        `json:"labels"`
	Table  eval.Table `json:"table"`
	Own    eval.Table `json:"own"`
	KNN    *struct {
		K     int        `json:"k"`
		Table eval.Table `json:"table"`
	} `json:"knn"`
	Classes []string `json:"classes"`
}

// Write makes the report of the run in dir anew from the files that are there.
// What is missing is left out; what is damaged is an error.
func Write(dir string) error {
	p, err := load(dir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, p); err != nil {
		return err
	}
	return checkpoint.WriteText(filepath.Join(dir, File), b.Bytes())
}

//go:embed report.tmpl.html
var pageText string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"percent": func(v float64) string { return fmt.Sprintf("%.2f %%", 100*v) },
	"number":  func(v float64) string { return fmt.Sprintf("%.4g", v) },
	"clock":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") },
	"mark":    func(x, y int) bool { return x == y },
}).Parse(pageText))

// contents is what the page shows.
type contents struct {
	Title    string
	Manifest run.Manifest
	State    string
	Facts    [][2]string
	Settings [][2]string // that are not the defaults
	Tables   []results
	Plots    []plot
	Views    template.URL // a data URL
	Maps     []scatter
	Legend   []string // of the maps
	Epochs   []run.Epoch
	Confused *confusion
}

// Colours has an entry for each colour of the style.
func (*contents) Colours() []struct{} { return make([]struct{}, colours) }

// Colour is the number of a class's colour.
func (*contents) Colour(class int) int { return class % colours }

type results struct {
	Title string
	Rows  eval.Table
	Top5  bool
}

// confusion is the images of a test by label and by prediction.
type confusion struct {
	Exit    string
	Classes []string
	Rows    [][]cell
}

type cell struct {
	N     int
	Share float64 // of the row
}

// A larger table would be neither read nor drawn.
const mostClasses = 50

func load(dir string) (*contents, error) {
	m, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	whole, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	p := &contents{Title: filepath.Base(whole), Manifest: m, State: "interrupted or in work"}
	switch {
	case m.Imported != nil:
		p.State = "imported"
	case m.Done:
		p.State = "done"
	}
	if p.Epochs, err = run.ReadEpochs(dir); err != nil {
		return nil, err
	}
	p.Facts, p.Settings = facts(m), settings(m.Config)
	p.Plots = plots(p.Epochs)

	var j judgement
	switch text, err := os.ReadFile(filepath.Join(dir, run.ResultsFile)); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, &j); err != nil {
			return nil, checkpoint.Invalidf("%s: damaged: %w; make it anew with selfcon probe", filepath.Join(dir, run.ResultsFile), err)
		}
		p.judged(&j)
	}
	switch text, err := os.ReadFile(filepath.Join(dir, ViewsFile)); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		p.Views = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(text))
	}
	return p, p.embedded(dir)
}

// facts are what a person asks first.
func facts(m run.Manifest) [][2]string {
	c := m.Config
	out := [][2]string{{"data", c.Data}}
	add := func(name, format string, args ...any) {
		out = append(out, [2]string{name, fmt.Sprintf(format, args...)})
	}
	add("images", "%d to train, %d to validate, %d to test; %d classes", m.Images.Train, m.Images.Val, m.Images.Test, len(m.Classes))
	add("network", "%s of width %d, %s, images of %d×%d", c.Model.Arch, c.Model.Width, c.Model.SubNetworks(), c.Image, c.Image)
	if m.Imported == nil {
		add("method", "%s, %d epochs, %d images a step, %s at %g", c.Method, c.Epochs, c.Batch, c.Optimizer, c.Rate)
		add("engine", "%s", m.Engine)
	}
	if t := m.Cost; t.Steps > 0 {
		add("cost", "%d steps in %s, %.0f images/s, %.0f %% of it waiting for images; at most %.0f MB of memory",
			t.Steps, time.Duration(t.Seconds*float64(time.Second)).Round(time.Second), t.ImagesPerSecond(c.Batch), 100*t.Waited/t.Seconds, float64(t.Peak)/1e6)
	}
	add("begun", "%s, by selfcon %s, seed %d", m.Created.UTC().Format("2006-01-02 15:04 MST"), m.Version, c.Seed)
	if m.Machine != nil {
		add("machine", "%s", m.Machine)
	}
	for _, p := range m.Later {
		add(fmt.Sprintf("from step %d on", p.Steps), "%s", p)
	}
	if m.Data != nil {
		add("data's fingerprint", "%s", m.Data)
	}
	return out
}

func settings(c config.Run) [][2]string {
	def := config.Default()
	var out [][2]string
	for _, s := range config.Settings() {
		if v := s.Text(&c); v != s.Text(&def) {
			out = append(out, [2]string{s.Key, v})
		}
	}
	return out
}

func (p *contents) judged(j *judgement) {
	add := func(title string, t eval.Table) {
		r := results{Title: title, Rows: t}
		for _, row := range t {
			r.Top5 = r.Top5 || row.Top5 > 0
		}
		if len(t) > 0 {
			p.Tables = append(p.Tables, r)
		}
	}
	on := fmt.Sprintf(", %s, %d images", j.Split, j.Images)
	add(fmt.Sprintf("Linear classifiers on the frozen features, %d labels%s", j.Labels, on), j.Table)
	add("The classifiers that were trained with the network"+on, j.Own)
	if j.KNN != nil {
		add(fmt.Sprintf("%d nearest neighbours%s", j.KNN.K, on), j.KNN.Table)
	}
	last := j.Table
	if len(last) == 0 {
		last = j.Own
	}
	if len(last) == 0 || len(j.Classes) > mostClasses {
		return
	}
	row := last[len(last)-1]
	if len(row.Confusion) != len(j.Classes) {
		return
	}
	c := &confusion{Exit: row.Name, Classes: j.Classes}
	for _, counts := range row.Confusion {
		sum := 0
		for _, n := range counts {
			sum += n
		}
		var cells []cell
		for _, n := range counts {
			cells = append(cells, cell{n, float64(n) / float64(max(sum, 1))})
		}
		c.Rows = append(c.Rows, cells)
	}
	p.Confused = c
}

// embedded adds a map of each exit's features.
func (p *contents) embedded(dir string) error {
	net, err := model.New(p.Manifest.Config.Model)
	if err != nil {
		return nil // run.Open has checked what matters
	}
	for _, name := range net.ExitNames() {
		e, _, points, err := tensorboard.ReadEmbedding(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		class := map[string]int{}
		for i, c := range p.Manifest.Classes {
			class[strings.ReplaceAll(c, "\t", " ")] = i
		}
		labels := make([]int, len(points))
		for i, row := range points {
			labels[i] = class[row[0]]
		}
		p.Maps = append(p.Maps, newScatter(name, e.X, e.Dim, labels))
		p.Legend = p.Manifest.Classes
	}
	return nil
}
