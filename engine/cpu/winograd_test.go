package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
	"selfcon/internal/testkit/optest"
)

// Winograd's transforms give what the definition gives, for images that tiles
// fit and that they don't, for few channels and for those that take other ways,
// and the same bits with any number of threads.
func TestWinogradDoesNotMatter(t *testing.T) {
	shapes := []struct{ n, h, w, ci, co int }{
		{1, 1, 1, 16, 16}, {2, 2, 2, 32, 16}, {3, 5, 5, 16, 48}, {2, 7, 7, 48, 32}, {1, 14, 14, 16, 32}, {2, 11, 11, 64, 64},
		{9, 8, 8, 64, 64}, {3, 4, 4, 128, 144}, {1, 4, 4, 256, 256}, {2, 9, 9, 272, 240}, {1, 6, 6, 512, 160}, {5, 4, 4, 400, 176},
		{1, 20, 20, 32, 64}, {28, 3, 3, 32, 80},
		// Tasks of tiles, with a few rows of them or with more than fit one.
		{2, 7, 14, 32, 32}, {4, 13, 6, 32, 64}, {9, 3, 14, 64, 32}, {6, 14, 14, 32, 32}, {2, 5, 118, 16, 32},
		{5, 7, 77, 16, 32}, // also a weight gradient's part begins without a tile of four rows
		// Of channels of all tiles, of channels of blocks of tiles.
		{2, 7, 14, 64, 96}, {3, 14, 5, 48, 80}, {1, 13, 14, 64, 64}, {5, 5, 3, 160, 112},
		{3, 14, 7, 256, 272}, {6, 13, 7, 256, 256}, {9, 6, 10, 272, 256}, {7, 13, 14, 256, 288},
		// Pixels of a weight gradient stored in two chunks: of the same kind, of
		// several, with tiles of four columns in the second alone.
		{520, 4, 4, 128, 128}, {25, 14, 14, 128, 128}, {200, 4, 10, 128, 128},
	}
	sets := kernel.Usable()
	if raceEnabled { // what races in one set of kernels races in all
		sets = sets[:1]
	}
	for _, set := range sets {
		for _, z := range shapes {
			if set.Name == "generic" && z.n*z.h*z.w*z.ci*z.co > 12<<20 {
				continue // slow
			}
			p, in := convProgramOf(t, z.n, z.h, z.w, z.ci, z.co, 3, 1)
			sameByTransforms(t, fmt.Sprintf("%s, %+v", set.Name, z), set, p, in, 3e-5)
		}
	}
}

// sameByTransforms fails unless a program's results by transforms are within limit
// of those by the definition, largest difference over root mean square, and have the
// same bits with any number of threads. It returns both.
func sameByTransforms(t *testing.T, what string, set *kernel.Set, p *graph.Program, in map[string]engine.Tensor, limit float64) (got, direct map[string]engine.Tensor) {
	t.Helper()
	run := func(conv string, threads int) map[string]engine.Tensor {
		x, err := newEngine(t, cpu.Options{Kernels: set.Name, Conv: conv, Threads: threads}).Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		out, err := x.Run(in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	direct, got = run("direct", 2), run("winograd", 1)
	for _, threads := range []int{2, 5} {
		for name, v := range run("winograd", threads) {
			g := got[name].Float64s()
			for i, f := range v.Float64s() {
				if math.Float64bits(f) != math.Float64bits(g[i]) {
					t.Fatalf("%s: element %d of %s is %g with %d threads, %g with one", what, i, name, f, threads, g[i])
				}
			}
		}
	}
	for name, v := range direct {
		if err := farthest(got[name].Float64s(), v.Float64s()); !(err < limit) {
			t.Errorf("%s: %s is off by %.2g of its root mean square", what, name, err)
		}
	}
	return got, direct
}

// What is fused with convolutions by transforms is fused whatever their tasks are,
// on images that tiles of four and three fit: a step of a residual block, whose
// convolutions normalise what they read and whose data gradients add to another
// and are summed, is the same without any pass, and with direct sums, but for
// rounding.
func TestWinogradFusions(t *testing.T) {
	for _, z := range []struct{ n, h, w, c int }{
		{4, 7, 14, 32}, {9, 14, 13, 48}, {2, 7, 14, 64}, {3, 13, 6, 272}, {5, 14, 7, 256},
	} {
		c := residualBlock(t, z.n, z.h, z.w, z.c)
		want := state(t, cpu.Options{Threads: 2, Conv: "winograd"}, c)
		same(t, fmt.Sprintf("%+v, 3 threads", z), state(t, cpu.Options{Threads: 3, Conv: "winograd"}, c), want, 0)
		same(t, fmt.Sprintf("%+v, direct", z), state(t, cpu.Options{Threads: 2, Conv: "direct"}, c), want, 1e-3)
		for _, pass := range []string{"FuseNorm", "FuseLoad", "FuseUpdate", "FuseMask", "FuseAccumulate", "FuseAfter", cpu.SkipAll} {
			tolerance := 1e-3
			if pass == "FuseNorm" || pass == "FuseLoad" || pass == "FuseUpdate" {
				tolerance = 0
			}
			got := state(t, cpu.Options{Threads: 2, Conv: "winograd", Skip: []string{pass}}, c)
			same(t, fmt.Sprintf("%+v without %s", z, pass), got, want, tolerance)
		}
	}
}

// residualBlock is a step of training a convolution and a residual block.
func residualBlock(t *testing.T, n, h, w, channels int) optest.Case {
	t.Helper()
	g, r := graph.New(), rand.New(rand.NewPCG(1, 2))
	c := optest.Case{Variables: map[string]engine.Tensor{}}
	normal := func(scale float64, shape ...int) engine.Tensor {
		d := make([]float32, graph.Shape(shape).Size())
		for i := range d {
			d[i] = float32(scale * r.NormFloat64())
		}
		return engine.Float32(d, shape...)
	}
	variable := func(name string, trainable bool, shape ...int) *graph.Value {
		c.Variables[name] = normal(1/math.Sqrt(float64(9*channels)), shape...)
		return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: shape}, Trainable: trainable})
	}
	conv := func(name string, x *graph.Value) *graph.Value {
		y := g.Conv2D(name, x, variable(name+".w", true, channels, channels, 3, 3), graph.Conv2D{Stride: 1, Pad: 1, Groups: 1})
		return g.BatchNorm2D(name+".norm", y, graph.BatchNormVars{
			Weight: variable(name+".scale", true, channels), Bias: variable(name+".shift", true, channels),
			Mean: variable(name+".mean", false, channels), Var: variable(name+".var", false, channels),
		}, 1e-5, 0.1, true)
	}
	images := g.Input("x", graph.Float, n, h, w, channels)
	x := g.ReLU("relu0", conv("conv0", images))
	y := g.ReLU("relu1", conv("conv1", x))
	y = g.ReLU("relu2", g.Add("add", conv("conv2", y), x))
	loss := g.CrossEntropy("loss", g.GlobalAvgPool("pool", y), g.Input("labels", graph.Int, n))
	g.Output("loss", loss)
	params := g.Trainable()
	for i, d := range g.Gradients(loss, params) {
		name := params[i].Node.Name + ".momentum"
		out := g.Apply("sgd."+name, graph.SGD{Momentum: 0.9}, params[i], d, variable(name, false, params[i].Shape...), g.Constant("rate", 1))
		g.Update(params[i], out[0])
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	c.Program = p
	c.Runs = []map[string]engine.Tensor{{"x": normal(1, images.Shape...), "labels": engine.Int32(make([]int32, n), n)}}
	return c
}

// farthest is the largest difference over the root mean square of want.
func farthest(got, want []float64) float64 {
	sum, most := 0.0, 0.0
	for i, w := range want {
		sum += w * w
		d := math.Abs(got[i] - w)
		if !(d <= most) { // or not a number
			most = d
		}
	}
	return most / math.Sqrt(sum/float64(len(want)))
}

func TestConvOption(t *testing.T) {
	if _, err := cpu.New(cpu.Options{Conv: "fourier"}); err == nil {
		t.Error("an unknown algorithm is accepted")
	}
	for _, conv := range []string{"", "direct", "winograd"} {
		t.Run(fmt.Sprintf("%q", conv), func(t *testing.T) { newEngine(t, cpu.Options{Conv: conv}) })
	}
}

// The error of either way against the definition in float64, for the shapes of
// residual networks. An image's size and the batch are small here: they don't
// enter the error of the outputs and of the data gradient, and that of the
// weight gradient, whose sums are over the positions, grows no faster than the
// square root of what it is relative to.
func TestWinogradError(t *testing.T) {
	shapes := []struct{ n, size, ci, co, k, stride int }{
		{4, 32, 64, 64, 3, 1}, {4, 16, 128, 128, 3, 1}, {4, 8, 256, 256, 3, 1}, {4, 4, 512, 512, 3, 1}, {2, 14, 256, 256, 3, 1}, {2, 7, 512, 512, 3, 1},
		{4, 32, 64, 128, 3, 2}, {4, 16, 128, 256, 3, 2}, {4, 8, 256, 512, 3, 2}, {2, 28, 256, 256, 3, 2}, {2, 14, 512, 512, 3, 2},
		{1, 64, 3, 64, 7, 2}, {2, 28, 128, 512, 1, 1}, {2, 14, 1024, 256, 1, 1},
	}
	if os.Getenv("SELFCON_ERRORS") != "" {
		shapes = append(shapes, []struct{ n, size, ci, co, k, stride int }{
			{64, 32, 64, 64, 3, 1}, {64, 16, 128, 128, 3, 1}, {64, 8, 256, 256, 3, 1}, {64, 4, 512, 512, 3, 1}, {4, 56, 64, 64, 3, 1}, {4, 28, 128, 128, 3, 1},
			{64, 32, 64, 128, 3, 2}, {64, 16, 128, 256, 3, 2}, {64, 8, 256, 512, 3, 2}, {8, 56, 128, 128, 3, 2}, {8, 28, 256, 256, 3, 2}, {8, 14, 512, 512, 3, 2},
			{8, 224, 3, 64, 7, 2}, {64, 32, 3, 64, 7, 2},
			{8, 28, 128, 512, 1, 1}, {8, 28, 512, 128, 1, 1}, {8, 14, 256, 1024, 1, 1}, {8, 14, 1024, 256, 1, 1}, {8, 7, 512, 2048, 1, 1}, {8, 7, 2048, 512, 1, 1}, {8, 28, 512, 1024, 1, 2},
		}...)
	} else if raceEnabled {
		t.Skip("slow, and nothing to race")
	} else if testing.Short() {
		shapes = shapes[3:4]
	}
	for _, z := range shapes {
		p, in := convProgram(t, z.n, z.size, z.ci, z.co, z.k, z.stride)
		// Pixels behind a ReLU are not negative: their mean makes sums larger.
		x := in["x"].Data.([]float32)
		for i := range x {
			x[i] = max(0, x[i])
		}
		want := convDefinition(in, z.n, z.size, z.ci, z.co, z.k, z.stride)
		for _, conv := range []string{"direct", "winograd"} {
			e := newEngine(t, cpu.Options{Conv: conv})
			exe, err := e.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exe.Run(in)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"y", "dx", "dw"} {
				got := out[name].Float64s()
				worst, rms := farthest(got, want[name]), relative(got, want[name])
				t.Logf("%d×%d², %d to %d, %d×%d, stride %d, %-8s %-2s: largest error %.1e, root mean square %.1e", z.n, z.size, z.ci, z.co, z.k, z.k, z.stride, conv, name, worst, rms)
				// Twice the worst of all shapes that were measured.
				if !(worst < 5e-5) {
					t.Errorf("%+v, %s: %s is off by %.2g", z, conv, name, worst)
				}
			}
		}
	}
}

// relative is the root mean square of the difference over that of want.
func relative(got, want []float64) float64 {
	var d, w float64
	for i, f := range want {
		d += (got[i] - f) * (got[i] - f)
		w += f * f
	}
	return math.Sqrt(d / w)
}

// convDefinition is convProgram's results in float64, each as a matrix product
// for every tap.
func convDefinition(in map[string]engine.Tensor, n, size, ci, co, k, stride int) map[string][]float64 {
	x, w, dy := in["x"].Float64s(), in["w"].Float64s(), in["dy"].Float64s()
	out := (size + stride - 1) / stride
	y, dx, dw := make([]float64, n*out*out*co), make([]float64, len(x)), make([]float64, len(w))
	mat := func(rows, cols, stride int, d []float64) blas64.General {
		return blas64.General{Rows: rows, Cols: cols, Stride: stride, Data: d}
	}
	for tap := range k * k {
		ky, kx := tap/k-k/2, tap%k-k/2
		wt, dwt := make([]float64, ci*co), make([]float64, ci*co)
		for o := range co {
			for i := range ci {
				wt[i*co+o] = w[(o*ci+i)*k*k+tap]
			}
		}
		first := (max(0, -kx) + stride - 1) / stride
		count := (size-1-kx)/stride + 1 - first
		count = min(count, out-first)
		for im := range n {
			for row := range out {
				iy := row*stride + ky
				if iy < 0 || iy >= size || count <= 0 {
					continue
				}
				at, from := (im*out+row)*out+first, (im*size+iy)*size+first*stride+kx
				xs, dxs := mat(count, ci, stride*ci, x[from*ci:]), mat(count, ci, stride*ci, dx[from*ci:])
				ys, dys := mat(count, co, co, y[at*co:]), mat(count, co, co, dy[at*co:])
				blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, xs, mat(ci, co, co, wt), 1, ys)
				blas64.Gemm(blas.NoTrans, blas.Trans, 1, dys, mat(ci, co, co, wt), 1, dxs)
				blas64.Gemm(blas.Trans, blas.NoTrans, 1, xs, dys, 1, mat(ci, co, co, dwt))
			}
		}
		for o := range co {
			for i := range ci {
				dw[(o*ci+i)*k*k+tap] = dwt[i*co+o]
			}
		}
	}
	return map[string][]float64{"y": y, "dx": dx, "dw": dw}
}
