package cpu

import (
	"math"

	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// softened calls f for each element of a row with the log-probabilities of
// student and teacher at a temperature.
func softened(student, teacher []float32, temperature float64, f func(k int, s, t float64)) {
	ls, lt := logSumExp(student, temperature), logSumExp(teacher, temperature)
	for k := range student {
		f(k, float64(student[k])/temperature-ls, float64(teacher[k])/temperature-lt)
	}
}

func (c *compiler) distill(s *plan.Step, op graph.Distill) work {
	rows, n := s.In[0].Shape[0], s.In[0].Shape[1]
	terms := make([]float64, rows)
	return plain(func() func() {
		student, teacher, loss := c.f(s.In[0]), c.f(s.In[1]), c.f(s.Out[0])
		each := c.blocks(rows, rowBlock(n), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				terms[i] = 0
				softened(student[i*n:(i+1)*n], teacher[i*n:(i+1)*n], op.Temperature, func(_ int, s, t float64) {
					terms[i] -= math.Exp(t) * s
				})
			}
		})
		return func() {
			each()
			sum := 0.0
			for _, t := range terms {
				sum += t
			}
			loss[0] = float32(op.Temperature * op.Temperature * sum / float64(rows))
		}
	})
}

func (c *compiler) distillGrad(s *plan.Step, op graph.DistillGrad) work {
	rows, n := s.In[0].Shape[0], s.In[0].Shape[1]
	return plain(func() func() {
		student, teacher, dloss, dx := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.Out[0])
		return c.blocks(rows, rowBlock(n), func(lo, hi int) {
			scale := op.Temperature * float64(dloss[0]) / float64(rows)
			for i := lo; i < hi; i++ {
				d := dx[i*n : (i+1)*n]
				softened(student[i*n:(i+1)*n], teacher[i*n:(i+1)*n], op.Temperature, func(k int, s, t float64) {
					d[k] = float32((math.Exp(s) - math.Exp(t)) * scale)
				})
			}
		})
	})
}
