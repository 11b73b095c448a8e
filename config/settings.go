package config

import (
	"slices"
	"strings"

	"selfcon/augment"
	"selfcon/data"
	"selfcon/loss"
	"selfcon/model"
)

// Setting is one entry of a configuration. It has one name everywhere: in a
// file and in key=value it is Key, as a flag it has dashes, and in the
// environment it is in capitals behind EnvPrefix.
type Setting struct {
	Key   string
	Group string // the settings of a group stand together
	About string // what it is, in a phrase or two
	Word  string // what its value is called in help, where the type is not enough

	Range  Range           // of numbers, and of every number of a list
	Values func() []string // of words: the only ones; nil: any
	Hint   func() []string // of words that may be others too: what to offer

	// Nullable settings can be null, which is not the same as 0.
	Nullable bool

	field func(*Run) any // a pointer to where it lies in a Run
}

// EnvPrefix is what the environment variables of settings begin with.
const EnvPrefix = "SELFCON_"

// Flag is the name of the setting's flag, without its two dashes.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Key, "_", "-") }

// Env is the name of the setting's environment variable.
func (s *Setting) Env() string { return EnvPrefix + strings.ToUpper(s.Key) }

// OfMachine is whether no result depends on the setting: a run that is resumed
// may change it.
func (s *Setting) OfMachine() bool { return s.Group == machine }

// Settings lists the settings in the order of files and help.
func Settings() []*Setting { return table }

// FindSetting finds a setting by its key; nil if there is none.
func FindSetting(key string) *Setting { return byKey[key] }

var byKey = map[string]*Setting{}

func init() {
	for _, s := range table {
		if byKey[s.Key] != nil {
			panic("config: the setting " + s.Key + " is there twice")
		}
		byKey[s.Key] = s
	}
}

// The bounds of whole numbers are far from what is of use: they catch a slip of
// the keyboard before it asks for all memory.
const many = 1<<31 - 1

// machine is the group of settings that no result depends on, which a run that
// is resumed may change.
const machine = "Machine"

// table is the one list of settings. Files, key=value, flags, the environment,
// the checks, help and docs/configuration.md all come from it.
var table = []*Setting{
	// Data
	{Key: "data", Group: "Data", Word: "FORMAT[:PATH]", Hint: formats, field: func(c *Run) any { return &c.Data },
		About: "what to train on, as FORMAT[:PATH]: " + examples()},
	{Key: "class_order", Group: "Data", Values: orNone(data.Orders), field: func(c *Run) any { return &c.ClassOrder },
		About: "how class names become labels: lexicographic (2 after 100) or natural (2 before 100)"},
	{Key: "classes", Group: "Data", Word: "file", Nullable: true, field: func(c *Run) any { return &c.ClassList },
		About: "read only these classes: in a configuration file a list of names in label order, or anywhere the name of a file with a name a line, such as ImageNet-100's (default: all)"},
	{Key: "cache", Group: "Data", Word: "folder", field: func(c *Run) any { return &c.Cache },
		About: "folder for a packed copy of the data, made on first use: decoded images that are read at memory speed (default: none)"},
	{Key: "cache_side", Group: "Data", Range: from(0).to(65536), field: func(c *Run) any { return &c.CacheSide },
		About: "shorter side that images are shrunk to in the cache (0: their own)"},
	{Key: "channels", Group: "Data", Range: from(0).to(3), field: func(c *Run) any { return &c.Model.ImageChannels },
		About: "1 (grey) or 3 (RGB) (0: as the data has them)"},
	{Key: "image", Group: "Data", Range: from(0).to(4096), field: func(c *Run) any { return &c.Image },
		About: "side of the square images in pixels (0: as most of the data has them, at most 64)"},
	{Key: "mean", Group: "Data", Range: from(0).to(1), Nullable: true, field: func(c *Run) any { return &c.Mean },
		About: "mean of each channel, in [0,1], that is taken off the pixels (default: known for the data, or measured)"},
	{Key: "std", Group: "Data", Range: above(0).to(1), Nullable: true, field: func(c *Run) any { return &c.Std },
		About: "standard deviation of each channel that pixels are divided by (default: known for the data, or measured)"},
	{Key: "val_fraction", Group: "Data", Range: from(0).below(1), field: func(c *Run) any { return &c.ValFraction },
		About: "share of the training images held out to choose by, if the data has no validation split"},
	{Key: "fraction", Group: "Data", Range: from(0).to(1), field: func(c *Run) any { return &c.Fraction },
		About: "share of the training images that is used, class by class, after validation images are held out (0: all)"},
	{Key: "per_class", Group: "Data", Range: from(0).to(many), field: func(c *Run) any { return &c.PerClass },
		About: "training images of a class that are used (0: all)"},
	{Key: "sampling", Group: "Data", Values: orNone(func() []string { return Samplings }), field: func(c *Run) any { return &c.Sampling },
		About: "an epoch's images: shuffle (each once), balanced (batches of as many images of each of their classes) or weighted (every class as often)"},
	{Key: "class_images", Group: "Data", Range: from(0).to(many), field: func(c *Run) any { return &c.ClassImages },
		About: "images of a class in a balanced batch (0: as few as the classes allow, at least 2)"},

	// Method
	{Key: "method", Group: "Method", Values: methods, field: func(c *Run) any { return &c.Method },
		About: "what is learnt: " + strings.Join(methods(), ", ")},
	{Key: "alpha", Group: "Method", Nullable: true, field: func(c *Run) any { return &c.Alpha },
		About: "weight above 0 of the sub-networks' term in the starred variant of selfcon-s, -m, -su or -mu (default: the plain method, which is not alpha 0)"},
	{Key: "sub_weight", Group: "Method", Range: above(0), Nullable: true, field: func(c *Run) any { return &c.SubWeight },
		About: "weight of the sub-networks' cross-entropy, α of subnet_ce, kd and selfcon (default: 1, of kd 0.5)"},
	{Key: "distill_weight", Group: "Method", Range: above(0), Nullable: true, field: func(c *Run) any { return &c.DistillWeight },
		About: "weight of the distillation from the backbone into the sub-networks, β of kd (default: 0.5)"},
	{Key: "distill_temperature", Group: "Method", Range: above(0), Nullable: true, field: func(c *Run) any { return &c.DistillTemperature },
		About: "divides the logits of the distillation, of kd (default: 3)"},
	{Key: "contrast_weight", Group: "Method", Range: above(0), Nullable: true, field: func(c *Run) any { return &c.ContrastWeight },
		About: "weight of the contrast, γ of selfcon (default: 0.8)"},
	{Key: "temperature", Group: "Method", Range: above(0), field: func(c *Run) any { return &c.Temperature },
		About: "divides the contrast's logits"},
	{Key: "base_temperature", Group: "Method", Range: above(0), field: func(c *Run) any { return &c.BaseTemperature },
		About: "the loss is scaled by temperature/base_temperature"},
	{Key: "projection_dim", Group: "Method", Range: from(1).to(65536), field: func(c *Run) any { return &c.ProjectionDim },
		About: "length of the projections"},

	// Network
	{Key: "arch", Group: "Network", Hint: model.Archs, field: func(c *Run) any { return &c.Model.Arch },
		About: "the network: " + strings.Join(model.Archs(), ", ") + "; any wrn_D_K with D = 6n+4"},
	{Key: "width", Group: "Network", Range: from(1).to(4096), field: func(c *Run) any { return &c.Model.Width },
		About: "channels of the first stage of a ResNet or VGG; other families scale theirs by width/64"},
	{Key: "stem", Group: "Network", Values: orNone(model.Stems), field: func(c *Run) any { return (*string)(&c.Model.Stem) },
		About: `small (3×3) or large (7×7 stride 2, max-pool) (default: small up to 64 pixels)`},
	{Key: "exits", Group: "Network", Range: from(1).to(many), Nullable: true, field: func(c *Run) any { return &c.Model.Exits },
		About: "stages after which a sub-network exits, such as 2 or 1,2,3 (default: half-way for selfcon methods, subnet_ce and kd, otherwise none)"},
	{Key: "sub", Group: "Network", Values: orNone(model.SubNetworks), field: func(c *Run) any { return (*string)(&c.Model.Sub) },
		About: "sub-network: " + strings.Join(model.SubNetworks(), ", ")},
	{Key: "dropout", Group: "Network", Range: from(0).below(1), Nullable: true, field: func(c *Run) any { return &c.Model.Dropout },
		About: "probability of dropout (default: as published: wide ResNets 0.3, VGG's classifier 0.5, EfficientNet's features 0.2)"},
	{Key: "drop_connect", Group: "Network", Range: from(0).below(1), Nullable: true, field: func(c *Run) any { return &c.Model.DropConnect },
		About: "probability of leaving out EfficientNet's last residual block in training, earlier ones in proportion (default: 0.2)"},

	// Training
	{Key: "epochs", Group: "Training", Range: from(0).to(many), field: func(c *Run) any { return &c.Epochs },
		About: "times to go through the training images (0: as many as make 5,000 steps, at least 20)"},
	{Key: "batch", Group: "Training", Range: from(2).to(many), field: func(c *Run) any { return &c.Batch },
		About: "images a step"},
	{Key: "micro_batch", Group: "Training", Range: from(0).to(many), field: func(c *Run) any { return &c.MicroBatch },
		About: "images that go through the network at a time, for large batches in little memory: the contrast is that of the whole batch, batch norm's statistics those of the micro-batch (0: all)"},
	{Key: "lr", Group: "Training", Range: above(0), field: func(c *Run) any { return &c.Rate },
		About: "learning rate at the start (default for adamw 0.005, for sgd 0.1, for lars 0.3)"},
	{Key: "lr_scaling", Group: "Training", Values: func() []string { return RateScalings }, field: func(c *Run) any { return &c.RateScaling },
		About: "none, or linear: lr is that of 256 images a step and grows with the batch"},
	{Key: "optimizer", Group: "Training", Values: func() []string { return Optimizers }, field: func(c *Run) any { return &c.Optimizer },
		About: "sgd, lars or adamw (default for selfcon-s, -m, -su and -mu adamw, otherwise sgd)"},
	{Key: "momentum", Group: "Training", Range: from(0).below(1), field: func(c *Run) any { return &c.Momentum },
		About: "momentum of sgd and lars, beta1 of adamw"},
	{Key: "nesterov", Group: "Training", field: func(c *Run) any { return &c.Nesterov },
		About: "Nesterov's momentum, of sgd"},
	{Key: "beta2", Group: "Training", Range: from(0).below(1), field: func(c *Run) any { return &c.Beta2 },
		About: "beta2 of adamw"},
	{Key: "trust", Group: "Training", Range: above(0), field: func(c *Run) any { return &c.Trust },
		About: "trust coefficient of lars"},
	{Key: "weight_decay", Group: "Training", Range: from(0), field: func(c *Run) any { return &c.WeightDecay },
		About: "weight decay of every parameter that no_decay does not leave out (default for adamw 0.01, otherwise 0.0001)"},
	{Key: "no_decay", Group: "Training", Values: func() []string { return NoDecays }, field: func(c *Run) any { return &c.NoDecay },
		About: "what weight decay, and lars' adaptation, leaves out: none, as the paper, or vectors (biases, batch norm's scale and shift)"},
	{Key: "average", Group: "Training", Range: from(0).below(1), field: func(c *Run) any { return &c.Average },
		About: "keep an exponential moving average of the weights, of which each step keeps this share, such as 0.999, and use it in place of the last weights (0: none)"},
	{Key: "schedule", Group: "Training", Values: func() []string { return Schedules }, field: func(c *Run) any { return &c.Schedule },
		About: "of the learning rate: cosine, constant, or step with milestones"},
	{Key: "milestones", Group: "Training", Range: from(1).to(many), Nullable: true, field: func(c *Run) any { return &c.Milestones },
		About: "epochs after which a step schedule divides the rate by 10, such as 60,80"},
	{Key: "warmup_epochs", Group: "Training", Range: from(-1).to(many), field: func(c *Run) any { return &c.WarmupEpochs },
		About: "epochs of linear warm-up (-1: a tenth of all; for batches from 1024, 10 as in the paper)"},
	{Key: "head_lr", Group: "Training", Range: from(0), field: func(c *Run) any { return &c.HeadRate },
		About: "learning rate of the classifiers or projection heads, which follows the same schedule (0: that of the encoder, lr)"},
	{Key: "freeze", Group: "Training", Range: from(0).to(many), field: func(c *Run) any { return &c.Freeze },
		About: "stages that are not trained, and the stem with them, such as 2: they keep the weights and the batch norms' statistics that they begin with (0: all are trained)"},
	{Key: "validate_every", Group: "Training", Range: from(-1).to(many), field: func(c *Run) any { return &c.ValidateEvery },
		About: "epochs between judgements of the network by the validation images; the best one's checkpoint stays as RUN/checkpoints/best, which can be named wherever a run is judged or used, while the run's model is that of the last step (0: never; -1: a tenth of all, or more where they would cost more than a twentieth of the time)"},
	{Key: "seed", Group: "Training", field: func(c *Run) any { return &c.Seed },
		About: "fixes everything random"},

	// Augmentation
	{Key: "augment", Group: "Augmentation", Values: func() []string { return Augments }, field: func(c *Run) any { return &c.Augment },
		About: "strong (crop, flip, colour jitter, grayscale), weak (crop, flip) or none"},
	{Key: "crop_min", Group: "Augmentation", Range: above(0).to(1), field: func(c *Run) any { return &c.CropMin },
		About: "smallest share of the image that a random crop keeps"},
	{Key: "flip", Group: "Augmentation", field: func(c *Run) any { return &c.Flip },
		About: "mirror images at random"},
	{Key: "rand_augment", Group: "Augmentation", Range: from(0).to(many), Nullable: true, field: func(c *Run) any { return &c.RandAugment },
		About: "RandAugment besides: operations and magnitude, such as 2,9, in torchvision's order, after crop and flip (default: none)"},
	{Key: "auto_augment", Group: "Augmentation", Values: orNone(augment.AutoPolicies), field: func(c *Run) any { return &c.AutoAugment },
		About: "AutoAugment besides: the policy of " + strings.Join(augment.AutoPolicies(), ", ") + " (default: none)"},
	{Key: "blur", Group: "Augmentation", Range: from(0).to(1), field: func(c *Run) any { return &c.Blur },
		About: "probability of a Gaussian blur"},
	{Key: "solarize", Group: "Augmentation", Range: from(0).to(1), field: func(c *Run) any { return &c.Solarize },
		About: "probability that pixels brighter than half are inverted"},
	{Key: "erase", Group: "Augmentation", Range: from(0).to(1), field: func(c *Run) any { return &c.Erase },
		About: "probability that a rectangle is erased"},
	{Key: "mixup", Group: "Augmentation", Range: from(0).to(1000), field: func(c *Run) any { return &c.Mixup },
		About: "blend each image of a batch, and its label, with another by shares from Beta(mixup, mixup), such as 0.2; for ce, subnet_ce and kd (0: no; with cutmix too, one of both is drawn for each batch)"},
	{Key: "cutmix", Group: "Augmentation", Range: from(0).to(1000), field: func(c *Run) any { return &c.CutMix },
		About: "put a rectangle of another image of the batch, and its label's share, into each, of areas from Beta(cutmix, cutmix), such as 1; for ce, subnet_ce and kd (0: no)"},
	{Key: "label_smoothing", Group: "Augmentation", Range: from(0).below(1), field: func(c *Run) any { return &c.LabelSmoothing },
		About: "share of a classifier's targets that is spread evenly over all classes, such as 0.1; for ce, subnet_ce and kd"},

	{Key: "eval_resize", Group: "Augmentation", Range: from(0).to(65536), field: func(c *Run) any { return &c.EvalResize },
		About: "in evaluation: shorter side in pixels that images are resized to before the centre is cut out (0: with a large stem 256 for each 224 of the image's side, as torchvision does, otherwise the image's side)"},

	// Machine
	{Key: "threads", Group: machine, Range: from(0).to(1024), field: func(c *Run) any { return &c.Threads },
		About: "threads that compute (0: one a core); the results do not depend on it"},
	{Key: "workers", Group: machine, Range: from(0).to(4096), field: func(c *Run) any { return &c.Workers },
		About: "threads that load and augment images (0: one a core); the results do not depend on it"},
	{Key: "memory", Group: machine, Values: orNone(func() []string { return Memories }), field: func(c *Run) any { return &c.Memory },
		About: "fast keeps the results of all convolutions, least makes results again in the backward pass wherever that saves memory: half or less of what it plans, for a sixth to a half more time (default: as few as bring a step that takes more than 560 MB towards that, for a twelfth more work at most); the results do not depend on it"},
	{Key: "save_every", Group: machine, Word: "time", field: func(c *Run) any { return &c.SaveEvery },
		About: "time between checkpoints, such as 5m or 30s: what is lost at most when the machine stops"},
	{Key: "keep", Group: machine, Range: from(1).to(many), field: func(c *Run) any { return &c.Keep },
		About: "newest checkpoints that stay, beside the best"},
}

// orNone lets a word be left empty.
func orNone(values func() []string) func() []string {
	return func() []string { return append(slices.Clone(values()), "") }
}

func methods() []string {
	var out []string
	for _, m := range loss.Methods() {
		out = append(out, m.Name)
	}
	return out
}

func formats() []string {
	var out []string
	for _, f := range data.Formats() {
		out = append(out, f.Name)
	}
	return out
}

func examples() string {
	var out []string
	for _, f := range data.Formats() {
		out = append(out, f.Example)
	}
	return strings.Join(out, ", ")
}
