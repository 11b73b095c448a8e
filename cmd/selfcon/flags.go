package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"selfcon/augment"
	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/loss"
	"selfcon/model"
)

// runFlags declares the flags of a training run; they write into c, whose
// values are the defaults.
func runFlags(cmd *cobra.Command, c *config.Run) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&c.Data, "data", c.Data, "what to train on, as `FORMAT[:PATH]`: "+formatNames())
	classFlags(cmd, &c.ClassOrder, &c.ClassList)
	f.StringVar(&c.Cache, "cache", c.Cache, "`folder` for a packed copy of the data, made on first use: decoded images that are read at memory speed (default: none)")
	f.IntVar(&c.CacheSide, "cache-side", c.CacheSide, "shorter side that images are shrunk to in the cache (0: their own)")
	f.IntVar(&c.Model.ImageChannels, "channels", c.Model.ImageChannels, "1 (grey) or 3 (RGB) (default: as the data has them)")
	f.StringVar(&c.Method, "method", c.Method, methodNames())
	f.Var(&optionalFloat{&c.Alpha}, "alpha", "weight above 0 of the sub-networks' term in the starred variant of selfcon-s, -m, -su or -mu (default: the plain method, which is not alpha 0)")

	f.StringVar(&c.Model.Arch, "arch", c.Model.Arch, archNames())
	f.IntVar(&c.Model.Width, "width", c.Model.Width, widthHelp)
	f.StringVar((*string)(&c.Model.Stem), "stem", string(c.Model.Stem), "small (3×3) or large (7×7 stride 2, max-pool) (default: small up to 64 pixels)")
	f.Var(&intList{&c.Model.Exits}, "exits", "stages after which a sub-network exits, such as 2 or 1,2,3 (default: half-way for selfcon methods, subnet_ce and kd, otherwise none)")
	f.StringVar((*string)(&c.Model.Sub), "sub", string(c.Model.Sub), "sub-network: "+strings.Join(model.SubNetworks(), ", "))
	f.Var(&optionalFloat{&c.Model.Dropout}, "dropout", "probability of dropout (default: as published: wide ResNets 0.3, VGG's classifier 0.5, EfficientNet's features 0.2)")
	f.Var(&optionalFloat{&c.Model.DropConnect}, "drop-connect", "probability of leaving out EfficientNet's last residual block in training, earlier ones in proportion (default: 0.2)")
	f.IntVar(&c.ProjectionDim, "projection-dim", c.ProjectionDim, "length of the projections")

	f.IntVar(&c.Epochs, "epochs", c.Epochs, "times to go through the training images (0: as many as make 5,000 steps, at least 20)")
	f.IntVar(&c.Batch, "batch", c.Batch, "images a step")
	f.IntVar(&c.MicroBatch, "micro-batch", c.MicroBatch, "images that go through the network at a time, for large batches in little memory: the contrast is that of the whole --batch, batch norm's statistics those of the micro-batch (0: all)")
	f.Float64Var(&c.Rate, "lr", c.Rate, "learning rate at the start (default for lars 0.3, for adamw 0.001)")
	f.StringVar(&c.RateScaling, "lr-scaling", c.RateScaling, "none, or linear: --lr is that of 256 images a step and grows with --batch")
	f.StringVar(&c.Optimizer, "optimizer", c.Optimizer, "sgd, lars or adamw")
	f.Float64Var(&c.Momentum, "momentum", c.Momentum, "momentum of sgd and lars, beta1 of adamw")
	f.BoolVar(&c.Nesterov, "nesterov", c.Nesterov, "Nesterov's momentum, of sgd")
	f.Float64Var(&c.Beta2, "beta2", c.Beta2, "beta2 of adamw")
	f.Float64Var(&c.Trust, "trust", c.Trust, "trust coefficient of lars")
	f.Float64Var(&c.WeightDecay, "weight-decay", c.WeightDecay, "weight decay of every parameter but those of --no-decay")
	f.StringVar(&c.NoDecay, "no-decay", c.NoDecay, "what weight decay, and lars' adaptation, leaves out: none, as the paper, or vectors (biases, batch norm's scale and shift)")
	f.Float64Var(&c.Average, "average", c.Average, "keep an exponential moving average of the weights, of which each step keeps this share, such as 0.999, and use it in place of the last weights (0: none)")
	f.StringVar(&c.Schedule, "schedule", c.Schedule, "cosine, constant, or step with --milestones")
	f.Var(&intList{&c.Milestones}, "milestones", "epochs after which a step schedule divides the rate by 10, such as 60,80")
	f.IntVar(&c.WarmupEpochs, "warmup-epochs", c.WarmupEpochs, "epochs of linear warm-up (-1: a tenth of all; for batches from 1024, 10 as in the paper)")
	f.Float64Var(&c.HeadRate, "head-lr", c.HeadRate, "learning rate of the classifiers or projection heads, which follows the same schedule (0: that of the encoder, --lr)")
	f.IntVar(&c.Freeze, "freeze", c.Freeze, "stages that are not trained, and the stem with them, such as 2: they keep the weights and the batch norms' statistics that they begin with (0: all are trained)")
	f.Float64Var(&c.Temperature, "temperature", c.Temperature, "divides the contrast's logits")
	f.Float64Var(&c.BaseTemperature, "base-temperature", c.BaseTemperature, "the loss is scaled by temperature/base-temperature")

	augmentFlags(cmd, c)
	f.Float64Var(&c.ValFraction, "val-fraction", c.ValFraction, "share of the training images held out to choose by, if the data has no validation split")
	f.Float64Var(&c.Fraction, "fraction", c.Fraction, "share of the training images that is used, class by class")
	f.IntVar(&c.PerClass, "per-class", c.PerClass, "training images of a class that are used (0: all)")
	f.StringVar(&c.Sampling, "sampling", c.Sampling, "an epoch's images: shuffle (each once), balanced (batches of as many images of each of their classes) or weighted (every class as often)")
	f.IntVar(&c.ClassImages, "class-images", c.ClassImages, "images of a class in a balanced batch (0: as few as the classes allow, at least 2)")
	f.Uint64Var(&c.Seed, "seed", c.Seed, "fixes everything random")
	f.IntVar(&c.ValidateEvery, "validate-every", c.ValidateEvery, "epochs between judgements of the network by the validation images, which choose the best checkpoint (0: never; -1: a tenth of all, or more where they would cost more than a twentieth of the time)")
	machineFlags(f, &c.Threads, &c.Workers)
	memoryFlag(cmd, &c.Memory)
	f.StringVar(&c.SaveEvery, "save-every", c.SaveEvery, "`time` between checkpoints, such as 5m or 30s: what is lost at most when the machine stops")
	f.IntVar(&c.Keep, "keep", c.Keep, "newest checkpoints that stay, beside the best")

	complete(cmd, "data", func() []string {
		var out []string
		for _, x := range data.Formats() {
			out = append(out, x.Name)
		}
		return out
	})
	complete(cmd, "method", func() []string {
		var out []string
		for _, m := range loss.Methods() {
			out = append(out, m.Name+"\t"+m.About)
		}
		return out
	})
	complete(cmd, "arch", model.Archs)
	for name, values := range map[string][]string{
		"stem": model.Stems(), "sub": model.SubNetworks(), "schedule": config.Schedules, "optimizer": config.Optimizers, "lr-scaling": config.RateScalings, "no-decay": config.NoDecays, "sampling": config.Samplings,
	} {
		complete(cmd, name, func() []string { return values })
	}
}

// augmentFlags declares the size of images and what is done to them.
func augmentFlags(cmd *cobra.Command, c *config.Run) {
	f := cmd.Flags()
	f.IntVar(&c.Image, "image", c.Image, "side of the square images in pixels (0: as most of the data has them, at most 64)")
	f.StringVar(&c.Augment, "augment", c.Augment, "strong (crop, flip, colour jitter, grayscale), weak (crop, flip) or none")
	f.Float64Var(&c.CropMin, "crop-min", c.CropMin, "smallest share of the image that a random crop keeps")
	f.BoolVar(&c.Flip, "flip", c.Flip, "mirror images at random")
	f.Var(&intList{&c.RandAugment}, "rand-augment", "RandAugment besides: operations and magnitude, such as 2,9 (the paper's)")
	f.StringVar(&c.AutoAugment, "auto-augment", c.AutoAugment, "AutoAugment besides: the policy of "+strings.Join(augment.AutoPolicies(), ", "))
	f.Float64Var(&c.Blur, "blur", c.Blur, "probability of a Gaussian blur")
	f.Float64Var(&c.Solarize, "solarize", c.Solarize, "probability that pixels brighter than half are inverted")
	f.Float64Var(&c.Erase, "erase", c.Erase, "probability that a rectangle is erased")
	complete(cmd, "auto-augment", augment.AutoPolicies)
	complete(cmd, "augment", func() []string { return []string{"strong", "weak", "none"} })
}

// classFlags declares which classes of a dataset are read, in which order.
func classFlags(cmd *cobra.Command, order *string, list *[]string) {
	f := cmd.Flags()
	f.StringVar(order, "class-order", *order, "how class names become labels: "+strings.Join(data.Orders(), " (2 after 100) or ")+" (2 before 100)")
	f.Var(&classList{to: list}, "classes", "read only the classes in this `file`, a name a line in label order (such as ImageNet-100's)")
	complete(cmd, "class-order", data.Orders)
}

// classList is a flag that takes the names out of a file.
type classList struct {
	to   *[]string
	path string
}

func (l *classList) String() string { return l.path }
func (*classList) Type() string     { return "file" }

func (l *classList) Set(path string) (err error) {
	l.path = path
	*l.to, err = data.ReadClassList(path)
	return err
}

// machineFlags declares how much of the machine to use.
func machineFlags(f *pflag.FlagSet, threads, workers *int) {
	f.IntVar(threads, "threads", *threads, "threads that compute (0: one a core); the results do not depend on it")
	if workers != nil {
		f.IntVar(workers, "workers", *workers, "threads that load and augment images (0: one a core); the results do not depend on it")
	}
}

// memoryFlag declares how the memory of a training step is dealt with.
func memoryFlag(cmd *cobra.Command, memory *string) {
	cmd.Flags().StringVar(memory, "memory", *memory, `"fast" keeps the results of all convolutions, "least" repeats them in the backward pass wherever that saves memory: about half of it or less for a sixth more time (default: as many as bring a step that takes more than 640 MB towards that, for a tenth more work at most); the results do not depend on it`)
	complete(cmd, "memory", func() []string { return config.Memories })
}

// complete offers values for a flag in the shell.
func complete(cmd *cobra.Command, flag string, values func() []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values(), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag's name is mistyped here
	}
}

// defaultExits fills in the exits of a method that needs some when the caller
// has said nothing.
func defaultExits(cmd *cobra.Command, c *config.Run) {
	if m, err := loss.Parse(c.Method); err == nil && m.NeedsExits() && !cmd.Flags().Changed("exits") && len(c.Model.Exits) == 0 {
		c.Model.Exits = model.DefaultExits(c.Model.Arch)
	}
}

const widthHelp = "channels of the first stage of a ResNet or VGG; other families scale theirs by width/64"

func archNames() string { return strings.Join(model.Archs(), ", ") + "; any wrn_D_K with D = 6n+4" }

// defaultRate fills in the learning rate of an optimizer when the caller has
// said nothing.
func defaultRate(cmd *cobra.Command, c *config.Run) {
	if !cmd.Flags().Changed("lr") {
		c.Rate = config.DefaultRate(c.Optimizer)
	}
}

// absolute makes the path of a dataset independent of the working folder.
func absolute(spec string) string {
	name, path, ok := strings.Cut(spec, ":")
	if !ok || path == "" {
		return spec
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return name + ":" + path
}

func formatNames() string {
	var out []string
	for _, x := range data.Formats() {
		out = append(out, x.Example)
	}
	return strings.Join(out, ", ")
}

func methodNames() string {
	var out []string
	for _, m := range loss.Methods() {
		out = append(out, m.Name)
	}
	return strings.Join(out, ", ")
}

func kernelNames() []string {
	var out []string
	for _, s := range kernel.Usable() {
		out = append(out, s.Name)
	}
	return out
}

func openEngine(threads int) (engine.Engine, error) {
	return openCPU(cpu.Options{Threads: threads})
}

// openCPU starts the engine; the environment may name its kernels.
func openCPU(o cpu.Options) (engine.Engine, error) {
	o.Kernels = os.Getenv(kernel.EnvVar)
	e, err := cpu.New(o)
	if err != nil {
		return nil, usageError{err}
	}
	return e, nil
}

// intList is a flag of ascending whole numbers, separated by commas.
type intList struct{ to *[]int }

func (l *intList) String() string {
	if l.to == nil {
		return ""
	}
	var out []string
	for _, v := range *l.to {
		out = append(out, strconv.Itoa(v))
	}
	return strings.Join(out, ",")
}

func (l *intList) Set(s string) error {
	var out []int
	for _, part := range strings.Split(s, ",") {
		if s == "" || s == "none" {
			break
		}
		v, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is not a whole number; give numbers separated by commas, such as 1,2", part)
		}
		out = append(out, v)
	}
	*l.to = out
	return nil
}

func (*intList) Type() string { return "numbers" }

// optionalFloat is a flag that is different unset from any number.
type optionalFloat struct{ to **float64 }

func (o *optionalFloat) String() string {
	if o.to == nil || *o.to == nil {
		return ""
	}
	return strconv.FormatFloat(**o.to, 'g', -1, 64)
}

func (o *optionalFloat) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", s)
	}
	*o.to = &v
	return nil
}

func (*optionalFloat) Type() string { return "number" }
