package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"selfcon/run"
)

// TestRepeat trains by the config.yaml of runs of many kinds and gets the same
// models, whatever the settings came from.
func TestRepeat(t *testing.T) {
	t.Chdir(t.TempDir())
	photos := shapes(t)
	if err := os.WriteFile("classes.txt", []byte("light\ndark\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("mine.yaml", []byte("preset: small-sample-selfcon-s\nper_class: 8\nepochs: 9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const small = " --image 8 --width 1 --batch 8 --lr 0.02 --epochs 2"
	for name, c := range map[string]struct{ args, more string }{
		"plain":    {args: "--data sample --per-class 8" + small},
		"a preset": {args: "--preset small-sample-supcon --per-class 8" + small},
		"a file":   {args: "--config mine.yaml temperature=0.2 --average 0.9" + small},
		"of all":   {args: "--data sample --per-class 8 --alpha 0.5 --exits 1,2 --sub small --optimizer adamw --no-decay vectors --schedule step --milestones 1 --rand-augment 2,9 --erase 0.25 --sampling weighted --validate-every 1" + small},
		"photos":   {args: "--data imagefolder:" + photos + " --classes classes.txt --cache cached --cache-side 10 --channels 1 --method ce" + small},
		"its seed": {args: "--data sample --fraction 0.01 seed=18446744073709551615 --method simclr --micro-batch 4" + small},
		"other's":  {args: "--init plain --data sample --per-class 8 --image 8 --batch 8 --lr 0.02 --epochs 1", more: "--init plain"},
		"unjudged": {args: "--data sample --per-class 8 --val-fraction 0 --augment none --method ce" + small},
	} {
		if name == "other's" {
			if _, log, code := call(t.Context(), strings.Fields("train --data sample --per-class 8 --out plain"+small)...); code != exitDone {
				t.Fatal(log)
			}
		}
		dir := strings.ReplaceAll(name, " ", "-") + ".run"
		if _, log, code := call(t.Context(), append(strings.Fields("train "+c.args), "--out", dir)...); code != exitDone {
			t.Fatalf("%s: exit code %d, %s", name, code, log)
		}
		again := dir + ".again"
		if _, log, code := call(t.Context(), append(strings.Fields("train --config "+filepath.Join(dir, run.ConfigFile)+" "+c.more), "--out", again)...); code != exitDone {
			t.Fatalf("%s, again: exit code %d, %s", name, code, log)
		}
		for _, file := range []string{run.ModelFile, run.ConfigFile} {
			a, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(again, file)); err != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: %s is another when it is trained again (%v)", name, file, err)
			}
		}
		// The configuration is printed as it stands.
		a, log, code := call(t.Context(), "config", "--config", filepath.Join(dir, run.ConfigFile))
		if code != exitDone {
			t.Errorf("%s: selfcon config: %s", name, log)
		}
		b, _ := os.ReadFile(filepath.Join(dir, run.ConfigFile))
		if x, y := values(a), values(string(b)); x != y {
			t.Errorf("%s: selfcon config prints\n%s\nnot\n%s", name, x, y)
		}
	}
}

// values are the lines of a configuration without remarks.
func values(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	return b.String()
}

// TestOrigins: runs show and its JSON have what a run began with.
func TestOrigins(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, log, code := call(t.Context(), strings.Fields("train --data sample --image 8 --width 1 --per-class 8 --batch 8 --lr 0.02 --epochs 1 --seed 7 --out a")...); code != exitDone {
		t.Fatal(log)
	}
	m, err := run.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	text, _, code := call(t.Context(), "runs", "show", "a")
	for _, want := range []string{m.Machine.String(), m.Data.Sum, "selfcon " + versionString(), m.Engine, "seed                7"} {
		if code != exitDone || !strings.Contains(text, want) {
			t.Errorf("exit code %d, no %q in\n%s", code, want, text)
		}
	}
	text, _, code = call(t.Context(), "runs", "show", "--json", "a")
	var got runInfo
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != exitDone || *got.Machine != *m.Machine || got.Fingerprint.Sum != m.Data.Sum || got.Seed != 7 || got.Version != m.Version {
		t.Errorf("exit code %d, %v, %s", code, err, text)
	}
	page, err := os.ReadFile("a/report.html")
	if err != nil || !strings.Contains(string(page), m.Data.Sum) || !strings.Contains(string(page), m.Machine.CPU) {
		t.Errorf("the report has neither machine nor fingerprint (%v)", err)
	}
	// Another seed and the same data: only that differs.
	if _, log, code := call(t.Context(), strings.Fields("train --config a/config.yaml seed=8 --out b")...); code != exitDone {
		t.Fatal(log)
	}
	text, _, code = call(t.Context(), "runs", "diff", "a", "b")
	if code != exitDone || strings.Count(text, "seed") != 2 || strings.Contains(text, "fingerprint") || strings.Contains(text, "machine") {
		t.Errorf("exit code %d, %s", code, text)
	}
}
