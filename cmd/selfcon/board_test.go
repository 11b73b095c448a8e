package main

import (
	"io"
	"math"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"selfcon/data"
	"selfcon/run"
	"selfcon/tensorboard"
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
		s, e, err := openTrained(dir, m, m.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		var some []int
		for i := range boardImages {
			some = append(some, i*s.Val.Len()/boardImages)
		}
		cmd := &cobra.Command{}
		logFlags(cmd)
		cmd.SetErr(io.Discard)
		want, err := extractor(e, s)(t.Context(), newReporter(cmd), data.Subset(s.Val, some), "embedded")
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
