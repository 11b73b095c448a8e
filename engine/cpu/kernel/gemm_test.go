//go:build unix

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/internal/testkit"
)

func TestGemm(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(5, 6))
		const room = 1 << 18
		ga, gb, gc, gp := testkit.NewGuard(t, room), testkit.NewGuard(t, room), testkit.NewGuard(t, room), testkit.NewGuard(t, room)
		cases := []struct{ m, n, k int }{
			{1, 1, 1}, {3, 5, 7}, {14, 32, 9}, {15, 33, 10}, {28, 40, 27}, {29, 8, 72}, {64, 10, 65}, {13, 24, 100},
			{5, 16, maxDepth}, {5, 31, maxDepth + 1}, {200, 8, 700}, {4, 100, 1100}, {7, 48, 0}, {2, 130, 64},
			{100, 130, packStrideA}, {packStrideA, 130, 20}, // A and B are copied
		}
		for _, z := range cases {
			for _, layout := range layouts[:3] {
				for bits := range 4 {
					back, acc := bits&1 != 0, bits&2 != 0
					ars, ads := layout.strides(z.m, z.k)
					ldb, ldc := z.n+5*(bits/2), z.n+3*(bits/2)
					a := ga.Place(max(0, (z.m-1)*ars+(z.k-1)*ads+1), back)
					b := gb.Place(max(0, (z.k-1)*ldb+z.n), back)
					c := gc.Place((z.m-1)*ldc+z.n, back)
					fill(r, a)
					fill(r, b)
					fill(r, c)
					was := append([]float32(nil), c...)
					s.Gemm(z.m, z.n, z.k, a, ars, ads, b, ldb, c, ldc, acc)
					for at := range c {
						i, j := at/ldc, at%ldc
						if j >= z.n {
							if c[at] != was[at] {
								t.Fatalf("%v: wrote past row %d", z, i)
							}
							continue
						}
						want, bound := product(i, j, z.k, a, ars, ads, b, ldb, was[at], acc)
						if diff := math.Abs(float64(c[at]) - want); !(diff <= bound) {
							t.Fatalf("%v, A by %s, acc %v: C[%d,%d] = %g, want %g ± %g", z, layout.name, acc, i, j, c[at], want, bound)
						}
					}
					// Packed, from B and from B transposed: the same bits.
					packed := gp.Place(s.PackedLen(z.k, z.n), back)
					again := append([]float32(nil), was...)
					s.PackB(packed, z.k, z.n, b, ldb)
					s.GemmPacked(z.m, z.n, z.k, a, ars, ads, packed, again, ldc, acc)
					same(t, fmt.Sprintf("%v packed", z), again, c)
					bt := make([]float32, z.n*(z.k+1))
					for k := range z.k {
						for j := range z.n {
							bt[j*(z.k+1)+k] = b[k*ldb+j]
						}
					}
					trans := make([]float32, len(packed))
					s.PackBTrans(trans, z.k, z.n, bt, z.k+1)
					same(t, fmt.Sprintf("%v packed from B transposed", z), trans, packed)
				}
			}
		}
	})
}

// Threads split the rows of a product, or its columns; the bits must not tell.
func TestGemmSplitsDoNotMatter(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, z := range []struct{ m, n, k int }{{64, 40, 150}, {100, 8, 1200}, {33, 70, 513}, {300, 12, 600}, {120, 140, 2 * packStrideA}} {
			a, b := make([]float32, z.m*z.k), make([]float32, z.k*z.n)
			fill(r, a)
			fill(r, b)
			start := make([]float32, z.m*z.n)
			fill(r, start)
			for _, acc := range []bool{false, true} {
				want := append([]float32(nil), start...)
				s.Gemm(z.m, z.n, z.k, a, z.k, 1, b, z.n, want, z.n, acc)
				for range 20 {
					got := append([]float32(nil), start...)
					for i := 0; i < z.m; {
						rows := 1 + r.IntN(z.m-i)
						cut := r.IntN(z.n + 1)
						s.Gemm(rows, cut, z.k, a[i*z.k:], z.k, 1, b, z.n, got[i*z.n:], z.n, acc)
						if cut < z.n {
							s.Gemm(rows, z.n-cut, z.k, a[i*z.k:], z.k, 1, b[cut:], z.n, got[i*z.n+cut:], z.n, acc)
						}
						i += rows
					}
					same(t, fmt.Sprintf("%v in pieces", z), got, want)
				}
			}
		}
	})
}

// The assembly sets all fuse multiply and add and sum in the same order, so a
// run moves between such machines with the same bits.
func TestGemmSetsAgree(t *testing.T) {
	sets := Usable()
	sets = sets[:len(sets)-1]
	if len(sets) < 2 {
		t.Skip("this machine has fewer than two sets in assembly")
	}
	r := rand.New(rand.NewPCG(9, 10))
	const m, n, k = 50, 75, 700
	a, b := make([]float32, m*k), make([]float32, k*n)
	fill(r, a)
	fill(r, b)
	want := make([]float32, m*n)
	sets[0].Gemm(m, n, k, a, k, 1, b, n, want, n, false)
	for _, s := range sets[1:] {
		got := make([]float32, m*n)
		s.Gemm(m, n, k, a, k, 1, b, n, got, n, false)
		same(t, s.Name+" beside "+sets[0].Name, got, want)
	}
}

func TestGemmAllocatesNothing(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		a, b, c := make([]float32, 100*100), make([]float32, 100*100), make([]float32, 100*100)
		if n := testing.AllocsPerRun(100, func() { s.Gemm(100, 99, 100, a, 100, 1, b, 100, c, 100, true) }); n > 0 {
			t.Errorf("%g allocations a call", n)
		}
	})
}

func TestGemmPanicsOnShortSlices(t *testing.T) {
	s := Best()
	ok := func() [3][]float32 {
		return [3][]float32{make([]float32, 4*5), make([]float32, 5*6), make([]float32, 4*6)}
	}
	for i := range 3 {
		x := ok()
		x[i] = x[i][:len(x[i])-1]
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("operand %d too short: no panic", i)
				}
			}()
			s.Gemm(4, 6, 5, x[0], 5, 1, x[1], 6, x[2], 6, false)
		}()
	}
}
