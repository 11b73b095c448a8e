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

func ptr(p float64) *float64 { return &p }

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
	for want, exits := range map[string][]int{"no sub-networks": nil, "sub-network fc after stage 2": {2}, "sub-networks fc after stages 1, 2 and 3": {1, 2, 3}} {
		if got := (Config{Exits: exits, Sub: SubFC}).SubNetworks(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
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
	_, logits, vars := build(t, c, func(n *Network, g *graph.Graph, f []*graph.Value) []*graph.Value { return n.Classify(g, f, 7, false) })
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
	if got, want := Archs(), []string{"efficientnet", "resnet18", "resnet34", "resnet50", "resnet101", "vgg13", "vgg16", "vgg13_bn", "vgg16_bn", "wrn_16_8"}; !slices.Equal(got, want) {
		t.Errorf("architectures %v, want %v", got, want)
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Arch: "resnet81"}, `did you mean "resnet18"?`},
		{Config{Arch: "vvg16_bn"}, `did you mean "vgg16_bn"?`},
		{Config{Arch: "wrn-16-8"}, `did you mean "wrn_16_8"?`},
		{Config{Arch: "WRN-28-10"}, `did you mean "wrn_28_10"?`},
		{Config{Arch: "wide"}, "wrn_D_K with D = 6n+4"},
		{Config{Arch: "wrn_17_8"}, "must be 6n+4"},
		{Config{Arch: "wrn_4_8"}, "must be 6n+4"},
		{Config{Arch: "wrn_16_0"}, "factor at least 1"},
		{Config{Arch: "resnet18", Dropout: ptr(0.1)}, "resnet18 has none"},
		{Config{Arch: "vgg16", DropConnect: ptr(0.1)}, "vgg16 has none"},
		{Config{Arch: "wrn_16_8", Dropout: ptr(1.0)}, "less than 1"},
		{Config{Arch: "wrn_16_8", Dropout: ptr(math.NaN())}, "at least 0"},
		{Config{Arch: "wrn_16_8", Exits: []int{3}}, "exits after stages 1 to 2"},
		{Config{Arch: "vgg13", Exits: []int{5}}, "exits after stages 1 to 4"},
		{Config{Arch: "efficientnet", Exits: []int{2}}, "efficientnet has one exit, after stage 1"},
		{Config{Arch: "resnet18", Width: -1}, "width -1"},
		{Config{Arch: "resnet18", Stem: "big"}, "known: small, large"},
		{Config{Arch: "resnet18", Sub: "larger"}, `did you mean "large"?`},
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

// The counts are those of the reference's encoders: none but the backbone, and
// one exit after each stage in turn. Those of large VGGs, which the reference
// does not build, are sums by hand: 6 or 4 convolutions a stage.
func TestReferenceCounts(t *testing.T) {
	for _, c := range []struct {
		arch     string
		backbone int
		exits    map[SubNetwork][]int
	}{
		{"vgg13", 9_404_992, map[SubNetwork][]int{
			SubFC: {9_438_272, 9_471_040, 9_536_576, 9_667_648}, SubSmall: {13_313_984, 13_240_128, 12_944_960, 11_764_800},
			SubSame: {18_771_264, 18_549_824, 17_664_576, 14_124_608}}},
		{"vgg13_bn", 9_410_880, map[SubNetwork][]int{
			SubFC: {9_444_160, 9_476_928, 9_542_464, 9_673_536}, SubSmall: {13_322_688, 13_248_576, 12_952_896, 11_771_712},
			SubSame: {18_782_784, 18_560_832, 17_674_560, 14_132_544}}},
		{"vgg16", 14_714_688, map[SubNetwork][]int{
			SubFC: {14_747_968, 14_780_736, 14_846_272, 14_977_344}, SubSmall: {18_623_680, 18_549_824, 18_254_656, 17_074_496},
			SubSame: {29_538_240, 29_169_216, 27_693_888, 21_794_112}, SubLarge: {0, 0, 0, 14_714_688 + 6*(512*512*9+512)}}},
		{"vgg16_bn", 14_723_136, map[SubNetwork][]int{
			SubFC: {14_756_416, 14_789_184, 14_854_720, 14_985_792}, SubSmall: {18_634_944, 18_560_832, 18_265_152, 17_083_968},
			SubSame: {29_555_136, 29_185_344, 27_708_480, 21_805_632}}},
		{"wrn_16_8", 10_960_736, map[SubNetwork][]int{
			SubFC: {11_026_784, 11_092_320}, SubSmall: {15_552_864, 14_633_824},
			SubSame: {21_455_712, 19_355_488}, SubLarge: {33_261_408, 28_798_816}}},
		{"efficientnet", 3_760_252, map[SubNetwork][]int{SubFC: {4_064_892}}},
		{"wrn_28_10", 36_482_880, nil},
		{"wrn_40_2", 2_245_184, nil},
		{"wrn_40_8", 35_754_848, map[SubNetwork][]int{SubSmall: {52_152_672}}},
	} {
		_, _, vars := build(t, Config{Arch: c.arch}, nil)
		if got := count(vars, graph.Parameter); got != c.backbone {
			t.Errorf("%s: %d parameters, want %d", c.arch, got, c.backbone)
		}
		for sub, counts := range c.exits {
			for i, want := range counts {
				_, features, vars := build(t, Config{Arch: c.arch, Sub: sub, Exits: []int{i + 1}}, nil)
				if got := count(vars, graph.Parameter); want > 0 && got != want {
					t.Errorf("%s, %s after stage %d: %d parameters, want %d", c.arch, sub, i+1, got, want)
				}
				for _, f := range features {
					if !f.Shape.Equal(graph.Shape{2, 512}) {
						t.Errorf("%s, %s after stage %d: features %v, want 512", c.arch, sub, i+1, f.Shape)
					}
				}
			}
		}
	}
}

// Every family has every combination of exits, sub-network and stem, at any
// width, and no two exits share a variable.
func TestEveryCombination(t *testing.T) {
	for _, arch := range append(Archs(), "wrn_10_1") {
		for _, sub := range SubNetworks() {
			c := Config{Arch: arch, Sub: SubNetwork(sub), Width: 4}
			n, _, alone := build(t, c, nil)
			own := map[string]int{} // variables of an exit by itself
			for subset := range 1 << n.Positions() {
				c.Exits = nil
				for e := range n.Positions() {
					if subset>>e&1 == 1 {
						c.Exits = append(c.Exits, e+1)
					}
				}
				_, features, vars := build(t, c, nil)
				if len(features) != len(c.Exits)+1 {
					t.Fatalf("%s, exits %v: %d features", arch, c.Exits, len(features))
				}
				want := len(alone)
				if len(c.Exits) == 1 {
					own[fmt.Sprint(c.Exits[0])] = len(vars) - len(alone)
				}
				for _, e := range c.Exits {
					want += own[fmt.Sprint(e)]
				}
				if len(vars) != want || len(c.Exits) > 0 && want == len(alone) {
					t.Errorf("%s, %s, exits %v: %d variables, want %d", arch, sub, c.Exits, len(vars), want)
				}
			}
		}
		for _, stem := range Stems() {
			for _, size := range []int{64, 224} {
				for channels := 1; channels <= 3; channels += 2 {
					n, err := New(Config{Arch: arch, Stem: Stem(stem), Width: 4, ImageHeight: size, ImageWidth: size, ImageChannels: channels})
					if err != nil {
						t.Fatal(err)
					}
					g := graph.New()
					f := n.Encode(g, g.Input("images", graph.Float, 2, size, size, channels), true)
					if g.Err() != nil || !f[0].Shape.Equal(graph.Shape{2, n.Dim()}) {
						t.Errorf("%s, %s stem, %d channels of %d pixels: features %v, error %v", arch, stem, channels, size, f[0].Shape, g.Err())
					}
				}
			}
		}
	}
}

// EfficientNet's names, and channels at other widths: multiples of 8.
func TestEfficientNet(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   map[string]string
	}{
		{Config{Exits: []int{1}}, map[string]string{
			"encoder.block_layers.0.0._depthwise_conv.weight": "[32×1×3×3]", // which no expansion comes before
			"encoder.block_layers.1.0._se_reduce.weight":      "[4×96×1×1]",
			"encoder.block_layers.2.0._depthwise_conv.weight": "[144×1×5×5]",
			"encoder._conv_head.weight":                       "[512×320×1×1]",
			"encoder.selfcon_layer.0.0.weight":                "[512×80×1×1]",
			"encoder.selfcon_layer.1.weight":                  "[512×512]",
		}},
		{Config{Exits: []int{1}, Sub: SubSmall}, map[string]string{
			"encoder.selfcon_layer.0.0.0._expand_conv.weight": "[480×80×1×1]",
			"encoder.selfcon_layer.0.1.1._expand_conv.weight": "[1152×192×1×1]",
			"encoder.selfcon_layer.0.1.2._expand_conv.weight": "",
			"encoder.selfcon_layer.0.3.weight":                "[512×320×1×1]",
			"encoder.selfcon_layer.1.weight":                  "",
		}},
		{Config{Width: 40}, map[string]string{ // 5/8: 20, 10, 15, 25, … channels
			"encoder._conv_stem.weight":                     "[24×3×3×3]",
			"encoder.block_layers.0.0._project_conv.weight": "[16×24×1×1]", // 8 would be a fifth less
			"encoder.block_layers.1.0._project_conv.weight": "[16×96×1×1]",
			"encoder.block_layers.2.0._project_conv.weight": "[24×96×1×1]",
		}},
	} {
		c.config.Arch = "efficientnet"
		_, _, vars := build(t, c.config, nil)
		got := shapes(vars)
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%+v: %s is %q, want %q", c.config, name, got[name], want)
			}
		}
	}
}

// The large stem strides twice more than the small one, and sees as much of the
// image: at four times the size a stage's images have the same size.
func TestStems(t *testing.T) {
	for _, arch := range Archs() {
		if strings.HasPrefix(arch, "vgg") { // has no stem
			continue
		}
		pixels := map[Stem]graph.Shape{}
		for stem, size := range map[Stem]int{SmallStem: 32, LargeStem: 128} {
			n, err := New(Config{Arch: arch, Stem: stem, Width: 4, ImageHeight: size, ImageWidth: size, ImageChannels: 3})
			if err != nil {
				t.Fatal(err)
			}
			g := graph.New()
			pixels[stem] = n.Encode(g, g.Input("images", graph.Float, 2, size, size, 3), false)[0].Node.In[0].Shape
		}
		if !pixels[SmallStem].Equal(pixels[LargeStem]) || pixels[SmallStem][1] < 4 {
			t.Errorf("%s: %v of 32×32 images with the small stem, %v of 128×128 with the large one", arch, pixels[SmallStem], pixels[LargeStem])
		}
	}
}

// Convolutions of wide ResNets start as Xavier uniform with gain √2, an fc
// sub-network of VGG as normal of deviation 0.01.
func TestInitialValuesOfFamilies(t *testing.T) {
	for _, c := range []struct {
		config         Config
		name           string
		bound, deviate float64 // the largest possible, the standard deviation
	}{
		{Config{Arch: "wrn_16_8"}, "encoder.layer2.0.conv1.weight", math.Sqrt(12 / (9 * (128 + 256.0))), math.Sqrt(4 / (9 * (128 + 256.0)))},
		{Config{Arch: "vgg16_bn"}, "encoder.block3.3.weight", math.Inf(1), math.Sqrt(2 / (9 * 256.0))},
		{Config{Arch: "vgg16_bn"}, "encoder.block3.3.bias", 0, 0},
		{Config{Arch: "vgg16", Exits: []int{2}}, "encoder.selfcon_layer.1.0.weight", math.Inf(1), 0.01},
	} {
		_, _, vars := build(t, c.config, nil)
		found := false
		for _, v := range vars {
			if v.Name != c.name {
				continue
			}
			found = true
			squares, largest := 0.0, 0.0
			x := engine.InitialValue(v, 1).Float64s()
			for _, e := range x {
				squares += e * e / float64(len(x))
				largest = max(largest, math.Abs(e))
			}
			if dev := math.Sqrt(squares); largest > c.bound || math.Abs(dev-c.deviate) > 5*c.deviate/math.Sqrt(2*float64(len(x))) {
				t.Errorf("%s: %s: deviation %g and largest %g, want %g and at most %g", c.config.Arch, c.name, dev, largest, c.deviate, c.bound)
			}
		}
		if !found {
			t.Errorf("%s has no %s", c.config.Arch, c.name)
		}
	}
}

// Dropout is in the program in training only, at its published rate or the
// configuration's, and counts steps.
func TestDropout(t *testing.T) {
	for _, c := range []struct {
		arch             string
		dropout          *float64
		training         bool
		want, classifier int // operations
		p                float64
		connect          int // operations on whole images
	}{
		{"resnet18", nil, true, 0, 0, 0, 0},
		{"wrn_16_8", nil, true, 6, 0, 0.3, 0},
		{"wrn_16_8", nil, false, 0, 0, 0, 0},
		{"wrn_16_8", ptr(0.0), true, 0, 0, 0, 0},
		{"wrn_16_8", ptr(0.1), true, 6, 0, 0.1, 0},
		{"vgg13", nil, true, 0, 1, 0.5, 0},
		{"vgg13", nil, false, 0, 0, 0, 0},
		{"efficientnet", nil, true, 1, 0, 0.2, 9},
		{"efficientnet", ptr(0.0), true, 0, 0, 0, 9},
		{"efficientnet", nil, false, 0, 0, 0, 0},
	} {
		n, err := New(image(Config{Arch: c.arch, Dropout: c.dropout}))
		if err != nil {
			t.Fatal(err)
		}
		n.Seed = 7
		g := graph.New()
		f := n.Encode(g, g.Input("images", graph.Float, 2, 32, 32, 3), c.training)
		g.Output("features", f[0])
		g.Output("logits", n.Classify(g, f, 5, c.training)[0])
		p, err := g.Build()
		if err != nil {
			t.Fatal(err)
		}
		got, connect, rate, keys := 0, 0, 0.0, map[uint64]bool{}
		for _, node := range p.Nodes {
			if d, ok := node.Op.(graph.Dropout); ok {
				keys[d.Key] = true
				if d.Rows { // rarer the earlier
					connect++
					if d.P <= rate || d.P >= 0.2 {
						t.Errorf("%s: %s drops %g, the one before %g", c.arch, node.Name, d.P, rate)
					}
					rate = d.P
					continue
				}
				got++
				if d.P != c.p || d.Seed != 7 {
					t.Errorf("%s: %s has %+v, want rate %g and seed 7", c.arch, node.Name, d, c.p)
				}
			}
		}
		if got != c.want+c.classifier || connect != c.connect || len(keys) != got+connect {
			t.Errorf("%s, training %v: %d dropouts and %d of images with %d keys, want %d and %d", c.arch, c.training, got, connect, len(keys), c.want+c.classifier, c.connect)
		}
		counters := 0
		for _, u := range p.Updates {
			if u.Variable.Role == graph.Counter {
				counters++
			}
		}
		if want := min(1, c.want+c.connect) + min(1, c.classifier); counters != want {
			t.Errorf("%s: %d counters of steps, want %d", c.arch, counters, want)
		}
	}
}
