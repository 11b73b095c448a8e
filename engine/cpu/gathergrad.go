package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
)

// gatherGrad is the weight gradient of a convolution without groups as a matrix
// product of depth positions: dyᵀ times what lies under the taps (im2col), for
// each output channel a row of taps × input channels.
//
// A task is a block of it over a part of the positions, summed in cache. Its
// part of dy is transposed, so that a row's positions lie side by side: a product
// that goes down a column of 14 rows, two cache lines for each position, takes
// a third longer (Ice Lake). The parts are added up in order, and brought from
// taps × channels into the variable's order where there are several taps.
type gatherGrad struct {
	*corr            // the forward convolution
	m            int // positions
	bo           int // output channels of a block
	spans        []gradSpan
	parts, depth int // of the positions; at a time
}

// gradSpan is the columns of a block: n channels, from c0, of each of some taps.
type gradSpan struct {
	run    tapRun
	c0, n  int
	panels []panel
	cols   int // with those that fill up the last panel
}

const (
	gradBlockOut  = 256
	gradFloats    = 256 * 256 // floats of a block's sums
	gradColumns   = 512       // columns of a block
	gradPositions = 128       // at a time
	gradFewer     = 112       // or so many
	gradOuts      = 8         // output channels a task of reduce
)

func newGatherGrad(set *kernel.Set, c *corr) *gatherGrad {
	c.set = set
	v := &gatherGrad{corr: c, m: c.n * c.oh * c.ow, bo: even(c.co, gradBlockOut)}
	v.depth = gradPositions
	if lastBlock(v.m, gradFewer)*gradPositions > lastBlock(v.m, gradPositions)*gradFewer {
		v.depth = gradFewer // whose last block is fuller: images of 7·2ⁿ pixels a side
	}
	v.depth = min(v.m, v.depth)
	most := min(gradColumns, gradFloats/v.bo)
	taps, each := c.kh*c.kw, 1
	switch {
	case taps*c.ci <= most:
		each = taps
	case c.kw*c.ci <= most:
		each = c.kw
	}
	n := even(c.ci, most)
	if each > 1 {
		n = c.ci
	}
	for t := 0; t < taps; t += each {
		for c0 := 0; c0 < c.ci; c0 += n {
			s := gradSpan{run: tapRun{t, each}, c0: c0, n: min(n, c.ci-c0)}
			s.panels, s.cols = panelsFor(set, s.columns())
			v.spans = append(v.spans, s)
		}
	}
	blocks := blocksOf(c.co, v.bo) * len(v.spans)
	v.parts = max(1, min(blocksOf(16, blocks), max(1, 1<<19/(c.k()*c.co))))
	if uneven(blocks * v.parts) {
		v.parts++
	}
	v.parts = min(v.parts, blocksOf(v.m, v.depth))
	return v
}

// lastBlock is the size of the last block of n.
func lastBlock(n, size int) int { return (n-1)%size + 1 }

// columns is the columns of a span, stride the floats from row to row of them.
func (s *gradSpan) columns() int { return s.run.taps * s.n }
func (s *gradSpan) stride() int  { return plan.Aligned(s.cols) + gap }

// gathers says whether gatherGrad is for a convolution. Images of few channels
// make few columns; then dy is better those of the product (wgrad).
func (c *corr) gathers() bool {
	return c.groups == 1 && (c.single() || c.ci >= 32 && !c.shifted())
}

// direct says whether a block's sums are its gradient as they are.
func (v *gatherGrad) direct() bool { return v.parts == 1 && v.kh*v.kw == 1 }

func (v *gatherGrad) sums() int {
	if v.direct() {
		return 0
	}
	return v.parts * v.co * v.k()
}

func (v *gatherGrad) tasks() int { return v.parts * blocksOf(v.co, v.bo) * len(v.spans) }

func (v *gatherGrad) scratch() int {
	rows := v.bo * (v.depth + gap)
	return max(rows+(v.depth+v.bo)*v.spans[0].stride(), 2*v.tapRows()*v.ci)
}

// tapRows is the taps, filled up to what can be transposed.
func (v *gatherGrad) tapRows() int {
	return blocksOf(v.kh*v.kw, kernel.WinogradLanes) * kernel.WinogradLanes
}

// block is the part of the positions of task i, from the first to the last of
// their blocks, and its first output channel and columns. Tasks of a part follow one
// another, so that few workers read it.
func (v *gatherGrad) block(i int) (part, b0, b1, o0 int, s *gradSpan) {
	each := v.tasks() / v.parts
	part, i = i/each, i%each
	blocks := blocksOf(v.m, v.depth)
	return part, blocks * part / v.parts, blocks * (part + 1) / v.parts, i / len(v.spans) * v.bo, &v.spans[i%len(v.spans)]
}

func (v *gatherGrad) run(i, next int, x source, dy, sums []float32, to *gradTo, scratch []float32, own *pointers) {
	part, b0, b1, o0, s := v.block(i)
	no := min(v.bo, v.co-o0)
	lda, ldb, columns := v.depth+gap, s.stride(), s.columns()
	as, scratch := scratch[:no*lda], scratch[no*lda:]
	bs, block := scratch[:v.depth*ldb], scratch[v.depth*ldb:]
	for b := b0; b < b1; b++ {
		m0 := b * v.depth
		m := min(v.depth, v.m-m0)
		transposeRows(v.set, as, lda, dy[m0*v.co+o0:], v.co, m, no)
		under, ldu := bs, ldb
		if v.single() && v.stride == 1 && x.scale == nil && s.cols == columns {
			under, ldu = x.x[m0*v.c+s.c0:], v.c // as it lies, where a tile's fetches of a cold B miss
		} else {
			p := v.from(m0)
			for r := range m {
				row := bs[r*ldb:][:s.cols]
				v.under(row, x, s, &p)
				clear(row[columns:])
				p.next()
			}
		}
		own.ahead.Reset()
		if b+1 < b1 {
			v.next(m0+v.depth, o0, s, x, dy, &own.ahead)
		} else {
			if v.direct() {
				to.reads(o0*v.k()+s.c0, columns, no, v.k(), &own.ahead)
			}
			if next >= 0 {
				_, b, _, o, s := v.block(next)
				v.next(b*v.depth, o, s, x, dy, &own.ahead)
			}
		}
		own.ahead.Over(steps(s.panels, no, m))
		for _, p := range s.panels {
			p.tile.Columns(no, m, as, lda, 1, under[p.col:], ldu, block[p.col:], ldb, b > b0, p.tile.NR, nil, &own.ahead)
		}
	}
	for o := range no {
		at, row := (o0+o)*v.k()+s.run.tap*v.ci+s.c0, block[o*ldb:][:columns]
		if v.direct() {
			to.put(at, row)
		} else {
			copy(sums[part*v.co*v.k()+at:], row)
		}
	}
}

// under copies what lies under a span's taps at a position.
func (v *gatherGrad) under(dst []float32, x source, s *gradSpan, p *positions) {
	if v.single() {
		x.part(v.set, dst, p.source(), s.c0, s.n)
		return
	}
	for t := s.run.tap; t < s.run.tap+s.run.taps; {
		kx := t % v.kw
		across := min(s.run.tap+s.run.taps-t, v.kw-kx)
		iy, ix := p.y*v.stride-v.py+t/v.kw, p.x*v.stride-v.px+kx
		to := dst[:across*s.n]
		lo, hi := min(across, max(0, -ix)), max(0, min(across, v.w-ix))
		if iy < 0 || iy >= v.h || lo >= hi {
			clear(to)
		} else {
			clear(to[:lo*s.n])
			clear(to[hi*s.n:])
			at := ((p.im*v.h+iy)*v.w + ix + lo) * v.c
			if s.n == v.c {
				x.load(v.set, to[lo*s.n:hi*s.n], at, hi-lo, v.c)
			} else { // a run of one tap
				x.part(v.set, to, at, s.c0, s.n)
			}
		}
		dst = dst[len(to):]
		t += across
	}
}

// next adds what the positions from m0 on read: dy, and x where they don't
// share it with those before.
func (v *gatherGrad) next(m0, o0 int, s *gradSpan, x source, dy []float32, a *kernel.Ahead) {
	m := min(v.depth, v.m-m0)
	a.AddRows(dy[m0*v.co+o0:], min(v.bo, v.co-o0), m, v.co)
	if !v.single() {
		return
	}
	p := v.from(m0)
	for m > 0 {
		n := m
		if v.stride > 1 {
			n = min(m, v.ow-p.x)
		}
		a.AddRows(x.x[p.source()+s.c0:], s.n, n, v.stride*v.c)
		m0, m = m0+n, m-n
		if m > 0 {
			p = v.from(m0)
		}
	}
}

// transposeRows is [kernel.Set.Transpose] of any number of rows.
func transposeRows(set *kernel.Set, dst []float32, dstStep int, src []float32, srcStep, rows, cols int) {
	whole := rows / kernel.WinogradLanes * kernel.WinogradLanes
	set.Transpose(dst, dstStep, src, srcStep, whole, cols)
	for i := whole; i < rows; i++ {
		for j, f := range src[i*srcStep:][:cols] {
			dst[j*dstStep+i] = f
		}
	}
}

func (v *gatherGrad) reduceTasks() int {
	if v.direct() {
		return 0
	}
	return blocksOf(v.co, gradOuts)
}

func (v *gatherGrad) reduce(i int, sums []float32, to *gradTo, scratch []float32) {
	k, taps, rows := v.k(), v.kh*v.kw, v.tapRows()
	sum, sorted := scratch[:rows*v.ci], scratch[rows*v.ci:]
	for o := i * gradOuts; o < min(v.co, (i+1)*gradOuts); o++ {
		copy(sum, sums[o*k:][:k])
		for p := 1; p < v.parts; p++ {
			v.set.AddTo(sum[:k], sums[(p*v.co+o)*k:][:k])
		}
		if taps == 1 {
			to.put(o*k, sum[:k])
			continue
		}
		// Rows of channels become columns; then the taps that fill them up go.
		v.set.Transpose(sorted, rows, sum, v.ci, rows, v.ci)
		for c := range v.ci {
			copyRun(sum[c*taps:][:taps], sorted[c*rows:])
		}
		to.put(o*k, sum[:k])
	}
}

func (c *compiler) gatherGradWeight(s *plan.Step, op plan.ConvGradWeight) work {
	v := newGatherGrad(c.set, forward(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel, s.In[1].Shape))
	pool := c.pool
	return work{
		temps: []int{v.sums()}, scratch: v.scratch(), flops: v.flops(),
		build: func(temps [][]float32) func() {
			x, dy, sums := c.source(s, op.Load), c.f(s.In[1]), temps[0]
			to, begin := c.gradTo(s, op.Update)
			run := func(worker, i, next int) {
				v.run(i, next, x, dy, sums, to, pool.scratch[worker], &pool.pointers[worker])
			}
			reduce := func(worker, i int) { v.reduce(i, sums, to, pool.scratch[worker]) }
			return func() {
				begin()
				pool.runAhead(v.tasks(), run)
				pool.run(v.reduceTasks(), reduce)
			}
		},
	}
}
