package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
)

// winoGrad is the weight gradient of a 3×3 convolution by Winograd's
// transforms: for each frequency a product Vᵀ·D whose depth is tiles, V the
// transformed pixels and D the transformed dy, and one transform of the sums.
//
// With few channels the tiles are cut into parts; each sums on its own, block by
// block in cache, and the parts are added up in order. With many, whose sums
// would not fit a cache, V and D are stored, and a task is a block of channels,
// over all tiles.
type winoGrad struct {
	*corr // the forward convolution
	grid
	set    *kernel.Set
	stored bool
	block  int // tiles
	parts  int
	side   int // channels of a block, when stored
	pixels loader
	zeros  []float32
}

const (
	gradParts = 8  // parts of the tiles
	gradBlock = 32 // tiles a block with few channels
	gradSide  = 64 // channels of a task's block with many
	gradDepth = 64 // tiles a sum: longer ones lose precision
	gradRows  = 16 // input channels a task of the last transform
)

func newWinoGrad(set *kernel.Set, c *corr, load bool) *winoGrad {
	c.panels, c.cols = panelsFor(set, c.co)
	v := &winoGrad{corr: c, grid: newGrid(c.n, c.h, c.w), set: set, zeros: make([]float32, max(c.ci, c.co))}
	v.pixels = loader{set, v.grid, c.ci, load, v.zeros}
	if v.stored = c.ci*c.co >= storeU; v.stored {
		v.block = even(v.tiles(), gradDepth)
		v.side = gradSide
		return v
	}
	n := gradBlock
	if c.ci+c.co >= 256 {
		n = 2 * gradBlock
	}
	v.block = even(v.tiles(), n)
	v.parts = min(gradParts, v.blocks())
	return v
}

func (v *winoGrad) blocks() int { return blocksOf(v.tiles(), v.block) }

// strides are the floats from tile to tile and from frequency to frequency, of
// V and of D.
func (v *winoGrad) strides() (tv, sv, td, sd int) {
	tv, td = v.ci+gap, v.co+gap
	if v.stored {
		return tv, apart(v.tiles() * tv), td, apart(v.tiles() * td)
	}
	return tv, apart(v.block * tv), td, apart(v.block * td)
}

// strideSums is the floats from a frequency's sums to the next's.
func (v *winoGrad) strideSums() int {
	if v.stored {
		return apart(v.side * v.side)
	}
	return apart(v.ci * v.co)
}

// temp is the floats of the parts' sums, or of V and D.
func (v *winoGrad) temp() int {
	if v.stored {
		_, sv, _, sd := v.strides()
		return freqs * (sv + sd)
	}
	return v.parts * freqs * v.strideSums()
}

func (v *winoGrad) scratch() int {
	if v.stored {
		return max(freqs*v.strideSums()+9*v.side*(v.side+kernel.WinogradLanes), v.pixels.scratch(fewer))
	}
	_, sv, _, sd := v.strides()
	return max(freqs*(sv+sd)+v.pixels.scratch(v.block), 9*gradRows*(v.co+kernel.WinogradLanes))
}

// transform brings n tiles of x and dy, from t0, to V and D from number k.
func (v *winoGrad) transform(vs, ds []float32, t0, n, k int, x source, dy, scratch []float32, p *pointers) {
	tv, sv, td, sd := v.strides()
	v.pixels.transform(vs[k*tv:], place{tv: tv, sv: sv, cb: v.ci}, t0, n, x, scratch, p)
	for i := range n {
		v.square(&p.out, t0+i, dy, v.co, &v.zeros[0])
		v.set.WinogradGrad(ds[(k+i)*td:], sd, &p.out, v.co)
	}
}

// firstTasks and first: the sums of a part, or a block's V and D.
func (v *winoGrad) firstTasks() int {
	if v.stored {
		return blocksOf(v.tiles(), fewer)
	}
	return v.parts
}

func (v *winoGrad) first(i int, x source, dy, temp, scratch []float32, p *pointers) {
	tv, sv, td, sd := v.strides()
	if v.stored {
		t0 := i * fewer
		v.transform(temp, temp[freqs*sv:], t0, min(fewer, v.tiles()-t0), t0, x, dy, scratch, p)
		return
	}
	ss := v.strideSums()
	sums := temp[i*freqs*ss:]
	vs, ds, scratch := scratch[:freqs*sv], scratch[freqs*sv:][:freqs*sd], scratch[freqs*(sv+sd):]
	b0, b1 := v.blocks()*i/v.parts, v.blocks()*(i+1)/v.parts
	for b := b0; b < b1; b++ {
		t0 := b * v.block
		n := min(v.block, v.tiles()-t0)
		v.transform(vs, ds, t0, n, 0, x, dy, scratch, p)
		for f := range freqs {
			for _, p := range v.panels {
				p.multiply(v.ci, n, vs[f*sv:], 1, tv, ds[f*sd+p.col:], td, sums[f*ss+p.col:], v.co, b > b0, nil, nil)
			}
		}
	}
}

// lastTasks and last bring sums back and into the variable's order: of some
// input channels, or of a block of channels whose sums it makes first.
func (v *winoGrad) lastTasks() int {
	if v.stored {
		return blocksOf(v.ci, v.side) * blocksOf(v.co, v.side)
	}
	return v.ci / gradRows
}

func (v *winoGrad) last(i int, temp []float32, to *gradTo, scratch []float32, own *pointers) {
	if v.stored {
		v.lastStored(i, temp, to, scratch, own)
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

func (v *winoGrad) lastStored(i int, temp []float32, to *gradTo, scratch []float32, own *pointers) {
	tv, sv, td, sd := v.strides()
	rows := blocksOf(v.ci, v.side)
	c0, o0 := i%rows*v.side, i/rows*v.side
	nc, no := min(v.side, v.ci-c0), min(v.side, v.co-o0)
	vs, ds := temp[:freqs*sv], temp[freqs*sv:]
	ss := v.strideSums()
	sums, out := scratch[:freqs*ss], scratch[freqs*ss:]
	for f := range freqs {
		own.ahead.Reset()
		if f+1 < freqs {
			own.ahead.AddRows(vs[(f+1)*sv+c0:], nc, v.tiles(), tv)
			own.ahead.AddRows(ds[(f+1)*sd+o0:], no, v.tiles(), td)
		}
		for t0 := 0; t0 < v.tiles(); t0 += v.block {
			n := min(v.block, v.tiles()-t0)
			for _, p := range v.panels {
				if p.col >= o0 && p.col < o0+no {
					p.multiply(nc, n, vs[f*sv+t0*tv+c0:], 1, tv, ds[f*sd+t0*td+p.col:], td, sums[f*ss+p.col-o0:], no, t0 > 0, nil, &own.ahead)
				}
			}
		}
	}
	v.finish(to, c0, nc, o0, no, sums, ss, out)
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

func (c *compiler) winoGradWeight(s *plan.Step, op plan.ConvGradWeight) work {
	v := newWinoGrad(c.set, forward(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel, s.In[1].Shape), op.Load)
	pool := c.pool
	return work{
		temps: []int{v.temp()}, scratch: v.scratch(), flops: v.flops(),
		cost: 2 * float64(winogradCost(v.tiles(), v.tiles(), v.ci, v.co)),
		build: func(temps [][]float32) func() {
			x, dy, temp := c.source(s, op.Load), c.f(s.In[1]), temps[0]
			to, begin := c.gradTo(s, op.Update)
			first := func(worker, i int) { v.first(i, x, dy, temp, pool.scratch[worker], &pool.pointers[worker]) }
			last := func(worker, i int) { v.last(i, temp, to, pool.scratch[worker], &pool.pointers[worker]) }
			return func() {
				begin()
				pool.run(v.firstTasks(), first)
				pool.run(v.lastTasks(), last)
			}
		},
	}
}
