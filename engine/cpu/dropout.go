package cpu

import (
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// dropout draws for each group of elements, whoever comes to it: a block may
// start or end inside a group.
func (c *compiler) dropout(s *plan.Step, op graph.Dropout) work {
	scale := float32(1 / (1 - op.P))
	group := op.Group(s.In[0].Shape)
	size := 4096
	if group > 1 {
		size = chunk
	}
	return plain(func() func() {
		y, x, step := c.f(s.Out[0]), c.f(s.In[0]), c.ints[s.In[1]]
		return c.blocks(len(y), size, func(lo, hi int) {
			at := uint64(int64(step[0]))
			for lo < hi {
				i := lo / group
				end := min(hi, (i+1)*group)
				if graph.Random(op.Seed, op.Key, at, uint64(i)) >= op.P {
					c.set.Scale(y[lo:end], x[lo:end], scale)
				} else {
					clear(y[lo:end])
				}
				lo = end
			}
		})
	})
}
