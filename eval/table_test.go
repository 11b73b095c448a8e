package eval

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInTop(t *testing.T) {
	nan := float32(math.NaN())
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		logits []float32
		label  int32
		k      int
		want   bool
	}{
		{[]float32{1, 3, 2}, 1, 1, true},
		{[]float32{1, 3, 2}, 2, 1, false},
		{[]float32{1, 3, 2}, 2, 2, true},
		{[]float32{1, 3, 2}, 0, 2, false},
		{[]float32{1, 3, 2}, 0, 3, true},
		// Of equal logits the smaller index comes first.
		{[]float32{5, 5, 5}, 0, 1, true},
		{[]float32{5, 5, 5}, 1, 1, false},
		{[]float32{5, 5, 5}, 1, 2, true},
		{[]float32{5, 5, 5}, 2, 2, false},
		{[]float32{5, 9, 5}, 2, 2, false},
		{[]float32{inf, inf, 0}, 1, 1, false},
		{[]float32{-inf, 0, -inf}, 0, 2, true},
		{[]float32{nan, 0, 0}, 0, 3, false},
		{[]float32{1, nan, 0}, 0, 1, false},
	} {
		if got := inTop(c.logits, c.label, c.k); got != c.want {
			t.Errorf("label %d of %v in the top %d: %v", c.label, c.logits, c.k, got)
		}
	}
	// Exactly k labels are in the top k, ties or not.
	for _, logits := range [][]float32{{1, 1, 1, 1, 1, 1}, {2, 1, 2, 0, 2, 1}, {1, 2, 3, 4, 5, 6}} {
		for k := 1; k <= 6; k++ {
			in := 0
			for l := range logits {
				if inTop(logits, int32(l), k) {
					in++
				}
			}
			if in != k {
				t.Errorf("%v: %d labels in the top %d", logits, in, k)
			}
		}
	}
}

func TestLogits(t *testing.T) {
	l := &Linear{Classes: 2, Dim: 3, Weight: []float32{1, 2, 3, 4, 5, 6}, Bias: []float32{0.5, -0.5}}
	got := l.Logits([]float32{1, 0, 0, 1, 1, 1}, 2)
	if d := cmp.Diff([]float32{1.5, 3.5, 6.5, 14.5}, got); d != "" {
		t.Error(d)
	}
	if got := l.Logits(nil, 0); len(got) != 0 {
		t.Errorf("logits %v of no row", got)
	}
}

// chooser is a classifier whose logits are its features.
func chooser(classes int) *Linear {
	l := &Linear{Classes: classes, Dim: classes, Weight: make([]float32, classes*classes), Bias: make([]float32, classes)}
	for i := range classes {
		l.Weight[i*classes+i] = 1
	}
	return l
}

func TestEnsemble(t *testing.T) {
	// Image 0: the first exit is wrong but unsure, the second right and sure.
	// Image 1: the other way round. Image 2: both are wrong.
	f := &Features{
		Names: []string{"early", "backbone"}, Dims: []int{3, 3}, Labels: []int32{0, 1, 2},
		X: [][]float32{
			{1, 2, 0 /**/, 0, 9, 0 /**/, 4, 0, 0},
			{9, 0, 0 /**/, 1, 0, 2 /**/, 0, 5, 0},
		},
	}
	two := []*Linear{chooser(3), chooser(3)}
	want := map[string]float64{"early": 1. / 3, "backbone": 1. / 3, "ensemble": 2. / 3}
	table := mustTest(t, two, f)
	for _, row := range table {
		if len(table) != 3 || row.Top1 != want[row.Name] || row.Classes != 3 || row.N != 3 {
			t.Errorf("%+v, want top-1 %g", row, want[row.Name])
		}
	}
	// Logits judged as they are, without a classifier, make the same table.
	direct, err := JudgeLogits(f, 3, DefaultEnsemble())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(table, direct); d != "" {
		t.Error(d)
	}
	if _, err := JudgeLogits(f, 4, DefaultEnsemble()); err == nil {
		t.Error("3 logits were taken for those of 4 classes")
	}
	// The mean of the logits is what one classifier with those logits gives.
	mean := make([]float32, 9)
	for i := range mean {
		mean[i] = (f.X[0][i] + f.X[1][i]) / 2
	}
	one := &Features{Names: []string{"mean"}, Dims: []int{3}, Labels: f.Labels, X: [][]float32{mean}}
	got := mustTest(t, two[:1], one)
	if len(got) != 1 || got[0].Top1 != want["ensemble"] {
		t.Errorf("classifier with the mean of the logits: %v", got)
	}
}

// Results do not depend on where the rows are cut into blocks.
func TestManyRows(t *testing.T) {
	const n = 2*evalRows + 3
	f := &Features{Names: []string{"x"}, Dims: []int{7}, X: make([][]float32, 1)}
	for i := range n {
		row := make([]float32, 7)
		row[i%7] = 2
		row[(i+1)%7] = 1
		f.X[0] = append(f.X[0], row...)
		f.Labels = append(f.Labels, int32((i+i%2)%7)) // every other one is second
	}
	row := mustTest(t, []*Linear{chooser(7)}, f)[0]
	if want := float64((n+1)/2) / n; row.Top1 != want || row.Top5 != 1 || row.N != n {
		t.Errorf("%+v, want top-1 %g", row, want)
	}
}

func TestTestRefuses(t *testing.T) {
	f := &Features{Names: []string{"x"}, Dims: []int{3}, X: [][]float32{{1, 2, 3}}, Labels: []int32{2}}
	short := chooser(3)
	short.Bias = nil
	out := *f
	out.Labels = []int32{3}
	for _, c := range []struct {
		reason string
		l      []*Linear
		f      *Features
	}{
		{"2 classifiers for features of 1 exits", []*Linear{chooser(3), chooser(3)}, f},
		{"1 classifiers for features of 0 exits", []*Linear{chooser(3)}, nil},
		{"no classifier", nil, &Features{}},
		{"no test features", []*Linear{chooser(3)}, &Features{X: make([][]float32, 1)}},
		{"takes 4 dimensions, the features have 3", []*Linear{chooser(4)}, f},
		{"0 biases", []*Linear{short}, f},
		{"label 3 of row 0", []*Linear{chooser(3)}, &out},
		{"at least 2 classes", []*Linear{{}}, f},
		{"of 3 and of 4 classes", []*Linear{chooser(3), chooser(4)}, &Features{Names: []string{"x", "y"}, Dims: []int{3, 4}, X: [][]float32{{1, 2, 3}, {1, 2, 3, 4}}, Labels: []int32{2}}},
	} {
		if _, err := Test(c.l, c.f, DefaultEnsemble()); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("error %v, want %q", err, c.reason)
		}
	}
}

func TestRendering(t *testing.T) {
	table := Table{
		{Name: "sub-network 2", Top1: 0.7512, Top5: 0.9433, ECE: 0.0512, Classes: 100, N: 10000},
		{Name: "backbone", Top1: 0.0899, Top5: 1, ECE: 1, Classes: 100, N: 10000},
		{Name: "ensemble", Top1: 1, Top5: 1, Classes: 100, N: 10000},
	}
	want := `exit           top-1    top-5    ECE
sub-network 2   75.12%   94.33%    5.12%
backbone         8.99%  100.00%  100.00%
ensemble       100.00%  100.00%    0.00%
`
	if d := cmp.Diff(want, table.String()); d != "" {
		t.Error(d)
	}
	text, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	var back Table
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(table, back); d != "" {
		t.Error(d)
	}
	few := Table{{Name: "backbone", Top1: 0.5, Classes: 5, N: 2}}
	if d := cmp.Diff("exit      top-1    ECE\nbackbone   50.00%    0.00%\n", few.String()); d != "" {
		t.Error(d)
	}
	if text, _ = json.Marshal(few); string(text) != `[{"name":"backbone","top1":0.5,"ece":0,"classes":5,"n":2}]` {
		t.Errorf("%s", text)
	}
}
