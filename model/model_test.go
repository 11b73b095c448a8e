package model

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"selfcon/engine"
	"selfcon/graph"
)

// image is the shape of the inputs in these tests; the variables don't depend on it.
func image(c Config) Config {
	c.ImageHeight, c.ImageWidth, c.ImageChannels = 32, 32, 3
	return c
}

// build gives the features of a network and all its variables, in the order in
// which they are declared; heads, if set, adds to the features.
func build(t *testing.T, c Config, heads func(n *Network, g *graph.Graph, features []*graph.Value) []*graph.Value) (*Network, []*graph.Value, []*graph.Variable) {
	t.Helper()
	n, err := New(image(c))
	if err != nil {
		t.Fatal(err)
	}
	g := graph.New()
	out := n.Encode(g, g.Input("images", graph.Float, 2, 32, 32, 3), false)
	if heads != nil {
		out = heads(n, g, out)
	}
	for i, f := range out {
		g.Output(fmt.Sprint(i), f)
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return n, out, p.Variables
}

// count adds up the elements of the variables of a role.
func count(vars []*graph.Variable, role graph.Role) int {
	n := 0
	for _, v := range vars {
		if v.Role == role {
			n += v.Shape.Size()
		}
	}
	return n
}

func shapes(vars []*graph.Variable) map[string]string {
	m := map[string]string{}
	for _, v := range vars {
		m[v.Name] = v.Shape.String()
	}
	return m
}

// The counts with the large stem are those of torchvision's networks without
// their fc layer; the small stem has 64·3·(7²−3²) weights less.
func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		arch                          string
		parameters, convolutions, dim int
	}{
		{"resnet18", 11_176_512, 20, 512},
		{"resnet34", 21_284_672, 36, 512},
		{"resnet50", 23_508_032, 53, 2048},
		{"resnet101", 42_500_160, 104, 2048},
	} {
		for stem, less := range map[Stem]int{LargeStem: 0, SmallStem: 64 * 3 * (49 - 9)} {
			n, features, vars := build(t, Config{Arch: c.arch, Stem: stem}, nil)
			if got := count(vars, graph.Parameter); got != c.parameters-less {
				t.Errorf("%s, %s stem: %d parameters, want %d", c.arch, stem, got, c.parameters-less)
			}
			convolutions := 0
			for _, v := range vars {
				if len(v.Shape) == 4 {
					convolutions++
				}
				if v.Trainable != (v.Role == graph.Parameter) {
					t.Errorf("%s: trainable is %v", v.Name, v.Trainable)
				}
			}
			if convolutions != c.convolutions {
				t.Errorf("%s: %d convolutions, want %d", c.arch, convolutions, c.convolutions)
			}
			if n.Dim() != c.dim || len(features) != 1 || !features[0].Shape.Equal(graph.Shape{2, c.dim}) {
				t.Errorf("%s: dimension %d, features %v, want %d", c.arch, n.Dim(), features[0].Shape, c.dim)
			}
		}
	}
}

// Names and shapes are the reference's (resnet_big.py).
func TestParameterNames(t *testing.T) {
	_, _, vars := build(t, Config{Arch: "resnet18"}, nil)
	got := shapes(vars)
	for name, want := range map[string]string{
		"encoder.conv1.weight":               "[64×3×3×3]",
		"encoder.bn1.weight":                 "[64]",
		"encoder.bn1.running_mean":           "[64]",
		"encoder.bn1.running_var":            "[64]",
		"encoder.layer1.0.conv1.weight":      "[64×64×3×3]",
		"encoder.layer2.0.conv1.weight":      "[128×64×3×3]",
		"encoder.layer2.0.shortcut.0.weight": "[128×64×1×1]",
		"encoder.layer2.0.shortcut.1.bias":   "[128]",
		"encoder.layer4.1.bn2.bias":          "[512]",
	} {
		if got[name] != want {
			t.Errorf("resnet18: %s is %q, want %s", name, got[name], want)
		}
	}
	if _, ok := got["encoder.layer1.0.shortcut.0.weight"]; ok {
		t.Error("resnet18: the first stage changes nothing and must have no shortcut")
	}
	_, _, vars = build(t, Config{Arch: "resnet50", Stem: LargeStem}, nil)
	got = shapes(vars)
	for name, want := range map[string]string{
		"encoder.conv1.weight":               "[64×3×7×7]",
		"encoder.layer1.0.conv1.weight":      "[64×64×1×1]",
		"encoder.layer1.0.conv2.weight":      "[64×64×3×3]",
		"encoder.layer1.0.conv3.weight":      "[256×64×1×1]",
		"encoder.layer1.0.shortcut.0.weight": "[256×64×1×1]", // to four times the channels
		"encoder.layer3.5.bn3.weight":        "[1024]",
		"encoder.layer4.2.conv1.weight":      "[512×2048×1×1]",
	} {
		if got[name] != want {
			t.Errorf("resnet50: %s is %q, want %s", name, got[name], want)
		}
	}
}

// A sub-network repeats the stages behind its exit: as many blocks, or half of
// them rounded down, or none but a linear layer.
func TestSubNetworks(t *testing.T) {
	block := regexp.MustCompile(`^encoder\.selfcon_layer\.(\d+)\.(\d+)\.(\d+)\.conv1\.weight$`)
	for _, c := range []struct {
		arch string
		sub  SubNetwork
		exit int
		want []int // blocks of the stages behind the exit
	}{
		{"resnet18", SubSmall, 1, []int{1, 1, 1}},
		{"resnet18", SubSame, 2, []int{2, 2}},
		{"resnet34", SubSmall, 1, []int{2, 3, 1}},
		{"resnet34", SubSame, 1, []int{4, 6, 3}},
		{"resnet50", SubSmall, 2, []int{3, 1}},
		{"resnet101", SubSmall, 2, []int{11, 1}},
		{"resnet101", SubSame, 3, []int{3}},
		{"resnet101", SubFC, 1, nil},
	} {
		n, features, vars := build(t, Config{Arch: c.arch, Sub: c.sub, Exits: []int{c.exit}}, nil)
		var got []int
		for _, v := range vars {
			if m := block.FindStringSubmatch(v.Name); m != nil {
				if m[1] != fmt.Sprint(c.exit-1) {
					t.Errorf("%s: %s belongs to another exit than %d", c.arch, v.Name, c.exit)
				}
				stage := int(m[2][0] - '0')
				for len(got) <= stage {
					got = append(got, 0)
				}
				got[stage]++
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s, %s after stage %d: blocks %v, want %v", c.arch, c.sub, c.exit, got, c.want)
		}
		for _, f := range features {
			if !f.Shape.Equal(graph.Shape{2, n.Dim()}) {
				t.Errorf("%s, %s: features %v, want %d", c.arch, c.sub, f.Shape, n.Dim())
			}
		}
	}
}

// Exits share nothing but the backbone: each adds its own variables, and those
// of the backbone are the same with and without them.
func TestExits(t *testing.T) {
	_, _, alone := build(t, Config{Arch: "resnet18"}, nil)
	n, features, vars := build(t, Config{Arch: "resnet18", Exits: []int{1, 2, 3}}, nil)
	if want := []string{"sub-network 1", "sub-network 2", "sub-network 3", "backbone"}; !slices.Equal(n.ExitNames(), want) || len(features) != 4 {
		t.Errorf("exits %v with %d features, want %v", n.ExitNames(), len(features), want)
	}
	got := shapes(vars)
	for name, shape := range shapes(alone) {
		if got[name] != shape {
			t.Errorf("%s is %q with exits, %s without", name, got[name], shape)
		}
	}
	extra := 0
	for i, channels := range []int{64, 128, 256} {
		prefix := fmt.Sprintf("encoder.selfcon_layer.%d.", i)
		if w := got[prefix+"weight"]; w != fmt.Sprintf("[512×%d]", channels) || got[prefix+"bias"] != "[512]" {
			t.Errorf("exit %d: weight %q", i+1, w)
		}
		extra += 512*channels + 512
	}
	if n := count(vars, graph.Parameter) - count(alone, graph.Parameter); n != extra {
		t.Errorf("three fc exits add %d parameters, want %d", n, extra)
	}
}

func TestHeads(t *testing.T) {
	c := Config{Arch: "resnet18", Width: 4, Exits: []int{2}}
	_, out, vars := build(t, c, func(n *Network, g *graph.Graph, f []*graph.Value) []*graph.Value { return n.Project(g, f, 7) })
	got := shapes(vars)
	for name, want := range map[string]string{
		"head.0.weight": "[32×32]", "head.0.bias": "[32]", "head.2.weight": "[7×32]", "head.2.bias": "[7]",
		"sub_heads.0.0.weight": "[32×32]", "sub_heads.0.2.weight": "[7×32]",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
	_, logits, vars := build(t, c, func(n *Network, g *graph.Graph, f []*graph.Value) []*graph.Value { return n.Classify(g, f, 7) })
	got = shapes(vars)
	for name, want := range map[string]string{"l_fc.weight": "[7×32]", "logit_fc.0.weight": "[7×32]", "logit_fc.0.bias": "[7]"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
	for _, v := range append(out, logits...) {
		if !v.Shape.Equal(graph.Shape{2, 7}) {
			t.Errorf("%s gives %v, want [2×7]", v.Node.Name, v.Shape)
		}
	}
}

// Convolutions start as Kaiming normal by fan-out, linear layers as PyTorch's,
// batch norm as the identity.
func TestInitialValues(t *testing.T) {
	_, _, vars := build(t, Config{Arch: "resnet50", Exits: []int{2}}, func(n *Network, g *graph.Graph, f []*graph.Value) []*graph.Value {
		return n.Project(g, f, 128)
	})
	for _, v := range vars {
		x := engine.InitialValue(v, 1).Float64s()
		mean, squares, largest := 0.0, 0.0, 0.0
		for _, e := range x {
			mean += e / float64(len(x))
			squares += e * e / float64(len(x))
			largest = max(largest, math.Abs(e))
		}
		dev := math.Sqrt(squares - mean*mean)
		var wantMean, want float64
		switch {
		case len(v.Shape) == 4:
			want = math.Sqrt(2 / float64(v.Shape[0]*v.Shape[2]*v.Shape[3]))
		case strings.Contains(v.Name, "head") || strings.HasPrefix(v.Name, "encoder.selfcon_layer"):
			in := 2048.0
			if strings.HasPrefix(v.Name, "encoder.") {
				in = 512 // behind stage 2
			}
			want = 1 / math.Sqrt(3*in) // of a uniform distribution in ±1/√in
			if largest > 1/math.Sqrt(in) {
				t.Errorf("%s: %g is outside ±1/√%g", v.Name, largest, in)
			}
		case strings.HasSuffix(v.Name, ".weight") || strings.HasSuffix(v.Name, ".running_var"):
			wantMean = 1
		}
		// Of n draws the mean's deviation is want/√n, the deviation's at most
		// want/√(2n): five of those.
		n := float64(len(x))
		if math.Abs(mean-wantMean) > 5*want/math.Sqrt(n) || math.Abs(dev-want) > 5*want/math.Sqrt(2*n) {
			t.Errorf("%s %v: mean %g and deviation %g, want %g and %g", v.Name, v.Shape, mean, dev, wantMean, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		height, width int
		want          Stem
	}{{64, 64, SmallStem}, {32, 65, LargeStem}, {224, 224, LargeStem}} {
		n, err := New(Config{Arch: "resnet18", ImageHeight: c.height, ImageWidth: c.width, ImageChannels: 1})
		if err != nil {
			t.Fatal(err)
		}
		if n.Stem != c.want || n.Sub != SubFC || n.Width != 64 {
			t.Errorf("%d×%d: stem %s, sub-network %s, width %d; want %s, fc, 64", c.height, c.width, n.Stem, n.Sub, n.Width, c.want)
		}
	}
	if got, want := Archs(), []string{"resnet18", "resnet34", "resnet50", "resnet101"}; !slices.Equal(got, want) {
		t.Errorf("architectures %v, want %v", got, want)
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Arch: "resnet81"}, `did you mean "resnet18"?`},
		{Config{Arch: "resnet18", Width: -1}, "width -1"},
		{Config{Arch: "resnet18", Stem: "big"}, "known: small, large"},
		{Config{Arch: "resnet18", Sub: "smal"}, `did you mean "small"?`},
		{Config{Arch: "resnet18", Exits: []int{0}}, "exits after stages 1 to 3"},
		{Config{Arch: "resnet18", Exits: []int{4}}, "exits after stages 1 to 3"},
		{Config{Arch: "resnet18", Exits: []int{2, 2}}, "ascending"},
		{Config{Arch: "resnet18", Exits: []int{3, 1}}, "ascending"},
	} {
		if _, err := New(image(c.config)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
	}
	if _, err := New(Config{Arch: "resnet18", ImageHeight: 32, ImageWidth: 32}); err == nil || !strings.Contains(err.Error(), "0 channels") {
		t.Errorf("images without channels: %v", err)
	}
}
