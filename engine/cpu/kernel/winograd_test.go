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

// The matrices of F(4×4, 3×3), from the definition: with the points p and the
// products n of their distances, Bᵀ's rows are the coefficients of the
// polynomials that vanish at all points but one.
var matBT, matG, matA = winogradMatrices(0, pa, -pa, pb, -pb)

// Those of F(2×2, 3×3). The transforms have the opposite sign for the point 0,
// in both matrices: it cancels in the product.
var mat2BT, mat2G, mat2A = func() (bt, g, a [][]float64) {
	bt, g, a = winogradMatrices(0, 1, -1)
	for i := range bt[0] {
		bt[0][i] = -bt[0][i]
	}
	g[0][0] = -g[0][0]
	return bt, g, a
}()

func winogradMatrices(points ...float64) (bt, g, a [][]float64) {
	times := func(poly []float64, root float64) []float64 {
		p := make([]float64, len(poly)+1)
		for i, c := range poly {
			p[i+1] += c
			p[i] -= root * c
		}
		return p
	}
	all := []float64{1}
	for i, p := range points {
		row, n := []float64{1}, 1.0
		for j, q := range points {
			if i != j {
				row, n = times(row, q), n*(p-q)
			}
		}
		bt = append(bt, append(row, 0))
		g = append(g, []float64{1 / n, p / n, p * p / n})
		powers := make([]float64, len(points)-1)
		for j := range powers {
			powers[j] = math.Pow(p, float64(j))
		}
		a = append(a, powers)
		all = times(all, p)
	}
	last := make([]float64, len(points)-1)
	last[len(last)-1] = 1
	return append(bt, all), append(g, []float64{0, 0, 1}), append(a, last)
}

func transposed(m [][]float64) [][]float64 {
	t := make([][]float64, len(m[0]))
	for i := range t {
		for j := range m {
			t[i] = append(t[i], m[j][i])
		}
	}
	return t
}

// sandwich is L x Lᵀ, element (i, j), and the same of absolute values.
func sandwich(l [][]float64, x func(i, j int) float64, i, j int) (sum, mag float64) {
	for a, f := range l[i] {
		for b, g := range l[j] {
			v := f * g * x(a, b)
			sum += v
			mag += math.Abs(v)
		}
	}
	return sum, mag
}

func TestWinogradMatrices(t *testing.T) {
	for _, f := range []struct{ bt, g, a [][]float64 }{{matBT, matG, matA}, {mat2BT, mat2G, mat2A}} {
		r := rand.New(rand.NewPCG(1, 2))
		var d, m [6][6]float64
		var g [3][3]float64
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
		for i := range f.bt {
			for j := range f.bt {
				u, _ := sandwich(f.g, func(a, b int) float64 { return g[a][b] }, i, j)
				v, _ := sandwich(f.bt, func(a, b int) float64 { return d[a][b] }, i, j)
				m[i][j] = u * v
			}
		}
		side := len(f.bt) - 2
		for i := range side {
			for j := range side {
				want := 0.0
				for a := range 3 {
					for b := range 3 {
						want += g[a][b] * d[i+a][j+b]
					}
				}
				if got, _ := sandwich(transposed(f.a), func(a, b int) float64 { return m[a][b] }, i, j); math.Abs(got-want) > 1e-12 {
					t.Errorf("F(%d×%d): result %d, %d is %g, want %g", side, side, i, j, got, want)
				}
			}
		}
	}
}

// A transform's result has a sum of at most 6 terms of each of two products; by
// either, a term goes through at most 7 roundings (two of its constant, a
// multiplication, up to four additions), so 16 covers both and second orders.
const transformRoundings = 16

func TestWinogradTransforms(t *testing.T) {
	cases := []struct {
		name          string
		matrix        [][]float64
		inPtr, outPtr bool
		run           func(s *Set, to, from []float32, toPtr, fromPtr []*float32, toStep, fromStep, c int, acc bool)
	}{
		{"input", matBT, true, false, func(s *Set, to, _ []float32, _, x []*float32, step, _, c int, _ bool) {
			s.WinogradInput(to, step, (*[36]*float32)(x), c)
		}},
		{"output", transposed(matA), false, true, func(s *Set, _, m []float32, y, _ []*float32, _, step, c int, acc bool) {
			if acc {
				s.WinogradOutput((*[16]*float32)(y), m, step, c, (*[16]*float32)(y), false)
				return
			}
			s.WinogradOutput((*[16]*float32)(y), m, step, c, nil, aligned(y))
		}},
		{"kernel", matG, false, false, func(s *Set, u, w []float32, _, _ []*float32, step, wStep, c int, _ bool) {
			s.WinogradKernel(u, step, w, wStep, c, false)
		}},
		{"grad", matA, true, false, func(s *Set, to, _ []float32, _, dy []*float32, step, _, c int, _ bool) {
			s.WinogradGrad(to, step, (*[16]*float32)(dy), c)
		}},
		{"kernel grad", transposed(matG), false, false, func(s *Set, dw, m []float32, _, _ []*float32, step, mStep, c int, _ bool) {
			s.WinogradKernelGrad(dw, step, m, mStep, c)
		}},
		{"input 2", mat2BT, true, false, func(s *Set, to, _ []float32, _, x []*float32, step, _, c int, _ bool) {
			s.Winograd2Input(to, step, (*[16]*float32)(x), c)
		}},
		{"output 2", transposed(mat2A), false, true, func(s *Set, _, m []float32, y, _ []*float32, _, step, c int, _ bool) {
			s.Winograd2Output((*[4]*float32)(y), m, step, c)
		}},
		{"kernel 2", mat2G, false, false, func(s *Set, u, w []float32, _, _ []*float32, step, wStep, c int, _ bool) {
			s.Winograd2Kernel(u, step, w, wStep, c)
		}},
	}
	eachSet(t, func(t *testing.T, s *Set) {
		r := rand.New(rand.NewPCG(3, 4))
		const most = 112
		// Where numbers go by pointer, each lies on pages of its own.
		from, to := make([]*testkit.Guard, 36), make([]*testkit.Guard, 16)
		for i := range from {
			from[i] = testkit.NewGuard(t, most)
		}
		for i := range to {
			to[i] = testkit.NewGuard(t, most)
		}
		wholeFrom, wholeTo := testkit.NewGuard(t, 36*(most+3)), testkit.NewGuard(t, 36*(most+3))
		for _, k := range cases {
			out, in := len(k.matrix), len(k.matrix[0])
			for _, c := range []int{16, 32, 48, most} {
				for bits := range 8 {
					back, acc, gap := bits&1 != 0, bits&2 != 0 && k.name == "output", bits&4/4*3
					lay := func(n int, ptr bool, each []*testkit.Guard, whole *testkit.Guard) (all []float32, p []*float32, values [][]float32, step int) {
						step = c + gap
						if !ptr {
							all = whole.Place((n*n-1)*step+c, back)
							fill(r, all)
						}
						for i := range n * n {
							v := all
							if ptr {
								v = each[i].Place(c, back)
								fill(r, v)
							} else {
								v = all[i*step:][:c]
							}
							values, p = append(values, v), append(p, &v[0])
						}
						return all, p, values, step
					}
					x, xp, xv, xs := lay(in, k.inPtr, from, wholeFrom)
					y, yp, yv, ys := lay(out, k.outPtr, to, wholeTo)
					was := append([]float32(nil), y...)
					before := make([][]float32, len(yv))
					for i := range yv {
						before[i] = append([]float32(nil), yv[i]...)
					}
					k.run(s, y, x, yp, xp, ys, xs, c, acc)
					for ch := range c {
						for i := range out {
							for j := range out {
								want, mag := sandwich(k.matrix, func(a, b int) float64 { return float64(xv[a*in+b][ch]) }, i, j)
								if acc {
									b := float64(before[i*out+j][ch])
									want, mag = want+b, mag+math.Abs(b)
								}
								got := float64(yv[i*out+j][ch])
								if diff := math.Abs(got - want); !(diff <= transformRoundings*unit*mag) {
									t.Fatalf("%s, %d channels, acc %v: number %d, %d of channel %d is %g, want %g ± %g",
										k.name, c, acc, i, j, ch, got, want, transformRoundings*unit*mag)
								}
							}
						}
					}
					if !k.outPtr {
						for i := range y {
							if i%ys >= c && y[i] != was[i] {
								t.Fatalf("%s: wrote between numbers", k.name)
							}
						}
					}
				}
			}
		}
	})
}

func aligned(p []*float32) bool {
	for _, q := range p {
		if uintptr(unsafe.Pointer(q))%64 != 0 {
			return false
		}
	}
	return true
}

func TestWinogradLanes(t *testing.T) {
	if len(Usable()) == 1 {
		t.Skip("plain Go takes any number of channels")
	}
	defer func() {
		if recover() == nil {
			t.Error("a transform of 17 channels doesn't panic")
		}
	}()
	Best().WinogradKernel(make([]float32, 36*17), 17, make([]float32, 9*17), 17, 17, false)
}

func TestWinogradTurned(t *testing.T) {
	eachSet(t, func(t *testing.T, s *Set) {
		const c = 32
		w, turned := floats(9*c), make([]float32, 9*c)
		for i := range 9 {
			copy(turned[i*c:(i+1)*c], w[(8-i)*c:])
		}
		got, want := make([]float32, 36*c), make([]float32, 36*c)
		s.WinogradKernel(got, c, w, c, c, true)
		s.WinogradKernel(want, c, turned, c, c, false)
		same(t, "turned kernels", got, want)
	})
}

func alignedFloats(n int) []float32 {
	x := floats(n + 16)
	for !aligned([]*float32{&x[0]}) {
		x = x[1:]
	}
	return x
}

func BenchmarkWinograd(b *testing.B) {
	for _, s := range Usable() {
		for _, c := range []int{64, 256} {
			const tiles = 14
			step := tiles * (c + 16)
			v, x, w := floats(36*step), alignedFloats(36*c), floats(9*c)
			var in [36]*float32
			var out [16]*float32
			for i := range in {
				in[i] = &x[i*c]
			}
			copy(out[:], in[:])
			for _, k := range []struct {
				name string
				f    func()
			}{
				{"Input", func() { s.WinogradInput(v, step, &in, c) }},
				{"Output", func() { s.WinogradOutput(&out, v, step, c, nil, false) }},
				{"Stream", func() { s.WinogradOutput(&out, v, step, c, nil, true) }},
				{"Kernel", func() { s.WinogradKernel(v, step, w, c, c, false) }},
				{"Grad", func() { s.WinogradGrad(v, step, &out, c) }},
				{"KernelGrad", func() { s.WinogradKernelGrad(w, c, v, step, c) }},
			} {
				b.Run(fmt.Sprintf("%s/%s/%d", s.Name, k.name, c), func(b *testing.B) {
					sec := fastest(b, k.f)
					b.ReportMetric(sec*1e9/float64(c/16), "ns/16ch")
				})
			}
		}
	}
}
