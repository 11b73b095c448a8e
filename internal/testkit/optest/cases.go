package optest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"selfcon/engine"
	"selfcon/graph"
)

// Cases are the programs of the suite: every operation by itself, at shapes
// that are no multiple of anything and at some that cross the blocks that
// kernels work in, and small networks. The numbers, and some of the shapes,
// depend on the seed.
func Cases(seed uint64) []Case {
	b := &builder{}
	for i, group := range []func(){b.basic, b.convolution, b.pooling, b.linear, b.norm, b.gates, b.loss, b.networks, b.update} {
		b.Rand = rand.New(rand.NewPCG(seed, uint64(i+1))) // a group's cases do not depend on the others'
		group()
	}
	return b.cases
}

type builder struct {
	*rand.Rand
	cases []Case
}

// op adds a case of one operation, its operands being the program's inputs.
func (b *builder) op(name string, op graph.Op, in ...engine.Tensor) {
	g := graph.New()
	run := map[string]engine.Tensor{}
	values := make([]*graph.Value, len(in))
	for i, t := range in {
		id := fmt.Sprintf("in%d", i)
		values[i] = g.Input(id, dtype(t), t.Shape...)
		run[id] = t
	}
	for i, v := range g.Apply("op", op, values...) {
		g.Output("out"+strconv.Itoa(i), v)
	}
	p := b.build(name, g)
	b.cases = append(b.cases, Case{Name: fmt.Sprintf("%s/%s", p.Nodes[len(p.Nodes)-1].Kind(), name), Program: p, Runs: []map[string]engine.Tensor{run}})
}

func (b *builder) build(name string, g *graph.Graph) *graph.Program {
	p, err := g.Build()
	if err != nil {
		panic(fmt.Sprintf("optest: case %s: %v", name, err))
	}
	return p
}

func dtype(t engine.Tensor) graph.DType {
	if _, ok := t.Data.([]int32); ok {
		return graph.Int
	}
	return graph.Float
}

// normal draws float32 numbers of mean 0 and deviation 1.
func (b *builder) normal(shape ...int) engine.Tensor {
	return b.draw(b.NormFloat64, shape...)
}

func (b *builder) draw(f func() float64, shape ...int) engine.Tensor {
	data := make([]float32, graph.Shape(shape).Size())
	for i := range data {
		data[i] = float32(f())
	}
	return engine.Float32(data, shape...)
}

// labels draws n class numbers.
func (b *builder) labels(n, classes int) engine.Tensor {
	data := make([]int32, n)
	for i := range data {
		data[i] = int32(b.IntN(classes))
	}
	return engine.Int32(data, n)
}

func scalar(v float64) engine.Tensor { return engine.Float32([]float32{float32(v)}) }

var rowShapes = [][]int{{1, 1}, {1, 17}, {7, 13}, {33, 5}, {200, 70}, {64, 128}}

func (b *builder) basic() {
	for _, s := range [][]int{{}, {1}, {17}, {3, 5, 7, 13}, {70, 200}} {
		name := graph.Shape(s).String()
		b.op(name, graph.Add{}, b.normal(s...), b.normal(s...))
		b.op(name, graph.Scale{Factor: -1.7}, b.normal(s...))
		b.op(name, graph.Lerp{Weight: 0.1, Factor: 33.0 / 32}, b.normal(s...), b.normal(s...))
		b.op(name, graph.Reshape{Shape: graph.Shape{1, graph.Shape(s).Size()}}, b.normal(s...))
		g := graph.New()
		g.Output("fill", g.Apply("fill", graph.Fill{Shape: s, Value: 0.3})[0])
		b.cases = append(b.cases, Case{Name: "Fill/" + name, Program: b.build(name, g), Runs: []map[string]engine.Tensor{{}}})
		if len(s) == 0 {
			continue
		}
		more := append([]int{3}, s[1:]...)
		b.op(name, graph.Concat{}, b.normal(s...), b.normal(more...), b.normal(s...))
		b.op(name, graph.PadRows{Before: 2, After: 3}, b.normal(s...))
		b.op(name+",none", graph.PadRows{}, b.normal(s...))
		b.op(name, graph.Slice{From: s[0] / 2, To: s[0]}, b.normal(s...))
		b.op(name+",first", graph.Slice{From: 0, To: 1}, b.normal(s...))
	}
	b.op("one", graph.Concat{}, b.normal(3, 5))
	b.op("int", graph.Concat{}, b.labels(3, 9), b.labels(7, 9))
	b.op("int", graph.Slice{From: 1, To: 4}, b.labels(7, 9))
	b.op("int", graph.Reshape{Shape: graph.Shape{2, 3}}, b.labels(6, 9))
	b.op("scalar", graph.Increment{}, engine.Int32([]int32{-1}))
	b.op("[5]", graph.Increment{}, b.labels(5, 100))
}

// convShape is one convolution.
type convShape struct{ n, h, w, c, kh, kw, o, stride, pad, groups, padEnd int }

func (b *builder) convolution() {
	shapes := []convShape{
		{1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0},
		{2, 5, 5, 3, 3, 3, 7, 1, 1, 1, 0},
		{1, 7, 9, 1, 3, 3, 5, 2, 1, 1, 0},
		{3, 8, 6, 5, 1, 1, 13, 1, 0, 1, 0},
		{1, 6, 7, 3, 1, 1, 5, 2, 0, 1, 0},    // 1×1 that skips pixels
		{2, 5, 5, 4, 1, 1, 4, 1, 1, 1, 0},    // a border of padding alone
		{1, 3, 3, 6, 3, 3, 4, 1, 0, 1, 0},    // one pixel of output
		{2, 2, 2, 7, 3, 3, 9, 1, 1, 1, 0},    // a kernel larger than the image
		{2, 1, 1, 16, 1, 1, 8, 1, 0, 1, 0},   // a linear layer
		{2, 9, 9, 8, 2, 2, 8, 2, 0, 1, 0},    // an even kernel, a last pixel unused
		{1, 8, 8, 3, 2, 2, 5, 3, 0, 1, 0},    // a stride beyond the kernel
		{1, 5, 6, 13, 5, 3, 7, 2, 2, 1, 0},   // a kernel that is not square
		{1, 11, 13, 3, 7, 7, 17, 2, 3, 1, 0}, // ImageNet's first layer
		{1, 7, 7, 12, 3, 3, 8, 1, 2, 4, 0},
		{2, 9, 7, 4, 3, 3, 6, 3, 1, 2, 0},
		{2, 7, 7, 17, 3, 3, 17, 2, 1, 17, 0}, // depthwise
		{1, 6, 5, 5, 3, 3, 10, 1, 1, 5, 0},   // depthwise, two outputs a channel
		{2, 6, 6, 33, 3, 3, 33, 1, 1, 1, 0},
		{1, 4, 4, 70, 3, 3, 130, 1, 1, 1, 0},
		{2, 14, 15, 70, 1, 1, 200, 1, 0, 1, 0},
		{5, 8, 8, 64, 3, 3, 64, 1, 1, 1, 0},
		{3, 16, 16, 32, 3, 3, 64, 2, 1, 1, 0},
		{2, 32, 32, 3, 3, 3, 64, 1, 1, 1, 0}, // CIFAR's first layer
		{1, 40, 37, 16, 3, 3, 24, 1, 1, 1, 0},
		{9, 4, 4, 48, 3, 3, 40, 1, 1, 1, 0},
		{2, 8, 8, 5, 3, 3, 7, 2, 0, 1, 1}, // TensorFlow's SAME padding of even sizes
		{2, 9, 6, 3, 5, 5, 4, 2, 1, 1, 1},
		{2, 8, 10, 17, 5, 5, 17, 2, 1, 17, 1}, // the same, depthwise
		{1, 16, 16, 40, 3, 3, 40, 2, 0, 40, 1},
		{2, 4, 4, 16, 3, 3, 32, 1, 1, 1, 1}, // as Winograd's, but for the end
		{1, 3, 4, 6, 3, 3, 5, 1, 0, 1, 4},   // a border of the end's padding alone
		{3, 8, 8, 32, 5, 5, 32, 1, 2, 32, 0},
		{2, 15, 13, 40, 3, 3, 40, 1, 1, 40, 0},
		{2, 14, 14, 24, 3, 3, 24, 2, 1, 24, 0},
		{1, 13, 15, 70, 5, 5, 70, 2, 2, 70, 0},
		{3, 7, 7, 130, 5, 5, 130, 1, 2, 130, 0},
		{1, 3, 4, 9, 5, 5, 9, 1, 2, 9, 0},     // a kernel larger than the image
		{1, 2, 3, 6, 3, 2, 6, 2, 3, 6, 0},     // windows in the padding alone
		{1, 9, 8, 11, 2, 1, 11, 3, 0, 11, 0},  // pixels in no window
		{1, 70, 5, 16, 3, 3, 16, 1, 1, 16, 0}, // more rows than a block
		{1, 1, 1, 3, 1, 1, 3, 2, 1, 3, 0},     // no tap reaches the image
		{3, 14, 130, 6, 3, 3, 6, 1, 1, 6, 0},  // several blocks of sums for a weight
		{2, 6, 6, 8, 1, 7, 24, 1, 3, 8, 0},    // three outputs a channel
	}
	channels := []int{1, 3, 5, 7, 13, 17, 33}
	for range 8 {
		s := convShape{1 + b.IntN(3), 1 + b.IntN(12), 1 + b.IntN(12), channels[b.IntN(7)], 1 + b.IntN(4), 1 + b.IntN(4), channels[b.IntN(7)], 1 + b.IntN(3), b.IntN(3), 1, b.IntN(2)}
		if b.IntN(2) == 0 {
			s.groups = 1 + b.IntN(3)
			s.c, s.o = (s.c%7+1)*s.groups, (s.o%7+1)*s.groups
		}
		s.h, s.w = max(s.h, s.kh-2*s.pad), max(s.w, s.kw-2*s.pad)
		shapes = append(shapes, s)
	}
	for range 6 { // depthwise
		c := 1 + b.IntN(80)
		s := convShape{1 + b.IntN(3), 1 + b.IntN(20), 1 + b.IntN(20), c, 1 + b.IntN(5), 1 + b.IntN(5), c * (1 + b.IntN(4)/3), 1 + b.IntN(3), b.IntN(4), c, b.IntN(3) / 2}
		s.h, s.w = max(s.h, s.kh-2*s.pad), max(s.w, s.kw-2*s.pad)
		shapes = append(shapes, s)
	}
	for _, s := range shapes {
		name := fmt.Sprintf("%d×%d×%d×%d,%d×%d→%d,stride%d,pad%d+%d,groups%d", s.n, s.h, s.w, s.c, s.kh, s.kw, s.o, s.stride, s.pad, s.padEnd, s.groups)
		c := graph.Conv2D{Stride: s.stride, Pad: s.pad, PadEnd: s.padEnd, Groups: s.groups}
		x := b.normal(s.n, s.h, s.w, s.c)
		w := b.normal(s.o, s.c/s.groups, s.kh, s.kw)
		dy := b.normal(s.n, graph.ConvOut(s.h+s.padEnd, s.kh, s.stride, s.pad), graph.ConvOut(s.w+s.padEnd, s.kw, s.stride, s.pad), s.o)
		b.op(name, c, x, w)
		b.op(name, graph.Conv2DGradInput{Conv: c, Input: x.Shape}, dy, w)
		b.op(name, graph.Conv2DGradWeight{Conv: c, Kernel: w.Shape}, x, dy)
	}
}

func (b *builder) pooling() {
	type shape struct {
		n, h, w, c int
		pool       graph.MaxPool2D
	}
	shapes := []shape{
		{1, 1, 1, 1, graph.MaxPool2D{Size: 1, Stride: 1}},
		{2, 8, 8, 3, graph.MaxPool2D{Size: 2, Stride: 2}},
		{1, 7, 9, 5, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}}, // windows overlap
		{2, 6, 6, 17, graph.MaxPool2D{Size: 3, Stride: 1, Pad: 1}},
		{1, 5, 5, 33, graph.MaxPool2D{Size: 3, Stride: 3}},
		{2, 7, 5, 70, graph.MaxPool2D{Size: 2, Stride: 1, Pad: 1}},
		{1, 9, 4, 7, graph.MaxPool2D{Size: 2, Stride: 3}}, // pixels in no window
		{3, 16, 16, 64, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}},
		{1, 45, 6, 9, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}}, // more rows than a block
		{1, 50, 3, 4, graph.MaxPool2D{Size: 4, Stride: 1, Pad: 2}},
	}
	for range 4 {
		size := 1 + b.IntN(5)
		shapes = append(shapes, shape{1 + b.IntN(3), size + b.IntN(30), size + b.IntN(12), 1 + b.IntN(80), graph.MaxPool2D{Size: size, Stride: 1 + b.IntN(4), Pad: b.IntN(size/2 + 1)}})
	}
	for _, s := range shapes {
		oh, ow := graph.ConvOut(s.h, s.pool.Size, s.pool.Stride, s.pool.Pad), graph.ConvOut(s.w, s.pool.Size, s.pool.Stride, s.pool.Pad)
		for _, numbers := range []struct {
			name string
			draw func() float64
		}{
			{"", b.NormFloat64},
			{",ties", func() float64 { return float64(b.IntN(3)) }},
			{",negative", func() float64 { return -1 - b.Float64() }}, // padding must not win
			{",NaN", func() float64 { // is the largest
				if b.IntN(20) == 0 {
					return math.NaN()
				}
				return b.NormFloat64()
			}},
		} {
			name := fmt.Sprintf("%d×%d×%d×%d,%d×%d,stride%d,pad%d%s", s.n, s.h, s.w, s.c, s.pool.Size, s.pool.Size, s.pool.Stride, s.pool.Pad, numbers.name)
			x := b.draw(numbers.draw, s.n, s.h, s.w, s.c)
			b.op(name, s.pool, x)
			b.op(name, graph.MaxPool2DGrad{Pool: s.pool}, x, b.normal(s.n, oh, ow, s.c))
		}
		name := fmt.Sprintf("%d×%d×%d×%d", s.n, s.h, s.w, s.c)
		b.op(name, graph.GlobalAvgPool{}, b.normal(s.n, s.h, s.w, s.c))
		b.op(name, graph.GlobalAvgPoolGrad{Height: s.h, Width: s.w}, b.normal(s.n, s.c))
	}
}

func (b *builder) linear() {
	for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {13, 17, 33}, {33, 1, 17}, {1, 70, 5}, {200, 70, 33}, {64, 64, 64}, {65, 257, 130}, {16, 512, 10}} {
		for _, o := range []graph.MatMul{{}, {TransA: true}, {TransB: true}, {TransA: true, TransB: true}} {
			m, k, n := s[0], s[1], s[2]
			x, y := b.normal(m, k), b.normal(k, n)
			name := fmt.Sprintf("%d×%d×%d", m, k, n)
			if o.TransA {
				x, name = b.normal(k, m), name+",A'"
			}
			if o.TransB {
				y, name = b.normal(n, k), name+",B'"
			}
			b.op(name, o, x, y)
		}
	}
	for _, s := range rowShapes {
		name := graph.Shape(s).String()
		b.op(name, graph.AddBias{}, b.normal(s...), b.normal(s[1]))
		b.op(name, graph.SumRows{}, b.normal(s...))
	}
	for _, o := range []graph.SGD{{}, {Momentum: 0.9}, {WeightDecay: 1e-4}, {Momentum: 0.9, WeightDecay: 5e-4}, {Momentum: 0.9, WeightDecay: 5e-4, Nesterov: true}} {
		for _, s := range [][]int{{}, {1}, {17}, {64, 3, 3, 3}, {200, 70}} {
			name := fmt.Sprintf("%v,momentum%g,decay%g,nesterov=%t", graph.Shape(s), o.Momentum, o.WeightDecay, o.Nesterov)
			b.op(name, o, b.normal(s...), b.normal(s...), b.normal(s...), scalar(0.05))
		}
	}
}

func (b *builder) update() {
	square := func() float64 { return b.NormFloat64() * b.NormFloat64() }
	for _, s := range [][]int{{}, {1}, {17}, {64, 3, 3, 3}, {200, 170}} {
		for _, o := range []graph.LARS{{Trust: 1}, {Momentum: 0.9, Trust: 0.001}, {Momentum: 0.9, WeightDecay: 0.5, Trust: 0.02}} {
			name := fmt.Sprintf("%v,%+v", graph.Shape(s), o)
			b.op(name, o, b.normal(s...), b.normal(s...), b.normal(s...), scalar(0.05))
		}
		for _, o := range []graph.AdamW{{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}, {Beta2: 0.95, Eps: 1e-3, WeightDecay: 0.5}} {
			for _, steps := range []int32{0, 1, 100000} {
				name := fmt.Sprintf("%v,%+v,steps%d", graph.Shape(s), o, steps)
				v := b.draw(func() float64 { x := square(); return x * x }, s...)
				b.op(name, o, b.normal(s...), b.normal(s...), b.normal(s...), v, scalar(0.05), engine.Int32([]int32{steps}))
			}
		}
	}
	zero := engine.Float32(make([]float32, 5), 5)
	b.op("no gradient", graph.LARS{Momentum: 0.9, WeightDecay: 0.1, Trust: 0.001}, b.normal(5), zero, b.normal(5), scalar(0.05))
	b.op("no weights", graph.LARS{Momentum: 0.9, WeightDecay: 0.1, Trust: 0.001}, zero, b.normal(5), b.normal(5), scalar(0.05))
}

func (b *builder) norm() {
	for _, s := range [][]int{{2, 1, 1, 1}, {1, 2, 3, 1}, {2, 3, 5, 7}, {7, 13}, {3, 5, 4, 17}, {2, 6, 6, 33}, {200, 70}, {4, 9, 9, 64}, {9, 4, 4, 48}} {
		// Channels of different means and deviations; "offset": means of many
		// deviations, where E[x²] − mean² would lose the variance.
		for _, offset := range []float64{0, 30} {
			c := s[len(s)-1]
			x := b.normal(s...)
			scale, shift := b.draw(func() float64 { return 0.2 + 2*b.Float64() }, c).Float32s(), b.normal(c).Float32s()
			data := x.Float32s()
			for i, v := range data {
				data[i] = (v + shift[i%c] + float32(offset)) * scale[i%c]
			}
			name := graph.Shape(s).String()
			if offset > 0 {
				name += ",offset"
			}
			mean, variance := moments(data, c)
			weight, bias, dy := b.normal(c), b.normal(c), b.normal(s...)
			const eps = 1e-5
			b.op(name, graph.BatchNorm{Eps: eps}, x, weight, bias)
			b.op(name, graph.BatchNormGrad{Eps: eps}, x, weight, mean, variance, dy)
			running := b.draw(func() float64 { return 0.5 + b.Float64() }, c)
			b.op(name, graph.BatchNormInference{Eps: eps}, x, weight, bias, b.normal(c), running)
			b.op(name, graph.BatchNormInferenceGrad{Eps: eps}, x, weight, b.normal(c), running, dy)
		}
	}
	constant := b.draw(func() float64 { return 3 }, 4, 5)
	b.op("constant_channels", graph.BatchNorm{Eps: 1e-5}, constant, b.normal(5), b.normal(5))

	for _, s := range [][]int{{}, {1}, {17}, {3, 5, 7, 13}, {200, 70}} {
		name := graph.Shape(s).String()
		x := b.normal(s...)
		b.op(name, graph.ReLU{}, x)
		y := b.draw(func() float64 { return max(0, b.NormFloat64()) }, s...)
		b.op(name, graph.ReLUGrad{}, y, b.normal(s...))
		for _, p := range []float64{0, 0.3, 0.9} {
			o := graph.Dropout{P: p, Seed: b.Uint64(), Key: b.Uint64()}
			b.op(fmt.Sprintf("%s,p%g", name, p), o, x, engine.Int32([]int32{b.Int32()}))
		}
	}
	for _, s := range rowShapes {
		name := graph.Shape(s).String()
		const eps = 1e-12
		x := b.normal(s...)
		b.op(name, graph.L2Normalize{Eps: eps}, x)
		b.op(name, graph.L2NormalizeGrad{Eps: eps}, x, normalizeRows(x), b.normal(s...))
	}
	short := engine.Float32([]float32{0, 0, 0, 3e-4, 0, -4e-4, 3, 0, 4}, 3, 3)
	b.op("short_rows", graph.L2Normalize{Eps: 1e-2}, short)
	y := engine.Float32([]float32{0, 0, 0, 3e-2, 0, -4e-2, 0.6, 0, 0.8}, 3, 3)
	b.op("short_rows", graph.L2NormalizeGrad{Eps: 1e-2}, short, y, b.normal(3, 3))
}

func (b *builder) gates() {
	for _, s := range [][]int{{}, {1}, {17}, {3, 5, 7, 13}, {70, 500}} {
		name := graph.Shape(s).String()
		for _, scale := range []float64{1, 30} { // 30: exp overflows unless it is kept from it
			wide := func() float64 { return scale * b.NormFloat64() }
			b.op(fmt.Sprintf("%s,%g", name, scale), graph.Sigmoid{}, b.draw(wide, s...))
			b.op(fmt.Sprintf("%s,%g", name, scale), graph.SiLU{}, b.draw(wide, s...))
			b.op(fmt.Sprintf("%s,%g", name, scale), graph.SiLUGrad{}, b.draw(wide, s...), b.normal(s...))
		}
		b.op(name, graph.SigmoidGrad{}, b.draw(b.Float64, s...), b.normal(s...))
		if len(s) == 0 {
			continue
		}
		o := graph.Dropout{P: 0.4, Seed: b.Uint64(), Key: b.Uint64(), Rows: true}
		b.op(name+",rows", o, b.normal(s...), engine.Int32([]int32{b.Int32()}))
	}
	for _, s := range [][]int{{1, 1, 1, 1}, {2, 3, 5, 7}, {3, 8, 8, 33}, {2, 30, 31, 20}} {
		name := graph.Shape(s).String()
		b.op(name, graph.ScaleChannels{}, b.normal(s...), b.normal(s[0], s[3]))
		b.op(name, graph.ScaleChannelsGrad{}, b.normal(s...), b.normal(s...))
		b.op(name, graph.AddBias{}, b.normal(s...), b.normal(s[3]))
		b.op(name, graph.SumRows{}, b.normal(s...))
	}
}

func moments(x []float32, c int) (mean, variance engine.Tensor) {
	m, v := make([]float64, c), make([]float64, c)
	rows := float64(len(x) / c)
	for i, x := range x {
		m[i%c] += float64(x) / rows
	}
	for i, x := range x {
		v[i%c] += (float64(x) - m[i%c]) * (float64(x) - m[i%c]) / rows
	}
	round := func(d []float64) engine.Tensor {
		return engine.Float32(engine.Tensor{Data: d}.Float32s(), c)
	}
	return round(m), round(v)
}

func normalizeRows(x engine.Tensor) engine.Tensor {
	d := x.Shape[1]
	in := x.Float32s()
	out := make([]float32, len(in))
	for at := 0; at < len(in); at += d {
		sum := 0.0
		for _, v := range in[at : at+d] {
			sum += float64(v) * float64(v)
		}
		for i, v := range in[at : at+d] {
			out[at+i] = float32(float64(v) / math.Sqrt(sum))
		}
	}
	return engine.Float32(out, x.Shape...)
}

func (b *builder) loss() {
	for _, s := range [][2]int{{1, 1}, {1, 10}, {7, 3}, {33, 17}, {200, 100}} {
		for _, scale := range []float64{1, 100} { // 100: exp overflows unless the largest is taken off
			name := fmt.Sprintf("%d×%d,logits%g", s[0], s[1], scale)
			logits := b.draw(func() float64 { return scale * b.NormFloat64() }, s[0], s[1])
			labels := b.labels(s[0], s[1])
			b.op(name, graph.CrossEntropy{}, logits, labels)
			b.op(name, graph.CrossEntropyGrad{}, logits, labels, scalar(-0.7))
			quarters := func() float64 { return float64(b.IntN(3)) / 4 } // some are 0
			for zeros, draw := range []func() float64{b.Float64, quarters} {
				name := fmt.Sprintf("%s,soft,zeros=%t", name, zeros == 1)
				targets := b.draw(draw, s[0], s[1]) // need not sum up to 1
				b.op(name, graph.CrossEntropy{}, logits, targets)
				b.op(name, graph.CrossEntropyGrad{}, logits, targets, scalar(-0.7))
			}
			teacher := b.draw(func() float64 { return scale * b.NormFloat64() }, s[0], s[1])
			for _, temperature := range []float64{1, 3} {
				name := fmt.Sprintf("%s,temperature%g", name, temperature)
				b.op(name, graph.Distill{Temperature: temperature}, logits, teacher)
				b.op(name, graph.DistillGrad{Temperature: temperature}, logits, teacher, scalar(-0.7))
			}
		}
	}
	both, last := []bool{true, true}, []bool{false, true}
	for _, c := range []struct {
		b, d, classes int
		o             graph.Contrast
	}{
		{1, 1, 1, graph.Contrast{Exits: 1, Views: 2, Anchors: both[:1], Positives: graph.SameImage, Temperature: 0.5, BaseTemperature: 0.07}},
		{5, 7, 3, graph.Contrast{Exits: 1, Views: 1, Anchors: both[:1], Positives: graph.SameLabel, Temperature: 0.1, BaseTemperature: 0.07}},
		{6, 13, 2, graph.Contrast{Exits: 2, Views: 1, Anchors: both, Positives: graph.SameLabel, Temperature: 0.1, BaseTemperature: 0.1}},
		{6, 13, 2, graph.Contrast{Exits: 2, Views: 1, Anchors: last, Positives: graph.SameLabel, Temperature: 0.07, BaseTemperature: 0.07}},
		{6, 13, 2, graph.Contrast{Exits: 2, Views: 2, Anchors: last, Positives: graph.SameImage, Temperature: 0.5, BaseTemperature: 0.07}},
		{7, 33, 7, graph.Contrast{Exits: 3, Views: 2, Anchors: []bool{true, false, true}, Positives: graph.SameImageView, Temperature: 0.1, BaseTemperature: 0.07}},
		{4, 5, 100, graph.Contrast{Exits: 1, Views: 1, Anchors: both[:1], Positives: graph.SameImage, Temperature: 0.1, BaseTemperature: 0.07}}, // no positives at all
		{9, 5, 6, graph.Contrast{Exits: 1, Views: 1, Anchors: both[:1], Positives: graph.SameLabel, Temperature: 0.07, BaseTemperature: 0.07}},  // some without
		{70, 128, 10, graph.Contrast{Exits: 2, Views: 2, Anchors: both, Positives: graph.SameLabel, Temperature: 0.07, BaseTemperature: 0.07}},
		{100, 17, 10, graph.Contrast{Exits: 2, Views: 1, Anchors: last, Positives: graph.SameImage, Temperature: 0.1, BaseTemperature: 0.07}},
	} {
		rows := c.o.Exits * c.o.Views * c.b
		labels := b.labels(c.b, c.classes)
		z := normalizeRows(b.normal(rows, c.d))
		long := engine.Float32(slices.Clone(z.Float32s()), rows, c.d) // exp overflows unless the largest is taken off
		for i := range long.Float32s() {
			long.Float32s()[i] *= 3
		}
		for what, z := range []engine.Tensor{z, long} {
			name := fmt.Sprintf("%d×%d,exits%d,views%d,anchors%v,positives%d,temperature%g,long=%t", rows, c.d, c.o.Exits, c.o.Views, c.o.Anchors, c.o.Positives, c.o.Temperature, what == 1)
			b.op(name, c.o, z, labels)
			b.op(name, graph.ContrastGrad{Contrast: c.o}, z, labels, lse(c.o, z), scalar(1.3))
			if c.o.Positives != graph.SameLabel {
				continue
			}
			o := c.o
			o.Positives = graph.SharedLabels
			several := func() float64 { return float64(b.IntN(2+c.classes/3) / (1 + c.classes/3)) } // 0 or 1; some images without any
			for soft, draw := range []func() float64{several, b.Float64} {
				labels := b.draw(draw, c.b, c.classes)
				name := fmt.Sprintf("%s,soft=%t", name, soft == 1)
				b.op(name, o, z, labels)
				b.op(name, graph.ContrastGrad{Contrast: o}, z, labels, lse(o, z), scalar(1.3))
			}
		}
	}
}

// lse are Contrast's second results for z.
func lse(o graph.Contrast, z engine.Tensor) engine.Tensor {
	rows, d := z.Shape[0], z.Shape[1]
	in := z.Float64s()
	out := make([]float32, rows)
	for a := range out {
		if _, _, exit := o.Row(a, rows/(o.Views*o.Exits)); !o.Anchors[exit] {
			continue
		}
		s := make([]float64, rows)
		largest := math.Inf(-1)
		for q := range s {
			for k := range d {
				s[q] += in[a*d+k] * in[q*d+k] / o.Temperature
			}
			if q != a {
				largest = max(largest, s[q])
			}
		}
		sum := 0.0
		for q := range s {
			if q != a {
				sum += math.Exp(s[q] - largest)
			}
		}
		out[a] = float32(largest + math.Log(sum))
	}
	return engine.Float32(out, rows)
}
