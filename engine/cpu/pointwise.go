package cpu

import "selfcon/engine/cpu/kernel"

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
	unit  int // panels that stay together
	kc    int // depth at a time
	// whole says that a task's region is the rows of pixels that its positions
	// are in, with the pixels between them, which it does not change.
	whole bool
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
	v := &pointwise{corr: c, set: set, m: c.n * c.oh * c.ow, unit: 1}
	v.block = even(v.m, pointRows)
	if blocksOf(v.m, v.block) < 16 {
		v.block = even(v.m, pointFewer)
	}
	blocks := blocksOf(v.m, v.block)
	v.cuts = blocksOf(16, blocks)
	if v.cuts > 1 && blocks*v.cuts%2 == 1 {
		v.cuts++ // which two threads share better
	}
	v.cuts = min(len(v.panels), v.cuts)
	v.kc = even(c.ci, pointDepth)
	return v
}

// fillRows makes whole tasks of a phase that is added to what is there, where the
// others have nothing to add, and says whether that can be.
func (v *pointwise) fillRows(others []*corr) bool {
	for _, c := range others {
		if len(c.tap) > 0 {
			return false
		}
	}
	if v.step != 2 || v.dh != 2*v.oh || v.dw != 2*v.ow {
		return false
	}
	block := v.ow * max(1, pointFewer/v.ow)
	if blocksOf(v.m, block) < 16 { // tasks of some channels only, whose rows are short
		return false
	}
	v.whole, v.block, v.cuts = true, block, 1
	return true
}

func (v *pointwise) tasks() int { return blocksOf(v.m, v.block) * v.cuts }

func (v *pointwise) packTasks() int { return len(v.panels) * blocksOf(v.ci, pointDepth) }

func (v *pointwise) scratch() int {
	n := v.block*(v.kc+gap) + tileFloats
	if v.step > 1 {
		n += v.block * v.co // results, before they go to their places
	}
	return n
}

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
	n := len(v.panels) / v.unit
	return m0, min(v.block, v.m-m0), v.panels[n*cut/v.cuts*v.unit : n*(cut+1)/v.cuts*v.unit]
}

// byRows says whether a task reads rows of pixels that no other does.
func (v *pointwise) byRows() bool { return v.stride == 1 && v.step == 1 && v.cuts == 1 }

// rows is the rows of pixels of a task then.
func (v *pointwise) rows(i int) (lo, hi int) {
	m0, m, _ := v.task(i)
	return m0, m0 + m
}

func (v *pointwise) regions(i int, to []region) []region { return append(to, v.region(i)) }

func (v *pointwise) region(i int) region {
	m0, m, panels := v.task(i)
	o0, outs := spanned(panels)
	lo, hi := m0, m0+m
	if v.whole {
		lo, hi = v.pixels(m0), v.pixels(m0+m)
	}
	return region{lo, hi, o0, o0 + outs}
}

// spanned is the first column of panels and how many they have.
func spanned(panels []panel) (col, n int) {
	last := panels[len(panels)-1]
	return panels[0].col, last.col + last.width - panels[0].col
}

// pixels is how many pixels lie in whole rows before a position's.
func (v *pointwise) pixels(m int) int { return m / v.ow * v.step * v.dw }

func (v *pointwise) reads(i int, j *job, a *kernel.Ahead) {
	m0, m, panels := v.task(i)
	if v.stride == 1 {
		a.Add(j.x.x[m0*v.ci:][:m*v.ci])
	}
	together := v.step == 1 || v.whole // lie a task's results
	if together {
		v.region(i).fetch(j.y, v.co, a)
	}
	if v.stride == 1 && together {
		return
	}
	o0, outs := spanned(panels)
	for end := m0 + m; m0 < end; { // a row of positions at a time
		p := v.from(m0)
		n := min(v.ow-p.x, end-m0)
		if v.stride > 1 {
			a.AddRows(j.x.x[p.source():], v.ci, n, v.stride*v.c)
		}
		if !together {
			a.AddRows(j.y[p.target()+o0:], outs, n, v.step*v.dc)
		}
		m0 += n
	}
}

func (v *pointwise) run(i int, j *job, scratch []float32, own *pointers) {
	m0, m, panels := v.task(i)
	tmp, scratch := scratch[:tileFloats], scratch[tileFloats:]
	y, ldy, o0, scratch := v.results(m0, m, panels, j, scratch)
	for l0 := 0; l0 < v.ci; l0 += v.kc {
		depth := min(v.kc, v.ci-l0)
		a, lda := v.stream(m0, m, l0, depth, j, scratch)
		add := l0 > 0 || j.add != nil && v.step == 1
		for _, p := range panels {
			b := j.packed[p.col*v.ci+l0*p.tile.NR:]
			p.multiply(m, depth, a, lda, 1, b, p.tile.NR, y[p.col-o0:], ldy, add, tmp, &own.ahead)
		}
	}
	v.put(m0, m, o0, y, ldy, j)
}

// results is where a task's products go, ldy floats from position to position, and
// the output channel of its first float: to their places or, where a row's few
// positions would make tiles of few rows, to scratch.
func (v *pointwise) results(m0, m int, panels []panel, j *job, scratch []float32) (y []float32, ldy, o0 int, rest []float32) {
	if v.step == 1 {
		return j.y[m0*v.co:], v.co, 0, scratch
	}
	o0, ldy = spanned(panels)
	return scratch[:m*ldy], ldy, o0, scratch[m*ldy:]
}

// put brings results from scratch to their places.
func (v *pointwise) put(m0, m, o0 int, y []float32, ldy int, j *job) {
	if v.step == 1 {
		return
	}
	p := v.from(m0)
	for r := range m {
		to, from := j.y[p.target()+o0:][:ldy], y[r*ldy:][:ldy]
		if j.add != nil {
			v.set.AddTo(to, from)
		} else {
			copy(to, from)
		}
		p.next()
	}
}

// stream is depth input channels, from l0, of m positions, lda floats apart:
// copied to scratch unless they lie in one stream as it is.
func (v *pointwise) stream(m0, m, l0, depth int, j *job, scratch []float32) (a []float32, lda int) {
	if v.stride == 1 && depth == v.ci {
		if j.x.scale == nil {
			return j.x.x[m0*v.ci:], v.ci
		}
		j.x.load(v.set, scratch, m0*v.ci, m, v.ci)
		return scratch, v.ci
	}
	lda = v.kc + gap
	p := v.from(m0)
	for r := range m {
		j.x.part(v.set, scratch[r*lda:], p.source(), l0, depth)
		p.next()
	}
	return scratch, lda
}
