package cpu

import (
	"math"

	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// gradTo is where a gradient goes: to memory of its own or, by a step of
// SGD, into the parameters and their momentum.
type gradTo struct {
	dw         []float32
	set        *kernel.Set
	p, m, rate []float32
	sgd        graph.SGD
}

// put takes the gradient's elements from number at on.
func (g *gradTo) put(at int, dw []float32) {
	if g.dw != nil {
		copy(g.dw[at:], dw)
		return
	}
	n := len(dw)
	g.set.SGD(g.p[at:at+n], dw, g.m[at:at+n], g.rate[0], float32(g.sgd.Momentum), float32(g.sgd.WeightDecay), g.sgd.Nesterov)
}

// reads adds what put reads for rows of so many elements, a stride apart.
func (g *gradTo) reads(at, width, rows, stride int, a *kernel.Ahead) {
	if g.dw == nil {
		a.AddRows(g.p[at:], width, rows, stride)
		a.AddRows(g.m[at:], width, rows, stride)
	}
}

// gradTo is where a step's gradient goes, and what there is to do before.
func (c *compiler) gradTo(s *plan.Step, op plan.Update) (to *gradTo, begin func()) {
	if !op.Do {
		return &gradTo{dw: c.f(s.Out[0])}, func() {}
	}
	i := s.Parameters()
	p, m := c.f(s.Out[0]), c.f(s.Out[1])
	copyP, copyM := c.copy(p, c.f(s.In[i])), c.copy(m, c.f(s.In[i+1]))
	return &gradTo{set: c.set, p: p, m: m, rate: c.f(s.In[i+2]), sgd: op.SGD}, func() {
		copyP()
		copyM()
	}
}

func (c *compiler) sgd(s *plan.Step, op graph.SGD) work {
	return plain(func() func() {
		p, g, m := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2])
		to := gradTo{set: c.set, p: c.f(s.Out[0]), m: c.f(s.Out[1]), rate: c.f(s.In[3]), sgd: op}
		copyP, copyM := &p[0] != &to.p[0], &m[0] != &to.m[0]
		return c.blocks(len(p), chunk, func(lo, hi int) {
			if copyP {
				copy(to.p[lo:hi], p[lo:hi])
			}
			if copyM {
				copy(to.m[lo:hi], m[lo:hi])
			}
			to.put(lo, g[lo:hi])
		})
	})
}

func (c *compiler) lars(s *plan.Step, op graph.LARS) work {
	momentum, decay := float32(op.Momentum), float32(op.WeightDecay)
	return plain(func() func() {
		p, g, m, rate := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.In[3])
		newP, newM := c.f(s.Out[0]), c.f(s.Out[1])
		normP, normG := c.norm2(p), c.norm2(g)
		ratio := float32(0)
		step := c.blocks(len(p), chunk, func(lo, hi int) {
			r := ratio
			for i := lo; i < hi; i++ {
				old := p[i]
				v := momentum*m[i] + r*(g[i]+decay*old)
				newM[i] = v
				newP[i] = old - rate[0]*v
			}
		})
		return func() {
			ratio = 1
			if np, ng := normP(), normG(); np > 0 && ng > 0 {
				ratio = float32(op.Trust * np / (ng + op.WeightDecay*np))
			}
			step()
		}
	})
}

// norm2 is the length of v, of block sums in a fixed order.
func (c *compiler) norm2(v []float32) func() float64 {
	parts := make([]float64, (len(v)+chunk-1)/chunk)
	each := c.blocks(len(v), chunk, func(lo, hi int) { parts[lo/chunk] = dot(v[lo:hi], v[lo:hi]) })
	return func() float64 {
		each()
		sum := 0.0
		for _, p := range parts {
			sum += p
		}
		return math.Sqrt(sum)
	}
}

func (c *compiler) adamW(s *plan.Step, op graph.AdamW) work {
	return plain(func() func() {
		p, g, m, v, rate, count := c.f(s.In[0]), c.f(s.In[1]), c.f(s.In[2]), c.f(s.In[3]), c.f(s.In[4]), c.ints[s.In[5]]
		newP, newM, newV := c.f(s.Out[0]), c.f(s.Out[1]), c.f(s.Out[2])
		b1, b2 := float32(op.Beta1), float32(op.Beta2)
		n1, n2 := float32(1-op.Beta1), float32(1-op.Beta2)
		var keep, step, root, eps float32
		each := c.blocks(len(p), chunk, func(lo, hi int) {
			keep, step, root, eps := keep, step, root, eps
			for i := lo; i < hi; i++ {
				d := g[i]
				a := b1*m[i] + n1*d
				b := b2*v[i] + n2*d*d
				newM[i], newV[i] = a, b
				newP[i] = keep*p[i] - step*a/(float32(math.Sqrt(float64(b)))*root+eps)
			}
		})
		return func() {
			t, lr := float64(count[0])+1, float64(rate[0])
			keep = float32(1 - lr*op.WeightDecay)
			step = float32(lr / (1 - math.Pow(op.Beta1, t)))
			root = float32(1 / math.Sqrt(1-math.Pow(op.Beta2, t)))
			eps = float32(op.Eps)
			each()
		}
	})
}
