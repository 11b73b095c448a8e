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

// maxPool shares out rows of the result. A NaN in a window is its maximum.
func (c *compiler) maxPool(s *plan.Step, op graph.MaxPool2D) work {
	in, out := s.In[0].Shape, s.Out[0].Shape
	h, w, n := in[1], in[2], in[3]
	rows, cols := poolWindows(op, in, out)
	return plain(func() func() {
		x, y := c.f(s.In[0]), c.f(s.Out[0])
		return c.blocks(out[0]*out[1], blockRows(out[2]*n), func(lo, hi int) {
			for row := lo; row < hi; row++ {
				r := rows[row%out[1]]
				from, to := x[(row/out[1]*h+r.at)*w*n:], y[row*out[2]*n:]
				for _, s := range cols {
					c.set.MaxPool(to[s.first*n:], from[s.at*n:], kernel.Windows{
						Pixels: s.count, C: n, Step: op.Stride * n, Row: w * n, Tap: n, KH: r.taps, KW: s.taps,
					})
				}
			}
		})
	})
}

// maxPoolGrad shares out rows of dx. It finds each window's largest pixel again,
// for every task with rows of the window; an element of dx adds up its windows
// in order.
func (c *compiler) maxPoolGrad(s *plan.Step, op graph.MaxPool2DGrad) work {
	in, out := s.In[0].Shape, s.In[1].Shape
	h, w, n := in[1], in[2], in[3]
	rows, cols := poolWindows(op.Pool, in, out)
	// Windows that two tasks share should be few, and tasks enough for threads.
	size := even(h, max(poolGradRows, 4*op.Pool.Size))
	parts := blocksOf(h, size)
	pool := c.pool
	return plain(func() func() {
		x, dy, dx := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		body := func(_, i int) {
			img, y0 := i/parts, i%parts*size
			y1, clean := min(h, y0+size), y0
			x, dx, dy := x[img*h*w*n:][:h*w*n], dx[img*h*w*n:][:h*w*n], dy[img*out[1]*out[2]*n:]
			for oy, r := range rows {
				lo, hi := max(y0, r.at), min(y1, r.at+r.taps)
				if lo >= hi {
					continue
				}
				if clean < hi {
					clear(dx[clean*w*n : hi*w*n])
					clean = hi
				}
				for _, s := range cols {
					c.set.MaxPoolGrad(dx[(lo*w+s.at)*n:], x[(r.at*w+s.at)*n:], dy[(oy*out[2]+s.first)*n:], kernel.Windows{
						Pixels: s.count, C: n, Step: op.Pool.Stride * n, Row: w * n, Tap: n, KH: r.taps, KW: s.taps,
					}, lo-r.at, hi-r.at)
				}
			}
			clear(dx[clean*w*n : y1*w*n])
		}
		return func() { pool.run(in[0]*parts, body) }
	})
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
