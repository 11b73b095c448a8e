//go:build unix

package pixels

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"selfcon/internal/testkit"
)

// others runs a test with every set but the plain one, which is the definition.
func others(t *testing.T, test func(t *testing.T, s *Set)) {
	for _, s := range Usable()[:len(Usable())-1] {
		t.Run(s.Name, func(t *testing.T) { test(t, s) })
	}
}

func TestUsable(t *testing.T) {
	if last := usable[len(usable)-1]; last != generic {
		t.Errorf("the last set is %q, want generic", last.Name)
	}
	t.Setenv("SELFCON_KERNELS", "")
	if Best() != usable[0] {
		t.Errorf("Best is %q, want %q", Best().Name, usable[0].Name)
	}
	t.Setenv("SELFCON_KERNELS", "generic")
	if Best() != generic {
		t.Errorf("SELFCON_KERNELS=generic: Best is %q", Best().Name)
	}
}

func noise(r *rand.Rand, pix []uint8) []uint8 {
	for i := range pix {
		pix[i] = uint8(r.Uint32())
		if r.IntN(8) == 0 { // more ties and ends than chance gives
			pix[i] = pix[max(0, i-1-r.IntN(3))] | uint8(-(r.IntN(3) / 2))
		}
	}
	return pix
}

// TestColours compares every change of colour with plain Go, for all numbers of
// pixels up to some vectors and more than a stretch, at both ends of guarded memory.
func TestColours(t *testing.T) {
	counts := []int{stretch + 13, 2*stretch + 3}
	for n := range 70 {
		counts = append(counts, n)
	}
	others(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(1, 2))
		guard := testkit.NewGuard(t, 3*(2*stretch+3))
		for _, n := range counts {
			for _, back := range []bool{false, true} {
				pix := noise(r, guard.Bytes(3*n, back))
				was := bytes.Clone(pix)
				if got, want := s.GreySum(pix), generic.GreySum(was); got != want {
					t.Fatalf("%d pixels: grey values add up to %d, want %d", n, got, want)
				}
				alpha, shift := float32(2*r.Float64()), uint8(r.Uint32())
				if n%5 == 0 {
					alpha = []float32{0, 1, 1001, 0.5}[r.IntN(4)]
				}
				for name, change := range map[string]func(s *Set, pix []uint8){
					"Saturate":  func(s *Set, pix []uint8) { s.Saturate(pix, alpha) },
					"TurnHue":   func(s *Set, pix []uint8) { s.TurnHue(pix, shift) },
					"BlendWith": func(s *Set, pix []uint8) { s.BlendWith(pix, shift, alpha) },
					"ToGrey":    func(s *Set, pix []uint8) { s.ToGrey(pix[:n], pix) },
				} {
					copy(pix, was)
					want := bytes.Clone(was)
					change(s, pix)
					change(generic, want)
					if name == "ToGrey" { // what is behind the grey values is not used
						pix, want := pix[:n], want[:n]
						if !bytes.Equal(pix, want) {
							t.Fatalf("ToGrey of %d pixels is not as plain Go's", n)
						}
						continue
					}
					for i := range want {
						if pix[i] != want[i] {
							t.Fatalf("%s(alpha %v, shift %d) of %d pixels: byte %d of %d is %d, want %d", name, alpha, shift, n, i, was[i/3*3:i/3*3+3], pix[i], want[i])
						}
					}
				}
			}
		}
	})
}

// TestHueOfAll: every pixel, and every hue of it at some brightness.
func TestHueOfAll(t *testing.T) {
	if testing.Short() {
		t.Skip("80 million pixels")
	}
	others(t, func(t *testing.T, s *Set) {
		got, want := make([]uint8, 3<<16), make([]uint8, 3<<16)
		for first := range 256 {
			for _, shift := range []uint8{0, 1, 100, 255} {
				for i := range 1 << 16 {
					got[3*i], got[3*i+1], got[3*i+2] = uint8(first), uint8(i>>8), uint8(i)
				}
				copy(want, got)
				s.TurnHue(got, shift)
				generic.TurnHue(want, shift)
				if !bytes.Equal(got, want) {
					t.Fatalf("pixels with red %d turned by %d are not as plain Go's", first, shift)
				}
			}
		}
	})
}

func TestNormalize(t *testing.T) {
	others(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(3, 4))
		from, to := testkit.NewGuard(t, 300), testkit.NewGuard(t, 300)
		for i := range 60 {
			mean := []float64{r.Float64(), 0.4465, r.Float64()}
			std := []float64{0.2023, r.Float64() + 0.01, 1}
			if i == 7 {
				std[1] = 1e-39 // its reciprocal is infinite: the table must do
			}
			norm, want := s.NewNorm(mean, std), generic.NewNorm(mean, std)
			if i == 0 && !norm.on {
				t.Error("common means don't go by assembly")
			}
			for _, back := range []bool{false, true} {
				pix, dst := noise(r, from.Bytes(3*i, back)), to.Place(3*i, back)
				s.Normalize(dst, 3, pix, 3, norm)
				for k, v := range pix {
					if dst[k] != want.Value(k%3, v) {
						t.Fatalf("%d pixels, mean %v, std %v: number %d, byte %d, is %v, want %v", i, mean, std, k, v, dst[k], want.Value(k%3, v))
					}
				}
			}
		}
	})
}

// taps are random weights that add up to 2^22, or one more, with their places in an
// axis of in pixels in any order.
func taps(r *rand.Rand, in, out, n int) *Taps {
	t := &Taps{N: n, First: make([]int32, out), Weight: make([]int32, out*n)}
	for i := range out {
		t.First[i] = int32(r.IntN(in - n + 1))
		left := int32(1<<Precision + r.IntN(2))
		for k := range n {
			w := r.Int32N(left + 1)
			if k == n-1 || r.IntN(5) == 0 {
				w = left
			}
			t.Weight[i*n+k] = w
			left -= w
		}
	}
	t.First[0], t.First[out-1] = int32(in-n), int32(in-n) // the end is read
	t.Split()
	return t
}

// byHand is the definition of a resampled row.
func byHand(in func(i int) uint8, t *Taps, i int) uint8 {
	sum := int64(1) << 21
	for k, w := range t.Weight[i*t.N:][:t.N] {
		sum += int64(in(int(t.First[i])+k)) * int64(w)
	}
	return uint8(min(sum>>22, 255))
}

func TestResample(t *testing.T) {
	for _, s := range Usable() {
		t.Run(s.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			from, to := testkit.NewGuard(t, 1<<13), testkit.NewGuard(t, 1<<13)
			for _, n := range []int{1, 2, 3, 4, 6, 8, 9, 10} {
				for _, out := range []int{1, 3, 4, 5, 8, 11, 32, 33} {
					for _, rows := range []int{1, 2, 3, 6} {
						for _, ch := range []int{1, 3} {
							back := r.IntN(2) == 0
							in := n + r.IntN(20)
							if n == 10 {
								in = n
							}
							w := taps(r, in, out, n)
							what := fmt.Sprintf("%d taps, %d to %d, %d rows of %d channels", n, in, out, rows, ch)

							gap, dstGap := r.IntN(2)*r.IntN(40), r.IntN(2)*r.IntN(9)
							srcStep, dstStep := in*ch+gap, out*ch+dstGap
							src := noise(r, from.Bytes((rows-1)*srcStep+in*ch, back))
							if n == 2 {
								for i := range src {
									src[i] |= 254 // clipped where weights add up to more than one
								}
							}
							dst := noise(r, to.Bytes((rows-1)*dstStep+out*ch, !back))
							want := bytes.Clone(dst)
							for y := range rows {
								for i := range out {
									for c := range ch {
										want[y*dstStep+i*ch+c] = byHand(func(x int) uint8 { return src[y*srcStep+x*ch+c] }, w, i)
									}
								}
							}
							s.ResampleRows(dst, dstStep, src, srcStep, rows, ch, w)
							if !slices.Equal(dst, want) {
								t.Fatalf("%s, along rows: %v, want %v", what, dst, want)
							}
						}
					}
					for _, width := range []int{1, 31, 32, 33, 64, 95, 200} {
						back := r.IntN(2) == 0
						in := n + r.IntN(9)
						w := taps(r, in, out, n)
						srcStep, dstStep := width+r.IntN(2)*r.IntN(40), width+r.IntN(2)*r.IntN(9)
						src := noise(r, from.Bytes((in-1)*srcStep+width, back))
						dst := noise(r, to.Bytes((out-1)*dstStep+width, !back))
						want := bytes.Clone(dst)
						for i := range out {
							for x := range width {
								want[i*dstStep+x] = byHand(func(y int) uint8 { return src[y*srcStep+x] }, w, i)
							}
						}
						s.ResampleColumns(dst, dstStep, src, srcStep, width, w)
						if !slices.Equal(dst, want) {
							t.Fatalf("%d taps, %d to %d, along columns of rows of %d: not by definition", n, in, out, width)
						}
					}
				}
			}
		})
	}
}
