//go:build unix

package kernel

import (
	"math/rand/v2"
	"testing"

	"selfcon/internal/testkit"
)

func TestTranspose(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(1, 2))
		const room = 1 << 13
		from, to := testkit.NewGuard(t, room), testkit.NewGuard(t, room)
		for _, rows := range []int{0, 16, 32, 48} {
			for _, cols := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 40, 144} {
				for bits := range 4 {
					back, gap := bits&1 != 0, bits/2*3
					src := from.Place(max(0, rows-1)*(cols+gap)+cols, back)
					dst := to.Place(max(0, cols-1)*(rows+gap)+rows, back)
					fill(r, src)
					fill(r, dst)
					was := append([]float32(nil), dst...)
					s.Transpose(dst, rows+gap, src, cols+gap, rows, cols)
					for at, got := range dst {
						j, i := at/(rows+gap), at%(rows+gap)
						want := was[at]
						if i < rows && cols > 0 {
							want = src[i*(cols+gap)+j]
						}
						if got != want {
							t.Fatalf("%d×%d: element %d, %d is %g, want %g", rows, cols, j, i, got, want)
						}
					}
				}
			}
		}
	})
}
