// Package config holds a run's configuration as plain data, its defaults and
// its checks. It is saved with the run, so that probe and predict see what
// train saw.
package config

import (
	"cmp"
	"fmt"
	"time"

	"selfcon/augment"
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

	// Of methods of one stage, see loss.Classifiers; nil: the method's own.
	SubWeight          *float64 `json:"sub_weight,omitempty"`          // α
	DistillWeight      *float64 `json:"distill_weight,omitempty"`      // β
	DistillTemperature *float64 `json:"distill_temperature,omitempty"` // T
	ContrastWeight     *float64 `json:"contrast_weight,omitempty"`     // γ

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
	HeadRate     float64   `json:"head_lr"`                // of what is not the encoder: classifiers or projection heads; 0: lr's
	Freeze       int       `json:"freeze"`                 // stages that are not trained, and the stem with them; 0: none
	Augment      string    `json:"augment"`                // strong, weak or none
	CropMin      float64   `json:"crop_min"`               // the smallest share of the image that a random crop keeps
	Flip         bool      `json:"flip"`                   // mirror at random
	RandAugment  []int     `json:"rand_augment,omitempty"` // operations and magnitude, such as 2, 9; nil: none; these five come on top of Augment strong or weak
	AutoAugment  string    `json:"auto_augment"`           // a policy, see augment.AutoPolicies; empty: none
	Blur         float64   `json:"blur"`                   // probability of a Gaussian blur
	Solarize     float64   `json:"solarize"`               // probability that pixels above half are inverted
	Erase        float64   `json:"erase"`                  // probability that a rectangle is erased
	Mixup        float64   `json:"mixup"`                  // batches are blended with themselves, by shares from Beta(mixup, mixup); 0: no
	CutMix       float64   `json:"cutmix"`                 // rectangles of a batch's images are put into each other, of shares from Beta(cutmix, cutmix); 0: no
	EvalResize   int       `json:"eval_resize"`            // evaluation: shorter side before the centre is cut out; 0: Image·256/224 with a large stem, otherwise Image
	ValFraction  float64   `json:"val_fraction"`           // of the training set, held out where the data has no validation split
	Fraction     float64   `json:"fraction"`               // of the training images that are used, class by class, after validation images are held out; 0: all
	PerClass     int       `json:"per_class"`              // training images of a class that are used; 0: all
	Sampling     string    `json:"sampling"`               // an epoch's images: shuffle (each once; also if empty), balanced or weighted, see data.LoaderConfig
	ClassImages  int       `json:"class_images"`           // balanced: images of a class in a batch; 0: as few as the classes allow, at least 2
	Mean         []float64 `json:"mean"`                   // per channel in [0,1]; nil: known for the data, or measured
	Std          []float64 `json:"std"`
	Seed         uint64    `json:"seed"`
	// LabelSmoothing is the share of a classifier's targets that is spread evenly over
	// all classes, as by torch's label_smoothing.
	LabelSmoothing float64 `json:"label_smoothing"`
	// ValidateEvery is how many epochs lie between two judgements of the network
	// by the validation images; 0: none; -1: a tenth of all, or more where they are dear.
	ValidateEvery int `json:"validate_every"`
	// SaveEvery is how often the run is saved, as Go writes durations (5m); Keep how
	// many of the newest checkpoints stay, beside the best.
	SaveEvery string `json:"save_every"`
	Keep      int    `json:"keep"`
	Threads   int    `json:"threads"` // of the engine; 0: one a core
	Memory    string `json:"memory"`  // fast: convolutions are never repeated; least: wherever that saves memory; empty: where a step would take more than 560 MB
	Workers   int    `json:"workers"` // that load and augment images; 0: one a core
}

// Samplings are the values of Run.Sampling.
var Samplings = []string{"shuffle", "balanced", "weighted"}

// ScalingBatch is the batch that a rate to be scaled linearly is meant for.
const ScalingBatch = 256

// DefaultOptimizer is the optimizer to begin with for a method: on small networks
// AdamW serves contrasts of sub-networks better, SGD the backbone's alone and
// classifiers (docs/results.md).
func DefaultOptimizer(method string) string {
	if m, err := loss.Parse(method); err == nil && m.NeedsExits() && !m.OneStage() {
		return "adamw"
	}
	return "sgd"
}

// DefaultRate is a learning rate to begin with for an optimizer.
func DefaultRate(optimizer string) float64 {
	switch optimizer {
	case "adamw":
		return 0.005
	case "lars":
		return 0.3
	}
	return 0.1
}

// DefaultDecay is a weight decay to begin with for an optimizer.
func DefaultDecay(optimizer string) float64 {
	if optimizer == "adamw" {
		return 0.01
	}
	return 1e-4
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
// from some thousands of images, a warm-up, without which small networks can
// stay at the loss of uniform features (see docs/log.md), and the sub-network
// and optimizer that did best (see docs/results.md). Of another method it is
// DefaultOf's.
func Default() Run {
	return Run{
		Method: "selfcon-s", Model: model.Config{Arch: "resnet18", Sub: model.SubSmall, Width: 64},
		Temperature: 0.1, BaseTemperature: 0.07, ProjectionDim: 128,
		Batch: 64, Rate: DefaultRate("adamw"), RateScaling: "none", Optimizer: "adamw", Momentum: 0.9, Beta2: 0.999, Trust: 0.001,
		WeightDecay: DefaultDecay("adamw"), NoDecay: "none", Schedule: "cosine", WarmupEpochs: -1,
		ClassOrder: "lexicographic", Sampling: "shuffle", Fraction: 1, Augment: "strong", CropMin: 0.2, Flip: true, ValFraction: 0.1, Seed: 1, ValidateEvery: -1, SaveEvery: "5m", Keep: 2,
	}
}

// DefaultOf is Default for another method, whose optimizer it has, or for
// another optimizer, if one is given, with its rate and decay. Exits are those of
// Default, none: they depend on the network.
func DefaultOf(method, optimizer string) Run {
	c := Default()
	c.Method, c.Optimizer = method, cmp.Or(optimizer, DefaultOptimizer(method))
	c.Rate, c.WeightDecay = DefaultRate(c.Optimizer), DefaultDecay(c.Optimizer)
	return c
}

// The values of settings that have few.
var (
	Schedules    = []string{"cosine", "step", "constant"}
	Optimizers   = []string{"sgd", "lars", "adamw"}
	RateScalings = []string{"none", "linear"}
	NoDecays     = []string{"none", "vectors"}
	Augments     = []string{"strong", "weak", "none"}
	Memories     = []string{"fast", "least"} // or empty
)

// Error is a setting that can't be used.
type Error struct {
	Setting string // its key, or what else it is about, such as "model" for the network
	Where   string // where it was given, where that is known: file:line: key, --flag, the environment variable or key=value
	Reason  string
}

func (e *Error) Error() string { return cmp.Or(e.Where, e.Setting) + ": " + e.Reason }

func bad(setting, format string, args ...any) error {
	return &Error{Setting: setting, Reason: fmt.Sprintf(format, args...)}
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
	for _, w := range []struct {
		setting string
		value   *float64
		with    func(loss.Method, float64) (loss.Method, error)
	}{
		{"sub_weight", c.SubWeight, loss.Method.WithSubs},
		{"distill_weight", c.DistillWeight, loss.Method.WithDistill},
		{"distill_temperature", c.DistillTemperature, loss.Method.WithDistillTemperature},
		{"contrast_weight", c.ContrastWeight, loss.Method.WithContrast},
	} {
		if w.value != nil {
			if m, err = w.with(m, *w.value); err != nil {
				return m, bad(w.setting, "%v", err)
			}
		}
	}
	return m, nil
}

// Mixes says whether images of a batch are mixed with each other, and their labels.
func (c Run) Mixes() bool { return c.Mixup > 0 || c.CutMix > 0 }

// soften checks what makes soft targets of labels: only cross-entropy takes them.
func (c Run) soften(m loss.Method) error {
	if m.OneStage() && !m.Contrastive() {
		return nil
	}
	why := "contrasts images and has no classifier to train"
	if m.OneStage() {
		why = "contrasts images of one label as well"
	}
	for _, x := range []struct {
		setting string
		value   float64
		what    string
	}{{"mixup", c.Mixup, "mixes labels"}, {"cutmix", c.CutMix, "mixes labels"}, {"label_smoothing", c.LabelSmoothing, "smooths labels"}} {
		if x.value > 0 {
			return bad(x.setting, "%g %s, which only cross-entropy can learn; %s %s: take --method ce, subnet_ce or kd, or leave %s out", x.value, x.what, m.Name, why, x.setting)
		}
	}
	return nil
}

// EvalSide is the shorter side in pixels that images are resized to in evaluation,
// before their centre is cut out. Where EvalResize does not say it, it is for large
// images, those of networks with a large stem, 256 for each 224 pixels of the side,
// as in torchvision's recipes and the reference (main_ce.py, main_linear.py); small
// ones are not cropped. Image and Model must be resolved.
func (c Run) EvalSide() int {
	switch {
	case c.EvalResize > 0:
		return c.EvalResize
	case c.Model.Stem == model.LargeStem:
		return (c.Image*256 + 112) / 224
	}
	return c.Image
}

// Validate checks every setting that can be checked without the data; the
// error is an *Error.
func (c Run) Validate() error {
	if c.Data == "" {
		return bad("data", "is missing: say what to train on, such as --data imagefolder:PATH")
	}
	for _, s := range table {
		if err := s.check(&c); err != nil {
			return &Error{Setting: s.Key, Reason: err.Error()}
		}
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
	if d, err := time.ParseDuration(c.SaveEvery); err != nil || d <= 0 {
		return bad("save_every", "%q: must be a time above 0 with its unit, such as 5m or 30s", c.SaveEvery)
	}
	if c.MicroBatch > 0 && c.Batch%c.MicroBatch != 0 {
		return bad("micro_batch", "%d images at a time do not make up a batch of %d: the batch must be a multiple", c.MicroBatch, c.Batch)
	}
	if c.EvalResize > 0 && c.EvalResize < c.Image {
		return bad("eval_resize", "%d: the shorter side must not be below %d, the side of the images that are cut out of it", c.EvalResize, c.Image)
	}
	if c.Nesterov && (c.Optimizer != "sgd" || c.Momentum == 0) {
		return bad("nesterov", "is a kind of SGD's momentum: needs --optimizer sgd and a momentum above 0, not %s and %g", c.Optimizer, c.Momentum)
	}
	if len(c.RandAugment) != 0 && len(c.RandAugment) != 2 {
		return bad("rand_augment", "%v: must be the number of operations and their magnitude, such as 2,9", c.RandAugment)
	}
	if len(c.RandAugment) == 2 {
		if err := (augment.RandAugment{N: c.RandAugment[0], Magnitude: c.RandAugment[1]}).Check(); err != nil {
			return bad("rand_augment", "%v", err)
		}
		if c.AutoAugment != "" {
			return bad("rand_augment", "%v, and auto_augment %s: choose one", c.RandAugment, c.AutoAugment)
		}
	}
	if c.Model.ImageChannels == 2 {
		return bad("channels", "2: must be 1 (grey) or 3 (RGB), or 0 for those that the data has")
	}
	if err := c.CheckPixels(c.Model.ImageChannels); err != nil {
		return err
	}
	if c.Augment == "none" && (len(c.RandAugment) > 0 || c.AutoAugment != "" || c.Blur+c.Solarize+c.Erase > 0) {
		return bad("augment", "none, and yet more is asked for: take weak or strong for rand_augment, auto_augment, blur, solarize or erase")
	}
	if err := c.soften(m); err != nil {
		return err
	}
	if c.Fraction != 0 && c.Fraction != 1 && c.PerClass > 0 {
		return bad("per_class", "%d, and a fraction of %g: choose one", c.PerClass, c.Fraction)
	}
	if c.ClassImages > 0 && (c.Sampling != "balanced" || c.ClassImages < 2 || c.Batch%c.ClassImages != 0) {
		return bad("class_images", "%d: is for --sampling balanced, must be at least 2 and divide the batch of %d", c.ClassImages, c.Batch)
	}
	if c.CacheSide > 0 && c.Cache == "" {
		return bad("cache_side", "%d: there is no cache to shrink images in; give --cache FOLDER as well", c.CacheSide)
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
	// The network's own checks, a setting at a time; the images' shape is not
	// known yet.
	n := model.Config{Arch: c.Model.Arch, Width: c.Model.Width, Stem: c.Model.Stem, Sub: c.Model.Sub, ImageHeight: 32, ImageWidth: 32, ImageChannels: 3}
	for _, x := range []struct {
		setting string
		add     func()
	}{
		{"arch", func() {}},
		{"dropout", func() { n.Dropout = c.Model.Dropout }},
		{"drop_connect", func() { n.DropConnect = c.Model.DropConnect }},
		{"exits", func() { n.Exits = c.Model.Exits }},
	} {
		x.add()
		if _, err := model.New(n); err != nil {
			return bad(x.setting, "%v", err)
		}
	}
	net, err := model.New(n)
	if err != nil {
		return bad("model", "%v", err)
	}
	if stages := net.Positions() + 1; c.Freeze > stages {
		return bad("freeze", "%d: %s has %d stages", c.Freeze, c.Model.Arch, stages)
	}
	return nil
}

// CheckPixels says whether mean and standard deviation are those of images with
// so many channels; 0: it isn't known yet.
func (c Run) CheckPixels(channels int) error {
	switch m, s := len(c.Mean), len(c.Std); {
	case m == 0 && s == 0:
	case s == 0:
		return bad("mean", "%v, and no std: one needs the other, a value a channel each", c.Mean)
	case m == 0:
		return bad("std", "%v, and no mean: one needs the other, a value a channel each", c.Std)
	case m != s:
		return bad("std", "%v: must be as many values as mean has, %d", c.Std, m)
	case m != 1 && m != 3:
		return bad("mean", "%v: must be one value for grey images, three for RGB", c.Mean)
	case channels > 0 && m != channels:
		return bad("mean", "%v: must be one value a channel, and the channels of the images are %d (channels=%d would make them %d)", c.Mean, channels, m, m)
	}
	return nil
}
