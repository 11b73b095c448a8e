package cpu

import (
	"math"

	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// window is the pixels of an image under a pooling window.
func poolWindow(op graph.MaxPool2D, o, size int) (lo, hi int) {
	lo = o*op.Stride - op.Pad
	return max(0, lo), min(size, lo+op.Size)
}

// maxPool shares out rows of the result. A NaN in a window is its maximum.
func (c *compiler) maxPool(s *plan.Step, op graph.MaxPool2D) work {
	in, out := s.In[0].Shape, s.Out[0].Shape
	h, w, n := in[1], in[2], in[3]
	return plain(func() func() {
		x, y := c.f(s.In[0]), c.f(s.Out[0])
		return c.blocks(out[0]*out[1], 1, func(row, _ int) {
			img, oy := row/out[1], row%out[1]
			y0, y1 := poolWindow(op, oy, h)
			for ox := range out[2] {
				x0, x1 := poolWindow(op, ox, w)
				to := y[(row*out[2]+ox)*n:][:n]
				first := true
				for iy := y0; iy < y1; iy++ {
					for ix := x0; ix < x1; ix++ {
						from := x[((img*h+iy)*w+ix)*n:][:n]
						if first {
							copy(to, from)
							first = false
							continue
						}
						for j, v := range from {
							if v > to[j] || v != v {
								to[j] = v
							}
						}
					}
				}
			}
		})
	})
}

// maxPoolGrad finds each window's largest pixel again; an image is one task,
// so that overlapping windows add in order.
func (c *compiler) maxPoolGrad(s *plan.Step, op graph.MaxPool2DGrad) work {
	in, out := s.In[0].Shape, s.In[1].Shape
	h, w, n := in[1], in[2], in[3]
	pool := c.pool
	return work{scratch: 2 * n, build: func([][]float32) func() {
		x, dy, dx := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		body := func(worker, img int) {
			best := pool.scratch[worker][:n]
			at := pool.scratch[worker][n : 2*n] // positions, as the bits of an int32
			clear(dx[img*h*w*n:][:h*w*n])
			for o := range out[1] * out[2] {
				y0, y1 := poolWindow(op.Pool, o/out[2], h)
				x0, x1 := poolWindow(op.Pool, o%out[2], w)
				first := true
				for iy := y0; iy < y1; iy++ {
					for ix := x0; ix < x1; ix++ {
						p := (img*h+iy)*w + ix
						bits := math.Float32frombits(uint32(p - img*h*w))
						for j, v := range x[p*n:][:n] {
							if first || v > best[j] || v != v {
								best[j], at[j] = v, bits
							}
						}
						first = false
					}
				}
				for j, d := range dy[(img*out[1]*out[2]+o)*n:][:n] {
					dx[(img*h*w+int(math.Float32bits(at[j])))*n+j] += d
				}
			}
		}
		return func() { pool.run(in[0], body) }
	}}
}

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
