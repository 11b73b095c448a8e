package cpu

import (
	"unsafe"

	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
)

// winoStrides says whether a 3×3 convolution of stride 2 goes by the transforms of
// its four phases (kernel.Phase).
func (c *compiler) winoStrides(o graph.Conv2D, x, kernelShape graph.Shape) bool {
	return c.mayStride(o, kernelShape) && (c.opt.Conv == convWinograd || worthStride(c.set, x, 42, 10, kernelShape[0]))
}

// winoStrideInputs says the same of its data gradient.
func (c *compiler) winoStrideInputs(o graph.Conv2D, x, kernelShape graph.Shape) bool {
	return c.mayStride(o, kernelShape) && (c.opt.Conv == convWinograd || worthStride(c.set, x, 6, 3, kernelShape[1]))
}

// winoStrideGrads says the same of its weight gradient, which stores transformed
// pixels and gradients: where stores are slow that has to pay too.
func (c *compiler) winoStrideGrads(o graph.Conv2D, x, kernelShape graph.Shape) bool {
	co, ci := kernelShape[0], kernelShape[1]
	return c.mayStride(o, kernelShape) && (c.opt.Conv == convWinograd ||
		worthStride(c.set, x, 11, 5.5, ci) && !(c.set.SlowStores && 81*ci+25*co > ci*co*81/125))
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

// worthStride says whether the transforms pay: where their products take at most
// three quarters of the direct sums' time or, on cores that store slowly, six
// tenths, and the transforms don't eat up the rest. Of direct sums' time these take
// wide, or half where a core multiplies 16 numbers a cycle, over the channels that
// share them. Down or across, a tile of four results needs nine products a pair of
// channels and one of three eight, where the definition takes three for each;
// direct sums, whose tiles are pieces of an image's rows, lose as much time as four
// more positions on each. This tells apart what was measured
// (docs/performance.md).
func worthStride(set *kernel.Set, x graph.Shape, wide, half float64, channels int) bool {
	h, w := blocksOf(x[1], 2), blocksOf(x[2], 2)
	down, across := strideProducts(h), strideProducts(w)
	piece := 14.
	if w >= 6 { // else rows, and images, come together in a tile
		piece = float64(even(w, 14))
	}
	direct := 9 * float64(h*w) * (1 + 4/piece) / (1 + 4./14)
	most := 0.75
	if set.SlowStores {
		most = 0.6
	}
	if set.Lanes <= 16 {
		wide = half
	}
	share := float64(down*across) / direct
	return strideTileCount(x) >= strideFewest && share <= most && share+wide/float64(channels) <= 0.95
}

// strideProducts is the products, along n results, of a pair of channels: of four
// points by two phases and, of a tile of four results, of infinity.
func strideProducts(n int) int { return cutOf(n).products(9) }

const (
	strideNumbers = 5  // of a transform, a side
	strideFreqs   = 25 // in all
)

// strideTiles is the tiles of the results of a convolution of stride 2, or of half
// its data gradient's rows and columns, in images of h×w.
func strideTiles(n, h, w int) *tiles { return newTiles(n, h, w, strideNumbers) }

// stridePhases is which phases take part in the products of a frequency.
func stridePhases(f int) (p0, p1 kernel.Phase) {
	down, across := f/strideNumbers == strideNumbers-1, f%strideNumbers == strideNumbers-1
	switch {
	case down && across:
		return kernel.OddOdd, kernel.OddOdd + 1
	case down:
		return kernel.OddOdd, kernel.OddEven + 1
	case across:
		return kernel.EvenOdd, kernel.OddOdd + 1
	}
	return 0, kernel.Phases
}

// strideLoader transforms pixels, all phases of an image twice as large as the
// tiles', or dy. Where pixels are to be normalised first, it does so for tiles
// that lie side by side, which share some, in scratch.
type strideLoader struct {
	set     *kernel.Set
	tiles   *tiles
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
	return strideSide * (2*tileSide*l.tiles.longest(n) + 1) * l.c
}

// transform brings n tiles, from t0, to v: for each block of channels the phases
// side by side.
func (l *strideLoader) transform(v []float32, to place, t0, n int, x source, scratch []float32, p *pointers) {
	whole := wholeImages(x.x, l.h, l.w, l.c)
	from := whole
	if l.load {
		from.x, from.image = scratch, 0
	}
	for t := t0; t < t0+n; {
		a, k := l.tiles.run(t, t0+n-t)
		if l.load {
			from.y0, from.x0 = 2*a.y-1, max(0, 2*a.x-1)
			from.row = min(l.w, 2*(a.x+(k-1)*a.width+tileSide)) - from.x0
			for i := range strideSide {
				if y := from.y0 + i; y >= 0 && y < l.h {
					x.load(l.set, scratch[i*from.row*l.c:], (a.im*whole.image+y*whole.row+from.x0)*l.c, from.row, l.c)
				}
			}
		}
		for range k {
			l.tile(v[(t-t0)*to.tv:], to, a, &from, p)
			a.x += a.width
			t++
		}
	}
}

func (l *strideLoader) tile(v []float32, to place, a tile, from *pixels, p *pointers) {
	if l.back {
		l.phase(v, to, tile{a.im, a.y, a.x, strideNumbers, strideNumbers}, 1, kernel.OddOdd, from, p)
		return
	}
	for phase := range kernel.Phases {
		first := firstOf(phase, tile{a.im, a.y, a.x, strideNumbers, strideNumbers}, -1)
		if !phase.OddRows() {
			first.rows-- // of which the transform takes four, and no more are there
		}
		if !phase.OddColumns() {
			first.width--
		}
		l.phase(v, to, first, 2, phase, from, p)
	}
}

// firstOf is the first pixel of a phase at a tile's place, among all phases:
// those of odd rows and columns are odd, 1 or -1, away from the others.
func firstOf(phase kernel.Phase, a tile, odd int) tile {
	a.y, a.x = 2*a.y, 2*a.x
	if phase.OddRows() {
		a.y += odd
	}
	if phase.OddColumns() {
		a.x += odd
	}
	return a
}

// phase transforms a phase of a tile, every step-th pixel from a on.
func (l *strideLoader) phase(v []float32, to place, a tile, step int, phase kernel.Phase, from *pixels, p *pointers) {
	in := (*[strideFreqs]*float32)(p.in[:])
	from.point(in[:], strideNumbers, a, step, &l.zeros[0])
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
	tiles  *tiles
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
	v := &winoStride{corr: c, set: set, tiles: strideTiles(c.n, h, w), back: back}
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
	v.block = paired(v.tiles.count(), n)
	if !v.stored && v.blocks() < 4 { // too few to share out
		v.block = min(v.block, max(set.Tiles[0].MR, blocksOf(v.tiles.count(), 4)))
	}
	return v
}

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
	in.cs = v.tiles.count() * in.tv
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

func (v *winoStride) blocks() int { return blocksOf(v.tiles.count(), v.block) }

func (v *winoStride) inputTasks() int {
	if !v.stored {
		return 0
	}
	return blocksOf(v.tiles.count(), v.inputTiles())
}

// inputTiles is the tiles of an input task.
func (v *winoStride) inputTiles() int { return min(fewer, blocksOf(v.tiles.count(), 8)) }

// input fills V's part of a few tiles.
func (v *winoStride) input(i int, j *job, scratch []float32, p *pointers) {
	in, _, _ := v.strides()
	t0 := i * v.inputTiles()
	v.pixels.transform(j.inputs[t0*in.tv:], in, t0, min(v.inputTiles(), v.tiles.count()-t0), j.x, scratch, p)
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
	n = min(v.block, v.tiles.count()-t0)
	if !v.stored {
		return t0, n, 0, v.co
	}
	o0 = i / v.blocks() * v.outs
	return t0, n, o0, min(v.outs, v.co-o0)
}

func (v *winoStride) regions(i int, to []region) []region {
	t0, n, o0, outs := v.task(i)
	return v.tiles.regions(t0, n, v.scale(), v.dh, v.dw, o0, o0+outs, to)
}

// scale is how many results a tile has for each of its positions, a side.
func (v *winoStride) scale() int {
	if v.back {
		return 2
	}
	return 1
}

func (v *winoStride) reads(i int, j *job, a *kernel.Ahead) {
	t0, n, o0, outs := v.task(i)
	lo, hi := v.tiles.rows(t0, n)
	if lo == hi {
		return
	}
	// at is where a row of tiles begins in images of h rows, k times as many.
	at := func(row, k, h int) int { return row/v.tiles.h*h + min(h, row%v.tiles.h*k) }
	switch {
	case v.stored:
	case v.back:
		a.Add(j.x.x[max(0, lo-1)*v.w*v.ci : min(v.n*v.h, hi+1)*v.w*v.ci])
	default:
		a.Add(j.x.x[max(0, at(lo, 2, v.h)-1)*v.w*v.ci : at(hi, 2, v.h)*v.w*v.ci])
	}
	k := v.scale()
	j.fetchResults(region{at(lo, k, v.dh) * v.dw, at(hi, k, v.dh) * v.dw, o0, o0 + outs}, v.co, a)
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
					if from, count := v.tiles.need(f+1, t0, n); l0 > 0 && count > 0 {
						own.ahead.AddRows(ms[(f+1)*sm+(from-t0)*tm:], v.wide()*c, count, tm)
					}
					_, count := v.tiles.need(f, t0, n)
					p0, p1 := stridePhases(f)
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
	from, n := v.tiles.need(f, t0, n)
	if n == 0 {
		return
	}
	p0, p1 := stridePhases(f)
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
	from, n := v.tiles.need(f, t0, n)
	if n == 0 {
		return
	}
	p0, p1 := stridePhases(f)
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
	y, add, stream := wholeImages(j.y[o0:], v.dh, v.dw, v.dc), pixels{}, j.streams()
	if j.add != nil {
		add = wholeImages(j.add[o0:], v.dh, v.dw, v.dc)
	}
	for t, a := range v.tiles.each(t0, n) {
		for phase := range kernel.Phases {
			m, a := ms[t*tm:], a
			if v.back {
				m, a = m[int(phase)*c:], firstOf(phase, a, 1)
			} else if phase != kernel.OddOdd {
				continue // all phases are in one sum
			}
			y.point(p.out[:], tileSide, a, v.scale(), &dump[0])
			if j.add == nil {
				v.set.StrideOutput(phase, &p.out, m, sm, c, nil, stream)
				continue
			}
			add.point(p.add[:], tileSide, a, v.scale(), &dump[0])
			v.set.StrideOutput(phase, &p.out, m, sm, c, &p.add, false)
		}
	}
}
