package eval

import "math"

// standardizer maps features to (x − mean)·factor by dimension. It is taken
// from the training features and folded into the classifier afterwards.
//
// Standardised features have mean 0 and one deviation in all dimensions,
// 1/√dim, so that a row's mean squared length is 1 whatever the dimension. The
// curvature of the cross-entropy is then at most λ/2, with λ ≤ 1 the largest
// eigenvalue of the features' covariance, and gradient descent with momentum m
// is stable up to a rate of 4·(1+m)/λ: one rate serves all encoders. (λ is 0.22
// for the pixels of Fashion-MNIST, and 1 for a network that has collapsed to one
// direction. In terms of deviation 1 all this is Rate/dim and WeightDecay·dim.)
type standardizer struct{ mean, factor []float64 }

func newStandardizer(x []float32, dim int, standardize bool) standardizer {
	s := standardizer{make([]float64, dim), make([]float64, dim)}
	for d := range s.factor {
		s.factor[d] = 1
	}
	if !standardize {
		return s
	}
	n := float64(len(x) / dim)
	variance := make([]float64, dim)
	for i, v := range x {
		s.mean[i%dim] += float64(v) / n
	}
	for i, v := range x {
		d := float64(v) - s.mean[i%dim]
		variance[i%dim] += d * d / n
	}
	for d, v := range variance {
		// What does not vary by more than float32 rounding is constant: it tells
		// nothing and stays 0.
		s.factor[d] = 0
		if std := math.Sqrt(v); std > 1e-6*math.Abs(s.mean[d]) {
			s.factor[d] = 1 / (std * math.Sqrt(float64(dim)))
		}
	}
	return s
}

func (s standardizer) apply(dst, src []float32) {
	for d, v := range src {
		dst[d] = float32((float64(v) - s.mean[d]) * s.factor[d])
	}
}

// fold makes the classifier on features as they are from weight and bias on
// standardised ones: w·(x − mean)·factor + b.
func (s standardizer) fold(weight, bias []float64) *Linear {
	dim := len(s.mean)
	l := &Linear{Classes: len(bias), Dim: dim, Weight: make([]float32, len(weight)), Bias: make([]float32, len(bias))}
	for k, b := range bias {
		for d := range dim {
			w := weight[k*dim+d] * s.factor[d]
			l.Weight[k*dim+d] = float32(w)
			b -= w * s.mean[d]
		}
		l.Bias[k] = float32(b)
	}
	return l
}
