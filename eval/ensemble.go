package eval

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"selfcon/internal/suggest"
)

// Mean is what an ensemble takes the mean of.
type Mean string

// The two means. The paper's is that of the logits, which gives a sure exit
// more of a say; that of the probabilities gives each exit one vote to share
// out.
const (
	MeanOfLogits        Mean = "logits"
	MeanOfProbabilities Mean = "probabilities"
)

// Ensemble says which exits vote together, and how. The zero value is no
// ensemble of use; DefaultEnsemble is the paper's.
type Ensemble struct {
	Mean  Mean     `json:"mean"`
	Exits []string `json:"exits,omitempty"` // their names as in Features.Names; none: all
}

// DefaultEnsemble is the mean of the logits of all exits.
func DefaultEnsemble() Ensemble { return Ensemble{Mean: MeanOfLogits} }

// Check says why the ensemble is not one of exits of these names, if so.
func (e Ensemble) Check(names []string) error {
	_, err := e.members(names)
	return err
}

// members are the indices of the ensemble's exits among all.
func (e Ensemble) members(names []string) ([]int, error) {
	if means := []string{string(MeanOfLogits), string(MeanOfProbabilities)}; !slices.Contains(means, string(e.Mean)) {
		return nil, fmt.Errorf("eval: unknown mean %q of an ensemble%s", e.Mean, suggest.Among(string(e.Mean), means))
	}
	var out []int
	for _, exit := range e.Exits {
		i := slices.Index(names, exit)
		if i < 0 {
			return nil, fmt.Errorf("eval: the network has no exit %q for the ensemble: it has %s", exit, strings.Join(names, ", "))
		}
		if slices.Contains(out, i) {
			return nil, fmt.Errorf("eval: exit %q is in the ensemble twice", exit)
		}
		out = append(out, i)
	}
	if len(e.Exits) == 0 {
		for i := range names {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Vote is what the ensemble says of images: logits whose softmax are its
// probabilities. exits are the logits of all exits of these names. With less
// than two members there is no ensemble, and the result is nil.
func (e Ensemble) Vote(names []string, exits [][]float32, classes int) ([]float32, error) {
	members, err := e.members(names)
	if err != nil || len(members) < 2 {
		return nil, err
	}
	return e.vote(members, exits, classes)
}

func (e Ensemble) vote(members []int, exits [][]float32, classes int) ([]float32, error) {
	var votes [][]float32
	for _, m := range members {
		votes = append(votes, exits[m])
	}
	if e.Mean == MeanOfLogits {
		return MeanLogits(votes), nil
	}
	return meanProbabilities(votes, classes)
}

// MeanLogits is the mean of the exits' logits, one slice an exit, all of the
// same length.
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

// meanProbabilities is the logarithm of the mean of the exits' probabilities:
// logits whose softmax is that mean.
func meanProbabilities(exits [][]float32, classes int) ([]float32, error) {
	mean := make([]float32, len(exits[0]))
	p, sum := make([]float64, classes), make([]float64, classes)
	for at := 0; at < len(mean); at += classes {
		clear(sum)
		for _, logits := range exits {
			if err := softmax(p, logits[at:at+classes]); err != nil {
				return nil, err
			}
			for i, v := range p {
				sum[i] += v
			}
		}
		for i, v := range sum {
			mean[at+i] = float32(math.Log(v / float64(len(exits))))
		}
	}
	return mean, nil
}
