//go:build unix

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"selfcon/internal/testkit"
)

// unit is the largest relative error of one rounding to float32.
const unit = 1.0 / (1 << 24)

func fill(r *rand.Rand, x []float32) {
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
}

// eachSet runs a test for every set that this machine can run.
func eachSet(t *testing.T, f func(t *testing.T, s *Set)) {
	for _, s := range Usable() {
		t.Run(s.Name, func(t *testing.T) { f(t, s) })
	}
}

// product is the definition of every matrix product here, in float64, and the
// error that float32 may make. c is the former C when it is accumulated to.
//
// The error of a sum of n products, in any order and with or without fused
// multiply-adds, is at most n·unit·Σ|a||b| to first order; adding it to C is
// one rounding more, of a value no larger than |C| + Σ|a||b|. Each block of
// depth adds one too: the 2 covers the first, and as many as there can be
// here. The 1.01 covers terms of second order.
func product(i, j, depth int, a []float32, ars, ads int, b []float32, ldb int, c float32, acc bool) (want, bound float64) {
	var mag float64
	for k := range depth {
		p := float64(a[i*ars+k*ads]) * float64(b[k*ldb+j])
		want += p
		mag += math.Abs(p)
	}
	if acc {
		want += float64(c)
		mag += math.Abs(float64(c))
	}
	return want, 1.01 * float64(depth+2) * unit * mag
}

// layouts are the ways A may lie.
var layouts = []struct {
	name    string
	strides func(rows, depth int) (ars, ads int)
}{
	{"rows", func(_, depth int) (int, int) { return depth, 1 }},
	{"columns", func(rows, _ int) (int, int) { return 1, rows }},
	{"padded rows", func(_, depth int) (int, int) { return depth + 3, 1 }},
	{"both strides", func(rows, depth int) (int, int) { return 3, 3*rows + 2 }},
}

func TestTile(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(1, 2))
		const room = 1 << 14
		ga, gb, gc, gd := testkit.NewGuard(t, room), testkit.NewGuard(t, room), testkit.NewGuard(t, room), testkit.NewGuard(t, room)
		for _, tile := range s.Tiles {
			for rows := 1; rows <= tile.MR; rows++ {
				for _, depth := range []int{0, 1, 2, 3, 8, 37} {
					for _, layout := range layouts {
						for bits := range 512 {
							back, acc := bits&1 != 0, bits&2 != 0
							tiles := 1 + 2*(bits>>7&1)
							all := tiles * rows
							ars, ads := layout.strides(all, depth)
							ldb, ldc := tile.NR, tile.NR
							if bits&4 != 0 {
								ldb += 5
							}
							if bits&8 != 0 {
								ldc += 3
							}
							// Room for one element where depth is 0.
							a := ga.Place(max(1, (all-1)*ars+(depth-1)*ads+1), back)
							b := gb.Place(max(1, (depth-1)*ldb+tile.NR), back)
							c := gc.Place((all-1)*ldc+tile.NR, back)
							fill(r, a)
							fill(r, b)
							fill(r, c)
							was := append([]float32(nil), c...)
							add, ldd := []float32(nil), 0 // nothing, C itself or another matrix
							switch {
							case acc && bits&256 != 0:
								ldd = tile.NR + 2*(bits&1)
								add = gd.Place((all-1)*ldd+tile.NR, back)
								fill(r, add)
							case acc:
								add, ldd = c, ldc
							case bits&256 != 0:
								continue
							}
							plus := append([]float32(nil), add...)
							var next *float32
							if bits&16 != 0 {
								next = &a[0]
							}
							tile.Run(tiles, rows, depth, &a[0], ars, ads, &b[0], ldb, &c[0], ldc, unsafe.SliceData(add), ldd, bits&32 != 0, next, 16*(rows+1), (bits>>6&1+rows)%3)
							for at := range c {
								i, j := at/ldc, at%ldc
								if j >= tile.NR {
									if c[at] != was[at] {
										t.Fatalf("%dx%d: wrote past row %d", tile.MR, tile.NR, i)
									}
									continue
								}
								d := float32(0)
								if acc {
									d = plus[i*ldd+j]
								}
								want, bound := product(i, j, depth, a, ars, ads, b, ldb, d, acc)
								if diff := math.Abs(float64(c[at]) - want); !(diff <= bound) {
									t.Fatalf("%dx%d, %d tiles of %d rows, depth %d, A by %s, acc %v: C[%d,%d] = %g, want %g ± %g",
										tile.MR, tile.NR, tiles, rows, depth, layout.name, acc, i, j, c[at], want, bound)
								}
							}
						}
					}
				}
			}
		}
	})
}

// A row's bits must not depend on how many rows are computed with it, nor on
// what is fetched.
func TestTileRowsDoNotMatter(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, tile := range s.Tiles {
			const depth = 100
			a, b := make([]float32, tile.MR*depth), make([]float32, depth*tile.NR)
			fill(r, a)
			fill(r, b)
			want := make([]float32, tile.MR*tile.NR)
			tile.Run(1, tile.MR, depth, &a[0], depth, 1, &b[0], tile.NR, &want[0], tile.NR, nil, 0, false, nil, 0, 0)
			next := [2]*float32{&b[0], nil}
			for rows := 1; rows < tile.MR; rows++ {
				for from := 0; from+rows <= tile.MR; from++ {
					got := make([]float32, rows*tile.NR)
					tile.Run(1, rows, depth, &a[from*depth], depth, 1, &b[0], tile.NR, &got[0], tile.NR, nil, 0, from%4 < 2, next[from%2], -16, rows%3)
					same(t, fmt.Sprintf("%dx%d, rows %d to %d", tile.MR, tile.NR, from, from+rows), got, want[from*tile.NR:(from+rows)*tile.NR])
				}
			}
		}
	})
}

// same fails unless two slices have the same bits.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %g, want the same bits as %g", what, i, got[i], want[i])
		}
	}
}
