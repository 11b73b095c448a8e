//go:build unix

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A result is off by 2 units in the last place and by the roundings of its
// exponent, which are relative errors: two of numbers up to 100.
func expTolerance(want float64) float64 { return (2*2 + 2*100) * unit * want }

func TestExpRows(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(21, 22))
		g := guards(t, 4)
		const scale, shift = 3.7, 1.3
		for _, n := range []int{0, 1, 7, 8, 9, 15, 16, 17, 31, 64, 65, 100, 256, 1000, longest + 3} {
			for bits := range 4 {
				back, inPlace := bits&1 != 0, bits&2 != 0
				x := place(r, g, 3, n, back)
				for i := range x[0] {
					x[0][i] *= 20 // −87.3 and 88.7 are passed
				}
				dst := g[3].Place(n, back)
				want, wantAdd := make([]float64, n), make([]float64, n)
				for i := range want {
					want[i] = math.Exp(scale*float64(x[0][i]) - shift)
					wantAdd[i] = math.Exp(scale*float64(x[0][i]) - float64(x[1][i]))
				}
				check := func(name string, got, add float32, want float64) {
					t.Helper()
					switch d := math.Abs(float64(got) - float64(add) - want); {
					case want > math.MaxFloat32: // the last numbers before may be infinite as well
						if !math.IsInf(float64(got), 1) {
							t.Fatalf("%s of %d: %g, want +Inf", name, n, got)
						}
					case want > 2e38 && math.IsInf(float64(got), 1):
					case !(d <= expTolerance(want)+2e-38+unit*math.Abs(float64(add))*2):
						t.Fatalf("%s of %d: %g, want %g + %g", name, n, got, want, add)
					}
				}
				add := append([]float32(nil), x[2]...)
				out := dst
				if inPlace {
					out = x[2]
				}
				s.ExpAdd(out, x[0], x[1], x[2], scale)
				for i := range out {
					check("ExpAdd", out[i], add[i], wantAdd[i])
				}
				out = dst
				if inPlace {
					out = x[0]
				}
				s.ExpSub(out, x[0], scale, shift)
				for i := range out {
					check("ExpSub", out[i], 0, want[i])
				}
			}
		}
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		x := []float32{-inf, 0, nan, inf, 1, -300, 300, 2, -87.9, -1e30, 1e30, -0.1, 5, 6, 7, 8, 9, nan}
		dst := make([]float32, len(x))
		s.ExpSub(dst, x, 1, 0)
		for i, v := range x {
			want := math.Exp(float64(v))
			if math.IsNaN(want) != math.IsNaN(float64(dst[i])) || want == 0 && dst[i] != 0 || math.IsInf(want, 1) && !math.IsInf(float64(dst[i]), 1) {
				t.Errorf("exp(%g) is %g, want %g", v, dst[i], want)
			}
		}
		s.ExpSub(dst, []float32{-9, 0, 9, 3, 1, 2, -1e30, 1e30, 80, 7, 6, 5, 4, 3, 2, 1, 0, 9}, 2, inf)
		for i, v := range dst {
			if v != 0 {
				t.Errorf("with a shift of +Inf: %g at %d", v, i)
			}
		}
	})
}
