package kernel

// A 3×3 correlation of stride 2, padded by one, takes from each of the four
// phases of the pixels (odd and even rows and columns) a correlation of stride
// 1: two taps of the three where rows or columns are odd, the middle one where
// they are even. F(4×4, 2×2) computes 4×4 results of such a correlation from
// 5×5 pixels by 25 products; what a single tap's transform has at infinity is
// 0, so a phase of one tap down or across needs 4 of the 5 there, and no fifth
// pixel. Between them the phases take 81 products where the definition takes
// 144. As in Winograd's other transforms,
//
//	y = Aᵀ [ Σ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//
// with the sum over phases. The derivative by the pixels of each phase is that
// correlation of dy, the same for all, with the phase's taps turned; the one by
// g is the formula transposed.
//
// The polynomial's roots are ±1/2, ±5/4 and infinity, the last number of each
// row and column. The third row of the results, and all before it, take nothing
// of infinity's.

// Phase is the rows and columns of a phase.
type Phase uint8

// The phases, in an order in which those that take part in infinity's products
// of rows, of columns or of both lie side by side.
const (
	EvenOdd Phase = iota // even rows, odd columns
	OddOdd
	OddEven
	EvenEven
	Phases
)

// OddRows says whether a phase is odd rows, which two taps reach.
func (p Phase) OddRows() bool { return p == OddOdd || p == OddEven }

// OddColumns says the same of columns.
func (p Phase) OddColumns() bool { return p == EvenOdd || p == OddOdd }

// firstTap is the first tap of a phase, in a 3×3 kernel.
func (p Phase) firstTap() int {
	t := 0
	if !p.OddRows() {
		t += 3
	}
	if !p.OddColumns() {
		t++
	}
	return t
}

// A winostride is a set's transforms of stride 2, most of them by phase.
type winostride struct {
	in         [Phases]strideIn
	out        [Phases]strideOut
	kernel     [Phases]strideKernel
	grad       func(v *float32, step int, dy *[16]*float32, c int)
	kernelGrad [Phases]strideKernelGrad
}

type (
	strideIn         func(v *float32, step int, x *[25]*float32, c int)
	strideOut        func(y *[16]*float32, m *float32, step int, c int, add *[16]*float32, stream bool)
	strideKernel     func(u *float32, step int, w *float32, wStep int, c int)
	strideKernelGrad func(dw *float32, dwStep int, m *float32, step int, c int)
)

// StrideInput computes Bᵀ d B for c channels of a phase: number 5i+j of channel
// k of d is at x[5i+j] + k and of the result at v[(5i+j)*step+k]. Of an even
// phase the fifth row or column is neither read nor written.
func (s *Set) StrideInput(v []float32, step int, p Phase, x *[25]*float32, c int) {
	s.fn.winograd.check(c)
	_ = v[p.last()*step+c-1]
	s.fn.winostride.in[p](&v[0], step, x, c)
}

// last is the last of a phase's numbers.
func (p Phase) last() int {
	i, j := 3, 3
	if p.OddRows() {
		i++
	}
	if p.OddColumns() {
		j++
	}
	return 5*i + j
}

// StrideOutput computes Aᵀ m A for c channels: number 5i+j of channel k of m is
// at m[(5i+j)*step+k] and number 4i+j of the result goes to y[4i+j] + k. Numbers
// of m that the phase lacks are taken for 0. add and stream are as in
// [Set.WinogradOutput].
func (s *Set) StrideOutput(p Phase, y *[16]*float32, m []float32, step, c int, add *[16]*float32, stream bool) {
	s.fn.winograd.check(c)
	_ = m[p.last()*step+c-1]
	s.fn.winostride.out[p](y, &m[0], step, c, add, stream)
}

// StrideKernel computes G g Gᵀ of all phases of c kernels: tap t, of 9, of kernel
// k is w[t*wStep+k] and number 5i+j of phase p of the result is
// u[(5i+j)*step+p*phaseStep+k]. Turned kernels have their taps in reverse.
func (s *Set) StrideKernel(u []float32, step, phaseStep int, w []float32, wStep, c int, turned bool) {
	s.fn.winograd.check(c)
	_ = w[8*wStep+c-1]
	for p := range Phases {
		to, tap := u[int(p)*phaseStep:], p.firstTap()
		_ = to[p.last()*step+c-1]
		if turned {
			s.fn.winostride.kernel[p](&to[0], step, &w[(8-tap)*wStep], -wStep, c)
		} else {
			s.fn.winostride.kernel[p](&to[0], step, &w[tap*wStep], wStep, c)
		}
	}
}

// StrideGrad computes A dy Aᵀ for c channels: number 4i+j of channel k of dy is
// at dy[4i+j] + k and number 5i+j of the result at v[(5i+j)*step+k].
func (s *Set) StrideGrad(v []float32, step int, dy *[16]*float32, c int) {
	s.fn.winograd.check(c)
	_ = v[24*step+c-1]
	s.fn.winostride.grad(&v[0], step, dy, c)
}

// StrideKernelGrad computes Gᵀ m G of all phases of c kernels: number 5i+j of
// phase p of kernel k is m[(5i+j)*step+p*phaseStep+k] and tap t of the result is
// dw[t*dwStep+k].
func (s *Set) StrideKernelGrad(dw []float32, dwStep int, m []float32, step, phaseStep, c int) {
	s.fn.winograd.check(c)
	_ = dw[8*dwStep+c-1]
	for p := range Phases {
		from := m[int(p)*phaseStep:]
		_ = from[p.last()*step+c-1]
		s.fn.winostride.kernelGrad[p](&dw[p.firstTap()*dwStep], dwStep, &from[0], step, c)
	}
}
