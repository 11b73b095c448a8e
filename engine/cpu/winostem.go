package cpu

import (
	"unsafe"

	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// winoStems says whether a convolution of images, or its weight gradient, goes
// by winoStem's transforms.
func (c *compiler) winoStems(o graph.Conv2D, x, kernelShape graph.Shape, load bool) bool {
	co, ci := kernelShape[0], kernelShape[1]
	if c.opt.Conv == convDirect || load || kernelShape[2] != 7 || kernelShape[3] != 7 || o.Stride != 2 || o.Pad != 3 || o.PadEnd != 0 ||
		o.Groups != 1 || 4*ci > stemLanes || co%kernel.WinogradLanes != 0 || x[1]%2 != 0 || x[2]%2 != 0 {
		return false
	}
	return c.opt.Conv == convWinograd || c.set.Name != "generic" && worthStem(x, ci, co)
}

// worthStem says whether the transforms pay: their multiplications are 36·4 for
// each tile and pair of channels, the definition's 49 for each position.
func worthStem(x graph.Shape, ci, co int) bool {
	h, w := x[1]/2, x[2]/2
	tiles := x[0] * blocksOf(h, stemSide) * blocksOf(w, stemSide)
	return tiles >= stemFewest && stemCost(tiles, ci, co) <= 49*x[0]*h*w*ci*co
}

// stemCost is the multiplications of products and of transforms.
func stemCost(tiles, ci, co int) int {
	return tiles * (freqs*4*ci*co + stemTransforms*(stemLanes+co))
}

const (
	stemSide       = 3  // a tile has so many results a side
	stemLanes      = 16 // floats of a cell
	stemTiles      = 42 // tiles of 64 channels at a time: three times the rows of the largest kernel
	stemFewest     = 32
	stemTransforms = 400
)

// stem is a 7×7 convolution of stride 2 and padding 3 of images of up to four
// channels, as one of stride 1 over cells of 2×2 pixels: of 4×4 taps, of which
// the first row and column of pixels are zero. By F(3×3, 4×4) 36 products of
// 4·ci make 3×3 results, where the definition takes 9 of 49·ci.
//
// F(3×3, 4×4) is F(4×4, 3×3), whose sum of products is the same in results and
// taps, with both in each other's place: weights take the transform of
// its gradients, and results that of its kernels' gradients.
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
	v.rows = even(v.n*v.th, max(1, stemTiles/v.tw))
	v.piece = even(v.rows*v.tw, max(set.Tiles[0].MR, stemTiles*64/c.co))
	return v
}

func (v *stem) depth() int   { return 4 * v.ci }
func (v *stem) tiles() int   { return v.n * v.th * v.tw }
func (v *stem) strideV() int { return apart(v.rows * v.tw * stemLanes) }
func (v *stem) strideU() int { return apart(v.depth() * v.co) }
func (v *stem) strideM() int { return apart(v.piece * v.co) }

// cells is the cells under a row of tiles, across.
func (v *stem) cells() int { return stemSide * (v.tw + 1) }

// blocks is how many blocks of rows there are, block the rows of one.
func (v *stem) blocks() int { return blocksOf(v.n*v.th, v.rows) }

func (v *stem) block(i int) (r0, r1 int) { return i * v.rows, min(v.n*v.th, (i+1)*v.rows) }

// scratch is the floats of cells, V, products and a tile's results or gradients.
func (v *stem) scratch() int {
	return max(6*v.cells()*stemLanes+freqs*(v.strideV()+v.strideM())+9*v.co, 49*v.ci*maxCols)
}

// pixels is the rows of results, counted over all images, of rows r0 to r1 of
// tiles, and those of images that they read.
func (v *stem) pixels(r0, r1 int) (y0, y1, x0, x1 int) {
	a, b := r0/v.th, (r1-1)/v.th
	top, end := r0%v.th*stemSide, ((r1-1)%v.th+1)*stemSide
	return a*v.oh + top, b*v.oh + min(v.oh, end), a*v.h + max(0, 2*top-3), b*v.h + min(v.h, 2*end+2)
}

// transform brings rows r0 to r1 of tiles to V. What cells hold behind their
// pixels, and then V, is of no use but finite.
func (v *stem) transform(vs, cells, x []float32, r0, r1 int, p *pointers) {
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
func (v *stem) load(cells, x []float32, r int) {
	width := v.cells() * stemLanes
	for i := range 6 {
		row := cells[i*width:][:width]
		y := r%v.th*stemSide - 2 + i
		if y < 0 || 2*y >= v.h {
			clear(row)
			continue
		}
		clear(row[:2*stemLanes])
		clear(row[(2+v.w/2)*stemLanes:])
		at := (r/v.th*v.h + 2*y) * v.w * v.ci
		spreadPairs(row[2*stemLanes:], x[at:], v.w/2, v.ci)
		spreadPairs(row[2*stemLanes+2*v.ci:], x[at+v.w*v.ci:], v.w/2, v.ci)
	}
}

// spreadPairs copies pairs of pixels of ci channels, stemLanes apart. All but
// those at x's end take with them what lies behind.
func spreadPairs(dst, x []float32, pairs, ci int) {
	type eight struct{ a, b, c, d uint64 } // an array would be copied by a call
	for i := range pairs {
		if len(x) < 8 {
			copyRun(dst[:2*ci], x)
		} else {
			_ = dst[7]
			*(*eight)(unsafe.Pointer(&dst[0])) = *(*eight)(unsafe.Pointer(&x[0]))
		}
		if i < pairs-1 {
			dst, x = dst[stemLanes:], x[2*ci:]
		}
	}
}

// square calls f for the rows of a tile's results that are in the image: number
// i, n pixels from element at on.
func (v *stem) square(tile int, f func(i, n, at int)) {
	r, x := tile/v.tw, tile%v.tw*stemSide
	im, y := r/v.th, r%v.th*stemSide
	for i := range min(stemSide, v.oh-y) {
		f(i, min(stemSide, v.ow-x), ((im*v.oh+y+i)*v.ow+x)*v.co)
	}
}

// tap says which of the 49 taps cell channel l has at tap t of 4×4.
func (v *stem) tap(l, t int) (tap int, ok bool) {
	y, x := 2*(t/4)+l/(2*v.ci)-1, 2*(t%4)+l/v.ci%2-1
	return 7*y + x, y >= 0 && x >= 0
}

// winoStem is the convolution. A task is rows of tiles: 36 products for all
// output channels, with weights U[frequency][panel][cell][column].
type winoStem struct {
	stem
	taps [][16]*float32 // for each panel, of those that pack transforms
	zero []float32
}

func newWinoStem(set *kernel.Set, c *corr) *winoStem {
	v := &winoStem{stem: newStem(set, c), zero: make([]float32, maxCols)}
	v.taps = make([][16]*float32, len(v.panels))
	return v
}

func (v *winoStem) cost() float64  { return 2 * float64(stemCost(v.tiles(), v.ci, v.co)) }
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
			if tap, ok := v.tap(l, t); ok {
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
	n := 6 * v.cells() * stemLanes
	cells, vs, ms, out := scratch[:n], scratch[n:], scratch[n+freqs*sv:], scratch[n+freqs*(sv+sm):][:9*v.co]
	if own.first(j) {
		clear(cells)
	}
	r0, r1 := v.block(i)
	v.transform(vs, cells, j.x.x, r0, r1, own)
	tiles := (r1 - r0) * v.tw
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
			v.square(r0*v.tw+t0+t, func(i, n, at int) { copy(j.y[at:][:n*v.co], out[stemSide*i*v.co:]) })
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
	n := 6 * v.cells() * stemLanes
	cells, vs, ds, in := scratch[:n], scratch[n:], scratch[n+freqs*sv:], scratch[n+freqs*(sv+sd):][:9*v.co]
	clear(cells)
	sums := temp[i*freqs*ss:]
	b0, b1 := v.blocks()*i/v.parts, v.blocks()*(i+1)/v.parts
	for b := b0; b < b1; b++ {
		r0, r1 := v.block(b)
		tiles := (r1 - r0) * v.tw
		v.transform(vs, cells, x.x, r0, r1, own)
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
				clear(in)
				v.square(r0*v.tw+t0+t, func(i, n, at int) { copy(in[stemSide*i*v.co:], dy[at:][:n*v.co]) })
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
			if tap, ok := v.tap(l, t); ok {
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
		cost:  2 * float64(stemCost(v.tiles(), v.ci, v.co)),
		build: func(temps [][]float32) func() { return c.chunked(s, op, v, temps[0]) },
	}
}
