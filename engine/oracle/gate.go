package oracle

import (
	"math"

	"selfcon/graph"
)

// Activations and gates of networks with squeeze-and-excitation.

func gate(n *graph.Node) kernel {
	switch n.Op.(type) {
	case graph.Sigmoid:
		return each(sigmoid)
	case graph.SigmoidGrad:
		return elementwise(func(y, dy float64) float64 { return dy * y * (1 - y) })
	case graph.SiLU:
		return each(func(x float64) float64 { return x * sigmoid(x) })
	case graph.SiLUGrad:
		return elementwise(func(x, dy float64) float64 {
			s := sigmoid(x)
			return dy * s * (1 + x*(1-s))
		})
	case graph.ScaleChannels:
		image, channels := n.In[0].Shape[1:].Size(), n.In[0].Shape[3]
		return func(in []tensor) ([]tensor, error) {
			y := make([]float64, len(in[0].f))
			for i, x := range in[0].f {
				y[i] = x * in[1].f[i/image*channels+i%channels]
			}
			return floats(y), nil
		}
	case graph.ScaleChannelsGrad:
		image, channels := n.In[0].Shape[1:].Size(), n.In[0].Shape[3]
		return func(in []tensor) ([]tensor, error) {
			ds := make([]float64, n.Out[0].Shape.Size())
			for i, x := range in[0].f {
				ds[i/image*channels+i%channels] += x * in[1].f[i]
			}
			return floats(ds), nil
		}
	}
	return nil
}

// sigmoid does not overflow on either side.
func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}
