package cpu

import "selfcon/engine/cpu/plan"

// expNeg is e⁻ˣ, finite: below −88 it is as at −88, where a sigmoid is 0 for
// all purposes.
func expNeg(x float32) float32 { return exp(min(-x, 88)) }

func (c *compiler) sigmoid(s *plan.Step) work {
	return c.unary(s, func(y, x []float32) {
		for i, v := range x {
			y[i] = 1 / (1 + expNeg(v))
		}
	})
}

func (c *compiler) sigmoidGrad(s *plan.Step) work {
	return c.binary(s, func(dx, y, dy []float32) {
		for i, v := range y {
			dx[i] = dy[i] * v * (1 - v)
		}
	})
}

func (c *compiler) silu(s *plan.Step) work {
	return c.unary(s, func(y, x []float32) {
		for i, v := range x {
			y[i] = v / (1 + expNeg(v))
		}
	})
}

// siluGrad has 1 − σ as e⁻ˣ·σ, which does not cancel.
func (c *compiler) siluGrad(s *plan.Step) work {
	return c.binary(s, func(dx, x, dy []float32) {
		for i, v := range x {
			e := expNeg(v)
			sigma := 1 / (1 + e)
			dx[i] = dy[i] * sigma * (1 + v*(e*sigma))
		}
	})
}

// scaleChannels shares out pixels.
func (c *compiler) scaleChannels(s *plan.Step) work {
	rows, n, block, _ := channelBlocks(s.In[0].Shape)
	pixels := rows / s.In[0].Shape[0]
	return plain(func() func() {
		x, scale, y := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		return c.blocks(rows, block, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				to, by := y[r*n:][:n], scale[r/pixels*n:][:n]
				for j, v := range x[r*n:][:n] {
					to[j] = v * by[j]
				}
			}
		})
	})
}

// scaleChannelsGrad sums an image a task.
func (c *compiler) scaleChannelsGrad(s *plan.Step) work {
	images, n := s.Out[0].Shape[0], s.Out[0].Shape[1]
	size := s.In[0].Shape[1:].Size()
	return plain(func() func() {
		x, dy, ds := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		return c.blocks(images, 1, func(img, _ int) {
			to := ds[img*n:][:n]
			clear(to)
			for at := img * size; at < (img+1)*size; at += n {
				d := dy[at:][:n]
				for j, v := range x[at:][:n] {
					to[j] += v * d[j]
				}
			}
		})
	})
}
