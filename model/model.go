// Package model builds multi-exit networks as graphs: a family of backbones a
// file (resnet.go), the exits, sub-networks and heads written once here.
//
// Parameters carry the names of the paper's reference code (PyTorch), so that
// its checkpoints and ours can be exchanged.
package model

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"selfcon/graph"
	"selfcon/internal/suggest"
)

// Stem is how a network begins.
type Stem string

const (
	SmallStem Stem = "small" // 3×3 stride 1, no pooling: CIFAR, Tiny-ImageNet
	LargeStem Stem = "large" // 7×7 stride 2 and max-pooling: ImageNet
)

// SubNetwork is what an exit puts between a stage and its head.
type SubNetwork string

const (
	SubFC    SubNetwork = "fc"    // average pool and one linear layer to the backbone's width
	SubSmall SubNetwork = "small" // the remaining stages with half the blocks, rounded down
	SubSame  SubNetwork = "same"  // the remaining stages with as many blocks
)

// Config describes a network. The zero value of a field means its default, if
// it has one.
type Config struct {
	Arch  string     `json:"arch"`  // resnet18, resnet34, resnet50, resnet101
	Stem  Stem       `json:"stem"`  // default: small for images of up to 64 pixels, otherwise large
	Exits []int      `json:"exits"` // stages after which a sub-network exits, from 1, ascending; none: the backbone alone
	Sub   SubNetwork `json:"sub"`   // default: fc
	Width int        `json:"width"` // channels of the first stage; default 64

	ImageHeight   int `json:"image_height"`
	ImageWidth    int `json:"image_width"`
	ImageChannels int `json:"image_channels"`
}

// family is what one family of backbones provides: a stem, and stages whose
// block count can be chosen, so that sub-networks can repeat the later ones.
type family interface {
	stages() int
	blocks(stage int) int // of the backbone, stages from 1
	channels(stage int) int
	stem(b *builder, x *graph.Value) *graph.Value
	// stage adds blocks blocks of a stage with parameters under prefix.
	stage(b *builder, prefix string, stage, blocks int, x *graph.Value) *graph.Value
}

// families maps each architecture to its family for a resolved configuration.
var families = map[string]func(Config) family{}

// Archs lists the known architectures.
func Archs() []string {
	names := make([]string, 0, len(families))
	for n := range families {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { // resnet50 before resnet101
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return names
}

// Network is a checked configuration.
type Network struct {
	Config
	family family
}

// New checks a configuration and fills in its defaults. The images' shape has
// none.
func New(c Config) (*Network, error) {
	build, ok := families[c.Arch]
	if !ok {
		return nil, fmt.Errorf("unknown architecture %q%s", c.Arch, suggest.Among(c.Arch, Archs()))
	}
	if c.ImageHeight < 1 || c.ImageWidth < 1 || c.ImageChannels < 1 {
		return nil, fmt.Errorf("images of %d×%d with %d channels: each must be at least 1", c.ImageHeight, c.ImageWidth, c.ImageChannels)
	}
	if c.Width == 0 {
		c.Width = 64
	}
	if c.Width < 1 {
		return nil, fmt.Errorf("width %d: the channels of the first stage must be at least 1 (default 64)", c.Width)
	}
	if c.Stem == "" {
		c.Stem = SmallStem
		if max(c.ImageHeight, c.ImageWidth) > 64 {
			c.Stem = LargeStem
		}
	}
	if c.Stem != SmallStem && c.Stem != LargeStem {
		return nil, fmt.Errorf("unknown stem %q%s", c.Stem, suggest.Among(string(c.Stem), []string{"small", "large"}))
	}
	if c.Sub == "" {
		c.Sub = SubFC
	}
	if c.Sub != SubFC && c.Sub != SubSmall && c.Sub != SubSame {
		return nil, fmt.Errorf("unknown sub-network %q%s", c.Sub, suggest.Among(string(c.Sub), []string{"fc", "small", "same"}))
	}
	f := build(c)
	for i, e := range c.Exits {
		if e < 1 || e >= f.stages() {
			return nil, fmt.Errorf("exit after stage %d: %s has exits after stages 1 to %d", e, c.Arch, f.stages()-1)
		}
		if i > 0 && e <= c.Exits[i-1] {
			return nil, fmt.Errorf("exits %v: must be ascending, each once", c.Exits)
		}
	}
	return &Network{c, f}, nil
}

// Dim is the length of every exit's feature vector (before the heads).
func (n *Network) Dim() int { return n.family.channels(n.family.stages()) }

// ExitNames names the exits in the order of their features, the backbone last.
func (n *Network) ExitNames() []string {
	var names []string
	for _, e := range n.Exits {
		names = append(names, fmt.Sprintf("sub-network %d", e))
	}
	return append(names, "backbone")
}

// Encode adds the network to a graph: images [N×ImageHeight×ImageWidth×ImageChannels] to
// one feature vector [N×Dim] an exit, the backbone's last. In training, batch
// norm uses the batch's statistics and moves the running ones.
func (n *Network) Encode(g *graph.Graph, images *graph.Value, training bool) []*graph.Value {
	b := &builder{g: g, training: training}
	f := n.family
	var features []*graph.Value
	x := f.stem(b, images)
	for s := 1; s <= f.stages(); s++ {
		x = f.stage(b, fmt.Sprintf("encoder.layer%d", s), s, f.blocks(s), x)
		if slices.Contains(n.Exits, s) {
			features = append(features, n.exit(b, s, x))
		}
	}
	return append(features, g.GlobalAvgPool("encoder.avgpool", x))
}

// exit adds the sub-network after a stage (reference: resnet_big.py, _make_sub_layer).
func (n *Network) exit(b *builder, stage int, x *graph.Value) *graph.Value {
	f := n.family
	prefix := fmt.Sprintf("encoder.selfcon_layer.%d", stage-1)
	if n.Sub == SubFC {
		return b.linear(prefix, b.g.GlobalAvgPool(prefix+".avgpool", x), n.Dim())
	}
	for s := stage + 1; s <= f.stages(); s++ {
		blocks := f.blocks(s)
		if n.Sub == SubSmall {
			blocks = max(1, blocks/2)
		}
		x = f.stage(b, fmt.Sprintf("%s.%d", prefix, s-stage-1), s, blocks, x)
	}
	return b.g.GlobalAvgPool(prefix+".avgpool", x)
}

// Project adds a projection head to each exit's features: Linear – ReLU –
// Linear to dim, then L2 normalisation.
func (n *Network) Project(g *graph.Graph, features []*graph.Value, dim int) []*graph.Value {
	b := &builder{g: g}
	out := make([]*graph.Value, len(features))
	for i, f := range features {
		prefix := n.headName("head", "sub_heads", i)
		h := g.ReLU(prefix+".1", b.linear(prefix+".0", f, n.Dim()))
		out[i] = g.L2Normalize(prefix+".normalize", b.linear(prefix+".2", h, dim))
	}
	return out
}

// ProjectLinear adds a projection of one linear layer to each exit's features,
// then L2 normalisation (one-stage training; reference: CEResNet). The
// backbone's layer stays as it starts.
func (n *Network) ProjectLinear(g *graph.Graph, features []*graph.Value, dim int) []*graph.Value {
	b := &builder{g: g}
	out := make([]*graph.Value, len(features))
	for i, f := range features {
		b.frozen = i == len(features)-1
		name := n.headName("f_fc", "feat_fc", i)
		out[i] = g.L2Normalize(name+".normalize", b.linear(name, f, dim))
	}
	return out
}

// Classify adds a linear classifier to each exit's features and returns the
// logits [N×classes] (one-stage training; reference: CEResNet).
func (n *Network) Classify(g *graph.Graph, features []*graph.Value, classes int) []*graph.Value {
	b := &builder{g: g}
	out := make([]*graph.Value, len(features))
	for i, f := range features {
		out[i] = b.linear(n.headName("l_fc", "logit_fc", i), f, classes)
	}
	return out
}

func (n *Network) headName(main, sub string, i int) string {
	if i == len(n.Exits) {
		return main
	}
	return fmt.Sprintf("%s.%d", sub, i)
}

// builder adds layers with their variables; families share it.
type builder struct {
	g        *graph.Graph
	training bool
	frozen   bool // linear layers are not trained
}

func channels(x *graph.Value) int {
	if len(x.Shape) == 0 {
		return 0 // an earlier error; the graph has recorded it
	}
	return x.Shape[len(x.Shape)-1]
}

// conv adds a convolution without bias, padded by half its kernel, started as
// Kaiming normal by fan-out (reference: nn.init.kaiming_normal_, mode='fan_out').
func (b *builder) conv(name string, x *graph.Value, out, kernel, stride int) *graph.Value {
	fanOut := float64(out * kernel * kernel)
	w := b.g.Variable(graph.Variable{
		Name: name + ".weight", Trainable: true,
		Type: graph.Type{Shape: graph.Shape{out, channels(x), kernel, kernel}},
		Init: graph.Init{Kind: graph.Normal, Scale: math.Sqrt(2 / fanOut)},
	})
	return b.g.Conv2D(name, x, w, graph.Conv2D{Stride: stride, Pad: kernel / 2, Groups: 1})
}

// norm adds a batch-norm layer with PyTorch's defaults.
func (b *builder) norm(name string, x *graph.Value) *graph.Value {
	vec := func(suffix string, role graph.Role, kind graph.InitKind) *graph.Value {
		return b.g.Variable(graph.Variable{
			Name: name + suffix, Role: role, Trainable: role == graph.Parameter,
			Type: graph.Type{Shape: graph.Shape{channels(x)}},
			Init: graph.Init{Kind: kind},
		})
	}
	return b.g.BatchNorm2D(name, x, graph.BatchNormVars{
		Weight: vec(".weight", graph.Parameter, graph.Constant1),
		Bias:   vec(".bias", graph.Parameter, graph.Zeros),
		Mean:   vec(".running_mean", graph.Statistic, graph.Zeros),
		Var:    vec(".running_var", graph.Statistic, graph.Constant1),
	}, 1e-5, 0.1, b.training)
}

// linear adds a linear layer started as torch.nn.Linear: weight and bias
// uniform in ±1/√in.
func (b *builder) linear(name string, x *graph.Value, out int) *graph.Value {
	in := channels(x)
	init := graph.Init{Kind: graph.Uniform, Scale: 1 / math.Sqrt(float64(in))}
	w := b.g.Variable(graph.Variable{Name: name + ".weight", Trainable: !b.frozen, Init: init, Type: graph.Type{Shape: graph.Shape{out, in}}})
	bias := b.g.Variable(graph.Variable{Name: name + ".bias", Trainable: !b.frozen, Init: init, Type: graph.Type{Shape: graph.Shape{out}}})
	return b.g.Linear(name, x, w, bias)
}
