package main

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"selfcon/data"
	"selfcon/report"
	"selfcon/run"
	"selfcon/tensorboard"
	"selfcon/train"
)

// TestEmbedded: the projector shows the features of the model that is saved, which
// is the averaged one where the run keeps averages.
func TestEmbedded(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, average := range []string{"0", "0.95"} {
		dir := "a" + average
		if _, log, code := call(t.Context(), strings.Fields("train --data sample --image 8 --width 2 --per-class 16 --batch 32 --lr 0.05 --epochs 3 --average "+average+" --out "+dir)...); code != exitDone {
			t.Fatal(log)
		}
		m, err := run.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		cmd := &cobra.Command{}
		logFlags(cmd)
		cmd.SetErr(io.Discard)
		r := newReporter(cmd)
		s, e, err := openTrained(t.Context(), r, dir, m, m.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		var some []int
		for i := range boardImages {
			some = append(some, i*s.Val.Len()/boardImages)
		}
		want, err := extractor(e, s)(t.Context(), r, data.Subset(s.Val, some), "embedded")
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range want.Names {
			got, _, points, err := tensorboard.ReadEmbedding(dir, name)
			if err != nil || len(points) != boardImages || got.Dim != want.Dims[i] {
				t.Fatalf("%s: %d points of %d numbers, %v", name, len(points), got.Dim, err)
			}
			for k, v := range want.X[i] {
				if math.Abs(float64(got.X[k]-v)) > 1e-5*math.Abs(float64(v))+1e-7 { // as it is written, with 6 digits
					t.Fatalf("average %s, %s: number %d is %g, but %g with the model that was saved", average, name, k, got.X[k], v)
				}
			}
		}
	}
}

// TestBoardAgain: what a run that was killed early has not written is written when
// it goes on, once.
func TestBoardAgain(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, log, code := call(t.Context(), strings.Fields("train --data sample --image 8 --width 1 --per-class 16 --batch 32 --lr 0.05 --epochs 1 --out a")...); code != exitDone {
		t.Fatal(log)
	}
	m, err := run.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	cmd := &cobra.Command{}
	logFlags(cmd)
	var said bytes.Buffer
	cmd.SetErr(&said)
	s, e, err := openTrained(t.Context(), newReporter(cmd), "a", m, m.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	tr, err := train.NewTrainer(s, e)
	if err != nil {
		t.Fatal(err)
	}
	tr.Batch = 3 // as from a checkpoint
	events := func() []string {
		found, err := filepath.Glob("a/events.out.tfevents.*")
		if err != nil || len(found) == 0 {
			t.Fatalf("%v, %v", found, err)
		}
		return found
	}
	first := events()[0]
	whole, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []int{0, 60, len(whole)} { // nothing, half an event, all
		for _, path := range append(events(), "a/"+report.ViewsFile) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(first, whole[:kept], 0o644); err != nil {
			t.Fatal(err)
		}
		b := newBoard(newReporter(cmd), &run.Folder{Dir: "a"}, tr) // killed now: nothing is closed
		var sizes []int
		for _, path := range events() {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(text))
		}
		if again := len(sizes) == 2 && sizes[1] > 1000; again != (kept < len(whole)) {
			t.Errorf("%d bytes kept: files of %v bytes", kept, sizes)
		}
		for _, tag := range []string{viewsTag, tensorboard.SettingsTag} {
			if ok, err := tensorboard.Holds("a", tag); !ok || err != nil {
				t.Errorf("%d bytes kept: no %s, %v", kept, tag, err)
			}
		}
		if _, err := os.Stat("a/" + report.ViewsFile); err != nil {
			t.Error(err)
		}
		b.w.Close()
	}
	if ok, err := tensorboard.Holds("a", "view"); ok || err != nil {
		t.Errorf("a tag that is not there: %v, %v", ok, err)
	}
	if said.Len() > 0 {
		t.Errorf("%s", &said)
	}
}
