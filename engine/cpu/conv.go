package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// forward is the correlation that a convolution is.
func forward(o graph.Conv2D, x, w, y graph.Shape) *corr {
	c := &corr{
		n: x[0], h: x[1], w: x[2], c: x[3],
		oh: y[1], ow: y[2], kh: w[2], kw: w[3], stride: o.Stride, py: o.Pad, px: o.Pad,
		dh: y[1], dw: y[2], dc: y[3], step: 1,
		groups: o.Groups, ci: w[1], co: w[0] / o.Groups,
	}
	taps := w[2] * w[3]
	c.weights = weights{group: c.co * c.ci * taps, in: taps, out: c.ci * taps}
	for t := range taps {
		c.tap = append(c.tap, t)
	}
	return c
}

// backward is the correlations, one a phase, that a convolution's data gradient
// is. With stride s, only every s-th tap reaches an input pixel, and which
// depends on its position modulo s: each of the s² phases is a correlation of
// dy with its own taps, mirrored, and no product is wasted.
func backward(o graph.Conv2D, x, w, dy graph.Shape) []*corr {
	var phases []*corr
	kh, kw, s := w[2], w[3], o.Stride
	for a := range min(s, x[1]) {
		for b := range min(s, x[2]) {
			ky, ny, py := phase(a, o.Pad, kh, s)
			kx, nx, px := phase(b, o.Pad, kw, s)
			if ny == 0 || nx == 0 {
				ny, nx = 0, 0
			}
			c := &corr{
				n: x[0], h: dy[1], w: dy[2], c: dy[3],
				oh: (x[1] - a + s - 1) / s, ow: (x[2] - b + s - 1) / s,
				kh: ny, kw: nx, stride: 1, py: py, px: px,
				dh: x[1], dw: x[2], dc: x[3], step: s, oy: a, ox: b,
				groups: o.Groups, ci: w[0] / o.Groups, co: w[1],
			}
			taps := kh * kw
			c.weights = weights{group: c.ci * c.co * taps, in: c.co * taps, out: taps}
			for j := range ny {
				for i := range nx {
					c.tap = append(c.tap, (ky+s*(ny-1-j))*kw+kx+s*(nx-1-i))
				}
			}
			phases = append(phases, c)
		}
	}
	return phases
}

// phase gives, for input positions a, a+s, …, the first tap of k that reaches
// them, how many do, and the padding of the correlation that they make.
func phase(a, pad, k, s int) (first, taps, p int) {
	first = (a + pad) % s
	if first >= k {
		return 0, 0, 0
	}
	taps = (k - first + s - 1) / s
	return first, taps, taps - 1 - (a+pad)/s
}

// correlator is a way to compute a correlation: first the weights are packed,
// then tasks fill the result, or add to it with acc. Tasks are independent and
// set by the shape alone.
type correlator interface {
	flops() float64
	packedLen() int
	scratch() int // floats for each worker
	packTasks() int
	pack(i int, packed, w, scratch []float32)
	tasks() int
	run(i int, x, packed, y, scratch []float32, acc bool)
}

// newCorrelator chooses one for a correlation that Winograd's transforms don't
// do.
func newCorrelator(set *kernel.Set, f *corr) correlator {
	if f.single() {
		return newPointwise(set, f)
	}
	f.prepare(set)
	return f
}

func (c *compiler) conv(s *plan.Step, op graph.Conv2D) work {
	f := forward(op, s.In[0].Shape, s.In[1].Shape, s.Out[0].Shape)
	if c.winograd(op, s.In[0].Shape, s.In[1].Shape) {
		return c.winoCorrelate(s, f, nil)
	}
	return c.correlate(s, []correlator{newCorrelator(c.set, f)}, nil)
}

func (c *compiler) convGradInput(s *plan.Step, op graph.Conv2DGradInput, add *graph.Value) work {
	phases := backward(op.Conv, op.Input, s.In[1].Shape, s.In[0].Shape)
	if c.winograd(op.Conv, op.Input, s.In[1].Shape) {
		return c.winoCorrelate(s, phases[0], add) // with stride 1 there is one
	}
	var parts []correlator
	for _, p := range phases {
		parts = append(parts, newCorrelator(c.set, p))
	}
	return c.correlate(s, parts, add)
}

// correlate runs correlations of the same images, operand 0, that fill result 0
// between them, or add to it where there is something to add to.
func (c *compiler) correlate(s *plan.Step, parts []correlator, add *graph.Value) work {
	var k work
	packs, tasks, size := 0, 0, 0
	for _, p := range parts {
		k.scratch = max(k.scratch, p.scratch())
		k.flops += p.flops()
		packs += p.packTasks()
		tasks += p.tasks()
		size += p.packedLen()
	}
	k.temps = []int{size}
	pool := c.pool
	split := func(t []float32) [][]float32 {
		packed := make([][]float32, len(parts))
		for i, p := range parts {
			packed[i], t = t[:p.packedLen()], t[p.packedLen():]
		}
		return packed
	}
	k.weight = s.In[1]
	k.pack = func(temps [][]float32) func() {
		w, packed := c.f(s.In[1]), split(temps[0])
		pack := func(worker, i int) {
			for j, p := range parts {
				if n := p.packTasks(); i >= n {
					i -= n
					continue
				}
				p.pack(i, packed[j], w, pool.scratch[worker])
				return
			}
		}
		return func() { pool.run(packs, pack) }
	}
	k.build = func(temps [][]float32) func() {
		x, y, packed := c.f(s.In[0]), c.f(s.Out[0]), split(temps[0])
		before := func() {}
		if add != nil {
			before = c.copy(y, c.f(add))
		}
		run := func(worker, i int) {
			for j, p := range parts {
				if n := p.tasks(); i >= n {
					i -= n
					continue
				}
				p.run(i, x, packed[j], y, pool.scratch[worker], add != nil)
				return
			}
		}
		return func() {
			before()
			pool.run(tasks, run)
		}
	}
	return k
}
