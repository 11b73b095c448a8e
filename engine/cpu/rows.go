package cpu

import (
	"math"

	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// rowBlock is how many rows of width n a block of row-wise work has.
func rowBlock(n int) int { return max(1, 2048/n) }

func (c *compiler) l2Normalize(s *plan.Step, op graph.L2Normalize) work {
	rows, n := s.In[0].Shape[0], s.In[0].Shape[1]
	return plain(func() func() {
		x, y := c.f(s.In[0]), c.f(s.Out[0])
		return c.blocks(rows, rowBlock(n), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				from := x[i*n : (i+1)*n]
				length := max(math.Sqrt(dot(from, from)), op.Eps)
				for j, v := range from {
					y[i*n+j] = float32(float64(v) / length)
				}
			}
		})
	})
}

func (c *compiler) l2NormalizeGrad(s *plan.Step, op graph.L2NormalizeGrad) work {
	rows, n := s.In[0].Shape[0], s.In[0].Shape[1]
	return plain(func() func() {
		x, y, dy, dx := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.Out[0])
		return c.blocks(rows, rowBlock(n), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				xi, yi, di := x[i*n:(i+1)*n], y[i*n:(i+1)*n], dy[i*n:(i+1)*n]
				along, length := dot(yi, di), math.Sqrt(dot(xi, xi))
				if length < op.Eps {
					along, length = 0, op.Eps
				}
				for j, d := range di {
					dx[i*n+j] = float32((float64(d) - along*float64(yi[j])) / length)
				}
			}
		})
	})
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// logSumExp is log Σ exp(v/temperature).
func logSumExp(v []float32, temperature float64) float64 {
	top := v[0]
	for _, x := range v {
		top = max(top, x)
	}
	if math.IsInf(float64(top), 0) {
		return float64(top)
	}
	sum := 0.0
	for _, x := range v {
		sum += math.Exp((float64(x) - float64(top)) / temperature)
	}
	return float64(top)/temperature + math.Log(sum)
}

func (c *compiler) crossEntropy(s *plan.Step) work {
	rows, n := s.In[0].Shape[0], s.In[0].Shape[1]
	terms := make([]float64, rows)
	return plain(func() func() {
		logits, labels, loss := c.f(s.In[0]), c.ints[s.In[1]], c.f(s.Out[0])
		term := func(row []float32, i int) float64 { return logSumExp(row, 1) - float64(row[labels[i]]) }
		if s.In[1].DType == graph.Float {
			targets := c.f(s.In[1])
			term = func(row []float32, i int) float64 {
				lse, sum := logSumExp(row, 1), 0.0
				for j, t := range targets[i*n : (i+1)*n] {
					if t != 0 { // 0·∞ is no term
						sum += float64(t) * (lse - float64(row[j]))
					}
				}
				return sum
			}
		}
		each := c.blocks(rows, rowBlock(n), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				terms[i] = term(logits[i*n:(i+1)*n], i)
			}
		})
		return func() {
			each()
			sum := 0.0
			for _, t := range terms {
				sum += t
			}
			loss[0] = float32(sum / float64(rows))
		}
	})
}

func (c *compiler) crossEntropyGrad(s *plan.Step) work {
	rows, n := s.In[0].Shape[0], s.In[0].Shape[1]
	return plain(func() func() {
		logits, dloss, dx := c.f(s.In[0]), c.f(s.In[2]), c.f(s.Out[0])
		if s.In[1].DType == graph.Float {
			targets := c.f(s.In[1])
			return c.blocks(rows, rowBlock(n), func(lo, hi int) {
				scale := float64(dloss[0]) / float64(rows)
				for i := lo; i < hi; i++ {
					row, target, d := logits[i*n:(i+1)*n], targets[i*n:(i+1)*n], dx[i*n:(i+1)*n]
					lse, total := logSumExp(row, 1), 0.0
					for _, t := range target {
						total += float64(t)
					}
					for j, v := range row {
						d[j] = float32((math.Exp(float64(v)-lse)*total - float64(target[j])) * scale)
					}
				}
			})
		}
		labels := c.ints[s.In[1]]
		return c.blocks(rows, rowBlock(n), func(lo, hi int) {
			scale := float64(dloss[0]) / float64(rows)
			for i := lo; i < hi; i++ {
				row, d := logits[i*n:(i+1)*n], dx[i*n:(i+1)*n]
				lse := logSumExp(row, 1)
				for j, v := range row {
					p := math.Exp(float64(v) - lse)
					if j == int(labels[i]) {
						p--
					}
					d[j] = float32(p * scale)
				}
			}
		})
	})
}
