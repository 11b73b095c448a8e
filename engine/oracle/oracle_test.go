package oracle_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

func random(r *rand.Rand, shape ...int) engine.Tensor {
	data := make([]float64, graph.Shape(shape).Size())
	for i := range data {
		data[i] = r.NormFloat64()
	}
	return engine.Tensor{Shape: shape, Data: data}
}

// evaluate runs one operation and returns its results.
func evaluate(t testing.TB, op graph.Op, in ...engine.Tensor) [][]float64 {
	t.Helper()
	g := graph.New()
	values := make([]*graph.Value, len(in))
	named := map[string]engine.Tensor{}
	for i, x := range in {
		values[i] = g.Input(fmt.Sprint(i), graph.Float, x.Shape...)
		named[fmt.Sprint(i)] = x
	}
	for i, v := range g.Apply("op", op, values...) {
		g.Output(fmt.Sprint(i), v)
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	exec, err := oracle.New().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Run(named)
	if err != nil {
		t.Fatal(err)
	}
	res := make([][]float64, len(out))
	for i := range res {
		res[i] = out[fmt.Sprint(i)].Float64s()
	}
	return res
}

var convolutions = []struct{ n, h, w, c, kh, kw, o, stride, pad, groups int }{
	{1, 1, 1, 1, 1, 1, 1, 1, 0, 1},
	{2, 5, 6, 3, 3, 3, 4, 1, 1, 1},
	{5, 7, 8, 6, 3, 2, 4, 2, 1, 2},
	{1, 9, 9, 2, 7, 7, 3, 2, 3, 1},
	{9, 4, 5, 5, 3, 3, 10, 3, 2, 5},
	{3, 5, 5, 4, 1, 1, 7, 2, 1, 1},
}

// TestConvolutionIsItsDefinition: the products give what the seven loops of the
// definition give, for the convolution and, each term of it being x·w·y, for
// both derivatives. The sums have at most 500 terms of size 1: 1e-12 is ample
// for float64 and far below any mistake.
func TestConvolutionIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range convolutions {
		op := graph.Conv2D{Stride: s.stride, Pad: s.pad, Groups: s.groups}
		oh, ow := graph.ConvOut(s.h, s.kh, s.stride, s.pad), graph.ConvOut(s.w, s.kw, s.stride, s.pad)
		in, out := s.c/s.groups, s.o/s.groups
		x, w, dy := random(r, s.n, s.h, s.w, s.c), random(r, s.o, in, s.kh, s.kw), random(r, s.n, oh, ow, s.o)
		y, dx, dw := make([]float64, dy.Shape.Size()), make([]float64, x.Shape.Size()), make([]float64, w.Shape.Size())
		for n := range s.n {
			for oy := range oh {
				for ox := range ow {
					for o := range s.o {
						for i := range in {
							for ky := range s.kh {
								for kx := range s.kw {
									iy, ix := oy*s.stride-s.pad+ky, ox*s.stride-s.pad+kx
									if iy < 0 || iy >= s.h || ix < 0 || ix >= s.w {
										continue
									}
									at := ((n*s.h+iy)*s.w+ix)*s.c + o/out*in + i
									to := ((n*oh+oy)*ow+ox)*s.o + o
									k := ((o*in+i)*s.kh+ky)*s.kw + kx
									y[to] += x.Float64s()[at] * w.Float64s()[k]
									dx[at] += w.Float64s()[k] * dy.Float64s()[to]
									dw[k] += x.Float64s()[at] * dy.Float64s()[to]
								}
							}
						}
					}
				}
			}
		}
		for what, c := range map[string][2][]float64{
			"Conv2D":           {evaluate(t, op, x, w)[0], y},
			"Conv2DGradInput":  {evaluate(t, graph.Conv2DGradInput{Conv: op, Input: x.Shape}, dy, w)[0], dx},
			"Conv2DGradWeight": {evaluate(t, graph.Conv2DGradWeight{Conv: op, Kernel: w.Shape}, x, dy)[0], dw},
		} {
			for i, want := range c[1] {
				if !(math.Abs(c[0][i]-want) <= 1e-12) {
					t.Errorf("%s of %+v: element %d is %g, want %g", what, s, i, c[0][i], want)
					break
				}
			}
		}
	}
}

// TestMatMulIsItsDefinition also crosses the blocks of gonum's product.
func TestMatMulIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 2}, {70, 130, 67}} {
		m, k, n := s[0], s[1], s[2]
		a, b := random(r, m, k), random(r, k, n)
		want := make([]float64, m*n)
		for i := range m {
			for j := range n {
				for p := range k {
					want[i*n+j] += a.Float64s()[i*k+p] * b.Float64s()[p*n+j]
				}
			}
		}
		for _, op := range []graph.MatMul{{}, {TransA: true}, {TransB: true}, {TransA: true, TransB: true}} {
			x, y := a, b
			if op.TransA {
				x = transposed(a)
			}
			if op.TransB {
				y = transposed(b)
			}
			for i, got := range evaluate(t, op, x, y)[0] {
				if !(math.Abs(got-want[i]) <= 1e-12) {
					t.Errorf("%v %+v: element %d is %g, want %g", s, op, i, got, want[i])
					break
				}
			}
		}
	}
}

func transposed(a engine.Tensor) engine.Tensor {
	rows, cols := a.Shape[0], a.Shape[1]
	out := make([]float64, rows*cols)
	for i, v := range a.Float64s() {
		out[i%cols*rows+i/cols] = v
	}
	return engine.Tensor{Shape: graph.Shape{cols, rows}, Data: out}
}

// TestPooling: windows by hand; of equals the first counts; padding never wins.
func TestPooling(t *testing.T) {
	x := engine.Tensor{Shape: graph.Shape{1, 3, 3, 1}, Data: []float64{
		-5, -2, -3,
		-2, -2, -9,
		-7, -8, -1,
	}}
	pool := graph.MaxPool2D{Size: 2, Stride: 2, Pad: 1}
	if got, want := evaluate(t, pool, x)[0], []float64{-5, -2, -2, -1}; !slices.Equal(got, want) {
		t.Errorf("pooled %v, want %v", got, want)
	}
	dy := engine.Tensor{Shape: graph.Shape{1, 2, 2, 1}, Data: []float64{1, 2, 3, 4}}
	if got, want := evaluate(t, graph.MaxPool2DGrad{Pool: pool}, x, dy)[0], []float64{1, 2, 0, 3, 0, 0, 0, 0, 4}; !slices.Equal(got, want) {
		t.Errorf("derivative %v, want %v", got, want)
	}
	pool = graph.MaxPool2D{Size: 2, Stride: 1} // the four windows have three pixels of −2
	dy = engine.Tensor{Shape: graph.Shape{1, 2, 2, 1}, Data: []float64{1, 2, 3, 4}}
	if got, want := evaluate(t, graph.MaxPool2DGrad{Pool: pool}, x, dy)[0], []float64{0, 3, 0, 3, 0, 0, 0, 0, 4}; !slices.Equal(got, want) {
		t.Errorf("derivative of overlapping windows %v, want %v", got, want)
	}
	if got, want := evaluate(t, graph.GlobalAvgPool{}, x)[0][0], -39.0/9; math.Abs(got-want) > 1e-14 {
		t.Errorf("mean %g, want %g", got, want)
	}
}

type unknown struct{ graph.ReLU }

func TestCompileNamesUnknownOperations(t *testing.T) {
	g := graph.New()
	g.Output("y", g.Apply("the node", unknown{}, g.Input("x", graph.Float, 2))[0])
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	_, err = oracle.New().Compile(p)
	if err == nil || !strings.Contains(err.Error(), "the node") || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("error %v, want one that names the node and the operation", err)
	}
}

func TestRunNamesTheNode(t *testing.T) {
	g := graph.New()
	g.Output("y", g.CrossEntropy("my loss", g.Input("x", graph.Float, 1, 2), g.Input("label", graph.Int, 1)))
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	exec, err := oracle.New().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = exec.Run(map[string]engine.Tensor{"x": {Shape: graph.Shape{1, 2}, Data: []float64{1, 2}}, "label": engine.Int32([]int32{2}, 1)})
	if want := "node my loss (CrossEntropy): label 2 of row 0 is not in [0, 2)"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

// TestThreadsDoNotChangeResults: bit for bit.
func TestThreadsDoNotChangeResults(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x, w := random(r, 7, 9, 9, 5), random(r, 6, 5, 3, 3)
	op := graph.Conv2D{Stride: 1, Pad: 1, Groups: 1}
	dy := random(r, 7, 9, 9, 6)
	a, b := random(r, 300, 200), random(r, 200, 300)
	all := func(threads int) [][]float64 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		return slices.Concat(evaluate(t, op, x, w), evaluate(t, graph.MatMul{}, a, b),
			evaluate(t, graph.Conv2DGradInput{Conv: op, Input: x.Shape}, dy, w),
			evaluate(t, graph.Conv2DGradWeight{Conv: op, Kernel: w.Shape}, x, dy))
	}
	one, many := all(1), all(5)
	for i := range one {
		if !slices.Equal(one[i], many[i]) {
			t.Errorf("result %d differs between one thread and five", i)
		}
	}
}

// BenchmarkConv is a layer of ResNet-18 for each of its stages on 32×32 images,
// forward and both derivatives, 8 images.
func BenchmarkConv(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct{ size, c int }{{32, 64}, {16, 128}, {8, 256}, {4, 512}} {
		op := graph.Conv2D{Stride: 1, Pad: 1, Groups: 1}
		x, w, dy := random(r, 8, s.size, s.size, s.c), random(r, s.c, s.c, 3, 3), random(r, 8, s.size, s.size, s.c)
		flops := 2 * float64(x.Shape.Size()) * float64(s.c*9)
		for _, c := range []struct {
			name string
			op   graph.Op
			in   []engine.Tensor
		}{
			{"forward", op, []engine.Tensor{x, w}},
			{"input", graph.Conv2DGradInput{Conv: op, Input: x.Shape}, []engine.Tensor{dy, w}},
			{"weight", graph.Conv2DGradWeight{Conv: op, Kernel: w.Shape}, []engine.Tensor{x, dy}},
		} {
			b.Run(fmt.Sprintf("%d×%d×%d/%s", s.size, s.size, s.c, c.name), func(b *testing.B) {
				for b.Loop() {
					evaluate(b, c.op, c.in...)
				}
				b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
