package graph

// Random is the definition of the graph's random numbers: element i of node
// key at a step, uniform in [0, 1) with 24 bits. It is counter-based
// (SplitMix64's finaliser over the four coordinates), so any engine can compute
// any element in any order and gets the same.
func Random(seed, key, step, i uint64) float64 {
	z := mix(seed ^ mix(key^mix(step)))
	return float64(mix(z+(i+1)*0x9E3779B97F4A7C15)>>40) * (1.0 / (1 << 24))
}

func mix(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}
