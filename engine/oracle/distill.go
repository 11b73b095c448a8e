package oracle

import (
	"math"

	"selfcon/graph"
)

func distill(n *graph.Node) kernel {
	switch o := n.Op.(type) {
	case graph.Distill:
		return func(in []tensor) ([]tensor, error) {
			rows, classes := n.In[0].Shape[0], n.In[0].Shape[1]
			student, teacher := soften(in[0].f, o.Temperature), soften(in[1].f, o.Temperature)
			sum := 0.0
			for r := range rows {
				s, t := student[r*classes:(r+1)*classes], teacher[r*classes:(r+1)*classes]
				ls, lt := logSumExp(s, -1), logSumExp(t, -1)
				for k := range s {
					sum -= math.Exp(t[k]-lt) * (s[k] - ls)
				}
			}
			return floats([]float64{o.Temperature * o.Temperature * sum / float64(rows)}), nil
		}
	case graph.DistillGrad:
		return func(in []tensor) ([]tensor, error) {
			rows, classes := n.In[0].Shape[0], n.In[0].Shape[1]
			student, teacher := soften(in[0].f, o.Temperature), soften(in[1].f, o.Temperature)
			dx := make([]float64, rows*classes)
			for r := range rows {
				s, t := student[r*classes:(r+1)*classes], teacher[r*classes:(r+1)*classes]
				ls, lt := logSumExp(s, -1), logSumExp(t, -1)
				for k := range s {
					dx[r*classes+k] = o.Temperature * (math.Exp(s[k]-ls) - math.Exp(t[k]-lt)) * in[2].f[0] / float64(rows)
				}
			}
			return floats(dx), nil
		}
	}
	return nil
}

// soften divides logits by a temperature.
func soften(logits []float64, temperature float64) []float64 {
	out := make([]float64, len(logits))
	for i, v := range logits {
		out[i] = v / temperature
	}
	return out
}
