package cpu

import (
	"math"

	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// channelBlocks cuts the rows of a tensor of channels into blocks of 64 kB.
func channelBlocks(s graph.Shape) (rows, channels, block, count int) {
	channels = s[len(s)-1]
	rows = s.Size() / channels
	block = max(1, chunk/channels)
	return rows, channels, block, (rows + block - 1) / block
}

// norm is batch norm, in training or in inference, and what is fused with it.
// The statistics take one pass over memory: each block finds its mean and,
// about that, its sum of squares while it lies in cache; the blocks' are merged
// in order, in float64 (Chan et al.), so that no precision is lost to a large
// mean.
func (c *compiler) norm(s *plan.Step, op plan.Norm) work {
	rows, n, block, count := channelBlocks(s.In[0].Shape)
	temps := []int{n, n}
	if !op.Inference {
		temps = append(temps, 2*n*count)
	}
	return work{temps: temps, build: func(temps [][]float32) func() {
		x, weight, bias, y := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.Out[0])
		scale, shift := temps[0], temps[1]
		var add []float32
		if op.Add {
			add = c.f(s.In[len(s.In)-1])
		}
		apply := c.applyNorm(op, rows, n, block, x, scale, shift, add, y)
		if op.Inference {
			mean, variance := c.f(s.In[3]), c.f(s.In[4])
			return func() {
				for j := range scale {
					f := float64(weight[j]) / math.Sqrt(float64(variance[j])+op.Eps)
					scale[j], shift[j] = float32(f), float32(float64(bias[j])-f*float64(mean[j]))
				}
				apply()
			}
		}
		mean, variance := c.f(s.Out[1]), c.f(s.Out[2])
		parts := temps[2]
		stats := c.blocks(rows, block, func(lo, hi int) {
			p := parts[lo/block*2*n:][:2*n]
			clear(p)
			m, sq, x := p[:n], p[n:], x[lo*n:hi*n]
			c.set.ColSums(m, x, hi-lo, n)
			c.set.Scale(m, m, 1/float32(hi-lo))
			c.set.ColVar(sq, x, m, hi-lo, n)
		})
		sum := make([]float64, 2*n)
		return func() {
			stats()
			clear(sum)
			for i := range count {
				w := float64(min(rows, (i+1)*block) - i*block)
				for j, m := range parts[i*2*n:][:n] {
					sum[j] += w * float64(m)
				}
			}
			for j := range n {
				sum[j] /= float64(rows)
			}
			for i := range count {
				w := float64(min(rows, (i+1)*block) - i*block)
				p := parts[i*2*n:][:2*n]
				for j, sq := range p[n:] {
					d := float64(p[j]) - sum[j]
					sum[n+j] += float64(sq) + w*d*d
				}
			}
			for j := range n {
				v := sum[n+j] / float64(rows)
				mean[j], variance[j] = float32(sum[j]), float32(v)
				f := float64(weight[j]) / math.Sqrt(v+op.Eps)
				scale[j], shift[j] = float32(f), float32(float64(bias[j])-f*sum[j])
			}
			apply()
		}
	}}
}

// applyNorm is y = relu(x·scale + shift + add), with what op wants of it.
func (c *compiler) applyNorm(op plan.Norm, rows, n, block int, x, scale, shift, add, y []float32) func() {
	set := c.set
	return c.blocks(rows, block, func(lo, hi int) {
		x, y, m := x[lo*n:hi*n], y[lo*n:hi*n], hi-lo
		switch {
		case op.Add && op.ReLU:
			set.ScaleShiftAddReLU(y, x, scale, shift, add[lo*n:hi*n], m, n)
		case op.Add:
			set.ScaleShiftAdd(y, x, scale, shift, add[lo*n:hi*n], m, n)
		case op.ReLU:
			set.ScaleShiftReLU(y, x, scale, shift, m, n)
		default:
			set.ScaleShift(y, x, scale, shift, m, n)
		}
	})
}

// normGrad is batch norm's derivative, with relu that of the ReLU behind it as
// well: dy is masked block by block in cache, and only written where something
// else wants it.
func (c *compiler) normGrad(s *plan.Step, eps float64, relu bool) work {
	rows, n, block, count := channelBlocks(s.In[0].Shape)
	k := work{temps: []int{2 * n * count, n, n, n}}
	if relu && s.Out[3] == nil {
		k.scratch = block * n
	}
	pool, set := c.pool, c.set
	k.build = func(temps [][]float32) func() {
		x, weight, mean, variance, dy := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.In[3]), c.f(s.In[4])
		dx, dweight, dbias := c.f(s.Out[0]), c.f(s.Out[1]), c.f(s.Out[2])
		parts, fy, fx, f1 := temps[0], temps[1], temps[2], temps[3]
		var y, dz []float32
		if relu {
			if y = c.f(s.In[5]); s.Out[3] != nil {
				dz = c.f(s.Out[3])
			}
		}
		sums := func(worker, i int) {
			lo, hi := i*block, min(rows, (i+1)*block)
			p := parts[i*2*n:][:2*n]
			clear(p)
			d, from := dy[lo*n:hi*n], dy[lo*n:hi*n]
			if relu {
				if d = pool.scratch[worker]; dz != nil {
					d = dz[lo*n : hi*n]
				}
				d = d[:len(from)]
				set.ReLUGrad(d, y[lo*n:hi*n], from)
			}
			set.ColDot2(p[:n], p[n:], d, x[lo*n:hi*n], mean, hi-lo, n)
		}
		apply := func(worker, i int) {
			lo, hi := i*block, min(rows, (i+1)*block)
			d := dy[lo*n : hi*n]
			if dz != nil {
				d = dz[lo*n : hi*n]
			} else if relu {
				d = pool.scratch[worker][:len(d)]
				set.ReLUGrad(d, y[lo*n:hi*n], dy[lo*n:hi*n])
			}
			set.BNGrad(dx[lo*n:hi*n], d, x[lo*n:hi*n], fy, fx, f1, hi-lo, n)
		}
		sum := make([]float64, 2*n)
		return func() {
			pool.run(count, sums)
			clear(sum)
			for i := range count {
				for j, v := range parts[i*2*n:][:2*n] {
					sum[j] += float64(v)
				}
			}
			for j := range n {
				invStd := 1 / math.Sqrt(float64(variance[j])+eps)
				db, dw := sum[j], sum[n+j]*invStd
				dbias[j], dweight[j] = float32(db), float32(dw)
				// dx = a·(dy − db/M − (x − mean)·invStd·dw/M)
				a := float64(weight[j]) * invStd
				b := -a * invStd * dw / float64(rows)
				fy[j], fx[j], f1[j] = float32(a), float32(b), float32(-a*db/float64(rows)-b*float64(mean[j]))
			}
			pool.run(count, apply)
		}
	}
	return k
}

func (c *compiler) normInferenceGrad(s *plan.Step, op graph.BatchNormInferenceGrad) work {
	rows, n, block, count := channelBlocks(s.In[0].Shape)
	set := c.set
	return work{temps: []int{2 * n * count, n, n}, build: func(temps [][]float32) func() {
		x, weight, mean, variance, dy := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.In[3]), c.f(s.In[4])
		dx, dweight, dbias := c.f(s.Out[0]), c.f(s.Out[1]), c.f(s.Out[2])
		parts, scale, zero := temps[0], temps[1], temps[2]
		sums := c.blocks(rows, block, func(lo, hi int) {
			p := parts[lo/block*2*n:][:2*n]
			clear(p)
			set.ColDot2(p[:n], p[n:], dy[lo*n:hi*n], x[lo*n:hi*n], mean, hi-lo, n)
		})
		apply := c.blocks(rows, block, func(lo, hi int) {
			set.ScaleShift(dx[lo*n:hi*n], dy[lo*n:hi*n], scale, zero, hi-lo, n)
		})
		return func() {
			sums()
			clear(zero)
			for j := range n {
				invStd := 1 / math.Sqrt(float64(variance[j])+op.Eps)
				var db, dw float64
				for i := range count {
					db += float64(parts[i*2*n+j])
					dw += float64(parts[i*2*n+n+j])
				}
				dbias[j], dweight[j] = float32(db), float32(dw*invStd)
				scale[j] = float32(float64(weight[j]) * invStd)
			}
			apply()
		}
	}}
}
