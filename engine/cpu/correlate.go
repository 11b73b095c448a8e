package cpu

import "selfcon/engine/cpu/kernel"

// corr is a correlation of NHWC images with a small kernel, as a matrix product
// whose rows are positions: a convolution, or one phase of its data gradient.
// Position (y, x) sums, over taps (ky, kx) and channels, the source pixels
// (y·stride − py + ky, x·stride − px + kx), zeros outside, times the weights,
// and goes to pixel (y·step + oy, x·step + ox) of the destination.
type corr struct {
	n, h, w, c     int // source images
	oh, ow         int // positions
	kh, kw, stride int
	py, px         int // may be negative
	dh, dw, dc     int // destination images
	step, oy, ox   int
	groups, ci, co int // channels of a group: in, out

	weights
	set        *kernel.Set
	mode       corrMode
	panels     []panel // the output channels of a group
	cols       int     // output channels of a group, filled up to whole panels
	runs       []tapRun
	pixel      int // floats from pixel to pixel in scratch (window)
	depth      int // floats from row to row in scratch (gather)
	imgs, rows int // a task: imgs whole images, or rows rows of one
	rowTasks   int
}

// weights says where the weight of a tap lies in the variable, OIHW: for group
// g, input channel l and output channel o, at g·group + l·in + o·out + tap[t].
type weights struct {
	group, in, out int
	tap            []int
}

// corrMode is how the rows of the product come about.
type corrMode uint8

const (
	// direct: from the images themselves, where no tap ever falls outside.
	direct corrMode = iota
	// window: from a copy with zeros around it. The pixels under a row of the
	// kernel lie side by side, so windows overlap and nothing is copied twice.
	window
	// gather: each window is copied out (im2col). For images of few pixels, so
	// that a tile of the product regions rows and images, and for few channels.
	gather
)

// tapRun is consecutive taps whose channels lie side by side in a row.
type tapRun struct{ tap, taps int }

// panel is columns of a product that one tile covers.
type panel struct {
	tile       *kernel.Tile
	col, width int // width < tile.NR: the rest is padding
}

// No tile is larger: 16 rows, 32 columns.
const (
	maxCols    = 32
	tileFloats = 16 * maxCols
)

// panelsFor cuts n columns into panels, widest first, and says how many columns
// they have with their padding.
func panelsFor(set *kernel.Set, n int) (panels []panel, cols int) {
	narrow := set.Tiles[len(set.Tiles)-1].NR
	cols = (n + narrow - 1) / narrow * narrow
	for j := 0; j < n; {
		t := &set.Tiles[0]
		for i := range set.Tiles {
			if t = &set.Tiles[i]; t.NR <= cols-j {
				break
			}
		}
		panels = append(panels, panel{t, j, min(t.NR, n-j)})
		j += t.NR
	}
	return panels, cols
}

// prepareFor chooses how to compute the correlation, by its shape alone; with
// load, images are normalised as they are read.
func (c *corr) prepareFor(set *kernel.Set, load bool) {
	c.set = set
	c.panels, c.cols = panelsFor(set, c.co)
	inside := c.py <= 0 && c.px <= 0 &&
		(c.oh-1)*c.stride-c.py+c.kh <= c.h && (c.ow-1)*c.stride-c.px+c.kw <= c.w
	c.pixel = c.c
	switch {
	case c.groups == 1 && (c.kw*c.ci < 16 || c.ow < 6):
		c.mode = gather
	case inside && !load:
		c.mode = direct
	default:
		c.mode = window
		if c.groups == 1 && c.ci >= 256 {
			c.pixel += 16 // a power of two would crowd a few cache sets
		}
	}
	taps, k := c.kh*c.kw, c.kh*c.kw*c.ci
	each := 1 // taps a run
	if c.groups == 1 && c.pixel == c.c {
		switch {
		case c.mode == gather && k <= 512:
			each = taps
		case c.kw*c.ci <= 512:
			each = c.kw
		}
	}
	c.runs = nil
	for t := 0; t < taps; t += each {
		c.runs = append(c.runs, tapRun{t, each})
	}
	floats := c.stride*c.stride*c.c + c.groups*c.co
	if c.mode == gather {
		c.depth = each * c.ci
		if c.depth >= 128 && c.depth%32 == 0 {
			c.depth += 16
		}
		floats = c.depth + c.co
	}
	// A task's rows of both sides should stay in the second-level cache, and
	// there should be enough tasks to share out.
	positions := c.oh * c.ow
	m := min(max(98304/floats, 64), 1024)
	m = max(56, min(m, (c.n*positions+15)/16))
	c.imgs, c.rows = 1, c.oh
	if positions <= m {
		c.imgs = min(c.n, m/positions)
		c.imgs = even(c.n, c.imgs)
	} else {
		c.rows = even(c.oh, max(1, m/c.ow))
	}
	c.rowTasks = (c.oh + c.rows - 1) / c.rows
}

// blocksOf is how many blocks of at most size make n.
func blocksOf(n, size int) int { return (n + size - 1) / size }

// even makes parts of n of at most size nearly equal.
func even(n, size int) int {
	parts := (n + size - 1) / size
	return (n + parts - 1) / parts
}

// uneven says whether two threads would share tasks badly: where there is more than
// one and a last odd one would be long.
func uneven(tasks int) bool { return tasks > 1 && tasks < 16 && tasks%2 == 1 }

// paired is even for a number of parts that is not uneven.
func paired(n, size int) int {
	parts := blocksOf(n, size)
	if uneven(parts) {
		parts++
	}
	return blocksOf(n, parts)
}

// flat says whether positions lie in source and destination one after another.
func (c *corr) flat() bool {
	return c.kh == 1 && c.kw == 1 && c.stride == 1 && c.step == 1 && c.py == 0 && c.px == 0 &&
		c.ow == c.w && c.oh == c.h && c.ow == c.dw && c.oh == c.dh
}

func (c *corr) tasks() int { return (c.n + c.imgs - 1) / c.imgs * c.rowTasks }

func (c *corr) k() int { return c.kh * c.kw * c.ci }

func (c *corr) packedLen() int { return c.groups * c.k() * c.cols }

// Only Winograd's transforms make something of all images first.
func (c *corr) inputLen() int                         { return 0 }
func (c *corr) inputTasks() int                       { return 0 }
func (c *corr) input(int, *job, []float32, *pointers) {}

func (c *corr) flops() float64 {
	return 2 * float64(c.n) * float64(c.oh*c.ow) * float64(c.k()) * float64(c.groups*c.co)
}

func (c *corr) cost() float64 { return c.flops() }

// scratch is the floats that a task needs.
func (c *corr) scratch() int {
	m, n := c.imgs*c.rows*c.ow, tileFloats
	switch c.mode {
	case window:
		n += c.imgs * ((c.rows-1)*c.stride + c.kh) * ((c.ow-1)*c.stride + c.kw) * c.pixel
	case gather:
		n += m*c.depth + m*c.cols
	}
	return max(n, min(c.in, c.out)*min(packChannels, c.ci)*maxCols)
}

// packTasks and pack lay out the weights for the product: for each group and
// panel k rows of NR columns, depth ordered as tap, channel. A task takes a few
// input channels of a panel and sorts them in scratch, in cache.
const packChannels = 16

func (c *corr) packTasks() int {
	if len(c.tap) == 0 {
		return 0
	}
	return c.groups * len(c.panels) * ((c.ci + packChannels - 1) / packChannels)
}

func (c *corr) pack(i int, dst, w, scratch []float32) {
	chunks := (c.ci + packChannels - 1) / packChannels
	l0 := i % chunks * packChannels
	n := min(c.ci, l0+packChannels) - l0
	p := c.panels[i/chunks%len(c.panels)]
	g := i / chunks / len(c.panels)
	nr := p.tile.NR
	dst = dst[g*c.k()*c.cols+p.col*c.k():][:c.k()*nr]
	w = w[g*c.group+l0*c.in+p.col*c.out:]
	if p.width < nr || nr%kernel.WinogradLanes != 0 {
		for t, tap := range c.tap {
			packPanel(c.set, dst[(t*c.ci+l0)*nr:], p, n, w[tap:], c.in, c.out)
		}
		return
	}
	all := min(c.in, c.out) // taps of the variable
	if c.in < c.out {
		// A column's weights lie side by side for all channels.
		c.set.Transpose(scratch, nr, w, c.out, nr, n*all)
	} else {
		for l := range n {
			c.set.Transpose(scratch[l*all*nr:], nr, w[l*c.in:], c.out, nr, all)
		}
	}
	for t, tap := range c.tap {
		for l := range n {
			copy(dst[(t*c.ci+l0+l)*nr:][:nr], scratch[(l*all+tap)*nr:])
		}
	}
}

// task is the images and rows of a task.
func (c *corr) task(i int) (img0, img1, y0, y1 int) {
	img0, y0 = i/c.rowTasks*c.imgs, i%c.rowTasks*c.rows
	return img0, min(c.n, img0+c.imgs), y0, min(c.oh, y0+c.rows)
}

func (c *corr) regions(i int, to []region) []region {
	img0, img1, y0, y1 := c.task(i) // whole images, or rows of one
	return append(to, region{(img0*c.oh + y0) * c.ow, ((img1-1)*c.oh + y1) * c.ow, 0, c.dc})
}

func (c *corr) reads(i int, j *job, a *kernel.Ahead) {
	img0, img1, y0, y1 := c.task(i)
	lo := img0*c.h + max(0, y0*c.stride-c.py)
	hi := (img1-1)*c.h + min(c.h, (y1-1)*c.stride-c.py+c.kh)
	if lo < hi {
		a.Add(j.x.x[lo*c.w*c.c : hi*c.w*c.c])
	}
	if c.step == 1 {
		a.Add(j.y[(img0*c.dh+y0)*c.dw*c.dc : ((img1-1)*c.dh+y1)*c.dw*c.dc])
	}
}

// run computes one task. With something to add it adds to what is in y.
func (c *corr) run(i int, j *job, scratch []float32, own *pointers) {
	x, packed, y, acc := j.x, j.packed, j.y, j.add != nil
	img0, img1, y0, y1 := c.task(i)
	if len(c.runs) == 0 { // a phase that no tap reaches
		if !acc {
			c.zero(y, img0, img1, y0, y1)
		}
		return
	}
	tmp, scratch := scratch[:tileFloats], scratch[tileFloats:]
	if c.mode == gather {
		c.runGather(img0, img1, y0, y1, x, packed, y, scratch, tmp, acc, own)
		return
	}
	// The operand A at (image, row, pixel): base + image·ai + row·ar + pixel·ap.
	a, base, ai, ar, ap := x.x, 0, c.h*c.w*c.c, c.w*c.c, c.c
	if c.mode == window {
		ph, pw := (y1-y0-1)*c.stride+c.kh, (c.ow-1)*c.stride+c.kw
		c.surround(scratch, x, img0, img1, y0*c.stride-c.py, ph, -c.px, pw)
		a, ai, ar, ap = scratch, ph*pw*c.pixel, pw*c.pixel, c.pixel
	} else {
		base = img0*ai + (y0*c.stride-c.py)*ar - c.px*ap
	}
	imgs, rows, count := img1-img0, y1-y0, c.ow
	if c.mode == direct && c.flat() { // one long row
		imgs, rows, count = 1, 1, imgs*rows*c.ow
	}
	ldc := c.step * c.dc
	for g := range c.groups {
		for r, run := range c.runs {
			ra := base + run.tap/c.kw*ar + run.tap%c.kw*ap + g*c.ci
			for _, p := range c.panels {
				b := packed[g*c.k()*c.cols+p.col*c.k()+run.tap*c.ci*p.tile.NR:]
				for im := range imgs {
					for row := range rows {
						at := ((img0+im)*c.dh+(y0+row)*c.step+c.oy)*c.dw + c.ox
						p.multiply(count, run.taps*c.ci, a[ra+im*ai+row*c.stride*ar:], c.stride*ap, 1, b, p.tile.NR,
							y[at*c.dc+g*c.co+p.col:], ldc, acc || r > 0, tmp, &own.ahead)
					}
				}
			}
		}
	}
}

func (c *corr) runGather(img0, img1, y0, y1 int, x source, packed, y, scratch, tmp []float32, acc bool, own *pointers) {
	m := (img1 - img0) * (y1 - y0) * c.ow
	a, out := scratch[:m*c.depth], scratch[m*c.depth:][:m*c.cols]
	whole := c.step == 1 && c.ow == c.dw && (c.oh == c.dh || img1-img0 == 1)
	dst, ldc := y[((img0*c.dh+y0+c.oy)*c.dw+c.ox)*c.dc:], c.dc
	accumulate := acc
	if !whole {
		dst, ldc, accumulate = out, c.cols, false
	}
	for r, run := range c.runs {
		c.windows(a, c.depth, x, run, img0, img1, y0, y1)
		for _, p := range c.panels {
			b := packed[p.col*c.k()+run.tap*c.ci*p.tile.NR:]
			p.multiply(m, run.taps*c.ci, a, c.depth, 1, b, p.tile.NR, dst[p.col:], ldc, accumulate || r > 0, tmp, &own.ahead)
		}
	}
	if whole {
		return
	}
	for im := img0; im < img1; im++ {
		for row := y0; row < y1; row++ {
			for col := range c.ow {
				to := y[((im*c.dh+row*c.step+c.oy)*c.dw+col*c.step+c.ox)*c.dc:][:c.co]
				if acc {
					for j, v := range out[:c.co] {
						to[j] += v
					}
				} else {
					copy(to, out)
				}
				out = out[c.cols:]
			}
		}
	}
}

func (c *corr) zero(y []float32, img0, img1, y0, y1 int) {
	for im := img0; im < img1; im++ {
		for row := y0; row < y1; row++ {
			for col := range c.ow {
				clear(y[((im*c.dh+row*c.step+c.oy)*c.dw+col*c.step+c.ox)*c.dc:][:c.dc])
			}
		}
	}
}

// surround copies rows [y0, y0+ph) and columns [x0, x0+pw) of images, with
// zeros where there is no pixel.
func (c *corr) surround(dst []float32, x source, img0, img1, y0, ph, x0, pw int) {
	left := min(pw, max(0, -x0))
	right := max(left, min(pw, c.w-x0))
	for im := img0; im < img1; im++ {
		for row := y0; row < y0+ph; row++ {
			d := dst[:pw*c.pixel]
			dst = dst[pw*c.pixel:]
			if row < 0 || row >= c.h || left == right {
				clear(d)
				continue
			}
			clear(d[:left*c.pixel])
			clear(d[right*c.pixel:])
			at := ((im*c.h+row)*c.w + x0 + left) * c.c
			if c.pixel == c.c {
				x.load(c.set, d[left*c.c:], at, right-left, c.c)
				continue
			}
			for col := left; col < right; col++ {
				x.load(c.set, d[col*c.pixel:], at, 1, c.c)
				at += c.c
			}
		}
	}
}

// windows copies what lies under a run of taps at each position to a row of
// dst (im2col). A run is taps of one row of the kernel or whole rows of it.
func (c *corr) windows(dst []float32, ld int, x source, run tapRun, img0, img1, y0, y1 int) {
	ky0, kx0 := run.tap/c.kw, run.tap%c.kw
	across := min(run.taps, c.kw-kx0)
	down := run.taps / across
	width := across * c.c
	for im := img0; im < img1; im++ {
		for oy := y0; oy < y1; oy++ {
			for ky := range down {
				iy := oy*c.stride - c.py + ky0 + ky
				d := dst[ky*width:]
				if iy < 0 || iy >= c.h {
					for i := range c.ow {
						clear(d[i*ld : i*ld+width])
					}
					continue
				}
				at := (im*c.h + iy) * c.w * c.c
				ix := kx0 - c.px
				for i := range c.ow {
					to := d[i*ld : i*ld+width]
					if ix >= 0 && ix+across <= c.w {
						x.load(c.set, to, at+ix*c.c, across, c.c)
					} else {
						lo, hi := min(across, max(0, -ix)), max(0, min(across, c.w-ix))
						clear(to)
						if lo < hi {
							x.load(c.set, to[lo*c.c:], at+(ix+lo)*c.c, hi-lo, c.c)
						}
					}
					ix += c.stride
				}
			}
			dst = dst[min(len(dst), c.ow*ld):]
		}
	}
}

// copyRun is copy(dst, src), faster where dst is short.
func copyRun(dst, src []float32) {
	if len(dst) > 12 {
		copy(dst, src)
		return
	}
	src = src[:len(dst)]
	//lint:ignore S1001 a call costs more than a few elements
	for i, v := range src {
		dst[i] = v
	}
}

// steps is the steps of depth that products of m rows with panels take.
func steps(panels []panel, m, depth int) int {
	return blocksOf(m, panels[0].tile.MR) * len(panels) * depth
}

// multiply computes m rows of a panel; tmp, tileFloats long, is for those that
// are narrower than their tile.
func (p *panel) multiply(m, depth int, a []float32, ars, ads int, b []float32, ldb int, c []float32, ldc int, acc bool, tmp []float32, ahead *kernel.Ahead) {
	p.tile.Columns(m, depth, a, ars, ads, b, ldb, c, ldc, acc, p.width, tmp, ahead)
}
