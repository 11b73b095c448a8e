package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/engine/cpu"
	"selfcon/internal/testkit"
	"selfcon/train"
)

// small is a quick setup on real images: the first of the embedded sample.
func small(t *testing.T, change func(*config.Run)) *train.Setup {
	t.Helper()
	c := config.Quickstart()
	c.Optimizer, c.Rate, c.WeightDecay = "sgd", 0.1, 1e-4
	c.Model.Width, c.Epochs, c.Batch, c.ValidateEvery = 4, 3, 16, 0
	if change != nil {
		change(&c)
	}
	s, err := train.NewSetup(c)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]int, 70) // 4 full batches of 16 and a rest
	for i := range first {
		first[i] = i
	}
	s.Train = data.Subset(s.Train, first)
	return s
}

func newTrainer(t *testing.T, s *train.Setup, threads int) *train.Trainer {
	t.Helper()
	e, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	tr, err := train.NewTrainer(s, e)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func manifest(t *testing.T, tr *train.Trainer) Manifest {
	t.Helper()
	m, err := NewManifest(tr.Setup, tr.Engine, "test")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// losses trains and returns every step's loss.
func losses(t *testing.T, tr *train.Trainer) []float64 {
	t.Helper()
	var out []float64
	if err := tr.Run(context.Background(), func(p train.Progress) { out = append(out, p.Loss) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// weights are all variables of a trainer, one after another.
func weights(t *testing.T, tr *train.Trainer) []float64 {
	t.Helper()
	var out []float64
	for _, v := range tr.Variables {
		x, err := tr.Engine.Read(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x.Float64s()...)
	}
	return out
}

// A run stopped anywhere and resumed ends with the bits of one that was not,
// whatever state the optimizer has.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Run)
		stops  []int // in the first epoch, at its end, in the second
	}{
		{"sgd", nil, []int{1, 4, 7}},
		{"sgd, Nesterov, average", func(r *config.Run) { r.Nesterov, r.Average = true, 0.9 }, []int{5}},
		{"lars", func(r *config.Run) { r.Optimizer, r.NoDecay = "lars", "vectors" }, []int{5}},
		{"adamw, average", func(r *config.Run) { r.Optimizer, r.Rate, r.Average = "adamw", 0.001, 0.9 }, []int{5}},
		{"micro-batches", func(r *config.Run) { r.MicroBatch, r.Average = 4, 0.9 }, []int{5}},
		{"dropout", func(r *config.Run) { r.Model.Arch, r.Model.Exits = "wrn_10_1", []int{1} }, []int{5}},
		{"drop-connect", func(r *config.Run) { r.Model.Arch, r.Model.Exits = "efficientnet", []int{1} }, []int{5}},
		{"one stage", func(r *config.Run) { r.Method, r.Average = "selfcon", 0.5 }, []int{5}},
		{"mixed", func(r *config.Run) { r.Method, r.Mixup, r.CutMix, r.LabelSmoothing = "kd", 0.4, 1, 0.1 }, []int{1, 4, 7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole := newTrainer(t, small(t, c.change), 2)
			losses(t, whole)
			want := weights(t, whole)
			for _, stop := range c.stops {
				resumes(t, c.change, stop, want)
			}
		})
	}
}

// resumes stops a run after some steps, resumes it and compares the end.
func resumes(t *testing.T, change func(*config.Run), stop int, want []float64) {
	dir := filepath.Join(t.TempDir(), "run")
	first := goOn(t, dir, change, 2, stop, 0)
	if got := stepOf(first); got != stop {
		t.Fatalf("stopped after step %d, want %d", got, stop)
	}
	read, err := Open(dir)
	if err != nil || read.Done {
		t.Fatalf("manifest %+v, %v", read, err)
	}
	second := goOn(t, dir, change, 1, 0, 0)
	if !slices.Equal(weights(t, second), want) {
		t.Errorf("stopped after step %d: the resumed run ends elsewhere", stop)
	}
	if read, err := Open(dir); err != nil || !read.Done {
		t.Errorf("at its end: manifest %+v, %v", read, err)
	}
}

// goOn trains in a folder, which it makes if there is none, as the command does:
// up to step stop or, if that is 0, to the end. It saves after every so many
// steps (0: never), and in the end.
func goOn(t *testing.T, dir string, change func(*config.Run), threads, stop, every int) *train.Trainer {
	t.Helper()
	tr := newTrainer(t, small(t, change), threads)
	f, err := Reopen(dir)
	if _, missing := os.Stat(dir); missing != nil {
		f, err = Create(dir, manifest(t, tr))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Restore(tr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = tr.Run(ctx, func(p train.Progress) {
		if p.EpochDone {
			if err := f.Epoch(NewEpoch(p)); err != nil {
				t.Fatal(err)
			}
		}
		if p.Improved || every > 0 && stepOf(tr)%every == 0 {
			if err := f.Save(tr); err != nil {
				t.Fatal(err)
			}
		}
		if stepOf(tr) == stop {
			cancel()
		}
	})
	if stop > 0 && errors.Is(err, context.Canceled) {
		err = f.SaveNow(tr)
	} else if err == nil {
		err = f.Finish(tr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// timeless reads a run's metrics without what depends on the machine.
func timeless(t *testing.T, dir string) []Epoch {
	t.Helper()
	epochs, err := ReadEpochs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range epochs {
		e := &epochs[i]
		if e.Time.IsZero() || e.Speed <= 0 || e.Seconds <= 0 {
			t.Errorf("no time or speed in %+v", *e)
		}
		e.Time, e.Speed, e.Seconds, e.Waited = time.Time{}, 0, 0, 0
		if e.Validation != nil {
			e.Validation.Seconds = 0
		}
	}
	return epochs
}

// Judging the network part-way changes nothing of the training, whatever it is
// judged by; and a run that is stopped in the middle of an epoch, at its end and
// before it was judged has the metrics and the best checkpoint of one that was
// not.
func TestValidationAndMetrics(t *testing.T) {
	for _, c := range []struct {
		name, measure string
		change        func(*config.Run)
	}{
		{"nearest neighbours", train.MeasureKNN, nil},
		{"nearest neighbours of averages", train.MeasureKNN, func(r *config.Run) { r.Average = 0.5 }},
		{"classifiers", train.MeasureClassifier, func(r *config.Run) { r.Method, r.Average = "kd", 0.5 }},
		{"one stage", train.MeasureClassifier, func(r *config.Run) { r.Method = "selfcon" }},
		{"mixed", train.MeasureClassifier, func(r *config.Run) { r.Method, r.Mixup, r.CutMix = "subnet_ce", 0.4, 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			judged := func(every int) func(*config.Run) {
				return func(r *config.Run) {
					if c.change != nil {
						c.change(r)
					}
					r.ValidateEvery = every
				}
			}
			whole := filepath.Join(t.TempDir(), "run")
			want := weights(t, goOn(t, whole, judged(2), 2, 0, 0))
			plain := filepath.Join(t.TempDir(), "run")
			if !slices.Equal(weights(t, goOn(t, plain, judged(0), 2, 0, 0)), want) {
				t.Error("with validation the training ends elsewhere")
			}
			epochs := timeless(t, whole)
			if len(epochs) != 3 || epochs[0].Validation != nil || epochs[1].Validation == nil || epochs[2].Validation == nil {
				t.Fatalf("validation every 2 of 3 epochs, and at the end: %+v", epochs)
			}
			if v := epochs[1].Validation; v.Measure != c.measure || len(v.Exits) != 2 || v.Score != max(v.Exits[0].Top1, v.Exits[1].Top1) || v.Images != 500 {
				t.Errorf("validation %+v, want the better of two exits on 500 images, by %s", v, c.measure)
			}
			for i, e := range epochs {
				if e.Epoch != i+1 || e.Step != 4*(i+1) || e.Loss <= 0 || e.Rate <= 0 || (e.Top1 != nil) != (c.measure == train.MeasureClassifier) || e.Top1 != nil && !(*e.Top1 > 0 && *e.Top1 < 1) {
					t.Errorf("epoch %d: %+v", i+1, e)
				}
			}
			parts := filepath.Join(t.TempDir(), "run")
			for _, stop := range []int{3, 5, 8, 9, 0} {
				goOn(t, parts, judged(2), 1, stop, 2)
			}
			if diff := cmp.Diff(epochs, timeless(t, parts)); diff != "" {
				t.Errorf("metrics of a run in parts (-want +got):\n%s", diff)
			}
			for _, name := range []string{LastFile, BestFile} {
				a, err1 := pointer(whole, name)
				b, err2 := pointer(parts, name)
				if a != b || a == "" || err1 != nil || err2 != nil {
					t.Errorf("%s is %q, of a run in parts %q (%v, %v)", name, a, b, err1, err2)
				}
			}
			table, err := os.ReadFile(filepath.Join(parts, SummaryFile))
			head, first := ",validation,validation sub-network 2,validation backbone", ",,,"
			if e := epochs[0]; e.Top1 != nil {
				head, first = ",validation,train_top1,validation sub-network 2,validation backbone", fmt.Sprintf(",,%v,,", *e.Top1)
			}
			if lines := strings.Split(strings.TrimSpace(string(table)), "\n"); err != nil || len(lines) != 4 || !strings.HasSuffix(lines[0], head) || !strings.HasSuffix(lines[1], first) {
				t.Errorf("%s: %s (%v)", SummaryFile, table, err)
			}
		})
	}
}

// A checkpoint that is damaged in any of its files is set aside, and the run goes
// on from the one before, to the same end.
func TestDamagedCheckpoint(t *testing.T) {
	whole := newTrainer(t, small(t, nil), 2)
	losses(t, whole)
	want := weights(t, whole)
	flip := func(text []byte, at int) []byte { text[at] ^= 4; return text }
	for name, damage := range map[string]struct {
		file string
		how  func([]byte) []byte
	}{
		"a bit of the weights":        {StateFile, func(b []byte) []byte { return flip(b, len(b)-100) }},
		"cut short":                   {StateFile, func(b []byte) []byte { return b[:len(b)/2] }},
		"emptied":                     {StateFile, func(b []byte) []byte { return nil }},
		"a bit of the place":          {PlaceFile, func(b []byte) []byte { return flip(b, bytes.Index(b, []byte(`"epoch": `))+9) }},
		"a bit of the metrics":        {MetricsFile, func(b []byte) []byte { return flip(b, 10) }},
		"a bit of the checksums":      {checkpoint.SumsFile, func(b []byte) []byte { return flip(b, 5) }},
		"checksums cut short":         {checkpoint.SumsFile, func(b []byte) []byte { return b[:len(b)*2/3] }},
		"a bit of a name in the sums": {checkpoint.SumsFile, func(b []byte) []byte { return flip(b, 70) }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			goOn(t, dir, nil, 2, 6, 5)
			path := filepath.Join(dir, CheckpointsDir, "step-6", damage.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage.how(text), 0o644); err != nil {
				t.Fatal(err)
			}
			f, err := Reopen(dir)
			if err != nil {
				t.Fatal(err)
			}
			notes, err := f.Restore(newTrainer(t, small(t, nil), 1))
			f.Close()
			if text := strings.Join(notes, "; "); err != nil || !strings.Contains(text, "step-6 is damaged") || !strings.Contains(text, "going on from step-5") {
				t.Errorf("notes %q, %v", notes, err)
			}
			if _, err := os.Stat(filepath.Dir(path) + setAside); err != nil {
				t.Errorf("the damaged checkpoint is gone: %v", err)
			}
			if !slices.Equal(weights(t, goOn(t, dir, nil, 1, 0, 0)), want) {
				t.Error("the run ends elsewhere")
			}
		})
	}
	// With none left that is whole it begins again.
	dir := filepath.Join(t.TempDir(), "run")
	goOn(t, dir, nil, 2, 5, 0)
	if err := os.Remove(filepath.Join(dir, CheckpointsDir, "step-5", PlaceFile)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(weights(t, goOn(t, dir, nil, 1, 0, 0)), want) {
		t.Error("from the beginning: the run ends elsewhere")
	}
	if epochs := timeless(t, dir); len(epochs) != 3 {
		t.Errorf("from the beginning: metrics %+v", epochs)
	}
}

// The newest checkpoints stay, as many as asked for, and the best.
func TestKeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	change := func(r *config.Run) { r.Keep, r.Epochs = 3, 2 }
	goOn(t, dir, change, 2, 7, 1)
	got, err := steps(dir)
	if want := []int{5, 6, 7}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("checkpoints %v (%v), want %v", got, err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, CheckpointsDir, BestFile), []byte("step-5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	change = func(r *config.Run) { r.Keep, r.Epochs = 1, 2 }
	f, err := Reopen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Manifest.Config.Keep = 1
	tr := newTrainer(t, small(t, change), 1)
	if _, err := f.Restore(tr); err != nil {
		t.Fatal(err)
	}
	losses(t, tr)
	if err := f.Finish(tr); err != nil {
		t.Fatal(err)
	}
	got, err = steps(dir)
	if want := []int{5, 8}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("checkpoints %v (%v), want the best and the last, %v", got, err, want)
	}
}

// Two processes can't train in one folder, and none in that of others.
func TestFolderRefuses(t *testing.T) {
	// File systems take names of 255 bytes, of which a new folder's first one adds some.
	parent := t.TempDir()
	if _, err := Create(filepath.Join(parent, strings.Repeat("x", 250)), Manifest{}); err == nil || !strings.Contains(err.Error(), "x can't be made: "+parent+" takes no new folder (") || !strings.HasSuffix(err.Error(), "name one elsewhere with --out") {
		t.Errorf("a folder that can't be made: %v", err)
	}
	if _, err := Create(filepath.Join(parent, "new", strings.Repeat("x", 250)), Manifest{}); err == nil {
		t.Error("a folder of too long a name is made")
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
		t.Errorf("what could not be made leaves %v (%v)", entries, err)
	}
	long := filepath.Join(parent, strings.Repeat("x", 300))
	if _, err := NewFolder(long); err == nil || !strings.Contains(err.Error(), "can't be looked into (") || !strings.HasSuffix(err.Error(), "; name another with --out") {
		t.Errorf("a folder that can't be looked into: %v", err)
	}
	if dir := Fresh(long); dir != long {
		t.Errorf("%s for a name that can't be", dir)
	}
	dir := filepath.Join(t.TempDir(), "runs", "a")
	tr := newTrainer(t, small(t, nil), 1)
	m := manifest(t, tr)
	f, err := Create(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Reopen(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another process is training in %s: process %d on ", dir, os.Getpid())) {
		t.Errorf("opened twice: %v", err)
	}
	f.Close()
	if f, err = Reopen(dir); err != nil {
		t.Fatalf("after it was closed: %v", err)
	}
	f.Close()
	if _, err := Create(dir, m); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("made twice: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
		t.Errorf("beside the run lie %v (%v)", entries, err)
	}
	empty := t.TempDir()
	if _, err := Reopen(empty); err == nil || !strings.Contains(err.Error(), "not the folder of a run") {
		t.Errorf("an empty folder: %v", err)
	}
	if f, err = Create(empty, m); err != nil {
		t.Fatalf("in an empty folder: %v", err)
	}
	f.Close()
}

// What NewFolder undoes are the folders that it made, those above too, but none
// that was there or that others have put something into meanwhile.
func TestNewFolderUndone(t *testing.T) {
	top := t.TempDir()
	inner := filepath.Join(top, "a", "b", "c")
	for _, c := range []struct {
		before, between string // folders that others make
		left            string // the lowest that stays
	}{
		{"", "", ""},
		{"a", "", "a"},
		{"a/b/c", "", "a/b/c"},
		{"", "a/other", "a/other"},
	} {
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		must(os.MkdirAll(filepath.Join(top, c.before), 0o755))
		undo, err := NewFolder(inner)
		must(err)
		must(os.WriteFile(filepath.Join(inner, "file"), nil, 0o644))
		must(os.MkdirAll(filepath.Join(top, c.between), 0o755))
		must(undo())
		if _, err := os.Stat(filepath.Join(top, c.left)); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		for at := filepath.Join(top, c.left); at != filepath.Dir(top); at = filepath.Dir(at) {
			entries, err := os.ReadDir(at)
			must(err)
			if want := map[bool]int{true: 0, false: 1}[at == filepath.Join(top, c.left)]; len(entries) != want {
				t.Errorf("%+v: %s has %v", c, at, entries)
			}
		}
		must(os.RemoveAll(filepath.Join(top, "a")))
	}
}

// What can't be written is said once, the training goes on, and what was saved
// stays; when it can be written again all is there.
func TestWritesFail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	goOn(t, dir, nil, 2, 3, 0)
	tr := newTrainer(t, small(t, nil), 2)
	f, err := Reopen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Restore(tr); err != nil {
		t.Fatal(err)
	}
	// A file and a folder in the way of what is written.
	folder, metrics := filepath.Join(dir, CheckpointsDir), filepath.Join(dir, MetricsFile)
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(metrics, 0o755); err != nil {
		t.Fatal(err)
	}
	var said []string
	f.Warn = func(text string) { said = append(said, text) }
	err = tr.Run(t.Context(), func(p train.Progress) {
		if p.EpochDone {
			if err := f.Epoch(NewEpoch(p)); err != nil {
				t.Error(err)
			}
		}
		if err := f.Save(tr); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != 2 || !strings.Contains(said[0]+said[1], "the last whole checkpoint is that after step 3 of epoch 1") {
		t.Errorf("warnings %q, want one each of checkpoints and metrics", said)
	}
	err = f.Finish(tr)
	if err == nil || !strings.Contains(err.Error(), "its model saved") || !strings.Contains(err.Error(), "go on with: selfcon train --resume "+dir) {
		t.Errorf("at the end: %v", err)
	}
	if m, err := Open(dir); err != nil || m.Done {
		t.Errorf("%+v, %v: is done, but not saved", m, err)
	}
	if err := errors.Join(os.Remove(folder), os.Rename(folder+".away", folder), os.Remove(metrics)); err != nil {
		t.Fatal(err)
	}
	if err := f.Finish(tr); err != nil {
		t.Errorf("when everything can be written again: %v", err)
	}
	if epochs := timeless(t, dir); len(epochs) != 3 {
		t.Errorf("metrics of 3 epochs: %+v", epochs)
	}
}

// Classifiers that were trained on a model's features go when the model does.
func TestSaveDropsClassifiers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	goOn(t, dir, nil, 2, 3, 0)
	probe := filepath.Join(dir, ProbeFile)
	if err := os.WriteFile(probe, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	goOn(t, dir, nil, 2, 4, 0)
	if _, err := os.Stat(probe); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("saving another model leaves the classifiers of the one before: %v", err)
	}
}

// What is loaded is what was saved: the weights, or their average.
func TestLoadModel(t *testing.T) {
	for _, c := range []struct {
		method  string
		average float64
		names   []string
	}{
		{"selfcon-s", 0, []string{"encoder.conv1.weight", "encoder.bn1.running_var", "sub_heads.0.2.bias"}},
		{"selfcon-s", 0.9, []string{"encoder.conv1.weight", "encoder.bn1.running_var", "sub_heads.0.2.bias"}},
		{"selfcon", 0.9, []string{"encoder.conv1.weight", "logit_fc.0.weight", "feat_fc.0.bias", "f_fc.bias"}},
		{"kd", 0, []string{"encoder.conv1.weight", "l_fc.weight"}},
	} {
		tr := newTrainer(t, small(t, func(r *config.Run) { r.Method, r.Average = c.method, c.average }), 2)
		losses(t, tr)
		dir := filepath.Join(t.TempDir(), "run")
		m := manifest(t, tr)
		f, err := Create(dir, m)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := LoadModel(dir, m, tr.Engine); err == nil || !strings.Contains(err.Error(), "before its first checkpoint") {
			t.Errorf("without a model: %v", err)
		}
		if err := f.Finish(tr); err != nil {
			t.Fatal(err)
		}
		e, err := cpu.New(cpu.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if _, err := LoadModel(dir, m, e); err != nil {
			t.Fatalf("%s: %v", c.method, err)
		}
		for _, name := range c.names {
			from := name
			if c.average > 0 && name != "f_fc.bias" { // that one never changes
				from = train.AverageName(name)
			}
			a, err1 := tr.Engine.Read(from)
			b, err2 := e.Read(name)
			if err1 != nil || err2 != nil || !slices.Equal(a.Float64s(), b.Float64s()) {
				t.Errorf("%s: %s is not what was saved (%v, %v)", c.method, name, err1, err2)
			}
		}
	}
}

// What a process that was killed while it made a run's folder has left is cleared
// away by the next of that name; what may be somebody's stays.
func TestUnborn(t *testing.T) {
	parent := t.TempDir()
	make := func(name string, old bool, files ...string) string {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if old {
			if err := os.Chtimes(dir, time.Time{}, time.Now().Add(-2*unbornFor)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	gone := []string{
		make(".a-1", false, lockName), make(".a-22", false, lockName, ManifestFile, ConfigFile), make(".a-333", false, lockName, "."+ManifestFile+"123"), make(".a-4", false), make(".a-44", true, ManifestFile),
	}
	alive := make(".a-5", true)
	held, err := lock(alive, training)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	stays := []string{
		alive, make(".a-6", false, ManifestFile), make(".a-7", true, lockName, "photos.zip"), make(".a-2-8", true, lockName), make(".a-", true, lockName), make(".b-9", true, lockName), make("a-1", true, lockName),
	}
	tr := newTrainer(t, small(t, nil), 1)
	f, err := Create(filepath.Join(parent, "a"), manifest(t, tr))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, dir := range gone {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", dir, err)
		}
	}
	for _, dir := range stays {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != len(stays)+1 {
		t.Errorf("%v, %v", entries, err)
	}
	if !Busy(f.Dir) {
		t.Errorf("%s has its lock no more", f.Dir)
	}
}

// A claimed folder is one process's.
func TestClaim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "c")
	for range 2 { // the second time with the lock's file in it and nothing else
		held, err := Claim(dir, "plan.json", "comparing")
		if err != nil {
			t.Fatal(err)
		}
		var wrong *config.Error
		if _, err := Claim(dir, "plan.json", "comparing"); !errors.As(err, &wrong) || !strings.Contains(err.Error(), fmt.Sprintf("another process is comparing in %s: process %d on ", dir, os.Getpid())) {
			t.Errorf("%v", err)
		}
		held.Close()
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(dir, "plan.json", "comparing"); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plan.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	held, err := Claim(dir, "plan.json", "comparing")
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	if _, err := Claim(filepath.Join(dir, "mine.txt", "x"), "plan.json", "comparing"); err == nil || !strings.Contains(err.Error(), "can't be a folder") {
		t.Errorf("%v", err)
	}
}

// FuzzOpen: whatever run.json is, it is a run or an error that names the file.
func FuzzOpen(f *testing.F) {
	m := Manifest{Format: manifestFormat, Config: config.Quickstart(), Classes: []string{"a", "b"}}
	good, err := checkpoint.Indent(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"format": 99}`))
	f.Add([]byte(`{"format": 1, "classes": ["a", "a"], "config": {"exits": []}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, ManifestFile), text, 0o644); err != nil {
			t.Fatal(err)
		}
		done := testkit.Bound(t, 1<<20+1000*len(text))
		m, err := Open(dir)
		done()
		if err != nil {
			if !errors.As(err, new(checkpoint.Invalid)) || !strings.Contains(err.Error(), ManifestFile) {
				t.Errorf("error %v (%T)", err, err)
			}
			return
		}
		if err := m.Config.Validate(); err != nil && !m.needsData() {
			t.Errorf("what is read can't be: %v", err)
		}
	})
}

// FuzzEpochs: whatever metrics.jsonl is, its lines are epochs or one is named.
func FuzzEpochs(f *testing.F) {
	f.Add([]byte("{\"epoch\":1,\"step\":2,\"loss\":0.5}\n{\"epoch\":2"))
	f.Add([]byte("{\"epoch\":1,\"validation\":{\"exits\":[{\"name\":\"backbone\",\"top1\":0.5}]}}\n"))
	f.Add([]byte("{}\n[]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		defer testkit.Bound(t, 1<<20+1000*len(text))()
		epochs, err := parseEpochs("metrics.jsonl", text)
		if err != nil && !strings.Contains(err.Error(), "metrics.jsonl:") {
			t.Errorf("error %v", err)
		}
		if err == nil && len(epochs) != bytes.Count(text, []byte("\n")) {
			t.Errorf("%d epochs", len(epochs))
		}
	})
}

// FuzzPlace: the same for a checkpoint's state.json.
func FuzzPlace(f *testing.F) {
	good, err := checkpoint.Indent(checkpointState{Format: checkpointFormat})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"x": 1}`))
	path := filepath.Join(f.TempDir(), PlaceFile)
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		defer testkit.Bound(t, 1<<20+1000*len(text))()
		var s checkpointState
		if err := checkpoint.ReadJSON(path, &s); err != nil && !errors.As(err, new(checkpoint.Invalid)) {
			t.Errorf("error %v (%T)", err, err)
		}
	})
}

// What is made of a run or a checkpoint is named after the run, also from within it.
func TestBeside(t *testing.T) {
	runs := t.TempDir()
	t.Chdir(runs)
	if err := os.MkdirAll("a/checkpoints/step-3", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("a/"+ManifestFile, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(dir, want string) {
		t.Helper()
		if got := Beside(filepath.FromSlash(dir), "export"); got != want {
			t.Errorf("%s: %s, not %s", dir, got, want)
		}
	}
	check("a/", "a-export")
	check("a/checkpoints/step-3", "a-step-3-export")
	t.Chdir("a")
	in, err := os.Getwd() // as Abs has it, whatever links lead there
	if err != nil {
		t.Fatal(err)
	}
	check(".", in+"-export")
	check("checkpoints/step-3", in+"-step-3-export")
	t.Chdir("checkpoints")
	check("..", in+"-export")
}

// How an imported network was trained is not known, whatever the data that it was
// probed with would make of it.
func TestImportedHasNoEpochs(t *testing.T) {
	dir := t.TempDir()
	m := Manifest{Format: manifestFormat, Config: config.Quickstart(), Classes: []string{"a", "b"}, Imported: &Imported{File: "a.pth"}}
	m.Config.Epochs, m.Config.ValidateEvery = 2500, 250
	if err := m.Write(dir); err != nil {
		t.Fatal(err)
	}
	def := config.Default()
	if m, err := Open(dir); err != nil || m.Config.Epochs != def.Epochs || m.Config.ValidateEvery != def.ValidateEvery {
		t.Errorf("%d epochs, judged every %d (%v)", m.Config.Epochs, m.Config.ValidateEvery, err)
	}
}
