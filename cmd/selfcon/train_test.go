package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"selfcon/run"
)

// A run that diverges says what is saved of before, and the command that it names
// goes on from there.
func TestDivergedLater(t *testing.T) {
	t.Chdir(t.TempDir())
	// The first step of the warm-up is at 0.01, all others are far too large; what the
	// second one leaves may be finite, but gives no loss.
	_, stderr, code := call(t.Context(), strings.Fields("train --data sample --image 8 --width 1 --per-class 4 --batch 8 --epochs 20 --optimizer sgd --lr 1e38 --warmup-epochs 10 --validate-every 0 --save-every 1ms --out a")...)
	found := regexp.MustCompile(`before that a/checkpoints/step-1 was saved \(after step 1 of epoch 1, mean loss [\d.]+\): .* with a tenth of the rate: selfcon (train --config a/config.yaml --lr 1e\+37 --init a/checkpoints/step-1)$`).FindStringSubmatch(stderr)
	if code != exitFailed || found == nil {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	args := strings.Fields(strings.Replace(found[1], "1e+37", "0.01", 1) + " epochs=3 --warmup-epochs 0 --out b")
	if _, stderr, code := call(t.Context(), args...); code != exitDone || !strings.Contains(stderr, "begins with a/checkpoints/step-1") {
		t.Errorf("going on: exit code %d, %q", code, stderr)
	}
}

// A fine-tuning that diverges with nothing saved but its beginning says how to
// begin again from that.
func TestDivergedTuning(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, stderr, code := call(t.Context(), strings.Fields("train --data sample --image 8 --width 1 --per-class 4 --batch 8 --epochs 1 --validate-every 0 --out a")...); code != exitDone {
		t.Fatal(stderr)
	}
	_, stderr, code := call(t.Context(), strings.Fields("finetune --lr 1e30 --epochs 2 --batch 8 --out b a")...)
	found := regexp.MustCompile(`nothing was saved before that: to begin anew, with a tenth of the rate: selfcon (train --config b/config.yaml --lr 1e\+29 --head-lr 0.01 --init b/checkpoints/step-0)$`).FindStringSubmatch(stderr)
	if code != exitFailed || found == nil {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	args := strings.Fields(strings.Replace(found[1], "1e+29", "0.001", 1) + " --out c")
	if _, stderr, code := call(t.Context(), args...); code != exitDone {
		t.Errorf("beginning anew: exit code %d, %q", code, stderr)
	}
}

// What is odd about a run, but right, is noted before it begins.
func TestTrainNotes(t *testing.T) {
	t.Chdir(t.TempDir())
	_, stderr, code := call(t.Context(), strings.Fields("train --data sample --image 8 --width 1 --per-class 4 --batch 8 --epochs 1 --lr 0.5 --threads 1000 --out a")...)
	if code != exitDone {
		t.Fatal(stderr)
	}
	for _, want := range []string{"all of this run trains at 0.0005, not at 0.5; try --schedule constant, or more epochs", "note: threads 1000: this process may use", "trained 1 epoch in"} {
		if strings.Count(stderr, want) != 1 {
			t.Errorf("%q is not there once: %s", want, stderr)
		}
	}
	if _, stderr, _ := call(t.Context(), strings.Fields("train --data sample --image 8 --width 1 --per-class 4 --batch 8 --epochs 1 --schedule constant --threads 1 --out b")...); strings.Contains(stderr, "of this run trains") || strings.Contains(stderr, "note: threads") {
		t.Errorf("notes without need: %s", stderr)
	}
}

// An interrupted quickstart goes on to its table, wherever it was stopped.
func TestQuickstartResumes(t *testing.T) {
	if testing.Short() {
		t.Skip("trains and probes")
	}
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	const advice = "go on with: selfcon quickstart --resume q"
	if _, stderr, code := call(ctx, strings.Fields("quickstart --epochs 1 --width 1 --out q")...); code != exitInterrupted || !strings.Contains(stderr, "and saved; "+advice) {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	if text, err := os.ReadFile(filepath.Join("q", run.LogFile)); err != nil || !strings.Contains(string(text), "and saved; "+advice) {
		t.Errorf("the log says %q (%v)", text, err)
	}
	if _, stderr, code := call(t.Context(), strings.Fields("quickstart --resume q --epochs 3")...); code != exitUsage || !strings.Contains(stderr, "epochs") {
		t.Errorf("other settings: exit code %d, %q", code, stderr)
	}
	stdout, stderr, code := call(t.Context(), "quickstart", "--resume", "q")
	for _, row := range []string{"raw pixels", "untrained ensemble", "SelfCon-S sub-network 2", "SelfCon-S ensemble", "the run is in q"} {
		if code != exitDone || !strings.Contains(stdout, row) {
			t.Fatalf("exit code %d, no %s in %q, %q", code, row, stdout, stderr)
		}
	}
	// Stopped while it is judged.
	if _, stderr, code := call(ctx, "quickstart", "--resume", "q"); code != exitInterrupted || !strings.Contains(stderr, "interrupted; "+advice) {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
