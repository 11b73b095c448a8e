package kernel

import "math"

// Exp is eˣ to about 2 units in the last place: x = n·ln 2 + r, |r| ≤ ln 2/2,
// and a polynomial for e^r. It gives 0 below −87.3 and +Inf above 88.7.
func Exp(x float32) float32 {
	const (
		log2e = 1.44269504088896341
		hi    = 0.693359375 // few bits: n·hi is exact
		lo    = -2.12194440e-4
		magic = 3 << 22 // adding it rounds to an integer
	)
	if !(x > -87.3) {
		if x != x {
			return x
		}
		return 0
	}
	if x > 88.7 {
		return float32(math.Inf(1))
	}
	n := x*log2e + magic - magic
	r := x - n*hi - n*lo
	p := float32(1.9875691500e-4)
	p = p*r + 1.3981999507e-3
	p = p*r + 8.3334519073e-3
	p = p*r + 4.1665795894e-2
	p = p*r + 1.6666665459e-1
	p = p*r + 5.0000001201e-1
	p = p*r*r + r + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// sigmoidParts are e⁻ˣ and the sigmoid 1/(1 + e⁻ˣ). Beyond ±88 they are as
// there, where the sigmoid is 1 or 0 for all purposes, so that both stay finite.
func sigmoidParts(x float32) (e, sigmoid float32) {
	e = Exp(min(max(-x, -88), 88))
	return e, 1 / (1 + e)
}
