package cpu

import (
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// chunk is the floats of a block of element-wise work: 64 kB.
const chunk = 16 << 10

// blocks runs f over [0, n) in blocks of size elements, on all workers.
func (c *compiler) blocks(n, size int, f func(lo, hi int)) func() {
	pool := c.pool
	count := (n + size - 1) / size
	body := func(_, i int) { f(i*size, min(n, (i+1)*size)) }
	return func() { pool.run(count, body) }
}

// copy copies; nothing where both are the same memory.
func (c *compiler) copy(to, from []float32) func() {
	if &to[0] == &from[0] {
		return func() {}
	}
	return c.blocks(len(to), chunk, func(lo, hi int) { copy(to[lo:hi], from[lo:hi]) })
}

func (c *compiler) unary(s *plan.Step, f func(y, x []float32)) work {
	return plain(func() func() {
		y, x := c.f(s.Out[0]), c.f(s.In[0])
		return c.blocks(len(y), chunk, func(lo, hi int) { f(y[lo:hi], x[lo:hi]) })
	})
}

func (c *compiler) binary(s *plan.Step, f func(y, a, b []float32)) work {
	return plain(func() func() {
		y, a, b := c.f(s.Out[0]), c.f(s.In[0]), c.f(s.In[1])
		return c.blocks(len(y), chunk, func(lo, hi int) { f(y[lo:hi], a[lo:hi], b[lo:hi]) })
	})
}

func (c *compiler) lerp(s *plan.Step, op graph.Lerp) work {
	keep, move := float32(1-op.Weight), float32(op.Weight*op.Factor)
	return c.binary(s, func(y, a, b []float32) {
		for i := range y {
			y[i] = keep*a[i] + move*b[i]
		}
	})
}

func (c *compiler) concat(s *plan.Step) work {
	return plain(func() func() {
		y, at := c.f(s.Out[0]), 0
		var parts []func()
		for _, v := range s.In {
			x := c.f(v)
			parts = append(parts, c.copy(y[at:at+len(x)], x))
			at += len(x)
		}
		return func() {
			for _, p := range parts {
				p()
			}
		}
	})
}

func (c *compiler) padRows(s *plan.Step, op graph.PadRows) work {
	return plain(func() func() {
		y, x := c.f(s.Out[0]), c.f(s.In[0])
		at := op.Before * s.In[0].Shape[1:].Size()
		before, after := y[:at], y[at+len(x):]
		middle := c.copy(y[at:at+len(x)], x)
		return func() {
			clear(before)
			middle()
			clear(after)
		}
	})
}

// emitInts is emit for steps on integers.
func (c *compiler) emitInts(s *plan.Step) (work, bool) {
	var f func(y []int32, in [][]int32)
	switch op := s.Op.(type) {
	case graph.Reshape, graph.Concat, plan.Copy:
		f = func(y []int32, in [][]int32) {
			for _, x := range in {
				y = y[copy(y, x):]
			}
		}
	case graph.Slice:
		f = func(y []int32, in [][]int32) { copy(y, in[0][op.From*s.Out[0].Shape[1:].Size():]) }
	case graph.Increment:
		f = func(y []int32, in [][]int32) {
			for i, v := range in[0] {
				y[i] = v + 1
			}
		}
	default:
		return work{}, false
	}
	return plain(func() func() {
		var in [][]int32
		for _, v := range s.In {
			in = append(in, c.ints[v])
		}
		y := c.ints[s.Out[0]]
		return func() { f(y, in) }
	}), true
}
