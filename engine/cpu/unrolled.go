package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
)

// unrolled is a convolution of few positions and many weights, such as the last
// stages' for one image, as one matrix product. Such a convolution takes as
// long as it takes to read its weights, so each is read once: all windows are
// copied out first (im2col), and a task is a panel of output channels.
type unrolled struct {
	*corr
	m     int // positions
	lda   int // floats from window to window
	kc    int // depth at a time
	block int // positions a task
}

const (
	unrolledFloats = 256 << 10 // windows, 1 MB, that stay in a second-level cache
	unrolledDepth  = 256       // of a panel's weights, 32 kB, while the positions go by
	unrolledTasks  = 8         // at least, if positions allow that
)

// unrolls says whether a correlation is one for unrolled.
func (c *corr) unrolls() bool {
	m, weights := c.n*c.oh*c.ow, c.k()*c.co
	return c.groups == 1 && c.step == 1 && len(c.tap) > 0 && m <= 256 && m*c.k() <= unrolledFloats && weights >= 16*m
}

func newUnrolled(set *kernel.Set, c *corr) *unrolled {
	c.set = set
	c.panels, c.cols = panelsFor(set, c.co)
	v := &unrolled{corr: c, m: c.n * c.oh * c.ow, lda: apart(plan.Aligned(c.k())), kc: even(c.k(), unrolledDepth)}
	v.block = min(v.m, max(set.Tiles[0].MR, blocksOf(v.m, blocksOf(unrolledTasks, len(c.panels)))))
	return v
}

// scratch is what pack needs, and a tile for columns beyond the last.
func (v *unrolled) scratch() int {
	return max(tileFloats, min(v.in, v.out)*min(packChannels, v.ci)*maxCols)
}

func (v *unrolled) inputLen() int { return v.m * v.lda }

func (v *unrolled) inputTasks() int { return v.n * v.oh }

// input copies the windows of a row of an image.
func (v *unrolled) input(i int, j *job, _ []float32, _ *pointers) {
	im, row := i/v.oh, i%v.oh
	v.windows(j.inputs[i*v.ow*v.lda:], v.lda, j.x, tapRun{0, v.kh * v.kw}, im, im+1, row, row+1)
}

func (v *unrolled) tasks() int { return len(v.panels) * blocksOf(v.m, v.block) }

// task is the panel and the positions of a task.
func (v *unrolled) task(i int) (p panel, r, m int) {
	blocks := blocksOf(v.m, v.block)
	r = i % blocks * v.block
	return v.panels[i/blocks], r, min(v.block, v.m-r)
}

func (v *unrolled) regions(i int, to []region) []region {
	p, r, m := v.task(i)
	return append(to, region{r, r + m, p.col, p.col + p.width})
}

func (v *unrolled) run(i int, j *job, scratch []float32, _ *pointers) {
	p, r, m := v.task(i)
	b := j.packed[p.col*v.k():]
	for l := 0; l < v.k(); l += v.kc {
		multiply(p, m, min(v.kc, v.k()-l), j.inputs[r*v.lda+l:], v.lda, 1, b[l*p.tile.NR:], p.tile.NR,
			j.y[r*v.co+p.col:], v.co, l > 0 || j.add != nil, scratch)
	}
}
