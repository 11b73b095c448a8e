// Package model builds multi-exit networks as graphs: a family of backbones a
// file (resnet.go, vgg.go, …), the exits, sub-networks and heads written once
// here.
//
// Parameters carry the names of the paper's reference code (PyTorch), so that
// its checkpoints and ours can be exchanged.
package model

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"selfcon/graph"
	"selfcon/internal/suggest"
)

// Stem is how a network begins.
type Stem string

const (
	SmallStem Stem = "small" // 3×3 stride 1, no pooling: CIFAR, Tiny-ImageNet
	LargeStem Stem = "large" // for ImageNet: 7×7 stride 2 and max-pooling, or the family's own (docs/networks.md)
)

// Stems lists the stems.
func Stems() []string { return []string{string(SmallStem), string(LargeStem)} }

// SubNetwork is what an exit puts between a stage and its head.
type SubNetwork string

const (
	SubFC    SubNetwork = "fc"    // average pool and one linear layer to the backbone's width
	SubSmall SubNetwork = "small" // the remaining stages with half the blocks
	SubSame  SubNetwork = "same"  // the remaining stages with as many blocks
	SubLarge SubNetwork = "large" // the remaining stages with twice the blocks
)

// SubNetworks lists the sub-networks, the cheapest first.
func SubNetworks() []string {
	return []string{string(SubFC), string(SubSmall), string(SubSame), string(SubLarge)}
}

// DefaultWidth is the width of the networks as published.
const DefaultWidth = 64

// Config describes a network. The zero value of a field means its default, if
// it has one.
type Config struct {
	Arch  string     `json:"arch"`  // see Archs
	Stem  Stem       `json:"stem"`  // default: small for images of up to 64 pixels, otherwise large
	Exits []int      `json:"exits"` // stages after which a sub-network exits, from 1, ascending; none: the backbone alone
	Sub   SubNetwork `json:"sub"`   // default: fc
	Width int        `json:"width"` // channels of a ResNet's or VGG's first stage; others scale theirs by Width/DefaultWidth; default DefaultWidth

	Dropout     *float64 `json:"dropout"`      // probability of dropout, where the family has it; nil: the family's own
	DropConnect *float64 `json:"drop_connect"` // of leaving out the last residual block, earlier ones in proportion (EfficientNet); nil: the family's own

	ImageHeight   int `json:"image_height"`
	ImageWidth    int `json:"image_width"`
	ImageChannels int `json:"image_channels"`
}

// SubNetworks says in words which sub-networks there are.
func (c Config) SubNetworks() string {
	switch n := len(c.Exits); n {
	case 0:
		return "no sub-networks"
	case 1:
		return fmt.Sprintf("sub-network %s after stage %d", c.Sub, c.Exits[0])
	default:
		list := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(c.Exits[:n-1])), ", "), "[]")
		return fmt.Sprintf("sub-networks %s after stages %s and %d", c.Sub, list, c.Exits[n-1])
	}
}

// family is what one family of backbones provides: a stem, and stages that
// sub-networks can repeat. Embed common for what most have alike.
type family interface {
	stages() int // there is an exit position after each but the last
	dim() int    // of the features
	stem(b *builder, x *graph.Value) *graph.Value
	stage(b *builder, p place, x *graph.Value) *graph.Value
	// pool makes features [N×C] of the result of the last stage, or, for an fc
	// sub-network, of the stage before the exit.
	pool(b *builder, p place, x *graph.Value) *graph.Value
	// fc is the name and the first values of an fc sub-network's linear layer.
	fc(exit int) (string, initial)
	classify(b *builder, name string, x *graph.Value, classes int) *graph.Value
}

// place says where a stage is: in the backbone, or in the sub-network of an exit.
type place struct {
	stage int        // from 1
	exit  int        // the stage after which the sub-network exits; 0: the backbone
	size  SubNetwork // of the sub-network
}

// blocks is how many blocks a stage has of which the backbone has n and a small
// sub-network small.
func (p place) blocks(n, small int) int {
	switch {
	case p.exit == 0:
		return n
	case p.size == SubSmall:
		return max(1, small)
	case p.size == SubLarge:
		return 2 * n
	}
	return n
}

// layer is the name of a stage in ResNets of all kinds.
func (p place) layer() string {
	if p.exit == 0 {
		return fmt.Sprintf("encoder.layer%d", p.stage)
	}
	return fmt.Sprintf("%s.%d", subName(p.exit), p.stage-p.exit-1)
}

func subName(exit int) string { return fmt.Sprintf("encoder.selfcon_layer.%d", exit-1) }

// common is what most families have alike.
type common struct{}

func (common) pool(b *builder, p place, x *graph.Value) *graph.Value {
	if p.exit > 0 {
		return b.g.GlobalAvgPool(subName(p.exit)+".avgpool", x)
	}
	return b.g.GlobalAvgPool("encoder.avgpool", x)
}

func (common) fc(exit int) (string, initial) { return subName(exit), torchDefault }

func (common) classify(b *builder, name string, x *graph.Value, classes int) *graph.Value {
	return b.linear(name, x, classes, torchDefault)
}

// architecture is a named network of a family.
type architecture struct {
	build                func(Config) family
	exit                 int     // where to exit if nobody says: half-way
	dropout, dropConnect float64 // as published; 0: the family has none
}

// architectures are those with a fixed name; patterns find those whose name has
// numbers in it: nil if it is none of theirs, an error if it nearly is.
var (
	architectures = map[string]architecture{}
	patterns      []func(name string) (*architecture, error)
)

// Archs lists the known architectures, families together, and of those that
// take any numbers the published ones.
func Archs() []string {
	family := func(name string) string { return name[:strings.IndexAny(name+"0", "0123456789")] }
	return slices.SortedFunc(maps.Keys(architectures), func(a, b string) int {
		return cmp.Or(cmp.Compare(family(a), family(b)), cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) // resnet50 before resnet101
	})
}

// CheckArch says what is wrong with an architecture's name, if anything.
func CheckArch(name string) error {
	_, err := find(name)
	return err
}

// DefaultExits is where to exit if nobody says: half-way; none if there is no
// such architecture.
func DefaultExits(arch string) []int {
	a, err := find(arch)
	if err != nil {
		return nil
	}
	return []int{a.exit}
}

func find(name string) (architecture, error) {
	if a, ok := architectures[name]; ok {
		return a, nil
	}
	for _, p := range patterns {
		a, err := p(name)
		if err != nil {
			return architecture{}, err
		}
		if a != nil {
			return *a, nil
		}
	}
	if spelt := strings.ReplaceAll(strings.ToLower(name), "-", "_"); spelt != name && CheckArch(spelt) == nil {
		return architecture{}, fmt.Errorf("unknown architecture %q; did you mean %q?", name, spelt)
	}
	return architecture{}, fmt.Errorf("unknown architecture %q%s", name, suggest.Among(name, append(Archs(), wideNames)))
}

// EncoderPrefix is what the names of a network's variables begin with; those of
// heads and classifiers don't.
const EncoderPrefix = "encoder."

// Network is a checked configuration.
type Network struct {
	Config
	// Seed of the random numbers of dropout; whoever trains sets it.
	Seed uint64
	// Frozen is how many stages, with the stem before them, stay as they are:
	// they are not trained, and their batch norms use the running statistics and
	// leave them alone. 0: none, and the stem is trained. Sub-networks are trained
	// wherever they leave.
	Frozen int
	family family
}

// New checks a configuration and fills in its defaults. The images' shape has
// none.
func New(c Config) (*Network, error) {
	a, err := find(c.Arch)
	if err != nil {
		return nil, err
	}
	if c.ImageHeight < 1 || c.ImageWidth < 1 || c.ImageChannels < 1 {
		return nil, fmt.Errorf("images of %d×%d with %d channels: each must be at least 1", c.ImageHeight, c.ImageWidth, c.ImageChannels)
	}
	if c.Width == 0 {
		c.Width = DefaultWidth
	}
	if c.Width < 1 {
		return nil, fmt.Errorf("width %d: the channels of the first stage must be at least 1 (default %d)", c.Width, DefaultWidth)
	}
	if c.Stem == "" {
		c.Stem = SmallStem
		if max(c.ImageHeight, c.ImageWidth) > 64 {
			c.Stem = LargeStem
		}
	}
	if !slices.Contains(Stems(), string(c.Stem)) {
		return nil, fmt.Errorf("unknown stem %q%s", c.Stem, suggest.Among(string(c.Stem), Stems()))
	}
	if c.Sub == "" {
		c.Sub = SubFC
	}
	if !slices.Contains(SubNetworks(), string(c.Sub)) {
		return nil, fmt.Errorf("unknown sub-network %q%s", c.Sub, suggest.Among(string(c.Sub), SubNetworks()))
	}
	if c.Dropout, err = probability("dropout", c.Arch, c.Dropout, a.dropout); err != nil {
		return nil, err
	}
	if c.DropConnect, err = probability("drop-connect", c.Arch, c.DropConnect, a.dropConnect); err != nil {
		return nil, err
	}
	f := a.build(c)
	for i, e := range c.Exits {
		if e < 1 || e >= f.stages() {
			if f.stages() == 2 {
				return nil, fmt.Errorf("exit after stage %d: %s has one exit, after stage 1", e, c.Arch)
			}
			return nil, fmt.Errorf("exit after stage %d: %s has exits after stages 1 to %d", e, c.Arch, f.stages()-1)
		}
		if i > 0 && e <= c.Exits[i-1] {
			return nil, fmt.Errorf("exits %v: must be ascending, each once", c.Exits)
		}
	}
	return &Network{Config: c, family: f}, nil
}

// probability fills in a rate of dropout, and checks it.
func probability(what, arch string, p *float64, published float64) (*float64, error) {
	switch {
	case p == nil:
		return &published, nil
	case !(*p >= 0 && *p < 1):
		return nil, fmt.Errorf("%s %g: must be at least 0 and less than 1", what, *p)
	case *p > 0 && published == 0:
		return nil, fmt.Errorf("%s %g: %s has none; leave it out", what, *p, arch)
	}
	return p, nil
}

// Dim is the length of every exit's feature vector (before the heads).
func (n *Network) Dim() int { return n.family.dim() }

// Positions is how many exits the network can have: after stages 1 to
// Positions.
func (n *Network) Positions() int { return n.family.stages() - 1 }

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
// norm uses the batch's statistics and moves the running ones, and dropout
// drops.
func (n *Network) Encode(g *graph.Graph, images *graph.Value, training bool) []*graph.Value {
	b := &builder{g: g, training: training, seed: n.Seed, counter: "encoder.dropout_step"}
	f := n.family
	var features []*graph.Value
	freeze := func(yes bool) { b.frozen, b.training = yes, training && !yes }
	freeze(n.Frozen > 0)
	x := f.stem(b, images)
	for s := 1; s <= f.stages(); s++ {
		freeze(s <= n.Frozen)
		x = f.stage(b, place{stage: s}, x)
		freeze(false)
		if slices.Contains(n.Exits, s) {
			features = append(features, n.exit(b, s, x))
		}
	}
	return append(features, f.pool(b, place{stage: f.stages()}, x))
}

// exit adds the sub-network after a stage (reference: resnet_big.py, _make_sub_layer).
func (n *Network) exit(b *builder, stage int, x *graph.Value) *graph.Value {
	f := n.family
	p := place{stage: stage, exit: stage, size: n.Sub}
	if n.Sub == SubFC {
		name, init := f.fc(stage)
		return b.linear(name, f.pool(b, p, x), n.Dim(), init)
	}
	for p.stage < f.stages() {
		p.stage++
		x = f.stage(b, p, x)
	}
	return f.pool(b, p, x)
}

// Project adds a projection head to each exit's features: Linear – ReLU –
// Linear to dim, then L2 normalisation.
func (n *Network) Project(g *graph.Graph, features []*graph.Value, dim int) []*graph.Value {
	b := &builder{g: g}
	out := make([]*graph.Value, len(features))
	for i, f := range features {
		prefix := n.headName("head", "sub_heads", i)
		h := g.ReLU(prefix+".1", b.linear(prefix+".0", f, n.Dim(), torchDefault))
		out[i] = g.L2Normalize(prefix+".normalize", b.linear(prefix+".2", h, dim, torchDefault))
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
		out[i] = g.L2Normalize(name+".normalize", b.linear(name, f, dim, torchDefault))
	}
	return out
}

// Classify adds a classifier to each exit's features, linear in most families,
// and returns the logits [N×classes] (one-stage training; reference: CEResNet).
func (n *Network) Classify(g *graph.Graph, features []*graph.Value, classes int, training bool) []*graph.Value {
	b := &builder{g: g, training: training, seed: n.Seed, counter: "classifier.dropout_step"}
	out := make([]*graph.Value, len(features))
	for i, f := range features {
		out[i] = n.family.classify(b, n.headName("l_fc", "logit_fc", i), f, classes)
	}
	return out
}

func (n *Network) headName(main, sub string, i int) string {
	if i == len(n.Exits) {
		return main
	}
	return fmt.Sprintf("%s.%d", sub, i)
}
