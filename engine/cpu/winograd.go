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
	g := newGrid(x[0], x[1], x[2])
	return 10*winogradCost(max(g.tiles(), 16), g.tiles(), ci, co) <= 9*x[0]*x[1]*x[2]*9*ci*co
}

// winogradCost is the multiplications of products of so many tiles and of
// transforms. A tile takes 36 for each pair of channels, where the definition
// takes 9 for each position, and tiles that stick out of the image are wasted.
// Transforms cost as much as 864 a channel, which fits measured times of 16 to
// 512 channels on images of 2×2 to 32×32 with avx512, and well enough with avx2.
func winogradCost(products, tiles, ci, co int) int {
	return products*freqs*ci*co + tiles*864*(ci+co)
}

const (
	freqs    = 36        // products of a tile
	gap      = 16        // floats between the channels of two tiles: no power of two apart
	most     = 28        // tiles a block: two times the rows of the largest kernel
	fewer    = 14        // tiles a task that only transforms pixels
	storeU   = 256 * 256 // transformed weights of so many channels are not stored
	outBlock = 64        // output channels a task then, with few tiles
	outFew   = 32        // and with more, or where all tiles are one block
	inBlock  = 128       // input channels at a time
	groupMax = 128       // tiles a task

	// Results of 8 MB or more are stored past the caches.
	streamFloats = 2 << 20
)

// grid is the tiles of images.
type grid struct{ n, h, w, th, tw int }

func newGrid(n, h, w int) grid {
	return grid{n, h, w, (h + tileSide - 1) / tileSide, (w + tileSide - 1) / tileSide}
}

func (g grid) tiles() int { return g.n * g.th * g.tw }

// window is the 6×6 pixels under a tile, of images of c channels; outside of
// the image it points at zeros.
func (g grid) window(p *[36]*float32, tile int, x []float32, c int, zeros *float32) {
	tx, ty, im := tile%g.tw, tile/g.tw%g.th, tile/g.tw/g.th
	x0, y0 := tx*tileSide-1, ty*tileSide-1
	for i := range 6 {
		row := p[6*i : 6*i+6 : 6*i+6]
		y := y0 + i
		if y < 0 || y >= g.h {
			for j := range row {
				row[j] = zeros
			}
			continue
		}
		at := ((im*g.h+y)*g.w + x0) * c
		for j := range row {
			if uint(x0+j) < uint(g.w) {
				row[j] = &x[at]
			} else {
				row[j] = zeros
			}
			at += c
		}
	}
}

// square is the 4×4 pixels of a tile, of images of c channels; outside of the
// image it points at other.
func (g grid) square(p *[16]*float32, tile int, y []float32, c int, other *float32) {
	tx, ty, im := tile%g.tw, tile/g.tw%g.th, tile/g.tw/g.th
	x0, y0 := tx*tileSide, ty*tileSide
	for i := range 4 {
		row := p[4*i : 4*i+4 : 4*i+4]
		at := ((im*g.h+y0+i)*g.w + x0) * c
		for j := range row {
			if y0+i < g.h && x0+j < g.w {
				row[j] = &y[at]
			} else {
				row[j] = other
			}
			at += c
		}
	}
}

// loader transforms pixels. Where they are to be normalised first, it does so
// for the tiles of a row together, which share pixels, in scratch.
type loader struct {
	set *kernel.Set
	grid
	c     int
	load  bool
	zeros []float32
}

// scratch is the floats that transform wants for n tiles.
func (l *loader) scratch(n int) int {
	if !l.load {
		return 0
	}
	return 6 * (tileSide*min(n, l.tw) + 2) * l.c
}

// place says where transformed pixels go: tv floats from tile to tile, sv from
// frequency to frequency and, where channels are cut into blocks, cs from each
// block of cb channels to the next.
type place struct{ tv, sv, cb, cs int }

// tile transforms the pixels of p.in to v.
func (l *loader) tile(v []float32, to place, p *pointers) {
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
	if !l.load {
		for t := range n {
			l.window(&p.in, t0+t, x.x, l.c, &l.zeros[0])
			l.tile(v[t*to.tv:], to, p)
		}
		return
	}
	for t := 0; t < n; {
		tx, ty, im := (t0+t)%l.tw, (t0+t)/l.tw%l.th, (t0+t)/l.tw/l.th
		k := min(l.tw-tx, n-t)
		x0, y0 := tx*tileSide-1, ty*tileSide-1
		lo, hi := max(0, x0), min(l.w, x0+tileSide*k+2)
		for i := range 6 {
			if y := y0 + i; y >= 0 && y < l.h {
				x.load(l.set, scratch[i*(hi-lo)*l.c:], ((im*l.h+y)*l.w+lo)*l.c, hi-lo, l.c)
			}
		}
		for range k {
			for i := range 6 {
				inside := y0+i >= 0 && y0+i < l.h
				for j := range 6 {
					p.in[6*i+j] = &l.zeros[0]
					if at := x0 + j; inside && at >= lo && at < hi {
						p.in[6*i+j] = &scratch[(i*(hi-lo)+at-lo)*l.c]
					}
				}
			}
			l.tile(v[t*to.tv:], to, p)
			x0 += tileSide
			t++
		}
	}
}

// rows is the rows of pixels, counted over all images, that n tiles from t0 are in.
func (g grid) rows(t0, n int) (lo, hi int) {
	row := func(t int) int { return t/(g.tw*g.th)*g.h + t/g.tw%g.th*tileSide }
	return row(t0), min(g.n*g.h, row(t0+n-1)+tileSide)
}

// regions appends the ranges of pixels that n tiles, from t0, have.
func (g grid) regions(t0, n, c0, c1 int, to []region) []region {
	for t := t0; t < t0+n; {
		tx, ty, im := t%g.tw, t/g.tw%g.th, t/g.tw/g.th
		k := min(g.tw-tx, t0+n-t)
		for y := ty * tileSide; y < min(g.h, (ty+1)*tileSide); y++ {
			row := (im*g.h + y) * g.w
			to = append(to, region{row + tx*tileSide, row + min(g.w, (tx+k)*tileSide), c0, c1})
		}
		t += k
	}
	return to
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
// or its data gradient. Transformed pixels lie as V[frequency][tile][channel],
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
	grid
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
	v := &wino{corr: c, grid: newGrid(c.n, c.h, c.w), set: set}
	v.pixels = loader{set, v.grid, c.ci, load, make([]float32, c.ci)}
	mr := set.Tiles[0].MR
	n := most
	switch {
	case c.ci*c.co >= storeU && v.tiles() > most:
		v.order, v.outs, n = byBoth, outFew, groupMax
	case c.ci*c.co > storeU:
		v.order, v.outs = byBoth, outBlock
	case v.tiles() <= most && c.co > outFew:
		v.order, v.outs = byOuts, outFew
	}
	if v.order != byBoth {
		n = n / mr * mr
	}
	v.block = even(v.tiles(), n)
	if v.order == byOuts {
		v.block = v.tiles()
	}
	if v.order == byTiles && blocksOf(v.tiles(), v.block) < 4 { // too few to share out
		v.block = min(v.block, max(mr, blocksOf(v.tiles(), 4)))
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
		in.tv, in.cs = in.cb, v.tiles()*in.cb
		in.sv = apart(blocksOf(v.ci, in.cb) * in.cs)
	case byOuts:
		in.sv = apart(v.tiles() * in.tv)
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
	return 2 * float64(winogradCost(v.tiles(), v.tiles(), v.ci, v.co))
}

func (v *wino) blocks() int { return blocksOf(v.tiles(), v.block) }

func (v *wino) inputTasks() int {
	if v.order != byBoth {
		return 0
	}
	return blocksOf(v.tiles(), v.inputTiles())
}

// inputTiles is the tiles of an input task.
func (v *wino) inputTiles() int { return min(fewer, blocksOf(v.tiles(), 8)) }

// input fills V's part of a few tiles.
func (v *wino) input(i int, j *job, scratch []float32, p *pointers) {
	in, _, _ := v.strides()
	t0 := i * v.inputTiles()
	v.pixels.transform(j.inputs[t0*in.tv:], in, t0, min(v.inputTiles(), v.tiles()-t0), j.x, scratch, p)
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
		return t0, min(v.block, v.tiles()-t0), 0, v.co
	}
	t0, o0 = i%v.blocks()*v.block, i/v.blocks()*v.outs
	return t0, min(v.block, v.tiles()-t0), o0, min(v.outs, v.co-o0)
}

func (v *wino) regions(i int, to []region) []region {
	t0, n, o0, outs := v.task(i)
	return v.grid.regions(t0, n, o0, o0+outs, to)
}

func (v *wino) reads(i int, j *job, a *kernel.Ahead) {
	t0, n, o0, outs := v.task(i)
	g := v.grid
	lo, hi := g.rows(t0, n)
	if v.order == byTiles { // others' pixels have been transformed
		a.Add(j.x.x[max(0, lo-1)*g.w*v.c : min(g.n*g.h, hi+1)*g.w*v.c])
	}
	j.fetchResults(region{lo * g.w, hi * g.w, o0, o0 + outs}, v.co, a)
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
	for f := range freqs {
		u := us[f*su:]
		for _, p := range columns(v.panels, o0, outs) {
			p.multiply(n, v.ci, vs[f*sv:], tv, 1, u[(p.col-o0)*v.ci:], p.tile.NR, ms[f*sm+p.col-o0:], tm, false, nil, &own.ahead)
		}
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
				own.ahead.Add(vs[(f+1)*in.sv+at:][:n*in.tv])
				own.ahead.Over(steps(panels, n, depth))
			}
			for _, p := range panels {
				p.multiply(n, depth, vs[f*in.sv+at:], in.tv, 1, us[f*su+(p.col-o0)*depth:], p.tile.NR,
					ms[f*sm+p.col-o0:], tm, l0 > 0, nil, &own.ahead)
			}
		}
	}
	v.output(t0, n, j, o0, outs, ms, scratch[:v.co], own)
}

// output brings the products of n tiles, of c channels from o0, back.
func (v *wino) output(t0, n int, j *job, o0, c int, ms, dump []float32, p *pointers) {
	_, tm, sm := v.strides()
	y, stream := j.y[o0:], j.streams()
	for t := range n {
		v.square(&p.out, t0+t, y, v.co, &dump[0])
		if j.add == nil {
			v.set.WinogradOutput(&p.out, ms[t*tm:], sm, c, nil, stream)
			continue
		}
		v.square(&p.add, t0+t, j.add[o0:], v.co, &dump[0])
		v.set.WinogradOutput(&p.out, ms[t*tm:], sm, c, &p.add, false)
	}
}
