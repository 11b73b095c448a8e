package cpu

import (
	"unsafe"

	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
)

// Names for Options.Conv.
const (
	convDirect   = "direct"
	convWinograd = "winograd"
)

// winograd says whether a convolution, or a derivative of one, of ci to co
// channels goes by Winograd's transforms.
func (c *compiler) winograd(o graph.Conv2D, x, kernelShape graph.Shape) bool {
	if c.opt.Conv == convDirect {
		return false
	}
	if !threeByThree(o, kernelShape) {
		return false
	}
	if c.opt.Conv == convWinograd {
		return true
	}
	// Plain Go is for being right where there is no assembly: it keeps to the
	// direct sums, whose error is a fifth (docs/log.md, ReLU decisions).
	return c.set.Name != "generic" && worthWinograd(x, kernelShape[1], kernelShape[0])
}

// threeByThree says whether a convolution is one that the transforms can do.
func threeByThree(o graph.Conv2D, kernelShape graph.Shape) bool {
	co, ci := kernelShape[0], kernelShape[1]
	return kernelShape[2] == 3 && kernelShape[3] == 3 && o.Stride == 1 && o.Pad == 1 && o.PadEnd == 0 && o.Groups == 1 &&
		ci%kernel.WinogradLanes == 0 && co%kernel.WinogradLanes == 0
}

// worthWinograd says whether the transforms pay. On few tiles reading the weights
// takes longest, and here they are four times as many: as long as 16 tiles take.
func worthWinograd(x graph.Shape, ci, co int) bool {
	g := winogradTiles(x[0], x[1], x[2])
	return 10*winogradCost(g, 16, ci, co) <= 9*x[0]*x[1]*x[2]*9*ci*co
}

// winogradCost is the multiplications of products, of those of so many tiles at
// least, and of transforms. A tile takes 36 for each pair of channels, or 30 or 25
// if it has three results down, across or both, where the definition takes 9 for
// each position. Transforms cost as much as 864 a channel, which fits measured
// times of 16 to 512 channels on images of 2×2 to 32×32 with avx512, and well
// enough with avx2.
func winogradCost(g *tiles, least, ci, co int) int {
	products := g.n * g.down.products(winoNumbers) * g.across.products(winoNumbers)
	return max(products, least*freqs)*ci*co + g.count()*864*(ci+co)
}

func winogradTiles(n, h, w int) *tiles { return newTiles(n, h, w, winoNumbers) }

const (
	winoNumbers = 6         // of a transform, a side
	freqs       = 36        // in all
	gap         = 16        // floats between the channels of two tiles: no power of two apart
	most        = 28        // tiles a block: two times the rows of the largest kernel
	fewer       = 14        // tiles a task that only transforms pixels
	storeU      = 256 * 256 // transformed weights of so many channels are not stored
	outBlock    = 64        // output channels a task then, with few tiles
	outFew      = 32        // and with more, or where all tiles are one block
	inBlock     = 128       // input channels at a time
	groupMax    = 128       // tiles a task

	// Results of 8 MB or more are stored past the caches.
	streamFloats = 2 << 20
)

// loader transforms pixels. Where they are to be normalised first, it does so
// for the tiles of a row together, which share pixels, in scratch.
type loader struct {
	set   *kernel.Set
	tiles *tiles
	c     int
	load  bool
	zeros []float32
}

// scratch is the floats that transform wants for n tiles.
func (l *loader) scratch(n int) int {
	if !l.load {
		return 0
	}
	return winoNumbers * (tileSide*l.tiles.longest(n) + 2) * l.c
}

// place says where transformed pixels go: tv floats from tile to tile, sv from
// frequency to frequency and, where channels are cut into blocks, cs from each
// block of cb channels to the next.
type place struct{ tv, sv, cb, cs int }

// tile transforms the pixels under a tile to v.
func (l *loader) tile(v []float32, to place, a tile, from *pixels, p *pointers) {
	from.point(p.in[:], winoNumbers, tile{a.im, a.y - 1, a.x - 1, a.rows + 2, a.width + 2}, 1, &l.zeros[0])
	for c := 0; ; c += to.cb {
		l.set.WinogradInput(v, to.sv, &p.in, min(to.cb, l.c-c))
		if c+to.cb >= l.c {
			return
		}
		for i, from := range p.in {
			p.in[i] = (*float32)(unsafe.Add(unsafe.Pointer(from), 4*to.cb))
		}
		v = v[to.cs:]
	}
}

// transform brings n tiles, from t0, to v.
func (l *loader) transform(v []float32, to place, t0, n int, x source, scratch []float32, p *pointers) {
	from := wholeImages(x.x, l.tiles.h, l.tiles.w, l.c)
	if !l.load {
		for t, a := range l.tiles.each(t0, n) {
			l.tile(v[t*to.tv:], to, a, &from, p)
		}
		return
	}
	whole := from
	from.x, from.image = scratch, 0
	for t := t0; t < t0+n; {
		a, k := l.tiles.run(t, t0+n-t)
		from.y0, from.x0 = a.y-1, max(0, a.x-1)
		from.row = min(from.w, a.x+k*a.width+1) - from.x0
		for i := range a.rows + 2 {
			if y := from.y0 + i; y >= 0 && y < from.h {
				x.load(l.set, scratch[i*from.row*l.c:], (a.im*whole.image+y*whole.row+from.x0)*l.c, from.row, l.c)
			}
		}
		for range k {
			l.tile(v[(t-t0)*to.tv:], to, a, &from, p)
			a.x += a.width
			t++
		}
	}
}

// apart is how many floats to put between the numbers of two frequencies that
// take n, a multiple of 16: an odd number of cache lines. The transforms touch
// all 36 at a time; a round number would put them in a few sets of the cache.
func apart(n int) int { return n | cacheLine/4 }

// pointers are a worker's own: to a tile's numbers, to what its products fetch
// meanwhile, and the regions of its task.
type pointers struct {
	ahead    kernel.Ahead // of the next products
	task     kernel.Ahead // of the next task
	in       [36]*float32
	out, add [16]*float32
	regions  []region
	few      [16]*float32 // as in, of winoFew
	result   [4]*float32

	filled *job // whose images are in scratch, made ready for all tasks
	turn   int  // of the job then
}

// first says whether this is the first task of a job that a worker does in a
// run: its scratch then holds nothing of the job's yet.
func (p *pointers) first(j *job) bool {
	if p.filled == j && p.turn == j.turn {
		return false
	}
	p.filled, p.turn = j, j.turn
	return true
}

// wino is a 3×3 correlation of stride 1 by Winograd's transforms: a convolution
// or its data gradient. Tiles of three rows or columns take what tiles of four do,
// with zeros for the sixth pixels and without the products that only enter the
// fourth results. Transformed pixels lie as V[frequency][tile][channel],
// transformed weights as U[frequency][panel][input channel][column], products
// as V: so that products need no packing.
//
// With few channels a task is a block of tiles: transform, 36 products over the
// full depth, transform back, in the second-level cache. With many, where U
// would go through memory, all of V is stored and a task is some output
// channels of a group of tiles, which transforms the weights as it goes, even
// if they could be kept: to read four times as many floats takes longer. With
// few tiles, where reading U takes longest, a task is some output channels of all
// tiles, so that each worker reads a part of U; each makes all of V for itself.
type wino struct {
	*corr
	tiles  *tiles
	set    *kernel.Set
	order  winoOrder
	block  int // tiles
	outs   int // channels a task, but for byTiles
	pixels loader
}

// winoOrder is what the tasks are.
type winoOrder uint8

const (
	byTiles winoOrder = iota // blocks of tiles; U is stored
	byBoth                   // channels of blocks of tiles; V is stored
	byOuts                   // channels of all tiles; U is stored, in parts
)

func newWino(set *kernel.Set, c *corr, load bool) *wino {
	c.panels, c.cols = panelsFor(set, c.co)
	v := &wino{corr: c, tiles: winogradTiles(c.n, c.h, c.w), set: set}
	v.pixels = loader{set, v.tiles, c.ci, load, make([]float32, c.ci)}
	mr := set.Tiles[0].MR
	n := most
	switch {
	case c.ci*c.co >= storeU && v.tiles.count() > most:
		v.order, v.outs, n = byBoth, outFew, groupMax
	case c.ci*c.co > storeU:
		v.order, v.outs = byBoth, outBlock
	case v.tiles.count() <= most && c.co > outFew:
		v.order, v.outs = byOuts, outFew
	}
	if v.order != byBoth {
		n = n / mr * mr
	}
	v.block = even(v.tiles.count(), n)
	if v.order == byOuts {
		v.block = v.tiles.count()
	}
	if v.order == byTiles {
		if v.blocks() < 4 { // too few to share out
			v.block = min(v.block, max(mr, blocksOf(v.tiles.count(), 4)))
		}
		v.block = v.tiles.inBands(v.block)
	}
	return v
}

// strides says how V lies, and the floats from tile to tile and from frequency
// to frequency of the products.
func (v *wino) strides() (in place, tm, sm int) {
	in, tm = place{tv: v.ci + gap, cb: v.ci}, v.outs+gap
	switch v.order {
	case byTiles:
		tm = v.co + gap
		in.sv = apart(v.block * in.tv)
	case byBoth:
		// What a task multiplies lies side by side.
		in.cb = min(inBlock, v.ci)
		in.tv, in.cs = in.cb, v.tiles.count()*in.cb
		in.sv = apart(blocksOf(v.ci, in.cb) * in.cs)
	case byOuts:
		in.sv = apart(v.tiles.count() * in.tv)
	}
	return in, tm, apart(v.block * tm)
}

// strideU is the floats from a frequency's transformed weights to the next's,
// all of them or those of a task.
func (v *wino) strideU() int {
	switch v.order {
	case byBoth:
		return apart(v.outs * inBlock)
	case byOuts:
		return apart(v.outs * v.ci)
	default:
		return apart(v.ci * v.co)
	}
}

// packedLen is the floats of U, if it is stored, inputLen of V.
func (v *wino) packedLen() int {
	switch v.order {
	case byBoth:
		return 0
	case byOuts:
		return blocksOf(v.co, v.outs) * freqs * v.strideU()
	default:
		return freqs * v.strideU()
	}
}

func (v *wino) inputLen() int {
	if v.order != byBoth {
		return 0
	}
	in, _, _ := v.strides()
	return freqs * in.sv
}

func (v *wino) scratch() int {
	in, _, sm := v.strides()
	sorted := 9 * packChannels * maxCols
	if v.order == byBoth {
		return max(freqs*(sm+v.strideU())+sorted+v.co, v.pixels.scratch(v.inputTiles()))
	}
	return max(sorted, freqs*(in.sv+sm)+v.co+v.pixels.scratch(v.block))
}

func (v *wino) cost() float64 {
	return 2 * float64(winogradCost(v.tiles, 0, v.ci, v.co))
}

func (v *wino) blocks() int { return blocksOf(v.tiles.count(), v.block) }

func (v *wino) inputTasks() int {
	if v.order != byBoth {
		return 0
	}
	return blocksOf(v.tiles.count(), v.inputTiles())
}

// inputTiles is the tiles of an input task.
func (v *wino) inputTiles() int { return min(fewer, blocksOf(v.tiles.count(), 8)) }

// input fills V's part of a few tiles.
func (v *wino) input(i int, j *job, scratch []float32, p *pointers) {
	in, _, _ := v.strides()
	t0 := i * v.inputTiles()
	v.pixels.transform(j.inputs[t0*in.tv:], in, t0, min(v.inputTiles(), v.tiles.count()-t0), j.x, scratch, p)
}

func (v *wino) packTasks() int {
	if v.order == byBoth {
		return 0
	}
	return v.corr.packTasks()
}

// pack fills U's part of a few input channels.
func (v *wino) pack(i int, us, w, scratch []float32) {
	chunks := v.ci / packChannels
	l0, at := i%chunks*packChannels, v.panels[i/chunks]
	nr := at.tile.NR
	col := at.col
	if v.order == byOuts {
		us, col = us[col/v.outs*freqs*v.strideU():], col%v.outs
	}
	v.transformWeights(us[col*v.ci+l0*nr:], v.strideU(), at, l0, w, scratch)
}

// transformWeights brings 16 input channels of a panel to U.
func (v *wino) transformWeights(u []float32, step int, p panel, l0 int, w, sorted []float32) {
	nr := p.tile.NR
	if v.out > v.in {
		// A column's weights lie side by side for all input channels.
		v.set.Transpose(sorted, nr, w[p.col*v.out+l0*v.in:], v.out, nr, packChannels*9)
	}
	for l := range packChannels {
		if v.out > v.in {
			v.set.WinogradKernel(u[l*nr:], step, sorted[l*9*nr:], nr, nr, false)
			continue
		}
		// An input channel's weights lie side by side for all columns: a data
		// gradient's, whose kernels are turned.
		v.set.Transpose(sorted, nr, w[(l0+l)*v.in+p.col*v.out:], v.out, nr, 9)
		v.set.WinogradKernel(u[l*nr:], step, sorted, nr, nr, true)
	}
}

func (v *wino) tasks() int {
	if v.order == byTiles {
		return v.blocks()
	}
	return v.blocks() * blocksOf(v.co, v.outs)
}

// task is the tiles and the output channels of a task.
func (v *wino) task(i int) (t0, n, o0, outs int) {
	if v.order == byTiles {
		t0 = i * v.block
		return t0, min(v.block, v.tiles.count()-t0), 0, v.co
	}
	t0, o0 = i%v.blocks()*v.block, i/v.blocks()*v.outs
	return t0, min(v.block, v.tiles.count()-t0), o0, min(v.outs, v.co-o0)
}

func (v *wino) regions(i int, to []region) []region {
	t0, n, o0, outs := v.task(i)
	return v.tiles.regions(t0, n, 1, v.h, v.w, o0, o0+outs, to)
}

func (v *wino) reads(i int, j *job, a *kernel.Ahead) {
	t0, n, o0, outs := v.task(i)
	lo, hi := v.tiles.rows(t0, n)
	if lo == hi {
		return
	}
	if v.order == byTiles { // others' pixels have been transformed
		a.Add(j.x.x[max(0, lo-1)*v.w*v.c : min(v.n*v.h, hi+1)*v.w*v.c])
	}
	j.fetchResults(region{lo * v.w, hi * v.w, o0, o0 + outs}, v.co, a)
}

func (v *wino) run(i int, j *job, scratch []float32, own *pointers) {
	if v.order == byBoth {
		v.runBoth(i, j, scratch, own)
		return
	}
	in, tm, sm := v.strides()
	tv, sv := in.tv, in.sv
	vs, ms, scratch := scratch[:freqs*sv], scratch[freqs*sv:][:freqs*sm], scratch[freqs*(sv+sm):]
	dump, scratch := scratch[:v.co], scratch[v.co:]
	t0, n, o0, outs := v.task(i)
	if v.order == byTiles || own.first(j) {
		v.pixels.transform(vs, in, t0, n, j.x, scratch, own)
	}
	su, us := v.strideU(), j.packed
	if v.order == byOuts {
		us = us[o0/v.outs*freqs*su:]
	}
	panels := columns(v.panels, o0, outs)
	for f := range freqs {
		v.multiply(f, t0, n, o0, v.ci, vs[f*sv:], tv, us[f*su:], ms[f*sm:], tm, false, panels, &own.ahead)
	}
	v.output(t0, n, j, o0, outs, ms, dump, own)
}

func (v *wino) runBoth(i int, j *job, scratch []float32, own *pointers) {
	in, tm, sm := v.strides()
	vs := j.inputs
	t0, n, o0, outs := v.task(i)
	ms, scratch := scratch[:freqs*sm], scratch[freqs*sm:]
	su := v.strideU()
	us, scratch := scratch[:freqs*su], scratch[freqs*su:]
	panels := columns(v.panels, o0, outs)
	for l0 := 0; l0 < v.ci; l0 += inBlock {
		depth := min(inBlock, v.ci-l0)
		for _, p := range panels {
			for l := 0; l < depth; l += packChannels {
				v.transformWeights(us[(p.col-o0)*depth+l*p.tile.NR:], su, p, l0+l, j.w, scratch)
			}
		}
		at := l0/inBlock*in.cs + t0*in.tv
		for f := range freqs {
			own.ahead.Reset()
			if f+1 < freqs {
				from, count := v.tiles.need(f+1, t0, n)
				own.ahead.Add(vs[(f+1)*in.sv+at+(from-t0)*in.tv:][:count*in.tv])
				_, count = v.tiles.need(f, t0, n)
				own.ahead.Over(steps(panels, count, depth))
			}
			v.multiply(f, t0, n, o0, depth, vs[f*in.sv+at:], in.tv, us[f*su:], ms[f*sm:], tm, l0 > 0, panels, &own.ahead)
		}
	}
	v.output(t0, n, j, o0, outs, ms, scratch[:v.co], own)
}

// multiply is the products of a frequency, of output channels from o0. Where a
// tile needs none, what is there instead only enters results outside of it.
func (v *wino) multiply(f, t0, n, o0, depth int, vs []float32, tv int, us, ms []float32, tm int, acc bool, panels []panel, ahead *kernel.Ahead) {
	from, n := v.tiles.need(f, t0, n)
	if n == 0 {
		return
	}
	vs, ms = vs[(from-t0)*tv:], ms[(from-t0)*tm:]
	for _, p := range panels {
		p.multiply(n, depth, vs, tv, 1, us[(p.col-o0)*depth:], p.tile.NR, ms[p.col-o0:], tm, acc, nil, ahead)
	}
}

// output brings the products of n tiles, of c channels from o0, back.
func (v *wino) output(t0, n int, j *job, o0, c int, ms, dump []float32, p *pointers) {
	_, tm, sm := v.strides()
	y, add, stream := wholeImages(j.y[o0:], v.h, v.w, v.co), pixels{}, j.streams()
	if j.add != nil {
		add = wholeImages(j.add[o0:], v.h, v.w, v.co)
	}
	for t, a := range v.tiles.each(t0, n) {
		y.point(p.out[:], tileSide, a, 1, &dump[0])
		if j.add == nil {
			v.set.WinogradOutput(&p.out, ms[t*tm:], sm, c, nil, stream)
			continue
		}
		add.point(p.add[:], tileSide, a, 1, &dump[0])
		v.set.WinogradOutput(&p.out, ms[t*tm:], sm, c, &p.add, false)
	}
}
