package kernel

import "fmt"

// Winograd's F(4×4, 3×3) computes 4×4 results of a 3×3 correlation from the 6×6
// pixels under them by 36 products, where the definition takes 144. For one
// channel, with pixels d, kernel g and results y (Lavin and Gray 2016),
//
//	y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//
// Over many channels the product ⊙ becomes 36 matrix products. The derivative
// by d is the same correlation of dy with g turned and transposed; the one by g
// is that formula transposed:
//
//	dg = Gᵀ [ Σ (Bᵀ d B) ⊙ (A dy Aᵀ) ] G
//
// The polynomial's roots are 0, ±5/8, ±3/2 and infinity, the last number of each
// row and column. The third row of the results, and all before it, take nothing of
// infinity's, nor do the others of Bᵀ d B of the sixth row of pixels. Measured with 256
// channels, their errors are a half (rms) and a fifth (largest) of those of the
// usual 0, ±1, ±2; no other pair of simple fractions was better.

// A winograd is a set's transforms. Each works on c channels, a multiple of
// lanes. Squares of numbers lie row by row, either by pointers to
// their first channels or step elements apart.
type winograd struct {
	lanes      int
	in         func(v *float32, step int, x *[36]*float32, c int)
	out        func(y *[16]*float32, m *float32, step int, c int, add *[16]*float32, stream bool)
	kernel     func(u *float32, step int, w *float32, wStep int, c int)
	grad       func(v *float32, step int, dy *[16]*float32, c int)
	kernelGrad func(dw *float32, dwStep int, m *float32, step int, c int)

	in2     func(v *float32, step int, x *[16]*float32, c int)
	out2    func(y *[4]*float32, m *float32, step int, c int)
	kernel2 func(u *float32, step int, w *float32, wStep int, c int)
}

// WinogradLanes is what numbers of channels are multiples of that every set's
// transforms take.
const WinogradLanes = 16

func (w *winograd) check(c int) {
	if c <= 0 || c%w.lanes != 0 {
		panic(fmt.Sprintf("kernel: a Winograd transform of %d channels, not of a positive multiple of %d", c, w.lanes))
	}
}

// WinogradInput computes Bᵀ d B for c channels: number f, of 36, of channel j of
// d is at x[f] + j and of the result at v[f*step+j].
func (s *Set) WinogradInput(v []float32, step int, x *[36]*float32, c int) {
	s.fn.winograd.check(c)
	_ = v[35*step+c-1]
	s.fn.winograd.in(&v[0], step, x, c)
}

// WinogradOutput computes Aᵀ m A for c channels: number f, of 36, of channel j
// of m is at m[f*step+j], and number i, of 16, of the result goes to y[i] + j. If
// add isn't nil, what is at add[i] + j, which may be the same place, is added.
//
// With stream, results may be stored past the caches, for when they are more
// than those hold; then all of y must be aligned to 64 bytes, and another thread
// sees the results after a locked instruction of this one, such as Go's atomic
// additions are.
func (s *Set) WinogradOutput(y *[16]*float32, m []float32, step, c int, add *[16]*float32, stream bool) {
	s.fn.winograd.check(c)
	_ = m[35*step+c-1]
	s.fn.winograd.out(y, &m[0], step, c, add, stream)
}

// WinogradKernel computes G g Gᵀ for c kernels: tap t of kernel j is w[t*wStep+j]
// and number f, of 36, of the result is u[f*step+j]. Turned kernels have their
// taps in reverse.
func (s *Set) WinogradKernel(u []float32, step int, w []float32, wStep, c int, turned bool) {
	s.fn.winograd.check(c)
	_, _ = u[35*step+c-1], w[8*wStep+c-1]
	first := &w[0]
	if turned {
		first, wStep = &w[8*wStep], -wStep
	}
	s.fn.winograd.kernel(&u[0], step, first, wStep, c)
}

// WinogradGrad computes A dy Aᵀ for c channels: number i, of 16, of channel j of
// dy is at dy[i] + j and number f, of 36, of the result at v[f*step+j].
func (s *Set) WinogradGrad(v []float32, step int, dy *[16]*float32, c int) {
	s.fn.winograd.check(c)
	_ = v[35*step+c-1]
	s.fn.winograd.grad(&v[0], step, dy, c)
}

// WinogradKernelGrad computes Gᵀ m G for c kernels: number f, of 36, of kernel j
// is m[f*step+j] and tap t of the result is dw[t*dwStep+j].
func (s *Set) WinogradKernelGrad(dw []float32, dwStep int, m []float32, step, c int) {
	s.fn.winograd.check(c)
	_, _ = dw[8*dwStep+c-1], m[35*step+c-1]
	s.fn.winograd.kernelGrad(&dw[0], dwStep, &m[0], step, c)
}

// F(2×2, 3×3), with the points 0, ±1 and infinity, computes 2×2 results from the
// 4×4 pixels under them by 16 products, where the definition takes 36, and has
// 16 numbers for each kernel instead of 36. It is for few pixels.

// Winograd2Input is [Set.WinogradInput] of F(2×2, 3×3): x is 4×4 pixels.
func (s *Set) Winograd2Input(v []float32, step int, x *[16]*float32, c int) {
	s.fn.winograd.check(c)
	_ = v[15*step+c-1]
	s.fn.winograd.in2(&v[0], step, x, c)
}

// Winograd2Output is [Set.WinogradOutput] of F(2×2, 3×3): y is 2×2 results.
func (s *Set) Winograd2Output(y *[4]*float32, m []float32, step, c int) {
	s.fn.winograd.check(c)
	_ = m[15*step+c-1]
	s.fn.winograd.out2(y, &m[0], step, c)
}

// Winograd2Kernel is [Set.WinogradKernel] of F(2×2, 3×3), for kernels that
// aren't turned.
func (s *Set) Winograd2Kernel(u []float32, step int, w []float32, wStep, c int) {
	s.fn.winograd.check(c)
	_, _ = u[15*step+c-1], w[8*wStep+c-1]
	s.fn.winograd.kernel2(&u[0], step, &w[0], wStep, c)
}
