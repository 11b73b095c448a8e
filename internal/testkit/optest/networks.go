package optest

import (
	"fmt"
	"math"

	"selfcon/engine"
	"selfcon/graph"
)

// network is the shape of a small residual network with two exits.
type network struct {
	images, views, size int
	channels, width     int // of the images, of the first stage
	groups              int
	pool                bool
	dropout             float64
	positives           graph.Positives
	anchors             []bool
	sgd                 graph.SGD
}

// networks adds training runs of three steps: forward, backward and update in
// one program, as the trainer builds it.
func (b *builder) networks() {
	both, last := []bool{true, true}, []bool{false, true}
	for i, n := range []network{
		{images: 3, views: 1, size: 6, channels: 3, width: 4, groups: 1, anchors: both, sgd: graph.SGD{Momentum: 0.9, WeightDecay: 1e-4}},
		{images: 2, views: 2, size: 7, channels: 1, width: 6, groups: 2, pool: true, positives: graph.SameImage, anchors: last, sgd: graph.SGD{Momentum: 0.9, Nesterov: true}},
		{images: 1, views: 2, size: 9, channels: 3, width: 5, groups: 1, dropout: 0.3, positives: graph.SameImage, anchors: both, sgd: graph.SGD{}},
		{images: 4, views: 1, size: 8, channels: 3, width: 16, groups: 1, pool: true, dropout: 0.2, positives: graph.SameImageView, anchors: last, sgd: graph.SGD{Momentum: 0.9, WeightDecay: 5e-4}},
	} {
		b.network(fmt.Sprintf("network/%d", i), n)
	}
}

// network adds a case with numbers whose gradients do not jump: so close to a
// ReLU's corner that rounding decides, no tolerance would be fair.
func (b *builder) network(name string, n network) {
	for range 50 {
		c := b.trainingRun(name, n)
		ref, err := refer(c)
		if err != nil {
			panic(fmt.Sprintf("optest: case %s: %v", name, err))
		}
		if !ref.unstable {
			c.want = ref
			b.cases = append(b.cases, c)
			return
		}
	}
	panic(fmt.Sprintf("optest: case %s: no numbers found at which its gradient is stable", name))
}

func (b *builder) trainingRun(name string, n network) Case {
	const classes, features = 5, 7
	g := graph.New()
	vars := map[string]engine.Tensor{}
	variable := func(name string, role graph.Role, t engine.Tensor) *graph.Value {
		vars[name] = t
		return g.Variable(graph.Variable{Name: name, Type: graph.Type{Shape: t.Shape, DType: dtype(t)}, Role: role, Trainable: role == graph.Parameter})
	}
	weight := func(name string, shape ...int) *graph.Value {
		scale := math.Sqrt(2 / float64(graph.Shape(shape[1:]).Size()))
		return variable(name, graph.Parameter, b.draw(func() float64 { return scale * b.NormFloat64() }, shape...))
	}
	conv := func(name string, x *graph.Value, o, k, stride, groups int) *graph.Value {
		c := graph.Conv2D{Stride: stride, Pad: k / 2, Groups: groups}
		return g.Conv2D(name, x, weight(name+".weight", o, x.Shape[3]/groups, k, k), c)
	}
	bn := func(name string, x *graph.Value) *graph.Value {
		c := x.Shape[3]
		about1 := func() float64 { return 0.5 + b.Float64() }
		return g.BatchNorm2D(name, x, graph.BatchNormVars{
			Weight: variable(name+".weight", graph.Parameter, b.draw(about1, c)),
			Bias:   variable(name+".bias", graph.Parameter, b.normal(c)),
			Mean:   variable(name+".running_mean", graph.Statistic, b.normal(c)),
			Var:    variable(name+".running_var", graph.Statistic, b.draw(about1, c)),
		}, 1e-5, 0.1, true)
	}
	block := func(name string, x *graph.Value, o, stride int) *graph.Value {
		y := g.ReLU(name+".relu1", bn(name+".bn1", conv(name+".conv1", x, o, 3, stride, n.groups)))
		y = bn(name+".bn2", conv(name+".conv2", y, o, 3, 1, n.groups))
		if stride != 1 || x.Shape[3] != o {
			x = bn(name+".shortcut.1", conv(name+".shortcut.0", x, o, 1, stride, 1))
		}
		return g.ReLU(name+".relu2", g.Add(name+".add", y, x))
	}
	linear := func(name string, x *graph.Value, o int) *graph.Value {
		return g.Linear(name, x, weight(name+".weight", o, x.Shape[1]), variable(name+".bias", graph.Parameter, b.normal(o)))
	}

	rows := n.images * n.views
	images := g.Input("images", graph.Float, rows, n.size, n.size, n.channels)
	labels := g.Input("labels", graph.Int, n.images)
	rate := g.Input("lr", graph.Float)
	step := variable("step", graph.Counter, engine.Int32([]int32{3}))

	x := g.ReLU("relu", bn("bn1", conv("conv1", images, n.width, 3, 1, 1)))
	if n.pool {
		x = g.MaxPool2D("maxpool", x, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1})
	}
	x = block("layer1", x, n.width, 1)
	head := func(name string, x *graph.Value) (pooled, z *graph.Value) {
		pooled = g.GlobalAvgPool(name+".pool", x)
		if n.dropout > 0 {
			pooled = g.Apply(name+".dropout", graph.Dropout{P: n.dropout, Seed: 5, Key: uint64(len(name))}, pooled, step)[0]
		}
		h := g.ReLU(name+".relu", linear(name+".0", pooled, 2*features))
		return pooled, g.L2Normalize(name+".normalize", linear(name+".2", h, features))
	}
	_, z1 := head("exit", x)
	x = block("layer2", x, 2*n.width, 2)
	pooled, z2 := head("head", x)
	contrast := g.Contrast("contrast", g.Concat("z", z1, z2), labels, graph.Contrast{
		Exits: 2, Views: n.views, Anchors: n.anchors, Positives: n.positives, Temperature: 0.5, BaseTemperature: 0.07})
	logits := linear("fc", g.Slice("first view", pooled, 0, n.images), classes)
	ce := g.CrossEntropy("ce", logits, labels)
	loss := g.Add("loss", g.Scale("weighted", contrast, 0.3), ce)

	params := g.Trainable()
	for i, d := range g.Gradients(loss, params) {
		p := params[i]
		m := variable("momentum."+p.Node.Name, graph.Slot, engine.Float32(make([]float32, p.Shape.Size()), p.Shape...))
		out := g.Apply("sgd:"+p.Node.Name, n.sgd, p, d, m, rate)
		g.Update(p, out[0])
		g.Update(m, out[1])
		if i == 0 || i == len(params)-1 {
			g.Output("grad:"+p.Node.Name, d)
		}
	}
	g.Update(step, g.Apply("next step", graph.Increment{}, step)[0])
	g.Output("loss", loss)
	g.Output("contrast", contrast)
	g.Output("logits", logits)

	c := Case{Name: name, Program: b.build(name, g), Variables: vars}
	for range 3 {
		c.Runs = append(c.Runs, map[string]engine.Tensor{
			"images": b.normal(rows, n.size, n.size, n.channels),
			"labels": b.labels(n.images, classes),
			"lr":     scalar(0.05),
		})
	}
	return c
}
