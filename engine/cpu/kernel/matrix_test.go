//go:build unix

package kernel

import (
	"math/rand/v2"
	"testing"

	"selfcon/internal/testkit"
)

// Sums of matrices: each element rounded once, nothing written beside them.
func TestMatrices(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(1, 2))
		const room = 1 << 13
		ga, gb, gd := testkit.NewGuard(t, room), testkit.NewGuard(t, room), testkit.NewGuard(t, room)
		for _, rows := range []int{0, 1, 2, 5} {
			for _, n := range []int{0, 1, 7, 8, 9, 16, 31, 64, 80, 129} {
				for bits := range 4 {
					back, gap := bits&1 != 0, bits/2*3
					size := func(gap int) int { return max(0, rows-1)*(n+gap) + n }
					a, b, dst := ga.Place(size(gap), back), gb.Place(size(2*gap), back), gd.Place(size(gap+1), back)
					fill(r, a)
					fill(r, b)
					fill(r, dst)
					was := append([]float32(nil), dst...)
					for sign, f := range map[float32]func([]float32, int, []float32, int, []float32, int, int, int){1: s.AddRows, -1: s.SubRows} {
						f(dst, n+gap+1, a, n+gap, b, n+2*gap, rows, n)
						for k, got := range dst {
							i, j := k/(n+gap+1), k%(n+gap+1)
							want := was[k]
							if i < rows && j < n {
								want = a[i*(n+gap)+j] + sign*b[i*(n+2*gap)+j]
							}
							if got != want {
								t.Fatalf("%d×%d, sign %g: element %d, %d is %g, want %g", rows, n, sign, i, j, got, want)
							}
						}
					}
				}
			}
		}
	})
}

func TestQuarterSums(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(1, 2))
		const room = 1 << 13
		from, to := testkit.NewGuard(t, room), testkit.NewGuard(t, room)
		for _, rows := range []int{0, 1, 2, 5} {
			for _, n := range []int{0, 1, 7, 8, 9, 16, 31, 32, 33, 64, 80} {
				for bits := range 4 {
					back, gap := bits&1 != 0, bits/2*3
					step, sStep := 2*n+gap, n+2*gap
					down, part := rows*step+gap, rows*sStep+gap
					a := from.Place(down+max(0, rows-1)*step+2*n, back)
					sums := to.Place(3*part+max(0, rows-1)*sStep+n, back)
					fill(r, a)
					fill(r, sums)
					want := append([]float32(nil), sums...)
					for i := range rows {
						for j := range n {
							q := a[i*step+j:]
							k := i*sStep + j
							want[k] = q[down] + q[down+n]
							want[part+k] = want[k] - q[0]
							want[2*part+k] = q[0] - q[down]
							want[3*part+k] = q[n] - want[part+k]
						}
					}
					s.QuarterSums(sums, part, sStep, a, down, step, rows, n)
					same(t, "sums", sums, want)
				}
			}
		}
	})
}
