package cpu

import (
	"unsafe"

	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// winoStems says whether a convolution of few channels, or its weight gradient,
// goes by stem's transforms.
func (c *compiler) winoStems(o graph.Conv2D, x, kernelShape graph.Shape) bool {
	co, ci := kernelShape[0], kernelShape[1]
	if c.opt.Conv == convDirect || kernelShape[2] != 7 || kernelShape[3] != 7 || o.Stride != 2 || o.Pad != 3 || o.PadEnd != 0 ||
		o.Groups != 1 || 4*ci > stemLanes || co%kernel.WinogradLanes != 0 || x[1]%2 != 0 || x[2]%2 != 0 {
		return false
	}
	return c.opt.Conv == convWinograd || c.set.Name != "generic" && worthStem(x)
}

// worthStem says whether the transforms pay: where they need at most six tenths
// of the direct products, which all sides of 10 and more do, and
// where there are tiles enough for the weights' transforms.
func worthStem(x graph.Shape) bool {
	h, w := x[1]/2, x[2]/2
	tiles := x[0] * blocksOf(h, stemSide) * blocksOf(w, stemSide)
	return tiles >= stemFewest && 10*freqs*4*tiles <= 6*49*x[0]*h*w
}

const (
	stemSide   = 3  // a tile has so many results a side
	stemLanes  = 16 // floats of a cell
	stemTiles  = 42 // tiles of 64 channels at a time: three times the rows of the largest kernel
	stemFewest = 64 // tiles

	stemTransforms = 400 // multiplications that a tile's transforms cost for a channel, of cells or results
)

// stem is a 7×7 convolution of stride 2 and padding 3 of images of up to four
// channels, as one of stride 1 over cells of 2×2 pixels. It has 4×4 taps, whose
// first row and column of pixels are zero. By F(3×3, 4×4) a tile of 3×3 results
// takes 36 products of depth 4·ci, where the definition takes nine of 49·ci.
//
// F(3×3, 4×4) is F(4×4, 3×3) with kernel and results in each other's place, which
// its sum of products allows: weights are transformed as gradients are there, and
// products back as those of a kernel's gradient; for the weight gradient, dy as
// kernels are and sums back as results.
//
// Tiles are worked on in whole rows, counted over all images. Transformed cells
// lie as V[frequency][tile][cell].
type stem struct {
	*corr  // the forward convolution
	set    *kernel.Set
	th, tw int // tiles of an image
	rows   int // rows of tiles at a time
	piece  int // tiles whose products are in cache
}

func newStem(set *kernel.Set, c *corr) stem {
	c.panels, c.cols = panelsFor(set, c.co)
	v := stem{corr: c, set: set, th: blocksOf(c.oh, stemSide), tw: blocksOf(c.ow, stemSide)}
	mr := set.Tiles[0].MR
	v.rows = even(v.n*v.th, max(1, stemTiles/v.tw))
	if v.blocks() < 4 { // too few to share out
		v.rows = min(v.rows, max(blocksOf(mr, v.tw), blocksOf(v.n*v.th, 4)))
	}
	v.piece = even(v.rows*v.tw, max(mr, stemTiles*64/c.co))
	return v
}

func (v *stem) depth() int   { return 4 * v.ci }
func (v *stem) tiles() int   { return v.n * v.th * v.tw }
func (v *stem) strideV() int { return apart(v.rows * v.tw * stemLanes) }
func (v *stem) strideU() int { return apart(v.depth() * v.co) }
func (v *stem) strideM() int { return apart(v.piece * v.co) }

func (v *stem) cost() float64 {
	return 2 * float64(v.tiles()) * float64(freqs*v.depth()*v.co+stemTransforms*(stemLanes+v.co))
}

// cells is the cells under a row of tiles, across.
func (v *stem) cells() int { return stemSide * (v.tw + 1) }

// blocks is how many blocks of rows there are, block the rows of one.
func (v *stem) blocks() int { return blocksOf(v.n*v.th, v.rows) }

func (v *stem) block(i int) (r0, r1 int) { return i * v.rows, min(v.n*v.th, (i+1)*v.rows) }

// scratch is the floats of a worker, and split cuts it into cells and a row of
// pixels, V, products and a tile's results or gradients.
func (v *stem) scratch() int {
	return max(v.cellsLen()+freqs*(v.strideV()+v.strideM())+9*v.co, 49*v.ci*maxCols)
}

func (v *stem) cellsLen() int { return 6*v.cells()*stemLanes + v.w*v.ci }

func (v *stem) split(scratch []float32) (cells, vs, ms, tile []float32) {
	n, m := v.cellsLen(), v.cellsLen()+freqs*v.strideV()
	return scratch[:n], scratch[n:m], scratch[m:], scratch[m+freqs*v.strideM():][:9*v.co]
}

// pixels is the rows of results, counted over all images, of rows r0 to r1 of
// tiles, and those of images that they read.
func (v *stem) pixels(r0, r1 int) (y0, y1, x0, x1 int) {
	a, b := r0/v.th, (r1-1)/v.th
	top, end := r0%v.th*stemSide, ((r1-1)%v.th+1)*stemSide
	return a*v.oh + top, b*v.oh + min(v.oh, end), a*v.h + max(0, 2*top-3), b*v.h + min(v.h, 2*end+2)
}

// transform brings rows r0 to r1 of tiles to V. What a cell holds behind its
// pixels is in no product, but should be numbers that don't take longer.
func (v *stem) transform(vs, cells []float32, x source, r0, r1 int, p *pointers) {
	width := v.cells() * stemLanes
	for r := r0; r < r1; r++ {
		v.load(cells, x, r)
		for i := range p.in {
			p.in[i] = &cells[i/6*width+i%6*stemLanes]
		}
		for t := range v.tw {
			if t > 0 {
				for i, at := range p.in {
					p.in[i] = (*float32)(unsafe.Add(unsafe.Pointer(at), 4*stemSide*stemLanes))
				}
			}
			v.set.WinogradInput(vs[((r-r0)*v.tw+t)*stemLanes:], v.strideV(), &p.in, stemLanes)
		}
	}
}

// load copies the pixels under a row of tiles to cells, zeros where there are none.
func (v *stem) load(cells []float32, x source, r int) {
	width := v.cells() * stemLanes
	normal := cells[6*width:]
	for i := range 6 {
		row := cells[i*width:][:width]
		y := r%v.th*stemSide - 2 + i
		if y < 0 || 2*y >= v.h {
			clear(row)
			continue
		}
		clear(row[:2*stemLanes])
		clear(row[(2+v.w/2)*stemLanes:])
		for half := range 2 {
			at := (r/v.th*v.h + 2*y + half) * v.w * v.ci
			pixels := x.x[at:]
			if x.scale != nil {
				x.load(v.set, normal, at, v.w, v.ci)
				pixels = normal
			}
			spreadPairs(row[2*stemLanes+half*2*v.ci:], pixels, v.w/2, v.ci)
		}
	}
}

// spreadPairs copies pairs of pixels of ci channels, stemLanes apart. All but
// those at x's end take with them what lies behind.
func spreadPairs(dst, x []float32, pairs, ci int) {
	type eight struct{ a, b, c, d uint64 } // an array would be copied by a call
	whole := 0
	if len(x) >= 8 {
		whole = min(pairs, (len(x)-8)/(2*ci)+1)
	}
	_ = dst[(pairs-1)*stemLanes+7]
	to, from := unsafe.Pointer(&dst[0]), unsafe.Pointer(&x[0])
	for i := range whole {
		*(*eight)(unsafe.Add(to, 4*stemLanes*i)) = *(*eight)(unsafe.Add(from, 8*ci*i))
	}
	for i := whole; i < pairs; i++ {
		copyRun(dst[i*stemLanes:][:2*ci], x[2*ci*i:])
	}
}

// span is where the results of row i of a tile begin and how many floats they
// are, of those that are in the image.
func (v *stem) span(tile, i int) (at, n int) {
	r, x := tile/v.tw, tile%v.tw*stemSide
	y := r%v.th*stemSide + i
	if y >= v.oh {
		return 0, 0
	}
	return ((r/v.th*v.oh+y)*v.ow + x) * v.co, min(stemSide, v.ow-x) * v.co
}

// tapOf says which of the 49 taps number l of a cell has at tap t of 4×4.
func (v *stem) tapOf(l, t int) (tap int, ok bool) {
	y, x := 2*(t/4)+l/(2*v.ci)-1, 2*(t%4)+l/v.ci%2-1
	return 7*y + x, y >= 0 && x >= 0
}

// winoStem is the convolution. A task is rows of tiles: 36 products for all
// output channels, with weights U[frequency][panel][number of a cell][column].
type winoStem struct {
	stem
	taps [][16]*float32 // of each panel, for pack
	zero []float32
}

func newWinoStem(set *kernel.Set, c *corr) *winoStem {
	v := &winoStem{stem: newStem(set, c), zero: make([]float32, maxCols)}
	v.taps = make([][16]*float32, len(v.panels))
	return v
}

func (v *winoStem) packedLen() int { return freqs * v.strideU() }
func (v *winoStem) tasks() int     { return v.blocks() }

// pack fills a panel of U.
func (v *winoStem) pack(i int, us, w, sorted []float32) {
	p, taps := v.panels[i], &v.taps[i]
	nr := p.tile.NR
	v.set.Transpose(sorted, nr, w[p.col*v.out:], v.out, nr, v.out)
	for l := range v.depth() {
		for t := range taps {
			taps[t] = &v.zero[0]
			if tap, ok := v.tapOf(l, t); ok {
				taps[t] = &sorted[(l%v.ci*49+tap)*nr]
			}
		}
		v.set.WinogradGrad(us[p.col*v.depth()+l*nr:], v.strideU(), taps, nr)
	}
}

func (v *winoStem) regions(i int, to []region) []region {
	y0, y1, _, _ := v.pixels(v.block(i))
	return append(to, region{y0 * v.ow, y1 * v.ow, 0, v.co})
}

func (v *winoStem) reads(i int, j *job, a *kernel.Ahead) {
	y0, y1, x0, x1 := v.pixels(v.block(i))
	a.Add(j.x.x[x0*v.w*v.ci : x1*v.w*v.ci])
	a.Add(j.y[y0*v.ow*v.co : y1*v.ow*v.co])
}

func (v *winoStem) run(i int, j *job, scratch []float32, own *pointers) {
	sv, su, sm, depth := v.strideV(), v.strideU(), v.strideM(), v.depth()
	cells, vs, ms, out := v.split(scratch)
	if own.first(j) {
		clear(cells)
	}
	r0, r1 := v.block(i)
	v.transform(vs, cells, j.x, r0, r1, own)
	tiles := (r1 - r0) * v.tw
	own.task.Over(freqs * steps(v.panels, tiles, depth)) // not all of the cost
	for t0 := 0; t0 < tiles; t0 += v.piece {
		n := min(v.piece, tiles-t0)
		for f := range freqs {
			for _, p := range v.panels {
				p.multiply(n, depth, vs[f*sv+t0*stemLanes:], stemLanes, 1, j.packed[f*su+p.col*depth:], p.tile.NR,
					ms[f*sm+p.col:], v.co, false, nil, &own.ahead)
			}
		}
		for t := range n {
			v.set.WinogradKernelGrad(out, v.co, ms[t*v.co:], sm, v.co)
			for i := range stemSide {
				at, n := v.span(r0*v.tw+t0+t, i)
				copy(j.y[at:][:n], out[stemSide*i*v.co:])
			}
		}
	}
}

// winoStemGrad is the weight gradient: for each frequency a product Vᵀ·D whose
// depth is tiles, D the transformed dy, as winoGrad with few channels.
type winoStemGrad struct {
	stem
	chunks // one
	parts  int
}

func newWinoStemGrad(set *kernel.Set, c *corr) *winoStemGrad {
	v := &winoStemGrad{stem: newStem(set, c)}
	v.parts = min(gradParts, v.blocks())
	return v
}

func (v *winoStemGrad) temp() int { return v.parts * freqs * v.strideU() }

// stemRows is the taps, filled up to what can be transposed.
const stemRows = 64

func (v *winoStemGrad) scratch() int { return max(v.stem.scratch(), (2*stemRows+1)*v.co) }

func (v *winoStemGrad) firstTasks(int) int { return v.parts }

// first makes the sums of a part.
func (v *winoStemGrad) first(_, i int, x source, dy, temp, scratch []float32, own *pointers) {
	sv, ss, sd, depth := v.strideV(), v.strideU(), v.strideM(), v.depth()
	cells, vs, ds, in := v.split(scratch)
	clear(cells)
	sums := temp[i*freqs*ss:]
	b0, b1 := v.blocks()*i/v.parts, v.blocks()*(i+1)/v.parts
	for b := b0; b < b1; b++ {
		r0, r1 := v.block(b)
		tiles := (r1 - r0) * v.tw
		v.transform(vs, cells, x, r0, r1, own)
		own.ahead.Reset()
		if b+1 < b1 {
			y0, y1, x0, x1 := v.pixels(v.block(b + 1))
			own.ahead.Add(x.x[x0*v.w*v.ci : x1*v.w*v.ci])
			own.ahead.Add(dy[y0*v.ow*v.co : y1*v.ow*v.co])
		}
		own.ahead.Over(freqs * steps(v.panels, depth, tiles))
		for t0 := 0; t0 < tiles; t0 += v.piece {
			n := min(v.piece, tiles-t0)
			for t := range n {
				for i := range stemSide {
					at, n := v.span(r0*v.tw+t0+t, i)
					row := in[stemSide*i*v.co:][:stemSide*v.co]
					clear(row[copy(row, dy[at:][:n]):])
				}
				v.set.WinogradKernel(ds[t*v.co:], sd, in, v.co, v.co, false)
			}
			for f := range freqs {
				for _, p := range v.panels {
					p.multiply(depth, n, vs[f*sv+t0*stemLanes:], 1, stemLanes, ds[f*sd+p.col:], v.co,
						sums[f*ss+p.col:], v.co, b > b0 || t0 > 0, nil, &own.ahead)
				}
			}
		}
	}
}

func (v *winoStemGrad) lastTasks() int { return v.ci }

// last brings the sums of an input channel back and into the variable's order.
func (v *winoStemGrad) last(_, c int, temp []float32, to *gradTo, scratch []float32, own *pointers) {
	ss := v.strideU()
	dw, rows, dump := scratch[:stemRows*v.co], scratch[stemRows*v.co:][:stemRows*v.co], scratch[2*stemRows*v.co:]
	for l := c; l < v.depth(); l += v.ci {
		for f := range freqs {
			sum := temp[f*ss+l*v.co:][:v.co]
			for p := 1; p < v.parts; p++ {
				v.set.AddTo(sum, temp[(p*freqs+f)*ss+l*v.co:][:v.co])
			}
		}
		for t := range own.out {
			own.out[t] = &dump[0]
			if tap, ok := v.tapOf(l, t); ok {
				own.out[t] = &dw[tap*v.co]
			}
		}
		v.set.WinogradOutput(&own.out, temp[l*v.co:], ss, v.co, nil, false)
	}
	v.set.Transpose(rows, stemRows, dw, v.co, stemRows, v.co)
	for o := range v.co {
		to.put((o*v.ci+c)*49, rows[o*stemRows:][:49])
	}
}

func (c *compiler) winoStemGradWeight(s *plan.Step, op plan.ConvGradWeight) work {
	v := newWinoStemGrad(c.set, forward(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel, s.In[1].Shape))
	return work{
		temps: []int{v.temp()}, scratch: v.scratch(), flops: v.flops(),
		cost:  v.cost(),
		build: func(temps [][]float32) func() { return c.chunked(s, op, v, temps[0]) },
	}
}
