package kernel

import "sync"

// Every destination in this file may be one of the sources (the same elements,
// not shifted ones).

// longest bounds the elements of one call into assembly, which Go's scheduler
// and collector can't interrupt: some tens of microseconds.
const longest = 1 << 17

// turn returns how many rows of c channels one call may take.
func turn(c int) int { return max(1, longest/c) }

// Add computes, over len(dst) elements,
//
//	dst[i] = a[i] + b[i]
func (s *Set) Add(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.add(dst[:n], a[:n], b[:n])
		dst, a, b = dst[n:], a[n:], b[n:]
	}
}

// AddTo computes, over len(dst) elements,
//
//	dst[i] += a[i]
func (s *Set) AddTo(dst, a []float32) { s.Add(dst, dst, a) }

// Scale computes, over len(dst) elements,
//
//	dst[i] = a[i] * f
func (s *Set) Scale(dst, a []float32, f float32) {
	a = a[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.scale(dst[:n], a[:n], f)
		dst, a = dst[n:], a[n:]
	}
}

// ReLU computes, over len(dst) elements,
//
//	dst[i] = a[i] < 0 ? 0 : a[i]
//
// so that NaN stays NaN.
func (s *Set) ReLU(dst, a []float32) {
	a = a[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.relu(dst[:n], a[:n])
		dst, a = dst[n:], a[n:]
	}
}

// ReLUGrad computes, over len(dst) elements,
//
//	dst[i] = y[i] > 0 ? dy[i] : 0
func (s *Set) ReLUGrad(dst, y, dy []float32) {
	y, dy = y[:len(dst)], dy[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.reluGrad(dst[:n], y[:n], dy[:n])
		dst, y, dy = dst[n:], y[n:], dy[n:]
	}
}

// AddReLU computes, over len(dst) elements,
//
//	dst[i] = relu(a[i] + b[i])
func (s *Set) AddReLU(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.addReLU(dst[:n], a[:n], b[:n])
		dst, a, b = dst[n:], a[n:], b[n:]
	}
}

// Sigmoid computes, over len(dst) elements,
//
//	dst[i] = σ(x[i]) = 1 / (1 + exp(-x[i]))
func (s *Set) Sigmoid(dst, x []float32) {
	x = x[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.sigmoid(dst[:n], x[:n])
		dst, x = dst[n:], x[n:]
	}
}

// SigmoidGrad computes, over len(dst) elements,
//
//	dst[i] = dy[i] * y[i] * (1 - y[i])
func (s *Set) SigmoidGrad(dst, y, dy []float32) {
	y, dy = y[:len(dst)], dy[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.sigmoidG(dst[:n], y[:n], dy[:n])
		dst, y, dy = dst[n:], y[n:], dy[n:]
	}
}

// SiLU computes, over len(dst) elements,
//
//	dst[i] = x[i] * σ(x[i])
func (s *Set) SiLU(dst, x []float32) {
	x = x[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.silu(dst[:n], x[:n])
		dst, x = dst[n:], x[n:]
	}
}

// SiLUGrad computes, over len(dst) elements,
//
//	dst[i] = dy[i] * σ(x[i]) * (1 + x[i]*(1-σ(x[i])))
func (s *Set) SiLUGrad(dst, x, dy []float32) {
	x, dy = x[:len(dst)], dy[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.siluGrad(dst[:n], x[:n], dy[:n])
		dst, x, dy = dst[n:], x[n:], dy[n:]
	}
}

// Dot returns, over len(a) elements,
//
//	Σ a[i] * b[i]
//
// The order of the sum depends on the set and on len(a) only.
func (s *Set) Dot(a, b []float32) float32 {
	b = b[:len(a)]
	var sum float32
	for len(a) > 0 {
		n := min(len(a), longest)
		sum += s.fn.dot(a[:n], b[:n])
		a, b = a[n:], b[n:]
	}
	return sum
}

// SumSq returns Σ a[i]², in the order of [Set.Dot].
func (s *Set) SumSq(a []float32) float32 { return s.Dot(a, a) }

// SGD updates the parameters p and their momentum m from the gradient g, over
// len(p) elements:
//
//	g' = g[i] + weightDecay*p[i]
//	m[i] = momentum*m[i] + g'
//	p[i] -= lr * (nesterov ? g' + momentum*m[i] : m[i])
func (s *Set) SGD(p, g, m []float32, lr, momentum, weightDecay float32, nesterov bool) {
	update := s.fn.sgd
	if nesterov {
		update = s.fn.sgdNest
	}
	g, m = g[:len(p)], m[:len(p)]
	for len(p) > 0 {
		n := min(len(p), longest)
		update(p[:n], g[:n], m[:n], lr, momentum, weightDecay)
		p, g, m = p[n:], g[n:], m[n:]
	}
}

// wide is the number of channels that a kernel over rows likes to see at
// least. Rows of fewer are taken several at a time, as one row of the channel
// vectors repeated: [rows][c] is [rows/p][p*c].
const wide = 64

// channelScratch holds repeated channel vectors. It comes from a pool, not the
// stack: what goes through a function value escapes.
type channelScratch [5][wide]float32

var channelPool = sync.Pool{New: func() any { return new(channelScratch) }}

// repeat fills dst with p copies of v[:c] and returns them.
func repeat(dst *[wide]float32, v []float32, p, c int) []float32 {
	for i := range p {
		copy(dst[i*c:(i+1)*c], v)
	}
	return dst[:p*c]
}

// gather zeroes p*c elements of dst and returns them: p sums of c channels.
func gather(dst *[wide]float32, p, c int) []float32 {
	d := dst[:p*c]
	clear(d)
	return d
}

// merge adds to sum[:c] the p sums of c channels in parts.
func merge(sum, parts []float32, p, c int) {
	for j := range c {
		var t float32
		for i := range p {
			t += parts[i*c+j]
		}
		sum[j] += t
	}
}

// together returns how many rows of c channels to take as one.
func together(rows, c int) int {
	if p := wide / c; p > 1 && rows >= 2*p {
		return p
	}
	return 1
}

// group returns how many rows a column sum takes before it goes on to the next
// channels: as many as fit in half a first-level cache.
func group(c int) int { return max(8, 4096/c) }

// ColSums adds to each channel's sum: for i < rows and j < c,
//
//	sum[j] += Σ_i x[i*c+j]
//
// The order of the sum depends on the set, rows and c only.
func (s *Set) ColSums(sum, x []float32, rows, c int) {
	if rows <= 0 || c <= 0 {
		return
	}
	x, sum = x[:rows*c], sum[:c]
	for n := turn(c); rows > n; rows -= n {
		s.ColSums(sum, x, n, c)
		x = x[n*c:]
	}
	if p := together(rows, c); p > 1 {
		t := channelPool.Get().(*channelScratch)
		n, part := rows/p, gather(&t[0], p, c)
		s.fn.colSums(part, x, n, p*c, group(p*c))
		merge(sum, part, p, c)
		channelPool.Put(t)
		x, rows = x[n*p*c:], rows-n*p
	}
	if rows > 0 {
		s.fn.colSums(sum, x, rows, c, group(c))
	}
}

// ColVar adds to each channel's sum of squares about its mean: for i < rows
// and j < c,
//
//	sq[j] += Σ_i (x[i*c+j] - mean[j])²
//
// The order of the sum depends on the set, rows and c only.
func (s *Set) ColVar(sq, x, mean []float32, rows, c int) {
	if rows <= 0 || c <= 0 {
		return
	}
	x, sq, mean = x[:rows*c], sq[:c], mean[:c]
	for n := turn(c); rows > n; rows -= n {
		s.ColVar(sq, x, mean, n, c)
		x = x[n*c:]
	}
	if p := together(rows, c); p > 1 {
		t := channelPool.Get().(*channelScratch)
		n, part := rows/p, gather(&t[0], p, c)
		s.fn.colVar(part, x, repeat(&t[1], mean, p, c), n, p*c, group(p*c))
		merge(sq, part, p, c)
		channelPool.Put(t)
		x, rows = x[n*p*c:], rows-n*p
	}
	if rows > 0 {
		s.fn.colVar(sq, x, mean, rows, c, group(c))
	}
}

// ColDot2 adds to the two sums that batch norm's gradient needs: for i < rows
// and j < c,
//
//	s1[j] += Σ_i dy[i*c+j]
//	s2[j] += Σ_i dy[i*c+j] * (x[i*c+j] - mean[j])
//
// The order of the sums depends on the set, rows and c only.
func (s *Set) ColDot2(s1, s2, dy, x, mean []float32, rows, c int) {
	if rows <= 0 || c <= 0 {
		return
	}
	dy, x, s1, s2, mean = dy[:rows*c], x[:rows*c], s1[:c], s2[:c], mean[:c]
	for n := turn(c); rows > n; rows -= n {
		s.ColDot2(s1, s2, dy, x, mean, n, c)
		dy, x = dy[n*c:], x[n*c:]
	}
	if p := together(rows, c); p > 1 {
		t := channelPool.Get().(*channelScratch)
		n, part1, part2 := rows/p, gather(&t[0], p, c), gather(&t[1], p, c)
		s.fn.colDot2(part1, part2, dy, x, repeat(&t[2], mean, p, c), n, p*c, group(p*c))
		merge(s1, part1, p, c)
		merge(s2, part2, p, c)
		channelPool.Put(t)
		dy, x, rows = dy[n*p*c:], x[n*p*c:], rows-n*p
	}
	if rows > 0 {
		s.fn.colDot2(s1, s2, dy, x, mean, rows, c, group(c))
	}
}

// ScaleShift computes, for i < rows and j < c,
//
//	dst[i*c+j] = x[i*c+j]*scale[j] + shift[j]
func (s *Set) ScaleShift(dst, x, scale, shift []float32, rows, c int) {
	scaleShift(s.fn.scaleSh, dst, x, scale, shift, rows, c)
}

// ScaleShiftReLU computes, for i < rows and j < c,
//
//	dst[i*c+j] = relu(x[i*c+j]*scale[j] + shift[j])
func (s *Set) ScaleShiftReLU(dst, x, scale, shift []float32, rows, c int) {
	scaleShift(s.fn.scaleShR, dst, x, scale, shift, rows, c)
}

func scaleShift(f func(dst, x, scale, shift []float32, rows, c int), dst, x, scale, shift []float32, rows, c int) {
	if rows <= 0 || c <= 0 {
		return
	}
	dst, x, scale, shift = dst[:rows*c], x[:rows*c], scale[:c], shift[:c]
	for n := turn(c); rows > n; rows -= n {
		scaleShift(f, dst, x, scale, shift, n, c)
		dst, x = dst[n*c:], x[n*c:]
	}
	if p := together(rows, c); p > 1 {
		t := channelPool.Get().(*channelScratch)
		n := rows / p
		f(dst, x, repeat(&t[0], scale, p, c), repeat(&t[1], shift, p, c), n, p*c)
		channelPool.Put(t)
		dst, x, rows = dst[n*p*c:], x[n*p*c:], rows-n*p
	}
	if rows > 0 {
		f(dst, x, scale, shift, rows, c)
	}
}

// ScaleShiftAdd computes, for i < rows and j < c,
//
//	dst[i*c+j] = x[i*c+j]*scale[j] + shift[j] + r[i*c+j]
func (s *Set) ScaleShiftAdd(dst, x, scale, shift, r []float32, rows, c int) {
	scaleShiftAdd(s.fn.scaleShA, dst, x, scale, shift, r, rows, c)
}

// ScaleShiftAddReLU computes, for i < rows and j < c,
//
//	dst[i*c+j] = relu(x[i*c+j]*scale[j] + shift[j] + r[i*c+j])
func (s *Set) ScaleShiftAddReLU(dst, x, scale, shift, r []float32, rows, c int) {
	scaleShiftAdd(s.fn.scaleShAR, dst, x, scale, shift, r, rows, c)
}

// ScaleShiftReLUGrad is the derivative of [Set.ScaleShiftReLU] by its sums:
// for i < rows and j < c,
//
//	dst[i*c+j] = x[i*c+j]*scale[j] + shift[j] > 0 ? dy[i*c+j] : 0
//
// with the sum rounded as there.
func (s *Set) ScaleShiftReLUGrad(dst, x, scale, shift, dy []float32, rows, c int) {
	scaleShiftAdd(s.fn.scaleShRG, dst, x, scale, shift, dy, rows, c)
}

func scaleShiftAdd(f func(dst, x, r, scale, shift []float32, rows, c int), dst, x, scale, shift, r []float32, rows, c int) {
	if rows <= 0 || c <= 0 {
		return
	}
	dst, x, r, scale, shift = dst[:rows*c], x[:rows*c], r[:rows*c], scale[:c], shift[:c]
	for n := turn(c); rows > n; rows -= n {
		scaleShiftAdd(f, dst, x, scale, shift, r, n, c)
		dst, x, r = dst[n*c:], x[n*c:], r[n*c:]
	}
	if p := together(rows, c); p > 1 {
		t := channelPool.Get().(*channelScratch)
		n := rows / p
		f(dst, x, r, repeat(&t[0], scale, p, c), repeat(&t[1], shift, p, c), n, p*c)
		channelPool.Put(t)
		dst, x, r, rows = dst[n*p*c:], x[n*p*c:], r[n*p*c:], rows-n*p
	}
	if rows > 0 {
		f(dst, x, r, scale, shift, rows, c)
	}
}

// BNGrad computes, for i < rows and j < c,
//
//	dx[i*c+j] = a[j]*dy[i*c+j] + b[j]*x[i*c+j] + d[j]
//
// which is batch norm's gradient for its input, once the channel vectors are
// known.
func (s *Set) BNGrad(dx, dy, x, a, b, d []float32, rows, c int) {
	if rows <= 0 || c <= 0 {
		return
	}
	dx, dy, x, a, b, d = dx[:rows*c], dy[:rows*c], x[:rows*c], a[:c], b[:c], d[:c]
	for n := turn(c); rows > n; rows -= n {
		s.BNGrad(dx, dy, x, a, b, d, n, c)
		dx, dy, x = dx[n*c:], dy[n*c:], x[n*c:]
	}
	if p := together(rows, c); p > 1 {
		t := channelPool.Get().(*channelScratch)
		n := rows / p
		s.fn.bnGrad(dx, dy, x, repeat(&t[0], a, p, c), repeat(&t[1], b, p, c), repeat(&t[2], d, p, c), n, p*c)
		channelPool.Put(t)
		dx, dy, x, rows = dx[n*p*c:], dy[n*p*c:], x[n*p*c:], rows-n*p
	}
	if rows > 0 {
		s.fn.bnGrad(dx, dy, x, a, b, d, rows, c)
	}
}
