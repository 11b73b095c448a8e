package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
)

// unrolled is a convolution of few positions and many weights, such as the last
// stages' for one image, as one matrix product. Such a convolution takes as
// long as it takes to read its weights, so each is read once: a task is a panel
// of output channels, and the products with a part of it fetch the next part, so
// that reading goes on evenly. Each worker copies out all windows (im2col) for
// itself: to read what another has copied takes longer.
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

// scratch is the windows, and a tile for columns beyond the last; or what pack
// needs.
func (v *unrolled) scratch() int {
	return max(tileFloats+v.m*v.lda, min(v.in, v.out)*min(packChannels, v.ci)*maxCols)
}

func (v *unrolled) tasks() int { return len(v.panels) * blocksOf(v.m, v.block) }

// task is the panel and the positions of a task.
func (v *unrolled) task(i int) (p panel, r, m int) {
	blocks := blocksOf(v.m, v.block)
	r = i % blocks * v.block
	return v.panels[i/blocks], r, min(v.block, v.m-r)
}

// reads adds nothing: all windows are there from a worker's first task on.
func (v *unrolled) reads(int, *job, *kernel.Ahead) {}

func (v *unrolled) regions(i int, to []region) []region {
	p, r, m := v.task(i)
	return append(to, region{r, r + m, p.col, p.col + p.width})
}

func (v *unrolled) run(i int, j *job, scratch []float32, p *pointers) {
	tmp, a := scratch[:tileFloats], scratch[tileFloats:]
	if p.first(j) {
		v.windows(a, v.lda, j.x, tapRun{0, v.kh * v.kw}, 0, v.n, 0, v.oh)
	}
	at, r, m := v.task(i)
	b := j.packed[at.col*v.k():]
	for l := 0; l < v.k(); l += v.kc {
		p.ahead.Reset()
		if n := l + v.kc; n < v.k() {
			p.ahead.Add(b[n*at.tile.NR : min(n+v.kc, v.k())*at.tile.NR])
		} else if i+j.workers < v.tasks() {
			next, _, _ := v.task(i + j.workers) // as a guess
			p.ahead.Add(j.packed[next.col*v.k():][:v.kc*next.tile.NR])
		}
		depth := min(v.kc, v.k()-l)
		p.ahead.Over(steps([]panel{at}, m, depth))
		at.multiply(m, depth, a[r*v.lda+l:], v.lda, 1, b[l*at.tile.NR:], at.tile.NR,
			j.y[r*v.co+at.col:], v.co, l > 0 || j.add != nil, tmp, &p.ahead)
	}
}
