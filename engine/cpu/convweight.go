package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// wgrad is a convolution's weight gradient as a matrix product whose depth is
// positions: for each tap and input channel a row, dW = Σ Aᵀ·dY over blocks of
// positions. The positions are cut into parts, and the taps too where the sums
// would not fit the second-level cache; each part sums on its own, in order,
// and reduce adds the parts up, in order.
type wgrad struct {
	*corr     // the forward convolution
	mode      wgradMode
	rowBlocks int
	blocks    int
	parts     int  // of the positions
	units     int  // of the runs, each
	unitRuns  int  // so many
	cuts      int  // of the panels
	ownY      bool // dy is copied to rows of whole panels
}

type wgradMode uint8

const (
	// wdirect: a grouped 1×1 convolution of stride 1 needs no copy of the images.
	wdirect wgradMode = iota
	// wflat: both images and dy are copied with zeros around, in rows of the
	// same length, so that a tap is a shift and depth runs on across rows.
	wflat
	// wgather: each window is copied out (im2col), of grouped convolutions and of
	// images of few channels.
	wgather
)

func newWgrad(set *kernel.Set, o graph.Conv2D, x, w, dy graph.Shape) *wgrad {
	c := forward(o, x, w, dy)
	c.set = set
	c.panels, c.cols = panelsFor(set, c.co)
	c.pixel = c.c
	v := &wgrad{corr: c}
	taps, each := c.kh*c.kw, 1
	switch {
	case c.flat():
		v.mode = wdirect
	case c.shifted():
		v.mode, each = wflat, c.kw
	default:
		v.mode = wgather
		if c.groups == 1 {
			each = taps
		}
		c.depth = each * c.c
		if c.depth >= 64 && c.depth%32 == 0 {
			c.depth += 16
		}
	}
	v.ownY = v.mode != wflat && c.co != c.cols
	c.runs = nil
	for t := 0; t < taps; t += each {
		c.runs = append(c.runs, tapRun{t, each})
	}

	// A block's rows of both sides stay in the second-level cache.
	floats := max(c.c, c.depth) + c.groups*c.co
	positions := c.oh * c.ow
	m := max(32, min(131072/floats, 512))
	if v.mode == wgather && c.depth >= 64 {
		m = min(m, 224) // a product walks down columns of long rows: in the first-level cache
	}
	c.imgs, c.rows = 1, c.oh
	if positions <= m {
		c.imgs = even(c.n, m/positions)
	} else {
		c.rows = even(c.oh, max(1, m/c.ow))
	}
	v.rowBlocks = (c.oh + c.rows - 1) / c.rows
	v.blocks = (c.n + c.imgs - 1) / c.imgs * v.rowBlocks

	// A task's sums should take at most 640 kB. There should be 16 tasks, but
	// not for more than 4 MB of sums.
	const most = 160 << 10
	total := c.groups * c.k() * c.cols
	v.unitRuns = even(len(c.runs), max(1, min(len(c.runs), most*len(c.runs)/total)))
	v.units = (len(c.runs) + v.unitRuns - 1) / v.unitRuns
	v.cuts = min(len(c.panels), (total/len(c.runs)*v.unitRuns+most-1)/most)
	tasks := v.units * v.cuts
	v.parts = min((16+tasks-1)/tasks, max((8+tasks-1)/tasks, 1<<20/total))
	v.parts = max(1, min(v.parts, v.blocks))
	return v
}

// shifted says whether wflat wastes little on the ends of its rows.
func (c *corr) shifted() bool {
	return c.groups == 1 && c.stride == 1 && c.kw > 1 && (c.kw-1)*c.co < 5*c.ow && c.kw*c.ci >= 16
}

// sums is the floats of one part's sums: groups × k × cols.
func (v *wgrad) sums() int { return v.groups * v.k() * v.cols }

func (v *wgrad) padded() (ph, pw int) { return v.rows + v.kh - 1, v.ow + v.kw - 1 }

func (v *wgrad) scratch() int {
	m := v.imgs * v.rows * v.ow
	n := 0
	switch v.mode {
	case wflat:
		ph, pw := v.padded()
		n, m = v.imgs*ph*pw*v.pixel, v.imgs*ph*pw
	case wgather:
		n = m * v.depth
	}
	if v.ownY || v.mode == wflat {
		n += m * v.groups * v.cols
	}
	return max(n, reduceOut*min(reduceIn, v.ci)*v.kh*v.kw)
}

func (v *wgrad) tasks() int { return v.parts * v.units * v.cuts }

// run sums some of the runs and panels over one part of the positions.
func (v *wgrad) run(i int, x source, dy, sums, scratch []float32) {
	cut, unit, part := i%v.cuts, i/v.cuts%v.units, i/v.cuts/v.units
	runs := v.runs[unit*v.unitRuns : min(len(v.runs), (unit+1)*v.unitRuns)]
	panels := v.panels[len(v.panels)*cut/v.cuts : len(v.panels)*(cut+1)/v.cuts]
	sums = sums[part*v.sums():][:v.sums()]
	rows := 0
	for _, r := range runs {
		rows += r.taps * v.ci
	}
	last := panels[len(panels)-1]
	lo, hi := panels[0].col, last.col+last.tile.NR
	for g := range v.groups {
		at := (g*v.k() + runs[0].tap*v.ci) * v.cols
		for range rows {
			clear(sums[at+lo : at+hi])
			at += v.cols
		}
	}
	for b := v.blocks * part / v.parts; b < v.blocks*(part+1)/v.parts; b++ {
		img0 := b / v.rowBlocks * v.imgs
		img1 := min(v.n, img0+v.imgs)
		y0 := b % v.rowBlocks * v.rows
		y1 := min(v.oh, y0+v.rows)
		v.block(runs, panels, img0, img1, y0, y1, x, dy, sums, scratch)
	}
}

func (v *wgrad) block(runs []tapRun, panels []panel, img0, img1, y0, y1 int, x source, dy, sums, scratch []float32) {
	depth := (img1 - img0) * (y1 - y0) * v.ow
	a, ads := x.x[((img0*v.h+y0)*v.w)*v.c:], v.c
	b, ldb, gb := dy[((img0*v.oh+y0)*v.ow)*v.dc:], v.dc, v.co
	shift := 0 // from a row of the kernel to the next, in a
	switch v.mode {
	case wflat:
		ph, pw := y1-y0+v.kh-1, v.ow+v.kw-1
		n := (img1 - img0) * ph * pw
		a, scratch = scratch[:n*v.pixel], scratch[n*v.pixel:]
		v.surround(a, x, img0, img1, y0-v.py, ph, -v.px, pw)
		shift = pw * v.pixel
		b, ldb, gb = scratch[:n*v.cols], v.cols, v.cols
		v.spread(b, dy, img0, img1, y0, y1, ph, pw)
		// The last positions have no dy and would read past the images.
		depth = n - (v.kh-1)*pw - (v.kw - 1)
	case wgather:
		a, ads, scratch = scratch[:depth*v.depth], v.depth, scratch[depth*v.depth:]
	}
	if v.ownY {
		own := scratch[:depth*v.groups*v.cols]
		for i := range depth {
			for g := range v.groups {
				to := own[(i*v.groups+g)*v.cols:][:v.cols]
				clear(to[copy(to, b[i*v.dc+g*v.co:][:v.co]):])
			}
		}
		b, ldb, gb = own, v.groups*v.cols, v.cols
	}
	for _, r := range runs {
		at := r.tap / v.kw * shift
		if v.mode == wgather {
			v.windows(a, v.depth, x, r, img0, img1, y0, y1)
			at = 0
		}
		for g := range v.groups {
			c := sums[(g*v.k()+r.tap*v.ci)*v.cols:]
			for _, p := range panels {
				p.tile.Columns(r.taps*v.ci, depth, a[at+g*v.ci:], 1, ads, b[g*gb+p.col:], ldb, c[p.col:], v.cols, true, p.tile.NR, nil, nil)
			}
		}
	}
}

// spread copies dy to rows as long as those of the padded images.
func (v *wgrad) spread(dst, dy []float32, img0, img1, y0, y1, ph, pw int) {
	for im := img0; im < img1; im++ {
		for row := y0; row < y1; row++ {
			src := dy[(im*v.oh+row)*v.ow*v.dc:][:v.ow*v.dc]
			if v.cols == v.dc {
				clear(dst[copy(dst, src) : pw*v.cols])
			} else {
				for i := range v.ow {
					to := dst[i*v.cols:][:v.cols]
					clear(to[copy(to, src[i*v.dc:][:v.dc]):])
				}
				clear(dst[v.ow*v.cols : pw*v.cols])
			}
			dst = dst[pw*v.cols:]
		}
		gap := (ph - (y1 - y0)) * pw * v.cols
		clear(dst[:gap])
		dst = dst[gap:]
	}
}

// reduceTasks and reduce add the parts up, on top of the first, and bring the
// sums into the variable's order.
const (
	reduceIn  = 32 // input channels a task
	reduceOut = 16 // output channels at a time: a cache line
)

func (v *wgrad) reduceTasks() int { return v.groups * ((v.ci + reduceIn - 1) / reduceIn) }

func (v *wgrad) reduce(set *kernel.Set, i int, sums []float32, to *gradTo, scratch []float32) {
	chunks := (v.ci + reduceIn - 1) / reduceIn
	g, c0 := i/chunks, i%chunks*reduceIn
	c1 := min(v.ci, c0+reduceIn)
	taps := v.kh * v.kw
	for t := range taps {
		lo, hi := (g*v.k()+t*v.ci+c0)*v.cols, (g*v.k()+t*v.ci+c1)*v.cols
		for p := 1; p < v.parts; p++ {
			set.AddTo(sums[lo:hi], sums[p*v.sums()+lo:p*v.sums()+hi])
		}
	}
	width := (c1 - c0) * taps
	for o0 := 0; o0 < v.co; o0 += reduceOut {
		n := min(reduceOut, v.co-o0)
		for t := range taps {
			for c := c0; c < c1; c++ {
				at := (c-c0)*taps + t
				for _, f := range sums[(g*v.k()+t*v.ci+c)*v.cols+o0:][:n] {
					scratch[at] = f
					at += width
				}
			}
		}
		for o := range n {
			to.put(((g*v.co+o0+o)*v.ci+c0)*taps, scratch[o*width:][:width])
		}
	}
}

// source is operand 0 of a step, normalised with operand 2 or as it lies.
func (c *compiler) source(s *plan.Step, load bool) source {
	x := source{x: c.f(s.In[0])}
	if load {
		x.scale, x.shift = c.affine(s.In[2])
	}
	return x
}

func (c *compiler) convGradWeight(s *plan.Step, op plan.ConvGradWeight) work {
	if c.winograd(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel) {
		return c.winoGradWeight(s, op)
	}
	if c.winoStrideGrads(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel) {
		return c.winoStrideGradWeight(s, op)
	}
	if c.winoStems(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel) {
		return c.winoStemGradWeight(s, op)
	}
	switch f := forward(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel, s.In[1].Shape); {
	case f.depthwise():
		return c.depthGradWeight(s, f)
	case f.gathers():
		return c.gatherGradWeight(s, op)
	}
	v := newWgrad(c.set, op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel, s.In[1].Shape)
	pool := c.pool
	return work{
		temps: []int{v.parts * v.sums()}, scratch: v.scratch(), flops: v.flops(),
		build: func(temps [][]float32) func() {
			x, dy, sums := c.source(s, op.Load), c.f(s.In[1]), temps[0]
			to, begin := c.gradTo(s, op.Update)
			run := func(worker, i int) { v.run(i, x, dy, sums, pool.scratch[worker]) }
			reduce := func(worker, i int) { v.reduce(c.set, i, sums, to, pool.scratch[worker]) }
			return func() {
				begin()
				pool.run(v.tasks(), run)
				pool.run(v.reduceTasks(), reduce)
			}
		},
	}
}
