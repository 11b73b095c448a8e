package report

import (
	"encoding/json"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/internal/machine"
	"selfcon/model"
	"selfcon/run"
	"selfcon/tensorboard"
	"selfcon/train"
)

// folder makes a run's folder as a training and a probe leave it, with names
// that need care.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a <run> & more")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m, err := run.NewManifest(nil, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	m.Config = config.Default()
	m.Config.Data, m.Config.Image, m.Config.Epochs, m.Config.Batch = `imagefolder:<script>alert("x")</script>`, 32, 3, 8
	net, err := model.New(model.Config{Arch: "resnet18", Width: 2, Exits: []int{2}, Sub: model.SubFC, ImageHeight: 32, ImageWidth: 32, ImageChannels: 3})
	if err != nil {
		t.Fatal(err)
	}
	m.Config.Model = net.Config
	m.Classes, m.Done = []string{"<b>cat</b>", "dog & co"}, true
	m.Cost = run.Cost{Seconds: 10, Waited: 1, Steps: 30, Peak: 1e8}
	m.Machine = &machine.Machine{CPU: "A <fast> one", Cores: 3, OS: "X", Arch: "amd64", Go: "go1"}
	m.Data = &data.Fingerprint{Sum: "0123abcd", Covers: data.CoversPixels, Splits: []data.SplitFingerprint{{Name: "train", Images: 40}}}
	m.Later = []run.Part{{Steps: 7, Version: "test2", Engine: "cpu x", Machine: *m.Machine}}
	write := func(name string, v any) {
		if err := checkpoint.WriteJSON(filepath.Join(dir, name), v); err != nil {
			t.Fatal(err)
		}
	}
	write(run.ManifestFile, m)
	var lines []string
	for i := range 3 {
		a := 0.5
		line, err := json.Marshal(run.Epoch{
			Epoch: i + 1, Step: 10 * (i + 1), Loss: 4 - float64(i), Top1: &a, Rate: 0.1, Speed: 100, Seconds: 2, Waited: 0.5,
			Exits:      []train.ExitHealth{{Name: "sub-network 2", EffectiveRank: 3, Alignment: &a, Uniformity: -1}, {Name: "backbone", EffectiveRank: 5, Uniformity: -2}},
			Validation: &train.Validation{Score: 0.5, Exits: []train.ExitScore{{Name: "backbone", Top1: 0.5 + float64(i)/10}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line)+"\n")
	}
	if err := os.WriteFile(filepath.Join(dir, run.MetricsFile), []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	write(run.ResultsFile, map[string]any{
		"split": "test", "images": 20, "labels": 40, "classes": m.Classes, "unknown to the report": 1,
		"table": []map[string]any{{"name": "backbone", "top1": 0.8125, "ece": 0.125, "confusion": [][]int{{9, 1}, {2, 8}}}},
	})
	f, err := os.Create(filepath.Join(dir, ViewsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	p := tensorboard.Projector{Columns: []string{"class", "image"}, Points: [][]string{{m.Classes[0], "1"}, {m.Classes[1], "2"}, {m.Classes[1], "3"}}}
	for _, name := range net.ExitNames() {
		p.Embeddings = append(p.Embeddings, tensorboard.Embedding{Name: name, Dim: 2, X: []float32{0, 1, 1, 0, 2, 2}})
	}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func written(t *testing.T, dir string) string {
	t.Helper()
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Everything is on the page, nothing is fetched from elsewhere, and no name
// becomes markup.
func TestWrite(t *testing.T) {
	dir := folder(t)
	text := written(t, dir)
	for _, want := range []string{
		"a &lt;run&gt; &amp; more", "81.25 %", "12.50 %", "&lt;b&gt;cat&lt;/b&gt;", "dog &amp; co", "Effective rank", "Alignment", "Validation, top-1", "Training, top-1",
		"data:image/png;base64,", "prefers-color-scheme: dark", "Confusion of the backbone", ">9<", "30 steps", "features at sub-network 2 by class", "3 epochs",
		"A &lt;fast&gt; one, 3 cores", "by selfcon test, seed 1", "0123abcd (all pixels of 40 images)", "from step 7 on", "selfcon test2, cpu x, ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if strings.Contains(text, "<script") || strings.Contains(text, "<b>cat") {
		t.Error("a name became markup")
	}
	for _, ref := range regexp.MustCompile(`(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(ref[1], "data:") {
			t.Errorf("the page fetches %s", ref[1])
		}
	}
	if written(t, dir) != text {
		t.Error("the same files give another page")
	}
	if n := strings.Count(text, "NaN") + strings.Count(text, "Inf"); n > 0 {
		t.Errorf("%d numbers that are none", n)
	}
}

// What is not there is left out; what is damaged is an error that names it.
func TestWriteParts(t *testing.T) {
	for _, gone := range []string{run.MetricsFile, run.ResultsFile, ViewsFile, tensorboard.ProjectorFile, "embeddings"} {
		dir := folder(t)
		if err := os.RemoveAll(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
		written(t, dir)
	}
	for _, name := range []string{run.ManifestFile, run.MetricsFile, run.ResultsFile} {
		dir := folder(t)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{]\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Write(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("damaged %s: %v", name, err)
		}
	}
}

// Points in a plane within more dimensions keep their distances.
func TestComponents(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n, dim = 60, 9
	u, v := make([]float64, dim), make([]float64, dim)
	for j := range dim {
		u[j], v[j] = r.NormFloat64(), r.NormFloat64()
	}
	x := make([]float32, n*dim)
	for i := range n {
		a, b := 3*r.NormFloat64(), r.NormFloat64()
		for j := range dim {
			x[i*dim+j] = float32(5 + a*u[j] + b*v[j])
		}
	}
	first, second, share := components(x, dim)
	if math.Abs(share-1) > 1e-9 {
		t.Errorf("share %g, must be 1", share)
	}
	for i := range n {
		for k := range i {
			want := 0.0
			for j := range dim {
				d := float64(x[i*dim+j]) - float64(x[k*dim+j])
				want += d * d
			}
			got := math.Hypot(first[i]-first[k], second[i]-second[k])
			if math.Abs(got-math.Sqrt(want)) > 1e-5*(1+got) {
				t.Fatalf("points %d and %d: %g apart, must be %g", i, k, got, math.Sqrt(want))
			}
		}
	}
	// Points that are all the same have no direction.
	if _, _, share := components(make([]float32, 12), 4); share != 0 {
		t.Errorf("share %g of no variance", share)
	}
}
