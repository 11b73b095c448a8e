package eval

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ln of probabilities: logits whose softmax they are.
func ln(p ...float64) []float32 {
	out := make([]float32, len(p))
	for i, v := range p {
		out[i] = float32(math.Log(v))
	}
	return out
}

func near(got, want float64) bool { return math.Abs(got-want) < 1e-6 }

// Five images of three classes, by hand.
func TestMetrics(t *testing.T) {
	logits := ln(
		0.9, 0.1, 0, //   label 0, predicted 0: right, 0.9
		0.5, 0.3, 0.2, // label 1, predicted 0: wrong, 0.5
		0.2, 0.7, 0.1, // label 1, predicted 1: right, 0.7
		0.9, 0.05, 0.05, // label 0, predicted 0: right, 0.9
		0.25, 0.25, 0.5, // label 1, predicted 2: wrong, 0.5
	)
	whole := newTally(3)
	if err := whole.add(logits, []int32{0, 1, 1, 0, 1}); err != nil {
		t.Fatal(err)
	}
	got := whole.row("x")
	// The bins: 0.5 twice, both wrong; 0.7, right; 0.9 twice, both right.
	ece := 2./5*0.5 + 1./5*0.3 + 2./5*0.1
	if !near(got.ECE, ece) {
		t.Errorf("calibration error %g, want %g", got.ECE, ece)
	}
	got.ECE = 0
	want := Row{
		Name: "x", Top1: 0.6, Classes: 3, N: 5,
		PerClass:  []ClassAccuracy{{2, 1}, {3, 1. / 3}, {0, 0}},
		Confusion: [][]int{{2, 0, 0}, {1, 1, 1}, {0, 0, 0}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	text := Table{got}.ClassText([]string{"cat", "dog", "eel"})
	if d := cmp.Diff("class  images  x\ncat    2       100.00%\ndog    3        33.33%\neel    0       –\n", text); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("     x 0 1 2\n 0 cat 2 0 0\n 1 dog 1 1 1\n 2 eel 0 0 0\n", got.ConfusionText([]string{"cat", "dog", "eel"})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("     x 0 1 2\n  0 猫 2 0 0\n 1 dog 1 1 1\n 2 eel 0 0 0\n", got.ConfusionText([]string{"猫", "dog", "eel"})); d != "" {
		t.Errorf("with a class of a wide name: %s", d)
	}
	// Cut into blocks it is the same.
	parts := newTally(3)
	for i, label := range []int32{0, 1, 1, 0, 1} {
		if err := parts.add(logits[3*i:3*i+3], []int32{label}); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(whole.row("x"), parts.row("x")); d != "" {
		t.Error(d)
	}
}

// Within a bin, errors of opposite signs cancel: two images with 0.61 and 0.65
// (a bin, from 0.6 to 0.667), one right.
func TestCalibrationBins(t *testing.T) {
	x := newTally(2)
	if err := x.add(ln(0.61, 0.39, 0.35, 0.65), []int32{0, 0}); err != nil {
		t.Fatal(err)
	}
	if got, want := x.row("").ECE, 0.5*math.Abs(1-0.61-0.65); !near(got, want) {
		t.Errorf("one bin: %g, want %g", got, want)
	}
	// A sure and right classifier is calibrated; a sure and wrong one is not.
	x = newTally(2)
	if err := x.add([]float32{100, 0, 100, 0, 100, 0, 0, 100}, []int32{0, 1, 1, 1}); err != nil {
		t.Fatal(err)
	}
	if got := x.row("").ECE; !near(got, 0.5) {
		t.Errorf("sure, half of it wrong: %g, want 0.5", got)
	}
}

func TestTop5(t *testing.T) {
	x := newTally(7)
	if err := x.add([]float32{6, 5, 4, 3, 2, 1, 0, 6, 5, 4, 3, 2, 1, 0, 6, 5, 4, 3, 2, 1, 0}, []int32{0, 4, 5}); err != nil {
		t.Fatal(err)
	}
	if r := x.row(""); !near(r.Top1, 1./3) || !near(r.Top5, 2./3) {
		t.Errorf("top-1 %g, top-5 %g; want 1/3 and 2/3", r.Top1, r.Top5)
	}
}

func TestNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, row := range [][]float32{{0, nan}, {nan, 0}, {0, inf}, {-inf, -inf}} {
		if err := newTally(2).add(row, []int32{0}); err == nil || !strings.Contains(err.Error(), "not finite") {
			t.Errorf("%v: error %v", row, err)
		}
	}
	if err := newTally(2).add([]float32{-inf, 0}, []int32{0}); err != nil {
		t.Errorf("the logarithm of 0: %v", err)
	}
}

func TestEnsembles(t *testing.T) {
	// One image with label 1. Mean of probabilities: 0: (0.98+0.3+0.3)/3 = 0.527,
	// 1: (0.02+0.7+0.7)/3 = 0.473; of logits, label 1 against 0:
	// ln(0.02/0.98)+2·ln(0.7/0.3) = −3.89+1.69 < 0. Without exit a, 1 has 0.7.
	f := &Features{
		Names: []string{"a", "b", "c"}, Dims: []int{2, 2, 2}, Labels: []int32{1},
		X: [][]float32{ln(0.98, 0.02), ln(0.3, 0.7), ln(0.3, 0.7)},
	}
	l := []*Linear{chooser(2), chooser(2), chooser(2)}
	odds := math.Exp((math.Log(0.02/0.98) + 2*math.Log(0.7/0.3)) / 3)
	for _, c := range []struct {
		e    Ensemble
		rows int
		ece  float64 // wrong: the confidence; right: 1 less the confidence
		top1 float64
	}{
		{Ensemble{Mean: MeanOfProbabilities}, 4, 1.58 / 3, 0},
		{Ensemble{Mean: MeanOfLogits}, 4, 1 / (1 + odds), 0},
		{Ensemble{MeanOfProbabilities, []string{"c", "b"}}, 4, 0.3, 1},
		{Ensemble{MeanOfLogits, []string{"b", "c"}}, 4, 0.3, 1},
		{Ensemble{MeanOfProbabilities, []string{"a", "b"}}, 4, 1.28 / 2, 0},
		{Ensemble{MeanOfLogits, []string{"b"}}, 3, 0.3, 1},
	} {
		table, err := Test(l, f, c.e)
		if err != nil {
			t.Fatal(err)
		}
		row := table[len(table)-1]
		if len(table) != c.rows || !near(row.ECE, c.ece) || row.Top1 != c.top1 {
			t.Errorf("%+v: %d rows, %+v; want %d, calibration error %g, top-1 %g", c.e, len(table), row, c.rows, c.ece, c.top1)
		}
	}
	for want, e := range map[string]Ensemble{
		"unknown mean":           {Mean: "logit"},
		`no exit "d"`:            {MeanOfLogits, []string{"d"}},
		`"a" is in the ensemble`: {MeanOfLogits, []string{"a", "a"}},
	} {
		if _, err := Test(l, f, e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", e, err, want)
		}
	}
}
