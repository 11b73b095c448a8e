//go:build unix

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/internal/testkit"
)

// The matrices of F(4×4, 2×2) from the definition, with the negative points'
// signs changed in both matrices of the product.
var strideMatBT, strideMatG, strideMatA = func() (bt, g, a [][]float64) {
	bt, g, a = winogradMatrices(sa, -sa, sb, -sb)
	for i := range g {
		g[i] = g[i][:2]
	}
	g[4] = []float64{0, 1}
	for _, i := range []int{1, 3} {
		for j := range bt[i] {
			bt[i][j] = -bt[i][j]
		}
		for j := range g[i] {
			g[i][j] = -g[i][j]
		}
	}
	// Results are one more than with three taps.
	for i, p := range []float64{sa, -sa, sb, -sb} {
		a[i] = []float64{1, p, p * p, p * p * p}
	}
	a[4] = []float64{0, 0, 0, 1}
	return bt, g, a
}()

// corner is the first rows and columns of a matrix.
func corner(m [][]float64, rows, cols int) (c [][]float64) {
	for _, r := range m[:rows] {
		c = append(c, r[:cols])
	}
	return c
}

// between is L x Rᵀ, element (i, j), and the same of absolute values.
func between(l, r [][]float64, x func(i, j int) float64, i, j int) (sum, mag float64) {
	for a, f := range l[i] {
		for b, g := range r[j] {
			v := f * g * x(a, b)
			sum += v
			mag += math.Abs(v)
		}
	}
	return sum, mag
}

// The phases' transforms add up to a 3×3 correlation of stride 2, and all but
// the last row and column of results do without infinity.
func TestStrideMatrices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var d [9][9]float64
	var g [3][3]float64
	var m [5][5]float64
	for i := range d {
		for j := range d {
			d[i][j] = r.NormFloat64()
		}
	}
	for i := range g {
		for j := range g {
			g[i][j] = r.NormFloat64()
		}
	}
	for p := range Phases {
		down, across := p.points()
		y0, x0 := p.firstTap()/3, p.firstTap()%3
		ty, tx := p.taps()
		for i := range down {
			for j := range across {
				u, _ := between(corner(strideMatG, 5, ty), corner(strideMatG, 5, tx), func(a, b int) float64 { return g[y0+2*a][x0+2*b] }, i, j)
				v, _ := between(corner(strideMatBT, down, down), corner(strideMatBT, across, across),
					func(a, b int) float64 { return d[y0+2*a][x0+2*b] }, i, j)
				m[i][j] += u * v
			}
		}
	}
	at := transposed(strideMatA)
	for i := range 4 {
		for j := range 4 {
			want := 0.0
			for a := range 3 {
				for b := range 3 {
					want += g[a][b] * d[2*i+a][2*j+b]
				}
			}
			got, _ := between(at, at, func(a, b int) float64 { return m[a][b] }, i, j)
			if math.Abs(got-want) > 1e-12 {
				t.Errorf("result %d, %d is %g, want %g", i, j, got, want)
			}
			if i < 3 && at[i][4] != 0 {
				t.Errorf("row %d of the results takes something of infinity", i)
			}
		}
	}
}

func TestStrideTransforms(t *testing.T) {
	// A transform's numbers lie in squares of grid a row, the first rows and
	// columns of them used, by pointer or step elements apart; taps lie down
	// rows and across columns apart, from the first on.
	type side struct {
		ptr                bool
		grid, down, across int
		first, rows, cols  int
	}
	type transformCase struct {
		name        string
		left, right [][]float64
		from, to    side
		mayAdd      bool
		run         func(s *Set, to, from []float32, toPtr, fromPtr []*float32, toStep, fromStep, c int, acc bool)
	}
	var cases []transformCase
	for p := range Phases {
		down, across := p.points()
		ty, tx := p.taps()
		square := side{grid: 5, down: 1, across: 1, rows: down, cols: across}
		window, result := square, side{ptr: true, grid: 4, down: 1, across: 1, rows: 4, cols: 4}
		window.ptr = true
		taps := side{grid: 3, down: 2, across: 2, first: p.firstTap(), rows: ty, cols: tx}
		at := transposed(strideMatA)
		gt := transposed(strideMatG)
		cases = append(cases,
			transformCase{name: fmt.Sprint("input ", p), left: corner(strideMatBT, down, down), right: corner(strideMatBT, across, across), from: window, to: square,
				run: func(s *Set, to, _ []float32, _, x []*float32, step, _, c int, _ bool) {
					s.StrideInput(to, step, p, (*[25]*float32)(x), c)
				}},
			transformCase{name: fmt.Sprint("output ", p), left: corner(at, 4, down), right: corner(at, 4, across), from: square, to: result, mayAdd: true,
				run: func(s *Set, _, m []float32, y, _ []*float32, _, step, c int, acc bool) {
					if acc {
						s.StrideOutput(p, (*[16]*float32)(y), m, step, c, (*[16]*float32)(y), false)
						return
					}
					s.StrideOutput(p, (*[16]*float32)(y), m, step, c, nil, aligned(y))
				}},
			transformCase{name: fmt.Sprint("kernel ", p), left: corner(strideMatG, down, ty), right: corner(strideMatG, across, tx), from: taps, to: square,
				run: func(s *Set, u, w []float32, _, _ []*float32, step, wStep, c int, _ bool) {
					s.fn.winostride.kernel[p](&u[0], step, &w[p.firstTap()*wStep], wStep, c)
				}},
			transformCase{name: fmt.Sprint("kernel grad ", p), left: corner(gt, ty, down), right: corner(gt, tx, across), from: square, to: taps,
				run: func(s *Set, dw, m []float32, _, _ []*float32, step, mStep, c int, _ bool) {
					s.fn.winostride.kernelGrad[p](&dw[p.firstTap()*step], step, &m[0], mStep, c)
				}})
		if p == OddOdd {
			cases = append(cases, transformCase{name: "grad", left: strideMatA, right: strideMatA, from: result, to: square,
				run: func(s *Set, to, _ []float32, _, dy []*float32, step, _, c int, _ bool) {
					s.StrideGrad(to, step, (*[16]*float32)(dy), c)
				}})
		}
	}
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(3, 4))
		const most = 112
		from, to := make([]*testkit.Guard, 25), make([]*testkit.Guard, 16)
		for i := range from {
			from[i] = testkit.NewGuard(t, most)
		}
		for i := range to {
			to[i] = testkit.NewGuard(t, most)
		}
		wholeFrom, wholeTo := testkit.NewGuard(t, 25*(most+3)), testkit.NewGuard(t, 25*(most+3))
		for _, k := range cases {
			for _, c := range []int{16, 32, 48, most} {
				for bits := range 8 {
					back, acc, gap := bits&1 != 0, bits&2 != 0 && k.mayAdd, bits&4/4*3
					// values are those in use, row by row; the others have no pointer, or
					// lie between them.
					lay := func(z side, each []*testkit.Guard, whole *testkit.Guard) (all []float32, p []*float32, values [][]float32, step int) {
						step = c + gap
						number := func(i, j int) int { return z.first + i*z.down*z.grid + j*z.across }
						if z.ptr {
							p = make([]*float32, z.grid*z.grid)
						} else {
							all = whole.Place(number(z.rows-1, z.cols-1)*step+c, back)
							fill(r, all)
						}
						for i := range z.rows {
							for j := range z.cols {
								n := number(i, j)
								v := all
								if z.ptr {
									v = each[n].Place(c, back)
									fill(r, v)
									p[n] = &v[0]
								} else {
									v = all[n*step:][:c]
								}
								values = append(values, v)
							}
						}
						return all, p, values, step
					}
					x, xp, xv, xs := lay(k.from, from, wholeFrom)
					y, yp, yv, ys := lay(k.to, to, wholeTo)
					was := append([]float32(nil), y...)
					before := make([][]float32, len(yv))
					for i := range yv {
						before[i] = append([]float32(nil), yv[i]...)
					}
					k.run(s, y, x, yp, xp, ys, xs, c, acc)
					for ch := range c {
						for i := range k.to.rows {
							for j := range k.to.cols {
								want, mag := between(k.left, k.right, func(a, b int) float64 { return float64(xv[a*k.from.cols+b][ch]) }, i, j)
								if acc {
									b := float64(before[i*k.to.cols+j][ch])
									want, mag = want+b, mag+math.Abs(b)
								}
								got := float64(yv[i*k.to.cols+j][ch])
								if diff := math.Abs(got - want); !(diff <= transformRoundings*unit*mag) {
									t.Fatalf("%s, %d channels, acc %v: number %d, %d of channel %d is %g, want %g ± %g",
										k.name, c, acc, i, j, ch, got, want, transformRoundings*unit*mag)
								}
							}
						}
					}
					// Nothing but the numbers in use is written.
					used := map[int]bool{}
					for i := range k.to.rows {
						for j := range k.to.cols {
							used[k.to.first+i*k.to.down*k.to.grid+j*k.to.across] = true
						}
					}
					for i := range y {
						if (i%ys >= c || !used[i/ys]) && y[i] != was[i] {
							t.Fatalf("%s: wrote number %d, element %d", k.name, i/ys, i%ys)
						}
					}
				}
			}
		}
	})
}

// StrideKernel and StrideKernelGrad do all phases, each where it says.
func TestStrideKernels(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		const c, step, apart = 32, 4 * 40, 40
		w, turned, u, dw := floats(9*c), make([]float32, 9*c), make([]float32, 25*step), make([]float32, 9*c)
		for i := range 9 {
			copy(turned[i*c:(i+1)*c], w[(8-i)*c:])
		}
		s.StrideKernel(u, step, apart, w, c, c, false)
		s.StrideKernelGrad(dw, c, u, step, apart, c)
		again := make([]float32, len(u))
		s.StrideKernel(again, step, apart, turned, c, c, true)
		same(t, "turned kernels", again, u)
		for p := range Phases {
			one, back := make([]float32, 25*step), make([]float32, 9*c)
			s.fn.winostride.kernel[p](&one[0], step, &w[p.firstTap()*c], c, c)
			s.fn.winostride.kernelGrad[p](&back[p.firstTap()*c], c, &one[0], step, c)
			down, across := p.points()
			for i := range down {
				for j := range across {
					at := (5*i + j) * step
					same(t, fmt.Sprint("phase ", p), u[at+int(p)*apart:][:c], one[at:at+c])
				}
			}
			ty, tx := p.taps()
			for i := range ty {
				for j := range tx {
					at := (p.firstTap() + 6*i + 2*j) * c
					same(t, fmt.Sprint("gradient of phase ", p), dw[at:at+c], back[at:at+c])
				}
			}
		}
	})
}

func BenchmarkStride(b *testing.B) {
	for _, s := range Usable() {
		for _, c := range []int{32, 128} {
			const tiles = 14
			step := tiles*4*c | 16
			v, x, w := floats(25*step), alignedFloats(25*c), floats(9*c)
			var in [25]*float32
			var out [16]*float32
			for i := range in {
				in[i] = &x[i*c]
			}
			copy(out[:], in[:])
			for _, k := range []struct {
				name string
				f    func()
			}{
				{"Input", func() {
					for p := range Phases {
						s.StrideInput(v, step, p, &in, c)
					}
				}},
				{"Output", func() { s.StrideOutput(OddOdd, &out, v, step, c, nil, false) }},
				{"Output44", func() { s.StrideOutput(EvenEven, &out, v, step, c, nil, false) }},
				{"Kernel", func() { s.StrideKernel(v, step, c, w, c, c, false) }},
				{"Grad", func() { s.StrideGrad(v, step, &out, c) }},
				{"KernelGrad", func() { s.StrideKernelGrad(w, c, v, step, c, c) }},
			} {
				b.Run(fmt.Sprintf("%s/%s/%d", s.Name, k.name, c), func(b *testing.B) {
					sec := fastest(b, k.f)
					b.ReportMetric(sec*1e9/float64(c/16), "ns/16ch")
				})
			}
		}
	}
}
