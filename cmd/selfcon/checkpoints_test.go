package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"selfcon/checkpoint"
	"selfcon/engine"
	"selfcon/run"
)

// tensors reads a file of weights by name.
func tensors(t *testing.T, path string) map[string]engine.Tensor {
	t.Helper()
	f, err := checkpoint.ReadTensors(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]engine.Tensor{}
	for _, x := range f.Tensors {
		out[x.Name] = x.Tensor
	}
	return out
}

// A checkpoint is judged, used, fine-tuned, begun with and exported in its run's
// place, and keeps the classifiers that are trained on it.
func TestCheckpoints(t *testing.T) {
	photos := shapes(t)
	t.Chdir(t.TempDir())
	done := func(args string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, code := call(t.Context(), strings.Fields(args)...)
		if code != exitDone {
			t.Fatalf("%s: exit code %d, %s", args, code, stderr)
		}
		return stdout, stderr
	}
	done("train --data imagefolder:" + photos + " --image 16 --width 2 --epochs 4 --batch 12 --lr 0.02 --average 0.5 --validate-every 1 --save-every 1ms --keep 100 --out a")
	const early, last = "a/checkpoints/step-3", "a/checkpoints/last" // 3 steps are an epoch
	done("probe --epochs 3 a")
	own, err := os.ReadFile("a/" + run.ProbeFile)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(photos, "test/dark/a.png")
	if _, stderr, code := call(t.Context(), "predict", "--run", early, image); code != exitUsage || !strings.Contains(stderr, "first: selfcon probe "+early) {
		t.Errorf("predict by a checkpoint that was not probed: exit code %d, %q", code, stderr)
	}
	if _, stderr := done("probe --epochs 3 " + early); !strings.Contains(stderr, early+" is the run after epoch 1 of 4") {
		t.Errorf("probe of a checkpoint: %q", stderr)
	}
	if now, err := os.ReadFile("a/" + run.ProbeFile); err != nil || !bytes.Equal(own, now) {
		t.Errorf("the probe of a checkpoint changed the run's classifiers (%v)", err)
	}
	// The run's end is its last checkpoint: the same weights, the same judgement.
	done("probe --epochs 3 " + last)
	said := func(dir string) (p prediction) {
		stdout, _ := done("predict --json --run " + dir + " " + image)
		if err := json.Unmarshal([]byte(stdout), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if a, b, c := said("a"), said(last), said(early); !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, c) {
		t.Errorf("predictions: %+v by the run, %+v by its last checkpoint, %+v by an early one", a, b, c)
	}
	model := tensors(t, "a/"+run.ModelFile)
	done("export " + last)
	stdout, _ := done("export --format safetensors " + early)
	if strings.TrimSpace(stdout) != "a-step-3-export" {
		t.Fatalf("export of a checkpoint into %q", stdout)
	}
	newest, err := filepath.Glob("a-step-*-export")
	if err != nil || len(newest) != 2 {
		t.Fatalf("%v, %v", newest, err)
	}
	for _, dir := range newest {
		same, saved := dir != "a-step-3-export", tensors(t, filepath.Join(dir, "model.safetensors"))
		for name, x := range model {
			if y, ok := saved[name]; !ok || same && !reflect.DeepEqual(x, y) {
				t.Errorf("%s: %s is there: %v; not the run's", dir, name, ok)
			}
		}
		if !same && reflect.DeepEqual(model["encoder.conv1.weight"], saved["encoder.conv1.weight"]) {
			t.Errorf("%s has the weights of the end", dir)
		}
	}
	if card, err := os.ReadFile("a-step-3-export/README.md"); err != nil || !strings.Contains(string(card), "its weights after epoch 1 of 4") {
		t.Errorf("%v: %s", err, card)
	}
	// Fine-tuning with nothing to train begins and ends with the checkpoint's encoder.
	done("finetune --freeze 4 --epochs 1 --batch 12 " + early)
	exported := tensors(t, "a-step-3-export/model.safetensors")
	for name, x := range tensors(t, "a-step-3-tuned/"+run.ModelFile) {
		if frozen := regexp.MustCompile(`^encoder\.(conv1|bn1|layer)`).MatchString(name); frozen && !reflect.DeepEqual(x, exported[name]) {
			t.Errorf("fine-tuning began with other weights: %s", name)
		}
	}
	if m, err := run.Open("a-step-3-tuned"); err != nil || !strings.HasSuffix(m.From, early) {
		t.Errorf("%+v, %v", m, err)
	}
	if _, stderr := done("train --data imagefolder:" + photos + " --image 16 --epochs 1 --batch 12 --lr 1e-9 --init a/checkpoints/best --out b"); !strings.Contains(stderr, "begins with a/checkpoints/step-") && !strings.Contains(stderr, "begins with a/checkpoints/best") {
		t.Errorf("train --init: %q", stderr)
	}
	// The bare file of a run that keeps averages: they are what is read, unless a
	// prefix says otherwise.
	state := filepath.Join(filepath.Dir(early), "step-3", run.StateFile)
	raw := tensors(t, state)
	for out, want := range map[string]string{"averages": "average.", "weights --prefix encoder.": ""} {
		_, stderr := done("import --image 16 " + state + " --out " + out)
		name, _, _ := strings.Cut(out, " ")
		for key, x := range tensors(t, filepath.Join(name, run.ModelFile)) {
			if strings.HasPrefix(key, "encoder.") && !reflect.DeepEqual(x, raw[want+key]) {
				t.Errorf("%s: %s is not %s%s of the state", name, key, want, key)
			}
		}
		if said := strings.Contains(stderr, "the moving averages of the weights are taken"); said != (want != "") || strings.Contains(stderr, "average.encoder") && want != "" {
			t.Errorf("%s: %s", name, stderr)
		}
	}
	if _, stderr := done("train --data imagefolder:" + photos + " --image 16 --epochs 1 --batch 12 --lr 1e-9 --init " + state + " --out c"); !strings.Contains(stderr, ", the moving averages of its weights") {
		t.Errorf("train --init: %q", stderr)
	}
}
