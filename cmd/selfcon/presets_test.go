package main

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"selfcon/config"
	"selfcon/run"
)

func TestPresets(t *testing.T) {
	list, _, code := call(t.Context(), "presets")
	lines := strings.Split(strings.TrimSpace(list), "\n")
	if code != exitDone || len(lines) != 1+len(config.Presets()) {
		t.Fatalf("presets: exit code %d, %d lines for %d presets", code, len(lines), len(config.Presets()))
	}
	for i, p := range config.Presets() {
		if f := strings.Fields(lines[1+i]); f[0] != p.Name || strings.Contains(lines[1+i], " 0 MB") {
			t.Errorf("%q is to describe %s", lines[1+i], p.Name)
		}
	}
	// What is printed is the whole configuration: read strictly, it comes back.
	for _, p := range config.Presets() {
		p.Run, _ = p.Run.Plain()
		text, _, code := call(t.Context(), "presets", p.Name)
		back, err := config.Parse("p.yaml", []byte(text))
		if code != exitDone || err != nil || !reflect.DeepEqual(back, p.Run) {
			t.Errorf("presets %s: exit code %d, %v, %+v", p.Name, code, err, back)
		}
	}
	// Whose settings they are: the four that the scripts of the paper's code have are said to be theirs.
	for name, want := range map[string]string{
		"cifar100-resnet18-selfcon-s": "the scripts of the paper's code", "cifar100-resnet18-supcon": "the scripts of the paper's code",
		"cifar100-resnet18-ce": "the scripts of the paper's code", "imagenet-resnet34-selfcon-s": "the scripts of the paper's code",
		"cifar100-resnet18-selfcon-m": "carried over by us", "imagenet-resnet50-selfcon-s": "carried over by us", "small-sample-ce": "all ours",
	} {
		if _, stderr, _ := call(t.Context(), "presets", name); !strings.Contains(stderr, "source: ") || !strings.Contains(stderr, want) {
			t.Errorf("presets %s: %q lacks %q", name, stderr, want)
		}
	}
	_, stderr, _ := call(t.Context(), "presets", "imagenet100-resnet18-selfcon-s")
	for _, want := range []string{"--data imagenet:ILSVRC2012 --classes FILE", "selfcon probe --epochs 40 --batch 512 --lr 5 --milestones 20,30 --standardize=false RUN"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q lacks %q", stderr, want)
		}
	}
}

// The memory of a preset's step has the state of its own optimizer: none but
// momentum, or the two moments of AdamW, each as large as the parameters; and a
// moving average where one is kept. What a step's values take is the planner's.
func TestPresetMemory(t *testing.T) {
	p, err := config.FindPreset("cifar100-resnet18-selfcon-s")
	if err != nil {
		t.Fatal(err)
	}
	variables := func(optimizer string, average float64) (bytes float64) {
		c := p.Run
		c.Optimizer, c.Average = optimizer, average
		known := map[string]presetMemory{}
		whole, micro, err := memoryOf(c, known)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range known {
			bytes = m.variables
		}
		if len(known) != 1 || whole <= bytes || micro <= bytes {
			t.Errorf("%s, average %g: %.0f bytes, by micro-batches %.0f, of which variables %.0f", optimizer, average, whole, micro, bytes)
		}
		return bytes
	}
	const parameters = 4 * 11e6 // ResNet-18 has 11 million; exit and heads have some more
	sgd := variables("sgd", 0)
	for _, x := range []struct {
		optimizer string
		average   float64
	}{{"adamw", 0}, {"sgd", 0.99}} {
		if more := variables(x.optimizer, x.average) - sgd; more < parameters || more > 1.5*parameters {
			t.Errorf("%s, average %g: %.0f bytes more than SGD, want about %.0f", x.optimizer, x.average, more, parameters)
		}
	}
}

// Flags replace a preset's settings, even where they give the program's default,
// and what follows from a setting follows from the one given.
func TestApplyPreset(t *testing.T) {
	const name = "cifar100-resnet18-selfcon-s"
	for _, x := range []struct {
		args   string
		change func(*config.Run)
	}{
		{"", func(*config.Run) {}},
		{"--data cifar100:x --micro-batch 64", func(c *config.Run) { c.Data, c.MicroBatch = "cifar100:x", 64 }},
		{"--batch 64 --lr 0.1 --warmup-epochs -1", func(c *config.Run) { c.Batch, c.Rate, c.WarmupEpochs = 64, 0.1, -1 }},
		{"--method supcon", func(c *config.Run) { c.Method, c.Model.Exits = "supcon", nil }},
		{"--arch vgg16_bn", func(c *config.Run) { c.Model.Arch, c.Model.Exits = "vgg16_bn", []int{3} }},
		{"--arch vgg16_bn --exits 1,2", func(c *config.Run) { c.Model.Arch, c.Model.Exits = "vgg16_bn", []int{1, 2} }},
		{"--optimizer adamw", func(c *config.Run) { c.Optimizer, c.Rate, c.WeightDecay = "adamw", 0.005, 0.01 }},
		{"--optimizer lars --lr 2", func(c *config.Run) { c.Optimizer, c.Rate = "lars", 2 }},
		{"--alpha 0.25 --flip=false --rand-augment 2,9", func(c *config.Run) {
			a := 0.25
			c.Alpha, c.Flip, c.RandAugment = &a, false, []int{2, 9}
		}},
	} {
		p, err := config.FindPreset(name)
		if err != nil {
			t.Fatal(err)
		}
		want := p.Run
		x.change(&want)
		want, _ = want.Plain()
		cmd := &cobra.Command{}
		var settings trainSettings
		settings.declare(cmd)
		if err := cmd.ParseFlags(append(strings.Fields(x.args), "--preset", name)); err != nil {
			t.Fatal(err)
		}
		got, err := settings.resolve(cmd, nil, nil)
		if want.Data == "cifar100:x" {
			want.Data = absolute(want.Data)
		}
		if err != nil || !reflect.DeepEqual(got.Run, want) {
			t.Errorf("%s: %+v, want %+v (%v)", x.args, got.Run, want, err)
		}
	}
}

// A run by a preset is saved with the preset's settings and the flags on top.
func TestTrainPreset(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	_, stderr, code := call(t.Context(), "train", "--per-class", "8", "--preset", "small-sample-ce", "--epochs", "1", "--batch", "16", "--width", "1", "--out", out)
	if code != exitDone {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	m, err := run.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if c := m.Config; c.Method != "ce" || c.Augment != "weak" || c.CropMin != 0.5 || c.PerClass != 8 || c.Epochs != 1 || c.Batch != 16 || c.Model.Width != 1 {
		t.Errorf("%+v", c)
	}
}
