package cpu

import (
	"unsafe"

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

// source is images as a convolution reads them: x, or relu(x·scale + shift)
// where there is a scale.
type source struct{ x, scale, shift []float32 }

// load copies pixels of c channels, from element at.
func (s *source) load(set *kernel.Set, dst []float32, at, pixels, c int) {
	if s.scale == nil {
		copyRun(dst[:pixels*c], s.x[at:])
		return
	}
	set.ScaleShiftReLU(dst, s.x[at:], s.scale, s.shift, pixels, c)
}

// part copies n channels, from c0, of the pixel that starts at element at.
func (s *source) part(set *kernel.Set, dst []float32, at, c0, n int) {
	if s.scale == nil {
		copy(dst[:n], s.x[at+c0:])
		return
	}
	set.ScaleShiftReLU(dst, s.x[at+c0:], s.scale[c0:], s.shift[c0:], 1, n)
}

// job is the memory that a correlator works on.
type job struct {
	x      source
	w      []float32
	packed []float32 // the weights, as pack leaves them
	inputs []float32 // the images, as input does
	y      []float32
	add    []float32 // added to the result; y itself but for Winograd's
	turn   int       // another in each run
	again  bool      // what is stored in y is read again soon

	workers int // that do the tasks
}

// region is channels c0 to c1 of pixels lo to hi, counted over all images.
type region struct{ lo, hi, c0, c1 int }

// each calls f for pixels whose channels of the region lie side by side, in
// images of n channels: for all at once, or one at a time. at is the place of
// the first of rows pixels.
func (s region) each(n int, f func(at, rows int)) {
	if s.c1-s.c0 == n {
		f(s.lo*n, s.hi-s.lo)
		return
	}
	for i := s.lo; i < s.hi; i++ {
		f(i*n+s.c0, 1)
	}
}

// fetch adds the region's floats of x, images of n channels.
func (s region) fetch(x []float32, n int, a *kernel.Ahead) {
	if s.c1-s.c0 == n {
		a.Add(x[s.lo*n : s.hi*n])
	} else {
		a.AddRows(x[s.lo*n+s.c0:], s.c1-s.c0, s.hi-s.lo, n)
	}
}

// streams says whether transforms store the results past the caches.
func (j *job) streams() bool {
	return !j.again && len(j.y) >= streamFloats && uintptr(unsafe.Pointer(&j.y[0]))%cacheLine == 0
}

// fetchResults adds what transforms want in cache to write a region's results, of
// images of n channels: what they add to, or where they go.
func (j *job) fetchResults(s region, n int, a *kernel.Ahead) {
	if j.add != nil {
		s.fetch(j.add, n, a)
	} else if !j.streams() {
		s.fetch(j.y, n, a)
	}
}

// correlator is a way to compute a correlation: first pack and input make what
// all tasks need of weights and of images, then tasks fill the result, or add to
// it. Tasks are independent and set by the shape alone.
type correlator interface {
	flops() float64 // by the definition
	cost() float64  // in multiplications and additions by the way it is computed
	scratch() int   // floats for each worker
	packedLen() int // floats
	packTasks() int
	pack(i int, packed, w, scratch []float32)
	inputLen() int // floats
	inputTasks() int
	input(i int, j *job, scratch []float32, p *pointers)
	tasks() int
	run(i int, j *job, scratch []float32, p *pointers)
	// reads adds the images that task i reads, and the memory that its results go to.
	reads(i int, j *job, a *kernel.Ahead)
	// regions appends the ranges of pixels and channels that task i fills.
	regions(i int, to []region) []region
}

// newCorrelator chooses how to compute a correlation of images that are read
// as they lie or, with load, normalised.
func newCorrelator(set *kernel.Set, f *corr, load, winograd bool) correlator {
	switch {
	case f.depthwise():
		return newDepthwise(set, f)
	case winograd:
		return newWino(set, f, load)
	case f.unrolls():
		return newUnrolled(set, f)
	case f.single():
		return newPointwise(set, f)
	}
	f.prepareFor(set, load)
	return f
}

// correlator chooses how to compute a convolution.
func (c *compiler) correlator(s *plan.Step, op plan.Conv) correlator {
	x, w := s.In[0].Shape, s.In[1].Shape
	f := forward(op.Conv, x, w, s.Out[0].Shape)
	if c.winoStems(op.Conv, x, w) {
		return newWinoStem(c.set, f)
	}
	if c.winoStrides(op.Conv, x, w) {
		return newWinoStride(c.set, f, false, op.Load)
	}
	winograd := c.winograd(op.Conv, x, w)
	if !winograd && !op.Load && f.unrolls() && c.winogradFew(op.Conv, x, w) {
		return newWinoFew(c.set, f)
	}
	return c.halved(newCorrelator(c.set, f, op.Load, winograd))
}

func (c *compiler) conv(s *plan.Step, op plan.Conv, before *rowWork) work {
	parts := []correlator{c.correlator(s, op)}
	in := s.In[2:]
	if op.Load {
		in = in[1:]
	}
	n := s.Out[0].Shape[3]
	if op.Stats {
		return c.correlate(s, parts, op.Load, nil, before, &after{part: 2 * n, twice: true, make: func(parts []float32, count int) afterwards {
			g := c.newStats(op.Of, c.f(s.Out[0]), in, s.Out[1:], parts[:2*n*count])
			return afterwards{reads: func(region, *kernel.Ahead) {}, each: g.add, finish: g.finish}
		}})
	}
	if !op.Apply {
		return c.correlate(s, parts, op.Load, nil, before, nil)
	}
	return c.correlate(s, parts, op.Load, nil, before, &after{make: func([]float32, int) afterwards {
		a := c.newApply(op.Then, in)
		out := c.f(s.Out[0])
		return afterwards{reads: func(s region, to *kernel.Ahead) {
			if op.Then.Add && s.c1-s.c0 == n {
				to.Add(a.add[s.lo*n : s.hi*n])
			}
		}, each: func(_ int, to []region) {
			for _, s := range to {
				s.each(n, func(at, rows int) { a.run(out[at:], out[at:], at, rows, s.c0, s.c1) })
			}
		}}
	}})
}

// gradCorrelators chooses how to compute a data gradient.
func (c *compiler) gradCorrelators(s *plan.Step, op plan.ConvGradInput) (parts []correlator) {
	x, w := op.Grad.Input, s.In[1].Shape
	phases := backward(op.Grad.Conv, x, w, s.In[0].Shape)
	if phases[0].depthwise() {
		return []correlator{newDepthwise(c.set, phases...)}
	}
	if c.winoStrideInputs(op.Grad.Conv, x, w) {
		return []correlator{newWinoStride(c.set, phases[0], true, false)}
	}
	winograd := c.winograd(op.Grad.Conv, x, w)
	for _, p := range phases {
		parts = append(parts, newCorrelator(c.set, p, false, winograd))
	}
	if v, ok := parts[0].(*pointwise); ok && op.Add && v.fillRows(phases[1:]) {
		parts = parts[:1]
	}
	for i, p := range parts {
		parts[i] = c.halved(p)
	}
	return parts
}

// byRows says whether each task of a convolution, or of a data gradient, reads rows
// of pixels that no other reads, all of them between them. It looks at the ways that
// conv and convGradInput will choose for the same step.
func (c *compiler) byRows(s *plan.Step) bool {
	var parts []correlator
	switch op := s.Op.(type) {
	case plan.Conv:
		if op.Load {
			return false
		}
		parts = []correlator{c.correlator(s, op)}
	case plan.ConvGradInput:
		parts = c.gradCorrelators(s, op)
	}
	if len(parts) != 1 {
		return false
	}
	if v, ok := parts[0].(*strassen); ok {
		return v.pointwise.byRows()
	}
	v, ok := parts[0].(*pointwise)
	return ok && v.byRows()
}

// before is a convolution whose tasks first make what they read.
func (c *compiler) before(s *plan.Step, op plan.Before) work {
	first, then := op.Parts(s)
	var rows rowWork
	switch o := op.Make.(type) {
	case plan.NormApply:
		rows = c.normApply(first, o)
	case plan.NormGradApply:
		rows = c.normGradApply(first, o)
	}
	if o, ok := op.Then.(plan.Conv); ok {
		return c.conv(then, o, &rows)
	}
	return c.convGradInput(then, op.Then.(plan.ConvGradInput), &rows)
}

func (c *compiler) convGradInput(s *plan.Step, op plan.ConvGradInput, before *rowWork) work {
	parts := c.gradCorrelators(s, op)
	in := s.In[2:]
	var add *graph.Value
	if op.Add {
		add, in = in[0], in[1:]
	}
	if !op.Sums {
		return c.correlate(s, parts, false, add, before, nil)
	}
	n := op.Grad.Input[3]
	return c.correlate(s, parts, false, add, before, &after{part: 2 * n, make: func(sums []float32, count int) afterwards {
		g := c.newGradSums(op.Mask, in, s.Out[1], sums[:2*n*count])
		out := c.f(s.Out[0])
		return afterwards{
			before: func() { clear(g.parts) },
			reads: func(s region, to *kernel.Ahead) {
				if s.c1-s.c0 == n {
					to.Add(g.x[s.lo*n : s.hi*n])
					if g.y != nil {
						to.Add(g.y[s.lo*n : s.hi*n])
					}
				}
			},
			each: func(part int, to []region) {
				for _, s := range to {
					s.each(n, func(at, rows int) {
						d := out[at : at+rows*(s.c1-s.c0)]
						g.add(part, d, d, at, rows, s.c0, s.c1)
					})
				}
			},
			finish: g.finish,
		}
	}})
}

// after is what follows a convolution block by block: its memory, so many
// floats a block, and how to make it for a number of blocks.
type after struct {
	part  int
	twice bool // it reads what it works on twice, which Winograd's short rows are not worth
	make  func(parts []float32, count int) afterwards
}

type afterwards struct {
	before func()
	each   func(part int, to []region)     // what one task has filled
	reads  func(s region, a *kernel.Ahead) // what each reads besides
	finish func()
}

// transforms says whether a correlator is one of Winograd's, which add to
// results as they write them and whose rows are short.
func transforms(c correlator) bool {
	switch c.(type) {
	case *wino, *winoStride:
		return true
	}
	return false
}

// joinedChannels is from how many channels of a pixel on a call for them pays.
const joinedChannels = 128

// correlate runs correlations of the same images, operand 0, that fill result 0
// between them, or add to it where there is something to add to. What comes
// after works on each task's results while they are in cache. The phases of a
// strided data gradient interleave, and a few channels of each pixel are not
// worth the calls: there it has a loop of its own.
func (c *compiler) correlate(s *plan.Step, parts []correlator, load bool, add *graph.Value, before *rowWork, then *after) work {
	var k work
	packs, tasks, packed, inputs := 0, 0, 0, 0
	for _, p := range parts {
		k.scratch = max(k.scratch, p.scratch())
		k.flops += p.flops()
		k.cost += p.cost()
		packs += p.packTasks()
		packed += p.packedLen()
		inputs += p.inputLen()
		tasks += p.tasks()
	}
	k.temps = []int{packed, inputs}
	rows, n, block, count := channelBlocks(s.Out[0].Shape)
	short := transforms(parts[0])
	joined := len(parts) == 1 && then != nil && !(then.twice && short)
	if joined {
		r := parts[0].regions(0, nil)[0]
		joined = r.c1-r.c0 == n || r.c1-r.c0 >= joinedChannels
	}
	if joined {
		count = tasks
	}
	if then != nil {
		k.temps = append(k.temps, then.part*count)
	}
	made0 := len(k.temps)
	var rowsOf func(i int) (lo, hi int)
	if before != nil {
		k.temps = append(k.temps, before.temps...)
		k.scratch = max(k.scratch, before.scratch)
		rowsOf = parts[0].(interface{ rows(i int) (lo, hi int) }).rows
	}
	_, _, most, _ := channelBlocks(s.In[0].Shape)
	pool := c.pool
	split := func(t []float32) [][]float32 {
		var each [][]float32
		for _, p := range parts {
			n := p.packedLen()
			each, t = append(each, t[:n]), t[n:]
		}
		return each
	}
	if packed > 0 {
		k.weight = s.In[1]
		k.pack = func(temps [][]float32) func() {
			w, to := c.f(s.In[1]), split(temps[0])
			pack := func(worker, i int) {
				for k, p := range parts {
					if n := p.packTasks(); i >= n {
						i -= n
						continue
					}
					p.pack(i, to[k], w, pool.scratch[worker])
					return
				}
			}
			return func() { pool.run(packs, pack) }
		}
	}
	k.build = func(temps [][]float32) func() {
		var jobs []job
		first := job{x: c.source(s, load), w: c.f(s.In[1]), y: c.f(s.Out[0]), inputs: temps[1], again: joined, workers: pool.threads}
		begin := func() {}
		if add != nil {
			first.add = c.f(add)
			if !transforms(parts[0]) {
				begin = c.copy(first.y, first.add)
				first.add = first.y
			}
		}
		for _, p := range split(temps[0]) {
			j := first
			j.packed = p
			jobs = append(jobs, j)
		}
		var end afterwards
		if then != nil {
			end = then.make(temps[2], count)
		}
		var made rowMaker
		if before != nil {
			made = before.build(temps[made0:])
		}
		input := func(worker, i int) { // only Winograd's, which has one part
			parts[0].input(i, &jobs[0], pool.scratch[worker], &pool.pointers[worker])
		}
		// locate is the part that a task belongs to, and its number there.
		locate := func(i int) (int, int) {
			k := 0
			for n := parts[0].tasks(); i >= n; n = parts[k].tasks() {
				i -= n
				k++
			}
			return k, i
		}
		var depth []int // steps of a task of each part
		for _, p := range parts {
			tile := &c.set.Tiles[0]
			depth = append(depth, int(p.cost()/float64(p.tasks()*2*tile.MR*tile.NR)))
		}
		run := func(worker, i, next int) {
			own := &pool.pointers[worker]
			own.task.Reset()
			k, i := locate(i)
			p := parts[k]
			if joined {
				own.regions = p.regions(i, own.regions[:0])
				if s := own.regions; len(s) == 1 {
					end.reads(s[0], &own.task)
				}
			}
			if next >= 0 {
				k, next := locate(next)
				parts[k].reads(next, &jobs[k], &own.task)
				if before != nil {
					lo, hi := rowsOf(next)
					made.reads(lo, hi, &own.task)
				}
			}
			own.task.Over(depth[k])
			own.ahead.Reset()
			own.ahead.Then = &own.task
			if before != nil {
				for lo, hi := rowsOf(i); lo < hi; lo += most {
					made.make(worker, lo, min(hi, lo+most))
				}
			}
			p.run(i, &jobs[k], pool.scratch[worker], own)
			own.ahead.Then = nil
			if joined {
				end.each(i, own.regions)
			}
		}
		apart := func(worker, i int) {
			own := &pool.pointers[worker]
			own.regions = append(own.regions[:0], region{i * block, min(rows, (i+1)*block), 0, n})
			end.each(i, own.regions)
		}
		return func() {
			begin()
			if before != nil {
				made.begin()
			}
			jobs[0].turn++ // of those with one part
			pool.run(parts[0].inputTasks(), input)
			if end.before != nil {
				end.before()
			}
			pool.runAhead(tasks, run)
			if end.each != nil && !joined {
				pool.run(count, apart)
			}
			if end.finish != nil {
				end.finish()
			}
		}
	}
	return k
}
