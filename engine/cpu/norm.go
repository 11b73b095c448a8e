package cpu

import (
	"math"

	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// channelBlocks cuts the rows of a tensor of channels into blocks of 64 kB.
func channelBlocks(s graph.Shape) (rows, channels, block, count int) {
	channels = s[len(s)-1]
	rows = s.Size() / channels
	block = max(1, chunk/channels)
	return rows, channels, block, (rows + block - 1) / block
}

// normStats takes batch norm's statistics in one pass over memory.
func (c *compiler) normStats(s *plan.Step, op plan.NormStats) work {
	rows, n, block, count := channelBlocks(s.In[0].Shape)
	return work{temps: []int{2 * n * count}, build: func(temps [][]float32) func() {
		g := c.newStats(op, c.f(s.In[0]), s.In[1:], s.Out, temps[0])
		all := make([]region, count)
		for i := range all {
			all[i] = region{i * block, min(rows, (i+1)*block), 0, n}
		}
		body := func(_, i int) { g.add(i, all[i:i+1]) }
		return func() {
			c.pool.run(count, body)
			g.finish()
		}
	}}
}

// stats gathers a norm's statistics, part by part: each finds its mean and,
// about that, its sum of squares while it lies in cache; the parts are merged in
// order, in float64 (Chan et al.), so that no precision is lost to a large mean.
type stats struct {
	set            *kernel.Set
	eps            float64
	n              int
	x              []float32
	weight, bias   []float32
	mean, variance []float32
	scale, shift   []float32
	parts          []float32 // of n means and n sums of squares
	covers         []cover   // the parts'
	sum            []float64
	finish         func()
}

// cover is the channels of a part and how many pixels it has.
type cover struct{ c0, c1, pixels int }

// newStats is for operands weight and bias and results mean, var and affine.
func (c *compiler) newStats(op plan.NormStats, x []float32, in, out []*graph.Value, parts []float32) *stats {
	n := in[0].Shape[0]
	g := &stats{set: c.set, eps: op.Eps, n: n, x: x, weight: c.f(in[0]), bias: c.f(in[1]), mean: c.f(out[0]), variance: c.f(out[1]),
		parts: parts, covers: make([]cover, len(parts)/(2*n)), sum: make([]float64, 2*n)}
	g.scale, g.shift = c.affine(out[2])
	g.finish = c.merged(n, len(g.covers), g.merge)
	return g
}

// add is for regions of the same channels.
func (g *stats) add(part int, of []region) {
	c0, c1, pixels := of[0].c0, of[0].c1, 0
	p := g.parts[part*2*g.n:][:2*g.n]
	m, sq := p[c0:c1], p[g.n+c0:g.n+c1]
	clear(m)
	clear(sq)
	for _, s := range of {
		s.each(g.n, func(at, rows int) { g.set.ColSums(m, g.x[at:], rows, c1-c0) })
		pixels += s.hi - s.lo
	}
	g.set.Scale(m, m, 1/float32(pixels))
	for _, s := range of {
		s.each(g.n, func(at, rows int) { g.set.ColVar(sq, g.x[at:], m, rows, c1-c0) })
	}
	g.covers[part] = cover{c0, c1, pixels}
}

// merge merges the parts of channels c0 to c1.
func (g *stats) merge(c0, c1 int) {
	rows := float64(len(g.x) / g.n)
	mean, sq := g.sum[:g.n], g.sum[g.n:]
	clear(mean[c0:c1])
	clear(sq[c0:c1])
	for i, s := range g.covers {
		w, p := float64(s.pixels), g.parts[i*2*g.n:]
		for j := max(c0, s.c0); j < min(c1, s.c1); j++ {
			mean[j] += w * float64(p[j])
		}
	}
	for j := c0; j < c1; j++ {
		mean[j] /= rows
	}
	for i, s := range g.covers {
		w, p := float64(s.pixels), g.parts[i*2*g.n:]
		for j := max(c0, s.c0); j < min(c1, s.c1); j++ {
			d := float64(p[j]) - mean[j]
			sq[j] += float64(p[g.n+j]) + w*d*d
		}
	}
	for j := c0; j < c1; j++ {
		v := sq[j] / rows
		g.mean[j], g.variance[j] = float32(mean[j]), float32(v)
		g.scale[j], g.shift[j] = normScaleShift(g.weight[j], g.bias[j], mean[j], v, g.eps)
	}
}

// merged calls merge for all of n channels, at once or, where there are many parts,
// for some of them on each thread.
func (c *compiler) merged(n, parts int, merge func(c0, c1 int)) (finish func()) {
	const few, each = 1 << 13, 64
	if n*parts < few {
		return func() { merge(0, n) }
	}
	body := func(_, i int) { merge(i*each, min(n, (i+1)*each)) }
	return func() { c.pool.run(blocksOf(n, each), body) }
}

// affine is the factors and the summands of a norm (plan.NormStats).
func (c *compiler) affine(v *graph.Value) (scale, shift []float32) {
	a := c.f(v)
	return a[:len(a)/2], a[len(a)/2:]
}

// normScaleShift is a channel's factor and summand.
func normScaleShift(weight, bias float32, mean, variance, eps float64) (scale, shift float32) {
	f := float64(weight) / math.Sqrt(variance+eps)
	return float32(f), float32(float64(bias) - f*mean)
}

// normScale makes the factors and summands of given statistics.
func (c *compiler) normScale(s *plan.Step, op plan.NormScale) work {
	return plain(func() func() {
		weight, bias, mean, variance := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.In[3])
		scale, shift := c.affine(s.Out[0])
		return func() {
			for j := range scale {
				scale[j], shift[j] = normScaleShift(weight[j], bias[j], float64(mean[j]), float64(variance[j]), op.Eps)
			}
		}
	})
}

// normApply is batch norm's second pass.
func (c *compiler) normApply(s *plan.Step, op plan.NormApply) rowWork {
	n := s.In[1].Shape[1]
	return rowWork{build: func([][]float32) rowMaker {
		x, y := c.f(s.In[0]), c.f(s.Out[0])
		a := c.newApply(op, s.In[1:])
		return rowMaker{
			begin: func() {},
			make:  func(_, lo, hi int) { a.run(y[lo*n:hi*n], x[lo*n:hi*n], lo*n, hi-lo, 0, n) },
			reads: func(lo, hi int, to *kernel.Ahead) {
				to.Add(x[lo*n : hi*n])
				if op.Add {
					to.Add(a.add[lo*n : hi*n])
				}
			},
		}
	}}
}

// rowWork is the work of a step whose results' rows come of its operands' same
// rows.
type rowWork struct {
	temps   []int
	scratch int
	build   func(temps [][]float32) rowMaker
}

// rowMaker makes rows: begin comes first, then make for at most so many rows as
// channelBlocks has in a block, from lo to hi. reads adds what those read.
type rowMaker struct {
	begin func()
	make  func(worker, lo, hi int)
	reads func(lo, hi int, to *kernel.Ahead)
}

// byBlocks is a step's work by itself.
func (c *compiler) byBlocks(s *plan.Step, r rowWork) work {
	rows, _, block, count := channelBlocks(s.In[0].Shape)
	return work{temps: r.temps, scratch: r.scratch, build: func(temps [][]float32) func() {
		m := r.build(temps)
		body := func(worker, i int) { m.make(worker, i*block, min(rows, (i+1)*block)) }
		return func() {
			m.begin()
			c.pool.run(count, body)
		}
	}}
}

// apply is relu(x·scale + shift + add), with what op wants of it.
type apply struct {
	c            *compiler
	op           plan.NormApply
	scale, shift []float32
	add          []float32 // like all of x
	factor, plus []float32 // with Both, what is added is add·factor + plus
}

func (c *compiler) newApply(op plan.NormApply, in []*graph.Value) apply {
	a := apply{c: c, op: op}
	a.scale, a.shift = c.affine(in[0])
	if op.Add {
		a.add = c.f(in[1])
	}
	if op.Both {
		a.factor, a.plus = c.affine(in[2])
	}
	return a
}

// run works on some rows of channels c0 to c1; at is the place of their first
// element.
func (a *apply) run(y, x []float32, at, rows, c0, c1 int) {
	set, n, scale, shift := a.c.set, c1-c0, a.scale[c0:], a.shift[c0:]
	var add []float32
	if a.op.Add {
		add = a.add[at:]
	}
	if a.op.Both {
		// One goes to y, and from there, in cache, is added to the other: first
		// the one that y lies on.
		if &y[0] == &x[0] {
			set.ScaleShift(y, x, scale, shift, rows, n)
			x, scale, shift = add, a.factor[c0:], a.plus[c0:]
		} else {
			set.ScaleShift(y, add, a.factor[c0:], a.plus[c0:], rows, n)
		}
		add = y
	}
	switch {
	case a.op.Add && a.op.ReLU:
		set.ScaleShiftAddReLU(y, x, scale, shift, add, rows, n)
	case a.op.Add:
		set.ScaleShiftAdd(y, x, scale, shift, add, rows, n)
	case a.op.ReLU:
		set.ScaleShiftReLU(y, x, scale, shift, rows, n)
	default:
		set.ScaleShift(y, x, scale, shift, rows, n)
	}
}

// gradSums gathers what batch norm's derivative needs, part by part.
type gradSums struct {
	c            *compiler
	mask         plan.Mask
	n            int
	x, mean      []float32
	y            []float32 // ByResult
	scale, shift []float32 // ByInput
	parts        []float32 // of 2·n
	total        []float64
	sums         []float32
	finish       func()
}

// newGradSums is for operands x, mean and what mask needs, for so many parts.
func (c *compiler) newGradSums(mask plan.Mask, in []*graph.Value, sums *graph.Value, parts []float32) *gradSums {
	n := in[1].Shape[0]
	g := &gradSums{c: c, mask: mask, n: n, x: c.f(in[0]), mean: c.f(in[1]), parts: parts, total: make([]float64, 2*n), sums: c.f(sums)}
	switch mask {
	case plan.ByResult:
		g.y = c.f(in[2])
	case plan.ByInput:
		g.scale, g.shift = c.affine(in[2])
	}
	g.finish = c.merged(2*n, len(parts)/(2*n), g.merge)
	return g
}

// add masks some rows of dy, of channels c0 to c1, to dz and adds their sums to
// a part; at is the place of their first element. dz may be dy.
func (g *gradSums) add(part int, dz, dy []float32, at, rows, c0, c1 int) {
	p := g.parts[part*2*g.n:][:2*g.n]
	set, n := g.c.set, c1-c0
	x := g.x[at:]
	switch g.mask {
	case plan.ByResult:
		set.ReLUGrad(dz[:rows*n], g.y[at:], dy)
		dy = dz
	case plan.ByInput:
		set.ScaleShiftReLUGrad(dz, x, g.scale[c0:], g.shift[c0:], dy, rows, n)
		dy = dz
	}
	set.ColDot2(p[c0:c1], p[g.n+c0:g.n+c1], dy, x, g.mean[c0:], rows, n)
}

// merge adds the parts' numbers c0 to c1 up, in order.
func (g *gradSums) merge(c0, c1 int) {
	total := g.total[c0:c1]
	clear(total)
	for at := 0; at < len(g.parts); at += 2 * g.n {
		for j, v := range g.parts[at+c0 : at+c1] {
			total[j] += float64(v)
		}
	}
	for j, v := range total {
		g.sums[c0+j] = float32(v)
	}
}

// normGradSums is the first pass of batch norm's derivative: dy is masked block
// by block in cache, and only written where something else wants it.
func (c *compiler) normGradSums(s *plan.Step, op plan.NormGradSums) work {
	rows, n, block, count := channelBlocks(s.In[0].Shape)
	k := work{temps: []int{2 * n * count}}
	if op.Mask != plan.NoMask && s.Out[1] == nil {
		k.scratch = block * n
	}
	pool := c.pool
	k.build = func(temps [][]float32) func() {
		dy := c.f(s.In[0])
		var dz []float32
		if s.Out[1] != nil {
			dz = c.f(s.Out[1])
		}
		g := c.newGradSums(op.Mask, s.In[1:], s.Out[0], temps[0])
		body := func(worker, i int) {
			lo, hi := i*block, min(rows, (i+1)*block)
			to := pool.scratch[worker]
			if dz != nil {
				to = dz[lo*n : hi*n]
			}
			g.add(i, to, dy[lo*n:hi*n], lo*n, hi-lo, 0, n)
		}
		return func() {
			clear(g.parts)
			pool.run(count, body)
			g.finish()
		}
	}
	return k
}

// normGradApply is the second pass.
func (c *compiler) normGradApply(s *plan.Step, op plan.NormGradApply) rowWork {
	rows, n, block, _ := channelBlocks(s.In[0].Shape)
	k := rowWork{temps: []int{n, n, n}}
	if op.Mask == plan.ByInput {
		k.scratch = block * n
	}
	pool, set := c.pool, c.set
	k.build = func(temps [][]float32) rowMaker {
		dy, x, weight, mean, variance, sums := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.In[3]), c.f(s.In[4]), c.f(s.In[5])
		dx, dweight, dbias := c.f(s.Out[0]), c.f(s.Out[1]), c.f(s.Out[2])
		fy, fx, f1 := temps[0], temps[1], temps[2]
		var scale, shift []float32
		if op.Mask == plan.ByInput {
			scale, shift = c.affine(s.In[6])
		}
		apply := func(worker, lo, hi int) {
			d, x := dy[lo*n:hi*n], x[lo*n:hi*n]
			if scale != nil {
				dz := pool.scratch[worker][:len(d)]
				set.ScaleShiftReLUGrad(dz, x, scale, shift, d, hi-lo, n)
				d = dz
			}
			set.BNGrad(dx[lo*n:hi*n], d, x, fy, fx, f1, hi-lo, n)
		}
		begin := func() {
			for j := range n {
				invStd := 1 / math.Sqrt(float64(variance[j])+op.Eps)
				db, dw := float64(sums[j]), float64(sums[n+j])*invStd
				dbias[j], dweight[j] = float32(db), float32(dw)
				// dx = a·(dy − db/M − (x − mean)·invStd·dw/M)
				a := float64(weight[j]) * invStd
				b := -a * invStd * dw / float64(rows)
				fy[j], fx[j], f1[j] = float32(a), float32(b), float32(-a*db/float64(rows)-b*float64(mean[j]))
			}
		}
		reads := func(lo, hi int, to *kernel.Ahead) {
			to.Add(dy[lo*n : hi*n])
			to.Add(x[lo*n : hi*n])
		}
		return rowMaker{begin, apply, reads}
	}
	return k
}

func (c *compiler) normInferenceGrad(s *plan.Step, op graph.BatchNormInferenceGrad) work {
	rows, n, block, count := channelBlocks(s.In[0].Shape)
	set := c.set
	return work{temps: []int{2 * n * count, n, n}, build: func(temps [][]float32) func() {
		x, weight, mean, variance, dy := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.In[3]), c.f(s.In[4])
		dx, dweight, dbias := c.f(s.Out[0]), c.f(s.Out[1]), c.f(s.Out[2])
		parts, scale, zero := temps[0], temps[1], temps[2]
		sums := c.blocks(rows, block, func(lo, hi int) {
			p := parts[lo/block*2*n:][:2*n]
			clear(p)
			set.ColDot2(p[:n], p[n:], dy[lo*n:hi*n], x[lo*n:hi*n], mean, hi-lo, n)
		})
		apply := c.blocks(rows, block, func(lo, hi int) {
			set.ScaleShift(dx[lo*n:hi*n], dy[lo*n:hi*n], scale, zero, hi-lo, n)
		})
		return func() {
			sums()
			clear(zero)
			for j := range n {
				invStd := 1 / math.Sqrt(float64(variance[j])+op.Eps)
				var db, dw float64
				for i := range count {
					db += float64(parts[i*2*n+j])
					dw += float64(parts[i*2*n+n+j])
				}
				dbias[j], dweight[j] = float32(db), float32(dw*invStd)
				scale[j] = float32(float64(weight[j]) * invStd)
			}
			apply()
		}
	}}
}
