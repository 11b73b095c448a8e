package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
)

// fewFreqs is the products of a tile of 2×2 results.
const fewFreqs = 16

// winogradFew says whether a convolution of few positions goes by the transforms
// of F(2×2, 3×3). A tile takes 16 multiplications for each pair of channels,
// where the definition takes 9 for each position; transforms as many as 400 a
// channel; reading a weight as long as 16 positions take, and here are 16 for 9.
func (c *compiler) winogradFew(o graph.Conv2D, x, kernelShape graph.Shape) bool {
	co, ci := kernelShape[0], kernelShape[1]
	if c.opt.Conv == convDirect || c.set.Name == "generic" || !threeByThree(o, kernelShape) {
		return false
	}
	positions, tiles := x[0]*x[1]*x[2], x[0]*blocksOf(x[1], 2)*blocksOf(x[2], 2)
	return 10*(max(tiles, 16)*fewFreqs*ci*co+tiles*400*(ci+co)) <= 9*max(positions, 16)*9*ci*co
}

// winoFew is a 3×3 convolution of stride 1 and few positions by F(2×2, 3×3). As
// with unrolled, reading the weights takes longest: a task is a panel of output
// channels, so that each is read once, and the products of a frequency fetch the
// next one's weights. Each worker transforms all pixels for itself.
//
// Transformed pixels lie as V[frequency][tile][channel], weights as
// U[panel][frequency][input channel][column], products as V.
type winoFew struct {
	*corr
	set    *kernel.Set
	th, tw int // tiles of an image
	zeros  []float32
}

func newWinoFew(set *kernel.Set, c *corr) *winoFew {
	c.panels, c.cols = panelsFor(set, c.co)
	return &winoFew{corr: c, set: set, th: blocksOf(c.h, 2), tw: blocksOf(c.w, 2), zeros: make([]float32, c.ci)}
}

func (v *winoFew) tiles() int { return v.n * v.th * v.tw }

// strides are the floats from tile to tile and from frequency to frequency: of
// V, of the products and, of a panel of nr columns, of U.
func (v *winoFew) strides() (tv, sv, tm, sm int) {
	tv, tm = v.ci+gap, maxCols+gap
	return tv, apart(v.tiles() * tv), tm, apart(v.tiles() * tm)
}

func (v *winoFew) strideU(nr int) int { return apart(v.ci * nr) }

// panelAt is where a panel's weights begin: as if all were of the widest.
func (v *winoFew) panelAt(i int) int { return i * fewFreqs * v.strideU(v.panels[0].tile.NR) }

func (v *winoFew) packedLen() int { return v.panelAt(len(v.panels)) }

func (v *winoFew) pack(i int, us, w, sorted []float32) {
	chunks := v.ci / packChannels
	l0, k := i%chunks*packChannels, i/chunks
	p := v.panels[k]
	nr, u := p.tile.NR, us[v.panelAt(k):]
	v.set.Transpose(sorted, nr, w[p.col*v.out+l0*v.in:], v.out, nr, packChannels*9)
	for l := range packChannels {
		v.set.Winograd2Kernel(u[(l0+l)*nr:], v.strideU(nr), sorted[l*9*nr:], nr, nr)
	}
}

func (v *winoFew) scratch() int {
	_, sv, _, sm := v.strides()
	return max(9*packChannels*maxCols, fewFreqs*(sv+sm)+maxCols)
}

func (v *winoFew) inputLen() int   { return 0 }
func (v *winoFew) inputTasks() int { return 0 }
func (v *winoFew) tasks() int      { return len(v.panels) }

func (v *winoFew) input(int, *job, []float32, *pointers) {}

// reads adds nothing: all pixels are there from a worker's first task on.
func (v *winoFew) reads(int, *job, *kernel.Ahead) {}

func (v *winoFew) regions(i int, to []region) []region {
	p := v.panels[i]
	return append(to, region{0, v.n * v.h * v.w, p.col, p.col + p.width})
}

// corner is the first pixel of a tile, in its image.
func (v *winoFew) corner(tile int) (im, y, x int) {
	return tile / v.tw / v.th, tile / v.tw % v.th * 2, tile % v.tw * 2
}

func (v *winoFew) run(i int, j *job, scratch []float32, own *pointers) {
	tv, sv, tm, sm := v.strides()
	vs, ms, dump := scratch[:fewFreqs*sv], scratch[fewFreqs*sv:][:fewFreqs*sm], scratch[fewFreqs*(sv+sm):]
	if own.first(j) {
		for t := range v.tiles() {
			im, y0, x0 := v.corner(t)
			for k := range own.few {
				y, x := y0-1+k/4, x0-1+k%4
				own.few[k] = &v.zeros[0]
				if uint(y) < uint(v.h) && uint(x) < uint(v.w) {
					own.few[k] = &j.x.x[((im*v.h+y)*v.w+x)*v.ci]
				}
			}
			v.set.Winograd2Input(vs[t*tv:], sv, &own.few, v.ci)
		}
	}
	p := v.panels[i]
	nr := p.tile.NR
	su, us := v.strideU(nr), j.packed[v.panelAt(i):]
	for f := range fewFreqs {
		own.ahead.Reset()
		if f+1 < fewFreqs {
			own.ahead.Add(us[(f+1)*su:][:v.ci*nr])
		} else if next := i + j.workers; next < len(v.panels) { // as a guess
			own.ahead.Add(j.packed[v.panelAt(next):][:v.ci*v.panels[next].tile.NR])
		}
		own.ahead.Over(steps(v.panels[i:i+1], v.tiles(), v.ci))
		p.multiply(v.tiles(), v.ci, vs[f*sv:], tv, 1, us[f*su:], nr, ms[f*sm:], tm, false, nil, &own.ahead)
	}
	for t := range v.tiles() {
		im, y0, x0 := v.corner(t)
		for k := range own.result {
			y, x := y0+k/2, x0+k%2
			own.result[k] = &dump[0]
			if y < v.h && x < v.w {
				own.result[k] = &j.y[((im*v.h+y)*v.w+x)*v.co+p.col]
			}
		}
		v.set.Winograd2Output(&own.result, ms[t*tm:], sm, nr)
	}
}
