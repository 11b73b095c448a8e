package run

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/internal/machine"
	"selfcon/train"
)

// begun is the folder of a run that was stopped after two steps, in a trainer's
// setup that the data is that of.
func begun(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	goOn(t, dir, nil, 2, 2, 0)
	return dir
}

// rewrite changes a file of a run.
func rewrite(t *testing.T, path string, change func(string) string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(text))
	if changed == string(text) {
		t.Fatalf("%s is not changed:\n%s", path, text)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
}

// swap replaces the first match of an expression.
func swap(expression, with string) func(string) string {
	return func(s string) string {
		at := regexp.MustCompile(expression).FindStringIndex(s)
		if at == nil {
			return s
		}
		return s[:at[0]] + with + s[at[1]:]
	}
}

// A run's folder says what it takes to do it again.
func TestProvenance(t *testing.T) {
	dir := begun(t)
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Format != 2 || m.Version != "test" || m.Machine == nil || *m.Machine != machine.Here() || m.Config.Seed == 0 || m.Later != nil {
		t.Errorf("%+v", m)
	}
	splits, err := data.Open("sample", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := splits.Fingerprint(); err != nil || !reflect.DeepEqual(m.Data, &f) {
		t.Errorf("fingerprint %+v, want %+v (%v)", m.Data, f, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(ConfigFile, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range config.Settings() {
		if a, b := s.Text(&m.Config), s.Text(&c); a != b {
			t.Errorf("%s is %q in %s, not %q", s.Key, b, ConfigFile, a)
		}
	}
	// Weights from elsewhere are named, and a name can't break out of the remark.
	m.Init = "/a\nepochs: 7"
	if err := writeConfig(dir, m); err != nil {
		t.Fatal(err)
	}
	if text, err = os.ReadFile(filepath.Join(dir, ConfigFile)); err != nil || !strings.Contains(string(text), "--init FILE") {
		t.Errorf("%s, %v", text, err)
	}
	if c, err := config.Parse(ConfigFile, text); err != nil || c.Epochs != m.Config.Epochs {
		t.Errorf("%d epochs, %v", c.Epochs, err)
	}
}

// What goes on notes where, and says what a person should know.
func TestGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		file    string // changed before
		change  func(string) string
		version string
		notes   []string
		later   int
	}{
		"as before":          {version: "test"},
		"a later program":    {version: "test2", notes: []string{"by selfcon test so far and goes on with test2"}, later: 1},
		"another machine":    {file: ManifestFile, change: swap(`"cores": \d+`, `"cores": 999`), version: "test", later: 1},
		"other instructions": {file: ManifestFile, change: swap(`"engine": "cpu \w+,`, `"engine": "cpu sve,`), version: "test", notes: []string{"with cpu sve so far", "rounds differently"}, later: 1},
		"changed settings": {file: ConfigFile, change: swap(`(?m)^epochs: 3$`, "epochs: 30"), version: "test",
			notes: []string{ConfigFile + " was changed: epochs is 30, not 3; the run goes on with its own settings"}},
		"changed remarks":  {file: ConfigFile, change: func(s string) string { return "# mine\n" + s }, version: "test"},
		"changed threads":  {file: ConfigFile, change: swap(`(?m)^threads: \d+$`, "threads: 7"), version: "test"},
		"broken settings":  {file: ConfigFile, change: func(s string) string { return s + "epoch: 3\n" }, version: "test", notes: []string{`did you mean "epochs"?`}},
		"no settings left": {version: "test"},
	} {
		dir := begun(t)
		if c.file != "" {
			rewrite(t, filepath.Join(dir, c.file), c.change)
		}
		if name == "no settings left" {
			if err := os.Remove(filepath.Join(dir, ConfigFile)); err != nil {
				t.Fatal(err)
			}
		}
		tr := newTrainer(t, small(t, nil), 1) // with another number of threads, which is nothing
		f, err := Reopen(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Restore(tr); err != nil {
			t.Fatal(err)
		}
		checked, err := f.Manifest.CheckData(dir, tr.Setup, false)
		if err != nil {
			t.Fatal(err)
		}
		said := f.GoOn(tr, c.version, checked)
		if len(said) != min(1, len(c.notes)) {
			t.Errorf("%s: %q", name, said)
		}
		for _, want := range c.notes {
			if !strings.Contains(strings.Join(said, "\n"), want) {
				t.Errorf("%s: %q, want %q", name, said, want)
			}
		}
		again := f.GoOn(tr, c.version, checked) // nothing is new any more, but what somebody changed
		if c.file != ConfigFile && len(again) > 0 {
			t.Errorf("%s: again %q", name, again)
		}
		f.Close()
		m, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Later) != c.later || c.later > 0 && (m.Later[0].Steps != 2 || m.Later[0].Version != c.version || m.Later[0].Machine != machine.Here()) {
			t.Errorf("%s: %+v", name, m.Later)
		}
		if _, err := os.Stat(filepath.Join(dir, ConfigFile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The folder of a program from before is read, gone on with and brought up to
// date; one of a later program is refused for that reason, whatever is in it.
func TestOldFormat(t *testing.T) {
	dir := begun(t)
	path := filepath.Join(dir, ManifestFile)
	whole, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, func(s string) string { // as format 1 was
		s = strings.Replace(s, `"format": 2`, `"format": 1`, 1)
		from, to := strings.Index(s, ",\n  \"machine\":"), strings.LastIndex(s, "\n}")
		return s[:from] + s[to:]
	})
	if err := os.Remove(filepath.Join(dir, ConfigFile)); err != nil {
		t.Fatal(err)
	}
	old, err := Open(dir)
	if err != nil || old.Machine != nil || old.Data != nil || !reflect.DeepEqual(old.Config, whole.Config) {
		t.Fatalf("%+v, %v", old, err)
	}
	s := small(t, nil)
	s.Train = data.Subset(s.Train, make([]int, s.Train.Len()+1))
	if _, err := old.CheckData(dir, s, true); err == nil || !strings.Contains(err.Error(), "71 training, ") {
		t.Errorf("with an image more: %v", err)
	}
	tr := newTrainer(t, small(t, nil), 1)
	checked, err := old.CheckData(dir, tr.Setup, false)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Reopen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Restore(tr); err != nil {
		t.Fatal(err)
	}
	if notes := f.GoOn(tr, "test", checked); len(notes) > 0 {
		t.Errorf("%q", notes)
	}
	f.Close()
	now, err := Open(dir)
	if err != nil || now.Format != 2 || !reflect.DeepEqual(now.Data, whole.Data) || now.Machine != nil || len(now.Later) != 1 || now.Later[0].Machine != machine.Here() {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ConfigFile)); err != nil {
		t.Error(err)
	}
	rewrite(t, path, func(s string) string {
		return strings.Replace(s, `"format": 2`, `"format": 3, "unheard_of": true`, 1)
	})
	var invalid checkpoint.Invalid
	if _, err := Open(dir); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "format 3, which a later selfcon wrote") {
		t.Errorf("a later format: %v", err)
	}
}

// Other data than the run began with is told apart, with what differs.
func TestCheckData(t *testing.T) {
	dir := begun(t)
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	few := data.Subset(small(t, nil).Data.Train, []int{1, 2, 3})
	shifted := func(s *train.Setup) { // as many images of other labels
		var other []int
		for i := range s.Data.Train.Len() {
			other = append(other, (i+1)%s.Data.Train.Len())
		}
		s.Data.Train = data.Subset(s.Data.Train, other)
	}
	for name, c := range map[string]struct {
		change func(*train.Setup)
		accept bool // what may be
		want   string
	}{
		"fewer":         {func(s *train.Setup) { s.Data.Train = few; s.Train = few }, false, "3 train images, not 10000"},
		"other classes": {func(s *train.Setup) { s.Classes = []string{"cat", "dog"} }, false, "classes cat, dog, not T-shirt/top, "},
		"other counts":  {func(s *train.Setup) { s.Test = few }, false, "3 test images, not 70"},
		"other labels":  {shifted, true, "other labels of the train images"},
	} {
		s := small(t, nil)
		c.change(s)
		advice := "--config " + filepath.Join(dir, ConfigFile)
		if c.accept {
			advice = "--accept-data --resume " + dir
		}
		var bad *data.Error
		if _, err := m.CheckData(dir, s, false); !errors.As(err, &bad) || bad.Path != "sample" || !strings.Contains(bad.Reason, c.want) || !strings.Contains(bad.Reason, advice) {
			t.Errorf("%s: %v", name, err)
		}
		checked, err := m.CheckData(dir, s, true)
		if (err == nil) != c.accept || c.accept && len(checked.Changes) == 0 {
			t.Errorf("%s: accepted: %+v, %v", name, checked, err)
		}
	}

	// What was accepted is written down, and needs no second word.
	tr := newTrainer(t, small(t, nil), 1)
	shifted(tr.Setup)
	checked, err := m.CheckData(dir, tr.Setup, true)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Reopen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if notes := f.GoOn(tr, "test", checked); len(notes) != 1 || !strings.Contains(notes[0], "goes on with other data") {
		t.Errorf("%q", notes)
	}
	now, err := Open(dir)
	if err != nil || len(now.Later) != 1 || !strings.Contains(now.Later[0].Data, "other labels") || now.Data.Sum == m.Data.Sum {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := now.CheckData(dir, tr.Setup, false); err != nil {
		t.Error(err)
	}
}

// Data that has moved is the same data, and from then on it is where it is.
func TestMovedData(t *testing.T) {
	dir := begun(t)
	moved := small(t, nil)
	moved.Config.Data = "idx:/elsewhere"
	f, err := Reopen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := f.Manifest
	old.Data = nil
	var wrong *config.Error
	if _, err := old.CheckData(dir, moved, true); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "put it back to sample") {
		t.Errorf("without a fingerprint: %v", err)
	}
	checked, err := f.Manifest.CheckData(dir, moved, false)
	if err != nil || checked.From != "sample" {
		t.Fatalf("%+v, %v", checked, err)
	}
	f.Manifest.Config = moved.Config
	tr := newTrainer(t, moved, 1)
	if notes := f.GoOn(tr, "test", checked); len(notes) != 1 || !strings.Contains(notes[0], "at idx:/elsewhere now, no longer at sample") {
		t.Errorf("%q", notes)
	}
	m, err := Open(dir)
	if err != nil || m.Config.Data != "idx:/elsewhere" || len(m.Later) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, ConfigFile)); err != nil || !strings.Contains(string(text), "\ndata: \"idx:/elsewhere\"\n") && !strings.Contains(string(text), "\ndata: idx:/elsewhere\n") {
		t.Errorf("%s, %v", text, err)
	}
	moved.Data.Train = data.Subset(moved.Data.Train, make([]int, moved.Data.Train.Len()))
	if _, err := m.CheckData(dir, moved, false); err == nil || !strings.Contains(err.Error(), "other labels") {
		t.Errorf("%v", err)
	}
}
