package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"selfcon/checkpoint"
	"selfcon/run"
)

// TestOtherData: probing and fine-tuning on data that are not the run's warn and say
// what differs, also where they are named; the run's own, moved, are no others.
func TestOtherData(t *testing.T) {
	photos := shapes(t)
	t.Chdir(t.TempDir())
	if _, stderr, code := call(t.Context(), "train", "--data", "imagefolder:"+photos, "--width", "1", "--image", "8", "--epochs", "1", "--batch", "12", "--validate-every", "0", "--out", "a"); code != exitDone {
		t.Fatal(stderr)
	}
	if err := os.CopyFS("less", os.DirFS(photos)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("less/train/dark/a.png"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(photos, "moved"); err != nil {
		t.Fatal(err)
	}
	const differs = "is not the data of a: 39 train images, not 40; "
	for _, command := range []string{"probe --epochs 1", "finetune --epochs 1 --batch 12"} {
		args := append(strings.Fields(command), "a")
		if _, stderr, code := call(t.Context(), args...); code != exitBadData || !strings.Contains(stderr, "--data FORMAT:PATH a") {
			t.Errorf("%s of data that are gone: exit code %d, %s", command, code, stderr)
		}
		stdout, stderr, code := call(t.Context(), append(args, "--data", "imagefolder:moved")...)
		if code != exitDone || strings.Contains(stderr, "warning") {
			t.Errorf("%s of data that have moved: exit code %d, %s", command, code, stderr)
		}
		if !strings.Contains(stdout, "ECE: how far") || strings.Contains(stdout, "top-5") { // of two classes
			t.Errorf("%s: %s", command, stdout)
		}
		if _, stderr, code := call(t.Context(), append(args, "--data", "imagefolder:less")...); code != exitDone || !strings.Contains(stderr, differs) {
			t.Errorf("%s of other data: exit code %d, %s", command, code, stderr)
		}
	}
	tuned, err := run.Open("a-tuned-2")
	if err != nil || filepath.Base(tuned.Config.Data) != "less" {
		t.Errorf("fine-tuned on %s, %v", tuned.Config.Data, err)
	}
}

// TestProbeInterrupted: a probe that is stopped says that nothing was saved, and
// leaves nothing.
func TestProbeInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, stderr, code := call(t.Context(), strings.Fields("train --data sample --image 8 --width 1 --per-class 50 --batch 16 --epochs 1 --validate-every 0 --out a")...); code != exitDone {
		t.Fatal(stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := &stopAt{text: "a: features of 500 training, 1000 validation and 2000 test images", stop: cancel}
	cmd := root(new(bytes.Buffer), stderr)
	cmd.SetArgs([]string{"probe", "a"})
	if err := cmd.ExecuteContext(ctx); exitCode(err) != exitInterrupted || !strings.Contains(err.Error(), "nothing of this probe was saved; the same command begins anew") {
		t.Errorf("%v, %s", err, &stderr.said)
	}
	if found, _ := filepath.Glob("a/probe*"); len(found) > 0 {
		t.Errorf("left %q", found)
	}
}

// TestProbeReplaced: the classifiers of a model that a training has replaced since
// are not saved beside the new one.
func TestProbeReplaced(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, stderr, code := call(t.Context(), strings.Fields("train --data sample --image 8 --width 1 --per-class 4 --batch 8 --epochs 1 --validate-every 0 --out a")...); code != exitDone {
		t.Fatal(stderr)
	}
	model := filepath.Join("a", run.ModelFile)
	f, err := checkpoint.ReadTensors(model)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := new(bytes.Buffer), &stopAt{text: "a: features of", stop: func() {
		if err := checkpoint.WriteTensors(model, f); err != nil {
			t.Error(err)
		}
	}}
	cmd := root(stdout, stderr)
	cmd.SetArgs(strings.Fields("probe --epochs 1 a"))
	if err := cmd.ExecuteContext(t.Context()); exitCode(err) != exitFailed || !strings.Contains(err.Error(), "a training has replaced the model in a meanwhile") {
		t.Errorf("%v, %s", err, &stderr.said)
	}
	if !strings.Contains(stdout.String(), "backbone") {
		t.Errorf("what was found is not told: %q", stdout)
	}
	if found, _ := filepath.Glob("a/probe*"); len(found) > 0 {
		t.Errorf("left %q", found)
	}
}

// TestProbeCache: a probe reads the copy that its run's training has made, and tells
// when it makes one of other data.
func TestProbeCache(t *testing.T) {
	photos := shapes(t)
	t.Chdir(t.TempDir())
	if err := os.CopyFS("other", os.DirFS(photos)); err != nil {
		t.Fatal(err)
	}
	const made = "the images are packed in"
	if _, stderr, code := call(t.Context(), "train", "--data", "imagefolder:"+photos, "--cache", "cache", "--width", "1", "--image", "8", "--epochs", "1", "--batch", "12", "--validate-every", "0", "--out", "a"); code != exitDone || !strings.Contains(stderr, made) {
		t.Fatal(stderr)
	}
	if _, stderr, code := call(t.Context(), "probe", "--epochs", "1", "a"); code != exitDone || strings.Contains(stderr, made) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if found, _ := filepath.Glob("cache/*"); len(found) != 1 {
		t.Errorf("the cache has %q", found)
	}
	if _, stderr, code := call(t.Context(), "probe", "--epochs", "1", "--data", "imagefolder:other", "a"); code != exitDone || !strings.Contains(stderr, made) {
		t.Errorf("other data: exit code %d, %s", code, stderr)
	}
}
