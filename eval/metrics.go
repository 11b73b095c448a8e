package eval

import (
	"fmt"
	"math"
)

// eceBins is the number of bins of the calibration error, as in Guo et al.
// 2017.
const eceBins = 15

// ClassAccuracy is how the images of one class were classified.
type ClassAccuracy struct {
	N    int     `json:"n"`    // images of the class
	Top1 float64 `json:"top1"` // the fraction of them that was recognised; 0 if there is none
}

// tally counts, block by block, how a classifier does.
type tally struct {
	classes, top5 int
	confusion     [][]int // [label][prediction]
	bins          [eceBins]struct {
		n, right   int
		confidence float64 // the sum
	}
}

func newTally(classes int) *tally {
	t := &tally{classes: classes, confusion: make([][]int, classes)}
	for i := range t.confusion {
		t.confusion[i] = make([]int, classes)
	}
	return t
}

// add counts rows of logits, one a label. The prediction is the largest logit,
// of equals the one with the smallest index; its probability by softmax is the
// confidence. Logits may be −∞, the logarithm of 0, but not all of a row.
func (t *tally) add(logits []float32, labels []int32) error {
	p := make([]float64, t.classes)
	for i, label := range labels {
		row := logits[i*t.classes : (i+1)*t.classes]
		if err := softmax(p, row); err != nil {
			return err
		}
		best := Largest(row)
		t.confusion[label][best]++
		if inTop(row, label, 5) {
			t.top5++
		}
		// Bin m holds confidences in (m/15, (m+1)/15].
		b := &t.bins[min(max(int(math.Ceil(p[best]*eceBins))-1, 0), eceBins-1)]
		b.n++
		b.confidence += p[best]
		if best == int(label) {
			b.right++
		}
	}
	return nil
}

// row sums up.
func (t *tally) row(name string) Row {
	r := Row{Name: name, Classes: t.classes, Confusion: t.confusion}
	right := 0
	for label, predicted := range t.confusion {
		c := ClassAccuracy{}
		for _, n := range predicted {
			c.N += n
		}
		if c.N > 0 {
			c.Top1 = float64(predicted[label]) / float64(c.N)
		}
		r.N += c.N
		right += predicted[label]
		r.PerClass = append(r.PerClass, c)
	}
	r.Top1 = float64(right) / float64(r.N)
	if t.classes > 5 {
		r.Top5 = float64(t.top5) / float64(r.N)
	}
	for _, b := range t.bins {
		r.ECE += math.Abs(float64(b.right)-b.confidence) / float64(r.N)
	}
	return r
}

// Largest is the index of the largest logit, of equals the smallest.
func Largest(logits []float32) int {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return best
}

// softmax sets p to the probabilities of a row of logits.
func softmax(p []float64, logits []float32) error {
	top, sum := float64(logits[Largest(logits)]), 0.0
	for i, v := range logits {
		p[i] = math.Exp(float64(v) - top)
		sum += p[i]
	}
	if math.IsNaN(sum) {
		return fmt.Errorf("eval: a row of logits, %v…, has no probabilities: the features or the classifier are not finite", logits[:min(len(logits), 4)])
	}
	for i := range p {
		p[i] /= sum
	}
	return nil
}
