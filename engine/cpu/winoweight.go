package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
)

// winoGrad is the weight gradient of a 3×3 convolution by Winograd's
// transforms: for each frequency a product Vᵀ·D whose depth is tiles, V the
// transformed pixels and D the transformed dy, and one transform of the sums. Of
// a tile of three rows or columns, whose fourth of dy is 0, D is 0 at infinity.
//
// With few channels the tiles are cut into parts; each sums on its own, block by
// block in cache, and the parts are added up in order. With many, whose sums
// would not fit a cache, V and D of a chunk of tiles are stored, and a task is a
// block of channels, over all of the chunk's tiles.
type winoGrad struct {
	*corr  // the forward convolution
	tiles  *tiles
	set    *kernel.Set
	stored bool
	block  int // tiles
	parts  int
	chunks     // of tiles, of which V and D are stored
	ins    int // input channels of a block then
	outs   int // and output channels
	pixels loader
	zeros  []float32
}

const (
	gradParts = 8         // parts of the tiles
	gradBlock = 32        // tiles a block with few channels
	gradSide  = 64        // channels of a task's block with many, at most
	gradChunk = 384       // tiles that are stored at a time, at most
	gradStore = 128 * 128 // V and D are stored for so many channels
	gradDepth = 64        // tiles a sum: longer ones lose precision
	gradRows  = 16        // input channels a task of the last transform
)

func newWinoGrad(set *kernel.Set, c *corr, load bool) *winoGrad {
	c.panels, c.cols = panelsFor(set, c.co)
	v := &winoGrad{corr: c, tiles: winogradTiles(c.n, c.h, c.w), set: set, zeros: make([]float32, max(c.ci, c.co))}
	v.pixels = loader{set, v.tiles, c.ci, load, v.zeros}
	if v.stored = c.ci*c.co >= gradStore; v.stored {
		v.chunks = newChunks(v.tiles.count())
		v.block = even(v.chunk, gradDepth)
		v.ins, v.outs = gradSide, gradSide
		if c.ci*c.co < storeU {
			v.outs /= 2
		}
		return v
	}
	n := gradBlock
	if c.ci+c.co >= 256 {
		n = 2 * gradBlock
	}
	v.block = v.tiles.inBands(even(v.tiles.count(), n))
	v.parts = min(gradParts, v.blocks())
	return v
}

func (v *winoGrad) blocks() int { return blocksOf(v.tiles.count(), v.block) }

// strides are the floats from tile to tile and from frequency to frequency, of
// V and of D.
func (v *winoGrad) strides() (tv, sv, td, sd int) {
	tv, td = v.ci+gap, v.co+gap
	if v.stored {
		return tv, apart(v.chunk * tv), td, apart(v.chunk * td)
	}
	return tv, apart(v.block * tv), td, apart(v.block * td)
}

// strideSums is the floats from a frequency's sums to the next's.
func (v *winoGrad) strideSums() int {
	if v.stored {
		return apart(v.ins * v.outs)
	}
	return apart(v.ci * v.co)
}

// temp is the floats of the parts' sums, or of V and D and, with more chunks than
// one, of the blocks' sums.
func (v *winoGrad) temp() int {
	if v.stored {
		_, sv, _, sd := v.strides()
		n := freqs * (sv + sd)
		if v.count() > 1 {
			n += v.lastTasks() * freqs * v.strideSums()
		}
		return n
	}
	return v.parts * freqs * v.strideSums()
}

func (v *winoGrad) scratch() int {
	if v.stored {
		return max(freqs*v.strideSums()+9*v.ins*(v.outs+kernel.WinogradLanes), v.pixels.scratch(fewer))
	}
	_, sv, _, sd := v.strides()
	return max(freqs*(sv+sd)+v.pixels.scratch(v.block), 9*gradRows*(v.co+kernel.WinogradLanes))
}

// transform brings n tiles of x and dy, from t0, to V and D from number k.
func (v *winoGrad) transform(vs, ds []float32, t0, n, k int, x source, dy, scratch []float32, p *pointers) {
	tv, sv, td, sd := v.strides()
	v.pixels.transform(vs[k*tv:], place{tv: tv, sv: sv, cb: v.ci}, t0, n, x, scratch, p)
	grads := wholeImages(dy, v.h, v.w, v.co)
	for i, a := range v.tiles.each(t0, n) {
		grads.point(p.out[:], tileSide, a, 1, &v.zeros[0])
		v.set.WinogradGrad(ds[(k+i)*td:], sd, &p.out, v.co)
	}
}

// firstTasks and first: the sums of a part, or V and D of a few tiles of a chunk.
func (v *winoGrad) firstTasks(chunk int) int {
	if v.stored {
		return v.transforms(chunk)
	}
	return v.parts
}

func (v *winoGrad) first(chunk, i int, x source, dy, temp, scratch []float32, own *pointers) {
	tv, sv, td, sd := v.strides()
	if v.stored {
		t0, n, at := v.few(chunk, i)
		v.transform(temp, temp[freqs*sv:], t0+at, n, at, x, dy, scratch, own)
		return
	}
	ss := v.strideSums()
	sums := temp[i*freqs*ss:]
	vs, ds, scratch := scratch[:freqs*sv], scratch[freqs*sv:][:freqs*sd], scratch[freqs*(sv+sd):]
	b0, b1 := v.blocks()*i/v.parts, v.blocks()*(i+1)/v.parts
	for b := b0; b < b1; b++ {
		t0 := b * v.block
		n := min(v.block, v.tiles.count()-t0)
		v.transform(vs, ds, t0, n, 0, x, dy, scratch, own)
		own.ahead.Reset()
		if b+1 < b1 {
			v.next(t0+n, x, dy, &own.ahead)
		}
		own.ahead.Over(steps(v.panels, v.ci, v.tiles.products(t0, n)))
		for f := range freqs {
			from, n := v.tiles.need(f, t0, n)
			if n == 0 {
				if b == b0 {
					clear(sums[f*ss:][:v.ci*v.co])
				}
				continue
			}
			from -= t0
			for _, p := range v.panels {
				p.multiply(v.ci, n, vs[f*sv+from*tv:], 1, tv, ds[f*sd+from*td+p.col:], td, sums[f*ss+p.col:], v.co, b > b0, nil, &own.ahead)
			}
		}
	}
}

// next adds the pixels and gradients of the block from tile t0 on.
func (v *winoGrad) next(t0 int, x source, dy []float32, a *kernel.Ahead) {
	if lo, hi := v.tiles.rows(t0, min(v.block, v.tiles.count()-t0)); lo < hi {
		a.Add(x.x[max(0, lo-1)*v.w*v.ci : min(v.n*v.h, hi+1)*v.w*v.ci])
		a.Add(dy[lo*v.w*v.co : hi*v.w*v.co])
	}
}

// lastTasks and last bring sums back and into the variable's order: of some
// input channels, or of a block of channels whose sums it makes first.
func (v *winoGrad) lastTasks() int {
	if v.stored {
		return blocksOf(v.ci, v.ins) * blocksOf(v.co, v.outs)
	}
	return v.ci / gradRows
}

func (v *winoGrad) last(chunk, i int, temp []float32, to *gradTo, scratch []float32, own *pointers) {
	if v.stored {
		v.lastStored(chunk, i, temp, to, scratch, own)
		return
	}
	n := gradRows * v.co
	ss := v.strideSums()
	for f := range freqs {
		at := f*ss + i*n
		for p := 1; p < v.parts; p++ {
			v.set.AddTo(temp[at:at+n], temp[p*freqs*ss+at:])
		}
	}
	v.finish(to, i*gradRows, gradRows, 0, v.co, temp[i*n:], ss, scratch)
}

func (v *winoGrad) lastStored(chunk, i int, temp []float32, to *gradTo, scratch []float32, own *pointers) {
	tv, sv, td, sd := v.strides()
	blocks := blocksOf(v.ci, v.ins)
	c0, o0 := i%blocks*v.ins, i/blocks*v.outs
	nc, no := min(v.ins, v.ci-c0), min(v.outs, v.co-o0)
	vs, ds := temp[:freqs*sv], temp[freqs*sv:]
	ss := v.strideSums()
	sums, out := scratch[:freqs*ss], scratch[freqs*ss:]
	ends := chunk == v.count()-1
	if v.count() > 1 {
		sums = temp[freqs*(sv+sd+i*ss):][:freqs*ss]
	}
	first, tiles := v.tilesOf(chunk)
	panels := columns(v.panels, o0, no)
	for f := range freqs {
		from, n := v.tiles.need(f, first, tiles)
		from -= first
		if n == 0 {
			if chunk == 0 {
				clear(sums[f*ss:][:nc*no])
			}
			continue
		}
		own.ahead.Reset()
		if f+1 < freqs {
			if from, n := v.tiles.need(f+1, first, tiles); n > 0 {
				from -= first
				own.ahead.AddRows(vs[(f+1)*sv+from*tv+c0:], nc, n, tv)
				own.ahead.AddRows(ds[(f+1)*sd+from*td+o0:], no, n, td)
				if chunk > 0 {
					own.ahead.Add(sums[(f+1)*ss:][:nc*no])
				}
			}
		}
		if ends {
			to.readsTransposed(v.corr, c0, nc, o0+no*f/freqs, o0+no*(f+1)/freqs, &own.ahead)
		}
		own.ahead.Over(steps(panels, nc, n))
		for t0 := 0; t0 < n; t0 += v.block {
			m, at := min(v.block, n-t0), from+t0
			for _, p := range panels {
				p.multiply(nc, m, vs[f*sv+at*tv+c0:], 1, tv, ds[f*sd+at*td+p.col:], td, sums[f*ss+p.col-o0:], no, chunk > 0 || t0 > 0, nil, &own.ahead)
			}
		}
	}
	if ends {
		v.finish(to, c0, nc, o0, no, sums, ss, out)
	}
}

// finish transforms sums, nc·no of each frequency, and brings them to the
// variable.
func (v *winoGrad) finish(to *gradTo, c0, nc, o0, no int, sums []float32, step int, scratch []float32) {
	for i := range nc {
		v.set.WinogradKernelGrad(scratch[i*9*no:], no, sums[i*no:], step, no)
	}
	to.transposed(v.corr, c0, nc, o0, no, scratch, v.set)
}

// transposed takes the gradient of nc input channels, from c0, and no output
// channels, from o0: rows of those, for each input channel its nine taps. The
// floats after them are scratch. The variable's rows crowd few sets of the
// cache: a few at a time.
func (g *gradTo) transposed(c *corr, c0, nc, o0, no int, dw []float32, set *kernel.Set) {
	rows := dw[9*nc*no:]
	for o := 0; o < no; o += kernel.WinogradLanes {
		if at := ((o0+o)*c.ci + c0) * 9; g.dw != nil {
			set.Transpose(g.dw[at:], c.ci*9, dw[o:], no, nc*9, kernel.WinogradLanes)
			continue
		}
		set.Transpose(rows, nc*9, dw[o:], no, nc*9, kernel.WinogradLanes)
		for j := range kernel.WinogradLanes {
			g.put(((o0+o+j)*c.ci+c0)*9, rows[j*nc*9:][:nc*9])
		}
	}
}

// readsTransposed adds what transposed reads for output channels o to end.
func (g *gradTo) readsTransposed(c *corr, c0, nc, o, end int, a *kernel.Ahead) {
	if o < end {
		g.reads((o*c.ci+c0)*9, 9*nc, end-o, 9*c.ci, a)
	}
}

func (c *compiler) winoGradWeight(s *plan.Step, op plan.ConvGradWeight) work {
	v := newWinoGrad(c.set, forward(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel, s.In[1].Shape), op.Load)
	return work{
		temps: []int{v.temp()}, scratch: v.scratch(), flops: v.flops(),
		cost:  2 * float64(winogradCost(v.tiles, 0, v.ci, v.co)),
		build: func(temps [][]float32) func() { return c.chunked(s, op, v, temps[0]) },
	}
}

// chunks cuts tiles into chunks, of which the transformed pixels and gradients are
// stored at a time. The zero value is one, of parts that store sums.
type chunks struct{ total, chunk int }

func newChunks(tiles int) chunks { return chunks{tiles, even(tiles, gradChunk)} }

func (c *chunks) count() int {
	if c.chunk == 0 {
		return 1
	}
	return blocksOf(c.total, c.chunk)
}

// tilesOf is the first tile of a chunk and how many there are.
func (c *chunks) tilesOf(chunk int) (t0, n int) {
	t0 = chunk * c.chunk
	return t0, min(c.chunk, c.total-t0)
}

// transforms is the tasks that transform a chunk's tiles.
func (c *chunks) transforms(chunk int) int {
	_, n := c.tilesOf(chunk)
	return blocksOf(n, c.most())
}

func (c *chunks) most() int { return min(fewer, blocksOf(c.chunk, 8)) }

// few is a chunk's first tile and the tiles of one of those tasks: n, from number
// at in the chunk on.
func (c *chunks) few(chunk, i int) (t0, n, at int) {
	t0, n = c.tilesOf(chunk)
	at = i * c.most()
	return t0, min(c.most(), n-at), at
}

// byChunks is a weight gradient by transforms: for each chunk of tiles tasks that
// transform it, or sum parts, then those that sum it and, with the last, bring the
// gradient into the variable's order.
type byChunks interface {
	count() int
	firstTasks(chunk int) int
	first(chunk, i int, x source, dy, temp, scratch []float32, own *pointers)
	lastTasks() int
	last(chunk, i int, temp []float32, to *gradTo, scratch []float32, own *pointers)
}

func (c *compiler) chunked(s *plan.Step, op plan.ConvGradWeight, v byChunks, temp []float32) func() {
	x, dy, pool, chunk := c.source(s, op.Load), c.f(s.In[1]), c.pool, 0
	to, begin := c.gradTo(s, op.Update)
	first := func(worker, i int) { v.first(chunk, i, x, dy, temp, pool.scratch[worker], &pool.pointers[worker]) }
	last := func(worker, i int) { v.last(chunk, i, temp, to, pool.scratch[worker], &pool.pointers[worker]) }
	return func() {
		begin()
		for chunk = range v.count() {
			pool.run(v.firstTasks(chunk), first)
			pool.run(v.lastTasks(), last)
		}
	}
}
