package cpu

import (
	"unsafe"

	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
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
	co, ci := kernelShape[0], kernelShape[1]
	if kernelShape[2] != 3 || kernelShape[3] != 3 || o.Stride != 1 || o.Pad != 1 || o.PadEnd != 0 || o.Groups != 1 ||
		ci%kernel.WinogradLanes != 0 || co%kernel.WinogradLanes != 0 {
		return false
	}
	if c.opt.Conv == convWinograd {
		return true
	}
	// Plain Go is for being right where there is no assembly: it keeps to the
	// direct sums, whose error is a fifth (docs/log.md, ReLU decisions).
	return c.set.Name != "generic" && worthWinograd(x, ci, co)
}

// worthWinograd says whether the transforms pay. A tile takes 36 multiplications
// for each pair of channels, where the definition takes 9 for each position,
// and tiles that stick out of the image are wasted. Transforms cost as much as
// 864 multiplications a channel, which fits measured times of 16 to 512
// channels on images of 2×2 to 32×32 with avx512, and well enough with avx2.
func worthWinograd(x graph.Shape, ci, co int) bool {
	g := newGrid(1, x[1], x[2])
	return 10*g.tiles()*(freqs*ci*co+864*(ci+co)) <= 9*x[1]*x[2]*9*ci*co
}

const (
	tileSide = 4         // a tile has so many results a side
	freqs    = 36        // products for each
	gap      = 16        // floats between the channels of two tiles: no power of two apart
	most     = 28        // tiles a block: two times the rows of the largest kernel
	fewer    = 14        // with many channels
	storeU   = 256 * 256 // transformed weights of more channels than this are not stored
	outBlock = 64        // then: output channels a task
	inBlock  = 128       // and input channels at a time
	groupMax = 4 * most  // and tiles a task

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

// apart is how many floats to put between the numbers of two frequencies that
// take n, a multiple of 16: an odd number of cache lines. The transforms touch
// all 36 at a time; a round number would put them in a few sets of the cache.
func apart(n int) int { return n | cacheLine/4 }

// pointers are a worker's, to a tile's numbers.
type pointers struct {
	in       [36]*float32
	out, add [16]*float32
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
// if they could be kept: to read four times as many floats takes longer.
type wino struct {
	*corr
	grid
	set   *kernel.Set
	fused bool
	block int // tiles
	outs  int // channels a task, when fused
	zeros []float32
}

func newWino(set *kernel.Set, c *corr) *wino {
	c.panels, c.cols = panelsFor(set, c.co)
	v := &wino{corr: c, grid: newGrid(c.n, c.h, c.w), set: set, zeros: make([]float32, c.ci)}
	mr := set.Tiles[0].MR
	n := most
	switch {
	case c.ci*c.co > storeU:
		v.fused, n = true, groupMax
		v.outs = outBlock
	case c.ci*c.co >= storeU:
		n = fewer
	}
	v.block = min(even(v.tiles(), n/mr*mr), v.tiles())
	return v
}

func (v *wino) strides() (tv, sv, tm, sm int) {
	tv, tm = v.ci+gap, v.co+gap
	if v.fused {
		tm = v.outs + gap
		return tv, apart(v.tiles() * tv), tm, apart(v.block * tm)
	}
	return tv, apart(v.block * tv), tm, apart(v.block * tm)
}

// strideU is the floats from a frequency's transformed weights to the next's,
// all of them or those of a task.
func (v *wino) strideU() int {
	if v.fused {
		return apart(v.outs * inBlock)
	}
	return apart(v.ci * v.co)
}

// storedU is the floats of U, if it is stored, storedV of V.
func (v *wino) storedU() int {
	if v.fused {
		return 0
	}
	return freqs * v.strideU()
}

func (v *wino) storedV() int {
	if !v.fused {
		return 0
	}
	_, sv, _, _ := v.strides()
	return freqs * sv
}

func (v *wino) scratch() int {
	_, sv, _, sm := v.strides()
	sorted := 9 * packChannels * maxCols
	if v.fused {
		return freqs*(sm+v.strideU()) + sorted + v.co
	}
	return max(sorted, freqs*(sv+sm)+v.co)
}

func (v *wino) blocks() int { return blocksOf(v.tiles(), v.block) }

// inputTask fills V's part of a few tiles.
func (v *wino) inputTask(i int, vs, x []float32, p *pointers) {
	tv, sv, _, _ := v.strides()
	for t := i * fewer; t < min(v.tiles(), (i+1)*fewer); t++ {
		v.window(&p.in, t, x, v.ci, &v.zeros[0])
		v.set.WinogradInput(vs[t*tv:], sv, &p.in, v.ci)
	}
}

// pack fills U's part of a few input channels.
func (v *wino) pack(i int, us, w, scratch []float32) {
	chunks := v.ci / packChannels
	l0, at := i%chunks*packChannels, v.panels[i/chunks]
	nr := at.tile.NR
	v.transformWeights(us[at.col*v.ci+l0*nr:], v.strideU(), at, l0, w, scratch)
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

// tasks are the blocks of tiles, each times the blocks of channels when fused.
func (v *wino) tasks() int {
	if v.fused {
		return v.blocks() * (blocksOf(v.co, v.outs))
	}
	return v.blocks()
}

// run does a task; us and vs are U and V as far as they are stored.
func (v *wino) run(i int, us, vs, x, w, y, add, scratch []float32, p *pointers) {
	if v.fused {
		v.runFused(i, vs, w, y, add, scratch, p)
		return
	}
	tv, sv, tm, sm := v.strides()
	vs, ms, dump := scratch[:freqs*sv], scratch[freqs*sv:][:freqs*sm], scratch[freqs*(sv+sm):][:v.co]
	t0 := i * v.block
	n := min(v.block, v.tiles()-t0)
	for t := range n {
		v.window(&p.in, t0+t, x, v.ci, &v.zeros[0])
		v.set.WinogradInput(vs[t*tv:], sv, &p.in, v.ci)
	}
	for f := range freqs {
		u := us[f*v.strideU():]
		for _, p := range v.panels {
			multiply(p, n, v.ci, vs[f*sv:], tv, 1, u[p.col*v.ci:], p.tile.NR, ms[f*sm+p.col:], tm, false, nil)
		}
	}
	v.output(t0, n, y, add, ms, v.co, dump, p)
}

func (v *wino) runFused(i int, vs, w, y, add, scratch []float32, p *pointers) {
	tv, sv, tm, sm := v.strides()
	blocks := v.blocks()
	t0, o0 := i%blocks*v.block, i/blocks*v.outs
	n, outs := min(v.block, v.tiles()-t0), min(v.outs, v.co-o0)
	ms, scratch := scratch[:freqs*sm], scratch[freqs*sm:]
	su := v.strideU()
	us, scratch := scratch[:freqs*su], scratch[freqs*su:]
	var panels []panel
	for _, p := range v.panels {
		if p.col >= o0 && p.col < o0+outs {
			panels = append(panels, p)
		}
	}
	for l0 := 0; l0 < v.ci; l0 += inBlock {
		depth := min(inBlock, v.ci-l0)
		for _, p := range panels {
			for l := 0; l < depth; l += packChannels {
				v.transformWeights(us[(p.col-o0)*depth+l*p.tile.NR:], su, p, l0+l, w, scratch)
			}
		}
		for f := range freqs {
			for _, p := range panels {
				multiply(p, n, depth, vs[f*sv+t0*tv+l0:], tv, 1, us[f*su+(p.col-o0)*depth:], p.tile.NR,
					ms[f*sm+p.col-o0:], tm, l0 > 0, nil)
			}
		}
	}
	dump := scratch[:v.co]
	if add != nil {
		add = add[o0:]
	}
	v.output(t0, n, y[o0:], add, ms, outs, dump, p)
}

// output brings the products of n tiles, c channels of each, back.
func (v *wino) output(t0, n int, y, add, ms []float32, c int, dump []float32, p *pointers) {
	_, _, tm, sm := v.strides()
	stream := len(y) >= streamFloats && uintptr(unsafe.Pointer(&y[0]))%cacheLine == 0
	for t := range n {
		v.square(&p.out, t0+t, y, v.co, &dump[0])
		if add == nil {
			v.set.WinogradOutput(&p.out, ms[t*tm:], sm, c, nil, stream)
			continue
		}
		v.square(&p.add, t0+t, add, v.co, &dump[0])
		v.set.WinogradOutput(&p.out, ms[t*tm:], sm, c, &p.add, false)
	}
}

// winoCorrelate is correlate by Winograd's transforms.
func (c *compiler) winoCorrelate(s *plan.Step, part *corr, add *graph.Value) work {
	v := newWino(c.set, part)
	pool := c.pool
	k := work{
		temps: []int{v.storedU(), v.storedV()}, scratch: v.scratch(), flops: v.flops(),
		build: func(temps [][]float32) func() {
			x, w, y, us, vs := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0]), temps[0], temps[1]
			var plus []float32
			if add != nil {
				plus = c.f(add)
			}
			inputs := 0
			if v.fused {
				inputs = blocksOf(v.tiles(), fewer)
			}
			input := func(worker, i int) { v.inputTask(i, vs, x, &pool.pointers[worker]) }
			run := func(worker, i int) {
				v.run(i, us, vs, x, w, y, plus, pool.scratch[worker], &pool.pointers[worker])
			}
			return func() {
				pool.run(inputs, input)
				pool.run(v.tasks(), run)
			}
		},
	}
	if v.storedU() > 0 {
		k.weight = s.In[1]
		k.pack = func(temps [][]float32) func() {
			w, us := c.f(s.In[1]), temps[0]
			pack := func(worker, i int) { v.pack(i, us, w, pool.scratch[worker]) }
			return func() { pool.run(v.packTasks(), pack) }
		}
	}
	return k
}
