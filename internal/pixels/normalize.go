package pixels

import "math"

// Norm turns bytes into a network's numbers.
type Norm struct {
	table [3][256]float32 // a byte's value, by channel

	// What assembly needs, of 8 pixels of RGB; on says that it gives the table's
	// numbers.
	on              bool
	mean, std, over [24]float32
}

// NewNorm is ToTensor and Normalize for 1 or 3 channels:
// (float32(x)/255 − float32(mean)) / float32(std), each step rounded to float32.
// Source: torchvision functional.to_tensor, _functional_tensor.normalize.
func (s *Set) NewNorm(mean, std []float64) *Norm {
	n := new(Norm)
	for c := range mean {
		m, d := float32(mean[c]), float32(std[c])
		for x := range n.table[c] {
			v := float32(x) / 255
			v = float32(v - m)
			n.table[c][x] = v / d
		}
		for i := c; i < len(n.mean); i += 3 {
			n.mean[i], n.std[i], n.over[i] = m, d, 1/d
		}
	}
	if s.fn.normalize == nil || len(mean) != 3 {
		return n
	}
	// Every byte in every channel.
	var all [3 * 256]uint8
	var got [3 * 256]float32
	for i := range all {
		all[i] = uint8(i / 3)
	}
	s.fn.normalize(&got[0], &all[0], len(all), &n.mean[0], &n.std[0], &n.over[0])
	n.on = true
	for i, v := range got {
		n.on = n.on && math.Float32bits(v) == math.Float32bits(n.table[i%3][i/3])
	}
	return n
}

// Value is what a byte of a channel becomes.
func (n *Norm) Value(channel int, v uint8) float32 { return n.table[channel][v] }

// Normalize writes the values of pixels of ch channels into dst, of channels: those
// of a grey image are repeated.
func (s *Set) Normalize(dst []float32, channels int, pix []uint8, ch int, n *Norm) {
	if channels == 1 {
		dst = dst[:len(pix)]
		for i, v := range pix {
			dst[i] = n.table[0][v]
		}
		return
	}
	if ch == 1 {
		for i, v := range pix {
			o := dst[3*i:][:3:3]
			o[0], o[1], o[2] = n.table[0][v], n.table[1][v], n.table[2][v]
		}
		return
	}
	dst = dst[:len(pix)]
	if n.on {
		done := 3 * stretches(len(pix)/3, 8, func(from, count int) {
			s.fn.normalize(&dst[3*from], &pix[3*from], 3*count, &n.mean[0], &n.std[0], &n.over[0])
		})
		dst, pix = dst[done:], pix[done:]
	}
	for ; len(pix) >= 3; pix = pix[3:] {
		o := dst[:3:3]
		o[0], o[1], o[2] = n.table[0][pix[0]], n.table[1][pix[1]], n.table[2][pix[2]]
		dst = dst[3:]
	}
}
