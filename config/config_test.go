package config

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func valid() Run {
	c := Default()
	c.Data, c.Model.Exits = "sample", []int{2}
	return c
}

func TestDefaultsAreValid(t *testing.T) {
	for name, c := range map[string]Run{"default": valid(), "quickstart": Quickstart()} {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Validate names the setting by its flag and says what would be right.
func TestValidate(t *testing.T) {
	alpha := func(a float64) func(*Run) { return func(c *Run) { c.Alpha = &a } }
	for _, x := range []struct {
		setting string
		change  func(*Run)
		want    string
	}{
		{"data", func(c *Run) { c.Data = "" }, "is missing"},
		{"method", func(c *Run) { c.Method = "supkon" }, `did you mean "supcon"?`},
		{"alpha", alpha(0), "must be positive"},
		{"sub_weight", func(c *Run) { c.SubWeight = new(float64); *c.SubWeight = 1 }, "selfcon-s has no weight of the sub-networks' cross-entropy"},
		{"distill_weight", func(c *Run) { c.Method, c.DistillWeight = "selfcon", new(float64); *c.DistillWeight = 1 }, "selfcon has no weight of the distillation"},
		{"distill_temperature", func(c *Run) { c.Method, c.DistillTemperature = "kd", new(float64); *c.DistillTemperature = -1 }, "greater than 0"},
		{"contrast_weight", func(c *Run) { c.Method, c.ContrastWeight = "kd", new(float64); *c.ContrastWeight = 1 }, "kd has no weight of the contrast"},
		{"eval_resize", func(c *Run) { c.Image, c.EvalResize = 224, 223 }, "must not be below 224"},
		{"alpha", alpha(math.NaN()), "must be positive"},
		{"alpha", func(c *Run) { c.Method, c.Model.Exits = "supcon", nil; alpha(1)(c) }, "supcon has none"},
		{"exits", func(c *Run) { c.Model.Exits = nil }, "at least one exit"},
		{"exits", func(c *Run) { c.Method = "simclr" }, "backbone alone"},
		{"exits", func(c *Run) { c.Model.Exits = []int{4} }, "stages 1 to 3"},
		{"stem", func(c *Run) { c.Model.Stem = "big" }, "known: small, large"},
		{"sub", func(c *Run) { c.Model.Sub = "all" }, "known: fc, small, same"},
		{"lr", func(c *Run) { c.Rate = 0 }, "greater than 0"},
		{"lr", func(c *Run) { c.Rate = math.NaN() }, "NaN"},
		{"lr", func(c *Run) { c.Rate = math.Inf(1) }, "+Inf"},
		{"momentum", func(c *Run) { c.Momentum = 1 }, "at least 0 and less than 1"},
		{"momentum", func(c *Run) { c.Momentum = -0.1 }, "at least 0 and less than 1"},
		{"weight_decay", func(c *Run) { c.WeightDecay = -1 }, "at least 0"},
		{"temperature", func(c *Run) { c.Temperature = 0 }, "greater than 0"},
		{"base_temperature", func(c *Run) { c.BaseTemperature = 0 }, "greater than 0"},
		{"crop_min", func(c *Run) { c.CropMin = 0 }, "greater than 0 and at most 1"},
		{"crop_min", func(c *Run) { c.CropMin = 1.1 }, "greater than 0 and at most 1"},
		{"val_fraction", func(c *Run) { c.ValFraction = 1 }, "at least 0 and less than 1"},
		{"epochs", func(c *Run) { c.Epochs = -1 }, "at least 0"},
		{"batch", func(c *Run) { c.Batch = 1 }, "at least 2"},
		{"image", func(c *Run) { c.Image = -1 }, "at least 0"},
		{"projection_dim", func(c *Run) { c.ProjectionDim = 0 }, "at least 1"},
		{"warmup_epochs", func(c *Run) { c.WarmupEpochs = -2 }, "at least -1"},
		{"threads", func(c *Run) { c.Threads = -1 }, "at least 0"},
		{"workers", func(c *Run) { c.Workers = -1 }, "at least 0"},
		{"width", func(c *Run) { c.Model.Width = 0 }, "at least 1"},
		{"image", func(c *Run) { c.Image = 4097 }, "at most 4096"},
		{"projection_dim", func(c *Run) { c.ProjectionDim = 1 << 40 }, "at most 65536"},
		{"width", func(c *Run) { c.Model.Width = 1 << 40 }, "at most 4096"},
		{"schedule", func(c *Run) { c.Schedule = "cosin" }, `did you mean "cosine"?`},
		{"mixup", func(c *Run) { c.Mixup = 0.2 }, "selfcon-s contrasts images and has no classifier to train: take --method ce, subnet_ce or kd"},
		{"cutmix", func(c *Run) { c.Method, c.CutMix = "selfcon", 1 }, "selfcon contrasts images of one label as well"},
		{"label_smoothing", func(c *Run) { c.LabelSmoothing = 0.1 }, "smooths labels"},
		{"label_smoothing", func(c *Run) { c.Method, c.LabelSmoothing = "kd", 1 }, "less than 1"},
		{"mixup", func(c *Run) { c.Method, c.Mixup = "kd", math.NaN() }, "NaN"},
		{"cutmix", func(c *Run) { c.Method, c.CutMix = "kd", -1 }, "at least 0"},
		{"augment", func(c *Run) { c.Augment = "" }, "known: strong, weak, none"},
		{"arch", func(c *Run) { c.Model.Arch = "vgg" }, "known: efficientnet, resnet18"},
		{"arch", func(c *Run) { c.Model.Arch, c.Model.Exits = "resnet81", nil }, `did you mean "resnet18"?`},
		{"schedule", func(c *Run) { c.Schedule = "constnat" }, `did you mean "constant"?`},
		{"milestones", func(c *Run) { c.Schedule, c.Milestones = "constant", []int{3} }, "a constant schedule has none"},
		{"optimizer", func(c *Run) { c.Optimizer = "adam" }, `did you mean "adamw"?`},
		{"micro_batch", func(c *Run) { c.Batch, c.MicroBatch = 64, 24 }, "must be a multiple"},
		{"micro_batch", func(c *Run) { c.MicroBatch = -1 }, "at least 0"},
		{"nesterov", func(c *Run) { c.Nesterov, c.Momentum = true, 0 }, "above 0"},
		{"nesterov", func(c *Run) { c.Nesterov, c.Optimizer = true, "lars" }, "--optimizer sgd"},
		{"beta2", func(c *Run) { c.Beta2 = 1 }, "less than 1"},
		{"trust", func(c *Run) { c.Trust = 0 }, "greater than 0"},
		{"no_decay", func(c *Run) { c.NoDecay = "vector" }, `did you mean "vectors"?`},
		{"lr_scaling", func(c *Run) { c.RateScaling = "square" }, "known: none, linear"},
		{"average", func(c *Run) { c.Average = 1 }, "less than 1"},
		{"memory", func(c *Run) { c.Memory = "leest" }, `did you mean "least"?`},
		{"milestones", func(c *Run) { c.Schedule = "step" }, "is missing"},
		{"milestones", func(c *Run) { c.Milestones = []int{60} }, "--schedule step"},
		{"milestones", func(c *Run) { c.Schedule, c.Milestones = "step", []int{60, 60} }, "ascending"},
		{"milestones", func(c *Run) { c.Schedule, c.Milestones = "step", []int{0, 60} }, "at least 1"},
	} {
		c := valid()
		x.change(&c)
		var got *Error
		err := c.Validate()
		if !errors.As(err, &got) || got.Setting != x.setting || !strings.Contains(got.Reason, x.want) {
			t.Errorf("%v, want an error of %q with %q", err, x.setting, x.want)
		}
	}
	for name, change := range map[string]func(*Run){
		"the ends of the ranges": func(c *Run) {
			c.Momentum, c.WeightDecay, c.ValFraction, c.CropMin, c.WarmupEpochs, c.Batch = 0, 0, 0, 1, -1, 2
		},
		"a step schedule":  func(c *Run) { c.Schedule, c.Milestones = "step", []int{60, 80} },
		"least memory":     func(c *Run) { c.Memory = "least" },
		"a starred method": alpha(0.5),
		"cross-entropy":    func(c *Run) { c.Method, c.Model.Exits = "ce", nil },
	} {
		c := valid()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The configuration is saved with the run: it must come back as it was.
func TestJSON(t *testing.T) {
	a := 0.4
	c := valid()
	c.Alpha, c.Milestones, c.Schedule, c.Mean, c.Std = &a, []int{3, 7}, "step", []float64{0.5}, []float64{0.25}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var got Run
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("%+v came back as %+v", c, got)
	}
}
