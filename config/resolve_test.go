package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"selfcon/loss"
	"selfcon/model"
)

// The later source wins, and each is named as where the value comes from.
func TestPrecedence(t *testing.T) {
	all := Sources{
		File: "a.yaml", Text: []byte("epochs: 3\npreset: small-sample-supcon\n"), Environ: []string{"SELFCON_EPOCHS=4", "HOME=/"},
		Pairs: []string{"epochs=44", "epochs=5"}, Flags: []Flag{{"epochs", "6"}},
	}
	preset, err := FindPreset("small-sample-supcon")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		without func(*Sources)
		epochs  int
		from    string
	}{
		{func(*Sources) {}, 6, "--epochs"},
		{func(s *Sources) { s.Flags = nil }, 5, "key=value"},
		{func(s *Sources) { s.Pairs = nil }, 4, "SELFCON_EPOCHS"},
		{func(s *Sources) { s.Environ = []string{"SELFCON_EPOCHS="} }, 3, "a.yaml:1"},
		{func(s *Sources) { s.Text = []byte("preset: small-sample-supcon") }, preset.Run.Epochs, "preset small-sample-supcon"},
		{func(s *Sources) { s.Text = nil }, Default().Epochs, ""},
	} {
		c.without(&all)
		r, err := Resolve(all)
		if err != nil || r.Run.Epochs != c.epochs || r.From["epochs"] != c.from {
			t.Errorf("%d epochs from %q, want %d from %q (%v)", r.Run.Epochs, r.From["epochs"], c.epochs, c.from, err)
		}
	}
	// Presets too: the later name wins, whatever the order of settings.
	r, err := Resolve(Sources{Text: []byte("preset: small-sample-ce"), Environ: []string{"SELFCON_PRESET=small-sample-supcon-s"}, Flags: []Flag{{"preset", "small-sample-simclr"}, {"seed", "2"}}})
	if err != nil || r.Run.Method != "simclr" || r.Run.Seed != 2 {
		t.Errorf("%+v, %v", r.Run, err)
	}
}

// What follows from a setting does, unless it is given.
func TestFollow(t *testing.T) {
	begin := &model.Config{Arch: "resnet34", Width: 8, Stem: model.SmallStem, Sub: model.SubSmall, Exits: []int{1}, ImageChannels: 3}
	for _, c := range []struct {
		pairs   string
		network *model.Config
		rate    float64
		exits   []int
		arch    string
	}{
		{"", nil, 0.005, []int{2}, "resnet18"},
		{"optimizer=sgd", nil, 0.1, []int{2}, "resnet18"},
		{"optimizer=adamw lr=0.3", nil, 0.3, []int{2}, "resnet18"},
		{"method=supcon", nil, 0.1, nil, "resnet18"},
		{"exits=1,3", nil, 0.005, []int{1, 3}, "resnet18"},
		{"", begin, 0.005, []int{1}, "resnet34"},
		{"method=ce", begin, 0.1, nil, "resnet34"},
		{"arch=resnet18", begin, 0.005, []int{2}, "resnet18"},
		{"preset=small-sample-selfcon-s", begin, 0, nil, "resnet18"},
	} {
		r, err := Resolve(Sources{Pairs: strings.Fields(c.pairs), Network: c.network})
		if err != nil {
			t.Errorf("%s: %v", c.pairs, err)
			continue
		}
		if r.Preset != nil {
			c.rate, c.exits = r.Preset.Run.Rate, r.Preset.Run.Model.Exits
		}
		if r.Run.Rate != c.rate || !slices.Equal(r.Run.Model.Exits, c.exits) || r.Run.Model.Arch != c.arch {
			t.Errorf("%s: lr %g, exits %v, %s; want %g, %v, %s", c.pairs, r.Run.Rate, r.Run.Model.Exits, r.Run.Model.Arch, c.rate, c.exits, c.arch)
		}
	}
}

// An error names where the setting was given, whatever is wrong with it.
func TestWhere(t *testing.T) {
	for want, s := range map[string]Sources{
		"a.yaml:2: epochs: is text":              {File: "a.yaml", Text: []byte("seed: 1\nepochs: x")},
		"a.yaml:1: momentum: 2 is out of range":  {File: "a.yaml", Text: []byte("momentum: 2")},
		"a.yaml:2: micro_batch: 48 images":       {File: "a.yaml", Text: []byte("batch: 64\nmicro_batch: 48")},
		"SELFCON_LR: \"fast\" is not a number":   {Environ: []string{"SELFCON_LR=fast"}},
		"SELFCON_LR: 0 is out of range":          {Environ: []string{"SELFCON_LR=0"}},
		"batch=1: 1 is out of range":             {Pairs: []string{"batch=1"}},
		"--batch: 1 is out of range":             {Flags: []Flag{{"batch", "1"}}},
		"--weight-decay: -1 is out of range":     {Flags: []Flag{{"weight-decay", "-1"}}},
		"bacth=1: unknown setting; did you mean": {Pairs: []string{"bacth=1"}},
		"batch: is no setting: write key=value":  {Pairs: []string{"batch"}},
		"SELFCON_PRESET: unknown name":           {Environ: []string{"SELFCON_PRESET=none-such"}},
		"a.yaml:1: preset: is a number":          {File: "a.yaml", Text: []byte("preset: 5")},
	} {
		_, err := Resolve(s)
		var wrong *Error
		if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// Other variables are told of, if nothing else heeds them.
	r, err := Resolve(Sources{Environ: []string{"SELFCON_EPOCH=3", "SELFCON_Epochs=3", "SELFCON_WHATEVER=3", "SELFCON_KERNELS=generic", "SELFCON_PYTHON=python3", "SELFCON_TEST_SEED=1", "SELFCONE=1"}})
	if err != nil || r.Run.Epochs != Default().Epochs || len(r.Notes) != 3 || r.Notes[2] != "the environment variable SELFCON_WHATEVER is no setting and is not heeded" || !strings.Contains(r.Notes[0], "SELFCON_EPOCH is no setting and is not heeded; did you mean SELFCON_EPOCHS?") {
		t.Errorf("%q, %v", r.Notes, err)
	}
}

// A run that goes on takes the settings of the machine and no other.
func TestOverride(t *testing.T) {
	c := Quickstart()
	whole := c
	before := fmt.Sprint(c)
	err := Override(&c, Sources{Environ: []string{"SELFCON_EPOCHS=9", "SELFCON_WORKERS=3", "SELFCON_DATA=elsewhere"}, Pairs: []string{"threads=1"}, Flags: []Flag{{"keep", "5"}}})
	if err != nil || c.Epochs != whole.Epochs || c.Threads != 1 || c.Workers != 3 || c.Keep != 5 {
		t.Errorf("%+v, %v", c, err)
	}
	c.Threads, c.Workers, c.Keep = whole.Threads, whole.Workers, whole.Keep
	if fmt.Sprint(c) != before {
		t.Errorf("%v, was %s", c, before)
	}
	if err := Override(&c, Sources{Flags: []Flag{{"data", "idx:elsewhere"}}}); err != nil || c.Data != "idx:elsewhere" {
		t.Errorf("%s, %v", c.Data, err)
	}
	if err := Override(&c, Sources{Pairs: []string{"epochs=1"}, Flags: []Flag{{"lr", "1"}}}); err == nil || !strings.Contains(err.Error(), "leave out epochs=1, --lr") {
		t.Errorf("%v", err)
	}
	if err := Override(&c, Sources{Flags: []Flag{{"keep", "0"}}}); err == nil || !strings.HasPrefix(err.Error(), "--keep: 0") {
		t.Errorf("%v", err)
	}
}

// The optimizer follows from the method, rate and decay from the optimizer,
// unless given; a preset's stay.
func TestOptimizerFollows(t *testing.T) {
	for _, x := range []struct {
		pairs       []string
		optimizer   string
		rate, decay float64
		from        []string // of optimizer, lr and weight_decay
	}{
		{nil, "adamw", 0.005, 0.01, []string{"", "", ""}},
		{[]string{"method=selfcon-mu"}, "adamw", 0.005, 0.01, []string{"", "", ""}},
		{[]string{"method=supcon"}, "sgd", 0.1, 1e-4, []string{"as usual with supcon", "as usual with sgd", "as usual with sgd"}},
		{[]string{"method=ce"}, "sgd", 0.1, 1e-4, []string{"as usual with ce", "as usual with sgd", "as usual with sgd"}},
		{[]string{"method=selfcon", "lr=0.8"}, "sgd", 0.8, 1e-4, []string{"as usual with selfcon", "key=value", "as usual with sgd"}},
		{[]string{"method=ce", "optimizer=adamw"}, "adamw", 0.005, 0.01, []string{"key=value", "", ""}},
		{[]string{"optimizer=sgd", "weight_decay=0"}, "sgd", 0.1, 0, []string{"key=value", "as usual with sgd", "key=value"}},
		{[]string{"optimizer=lars"}, "lars", 0.3, 1e-4, []string{"key=value", "as usual with lars", "as usual with lars"}},
		{[]string{"preset=cifar100-resnet18-ce", "method=supcon"}, "sgd", 0.8, 1e-4, nil},
		{[]string{"preset=cifar100-resnet18-ce", "optimizer=adamw"}, "adamw", 0.005, 0.01, nil},
	} {
		r, err := Resolve(Sources{Pairs: x.pairs})
		if err != nil {
			t.Errorf("%v: %v", x.pairs, err)
			continue
		}
		if c := r.Run; c.Optimizer != x.optimizer || c.Rate != x.rate || c.WeightDecay != x.decay {
			t.Errorf("%v: %s, rate %g, decay %g; want %s, %g, %g", x.pairs, c.Optimizer, c.Rate, c.WeightDecay, x.optimizer, x.rate, x.decay)
		}
		if from := []string{r.From["optimizer"], r.From["lr"], r.From["weight_decay"]}; x.from != nil && !slices.Equal(from, x.from) {
			t.Errorf("%v: from %q, want %q", x.pairs, from, x.from)
		}
	}
	for _, m := range loss.Methods() { // what a run is without flags is what its method's default says
		r, err := Resolve(Sources{Pairs: []string{"method=" + m.Name}})
		if err != nil {
			t.Fatal(err)
		}
		want := DefaultOf(m.Name, "")
		if m.NeedsExits() {
			want.Model.Exits = model.DefaultExits(want.Model.Arch)
		}
		for _, s := range Settings() {
			if got := s.Text(&r.Run); got != s.Text(&want) {
				t.Errorf("%s: %s is %s, want %s", m.Name, s.Key, got, s.Text(&want))
			}
		}
	}
}

// All of the paper's presets have the paper's optimizer, whatever the defaults.
func TestPaperOptimizer(t *testing.T) {
	n := 0
	for _, p := range Presets() {
		if c := p.Run; p.Probe.Epochs > 0 {
			n++
			if c.Optimizer != "sgd" || c.Momentum != 0.9 || c.WeightDecay != 1e-4 || c.Augment != "strong" && !mustParse(t, c.Method).OneStage() {
				t.Errorf("%s: %s, momentum %g, decay %g, augment %s", p.Name, c.Optimizer, c.Momentum, c.WeightDecay, c.Augment)
			}
		}
	}
	if n < 50 {
		t.Errorf("%d presets of the paper", n)
	}
}

func mustParse(t *testing.T, method string) loss.Method {
	m, err := loss.Parse(method)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
