package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
)

// pointwise is a 1×1 convolution, or its data gradient: a matrix product of
// pixels × channels with weights, without a neighbourhood. A task is a block of
// pixels and of output channels; the depth is cut so that a panel of weights
// stays in the first-level cache.
type pointwise struct {
	*corr
	set   *kernel.Set
	m     int // pixels
	block int // pixels a task
	cuts  int // tasks a block
	kc    int // depth at a time
}

const (
	pointRows  = 112 // pixels a task: eight times the rows of the largest kernel
	pointFewer = 56  // where that makes few tasks
	pointDepth = 256 // depth at a time
)

// single says whether every position has one tap, inside the image.
func (c *corr) single() bool {
	return c.groups == 1 && c.kh == 1 && c.kw == 1 && c.py == 0 && c.px == 0 &&
		(c.oh-1)*c.stride < c.h && (c.ow-1)*c.stride < c.w
}

func newPointwise(set *kernel.Set, c *corr) *pointwise {
	c.panels, c.cols = panelsFor(set, c.co)
	v := &pointwise{corr: c, set: set, m: c.n * c.oh * c.ow}
	v.block = even(v.m, pointRows)
	if blocksOf(v.m, v.block) < 16 {
		v.block = even(v.m, pointFewer)
	}
	v.cuts = min(len(v.panels), blocksOf(16, blocksOf(v.m, v.block)))
	v.kc = even(c.ci, pointDepth)
	return v
}

func (v *pointwise) tasks() int { return blocksOf(v.m, v.block) * v.cuts }

func (v *pointwise) packTasks() int { return len(v.panels) * blocksOf(v.ci, pointDepth) }

func (v *pointwise) scratch() int { return v.block*(v.kc+gap) + tileFloats }

// positions walks over the positions of a correlation.
type positions struct {
	c        *corr
	im, y, x int
}

func (c *corr) from(r int) positions {
	return positions{c, r / (c.oh * c.ow), r / c.ow % c.oh, r % c.ow}
}

// source and target are the first channel of a position's pixel.
func (p *positions) source() int {
	return ((p.im*p.c.h+p.y*p.c.stride)*p.c.w + p.x*p.c.stride) * p.c.c
}

func (p *positions) target() int {
	return ((p.im*p.c.dh+p.y*p.c.step+p.c.oy)*p.c.dw + p.x*p.c.step + p.c.ox) * p.c.dc
}

func (p *positions) next() {
	if p.x++; p.x == p.c.ow {
		p.x = 0
		if p.y++; p.y == p.c.oh {
			p.y = 0
			p.im++
		}
	}
}

func (v *pointwise) pack(i int, packed, w, _ []float32) {
	chunks := blocksOf(v.ci, pointDepth)
	p := v.panels[i/chunks]
	l0 := i % chunks * pointDepth
	n := min(pointDepth, v.ci-l0)
	packPanel(v.set, packed[p.col*v.ci+l0*p.tile.NR:], p, n, w[l0*v.in+p.col*v.out+v.tap[0]:], v.in, v.out)
}

// packPanel writes depth rows of a panel: w[l*in+o*out] for columns o, with
// zeros beyond its width.
func packPanel(set *kernel.Set, dst []float32, p panel, depth int, w []float32, in, out int) {
	nr := p.tile.NR
	switch {
	case p.width < nr:
		for l := range depth {
			row := dst[l*nr:][:nr]
			for o := range p.width {
				row[o] = w[l*in+o*out]
			}
			clear(row[p.width:])
		}
	case out == 1: // a 1×1 data gradient
		for l := range depth {
			copy(dst[l*nr:][:nr], w[l*in:])
		}
	case in == 1 && nr%kernel.WinogradLanes == 0:
		set.Transpose(dst, nr, w, out, nr, depth)
	default:
		for l := range depth {
			row := dst[l*nr:][:nr]
			for o := range row {
				row[o] = w[l*in+o*out]
			}
		}
	}
}

func (v *pointwise) task(i int) (m0, m int, panels []panel) {
	cut, m0 := i%v.cuts, i/v.cuts*v.block
	return m0, min(v.block, v.m-m0), v.panels[len(v.panels)*cut/v.cuts : len(v.panels)*(cut+1)/v.cuts]
}

func (v *pointwise) regions(i int, to []region) []region {
	m0, m, panels := v.task(i)
	last := panels[len(panels)-1]
	return append(to, region{m0, m0 + m, panels[0].col, last.col + last.width})
}

func (v *pointwise) reads(i int, j *job, a *kernel.Ahead) {
	if m0, m, _ := v.task(i); v.stride == 1 {
		a.Add(j.x.x[m0*v.ci:][:m*v.ci])
		if v.cuts == 1 && v.step == 1 {
			a.Add(j.y[m0*v.co:][:m*v.co])
		}
	}
}

func (v *pointwise) run(i int, j *job, scratch []float32, own *pointers) {
	m0, m, panels := v.task(i)
	tmp, scratch := scratch[:tileFloats], scratch[tileFloats:]
	for l0 := 0; l0 < v.ci; l0 += v.kc {
		depth := min(v.kc, v.ci-l0)
		a, lda := scratch, v.kc+gap
		if v.stride == 1 && depth == v.ci {
			lda = v.ci
			j.x.load(v.set, a, m0*v.ci, m, v.ci)
		} else {
			p := v.from(m0)
			for r := range m {
				j.x.part(v.set, a[r*lda:], p.source(), l0, depth)
				p.next()
			}
		}
		y, add := j.y, j.add != nil || l0 > 0
		for _, p := range panels {
			b := j.packed[p.col*v.ci+l0*p.tile.NR:]
			if v.step == 1 {
				p.multiply(m, depth, a, lda, 1, b, p.tile.NR, y[m0*v.co+p.col:], v.co, add, tmp, &own.ahead)
				continue
			}
			// A row's positions lie evenly in the destination.
			at := v.from(m0)
			for r := 0; r < m; {
				n := min(v.ow-at.x, m-r)
				p.multiply(n, depth, a[r*lda:], lda, 1, b, p.tile.NR, y[at.target()+p.col:], v.step*v.dc, add, tmp, &own.ahead)
				r += n
				at = v.from(m0 + r)
			}
		}
	}
}

// pointGrad is the weight gradient of a 1×1 convolution: dyᵀ·x,
// which has the variable's order. A task is a block of it over a part of the
// pixels; parts are added up in order. The block of dy is transposed, so that
// a product's rows run along pixels: their lines are then read from one end to
// the other, where a column of 14 floats touched two lines for each pixel.
type pointGrad struct {
	*corr
	set          *kernel.Set
	m            int // pixels
	bo, bi       int // output and input channels of a block
	parts, depth int // of the pixels; at a time
}

const (
	gradBlockOut = 256
	gradBlockIn  = 256
	gradPixels   = 128
)

func newPointGrad(set *kernel.Set, c *corr) *pointGrad {
	v := &pointGrad{corr: c, set: set, m: c.n * c.oh * c.ow}
	v.panels, v.cols = panelsFor(set, c.ci)
	v.bo, v.bi = even(c.co, gradBlockOut), min(c.ci, gradBlockIn)
	v.depth = min(v.m, gradPixels)
	blocks := blocksOf(c.co, v.bo) * blocksOf(c.ci, v.bi)
	v.parts = max(1, min(blocksOf(16, blocks), blocksOf(v.m, v.depth), max(1, 1<<20/(c.ci*c.co))))
	return v
}

func (v *pointGrad) sums() int {
	if v.parts == 1 {
		return 0
	}
	return v.parts * v.ci * v.co
}

func (v *pointGrad) tasks() int { return v.parts * blocksOf(v.co, v.bo) * blocksOf(v.ci, v.bi) }

func (v *pointGrad) scratch() int {
	return v.bo*(v.depth+gap) + v.depth*(v.bi+gap+maxCols) + tileFloats
}

func (v *pointGrad) run(i int, x source, dy, sums, dw, scratch []float32, own *pointers) {
	part, i := i%v.parts, i/v.parts
	ins := blocksOf(v.ci, v.bi)
	o0, i0 := i/ins*v.bo, i%ins*v.bi
	no, ni := min(v.bo, v.co-o0), min(v.bi, v.ci-i0)
	to := dw
	if v.parts > 1 {
		to = sums[part*v.ci*v.co:]
	}
	tmp, scratch := scratch[:tileFloats], scratch[tileFloats:]
	lda, ldb := v.depth+gap, plan.Aligned(ni)+gap
	as, bs := scratch[:no*lda], scratch[no*lda:]
	blocks := blocksOf(v.m, v.depth)
	b0, b1 := blocks*part/v.parts, blocks*(part+1)/v.parts
	for b := b0; b < b1; b++ {
		m0 := b * v.depth
		m := min(v.depth, v.m-m0)
		p := v.from(m0)
		transposeRows(v.set, as, lda, dy[m0*v.co+o0:], v.co, m, no)
		for r := range m {
			row := bs[r*ldb:][:ldb]
			x.part(v.set, row, p.source(), i0, ni)
			clear(row[ni:])
			p.next()
		}
		own.ahead.Reset()
		if next := m0 + v.depth; b+1 < b1 && v.stride == 1 {
			n := min(v.depth, v.m-next)
			own.ahead.AddRows(x.x[next*v.ci+i0:], ni, n, v.ci)
			own.ahead.AddRows(dy[next*v.co+o0:], no, n, v.co)
		}
		for _, p := range v.panels {
			if p.col < i0 || p.col >= i0+ni {
				continue
			}
			p.multiply(no, m, as, lda, 1, bs[p.col-i0:], ldb, to[o0*v.ci+p.col:], v.ci, b > b0, tmp, &own.ahead)
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

func (v *pointGrad) reduce(i int, sums, dw []float32) {
	n := v.ci * v.co
	lo, hi := i*chunk, min(n, (i+1)*chunk)
	to := dw[lo:hi]
	v.set.Add(to, sums[lo:hi], sums[n+lo:n+hi])
	for p := 2; p < v.parts; p++ {
		v.set.AddTo(to, sums[p*n+lo:p*n+hi])
	}
}

func (c *compiler) pointGradWeight(s *plan.Step, op plan.ConvGradWeight) work {
	v := newPointGrad(c.set, forward(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel, s.In[1].Shape))
	pool := c.pool
	return work{
		temps: []int{v.sums()}, scratch: v.scratch(), flops: v.flops(),
		build: func(temps [][]float32) func() {
			x, dy, dw, sums := c.source(s, op.Load), c.f(s.In[1]), c.f(s.Out[0]), temps[0]
			run := func(worker, i int) { v.run(i, x, dy, sums, dw, pool.scratch[worker], &pool.pointers[worker]) }
			reduce := func(_, i int) { v.reduce(i, sums, dw) }
			return func() {
				pool.run(v.tasks(), run)
				if v.parts > 1 {
					pool.run(blocksOf(v.ci*v.co, chunk), reduce)
				}
			}
		},
	}
}
