package cpu

import "selfcon/engine/cpu/plan"

// matMul packs the right matrix in columns of matCols and shares out blocks of
// the product. With few rows, as a head's with few images, that would take
// several times as long as reading the matrix: see fewRows.
func (c *compiler) matMul(s *plan.Step, op plan.MatMul) work {
	if m := s.Out[0].Shape[0]; m <= fewRowsMost && !op.TransA && s.In[1].Shape.Size() >= fewRowsFrom {
		if op.TransB {
			return c.fewRowsTrans(s)
		}
		return c.fewRows(s)
	}
	matRows, matCols := 56, 128
	m, n := s.Out[0].Shape[0], s.Out[0].Shape[1]
	k, ars, ads := s.In[0].Shape[1], s.In[0].Shape[1], 1
	if op.TransA {
		k, ars, ads = s.In[0].Shape[0], 1, s.In[0].Shape[1]
	}
	ldb := s.In[1].Shape[1]
	if op.Do && k <= fewDeep {
		matRows, matCols = 14, 2048
	}
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
	if op.Do {
		step.scratch = matRows * matCols
	}
	step.build = func(temps [][]float32) func() {
		a, packed := c.f(s.In[0]), temps[0]
		to, begin := c.gradTo(s, op.Update)
		body := func(worker, i int) {
			r, col := i%rowBlocks*matRows, i/rowBlocks*matCols
			rows, cols := min(matRows, m-r), min(matCols, n-col)
			a, b := a[r*ars:], packed[col/matCols*size:]
			if !op.Do {
				c.set.GemmPacked(rows, cols, k, a, ars, ads, b, to.dw[r*n+col:], n, false)
				return
			}
			y := pool.scratch[worker]
			c.set.GemmPacked(rows, cols, k, a, ars, ads, b, y, matCols, false)
			for i := range rows {
				to.put((r+i)*n+col, y[i*matCols:][:cols])
			}
		}
		return func() {
			begin()
			pool.run(colBlocks*rowBlocks, body)
		}
	}
	return step
}

// fewDeep is the depth up to which a gradient that goes into an optimizer's step
// is made in few long rows: the step takes longer than the product then, and the
// parameters' memory is read in order.
const fewDeep = 64

const (
	fewRowsMost = 32
	fewRowsFrom = 128 << 10 // elements of the right matrix: half a megabyte
	fewDepth    = 32        // rows of the right matrix at a time
	fewCols     = 256       // columns a task
)

// fewRowsTrans is y = a·bᵀ for few rows of a, as yᵀ = b·aᵀ: a is packed, and b,
// read once and in order, is not. A task is some rows of b.
func (c *compiler) fewRowsTrans(s *plan.Step) work {
	m, k, n := s.In[0].Shape[0], s.In[0].Shape[1], s.Out[0].Shape[1]
	const rows = 56
	size := c.set.PackedLen(k, m)
	pool, set := c.pool, c.set
	return work{temps: []int{size}, scratch: rows * m, flops: 2 * float64(m) * float64(n) * float64(k), build: func(temps [][]float32) func() {
		a, b, y, packed := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0]), temps[0]
		body := func(worker, i int) {
			lo, hi := i*rows, min(n, (i+1)*rows)
			t := pool.scratch[worker][:rows*m]
			set.GemmPacked(hi-lo, m, k, b[lo*k:], k, 1, packed, t, m, false)
			for r := range m {
				to := y[r*n+lo : r*n+hi]
				for j := range to {
					to[j] = t[j*m+r]
				}
			}
		}
		return func() {
			set.PackBTrans(packed, k, m, a, k)
			pool.run(blocksOf(n, rows), body)
		}
	}}
}

// fewRows is y = a·b for few rows of a: rows of b are used as they lie, a few at
// a time, so that they are read in order. A task is some columns.
func (c *compiler) fewRows(s *plan.Step) work {
	m, k, n := s.In[0].Shape[0], s.In[0].Shape[1], s.Out[0].Shape[1]
	set := c.set
	return work{flops: 2 * float64(m) * float64(n) * float64(k), build: func([][]float32) func() {
		a, b, y := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		return c.blocks(n, fewCols, func(lo, hi int) {
			for l := 0; l < k; l += fewDepth {
				set.Gemm(m, hi-lo, min(fewDepth, k-l), a[l:], k, 1, b[l*n+lo:], n, y[lo:], n, l > 0)
			}
		})
	}}
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
