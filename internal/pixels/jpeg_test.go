//go:build unix

package pixels

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"selfcon/internal/testkit"
)

// TestInverseDCT: blocks from a single coefficient to full ones, ordinary and as
// large as 16 bits go, whatever that gives.
func TestInverseDCT(t *testing.T) {
	others(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(7, 8))
		guard := testkit.NewGuard(t, 8*40)
		for i := range 5000 {
			var b [64]int32
			size := int32(1) << (1 + r.IntN(16))
			for range 1 + r.IntN(80) {
				b[r.IntN(64)] = max(-1<<15, min(r.Int32N(2*size)-size, 1<<15-1))
			}
			stride := 8 + r.IntN(30)
			out := noise(r, guard.Bytes(7*stride+8, i%2 == 0))
			want, c := bytes.Clone(out), b
			s.InverseDCT(out, stride, &b)
			generic.InverseDCT(want, stride, &c)
			if !bytes.Equal(out, want) {
				t.Fatalf("block %d: %v, want %v", i, out, want)
			}
			if b != [64]int32{} || c != b {
				t.Fatalf("block %d isn't cleared", i)
			}
			if i%100 == 0 { // one coefficient
				c[0] = r.Int32N(1<<12) - 1<<11
				FlatDCT(out, stride, c[0])
				s.InverseDCT(want, stride, &c)
				if !bytes.Equal(out, want) {
					t.Fatal("FlatDCT is not InverseDCT")
				}
			}
		}
	})
}

// TestUpsample compares with libjpeg's loops, which treat the ends apart.
func TestUpsample(t *testing.T) {
	for _, s := range Usable() {
		t.Run(s.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			a, b, d := testkit.NewGuard(t, 100), testkit.NewGuard(t, 100), testkit.NewGuard(t, 100)
			for n := 1; n < 130; n++ {
				room := Room(n)
				near, far, dst := noise(r, a.Bytes(room, true)), noise(r, b.Bytes(room, true)), d.Bytes(2*room, true)
				sums := make([]uint16, room+2)
				want := make([]uint8, 2*n)

				s.Upsample(dst, near, near, n, sums, 4, 8)
				for x := range n {
					v, before, next := int(near[x]), int(near[max(x-1, 0)]), int(near[min(x+1, n-1)])
					want[2*x], want[2*x+1] = uint8((3*v+before+1)>>2), uint8((3*v+next+2)>>2)
				}
				if !bytes.Equal(dst[:2*n], want) {
					t.Fatalf("%d samples of a row: %v, want %v", n, dst[:2*n], want)
				}
				s.Upsample(dst, near, far, n, sums, 8, 7)
				sum := func(x int) int { return 3*int(near[x]) + int(far[x]) }
				for x := range n {
					v, before, next := sum(x), sum(max(x-1, 0)), sum(min(x+1, n-1))
					want[2*x], want[2*x+1] = uint8((3*v+before+8)>>4), uint8((3*v+next+7)>>4)
				}
				if !bytes.Equal(dst[:2*n], want) {
					t.Fatalf("%d samples between rows: %v, want %v", n, dst[:2*n], want)
				}
			}
		})
	}
}

// TestYCbCr: all colours, and all lengths of rows.
func TestYCbCr(t *testing.T) {
	others(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(11, 12))
		var in [3]*testkit.Guard
		for i := range in {
			in[i] = testkit.NewGuard(t, 64)
		}
		out := testkit.NewGuard(t, 200)
		for n := range 130 {
			for _, back := range []bool{false, true} {
				y, u, v := noise(r, in[0].Bytes(n, back)), noise(r, in[1].Bytes(n, back)), noise(r, in[2].Bytes(n, back))
				dst, want := out.Bytes(3*n, back), make([]uint8, 3*n)
				s.YCbCrToRGB(dst, y, u, v)
				generic.YCbCrToRGB(want, y, u, v)
				if !bytes.Equal(dst, want) {
					t.Fatalf("%d pixels are not as plain Go's", n)
				}
			}
		}
		y, u, v := make([]uint8, 256), make([]uint8, 256), make([]uint8, 256)
		got, want := make([]uint8, 3*256), make([]uint8, 3*256)
		for i := range y {
			y[i] = uint8(i)
		}
		for c := range 1 << 16 {
			for i := range u {
				u[i], v[i] = uint8(c), uint8(c>>8)
			}
			s.YCbCrToRGB(got, y, u, v)
			generic.YCbCrToRGB(want, y, u, v)
			if !bytes.Equal(got, want) {
				t.Fatalf("colours with chroma %d, %d are not as plain Go's", uint8(c), c>>8)
			}
		}
	})
}
