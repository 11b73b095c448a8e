package cpu

import (
	"fmt"

	"selfcon/engine/cpu/plan"
)

// watchable is how many floats a result may have that is looked at after every
// run: losses, a batch norm's moments, the gradients of a layer's bias. That is
// quick, and numbers of other results that are not finite soon show in these.
const watchable = 4096

// watched is a step's work, and a look at its small results.
func (x *Executable) watched(c *compiler, s *plan.Step, run func()) func() {
	if b, ok := s.Op.(plan.Before); ok {
		first, then := b.Parts(s)
		return x.watched(c, first, x.watched(c, then, run))
	}
	var small [][]float32
	for _, v := range s.Out {
		if v == nil || v.Shape.Size() > watchable {
			continue
		}
		if f, ok := c.floats[v]; ok {
			small = append(small, f)
		}
	}
	if len(small) == 0 {
		return run
	}
	name := fmt.Sprintf("%s (%s)", s.Name, s.Kind())
	return func() {
		run()
		if x.notFinite != "" {
			return
		}
		for _, f := range small {
			if !finite(f) {
				x.notFinite = name
			}
		}
	}
}

// finite says whether all of v are numbers: 0·x is 0 for those alone.
func finite(v []float32) bool {
	sum := float32(0)
	for _, x := range v {
		sum += 0 * x
	}
	return sum == 0
}

// NotFinite implements engine.Watcher.
func (x *Executable) NotFinite() string { return x.notFinite }
