package eval

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// Ensemble is the name of the row of the mean of the exits' logits.
const Ensemble = "ensemble"

// Row is how one classifier did.
type Row struct {
	Name    string  `json:"name"`
	Top1    float64 `json:"top1"`           // fractions
	Top5    float64 `json:"top5,omitempty"` // only with more than 5 classes: with fewer, all are among the top 5
	Classes int     `json:"classes"`
	N       int     `json:"n"` // images
}

// Table has a row for each exit, the backbone last, then the ensemble's if
// there is more than one exit.
type Table []Row

// Test judges classifiers, one an exit, on features they were not trained on.
func Test(results []*Linear, f *Features) (Table, error) {
	if f == nil || len(results) != len(f.X) {
		exits := 0
		if f != nil {
			exits = len(f.X)
		}
		return nil, fmt.Errorf("eval: %d classifiers for features of %d exits", len(results), exits)
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("eval: no classifier to test")
	}
	classes := results[0].Classes
	if classes < 2 {
		return nil, errClasses
	}
	if err := f.check("test", classes); err != nil {
		return nil, err
	}
	for i, l := range results {
		if l.Classes != classes {
			return nil, fmt.Errorf("eval: classifiers of %d and of %d classes", classes, l.Classes)
		}
		if l.Dim != f.Dims[i] {
			return nil, fmt.Errorf("eval: the classifier of %s takes %d dimensions, the features have %d", f.Names[i], l.Dim, f.Dims[i])
		}
		if len(l.Weight) != classes*l.Dim || len(l.Bias) != classes {
			return nil, fmt.Errorf("eval: the classifier of %s has %d weights and %d biases; must be %d×%d and %d", f.Names[i], len(l.Weight), len(l.Bias), classes, l.Dim, classes)
		}
	}
	n := len(f.Labels)
	right := make([][2]int, len(results)+1) // in the top 1 and 5; the ensemble last
	for at := 0; at < n; at += evalRows {
		labels := f.Labels[at:min(at+evalRows, n)]
		rows := len(labels)
		all := make([][]float32, len(results))
		count := func(i int, logits []float32) {
			right[i][0] += countTop(logits, labels, nil, classes, 1)
			right[i][1] += countTop(logits, labels, nil, classes, 5)
		}
		for i, l := range results {
			all[i] = l.Logits(f.X[i][at*l.Dim:(at+rows)*l.Dim], rows)
			count(i, all[i])
		}
		count(len(results), MeanLogits(all))
	}
	names := append(append([]string(nil), f.Names...), Ensemble)
	if len(results) == 1 {
		names = names[:1]
	}
	var t Table
	for i, name := range names {
		row := Row{Name: name, Top1: float64(right[i][0]) / float64(n), Classes: classes, N: n}
		if classes > 5 {
			row.Top5 = float64(right[i][1]) / float64(n)
		}
		t = append(t, row)
	}
	return t, nil
}

// Logits are the scores of the classes for n rows of features: n×Classes.
func (l *Linear) Logits(x []float32, n int) []float32 {
	if len(x) != n*l.Dim {
		panic(fmt.Sprintf("eval: %d values for %d rows of %d dimensions", len(x), n, l.Dim))
	}
	out := make([]float32, 0, n*l.Classes)
	for range n {
		out = append(out, l.Bias...)
	}
	if n == 0 {
		return out
	}
	blas32.Gemm(blas.NoTrans, blas.Trans, 1,
		blas32.General{Rows: n, Cols: l.Dim, Stride: l.Dim, Data: x},
		blas32.General{Rows: l.Classes, Cols: l.Dim, Stride: l.Dim, Data: l.Weight}, 1,
		blas32.General{Rows: n, Cols: l.Classes, Stride: l.Classes, Data: out})
	return out
}

// MeanLogits is the ensemble: the mean of the exits' logits, one slice an exit,
// all of the same length.
func MeanLogits(exits [][]float32) []float32 {
	mean := make([]float32, len(exits[0]))
	for j := range mean {
		sum := 0.0
		for _, logits := range exits {
			sum += float64(logits[j]) / float64(len(exits))
		}
		mean[j] = float32(sum)
	}
	return mean
}

func (l *Linear) finite() bool {
	for _, s := range [][]float32{l.Weight, l.Bias} {
		for _, v := range s {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return false
			}
		}
	}
	return true
}

// inTop says whether a label is among the k largest logits: fewer than k are
// larger, those that are equal and of a smaller index counted as larger. With a
// logit that is not a number it is not.
func inTop(logits []float32, label int32, k int) bool {
	mine := logits[label]
	above := 0
	for i, v := range logits {
		if v != v {
			return false
		}
		if v > mine || v == mine && i < int(label) {
			above++
		}
	}
	return above < k
}

// countTop counts the rows of logits whose label is in the top k; the labels
// are labels[rows[i]], or labels[i] where rows is nil.
func countTop(logits []float32, labels []int32, rows []int, classes, k int) int {
	right := 0
	for i := range len(logits) / classes {
		row := i
		if rows != nil {
			row = rows[i]
		}
		if inTop(logits[i*classes:(i+1)*classes], labels[row], k) {
			right++
		}
	}
	return right
}

// String renders the table as aligned columns, percentages with two digits.
func (t Table) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	top5 := false
	for _, r := range t {
		top5 = top5 || r.Classes > 5
	}
	fmt.Fprint(w, "exit\ttop-1")
	if top5 {
		fmt.Fprint(w, "\ttop-5")
	}
	fmt.Fprintln(w)
	for _, r := range t {
		fmt.Fprintf(w, "%s\t%6.2f%%", r.Name, 100*r.Top1)
		if top5 && r.Classes > 5 {
			fmt.Fprintf(w, "\t%6.2f%%", 100*r.Top5)
		} else if top5 {
			fmt.Fprint(w, "\t–")
		}
		fmt.Fprintln(w)
	}
	w.Flush() // a strings.Builder does not fail
	return b.String()
}
