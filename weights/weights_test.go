package weights

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"selfcon/checkpoint"
	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
	"selfcon/model"
	"selfcon/run"
	"selfcon/train"
)

// image is the image of testdata/make.py, [1×side×side×3]; there channels come
// first.
func image(side int) engine.Tensor {
	data := make([]float32, 3*side*side)
	for c := range 3 {
		for i := range side * side {
			data[3*i+c] = float32(math.Sin(float64(c*side*side+i) * 0.7))
		}
	}
	return engine.Float32(data, 1, side, side, 3)
}

// features are what each exit of a run's network makes of the image.
func features(t *testing.T, dir string) [][]float64 {
	t.Helper()
	m, err := run.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e := oracle.New()
	defer e.Close()
	net, err := run.LoadModel(dir, m, e)
	if err != nil {
		t.Fatal(err)
	}
	p, err := train.NewEncoder(net, 1)
	if err != nil {
		t.Fatal(err)
	}
	x, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x.Run(map[string]engine.Tensor{train.InputImages: image(net.ImageHeight)})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]float64
	for _, o := range p.Outputs {
		all = append(all, slices.Clone(out[o.Name].Float64s()))
	}
	return all
}

// imported imports a file as selfcon import does.
func imported(t *testing.T, path string, side int) (dir string, f *File, m run.Manifest) {
	t.Helper()
	f, err := Read(path, "")
	if err != nil {
		t.Fatal(err)
	}
	network, err := f.Recognise("")
	if err != nil {
		t.Fatal(err)
	}
	if m, err = run.NewManifest(nil, nil, "test"); err != nil {
		t.Fatal(err)
	}
	m.Config, _ = f.Settings(network)
	if side > 0 {
		m.Config.Image, m.Config.Model.ImageHeight, m.Config.Model.ImageWidth = side, side, side
	}
	dir = t.TempDir()
	if err := f.Import(dir, m); err != nil {
		t.Fatal(err)
	}
	return dir, f, m
}

// Files of PyTorch give the features that PyTorch computed with them.
func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("testdata/features.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][][]float64
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		side   int
		config model.Config
		naming Naming
		left   []string
	}{
		{"torchvision", 64, model.Config{Arch: "resnet18", Width: 2, Stem: model.LargeStem, Sub: model.SubFC, ImageChannels: 3}, Torchvision, []string{"fc.weight", "fc.bias"}},
		{"reference", 0, model.Config{Arch: "resnet18", Width: 2, Stem: model.SmallStem, Sub: model.SubFC, Exits: []int{2}, ImageChannels: 3}, Reference, nil},
	} {
		dir, f, m := imported(t, "testdata/"+c.name+".pth", c.side)
		n := m.Config.Model
		if n.Arch != c.config.Arch || n.Width != c.config.Width || n.Stem != c.config.Stem || n.Sub != c.config.Sub || !slices.Equal(n.Exits, c.config.Exits) || n.ImageChannels != 3 {
			t.Errorf("%s: recognised as %+v", c.name, n)
		}
		if f.Naming != c.naming || !slices.Equal(f.Left, c.left) {
			t.Errorf("%s: naming %q, left out %v", c.name, f.Naming, f.Left)
		}
		got := features(t, dir)
		if len(got) != len(want[c.name]) {
			t.Fatalf("%s: %d exits, must be %d", c.name, len(got), len(want[c.name]))
		}
		for i := range got {
			closeTo(t, c.name, got[i], want[c.name][i])
		}
	}
	// The reference's options name its data, and its heads are kept.
	_, f, m := imported(t, "testdata/reference.pth", 0)
	if m.Config.Image != 32 || !slices.Equal(m.Config.Mean, []float64{0.5071, 0.4867, 0.4408}) || m.Config.Method != "selfcon-s" || m.Config.ProjectionDim != 4 {
		t.Errorf("reference: %+v", m.Config)
	}
	heads := 0
	for _, x := range f.Tensors {
		if strings.HasPrefix(x.Name, "head.") || strings.HasPrefix(x.Name, "sub_heads.0.") {
			heads++
		}
	}
	if heads != 8 {
		t.Errorf("%d tensors of heads, must be 8", heads)
	}
	_, _, m = imported(t, "testdata/torchvision.pth", 0)
	if m.Config.Image != 224 || !slices.Equal(m.Config.Mean, []float64{0.485, 0.456, 0.406}) || m.Config.Method != "supcon" {
		t.Errorf("torchvision: %+v", m.Config)
	}
}

// closeTo: PyTorch computed in float32, through some 20 layers with sums of up to
// 144 terms; each layer may be off by some roundings of 6e-8.
func closeTo(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d features, must be %d", what, len(got), len(want))
		return
	}
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(got[i]-w) <= 1e-5*largest) {
			t.Errorf("%s: feature %d is %g, must be %g", what, i, got[i], w)
		}
	}
}

// fake has tensors of these shapes; what they hold doesn't matter.
func fake(t *testing.T, shapes map[string][]int) *File {
	t.Helper()
	var raw []checkpoint.Named
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		s := shapes[name]
		raw = append(raw, checkpoint.Named{Name: name, Tensor: engine.Tensor{Shape: s}})
	}
	f := &File{Path: "file"}
	if err := f.translate(raw, ""); err != nil {
		t.Fatal(err)
	}
	return f
}

// The names and shapes of real networks of torchvision and timm.
func TestRecogniseReal(t *testing.T) {
	in, err := os.Open("testdata/names.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]map[string][]int
	if err := json.NewDecoder(z).Decode(&names); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{
		"torchvision resnext50_32x4d": "the nearest is resnet50 of width 64, stem large, but 176 of another shape: encoder.layer1.0.conv1.weight is [128×64×1×1], must be [64×64×1×1]",
		"timm resnet50d":              "17 missing: encoder.conv1.weight",
	}
	if len(names) != 10 {
		t.Errorf("%d networks", len(names))
	}
	for name, shapes := range names {
		f := fake(t, shapes)
		c, err := f.Recognise("")
		if want, refuse := refused[name]; refuse {
			if e := new(Error); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", name, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if arch := strings.Fields(name)[1]; c.Arch != arch || c.Width != 64 || c.Stem != model.LargeStem || f.Naming != Torchvision || len(f.Left) != 2 {
			t.Errorf("%s: %+v, %s, left out %v", name, c, f.Naming, f.Left)
		}
		if _, err := f.Recognise("vgg16"); err == nil || !strings.Contains(err.Error(), "is no vgg16") {
			t.Errorf("%s as vgg16: %v", name, err)
		}
	}
}

// Every network that selfcon has is recognised by its own variables.
func TestRecogniseOwn(t *testing.T) {
	for _, c := range []model.Config{
		{Arch: "resnet18"}, {Arch: "resnet34", Exits: []int{1, 3}, Sub: "small", Width: 8}, {Arch: "resnet50", Exits: []int{2}, Sub: "same", Width: 4},
		{Arch: "resnet101", Exits: []int{3}, Sub: "large", Width: 4, Stem: "large"}, {Arch: "resnet18", ImageChannels: 1, Width: 7},
		{Arch: "vgg13"}, {Arch: "vgg13_bn", Exits: []int{3}}, {Arch: "vgg16", Exits: []int{1, 4}, Sub: "same", Width: 8}, {Arch: "vgg16_bn", Exits: []int{2}, Sub: "small", Width: 8},
		{Arch: "wrn_16_8", Exits: []int{1}}, {Arch: "wrn_28_10", Width: 8, Exits: []int{2}, Sub: "same"}, {Arch: "wrn_10_1", Stem: "large"},
		{Arch: "efficientnet"}, {Arch: "efficientnet", Exits: []int{1}}, {Arch: "efficientnet", Exits: []int{1}, Sub: "same", Width: 32},
	} {
		if c.Stem == "" {
			c.Stem = model.SmallStem
		}
		if c.ImageChannels == 0 {
			c.ImageChannels = 3
		}
		if c.Width == 0 {
			c.Width = model.DefaultWidth
		}
		if c.Sub == "" {
			c.Sub = model.SubFC
		}
		built := c
		built.ImageHeight, built.ImageWidth = anySide, anySide
		vars, err := Variables(built)
		if err != nil {
			t.Fatal(err)
		}
		shapes := map[string][]int{"head.0.weight": {3, 3}}
		for _, v := range vars {
			shapes["module."+v.Name] = v.Shape
		}
		got, err := fake(t, shapes).Recognise("")
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if Describe(got) != Describe(c) || got.ImageChannels != c.ImageChannels {
			t.Errorf("%+v is recognised as %+v", c, got)
		}
	}
}

func TestTranslate(t *testing.T) {
	one := []int{2, 3, 3, 3}
	for name, c := range map[string]struct {
		in         []string
		out, left  []string
		prefix     string
		wantErr    string
		wantNaming Naming
	}{
		"both":       {in: []string{"encoder.module.layer1.0.conv1.weight", "module.head.0.weight"}, out: []string{"encoder.layer1.0.conv1.weight", "head.0.weight"}, wantNaming: Reference},
		"compiled":   {in: []string{"_orig_mod.module.layer1.0.conv1.weight"}, out: []string{"encoder.layer1.0.conv1.weight"}, wantNaming: Reference},
		"backbone":   {in: []string{"backbone.layer1.0.conv1.weight", "backbone.layer2.0.downsample.0.weight", "classifier.weight"}, out: []string{"encoder.layer1.0.conv1.weight", "encoder.layer2.0.shortcut.0.weight"}, left: []string{"classifier.weight"}, wantNaming: Torchvision},
		"momentum":   {in: []string{"encoder_q.layer1.0.conv1.weight", "encoder_k.layer1.0.conv1.weight", "queue"}, wantErr: "--prefix which: encoder_k., encoder_q."},
		"no such":    {in: []string{"encoder_q.layer1.0.conv1.weight"}, prefix: "encoder_k", wantErr: "no name in it begins with encoder_k.; the first are encoder_q.layer1"},
		"no dot":     {in: []string{"encoder_q.layer1.0.conv1.weight", "encoder_k.layer1.0.conv1.weight"}, prefix: "encoder_q", out: []string{"encoder.layer1.0.conv1.weight"}, left: []string{"encoder_k.layer1.0.conv1.weight"}, wantNaming: Reference},
		"chosen":     {in: []string{"encoder_q.layer1.0.conv1.weight", "encoder_q.fc.0.weight", "encoder_k.layer1.0.conv1.weight"}, prefix: "encoder_q.", out: []string{"encoder.layer1.0.conv1.weight"}, left: []string{"encoder_q.fc.0.weight", "encoder_k.layer1.0.conv1.weight"}, wantNaming: Reference},
		"counters":   {in: []string{"layer1.0.conv1.weight", "bn1.num_batches_tracked"}, out: []string{"encoder.layer1.0.conv1.weight"}, wantNaming: Reference},
		"unknown":    {in: []string{"model.embed.weight"}, wantErr: "holds no network that is known"},
		"twice":      {in: []string{"layer1.0.conv1.weight", "module.layer1.0.conv1.weight"}, wantErr: "two tensors"},
		"two twice":  {in: []string{"layer1.0.conv1.weight", "layer1.0.downsample.0.weight", "layer1.0.shortcut.0.weight"}, wantErr: "two tensors"},
		"reference2": {in: []string{"encoder.layer1.0.conv1.weight", "encoder.layer2.0.downsample.0.weight"}, out: []string{"encoder.layer1.0.conv1.weight", "encoder.layer2.0.shortcut.0.weight"}, wantNaming: Reference},
	} {
		f := &File{Path: "file"}
		var raw []checkpoint.Named
		for _, n := range c.in {
			raw = append(raw, checkpoint.Named{Name: n, Tensor: engine.Tensor{Shape: one}})
		}
		err := f.translate(raw, c.prefix)
		if c.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%s: %v does not say %q", name, err, c.wantErr)
			}
			continue
		}
		if err != nil || !slices.Equal(nameList(f.Tensors), c.out) && len(c.out) > 0 || !slices.Equal(f.Left, c.left) || f.Naming != c.wantNaming {
			t.Errorf("%s: %v, left %v, %q, %v", name, nameList(f.Tensors), f.Left, f.Naming, err)
		}
	}
}

func TestLoadInitial(t *testing.T) {
	f, err := Read("testdata/reference.pth", "")
	if err != nil {
		t.Fatal(err)
	}
	vars := func(e engine.Engine, c model.Config) []*graph.Variable {
		c.ImageHeight, c.ImageWidth, c.ImageChannels = 32, 32, 3
		net, err := model.New(c)
		if err != nil {
			t.Fatal(err)
		}
		p, err := train.NewEncoder(net, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Compile(p); err != nil {
			t.Fatal(err)
		}
		return p.Variables
	}
	// Without its exit, with another stem.
	e := oracle.New()
	v := vars(e, model.Config{Arch: "resnet18", Width: 2, Stem: model.LargeStem})
	in, err := LoadInitial(e, v, f)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Copied) != len(v)-1 || len(in.Misfits) != 1 || !strings.HasPrefix(in.Misfits[0], "encoder.conv1.weight is [2×3×3×3], must be [2×3×7×7]") || len(in.Missing) != 0 {
		t.Errorf("copied %d of %d, misfits %v, missing %v", len(in.Copied), len(v), in.Misfits, in.Missing)
	}
	if !slices.Contains(in.Unused, "encoder.selfcon_layer.1.weight") || !slices.Contains(in.Unused, "head.0.weight") {
		t.Errorf("unused: %v", in.Unused)
	}
	for _, x := range f.Tensors {
		if x.Name == "encoder.layer4.1.bn2.running_var" {
			got, err := e.Read(x.Name)
			if err != nil || !slices.Equal(got.Float32s(), x.Float32s()) {
				t.Errorf("%v, %v", got, err)
			}
		}
	}
	if text := strings.Join(in.Lines(), "\n"); !strings.Contains(text, "begin anew, the file's are of another shape: encoder.conv1.weight") {
		t.Error(text)
	}
	v = vars(e, model.Config{Arch: "vgg13", Width: 2})
	if _, err := LoadInitial(e, v, f); err == nil || !strings.Contains(err.Error(), "it is resnet18 of width 2") {
		t.Errorf("another network: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "x.safetensors")
	if err := os.WriteFile(text, []byte("hello, this is text"), 0o644); err != nil {
		t.Fatal(err)
	}
	pth := filepath.Join(dir, "x.pth")
	if err := os.WriteFile(pth, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{text: "not a valid safetensors file", pth: "is not a file of torch.save", "../checkpoint/torchfile/testdata/module.pth": "torch.nn.modules"} {
		_, err := Read(path, "")
		if e := new(Error); !errors.As(err, &e) || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Read(filepath.Join(dir, "none"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Read(dir, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no run: %v", err)
	}
}
