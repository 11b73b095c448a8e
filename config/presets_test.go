package config

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"selfcon/data"
	"selfcon/loss"
	"selfcon/model"
)

// Every preset can be run: its names are known, its configuration passes the
// checks with the images of its data, and it comes back from JSON as it was.
func TestPresets(t *testing.T) {
	formats := map[string]bool{}
	for _, f := range data.Formats() {
		formats[f.Name] = true
	}
	seen := map[string]bool{}
	for _, p := range Presets() {
		c := p.Run
		if seen[p.Name] {
			t.Errorf("%s: twice", p.Name)
		}
		seen[p.Name] = true
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		facts, known := data.FactsOf(c.Data)
		if !formats[c.Data] || !known {
			t.Errorf("%s: data %q is no known set with a format", p.Name, c.Data)
		}
		if c.Image != 0 && c.Image != facts.Height {
			t.Errorf("%s: images of %d pixels, but %s has %d", p.Name, c.Image, c.Data, facts.Height)
		}
		if err := model.CheckArch(c.Model.Arch); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if _, err := loss.Parse(c.Method); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		n := c.Model
		n.ImageHeight, n.ImageWidth, n.ImageChannels = facts.Height, facts.Width, facts.Channels
		if _, err := model.New(n); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if !strings.HasSuffix(p.Name, "-"+c.Method) {
			t.Errorf("%s trains by %s", p.Name, c.Method)
		}
		if strings.HasPrefix(p.Name, "small-") == (p.Probe.Epochs > 0) {
			t.Errorf("%s: probe %+v", p.Name, p.Probe)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Run
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s: %+v came back as %+v (%v)", p.Name, c, back, err)
		}
		if got, err := FindPreset(p.Name); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s is found as %+v (%v)", p.Name, got, err)
		}
	}
	for _, s := range settings { // a name mistyped there would mark nothing
		for _, rest := range s.published {
			if p, err := FindPreset(s.name + "-" + rest); err != nil || !p.Published {
				t.Errorf("%s-%s: %v", s.name, rest, err)
			}
		}
	}
}

// What the reference's scripts say, written out a second time.
func TestPublishedPresets(t *testing.T) {
	for _, x := range []struct {
		name           string
		batch, epochs  int
		rate           float64
		exits          []int
		sub            model.SubNetwork
		augment        string
		probeEpochs    int
		probeRate      float64
		probeMilestone int
	}{
		{"cifar100-resnet18-selfcon-s", 1024, 1000, 0.5, []int{2}, "fc", "strong", 100, 3, 60},
		{"cifar100-resnet18-supcon", 1024, 1000, 0.5, nil, "fc", "strong", 100, 3, 60},
		{"cifar100-resnet18-ce", 1024, 500, 0.8, nil, "fc", "weak", 100, 3, 60},
		{"imagenet-resnet34-selfcon-s", 2048, 800, 0.25, []int{2}, "same", "strong", 40, 5, 20},
	} {
		p, err := FindPreset(x.name)
		if err != nil || !p.Published {
			t.Fatalf("%s: published %v, %v", x.name, p.Published, err)
		}
		c := p.Run
		if c.Batch != x.batch || c.Epochs != x.epochs || c.Rate != x.rate || !reflect.DeepEqual(c.Model.Exits, x.exits) || c.Model.Sub != x.sub || c.Augment != x.augment || c.Model.Width != 64 {
			t.Errorf("%s: %+v", x.name, c)
		}
		if c.Optimizer != "sgd" || c.Momentum != 0.9 || c.Nesterov || c.WeightDecay != 1e-4 || c.NoDecay != "none" || c.RateScaling != "none" || c.Schedule != "cosine" || c.WarmupEpochs != 10 ||
			c.Temperature != 0.1 || c.BaseTemperature != 0.07 || c.ProjectionDim != 128 || c.CropMin != 0.2 || !c.Flip || c.Average != 0 || c.MicroBatch != 0 {
			t.Errorf("%s: %+v", x.name, c)
		}
		if p.Probe.Epochs != x.probeEpochs || p.Probe.Rate != x.probeRate || p.Probe.Batch != 512 || p.Probe.Milestones[0] != x.probeMilestone {
			t.Errorf("%s: probe %+v", x.name, p.Probe)
		}
	}
}

// The figures of README and docs/log.md are those of this configuration.
func TestQuickstart(t *testing.T) {
	want := Default()
	want.Data, want.Method = "sample", "selfcon-s"
	want.Optimizer, want.Rate, want.WeightDecay = "adamw", 0.005, 0.01
	want.Model = model.Config{Arch: "resnet18", Width: 8, Exits: []int{2}, Sub: model.SubSmall}
	want.Augment, want.CropMin = "weak", 0.5
	want.Epochs, want.WarmupEpochs, want.ValFraction = 20, 2, 0.05
	if got := Quickstart(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestUnknownPreset(t *testing.T) {
	for name, want := range map[string]string{
		"cifar100-resnet18-selfcons":     `did you mean "cifar100-resnet18-selfcon-s"?`,
		"imagenet-resnet34-sefcon-s":     `did you mean "imagenet-resnet34-selfcon-s"?`,
		"small-sampel-selfcon-s":         `did you mean "small-sample-selfcon-s"?`,
		"imagenet-resnet50-ce":           "selfcon presets lists all",
		"something else, quite other":    `unknown name "something else, quite other"; the names are DATA-NETWORK-METHOD`,
		"tinyimagenet-resnet50-simclr-s": `did you mean "tinyimagenet-resnet50-simclr"?`,
	} {
		_, err := FindPreset(name)
		var e *Error
		if !errors.As(err, &e) || e.Setting != "preset" || !strings.Contains(e.Reason, want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
