// Package config holds a run's configuration as plain data, its defaults and
// its checks. It is saved with the run, so that probe and predict see what
// train saw.
package config

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"selfcon/internal/suggest"
	"selfcon/loss"
	"selfcon/model"
)

// Run is the whole configuration of a training run.
type Run struct {
	Data       string       `json:"data"`                 // format or format:path, see data.Formats
	ClassOrder string       `json:"class_order"`          // of names that become labels, see data.Options; empty: lexicographic
	ClassList  []string     `json:"class_list,omitempty"` // the only classes to read, in label order; nil: all
	Cache      string       `json:"cache"`                // a folder for packed copies of the data; empty: none
	CacheSide  int          `json:"cache_side"`           // shorter side that images are shrunk to in the copy; 0: their own
	Image      int          `json:"image"`                // images are squares of this many pixels; 0: the longer side of the data's first, at most 64
	Method     string       `json:"method"`               // see loss.Methods
	Alpha      *float64     `json:"alpha"`                // the starred variant's weight, above 0; nil, which is not the same as 0: the plain method
	Model      model.Config `json:"model"`

	Temperature     float64 `json:"temperature"`
	BaseTemperature float64 `json:"base_temperature"`
	ProjectionDim   int     `json:"projection_dim"`

	Epochs       int       `json:"epochs"`      // 0: as many as make MinSteps steps, at least MinEpochs
	Batch        int       `json:"batch"`       // images a step
	MicroBatch   int       `json:"micro_batch"` // images that go through the network at a time, a divisor of Batch; 0: all. The contrast is that of the whole batch
	Rate         float64   `json:"lr"`
	RateScaling  string    `json:"lr_scaling"`             // none: lr is that of the run; linear: lr is that of ScalingBatch images and grows with the batch
	Optimizer    string    `json:"optimizer"`              // sgd, lars or adamw
	Momentum     float64   `json:"momentum"`               // of sgd and lars; adamw's beta1
	Nesterov     bool      `json:"nesterov"`               // of sgd
	Beta2        float64   `json:"beta2"`                  // of adamw
	Trust        float64   `json:"trust"`                  // of lars
	WeightDecay  float64   `json:"weight_decay"`           //
	NoDecay      string    `json:"no_decay"`               // what weight decay (and lars' adaptation) leaves out: none, or vectors, which are biases and batch norm's scale and shift
	Average      float64   `json:"average"`                // each step keeps this share of the moving average of the weights, which is what the run is judged by; 0: no average
	Schedule     string    `json:"schedule"`               // cosine, step or constant
	Milestones   []int     `json:"milestones"`             // step: the rate falls to a tenth after each of these epochs
	WarmupEpochs int       `json:"warmup_epochs"`          // linear warm-up from 0.01 (or from lr, if that is smaller; of adamw from lr/50) over this many epochs; -1: 10 for batches from 1024, as the reference, otherwise a tenth of all
	Augment      string    `json:"augment"`                // strong, weak or none
	CropMin      float64   `json:"crop_min"`               // the smallest share of the image that a random crop keeps
	Flip         bool      `json:"flip"`                   // mirror at random
	RandAugment  []int     `json:"rand_augment,omitempty"` // operations and magnitude, such as 2, 9; nil: none; these five come on top of Augment strong or weak
	AutoAugment  string    `json:"auto_augment"`           // a policy, see augment.AutoPolicies; empty: none
	Blur         float64   `json:"blur"`                   // probability of a Gaussian blur
	Solarize     float64   `json:"solarize"`               // probability that pixels above half are inverted
	Erase        float64   `json:"erase"`                  // probability that a rectangle is erased
	ValFraction  float64   `json:"val_fraction"`           // of the training set, held out where the data has no validation split
	Fraction     float64   `json:"fraction"`               // of the training images that are used, class by class, after validation images are held out; 0: all
	PerClass     int       `json:"per_class"`              // training images of a class that are used; 0: all
	Sampling     string    `json:"sampling"`               // an epoch's images: shuffle (each once; also if empty), balanced or weighted, see data.LoaderConfig
	ClassImages  int       `json:"class_images"`           // balanced: images of a class in a batch; 0: as few as the classes allow, at least 2
	Mean         []float64 `json:"mean"`                   // per channel in [0,1]; nil: known for the data, or measured
	Std          []float64 `json:"std"`
	Seed         uint64    `json:"seed"`
	Threads      int       `json:"threads"` // of the engine; 0: one a core
	Memory       string    `json:"memory"`  // least: recompute instead of keeping; empty: as is quickest
	Workers      int       `json:"workers"` // that load and augment images; 0: one a core
}

// Samplings are the values of Run.Sampling.
var Samplings = []string{"shuffle", "balanced", "weighted"}

// ScalingBatch is the batch that a rate to be scaled linearly is meant for.
const ScalingBatch = 256

// DefaultRate is a learning rate to begin with for an optimizer.
func DefaultRate(optimizer string) float64 {
	switch optimizer {
	case "adamw":
		return 0.001
	case "lars":
		return 0.3
	}
	return 0.1
}

// How many epochs are made of Epochs 0. Contrast needs steps, whatever the size
// of the data: with some hundreds of images the loss leaves that of uniform
// features only after some hundreds of steps (docs/log.md).
const (
	MinSteps  = 5000
	MinEpochs = 20
)

// Default is a configuration for images of the user's own on a CPU: the
// paper's method and augmentation, with steps small and many enough to learn
// from some thousands of images, and a warm-up, without which small networks
// can stay at the loss of uniform features (see docs/log.md).
func Default() Run {
	return Run{
		Method: "selfcon-s", Model: model.Config{Arch: "resnet18", Sub: model.SubFC, Width: 64},
		Temperature: 0.1, BaseTemperature: 0.07, ProjectionDim: 128,
		Batch: 64, Rate: DefaultRate("sgd"), RateScaling: "none", Optimizer: "sgd", Momentum: 0.9, Beta2: 0.999, Trust: 0.001,
		WeightDecay: 1e-4, NoDecay: "none", Schedule: "cosine", WarmupEpochs: -1,
		ClassOrder: "lexicographic", Sampling: "shuffle", Fraction: 1, Augment: "strong", CropMin: 0.2, Flip: true, ValFraction: 0.1, Seed: 1,
	}
}

// The values of settings that have few.
var (
	Schedules    = []string{"cosine", "step", "constant"}
	Optimizers   = []string{"sgd", "lars", "adamw"}
	RateScalings = []string{"none", "linear"}
	NoDecays     = []string{"none", "vectors"}
)

// Error is a setting that can't be used.
type Error struct {
	Setting string // the flag's name without its dashes, or "model" for the network's
	Reason  string
}

func (e *Error) Error() string { return e.Setting + ": " + e.Reason }

func bad(setting, format string, args ...any) error {
	return &Error{setting, fmt.Sprintf(format, args...)}
}

// LossMethod is the method with its alpha.
func (c Run) LossMethod() (loss.Method, error) {
	m, err := loss.Parse(c.Method)
	if err != nil {
		return m, bad("method", "%v", err)
	}
	if c.Alpha != nil {
		if m, err = m.WithAlpha(*c.Alpha); err != nil {
			return m, bad("alpha", "%v", err)
		}
	}
	return m, nil
}

// Validate checks every setting that can be checked without the data; the
// error is an *Error.
func (c Run) Validate() error {
	if c.Data == "" {
		return bad("data", "is missing: say what to train on, such as --data imagefolder:PATH")
	}
	m, err := c.LossMethod()
	if err != nil {
		return err
	}
	if err := model.CheckArch(c.Model.Arch); err != nil {
		return bad("arch", "%v", err)
	}
	if m.NeedsExits() && len(c.Model.Exits) == 0 {
		return bad("exits", "%s trains sub-networks with the backbone and needs at least one exit, such as --exits 2", c.Method)
	}
	if !m.NeedsExits() && len(c.Model.Exits) > 0 {
		return bad("exits", "%s trains the backbone alone; leave the exits out (methods with exits: selfcon-s, selfcon-m, selfcon, kd, …)", c.Method)
	}
	for _, x := range []struct {
		name     string
		v        float64
		low      float64
		openLow  bool
		high     float64
		openHigh bool
	}{
		{"lr", c.Rate, 0, true, math.Inf(1), true},
		{"momentum", c.Momentum, 0, false, 1, true},
		{"beta2", c.Beta2, 0, false, 1, true},
		{"trust", c.Trust, 0, true, math.Inf(1), true},
		{"weight-decay", c.WeightDecay, 0, false, math.Inf(1), true},
		{"average", c.Average, 0, false, 1, true},
		{"temperature", c.Temperature, 0, true, math.Inf(1), true},
		{"base-temperature", c.BaseTemperature, 0, true, math.Inf(1), true},
		{"crop-min", c.CropMin, 0, true, 1, false},
		{"val-fraction", c.ValFraction, 0, false, 1, true},
		{"fraction", c.Fraction, 0, false, 1, false},
		{"blur", c.Blur, 0, false, 1, false}, {"solarize", c.Solarize, 0, false, 1, false}, {"erase", c.Erase, 0, false, 1, false},
	} {
		if math.IsNaN(x.v) || x.v < x.low || x.openLow && x.v == x.low || x.v > x.high || x.openHigh && x.v == x.high {
			return bad(x.name, "%g is out of range: must be %s", x.v, interval(x.low, x.openLow, x.high, x.openHigh))
		}
	}
	// The upper bounds are far from what is of use: they catch a slip of the
	// keyboard before it asks for all memory.
	for _, x := range []struct {
		name         string
		v, low, high int
	}{
		{"epochs", c.Epochs, 0, math.MaxInt32}, {"batch", c.Batch, 2, math.MaxInt32}, {"cache-side", c.CacheSide, 0, 65536}, {"per-class", c.PerClass, 0, math.MaxInt32}, {"class-images", c.ClassImages, 0, math.MaxInt32}, {"image", c.Image, 0, 4096},
		{"micro-batch", c.MicroBatch, 0, math.MaxInt32}, {"projection-dim", c.ProjectionDim, 1, 65536}, {"warmup-epochs", c.WarmupEpochs, -1, math.MaxInt32},
		{"threads", c.Threads, 0, 1024}, {"workers", c.Workers, 0, 4096}, {"width", c.Model.Width, 1, 4096},
	} {
		switch {
		case x.v < x.low:
			return bad(x.name, "%d is out of range: must be at least %d", x.v, x.low)
		case x.v > x.high:
			return bad(x.name, "%d is out of range: must be at most %d", x.v, x.high)
		}
	}
	for _, x := range []struct {
		name, v string
		known   []string
	}{
		{"schedule", c.Schedule, Schedules},
		{"optimizer", c.Optimizer, Optimizers},
		{"lr-scaling", c.RateScaling, RateScalings},
		{"no-decay", c.NoDecay, NoDecays},
		{"augment", c.Augment, []string{"strong", "weak", "none"}},
		{"sampling", cmp.Or(c.Sampling, "shuffle"), Samplings},
	} {
		ok := false
		for _, k := range x.known {
			ok = ok || k == x.v
		}
		if !ok {
			return bad(x.name, "unknown value %q%s", x.v, suggest.Among(x.v, x.known))
		}
	}
	if c.MicroBatch > 0 && c.Batch%c.MicroBatch != 0 {
		return bad("micro-batch", "%d images at a time do not make up a batch of %d: the batch must be a multiple", c.MicroBatch, c.Batch)
	}
	if c.Nesterov && (c.Optimizer != "sgd" || c.Momentum == 0) {
		return bad("nesterov", "is a kind of SGD's momentum: needs --optimizer sgd and a momentum above 0, not %s and %g", c.Optimizer, c.Momentum)
	}
	if c.RandAugment != nil && len(c.RandAugment) != 2 {
		return bad("rand-augment", "%v: must be the number of operations and their magnitude, such as 2,9", c.RandAugment)
	}
	if c.Augment == "none" && (c.RandAugment != nil || c.AutoAugment != "" || c.Blur+c.Solarize+c.Erase > 0) {
		return bad("augment", "none, and yet more is asked for: take weak or strong for rand-augment, auto-augment, blur, solarize or erase")
	}
	if c.Fraction != 0 && c.Fraction != 1 && c.PerClass > 0 {
		return bad("per-class", "%d, and a fraction of %g: choose one", c.PerClass, c.Fraction)
	}
	if c.ClassImages > 0 && (c.Sampling != "balanced" || c.ClassImages < 2 || c.Batch%c.ClassImages != 0) {
		return bad("class-images", "%d: is for --sampling balanced, must be at least 2 and divide the batch of %d", c.ClassImages, c.Batch)
	}
	if c.CacheSide > 0 && c.Cache == "" {
		return bad("cache-side", "%d: there is no cache to shrink images in; give --cache FOLDER as well", c.CacheSide)
	}
	if c.Memory != "" && c.Memory != "least" {
		return bad("memory", "unknown value %q%s; leave it out to recompute norms only", c.Memory, suggest.Among(c.Memory, []string{"least"}))
	}
	if c.Schedule != "step" && len(c.Milestones) > 0 {
		return bad("milestones", "%v: a %s schedule has none; give --schedule step as well", c.Milestones, c.Schedule)
	}
	if c.Schedule == "step" && len(c.Milestones) == 0 {
		return bad("milestones", "is missing: a step schedule needs the epochs after which the rate falls, such as --milestones 60,80")
	}
	for i, e := range c.Milestones {
		if e < 1 || i > 0 && e <= c.Milestones[i-1] {
			return bad("milestones", "%v: must be ascending epochs from 1", c.Milestones)
		}
	}
	// The network's own checks; the images' shape is not known yet.
	n := c.Model
	n.ImageHeight, n.ImageWidth, n.ImageChannels = 32, 32, 3
	if _, err := model.New(n); err != nil {
		return bad("model", "%v", err)
	}
	return nil
}

func interval(low float64, openLow bool, high float64, openHigh bool) string {
	var parts []string
	if openLow {
		parts = append(parts, fmt.Sprintf("greater than %g", low))
	} else {
		parts = append(parts, fmt.Sprintf("at least %g", low))
	}
	if !math.IsInf(high, 1) {
		if openHigh {
			parts = append(parts, fmt.Sprintf("less than %g", high))
		} else {
			parts = append(parts, fmt.Sprintf("at most %g", high))
		}
	}
	return strings.Join(parts, " and ")
}
