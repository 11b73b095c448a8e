package cpu

import (
	"unsafe"

	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
)

// winoStrides says whether a 3×3 convolution of stride 2, or its data gradient,
// goes by the transforms of its four phases (kernel.Phase).
func (c *compiler) winoStrides(o graph.Conv2D, x, kernelShape graph.Shape) bool {
	return c.mayStride(o, kernelShape) && (c.opt.Conv == convWinograd || worthStride(x, c.set.Lanes))
}

// winoStrideGrads says the same of its weight gradient, which stores transformed
// pixels and gradients: to write and read them has to pay too.
func (c *compiler) winoStrideGrads(o graph.Conv2D, x, kernelShape graph.Shape) bool {
	co, ci := kernelShape[0], kernelShape[1]
	return c.mayStride(o, kernelShape) && (c.opt.Conv == convWinograd || worthStride(x, c.set.Lanes) && (81*ci+25*co)*c.set.Lanes <= 32*ci*co*81/125)
}

func (c *compiler) mayStride(o graph.Conv2D, kernelShape graph.Shape) bool {
	co, ci := kernelShape[0], kernelShape[1]
	if c.opt.Conv == convDirect || c.set.Name == "generic" && c.opt.Conv != convWinograd {
		return false
	}
	return kernelShape[2] == 3 && kernelShape[3] == 3 && o.Stride == 2 && o.Pad == 1 && o.PadEnd == 0 && o.Groups == 1 &&
		ci%kernel.WinogradLanes == 0 && co%kernel.WinogradLanes == 0
}

// strideFewest is the fewest tiles that the transforms of the weights, nine times
// as many as those, pay for.
const strideFewest = 32

func strideTileCount(x graph.Shape) int {
	return x[0] * blocksOf(x[1], 2*tileSide) * blocksOf(x[2], 2*tileSide)
}

// worthStride says whether the transforms pay: where they need less than six
// tenths of the direct sums' time or, on cores that multiply half as fast, three
// quarters. Down or across, a tile of four results needs nine products a pair of
// channels and one of three eight, where the definition takes three for each;
// direct sums, whose tiles are pieces of an image's rows, lose as much time as
// four more positions on each. This tells apart what was measured (docs/log.md).
func worthStride(x graph.Shape, lanes int) bool {
	h, w := blocksOf(x[1], 2), blocksOf(x[2], 2)
	down, across := strideProducts(h), strideProducts(w)
	piece := 14.
	if w >= 6 { // else rows, and images, come together in a tile
		piece = float64(even(w, 14))
	}
	direct := 9 * float64(h*w) * (1 + 4/piece) / (1 + 4./14)
	share := 0.6
	if lanes <= 16 {
		share = 0.75
	}
	return strideTileCount(x) >= strideFewest && float64(down*across) <= share*direct
}

// strideProducts is the products, along n results, of a pair of channels.
func strideProducts(n int) int {
	products := 0
	for _, size := range strideSpans(n) {
		products += 8 // of four points, by two phases
		if size == tileSide {
			products++ // of infinity
		}
	}
	return products
}

const strideFreqs = 25 // numbers of a transform

// strideTiles is the tiles of the results of a convolution of stride 2, or of
// half its data gradient's rows and columns, in images of h×w: 4×4, or 3 where
// they don't fit. A tile of three rows needs no products at infinity of its
// rows, one of three columns none of its columns. In all is their order: those
// with four rows come before those with three and, of the former those with
// three columns first, of the latter last. So those that need products at
// infinity, of rows, of columns or of both, lie side by side.
type strideTiles struct {
	h, w int
	all  []strideTile
	// From lo to hi are those that need the products of frequencies that aren't
	// at infinity, are of rows, of columns, of both.
	lo, hi [4]int
}

type strideTile struct {
	im, y, x    int
	rows, width int // 3 or 4, with those outside of the image
}

func newStrideTiles(n, h, w int) *strideTiles {
	g := &strideTiles{h: h, w: w}
	const full, short = tileSide, tileSide - 1
	for _, size := range [][2]int{{full, short}, {full, full}, {short, full}, {short, short}} {
		for im := range n {
			for y, rows := range strideSpans(h) {
				for x, width := range strideSpans(w) {
					if rows == size[0] && width == size[1] {
						g.all = append(g.all, strideTile{im, y, x, rows, width})
					}
				}
			}
		}
		switch at := len(g.all); size {
		case [2]int{full, short}:
			g.lo[2], g.lo[3] = at, at
		case [2]int{full, full}:
			g.hi[1], g.hi[3] = at, at
		case [2]int{short, full}:
			g.hi[2] = at
		case [2]int{short, short}:
			g.hi[0] = at
		}
	}
	return g
}

// strideSpans cuts n into spans of 4, then of 3.
func strideSpans(n int) func(yield func(start, size int) bool) {
	return func(yield func(start, size int) bool) {
		k := blocksOf(n, tileSide)
		full := max(0, n-(tileSide-1)*k)
		for i, at := 0, 0; i < k; i++ {
			size := tileSide
			if i >= full {
				size--
			}
			if !yield(at, size) {
				return
			}
			at += size
		}
	}
}

// need is the tiles, of n from t0, that need the products of a frequency, and
// which phases take part in it.
func (g *strideTiles) need(f, t0, n int) (from, count int, p0, p1 kernel.Phase) {
	kind := 0
	p0, p1 = 0, kernel.Phases
	if f/5 == 4 {
		kind++
		p0, p1 = kernel.OddOdd, kernel.OddEven+1
	}
	if f%5 == 4 {
		kind += 2
		p0, p1 = min(p0, kernel.EvenOdd), kernel.OddOdd+1
		if kind == 3 {
			p0 = kernel.OddOdd
		}
	}
	from = max(t0, g.lo[kind])
	return from, min(t0+n, g.hi[kind]) - from, p0, p1
}

// run is how many tiles, from t, lie side by side in a row, at most n.
func (g *strideTiles) run(t, n int) int {
	k := 1
	for k < n {
		a, b := g.all[t+k-1], g.all[t+k]
		if a.im != b.im || a.y != b.y || a.x+a.width != b.x {
			break
		}
		k++
	}
	return k
}

// strideLoader transforms pixels, all phases of an image twice as large as the
// tiles', or dy. Where pixels are to be normalised first, it does so for tiles
// that lie side by side, which share some, in scratch.
type strideLoader struct {
	set     *kernel.Set
	tiles   *strideTiles
	h, w, c int // of the source
	back    bool
	load    bool
	zeros   []float32
}

const strideSide = 2*tileSide + 1 // pixels a side under a tile, all phases

// scratch is the floats that transform wants for n tiles.
func (l *strideLoader) scratch(n int) int {
	if !l.load {
		return 0
	}
	n = min(n, blocksOf(l.tiles.w, tileSide))
	return strideSide * (2*tileSide*n + 1) * l.c
}

// transform brings n tiles, from t0, to v: for each block of channels the phases
// side by side.
func (l *strideLoader) transform(v []float32, to place, t0, n int, x source, scratch []float32, p *pointers) {
	for t := t0; t < t0+n; {
		if l.back {
			l.phase(v[(t-t0)*to.tv:], to, l.tiles.all[t], kernel.OddOdd, x.x, 0, 0, l.h*l.w, l.w, p)
			t++
			continue
		}
		if !l.load {
			l.tile(v[(t-t0)*to.tv:], to, l.tiles.all[t], x.x, 0, 0, l.h*l.w, l.w, p)
			t++
			continue
		}
		k := l.tiles.run(t, t0+n-t)
		first, last := l.tiles.all[t], l.tiles.all[t+k-1]
		y0, lo, hi := 2*first.y-1, max(0, 2*first.x-1), min(l.w, 2*(last.x+tileSide))
		for i := range strideSide {
			if y := y0 + i; y >= 0 && y < l.h {
				x.load(l.set, scratch[i*(hi-lo)*l.c:], ((first.im*l.h+y)*l.w+lo)*l.c, hi-lo, l.c)
			}
		}
		for range k {
			l.tile(v[(t-t0)*to.tv:], to, l.tiles.all[t], scratch, y0, lo, 0, hi-lo, p)
			t++
		}
	}
}

func (l *strideLoader) tile(v []float32, to place, at strideTile, x []float32, y0, x0, image, row int, p *pointers) {
	for phase := range kernel.Phases {
		l.phase(v, to, at, phase, x, y0, x0, image, row, p)
	}
}

// phase transforms a phase of a tile. Pixels lie at x, image pixels from image to
// image and row from row to row, the first that of row y0 and column x0.
func (l *strideLoader) phase(v []float32, to place, at strideTile, phase kernel.Phase, x []float32, y0, x0, image, row int, p *pointers) {
	step, py, px := 1, at.y, at.x
	if !l.back {
		step, py, px = 2, 2*at.y, 2*at.x
		if phase.OddRows() {
			py--
		}
		if phase.OddColumns() {
			px--
		}
	}
	in := (*[25]*float32)(p.in[:])
	for i := range 5 {
		to := in[5*i : 5*i+5 : 5*i+5]
		y := py + step*i
		inside := uint(y) < uint(l.h)
		from := (at.im*image + (y-y0)*row + px - x0) * l.c
		for j := range to {
			if inside && uint(px+step*j) < uint(l.w) {
				to[j] = &x[from]
			} else {
				to[j] = &l.zeros[0]
			}
			from += step * l.c
		}
	}
	for c := 0; ; c += to.cb {
		n := min(to.cb, l.c-c)
		if l.back {
			l.set.StrideInput(v, to.sv, phase, in, n)
		} else {
			l.set.StrideInput(v[int(phase)*n:], to.sv, phase, in, n)
		}
		if c+to.cb >= l.c {
			return
		}
		for i, from := range in {
			in[i] = (*float32)(unsafe.Add(unsafe.Pointer(from), 4*to.cb))
		}
		v = v[to.cs:]
	}
}

// winoStride is a 3×3 convolution of stride 2, or its data gradient, by the
// transforms of its phases. A product's depth is, forward, the input channels
// of all phases that take part in a frequency, so that it sums over them; for
// the data gradient, whose phases share the transformed dy, they are side by
// side in its columns. Otherwise it is as wino: V[frequency][tile][phase,
// channel], U[frequency][panel][phase, input channel][column], and with few
// channels a task is a block of tiles, with U stored, with many some output
// channels of more tiles, with V stored.
type winoStride struct {
	*corr
	set    *kernel.Set
	tiles  *strideTiles
	back   bool
	stored bool // V; U otherwise
	block  int  // tiles
	outs   int  // output channels at a time
	depth  int  // input channels at a time
	pixels strideLoader
}

const (
	// With few channels: tiles a task, forward and back, and output channels at a
	// time, so that the products stay in the second-level cache.
	strideTiles1, strideOuts1         = 28, 256
	strideTiles1Back, strideOuts1Back = 56, 32
	// With many also input channels at a time.
	strideTilesN                      = 128
	strideOutsN, strideDepthN         = 64, 32
	strideOutsNBack, strideDepthNBack = 32, 64
)

// newWinoStride is forward's correlation, or with back one phase of backward's,
// whose shapes and weights are all that counts.
func newWinoStride(set *kernel.Set, c *corr, back, load bool) *winoStride {
	c.panels, c.cols = panelsFor(set, c.co)
	h, w := c.oh, c.ow
	if back {
		h, w = c.h, c.w
	}
	v := &winoStride{corr: c, set: set, tiles: newStrideTiles(c.n, h, w), back: back}
	v.pixels = strideLoader{set, v.tiles, c.h, c.w, c.ci, back, load, make([]float32, c.ci)}
	var n int
	switch v.stored = c.ci*c.co >= storeU; {
	case v.stored && back:
		n, v.outs, v.depth = strideTilesN, strideOutsNBack, strideDepthNBack
	case v.stored:
		n, v.outs, v.depth = strideTilesN, strideOutsN, strideDepthN
	case back:
		n, v.outs, v.depth = strideTiles1Back, strideOuts1Back, c.ci
	default:
		n, v.outs, v.depth = strideTiles1, strideOuts1, c.ci
	}
	v.outs, v.depth = min(v.outs, c.co), min(v.depth, c.ci)
	v.block = paired(v.count(), n)
	if !v.stored && blocksOf(v.count(), v.block) < 4 { // too few to share out
		v.block = min(v.block, max(set.Tiles[0].MR, blocksOf(v.count(), 4)))
	}
	return v
}

func (v *winoStride) count() int { return len(v.tiles.all) }

func (v *winoStride) flops() float64 {
	return 2 * float64(v.n) * float64(v.tiles.h*v.tiles.w) * 9 * float64(v.ci*v.co)
}

// cost counts the products that the tiles need; the transforms' share is small.
func (v *winoStride) cost() float64 {
	return 2 * float64(v.n*strideProducts(v.tiles.h)*strideProducts(v.tiles.w)) * float64(v.ci*v.co)
}

// wide and deep are how many phases a product has in its columns and its depth.
func (v *winoStride) wide() int {
	if v.back {
		return int(kernel.Phases)
	}
	return 1
}

func (v *winoStride) deep() int { return int(kernel.Phases) / v.wide() }

// strides says how V lies, and the floats from tile to tile and from frequency
// to frequency of the products.
func (v *winoStride) strides() (in place, tm, sm int) {
	tm = v.wide()*min(v.outs, v.co) + gap
	sm = apart(v.block * tm)
	if !v.stored {
		in = place{tv: v.deep()*v.ci + gap, cb: v.ci}
		in.sv = apart(v.block * in.tv)
		return in, tm, sm
	}
	in = place{tv: v.deep() * v.depth, cb: v.depth}
	in.cs = v.count() * in.tv
	in.sv = apart(blocksOf(v.ci, in.cb) * in.cs)
	return in, tm, sm
}

// strideU is the floats from a frequency's transformed weights to the next's,
// all of them or those of a task at a time.
func (v *winoStride) strideU() int {
	if v.stored {
		return apart(int(kernel.Phases) * v.outs * v.depth)
	}
	return apart(int(kernel.Phases) * v.ci * v.co)
}

func (v *winoStride) packedLen() int {
	if v.stored {
		return 0
	}
	return strideFreqs * v.strideU()
}

func (v *winoStride) inputLen() int {
	if !v.stored {
		return 0
	}
	in, _, _ := v.strides()
	return strideFreqs * in.sv
}

func (v *winoStride) scratch() int {
	in, _, sm := v.strides()
	sorted := 9 * packChannels * maxCols
	if v.stored {
		return max(strideFreqs*(sm+v.strideU())+sorted+v.co, v.pixels.scratch(v.inputTiles()))
	}
	return max(sorted, strideFreqs*(in.sv+sm)+v.co+v.pixels.scratch(v.block))
}

func (v *winoStride) blocks() int { return blocksOf(v.count(), v.block) }

func (v *winoStride) inputTasks() int {
	if !v.stored {
		return 0
	}
	return blocksOf(v.count(), v.inputTiles())
}

// inputTiles is the tiles of an input task.
func (v *winoStride) inputTiles() int { return min(fewer, blocksOf(v.count(), 8)) }

// input fills V's part of a few tiles.
func (v *winoStride) input(i int, j *job, scratch []float32, p *pointers) {
	in, _, _ := v.strides()
	t0 := i * v.inputTiles()
	v.pixels.transform(j.inputs[t0*in.tv:], in, t0, min(v.inputTiles(), v.count()-t0), j.x, scratch, p)
}

func (v *winoStride) packTasks() int {
	if v.stored {
		return 0
	}
	return v.corr.packTasks()
}

// pack fills U's part of a few input channels.
func (v *winoStride) pack(i int, us, w, scratch []float32) {
	chunks := v.ci / packChannels
	l0, p := i%chunks*packChannels, v.panels[i/chunks]
	o0 := p.col / v.outs * v.outs
	u := us[o0*int(kernel.Phases)*v.ci:]
	v.transformWeights(u, v.strideU(), p, o0, min(v.outs, v.co-o0), v.ci, l0, l0, w, scratch)
}

// panel is where, in U, a phase of a panel begins: of outs columns from o0 and
// depth input channels.
func (v *winoStride) panel(p panel, o0, outs, depth int, phase kernel.Phase) int {
	if v.back {
		return int(phase)*outs*depth + (p.col-o0)*depth
	}
	return (p.col-o0)*int(kernel.Phases)*depth + int(phase)*depth*p.tile.NR
}

// transformWeights brings 16 input channels of a panel, from channel l0, to
// number l and those after it of depth in U.
func (v *winoStride) transformWeights(u []float32, step int, p panel, o0, outs, depth, l, l0 int, w, sorted []float32) {
	nr := p.tile.NR
	u = u[v.panel(p, o0, outs, depth, 0)+l*nr:]
	apart := v.panel(p, o0, outs, depth, 1) - v.panel(p, o0, outs, depth, 0)
	if !v.back {
		// A column's weights lie side by side for all input channels.
		v.set.Transpose(sorted, nr, w[p.col*v.out+l0*v.in:], v.out, nr, packChannels*9)
	}
	for l := range packChannels {
		if !v.back {
			v.set.StrideKernel(u[l*nr:], step, apart, sorted[l*9*nr:], nr, nr, false)
			continue
		}
		// An input channel's weights lie side by side for all columns.
		v.set.Transpose(sorted, nr, w[(l0+l)*v.in+p.col*v.out:], v.out, nr, 9)
		v.set.StrideKernel(u[l*nr:], step, apart, sorted, nr, nr, true)
	}
}

func (v *winoStride) tasks() int {
	if !v.stored {
		return v.blocks()
	}
	return v.blocks() * blocksOf(v.co, v.outs)
}

// task is the tiles and the output channels of a task.
func (v *winoStride) task(i int) (t0, n, o0, outs int) {
	t0 = i % v.blocks() * v.block
	n = min(v.block, v.count()-t0)
	if !v.stored {
		return t0, n, 0, v.co
	}
	o0 = i / v.blocks() * v.outs
	return t0, n, o0, min(v.outs, v.co-o0)
}

func (v *winoStride) regions(i int, to []region) []region {
	t0, n, o0, outs := v.task(i)
	k := v.scale()
	for t := t0; t < t0+n; {
		run := v.tiles.run(t, t0+n-t)
		first, last := v.tiles.all[t], v.tiles.all[t+run-1]
		for y := k * first.y; y < min(v.dh, k*(first.y+first.rows)); y++ {
			row := (first.im*v.dh + y) * v.dw
			to = append(to, region{row + k*first.x, row + min(v.dw, k*(last.x+last.width)), o0, o0 + outs})
		}
		t += run
	}
	return to
}

// scale is how many results a tile has for each of its positions, a side.
func (v *winoStride) scale() int {
	if v.back {
		return 2
	}
	return 1
}

// reads takes the rows of pixels from a task's first tile to its last, which may
// be more than the tiles' own.
func (v *winoStride) reads(i int, j *job, a *kernel.Ahead) {
	t0, n, o0, outs := v.task(i)
	first, last := v.tiles.all[t0], v.tiles.all[t0+n-1]
	if last.im*v.tiles.h+last.y < first.im*v.tiles.h+first.y {
		return // tiles of two kinds
	}
	lo, hi := first.y, last.y+last.rows
	if !v.stored {
		x0, x1 := max(0, 2*lo-1), min(v.h, 2*hi)
		if v.back {
			x0, x1 = max(0, lo-1), min(v.h, hi+1)
		}
		a.Add(j.x.x[(first.im*v.h+x0)*v.w*v.ci : (last.im*v.h+x1)*v.w*v.ci])
	}
	k := v.scale()
	from, to := (first.im*v.dh+k*lo)*v.dw, (last.im*v.dh+min(v.dh, k*hi))*v.dw
	j.fetchResults(region{from, to, o0, o0 + outs}, v.co, a)
}

func (v *winoStride) run(i int, j *job, scratch []float32, own *pointers) {
	in, tm, sm := v.strides()
	su, us := v.strideU(), j.packed
	t0, n, o0, outs := v.task(i)
	ms, scratch := scratch[:strideFreqs*sm], scratch[strideFreqs*sm:]
	dump, scratch := scratch[:v.co], scratch[v.co:]
	var vs []float32
	if v.stored {
		vs = j.inputs[t0*in.tv:]
		us, scratch = scratch[:strideFreqs*su], scratch[strideFreqs*su:]
	} else {
		vs, scratch = scratch[:strideFreqs*in.sv], scratch[strideFreqs*in.sv:]
		v.pixels.transform(vs, in, t0, n, j.x, scratch, own)
	}
	for c0 := o0; c0 < o0+outs; c0 += v.outs {
		c := min(v.outs, o0+outs-c0)
		panels := columns(v.panels, c0, c)
		for l0 := 0; l0 < v.ci; l0 += v.depth {
			depth := min(v.depth, v.ci-l0)
			u := us
			if v.stored {
				for _, p := range panels {
					for l := 0; l < depth; l += packChannels {
						v.transformWeights(us, su, p, c0, c, depth, l, l0+l, j.w, scratch)
					}
				}
			} else {
				u = us[c0*int(kernel.Phases)*depth:]
			}
			at := l0 / v.depth * in.cs
			for f := range strideFreqs {
				own.ahead.Reset()
				if f+1 < strideFreqs {
					v.next(f+1, t0, n, c0, c, depth, vs[(f+1)*in.sv+at:], in.tv, u[(f+1)*su:], panels, &own.ahead)
					if from, count, _, _ := v.tiles.need(f+1, t0, n); l0 > 0 && count > 0 {
						own.ahead.AddRows(ms[(f+1)*sm+(from-t0)*tm:], v.wide()*c, count, tm)
					}
					_, count, p0, p1 := v.tiles.need(f, t0, n)
					own.ahead.Over(steps(panels, count, int(p1-p0)*depth))
				}
				v.multiply(f, t0, n, c0, c, depth, vs[f*in.sv+at:], in.tv, u[f*su:], ms[f*sm:], tm, l0 > 0, panels, &own.ahead)
			}
		}
		v.output(t0, n, j, c0, c, ms, dump, own)
	}
}

// next adds what the products of a frequency read.
func (v *winoStride) next(f, t0, n, o0, c, depth int, vs []float32, tv int, us []float32, panels []panel, a *kernel.Ahead) {
	from, n, p0, p1 := v.tiles.need(f, t0, n)
	if n <= 0 {
		return
	}
	phases := int(p1 - p0)
	switch {
	case v.back:
		a.AddRows(vs[(from-t0)*tv:], depth, n, tv)
		a.Add(us[int(p0)*c*depth : int(p1)*c*depth])
		return
	case phases == int(kernel.Phases):
		a.Add(us[:phases*c*depth])
	default:
		for _, p := range panels {
			a.Add(us[v.panel(p, o0, c, depth, p0):][:phases*depth*p.tile.NR])
		}
	}
	a.AddRows(vs[(from-t0)*tv+int(p0)*depth:], phases*depth, n, tv)
}

// multiply is the products of a frequency, c output channels from o0.
func (v *winoStride) multiply(f, t0, n, o0, c, depth int, vs []float32, tv int, us, ms []float32, tm int, acc bool, panels []panel, ahead *kernel.Ahead) {
	from, n, p0, p1 := v.tiles.need(f, t0, n)
	if n <= 0 {
		return
	}
	vs, ms = vs[(from-t0)*tv:], ms[(from-t0)*tm:]
	if !v.back {
		vs = vs[int(p0)*depth:]
		for _, p := range panels {
			p.multiply(n, int(p1-p0)*depth, vs, tv, 1, us[v.panel(p, o0, c, depth, p0):], p.tile.NR, ms[p.col-o0:], tm, acc, nil, ahead)
		}
		return
	}
	for phase := p0; phase < p1; phase++ {
		for _, p := range panels {
			p.multiply(n, depth, vs, tv, 1, us[v.panel(p, o0, c, depth, phase):], p.tile.NR, ms[int(phase)*c+p.col-o0:], tm, acc, nil, ahead)
		}
	}
}

// columns is the panels of some output channels.
func columns(panels []panel, o0, outs int) []panel {
	i := 0
	for panels[i].col < o0 {
		i++
	}
	k := i
	for k < len(panels) && panels[k].col < o0+outs {
		k++
	}
	return panels[i:k]
}

// output brings the products of n tiles, of c channels from o0, back.
func (v *winoStride) output(t0, n int, j *job, o0, c int, ms, dump []float32, p *pointers) {
	_, tm, sm := v.strides()
	y, stream := j.y[o0:], j.streams()
	for t := range n {
		for phase := range kernel.Phases {
			m := ms[t*tm:]
			if v.back {
				m = m[int(phase)*c:]
			} else if phase != kernel.OddOdd {
				continue // all phases are in one sum
			}
			v.square(&p.out, v.tiles.all[t0+t], phase, y, dump)
			if j.add == nil {
				v.set.StrideOutput(phase, &p.out, m, sm, c, nil, stream)
				continue
			}
			v.square(&p.add, v.tiles.all[t0+t], phase, j.add[o0:], dump)
			v.set.StrideOutput(phase, &p.out, m, sm, c, &p.add, false)
		}
	}
}

// square is the 4×4 results of a tile, or those of a phase; outside of the image
// and of the tile it points at other.
func (v *winoStride) square(p *[16]*float32, at strideTile, phase kernel.Phase, y, other []float32) {
	k, y0, x0 := v.scale(), at.y, at.x
	if v.back {
		y0, x0 = 2*y0, 2*x0
		if phase.OddRows() {
			y0++
		}
		if phase.OddColumns() {
			x0++
		}
	}
	for i := range tileSide {
		row := p[tileSide*i : tileSide*i+tileSide : tileSide*i+tileSide]
		from := ((at.im*v.dh+y0+k*i)*v.dw + x0) * v.dc
		inside := i < at.rows && y0+k*i < v.dh
		for j := range row {
			if inside && j < at.width && x0+k*j < v.dw {
				row[j] = &y[from]
			} else {
				row[j] = &other[0]
			}
			from += k * v.dc
		}
	}
}
