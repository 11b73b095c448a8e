package oracle

import (
	"math"

	"selfcon/graph"
)

func update(n *graph.Node) kernel {
	switch o := n.Op.(type) {
	case graph.LARS:
		return func(in []tensor) ([]tensor, error) {
			p, m := make([]float64, len(in[0].f)), make([]float64, len(in[0].f))
			ratio := 1.0
			if np, ng := norm2(in[0].f), norm2(in[1].f); np > 0 && ng > 0 {
				ratio = o.Trust * np / (ng + o.WeightDecay*np)
			}
			for i, old := range in[0].f {
				m[i] = o.Momentum*in[2].f[i] + ratio*(in[1].f[i]+o.WeightDecay*old)
				p[i] = old - in[3].f[0]*m[i]
			}
			return []tensor{{f: p}, {f: m}}, nil
		}
	case graph.AdamW:
		return func(in []tensor) ([]tensor, error) {
			size := len(in[0].f)
			p, m, v := make([]float64, size), make([]float64, size), make([]float64, size)
			rate, t := in[4].f[0], float64(in[5].n[0])+1
			c1, c2 := 1-math.Pow(o.Beta1, t), 1-math.Pow(o.Beta2, t)
			for i, old := range in[0].f {
				g := in[1].f[i]
				m[i] = o.Beta1*in[2].f[i] + (1-o.Beta1)*g
				v[i] = o.Beta2*in[3].f[i] + (1-o.Beta2)*g*g
				p[i] = old - rate*(o.WeightDecay*old+m[i]/c1/(math.Sqrt(v[i]/c2)+o.Eps))
			}
			return []tensor{{f: p}, {f: m}, {f: v}}, nil
		}
	}
	return nil
}

func norm2(v []float64) float64 { return math.Sqrt(dot(v, v)) }
