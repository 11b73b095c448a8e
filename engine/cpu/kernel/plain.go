package kernel

import "math"

// plain is the generic set's kernels, and the definition of every other set's.
var plain = funcs{
	add:        addPlain,
	scale:      scalePlain,
	relu:       reluPlain,
	reluGrad:   reluGradPlain,
	addReLU:    addReLUPlain,
	sigmoid:    sigmoidPlain,
	sigmoidG:   sigmoidGradPlain,
	silu:       siluPlain,
	siluGrad:   siluGradPlain,
	dot:        dotPlain,
	sgd:        sgdPlain,
	sgdNest:    sgdNestPlain,
	colSums:    colSumsPlain,
	colVar:     colVarPlain,
	colDot2:    colDot2Plain,
	scaleSh:    scaleShiftPlain,
	scaleShR:   scaleShiftReLUPlain,
	scaleShA:   scaleShiftAddPlain,
	scaleShAR:  scaleShiftAddReLUPlain,
	scaleShRG:  scaleShiftReLUGradPlain,
	bnGrad:     bnGradPlain,
	expSub:     expSubPlain,
	expAdd:     expAddPlain,
	transpose:  transposePlain,
	addRows:    addRowsPlain,
	subRows:    subRowsPlain,
	quarters:   quarterSumsPlain,
	windows:    windows{maxPoolPlain, maxPoolGradPlain, depthwisePlain, depthwiseGradPlain},
	winograd:   winograd{1, winoInPlain, winoOutPlain, winoKernelPlain, winoGradPlain, winoKernelGradPlain, wino2InPlain, wino2OutPlain, wino2KernelPlain},
	winostride: plainStride,
	peak:       peakPlain,
	peakFLOP:   16,
}

// relu is v where it isn't negative, else 0. NaN stays NaN.
func relu(v float32) float32 {
	if v < 0 {
		return 0
	}
	return v
}

func addPlain(dst, a, b []float32) {
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func scalePlain(dst, a []float32, s float32) {
	for i := range dst {
		dst[i] = a[i] * s
	}
}

func reluPlain(dst, a []float32) {
	for i := range dst {
		dst[i] = relu(a[i])
	}
}

func sigmoidPlain(dst, x []float32) {
	for i := range dst {
		_, dst[i] = sigmoidParts(x[i])
	}
}

func sigmoidGradPlain(dst, y, dy []float32) {
	for i := range dst {
		dst[i] = dy[i] * y[i] * (1 - y[i])
	}
}

func siluPlain(dst, x []float32) {
	for i := range dst {
		e, _ := sigmoidParts(x[i])
		dst[i] = x[i] / (1 + e)
	}
}

// siluGradPlain has 1 − σ as e⁻ˣ·σ, which does not cancel.
func siluGradPlain(dst, x, dy []float32) {
	for i := range dst {
		e, sigmoid := sigmoidParts(x[i])
		dst[i] = dy[i] * sigmoid * (1 + x[i]*(e*sigmoid))
	}
}

func reluGradPlain(dst, y, dy []float32) {
	for i := range dst {
		g := dy[i]
		if !(y[i] > 0) {
			g = 0
		}
		dst[i] = g
	}
}

func addReLUPlain(dst, a, b []float32) {
	for i := range dst {
		dst[i] = relu(a[i] + b[i])
	}
}

func dotPlain(a, b []float32) float32 {
	var s [4]float32 // four chains: shorter, so faster and more exact
	for ; len(a) >= 4; a, b = a[4:], b[4:] {
		s[0] += a[0] * b[0]
		s[1] += a[1] * b[1]
		s[2] += a[2] * b[2]
		s[3] += a[3] * b[3]
	}
	for i := range a {
		s[i] += a[i] * b[i]
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

func sgdPlain(p, g, m []float32, lr, momentum, weightDecay float32) {
	for i := range p {
		gi := g[i] + weightDecay*p[i]
		m[i] = momentum*m[i] + gi
		p[i] -= lr * m[i]
	}
}

func sgdNestPlain(p, g, m []float32, lr, momentum, weightDecay float32) {
	for i := range p {
		gi := g[i] + weightDecay*p[i]
		m[i] = momentum*m[i] + gi
		p[i] -= lr * (gi + momentum*m[i])
	}
}

// The column sums add up group rows from zero, then add that to the result:
// two short chains of additions lose less than one long one.

func colSumsPlain(sum, x []float32, rows, c, group int) {
	for ; rows > 0; rows -= group {
		g := min(group, rows)
		for j := range c {
			var s float32
			for i := range g {
				s += x[i*c+j]
			}
			sum[j] += s
		}
		x = x[g*c:]
	}
}

func colVarPlain(sq, x, mean []float32, rows, c, group int) {
	for ; rows > 0; rows -= group {
		g := min(group, rows)
		for j := range c {
			var s float32
			for i := range g {
				d := x[i*c+j] - mean[j]
				s += d * d
			}
			sq[j] += s
		}
		x = x[g*c:]
	}
}

func colDot2Plain(s1, s2, dy, x, mean []float32, rows, c, group int) {
	for ; rows > 0; rows -= group {
		g := min(group, rows)
		for j := range c {
			var s, t float32
			for i := range g {
				s += dy[i*c+j]
				t += dy[i*c+j] * (x[i*c+j] - mean[j])
			}
			s1[j] += s
			s2[j] += t
		}
		dy, x = dy[g*c:], x[g*c:]
	}
}

func scaleShiftPlain(dst, x, scale, shift []float32, rows, c int) {
	for i := 0; i < rows*c; i += c {
		for j := range c {
			dst[i+j] = x[i+j]*scale[j] + shift[j]
		}
	}
}

func scaleShiftReLUPlain(dst, x, scale, shift []float32, rows, c int) {
	for i := 0; i < rows*c; i += c {
		for j := range c {
			dst[i+j] = relu(x[i+j]*scale[j] + shift[j])
		}
	}
}

func scaleShiftAddPlain(dst, x, r, scale, shift []float32, rows, c int) {
	for i := 0; i < rows*c; i += c {
		for j := range c {
			dst[i+j] = x[i+j]*scale[j] + shift[j] + r[i+j]
		}
	}
}

func scaleShiftAddReLUPlain(dst, x, r, scale, shift []float32, rows, c int) {
	for i := 0; i < rows*c; i += c {
		for j := range c {
			dst[i+j] = relu(x[i+j]*scale[j] + shift[j] + r[i+j])
		}
	}
}

func scaleShiftReLUGradPlain(dst, x, dy, scale, shift []float32, rows, c int) {
	for i := 0; i < rows*c; i += c {
		for j := range c {
			g := dy[i+j]
			if !(x[i+j]*scale[j]+shift[j] > 0) {
				g = 0
			}
			dst[i+j] = g
		}
	}
}

func bnGradPlain(dx, dy, x, a, b, d []float32, rows, c int) {
	for i := 0; i < rows*c; i += c {
		for j := range c {
			dx[i+j] = a[j]*dy[i+j] + (b[j]*x[i+j] + d[j])
		}
	}
}

func peakPlain(iters int) {
	var a, b, c, d, e, f, g, h float32
	x := math.Float32frombits(0x3f7fffff) // just below 1: sums stay finite
	for range iters {
		a = a*x + x
		b = b*x + x
		c = c*x + x
		d = d*x + x
		e = e*x + x
		f = f*x + x
		g = g*x + x
		h = h*x + x
	}
	if a+b+c+d+e+f+g+h < 0 {
		panic("kernel: a sum of positive numbers is negative") // and so the sums are needed
	}
}
