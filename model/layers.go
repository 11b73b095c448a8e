package model

import (
	"hash/fnv"
	"math"

	"selfcon/graph"
)

// builder adds layers with their variables; families share it.
type builder struct {
	g        *graph.Graph
	training bool
	frozen   bool   // layers are not trained
	seed     uint64 // of dropout
	counter  string // the variable that counts steps for dropout
	step     *graph.Value
}

func channels(x *graph.Value) int {
	if len(x.Shape) == 0 {
		return 0 // an earlier error; the graph has recorded it
	}
	return x.Shape[len(x.Shape)-1]
}

// initial gives the first values of a layer's weight and bias by the numbers of
// inputs and outputs that a weight connects.
type initial func(fanIn, fanOut float64) (weight, bias graph.Init)

// kaimingFanOut is nn.init.kaiming_normal_ with mode='fan_out', and no bias.
func kaimingFanOut(_, fanOut float64) (weight, bias graph.Init) {
	return graph.Init{Kind: graph.Normal, Scale: math.Sqrt(2 / fanOut)}, graph.Init{}
}

// xavier is nn.init.xavier_uniform_ with gain √2, and no bias.
func xavier(fanIn, fanOut float64) (weight, bias graph.Init) {
	return graph.Init{Kind: graph.Uniform, Scale: math.Sqrt(2 * 6 / (fanIn + fanOut))}, graph.Init{}
}

// torchDefault is how PyTorch starts linear layers and convolutions: uniform in
// ±1/√fanIn.
func torchDefault(fanIn, _ float64) (weight, bias graph.Init) {
	i := graph.Init{Kind: graph.Uniform, Scale: 1 / math.Sqrt(fanIn)}
	return i, i
}

func (b *builder) parameter(name string, init graph.Init, shape ...int) *graph.Value {
	return b.g.Variable(graph.Variable{Name: name, Trainable: !b.frozen, Init: init, Type: graph.Type{Shape: shape}})
}

// conv is a convolution; the zero values stand for stride 1, one group and no
// bias.
type conv struct {
	out, kernel, stride, groups int
	bias                        bool
	init                        initial
}

// conv adds a convolution, padded by half its kernel.
func (b *builder) conv(name string, x *graph.Value, c conv) *graph.Value {
	return b.convPadded(name, x, c, c.kernel/2, 0)
}

// convPadded adds a convolution with padding on all sides and more at the end.
func (b *builder) convPadded(name string, x *graph.Value, c conv, pad, end int) *graph.Value {
	op := graph.Conv2D{Stride: max(1, c.stride), Pad: pad, PadEnd: end, Groups: max(1, c.groups)}
	in, area := channels(x)/op.Groups, c.kernel*c.kernel
	weight, bias := c.init(float64(in*area), float64(c.out*area))
	y := b.g.Conv2D(name, x, b.parameter(name+".weight", weight, c.out, in, c.kernel, c.kernel), op)
	if !c.bias {
		return y
	}
	return b.g.AddBias(name+".bias", y, b.parameter(name+".bias", bias, c.out))
}

// norm adds a batch-norm layer with PyTorch's defaults.
func (b *builder) norm(name string, x *graph.Value) *graph.Value {
	return b.normWith(name, x, 1e-5, 0.1)
}

func (b *builder) normWith(name string, x *graph.Value, eps, momentum float64) *graph.Value {
	vec := func(suffix string, role graph.Role, kind graph.InitKind) *graph.Value {
		return b.g.Variable(graph.Variable{
			Name: name + suffix, Role: role, Trainable: role == graph.Parameter && !b.frozen,
			Type: graph.Type{Shape: graph.Shape{channels(x)}},
			Init: graph.Init{Kind: kind},
		})
	}
	return b.g.BatchNorm2D(name, x, graph.BatchNormVars{
		Weight: vec(".weight", graph.Parameter, graph.Constant1),
		Bias:   vec(".bias", graph.Parameter, graph.Zeros),
		Mean:   vec(".running_mean", graph.Statistic, graph.Zeros),
		Var:    vec(".running_var", graph.Statistic, graph.Constant1),
	}, eps, momentum, b.training)
}

// linear adds a linear layer.
func (b *builder) linear(name string, x *graph.Value, out int, init initial) *graph.Value {
	in := channels(x)
	weight, bias := init(float64(in), float64(out))
	return b.g.Linear(name, x, b.parameter(name+".weight", weight, out, in), b.parameter(name+".bias", bias, out))
}

// stemPool adds the pooling of a stem for large images.
func (b *builder) stemPool(x *graph.Value) *graph.Value {
	return b.g.MaxPool2D("encoder.maxpool", x, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1})
}

// dropout drops elements of x, or whole images, with probability p in training.
func (b *builder) dropout(name string, x *graph.Value, p float64, images bool) *graph.Value {
	if !b.training || p == 0 {
		return x
	}
	if b.step == nil {
		b.step = b.g.Variable(graph.Variable{Name: b.counter, Role: graph.Counter, Type: graph.Type{Shape: graph.Shape{}, DType: graph.Int}})
		b.g.Update(b.step, b.g.Apply(b.counter+".next", graph.Increment{}, b.step)[0])
	}
	key := fnv.New64a() // by name, so that no layer's numbers depend on which others there are
	key.Write([]byte(name))
	return b.g.Apply(name, graph.Dropout{P: p, Seed: b.seed, Key: key.Sum64(), Rows: images}, x, b.step)[0]
}
