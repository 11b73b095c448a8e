package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
)

// winoStrideGrad is the weight gradient of a 3×3 convolution of stride 2 by the
// transforms of its phases: for each frequency a product Vᵀ·D whose depth is
// tiles, V the transformed pixels of the phases that take part in it, D the
// transformed dy, and one transform of the sums. V and D of a chunk of tiles are
// stored; a task is a block of channels, over all of the chunk's tiles.
//
// V's part of a product is transposed first, so that a row's tiles lie side by
// side (see gatherGrad). V lies as V[frequency][block of input channels][tile][phase, channel].
type winoStrideGrad struct {
	*corr  // the forward convolution
	set    *kernel.Set
	tiles  *tiles
	chunks     // of tiles, of which V and D are stored
	depth  int // tiles a sum
	ins    int // input channels of a block
	outs   int // output channels
	pixels strideLoader
}

const (
	strideGradIn  = 32
	strideGradOut = 128
)

func newWinoStrideGrad(set *kernel.Set, c *corr, load bool) *winoStrideGrad {
	c.panels, c.cols = panelsFor(set, c.co)
	v := &winoStrideGrad{corr: c, set: set, tiles: strideTiles(c.n, c.oh, c.ow)}
	v.pixels = strideLoader{set: set, tiles: v.tiles, h: c.h, w: c.w, c: c.ci, load: load, zeros: make([]float32, max(c.ci, c.co))}
	v.chunks = newChunks(v.tiles.count())
	v.depth = min(gradDepth, v.chunk)
	v.ins, v.outs = min(strideGradIn, c.ci), min(strideGradOut, c.co)
	return v
}

// strides says how V lies, and the floats from tile to tile and from frequency to
// frequency of D.
func (v *winoStrideGrad) strides() (in place, td, sd int) {
	in = place{tv: int(kernel.Phases) * v.ins, cb: v.ins}
	in.cs = v.chunk * in.tv
	in.sv = apart(blocksOf(v.ci, in.cb) * in.cs)
	td = v.co + gap
	return in, td, apart(v.chunk * td)
}

// temp is the floats of V and D and, with more chunks than one, of the blocks' sums.
func (v *winoStrideGrad) temp() int {
	in, _, sd := v.strides()
	n := strideFreqs * (in.sv + sd)
	if v.count() > 1 {
		n += v.lastTasks() * strideFreqs * v.strideSums()
	}
	return n
}

// strideSums is the floats from a frequency's sums to the next's.
func (v *winoStrideGrad) strideSums() int {
	return apart(int(kernel.Phases) * v.ins * v.outs)
}

// rows is the floats of V's part of a product, transposed.
func (v *winoStrideGrad) rows() int { return int(kernel.Phases) * v.ins * (v.depth + gap) }

func (v *winoStrideGrad) scratch() int {
	return max(strideFreqs*v.strideSums()+max(v.rows(), 9*v.ins*(v.outs+kernel.WinogradLanes)), v.pixels.scratch(fewer))
}

func (v *winoStrideGrad) firstTasks(chunk int) int { return v.transforms(chunk) }

// first fills a few tiles of V and D.
func (v *winoStrideGrad) first(chunk, i int, x source, dy, temp, scratch []float32, p *pointers) {
	in, td, sd := v.strides()
	ds := temp[strideFreqs*in.sv:]
	t0, n, at := v.few(chunk, i)
	v.pixels.transform(temp[at*in.tv:], in, t0+at, n, x, scratch, p)
	grads := wholeImages(dy, v.oh, v.ow, v.co)
	for t, a := range v.tiles.each(t0+at, n) {
		grads.point(p.out[:], tileSide, a, 1, &v.pixels.zeros[0])
		v.set.StrideGrad(ds[(at+t)*td:], sd, &p.out, v.co)
	}
}

func (v *winoStrideGrad) lastTasks() int { return blocksOf(v.ci, v.ins) * blocksOf(v.co, v.outs) }

// last sums a block of channels over a chunk and, with the last, brings it back
// and into the variable's order.
func (v *winoStrideGrad) last(chunk, i int, temp []float32, to *gradTo, scratch []float32, own *pointers) {
	in, td, sd := v.strides()
	blocks := blocksOf(v.ci, v.ins)
	c0, o0 := i%blocks*v.ins, i/blocks*v.outs
	nc, no := min(v.ins, v.ci-c0), min(v.outs, v.co-o0)
	vs, ds := temp[c0/v.ins*in.cs:], temp[strideFreqs*in.sv:]
	ss := v.strideSums()
	sums, scratch := scratch[:strideFreqs*ss], scratch[strideFreqs*ss:]
	if v.count() > 1 {
		sums = temp[strideFreqs*(in.sv+sd+i*ss):][:strideFreqs*ss]
	}
	ends := chunk == v.count()-1
	panels := columns(v.panels, o0, no)
	first, tiles := v.tilesOf(chunk)
	for f := range strideFreqs {
		from, n := v.tiles.need(f, first, tiles)
		from -= first
		p0, p1 := stridePhases(f)
		rows, sum := int(p1-p0)*nc, sums[f*ss+int(p0)*nc*no:]
		if n == 0 {
			if chunk == 0 {
				clear(sum[:rows*no])
			}
			continue
		}
		own.ahead.Reset()
		if f+1 < strideFreqs {
			if from, n := v.tiles.need(f+1, first, tiles); n > 0 {
				from -= first
				p0, p1 := stridePhases(f + 1)
				own.ahead.AddRows(vs[(f+1)*in.sv+from*in.tv+int(p0)*nc:], int(p1-p0)*nc, n, in.tv)
				own.ahead.AddRows(ds[(f+1)*sd+from*td+o0:], no, n, td)
				if chunk > 0 {
					own.ahead.Add(sums[(f+1)*ss+int(p0)*nc*no:][:int(p1-p0)*nc*no])
				}
			}
		}
		if ends {
			to.readsTransposed(v.corr, c0, nc, o0+no*f/strideFreqs, o0+no*(f+1)/strideFreqs, &own.ahead)
		}
		own.ahead.Over(steps(panels, rows, n))
		for t0 := 0; t0 < n; t0 += v.depth {
			m := min(v.depth, n-t0)
			transposeRows(v.set, scratch, v.depth+gap, vs[f*in.sv+(from+t0)*in.tv+int(p0)*nc:], in.tv, m, rows)
			for _, p := range panels {
				p.multiply(rows, m, scratch, v.depth+gap, 1, ds[f*sd+(from+t0)*td+p.col:], td, sum[p.col-o0:], no, chunk > 0 || t0 > 0, nil, &own.ahead)
			}
		}
	}
	if ends {
		v.finish(to, c0, nc, o0, no, sums, scratch)
	}
}

// finish transforms sums and brings them to the variable.
func (v *winoStrideGrad) finish(to *gradTo, c0, nc, o0, no int, sums, scratch []float32) {
	for i := range nc {
		v.set.StrideKernelGrad(scratch[i*9*no:], no, sums[i*no:], v.strideSums(), nc*no, no)
	}
	to.transposed(v.corr, c0, nc, o0, no, scratch, v.set)
}

func (c *compiler) winoStrideGradWeight(s *plan.Step, op plan.ConvGradWeight) work {
	v := newWinoStrideGrad(c.set, forward(op.Grad.Conv, s.In[0].Shape, op.Grad.Kernel, s.In[1].Shape), op.Load)
	return work{
		temps: []int{v.temp()}, scratch: v.scratch(), flops: v.flops(),
		build: func(temps [][]float32) func() { return c.chunked(s, op, v, temps[0]) },
	}
}
