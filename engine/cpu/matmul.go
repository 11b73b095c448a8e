package cpu

import (
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// matMul packs the right matrix in columns of matCols and shares out blocks of
// the product.
func (c *compiler) matMul(s *plan.Step, op graph.MatMul) work {
	const matRows, matCols = 56, 128
	m, n := s.Out[0].Shape[0], s.Out[0].Shape[1]
	k, ars, ads := s.In[0].Shape[1], s.In[0].Shape[1], 1
	if op.TransA {
		k, ars, ads = s.In[0].Shape[0], 1, s.In[0].Shape[1]
	}
	ldb := s.In[1].Shape[1]
	colBlocks, rowBlocks := (n+matCols-1)/matCols, (m+matRows-1)/matRows
	size := c.set.PackedLen(k, matCols)
	step := work{temps: []int{colBlocks * size}, flops: 2 * float64(m) * float64(n) * float64(k), weight: s.In[1]}
	pool := c.pool
	step.pack = func(temps [][]float32) func() {
		b, packed := c.f(s.In[1]), temps[0]
		pack := func(_, i int) {
			j := i * matCols
			w := min(matCols, n-j)
			if op.TransB {
				c.set.PackBTrans(packed[i*size:], k, w, b[j*ldb:], ldb)
			} else {
				c.set.PackB(packed[i*size:], k, w, b[j:], ldb)
			}
		}
		return func() { pool.run(colBlocks, pack) }
	}
	step.build = func(temps [][]float32) func() {
		a, y, packed := c.f(s.In[0]), c.f(s.Out[0]), temps[0]
		body := func(_, i int) {
			j, r := i/rowBlocks, i%rowBlocks*matRows
			c.set.GemmPacked(min(matRows, m-r), min(matCols, n-j*matCols), k, a[r*ars:], ars, ads,
				packed[j*size:], y[r*n+j*matCols:], n, false)
		}
		return func() { pool.run(colBlocks*rowBlocks, body) }
	}
	return step
}

func (c *compiler) addBias(s *plan.Step) work {
	rows, n, block, _ := channelBlocks(s.In[0].Shape)
	return plain(func() func() {
		x, b, y := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		return c.blocks(rows, block, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				c.set.Add(y[i*n:(i+1)*n], x[i*n:(i+1)*n], b)
			}
		})
	})
}

// sumRows sums blocks of rows and adds those up in order.
func (c *compiler) sumRows(s *plan.Step) work {
	rows, n, block, count := channelBlocks(s.In[0].Shape)
	return work{temps: []int{count * n}, build: func(temps [][]float32) func() {
		x, y, parts := c.f(s.In[0]), c.f(s.Out[0]), temps[0]
		sums := c.blocks(rows, block, func(lo, hi int) {
			p := parts[lo/block*n:][:n]
			clear(p)
			c.set.ColSums(p, x[lo*n:hi*n], hi-lo, n)
		})
		return func() {
			sums()
			copy(y, parts[:n])
			for i := 1; i < count; i++ {
				c.set.AddTo(y, parts[i*n:(i+1)*n])
			}
		}
	}}
}
