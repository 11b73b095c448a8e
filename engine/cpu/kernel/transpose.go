package kernel

import "fmt"

// Transpose computes, for i < rows, a multiple of 16 (or of the set's lanes), and
// j < cols,
//
//	dst[j*dstStep+i] = src[i*srcStep+j]
func (s *Set) Transpose(dst []float32, dstStep int, src []float32, srcStep, rows, cols int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	if rows%s.fn.lanes != 0 {
		panic(fmt.Sprintf("kernel: Transpose of %d rows, not of a multiple of %d", rows, s.fn.lanes))
	}
	_, _ = dst[(cols-1)*dstStep+rows-1], src[(rows-1)*srcStep+cols-1]
	s.fn.transpose(&dst[0], dstStep, &src[0], srcStep, rows, cols)
}

func transposePlain(dst *float32, dstStep int, src *float32, srcStep int, rows, cols int) {
	for i := range rows {
		for j := range cols {
			*at(dst, j*dstStep+i) = *at(src, i*srcStep+j)
		}
	}
}
