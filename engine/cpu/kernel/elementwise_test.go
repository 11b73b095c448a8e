//go:build unix

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/internal/testkit"
)

// shapes are rows and channels, with rests for every width of vector, and
// rows few and many enough to be taken together or not.
var shapes = []struct{ rows, c int }{
	{0, 5}, {1, 1}, {1, 7}, {2, 8}, {3, 16}, {5, 17}, {40, 8}, {100, 3}, {9, 10}, {70, 16},
	{33, 24}, {20, 64}, {17, 65}, {9, 100}, {3, 512}, {300, 1}, {131, 32}, {600, 40},
	{longest/40 + 77, 40}, {2*longest + 1, 1}, // more than one call
}

// A mapCase is a kernel with a result for each element.
type mapCase struct {
	name         string
	streams      int // inputs with a value for each element
	channels     int // inputs with a value for each channel
	run          func(s *Set, dst []float32, x, ch [][]float32, rows, c int)
	want         func(x, ch []float64) float64
	roundings    float64                       // of values up to magnitude
	magnitude    func(x, ch []float64) float64 // sum of the absolute terms
	notElsewhere bool                          // dst can only be x[0]
}

func abs(x ...float64) float64 {
	var s float64
	for _, v := range x {
		s += math.Abs(v)
	}
	return s
}

func positive(v float64) float64 { return math.Max(v, 0) }

func sigma(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

// Each case's roundings: one a multiplication or addition. ReLU adds none and
// enlarges none.
var mapCases = []mapCase{
	{"Add", 2, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.Add(dst, x[0], x[1]) },
		func(x, _ []float64) float64 { return x[0] + x[1] }, 1,
		func(x, _ []float64) float64 { return abs(x...) }, false},
	{"AddTo", 2, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.AddTo(dst, x[1]) },
		func(x, _ []float64) float64 { return x[0] + x[1] }, 1,
		func(x, _ []float64) float64 { return abs(x...) }, true},
	{"Scale", 1, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.Scale(dst, x[0], 0.75) },
		func(x, _ []float64) float64 { return x[0] * 0.75 }, 1,
		func(x, _ []float64) float64 { return abs(x[0]) }, false},
	{"ReLU", 1, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.ReLU(dst, x[0]) },
		func(x, _ []float64) float64 { return positive(x[0]) }, 0,
		func(x, _ []float64) float64 { return 0 }, false},
	{"ReLUGrad", 2, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.ReLUGrad(dst, x[0], x[1]) },
		func(x, _ []float64) float64 {
			if x[0] > 0 {
				return x[1]
			}
			return 0
		}, 0,
		func(x, _ []float64) float64 { return 0 }, false},
	{"AddReLU", 2, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.AddReLU(dst, x[0], x[1]) },
		func(x, _ []float64) float64 { return positive(x[0] + x[1]) }, 1,
		func(x, _ []float64) float64 { return abs(x...) }, false},
	// An exponential is good to four roundings.
	{"Sigmoid", 1, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.Sigmoid(dst, x[0]) },
		func(x, _ []float64) float64 { return sigma(x[0]) }, 6,
		func(x, _ []float64) float64 { return sigma(x[0]) }, false},
	{"SigmoidGrad", 2, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.SigmoidGrad(dst, x[0], x[1]) },
		func(x, _ []float64) float64 { return x[1] * x[0] * (1 - x[0]) }, 3,
		func(x, _ []float64) float64 { return abs(x[1]*x[0], x[1]*x[0]*x[0]) }, false},
	{"SiLU", 1, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.SiLU(dst, x[0]) },
		func(x, _ []float64) float64 { return x[0] * sigma(x[0]) }, 6,
		func(x, _ []float64) float64 { return abs(x[0] * sigma(x[0])) }, false},
	{"SiLUGrad", 2, 0, func(s *Set, dst []float32, x, _ [][]float32, _, _ int) { s.SiLUGrad(dst, x[0], x[1]) },
		func(x, _ []float64) float64 { return x[1] * sigma(x[0]) * (1 + x[0]*sigma(-x[0])) }, 18,
		func(x, _ []float64) float64 { return abs(x[1]) * sigma(x[0]) * (1 + abs(x[0])*sigma(-x[0])) }, false},
	{"ScaleShift", 1, 2, func(s *Set, dst []float32, x, ch [][]float32, rows, c int) {
		s.ScaleShift(dst, x[0], ch[0], ch[1], rows, c)
	}, func(x, ch []float64) float64 { return x[0]*ch[0] + ch[1] }, 2,
		func(x, ch []float64) float64 { return abs(x[0]*ch[0], ch[1]) }, false},
	{"ScaleShiftReLU", 1, 2, func(s *Set, dst []float32, x, ch [][]float32, rows, c int) {
		s.ScaleShiftReLU(dst, x[0], ch[0], ch[1], rows, c)
	}, func(x, ch []float64) float64 { return positive(x[0]*ch[0] + ch[1]) }, 2,
		func(x, ch []float64) float64 { return abs(x[0]*ch[0], ch[1]) }, false},
	{"ScaleShiftAdd", 2, 2, func(s *Set, dst []float32, x, ch [][]float32, rows, c int) {
		s.ScaleShiftAdd(dst, x[0], ch[0], ch[1], x[1], rows, c)
	}, func(x, ch []float64) float64 { return x[0]*ch[0] + ch[1] + x[1] }, 3,
		func(x, ch []float64) float64 { return abs(x[0]*ch[0], ch[1], x[1]) }, false},
	{"ScaleShiftAddReLU", 2, 2, func(s *Set, dst []float32, x, ch [][]float32, rows, c int) {
		s.ScaleShiftAddReLU(dst, x[0], ch[0], ch[1], x[1], rows, c)
	}, func(x, ch []float64) float64 { return positive(x[0]*ch[0] + ch[1] + x[1]) }, 3,
		func(x, ch []float64) float64 { return abs(x[0]*ch[0], ch[1], x[1]) }, false},
	{"BNGrad", 2, 3, func(s *Set, dst []float32, x, ch [][]float32, rows, c int) {
		s.BNGrad(dst, x[0], x[1], ch[0], ch[1], ch[2], rows, c)
	}, func(x, ch []float64) float64 { return ch[0]*x[0] + ch[1]*x[1] + ch[2] }, 4,
		func(x, ch []float64) float64 { return abs(ch[0]*x[0], ch[1]*x[1], ch[2]) }, false},
}

// TestScaleShiftReLUGrad holds the derivative's mask, to the bit, to the results
// of ScaleShiftReLU: the one is used where the other isn't kept.
func TestScaleShiftReLUGrad(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(13, 14))
		gx, gc, gd := guards(t, 2), guards(t, 2), guards(t, 1)
		for _, z := range shapes {
			for bits := range 4 {
				back, inPlace := bits&1 != 0, bits&2 != 0
				n := z.rows * z.c
				if n > longest && bits > 0 {
					continue
				}
				x, ch := place(r, gx, 2, n, back), place(r, gc, 2, z.c, back)
				if n > 2 {
					x[0][n/2], x[1][1] = float32(math.NaN()), float32(math.Inf(1))
				}
				y, want := make([]float32, n), make([]float32, n)
				s.ScaleShiftReLU(y, x[0], ch[0], ch[1], z.rows, z.c)
				s.ReLUGrad(want, y, x[1])
				dst := gd[0].Place(n, back)
				if inPlace {
					dst = x[1]
				}
				s.ScaleShiftReLUGrad(dst, x[0], ch[0], ch[1], x[1], z.rows, z.c)
				for i, v := range want {
					if math.Float32bits(dst[i]) != math.Float32bits(v) {
						t.Fatalf("%d×%d, back %t, in place %t: element %d is %g, want %g", z.rows, z.c, back, inPlace, i, dst[i], v)
					}
				}
			}
		}
	})
}

func guards(t *testing.T, n int) []*testkit.Guard {
	g := make([]*testkit.Guard, n)
	for i := range g {
		g[i] = testkit.NewGuard(t, 3*longest)
	}
	return g
}

// place fills count slices of n elements on guarded pages.
func place(r *rand.Rand, g []*testkit.Guard, count, n int, back bool) [][]float32 {
	s := make([][]float32, count)
	for i := range s {
		s[i] = g[i].Place(n, back)
		fill(r, s[i])
	}
	return s
}

func TestMaps(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(11, 12))
		gx, gc, gd := guards(t, 2), guards(t, 3), guards(t, 1)
		for _, k := range mapCases {
			for _, z := range shapes {
				for bits := range 4 {
					back, inPlace := bits&1 != 0, bits&2 != 0 || k.notElsewhere
					n := z.rows * z.c
					if n > longest && bits > 0 {
						continue // slow, and once is enough
					}
					x, ch := place(r, gx, k.streams, n, back), place(r, gc, k.channels, z.c, back)
					was := make([][]float32, len(x))
					for i := range x {
						was[i] = append(was[i], x[i]...)
					}
					dst := gd[0].Place(n, back)
					if inPlace {
						dst = x[0]
					}
					k.run(s, dst, x, ch, z.rows, z.c)
					xi, ci := make([]float64, len(x)), make([]float64, len(ch))
					for i := range dst {
						for j := range xi {
							xi[j] = float64(was[j][i])
						}
						for j := range ci {
							ci[j] = float64(ch[j][i%z.c])
						}
						want, bound := k.want(xi, ci), 1.01*k.roundings*unit*k.magnitude(xi, ci)
						if diff := math.Abs(float64(dst[i]) - want); !(diff <= bound) {
							t.Fatalf("%s, %v, in place %v: element %d is %g, want %g ± %g", k.name, z, inPlace, i, dst[i], want, bound)
						}
					}
				}
			}
		}
	})
}

// Where ReLU decides there is no rounding: every set has the plain one's bits,
// for the odd values too.
func TestReLUOddValues(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	odd := []float32{0, float32(math.Copysign(0, -1)), nan, inf, -inf, 1, -1, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32}
	var a, b []float32
	for _, x := range odd {
		for _, y := range odd {
			a, b = append(a, x), append(b, y)
		}
	}
	eachSet(t, func(t *testing.T, s *Set) {
		got, want := make([]float32, len(a)), make([]float32, len(a))
		s.ReLU(got, a)
		generic.ReLU(want, a)
		same(t, "ReLU", got, want)
		s.ReLUGrad(got, a, b)
		generic.ReLUGrad(want, a, b)
		same(t, "ReLUGrad", got, want)
		s.AddReLU(got, a, b)
		generic.AddReLU(want, a, b)
		for i := range got { // Inf - Inf is a NaN of either sign
			if got[i] != want[i] && (got[i] == got[i] || want[i] == want[i]) {
				t.Errorf("AddReLU of %g and %g is %g, want %g", a[i], b[i], got[i], want[i])
			}
		}
	})
}

func TestSGD(t *testing.T) {
	const lr, momentum, decay = 0.1, 0.9, 0.01
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(13, 14))
		g := guards(t, 3)
		for n := range 150 {
			for bits := range 4 {
				nesterov := bits&2 != 0
				x := place(r, g, 3, n, bits&1 != 0)
				p, m := append([]float32(nil), x[0]...), append([]float32(nil), x[2]...)
				s.SGD(x[0], x[1], x[2], lr, momentum, decay, nesterov)
				for i := range n {
					// The constants as float32s have them.
					l, mu, wd := float64(float32(lr)), float64(float32(momentum)), float64(float32(decay))
					grad := float64(x[1][i]) + wd*float64(p[i])
					mom := mu*float64(m[i]) + grad
					step := mom
					mag := abs(float64(x[1][i]), wd*float64(p[i]), mu*float64(m[i]))
					// Two roundings in grad, two in mom, of values up to mag.
					if bound := 1.01 * 4 * unit * mag; !(math.Abs(float64(x[2][i])-mom) <= bound) {
						t.Fatalf("n %d, nesterov %v: momentum %d is %g, want %g ± %g", n, nesterov, i, x[2][i], mom, bound)
					}
					if nesterov {
						step = grad + mu*mom
						mag *= 1 + mu
					}
					// Up to eight in the step and the two that apply it.
					want, bound := float64(p[i])-l*step, 1.01*10*unit*(abs(float64(p[i]))+l*mag)
					if diff := math.Abs(float64(x[0][i]) - want); !(diff <= bound) {
						t.Fatalf("n %d, nesterov %v: parameter %d is %g, want %g ± %g", n, nesterov, i, x[0][i], want, bound)
					}
				}
			}
		}
	})
}

func TestSums(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(15, 16))
		gx, gc := guards(t, 2), guards(t, 3)
		for _, z := range shapes {
			for _, back := range []bool{false, true} {
				if back && z.rows*z.c > longest {
					continue // slow, and once is enough
				}
				// check compares with a sum, in any order, of rows terms of k
				// roundings each, added to what was there.
				check := func(what string, j int, got, was float32, k int, term func(i int) float64) {
					t.Helper()
					want, mag := float64(was), abs(float64(was))
					for i := range z.rows {
						want += term(i)
						mag += abs(term(i))
					}
					bound := 1.01 * float64(z.rows+k) * unit * mag
					if diff := math.Abs(float64(got) - want); !(diff <= bound) {
						t.Fatalf("%s, %v: channel %d is %g, want %g ± %g", what, z, j, got, want, bound)
					}
				}
				x, ch := place(r, gx, 2, z.rows*z.c, back), place(r, gc, 3, z.c, back)
				dy, xs, mean := x[0], x[1], ch[2]
				keep := func() (a, b []float32) { return append(a, ch[0]...), append(b, ch[1]...) }

				was, _ := keep()
				s.ColSums(ch[0], xs, z.rows, z.c)
				for j := range z.c {
					check("ColSums", j, ch[0][j], was[j], 0, func(i int) float64 { return float64(xs[i*z.c+j]) })
				}
				was, _ = keep()
				s.ColVar(ch[0], xs, mean, z.rows, z.c)
				for j := range z.c {
					// The difference is rounded once, which its square
					// doubles, and the square once.
					check("ColVar", j, ch[0][j], was[j], 3, func(i int) float64 {
						d := float64(xs[i*z.c+j]) - float64(mean[j])
						return d * d
					})
				}
				was, was2 := keep()
				s.ColDot2(ch[0], ch[1], dy, xs, mean, z.rows, z.c)
				for j := range z.c {
					check("ColDot2's first", j, ch[0][j], was[j], 0, func(i int) float64 { return float64(dy[i*z.c+j]) })
					check("ColDot2's second", j, ch[1][j], was2[j], 2, func(i int) float64 {
						return float64(dy[i*z.c+j]) * (float64(xs[i*z.c+j]) - float64(mean[j]))
					})
				}
			}
		}
	})
}

func TestDot(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(17, 18))
		g := guards(t, 2)
		for n := range 300 {
			for _, back := range []bool{false, true} {
				x := place(r, g, 2, n, back)
				want, bound := product(0, 0, n, x[0], 0, 1, x[1], 1, 0, false)
				if got := float64(s.Dot(x[0], x[1])); !(math.Abs(got-want) <= bound) {
					t.Fatalf("Dot of %d: %g, want %g ± %g", n, got, want, bound)
				}
				want, bound = product(0, 0, n, x[0], 0, 1, x[0], 1, 0, false)
				if got := float64(s.SumSq(x[0])); !(math.Abs(got-want) <= bound) {
					t.Fatalf("SumSq of %d: %g, want %g ± %g", n, got, want, bound)
				}
			}
		}
	})
}

func TestElementwiseAllocatesNothing(t *testing.T) {
	x, ch := make([]float32, 1000), make([]float32, 10)
	eachSet(t, func(t *testing.T, s *Set) {
		for name, f := range map[string]func(){
			"ColVar":     func() { s.ColVar(ch, x, ch, 100, 10) },
			"ScaleShift": func() { s.ScaleShift(x, x, ch, ch, 100, 10) },
			"BNGrad":     func() { s.BNGrad(x, x, x, ch, ch, ch, 100, 10) },
		} {
			if n := testing.AllocsPerRun(100, f); n > 0 {
				t.Errorf("%s: %g allocations a call", name, n)
			}
		}
	})
}

// TestSigmoidRange: over the whole range of float32 the sigmoid family stays
// within its bounds, and finite; NaN stays NaN.
func TestSigmoidRange(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		var x []float32
		for v := float32(-120); v <= 120; v += 1.0 / 64 {
			x = append(x, v)
		}
		x = append(x, -math.MaxFloat32, math.MaxFloat32, float32(math.Inf(1)), float32(math.NaN()))
		y, d, ones := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
		for i := range ones {
			ones[i] = 1
		}
		s.Sigmoid(y, x)
		s.SiLU(d, x)
		s.SiLUGrad(ones, x, ones)
		last := len(x) - 1
		for i, v := range x[:last] {
			want := sigma(float64(v))
			// Below exp(-88) the sigmoid is as there.
			if math.Abs(float64(y[i])-want) > 6*unit*want+1e-38 {
				t.Errorf("the sigmoid of %g is %g, want %g", v, y[i], want)
			}
			if math.Abs(float64(v)) > 1e30 {
				continue
			}
			if w := float64(v) * want; math.Abs(float64(d[i])-w) > 6*unit*math.Abs(w)+1e-36 {
				t.Errorf("SiLU of %g is %g, want %g", v, d[i], w)
			}
			other := sigma(-float64(v))
			if w := want * (1 + float64(v)*other); math.Abs(float64(ones[i])-w) > 18*unit*want*(1+math.Abs(float64(v))*other)+1e-36 {
				t.Errorf("the derivative of SiLU at %g is %g, want %g", v, ones[i], w)
			}
		}
		for name, v := range map[string]float32{"Sigmoid": y[last], "SiLU": d[last], "SiLUGrad": ones[last]} {
			if v == v {
				t.Errorf("%s of NaN is %g", name, v)
			}
		}
	})
}
