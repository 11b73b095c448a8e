package cpu

import (
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// poolWindows is what max pooling and its derivative go through.
func poolWindows(op graph.MaxPool2D, x, y graph.Shape) (rows, cols []span) {
	return rowSpans(y[1], op.Size, op.Stride, op.Pad, x[1]), spans(y[2], op.Size, op.Stride, op.Pad, x[2])
}

// strip is rows of images as pooling reads them, counted over all images: in x
// itself or, where that is normalised first, some at a time in a worker's
// scratch.
type strip struct {
	set    *kernel.Set
	x      source
	row, n int // floats of a row and of a pixel
	some   []float32
	lo, hi int // the rows that lie there
}

// stripFloats is what a strip's scratch holds: half a second-level cache, or
// more where a window's rows take more.
const stripFloats = 131072

// stripScratch is the scratch of a strip of images x under windows of so many rows.
func stripScratch(x graph.Shape, size int, load bool) int {
	if !load {
		return 0
	}
	row := x[2] * x[3]
	return min(x[0]*x[1], max(size, stripFloats/row)) * row
}

// newStrip is for a step that reads rows of operand 0, whose affine comes last.
func (c *compiler) newStrip(s *plan.Step, load bool) strip {
	x := s.In[0].Shape
	t := strip{set: c.set, x: source{x: c.f(s.In[0])}, row: x[2] * x[3], n: x[3]}
	if load {
		t.x.scale, t.x.shift = c.affine(s.In[len(s.In)-1])
	}
	return t
}

// rows is the images from row lo on, at least to row hi. Neither may be less
// than in the call before.
func (t *strip) rows(lo, hi int) []float32 {
	if t.x.scale == nil {
		return t.x.x[lo*t.row:]
	}
	switch {
	case lo >= t.hi:
		t.lo, t.hi = lo, lo
	case (hi-t.lo)*t.row > len(t.some):
		copy(t.some, t.some[(lo-t.lo)*t.row:(t.hi-t.lo)*t.row])
		t.lo = lo
	}
	if hi > t.hi {
		t.x.load(t.set, t.some[(t.hi-t.lo)*t.row:], t.hi*t.row, (hi-t.hi)*t.row/t.n, t.n)
		t.hi = hi
	}
	return t.some[(lo-t.lo)*t.row:]
}

// maxPool shares out rows of the result. A NaN in a window is its maximum.
func (c *compiler) maxPool(s *plan.Step, op graph.MaxPool2D, load bool) work {
	in, out := s.In[0].Shape, s.Out[0].Shape
	h, w, n := in[1], in[2], in[3]
	rows, cols := poolWindows(op, in, out)
	count, size := out[0]*out[1], blockRows(out[2]*n)
	pool := c.pool
	k := work{scratch: stripScratch(in, op.Size, load)}
	k.build = func([][]float32) func() {
		x, y := c.newStrip(s, load), c.f(s.Out[0])
		body := func(worker, i int) {
			x := x
			x.some = pool.scratch[worker][:k.scratch]
			for row := i * size; row < min(count, (i+1)*size); row++ {
				r := rows[row%out[1]]
				at := row/out[1]*h + r.at
				from, to := x.rows(at, at+r.taps), y[row*out[2]*n:]
				for _, s := range cols {
					c.set.MaxPool(to[s.first*n:], from[s.at*n:], kernel.Windows{
						Pixels: s.count, C: n, Step: op.Stride * n, Row: w * n, Tap: n, KH: r.taps, KW: s.taps,
					})
				}
			}
		}
		return func() { pool.run((count+size-1)/size, body) }
	}
	return k
}

// maxPoolGrad shares out rows of dx. It finds each window's largest pixel again,
// for every task with rows of the window; an element of dx adds up its windows
// in order.
func (c *compiler) maxPoolGrad(s *plan.Step, op graph.MaxPool2D, load bool) work {
	in, out := s.In[0].Shape, s.In[1].Shape
	h, w, n := in[1], in[2], in[3]
	rows, cols := poolWindows(op, in, out)
	// Windows that two tasks share should be few, and tasks enough for threads.
	size := even(h, max(poolGradRows, 4*op.Size))
	parts := blocksOf(h, size)
	pool := c.pool
	k := work{scratch: stripScratch(in, op.Size, load)}
	k.build = func([][]float32) func() {
		x, dy, dx := c.newStrip(s, load), c.f(s.In[1]), c.f(s.Out[0])
		body := func(worker, i int) {
			x := x
			x.some = pool.scratch[worker][:k.scratch]
			img, y0 := i/parts, i%parts*size
			y1, clean := min(h, y0+size), y0
			dx, dy := dx[img*h*w*n:][:h*w*n], dy[img*out[1]*out[2]*n:]
			for oy, r := range rows {
				lo, hi := max(y0, r.at), min(y1, r.at+r.taps)
				if lo >= hi {
					continue
				}
				if clean < hi {
					clear(dx[clean*w*n : hi*w*n])
					clean = hi
				}
				from := x.rows(img*h+r.at, img*h+r.at+r.taps)
				for _, s := range cols {
					c.set.MaxPoolGrad(dx[(lo*w+s.at)*n:], from[s.at*n:], dy[(oy*out[2]+s.first)*n:], kernel.Windows{
						Pixels: s.count, C: n, Step: op.Stride * n, Row: w * n, Tap: n, KH: r.taps, KW: s.taps,
					}, lo-r.at, hi-r.at)
				}
			}
			clear(dx[clean*w*n : y1*w*n])
		}
		return func() { pool.run(in[0]*parts, body) }
	}
	return k
}

const poolGradRows = 16 // rows of dx a task, at least

func (c *compiler) avgPool(s *plan.Step) work {
	in := s.In[0].Shape
	n, pixels := in[3], in[1]*in[2]
	return plain(func() func() {
		x, y := c.f(s.In[0]), c.f(s.Out[0])
		return c.blocks(in[0], 1, func(img, _ int) {
			to := y[img*n:][:n]
			clear(to)
			c.set.ColSums(to, x[img*pixels*n:][:pixels*n], pixels, n)
			c.set.Scale(to, to, 1/float32(pixels))
		})
	})
}

func (c *compiler) avgPoolGrad(s *plan.Step, op graph.GlobalAvgPoolGrad) work {
	in := s.In[0].Shape
	n, pixels := in[1], op.Height*op.Width
	return plain(func() func() {
		dy, dx := c.f(s.In[0]), c.f(s.Out[0])
		return c.blocks(in[0], 1, func(img, _ int) {
			to := dx[img*pixels*n:][:pixels*n]
			c.set.Scale(to[:n], dy[img*n:][:n], 1/float32(pixels))
			for i := 1; i < pixels; i++ {
				copy(to[i*n:(i+1)*n], to[:n])
			}
		})
	})
}
