package kernel

func expSubPlain(dst, x []float32, scale, shift float32) {
	for i := range dst {
		dst[i] = Exp(scale*x[i] - shift)
	}
}

func expAddPlain(dst, x, l, add []float32, scale float32) {
	for i := range dst {
		dst[i] = add[i] + Exp(scale*x[i]-l[i])
	}
}

// ExpSub computes dst[i] = exp(scale*x[i] - shift), with [Exp] and rounded once
// or twice before it. A shift of +Inf makes it 0. dst may be x.
func (s *Set) ExpSub(dst, x []float32, scale, shift float32) {
	x = x[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.expSub(dst[:n], x[:n], scale, shift)
		dst, x = dst[n:], x[n:]
	}
}

// ExpAdd computes dst[i] = add[i] + exp(scale*x[i] - l[i]), as ExpSub. dst may be
// any of the others.
func (s *Set) ExpAdd(dst, x, l, add []float32, scale float32) {
	x, l, add = x[:len(dst)], l[:len(dst)], add[:len(dst)]
	for len(dst) > 0 {
		n := min(len(dst), longest)
		s.fn.expAdd(dst[:n], x[:n], l[:n], add[:n], scale)
		dst, x, l, add = dst[n:], x[n:], l[n:], add[n:]
	}
}
