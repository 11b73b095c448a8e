// Package compare sets methods against each other: which trainings a fair
// comparison takes (plan.go) and what they say together (table.go). It trains
// nothing itself.
package compare

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Budget is what every training may cost: passes over the images, or time.
// One of the two is 0.
type Budget struct {
	Epochs  int `json:"epochs,omitempty"`
	Seconds int `json:"seconds,omitempty"`
}

func (b Budget) String() string {
	if b.Seconds > 0 {
		return fmt.Sprintf("%ds", b.Seconds)
	}
	return fmt.Sprintf("%dep", b.Epochs)
}

// Case is one training of a comparison.
type Case struct {
	Method string `json:"method"`
	Budget Budget `json:"budget"`
	Seed   uint64 `json:"seed"`
}

// Name is the name of the case's folder.
func (c Case) Name() string { return fmt.Sprintf("%s-%s-s%d", c.Method, c.Budget, c.Seed) }

// Plan is a comparison: every method with every budget and seed. A seed fixes
// the first weights, the order of the images, their augmentation, and which
// images are held out or left out; so methods are compared on the same images.
type Plan struct {
	Methods []string `json:"methods"`
	Budgets []Budget `json:"budgets"`
	Seeds   []uint64 `json:"seeds"`
}

// Check says what is missing from a plan or twice in it.
func (p Plan) Check() error {
	if len(p.Methods) == 0 || len(p.Budgets) == 0 || len(p.Seeds) == 0 {
		return fmt.Errorf("compare: %d methods, %d budgets and %d seeds: at least one of each is needed", len(p.Methods), len(p.Budgets), len(p.Seeds))
	}
	for i, m := range p.Methods {
		if slices.Contains(p.Methods[:i], m) {
			return fmt.Errorf("compare: method %s is there twice", m)
		}
	}
	for i, b := range p.Budgets {
		if (b.Epochs > 0) == (b.Seconds > 0) || b.Epochs < 0 || b.Seconds < 0 {
			return fmt.Errorf("compare: a budget of %d epochs and %d seconds: one of them must be above 0, the other 0", b.Epochs, b.Seconds)
		}
		if slices.Contains(p.Budgets[:i], b) {
			return fmt.Errorf("compare: budget %s is there twice", b)
		}
	}
	for i, s := range p.Seeds {
		if slices.Contains(p.Seeds[:i], s) {
			return fmt.Errorf("compare: seed %d is there twice", s)
		}
	}
	return nil
}

// Cases are the plan's trainings in the order in which they are done: all of the
// first seed come first, so that a comparison which is stopped has every method
// in it, and a machine that gets slower slows all of them.
func (p Plan) Cases() []Case {
	var out []Case
	for _, s := range p.Seeds {
		for _, b := range p.Budgets {
			for _, m := range p.Methods {
				out = append(out, Case{m, b, s})
			}
		}
	}
	return out
}

// EpochsIn is how many whole epochs of so many steps come nearest to a time, at
// least one.
func EpochsIn(seconds int, step time.Duration, batches int) int {
	epoch := step.Seconds() * float64(batches)
	if !(epoch > 0) {
		return 1
	}
	return max(1, int(min(math.Round(float64(seconds)/epoch), math.MaxInt32)))
}
