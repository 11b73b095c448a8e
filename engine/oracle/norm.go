package oracle

import (
	"math"

	"selfcon/graph"
)

func norm(n *graph.Node) kernel {
	switch o := n.Op.(type) {
	case graph.BatchNorm:
		return func(in []tensor) ([]tensor, error) {
			x := in[0].f
			mean, variance := moments(x, len(in[1].f))
			return []tensor{{f: normalize(x, in[1].f, in[2].f, mean, variance, o.Eps)}, {f: mean}, {f: variance}}, nil
		}
	case graph.BatchNormInference:
		return func(in []tensor) ([]tensor, error) {
			return floats(normalize(in[0].f, in[1].f, in[2].f, in[3].f, in[4].f, o.Eps)), nil
		}
	case graph.BatchNormGrad:
		return func(in []tensor) ([]tensor, error) {
			x, weight, mean, variance, dy := in[0].f, in[1].f, in[2].f, in[3].f, in[4].f
			dx, dw, db := normalizeGrad(x, weight, mean, variance, dy, o.Eps)
			r, c := inverseRoot(variance, o.Eps), len(weight)
			rows := float64(len(x) / c)
			for at := 0; at < len(x); at += c { // the statistics depend on x too
				for ch := range c {
					xhat := (x[at+ch] - mean[ch]) * r[ch]
					dx[at+ch] -= weight[ch] * r[ch] * (db[ch] + xhat*dw[ch]) / rows
				}
			}
			return []tensor{{f: dx}, {f: dw}, {f: db}}, nil
		}
	case graph.BatchNormInferenceGrad:
		return func(in []tensor) ([]tensor, error) {
			dx, dw, db := normalizeGrad(in[0].f, in[1].f, in[2].f, in[3].f, in[4].f, o.Eps)
			return []tensor{{f: dx}, {f: dw}, {f: db}}, nil
		}
	case graph.ReLU:
		return each(func(x float64) float64 { return max(x, 0) })
	case graph.ReLUGrad:
		return elementwise(func(y, dy float64) float64 {
			if y > 0 {
				return dy
			}
			return 0
		})
	case graph.Dropout:
		return func(in []tensor) ([]tensor, error) {
			out := make([]float64, len(in[0].f))
			step := uint64(int64(in[1].n[0]))
			group := o.Group(n.In[0].Shape)
			for i, x := range in[0].f {
				if graph.Random(o.Seed, o.Key, step, uint64(i/group)) >= o.P {
					out[i] = x / (1 - o.P)
				}
			}
			return floats(out), nil
		}
	case graph.L2Normalize:
		d := n.In[0].Shape[1]
		return func(in []tensor) ([]tensor, error) {
			out := make([]float64, len(in[0].f))
			for at := 0; at < len(out); at += d {
				x := in[0].f[at : at+d]
				length := max(math.Sqrt(dot(x, x)), o.Eps)
				for i, v := range x {
					out[at+i] = v / length
				}
			}
			return floats(out), nil
		}
	case graph.L2NormalizeGrad:
		d := n.In[0].Shape[1]
		return func(in []tensor) ([]tensor, error) {
			dx := make([]float64, len(in[0].f))
			for at := 0; at < len(dx); at += d {
				x, y, dy := in[0].f[at:at+d], in[1].f[at:at+d], in[2].f[at:at+d]
				length, along := math.Sqrt(dot(x, x)), dot(y, dy)
				if length < o.Eps { // divided by a constant
					length, along = o.Eps, 0
				}
				for i := range x {
					dx[at+i] = (dy[i] - y[i]*along) / length
				}
			}
			return floats(dx), nil
		}
	}
	return nil
}

// moments are the mean and the biased variance of each of c channels.
func moments(x []float64, c int) (mean, variance []float64) {
	mean, variance = make([]float64, c), make([]float64, c)
	rows := float64(len(x) / c)
	for at := 0; at < len(x); at += c {
		for ch, v := range x[at : at+c] {
			mean[ch] += v / rows
		}
	}
	for at := 0; at < len(x); at += c {
		for ch, v := range x[at : at+c] {
			variance[ch] += (v - mean[ch]) * (v - mean[ch]) / rows
		}
	}
	return mean, variance
}

// inverseRoot is 1/√(variance + eps).
func inverseRoot(variance []float64, eps float64) []float64 {
	out := make([]float64, len(variance))
	for ch, v := range variance {
		out[ch] = 1 / math.Sqrt(v+eps)
	}
	return out
}

// normalize is (x − mean)/√(variance + eps)·weight + bias by channels.
func normalize(x, weight, bias, mean, variance []float64, eps float64) []float64 {
	y := make([]float64, len(x))
	r, c := inverseRoot(variance, eps), len(weight)
	for at := 0; at < len(x); at += c {
		for ch, v := range x[at : at+c] {
			y[at+ch] = (v-mean[ch])*r[ch]*weight[ch] + bias[ch]
		}
	}
	return y
}

// normalizeGrad is the derivative of normalize with the statistics held fixed.
func normalizeGrad(x, weight, mean, variance, dy []float64, eps float64) (dx, dw, db []float64) {
	r, c := inverseRoot(variance, eps), len(weight)
	dx, dw, db = make([]float64, len(x)), make([]float64, c), make([]float64, c)
	for at := 0; at < len(x); at += c {
		for ch, d := range dy[at : at+c] {
			dx[at+ch] = weight[ch] * r[ch] * d
			dw[ch] += d * (x[at+ch] - mean[ch]) * r[ch]
			db[ch] += d
		}
	}
	return dx, dw, db
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}
