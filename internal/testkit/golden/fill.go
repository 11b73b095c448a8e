// Package golden compares an engine with stored results of the paper's
// reference code (float64 PyTorch). A case holds no weights and no pixels: they
// are made by Fill from the case's seed.
package golden

import "math"

// Fill makes n numbers in [-1, 1), each exact in float32: SplitMix64 keyed by
// the name's FNV-1a hash and the seed.
func Fill(name string, n int, seed uint64) []float64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	const golden = 0x9E3779B97F4A7C15
	key := h ^ seed*golden
	out := make([]float64, n)
	for i := range out {
		z := key + uint64(i+1)*golden
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		out[i] = 2*(float64(z>>40)/(1<<24)) - 1
	}
	return out
}

// round32 rounds to the nearest float32.
func round32(x []float64) []float64 {
	for i, v := range x {
		x[i] = float64(float32(v))
	}
	return x
}

// summary is how a case stores a tensor.
type summary struct {
	L2   float64   `json:"l2"`
	Sum  float64   `json:"sum"`
	Head []float64 `json:"head"`
	n    int
}

func summarise(x []float64) summary {
	s := summary{n: len(x)}
	for _, v := range x {
		s.L2 += v * v
		s.Sum += v
	}
	s.L2 = math.Sqrt(s.L2)
	s.Head = x[:min(4, len(x))]
	return s
}
