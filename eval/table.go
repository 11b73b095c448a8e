package eval

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"selfcon/internal/columns"
)

// Row is how one classifier, or an ensemble, did.
type Row struct {
	Name      string          `json:"name"`
	Top1      float64         `json:"top1"`           // fractions
	Top5      float64         `json:"top5,omitempty"` // only with more than 5 classes: with fewer, all are among the top 5
	ECE       float64         `json:"ece"`            // expected calibration error, 15 bins of equal width (Guo et al. 2017)
	Classes   int             `json:"classes"`
	N         int             `json:"n"` // images
	PerClass  []ClassAccuracy `json:"per_class,omitempty"`
	Confusion [][]int         `json:"confusion,omitempty"` // images by label and by prediction
}

// Table has a row for each exit, the backbone last, then the ensemble's if it
// is of more than one exit.
type Table []Row

// Test judges classifiers, one an exit, on features they were not trained on.
func Test(results []*Linear, f *Features, ensemble Ensemble) (Table, error) {
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
	j, err := newJudge(f.Names, classes, ensemble)
	if err != nil {
		return nil, err
	}
	n := len(f.Labels)
	for at := 0; at < n; at += evalRows {
		labels := f.Labels[at:min(at+evalRows, n)]
		all := make([][]float32, len(results))
		for i, l := range results {
			all[i] = l.Logits(f.X[i][at*l.Dim:(at+len(labels))*l.Dim], len(labels))
		}
		if err := j.add(all, labels); err != nil {
			return nil, err
		}
	}
	return j.table(), nil
}

// JudgeLogits judges classifiers by what they gave the classes: the logits of
// every exit, classes an image, in the place of features.
func JudgeLogits(f *Features, classes int, ensemble Ensemble) (Table, error) {
	if classes < 2 {
		return nil, errClasses
	}
	if err := f.check("test", classes); err != nil {
		return nil, err
	}
	for i, d := range f.Dims {
		if d != classes {
			return nil, fmt.Errorf("eval: %d logits at %s for %d classes", d, f.Names[i], classes)
		}
	}
	j, err := newJudge(f.Names, classes, ensemble)
	if err != nil {
		return nil, err
	}
	if err := j.add(f.X, f.Labels); err != nil {
		return nil, err
	}
	return j.table(), nil
}

// judge counts how the exits and their ensemble do, block by block.
type judge struct {
	names    []string
	ensemble Ensemble
	members  []int
	tallies  []*tally // the ensemble's last
}

func newJudge(names []string, classes int, ensemble Ensemble) (*judge, error) {
	members, err := ensemble.members(names)
	if err != nil {
		return nil, err
	}
	j := &judge{names: names, ensemble: ensemble, members: members}
	for range len(names) + 1 {
		j.tallies = append(j.tallies, newTally(classes))
	}
	return j, nil
}

// add counts a block of images: logits of every exit.
func (j *judge) add(logits [][]float32, labels []int32) error {
	for i, l := range logits {
		if err := j.tallies[i].add(l, labels); err != nil {
			return fmt.Errorf("%s: %w", j.names[i], err)
		}
	}
	last := j.tallies[len(j.names)]
	mean, err := j.ensemble.vote(j.members, logits, last.classes)
	if err != nil {
		return err
	}
	return last.add(mean, labels)
}

func (j *judge) table() Table {
	var t Table
	for i, name := range j.names {
		t = append(t, j.tallies[i].row(name))
	}
	if len(j.members) > 1 {
		t = append(t, j.tallies[len(j.names)].row(EnsembleRow))
	}
	return t
}

// EnsembleRow is the name of the ensemble's row.
const EnsembleRow = "ensemble"

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
	w := columns.New(&b)
	top5 := false
	for _, r := range t {
		top5 = top5 || r.Classes > 5
	}
	fmt.Fprint(w, "exit\ttop-1")
	if top5 {
		fmt.Fprint(w, "\ttop-5")
	}
	fmt.Fprintln(w, "\tECE")
	for _, r := range t {
		fmt.Fprintf(w, "%s\t%6.2f%%", r.Name, 100*r.Top1)
		if top5 && r.Classes > 5 {
			fmt.Fprintf(w, "\t%6.2f%%", 100*r.Top5)
		} else if top5 {
			fmt.Fprint(w, "\t–")
		}
		fmt.Fprintf(w, "\t%6.2f%%\n", 100*r.ECE)
	}
	w.Flush() // a strings.Builder does not fail
	return b.String()
}

// ClassText renders every classifier's accuracy class by class, whose names
// are given.
func (t Table) ClassText(classes []string) string {
	var b strings.Builder
	w := columns.New(&b)
	fmt.Fprint(w, "class\timages")
	for _, r := range t {
		fmt.Fprintf(w, "\t%s", r.Name)
	}
	fmt.Fprintln(w)
	for c, name := range classes {
		fmt.Fprintf(w, "%s\t%d", name, t[0].PerClass[c].N)
		for _, r := range t {
			if r.PerClass[c].N == 0 {
				fmt.Fprint(w, "\t–")
				continue
			}
			fmt.Fprintf(w, "\t%6.2f%%", 100*r.PerClass[c].Top1)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}

// ConfusionText renders a classifier's confusion matrix: a line a label, a
// column a prediction, in the order of the lines.
func (r Row) ConfusionText(classes []string) string {
	var b strings.Builder
	w := &columns.Writer{To: &b, Gap: 1, Right: true}
	fmt.Fprintf(w, "%s\t", r.Name)
	for c := range classes {
		fmt.Fprintf(w, "%d\t", c)
	}
	fmt.Fprintln(w)
	for c, name := range classes {
		fmt.Fprintf(w, "%d %s\t", c, name)
		for _, n := range r.Confusion[c] {
			fmt.Fprintf(w, "%d\t", n)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}
