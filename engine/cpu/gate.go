package cpu

import "selfcon/engine/cpu/plan"

// scaleChannels shares out blocks of pixels; each image in a block is a batch
// norm's scale without its shift.
func (c *compiler) scaleChannels(s *plan.Step) work {
	rows, n, block, _ := channelBlocks(s.In[0].Shape)
	pixels := rows / s.In[0].Shape[0]
	zero := make([]float32, n)
	return plain(func() func() {
		x, scale, y := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		return c.blocks(rows, block, func(lo, hi int) {
			for lo < hi {
				img := lo / pixels
				end := min(hi, (img+1)*pixels)
				c.set.ScaleShift(y[lo*n:end*n], x[lo*n:end*n], scale[img*n:][:n], zero, end-lo, n)
				lo = end
			}
		})
	})
}

// scaleChannelsGrad sums an image a task, as a batch norm's derivative about a
// mean of zero; the sum of dy goes to scratch.
func (c *compiler) scaleChannelsGrad(s *plan.Step) work {
	images, n := s.Out[0].Shape[0], s.Out[0].Shape[1]
	size := s.In[0].Shape[1:].Size()
	zero := make([]float32, n)
	pool := c.pool
	return work{scratch: n, build: func([][]float32) func() {
		x, dy, ds := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		body := func(worker, img int) {
			to := ds[img*n:][:n]
			clear(to)
			c.set.ColDot2(pool.scratch[worker][:n], to, dy[img*size:][:size], x[img*size:][:size], zero, size/n, n)
		}
		return func() { pool.run(images, body) }
	}}
}
