package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
)

// depthwise says whether each channel has a kernel of its own, and one result.
func (c *corr) depthwise() bool { return c.groups > 1 && c.ci == 1 && c.co == 1 }

// depth is a depthwise correlation: vectors of channels, straight from the
// images, with no more taps at the border than there are pixels. Channels are
// taken in chunks, so that a chunk's weights stay in the first-level cache.
type depth struct {
	set    *kernel.Set
	phases []phaseSpans
	order  []int // the taps of all phases, one after the other
	taps   int
	chunk  int // channels
	block  int // rows of the destination a task
}

// phaseSpans is one phase, and its positions.
type phaseSpans struct {
	*corr
	rows, cols []span
	before     int // taps of the phases before it
}

// newDepthwise takes the correlations of the same images, as they lie
// (plan.FuseLoad leaves grouped ones alone), that fill the destination between
// them.
func newDepthwise(set *kernel.Set, phases ...*corr) *depth {
	d := &depth{set: set}
	for _, p := range phases {
		d.phases = append(d.phases, phaseSpans{
			p, rowSpans(p.oh, p.kh, p.stride, p.py, p.h), spans(p.ow, p.kw, p.stride, p.px, p.w), d.taps,
		})
		d.order = append(d.order, p.tap...)
		d.taps = len(d.order)
	}
	p := phases[0]
	d.chunk = depthChunk(p.c, d.taps)
	d.block = blockRows(p.dw * p.dc)
	return d
}

// depthChunk is how many of c channels a chunk has: whole cache lines, and at
// most 16 kB of a kernel of so many taps.
func depthChunk(c, taps int) int {
	most := max(plan.Align, 4096/max(1, taps)/plan.Align*plan.Align)
	return min(c, plan.Aligned(even(c, most)))
}

func (d *depth) flops() float64 {
	sum := 0.0
	for _, p := range d.phases {
		sum += p.flops()
	}
	return sum
}

func (d *depth) cost() float64 { return d.flops() }

func (d *depth) scratch() int    { return 0 }
func (d *depth) packedLen() int  { return d.taps * d.phases[0].c }
func (d *depth) inputLen() int   { return 0 }
func (d *depth) inputTasks() int { return 0 }
func (d *depth) packTasks() int  { return blocksOf(d.phases[0].c, d.chunk) }

// pack lays out a chunk's weights: a phase after the other, of each its taps, of
// each the channels.
func (d *depth) pack(i int, packed, w, _ []float32) {
	c0 := i * d.chunk
	c1 := min(d.phases[0].c, c0+d.chunk)
	n, group := c1-c0, d.phases[0].group
	to := packed[c0*d.taps : c1*d.taps]
	for j := range n { // w is read in order
		from, at := w[(c0+j)*group:][:group], j
		for _, tap := range d.order {
			to[at] = from[tap]
			at += n
		}
	}
}

func (d *depth) input(int, *job, []float32, *pointers) {}

// reads adds nothing: it has no products to fetch behind.
func (d *depth) reads(int, *job, *kernel.Ahead) {}

func (d *depth) tasks() int {
	p := d.phases[0]
	return blocksOf(p.n*p.dh, d.block)
}

// regions are a task's rows, whole.
func (d *depth) regions(i int, to []region) []region {
	p := d.phases[0]
	return append(to, region{i * d.block * p.dw, min(p.n*p.dh, (i+1)*d.block) * p.dw, 0, p.c})
}

// run computes rows of the destination, all phases of each.
func (d *depth) run(i int, j *job, _ []float32, _ *pointers) {
	c, dh, x, packed, y, acc := d.phases[0].c, d.phases[0].dh, j.x.x, j.packed, j.y, j.add != nil
	last := min(d.phases[0].n*dh, (i+1)*d.block)
	for c0 := 0; c0 < c; c0 += d.chunk {
		n := min(d.chunk, c-c0)
		for row := i * d.block; row < last; row++ {
			img, at := row/dh, row%dh
			for _, p := range d.phases {
				if at%p.step == p.oy {
					k := packed[c0*d.taps+p.before*n:][:len(p.tap)*n]
					p.row(d.set, img, p.rows[at/p.step], x[c0:], k, n, y[row*p.dw*c+p.ox*c+c0:], acc)
				}
			}
		}
	}
}

// row computes n channels of one row of positions.
func (p *phaseSpans) row(set *kernel.Set, img int, r span, x, k []float32, n int, y []float32, acc bool) {
	for _, s := range p.cols {
		to := y[s.first*p.step*p.c:]
		if r.taps == 0 || s.taps == 0 {
			for i := range s.count {
				if !acc {
					clear(to[i*p.step*p.c:][:n])
				}
			}
			continue
		}
		set.Depthwise(to, p.step*p.c, x[((img*p.h+r.at)*p.w+s.at)*p.c:], k[(r.tap*p.kw+s.tap)*n:], p.kw*n, p.under(n, r, s), acc)
	}
}

// under is the windows of n channels under a row's taps and a span of its
// positions.
func (c *corr) under(n int, r, s span) kernel.Windows {
	return kernel.Windows{Pixels: s.count, C: n, Step: c.stride * c.c, Row: c.w * c.c, Tap: c.c, KH: r.taps, KW: s.taps}
}

// depthGradWeight sums the weight gradient of some rows of dy at a time, adds
// those up in order within each of a few parts of all rows, and then the parts.
func (c *compiler) depthGradWeight(s *plan.Step, f *corr) work {
	taps, rows := len(f.tap), f.n*f.oh
	p := phaseSpans{f, rowSpans(f.oh, f.kh, f.stride, f.py, f.h), spans(f.ow, f.kw, f.stride, f.px, f.w), 0}
	chunk := depthChunk(f.c, taps)
	chunks := blocksOf(f.c, chunk)
	parts := min(rows, blocksOf(32, chunks))
	some := max(1, 256/f.ow) // rows
	pool, set := c.pool, c.set
	return work{
		temps: []int{parts * taps * f.c}, scratch: taps * chunk, flops: f.flops(),
		build: func(temps [][]float32) func() {
			x, dy, dw, sums := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0]), temps[0]
			// of is the channels of a chunk, and a part's sums for them: taps, of
			// each the channels.
			of := func(part, i int) (c0, n int, sum []float32) {
				c0 = i * chunk
				n = min(chunk, f.c-c0)
				return c0, n, sums[(part*f.c+c0)*taps:][:n*taps]
			}
			run := func(worker, i int) {
				part := i / chunks
				c0, n, sum := of(part, i%chunks)
				own := pool.scratch[worker][:len(sum)]
				clear(sum)
				row, last := rows*part/parts, rows*(part+1)/parts
				for row < last {
					clear(own)
					for end := min(last, row+some); row < end; row++ {
						p.rowGrad(set, row/f.oh, p.rows[row%f.oh], own, n, x[c0:], dy[row*f.ow*f.c+c0:])
					}
					set.AddTo(sum, own)
				}
			}
			reduce := func(_, i int) {
				c0, n, sum := of(0, i)
				for part := 1; part < parts; part++ {
					_, _, more := of(part, i)
					set.AddTo(sum, more)
				}
				for t := range taps {
					for j, v := range sum[t*n : (t+1)*n] {
						dw[(c0+j)*taps+t] = v
					}
				}
			}
			return func() {
				pool.run(parts*chunks, run)
				pool.run(chunks, reduce)
			}
		},
	}
}

// rowGrad adds one row of positions to n channels' weight gradient.
func (p *phaseSpans) rowGrad(set *kernel.Set, img int, r span, dk []float32, n int, x, dy []float32) {
	if r.taps == 0 {
		return
	}
	for _, s := range p.cols {
		if s.taps > 0 {
			set.DepthwiseGrad(dk[(r.tap*p.kw+s.tap)*n:], p.kw*n, x[((img*p.h+r.at)*p.w+s.at)*p.c:], dy[s.first*p.c:], p.under(n, r, s))
		}
	}
}
