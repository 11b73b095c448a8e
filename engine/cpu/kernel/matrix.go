package kernel

// AddRows computes, for i < rows and j < n,
//
//	dst[i*dstStep+j] = a[i*aStep+j] + b[i*bStep+j]
//
// where dst may be a or b.
func (s *Set) AddRows(dst []float32, dstStep int, a []float32, aStep int, b []float32, bStep int, rows, n int) {
	matrices(s.fn.addRows, dst, dstStep, a, aStep, b, bStep, rows, n)
}

// SubRows is [Set.AddRows] of differences, a less b.
func (s *Set) SubRows(dst []float32, dstStep int, a []float32, aStep int, b []float32, bStep int, rows, n int) {
	matrices(s.fn.subRows, dst, dstStep, a, aStep, b, bStep, rows, n)
}

func matrices(f func(dst *float32, dstStep int, a *float32, aStep int, b *float32, bStep int, rows, n int), dst []float32, dstStep int, a []float32, aStep int, b []float32, bStep int, rows, n int) {
	if rows <= 0 || n <= 0 {
		return
	}
	last := rows - 1
	_, _, _ = dst[last*dstStep+n-1], a[last*aStep+n-1], b[last*bStep+n-1]
	f(&dst[0], dstStep, &a[0], aStep, &b[0], bStep, rows, n)
}

func addRowsPlain(dst *float32, dstStep int, a *float32, aStep int, b *float32, bStep int, rows, n int) {
	for i := range rows {
		for j := range n {
			*at(dst, i*dstStep+j) = *at(a, i*aStep+j) + *at(b, i*bStep+j)
		}
	}
}

func subRowsPlain(dst *float32, dstStep int, a *float32, aStep int, b *float32, bStep int, rows, n int) {
	for i := range rows {
		for j := range n {
			*at(dst, i*dstStep+j) = *at(a, i*aStep+j) - *at(b, i*bStep+j)
		}
	}
}

// QuarterSums makes of the quarters of A, each rows × n, A11 and A12 side by side
// and A21 and A22 down floats further, rows step apart, the sums of Strassen's
// products in Winograd's form:
//
//	S1 = A21 + A22, S2 = S1 − A11, S3 = A11 − A21, S4 = A12 − S2
//
// which lie part floats apart, rows sStep apart.
func (s *Set) QuarterSums(sums []float32, part, sStep int, a []float32, down, step, rows, n int) {
	if rows <= 0 || n <= 0 {
		return
	}
	last := rows - 1
	_, _ = sums[3*part+last*sStep+n-1], a[down+last*step+2*n-1]
	s.fn.quarters(&sums[0], part, sStep, &a[0], down, step, rows, n)
}

func quarterSumsPlain(s *float32, part, sStep int, a *float32, down, step, rows, n int) {
	for i := range rows {
		for j := range n {
			at11 := i*step + j
			a11, a12, a21, a22 := *at(a, at11), *at(a, at11+n), *at(a, at11+down), *at(a, at11+down+n)
			s1 := a21 + a22
			s2 := s1 - a11
			to := i*sStep + j
			*at(s, to), *at(s, to+part), *at(s, to+2*part), *at(s, to+3*part) = s1, s2, a11-a21, a12-s2
		}
	}
}
