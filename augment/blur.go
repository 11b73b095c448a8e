package augment

import "math"

// Blur is torchvision's GaussianBlur: a deviation uniform in [SigmaMin,
// SigmaMax] pixels, applied with a probability.
type Blur struct {
	Prob float64
	// Kernel is the width of the window, odd; 0 means a tenth of the image's
	// longer side (SimCLR's rule), made odd, at least 3.
	Kernel             int
	SigmaMin, SigmaMax float64 // both 0: 0.1 and 2
}

func (b Blur) sigmas() (lo, hi float64) {
	if b.SigmaMin == 0 && b.SigmaMax == 0 {
		return 0.1, 2
	}
	return b.SigmaMin, b.SigmaMax
}

func (b Blur) width(h, w int) int {
	if b.Kernel > 0 {
		return b.Kernel
	}
	return max(max(h, w)/10|1, 3)
}

// gaussian is the window's weights, which sum up to 1.
// Source: torchvision _functional_tensor._get_gaussian_kernel1d, in float32.
func gaussian(out []float32, sigma float64) {
	half := float64(len(out)-1) / 2
	sum := float32(0)
	for i := range out {
		x := float32(float64(i)-half) / float32(sigma)
		out[i] = float32(math.Exp(float64(-0.5 * float32(x*x))))
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
}

// blur weights every pixel's neighbours, mirrored at the edges without repeating
// them, first along rows, then along columns, and rounds at the end.
// torchvision adds up the square window at once, which can round to the other
// side. The window must not be wider than twice the image less one.
// Source: torchvision _functional_tensor.gaussian_blur.
func (s *scratch) blur(pix []uint8, w, h, ch, window int, sigma float64) {
	s.window = grow(s.window, window)
	gaussian(s.window, sigma)
	half := window / 2
	s.wide = grow(s.wide, (w+2*half)*ch)
	s.rowsF = grow(s.rowsF, w*h*ch)
	mirror := func(i, n int) int {
		if i < 0 {
			i = -i
		}
		if i >= n {
			i = 2*(n-1) - i
		}
		return i
	}
	for y := range h {
		row := pix[y*w*ch:][:w*ch]
		for x := -half; x < w+half; x++ {
			from := mirror(x, w) * ch
			for c := range ch {
				s.wide[(x+half)*ch+c] = float32(row[from+c])
			}
		}
		out := s.rowsF[y*w*ch:][:w*ch]
		k0 := s.window[0]
		for i, v := range s.wide[:len(out)] {
			out[i] = v * k0
		}
		for k := 1; k < window; k++ {
			kk := s.window[k]
			in := s.wide[k*ch:][:len(out)]
			for i, v := range in {
				out[i] += v * kk
			}
		}
	}
	sum := s.wide[:w*ch]
	for y := range h {
		clear(sum)
		for k, kk := range s.window {
			in := s.rowsF[mirror(y+k-half, h)*w*ch:][:len(sum)]
			for i, v := range in {
				sum[i] += v * kk
			}
		}
		out := pix[y*w*ch:][:w*ch]
		for i, v := range sum {
			out[i] = uint8(min(max(math.RoundToEven(float64(v)), 0), 255))
		}
	}
}
