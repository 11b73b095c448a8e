package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/engine/cpu"
	"selfcon/eval"
	"selfcon/internal/shell"
	"selfcon/loss"
	"selfcon/report"
	"selfcon/run"
	"selfcon/train"

	"path/filepath"
)

// tuneSettings are the settings that fine-tuning has of its own; all others are
// those of the run whose encoder it begins with.
var tuneSettings = []string{
	"epochs", "batch", "micro_batch", "lr", "head_lr", "freeze", "optimizer", "momentum", "nesterov", "beta2", "weight_decay", "no_decay", "average",
	"schedule", "milestones", "warmup_epochs", "augment", "crop_min", "flip", "rand_augment", "auto_augment", "blur", "solarize", "erase", "mixup", "cutmix", "label_smoothing",
	"fraction", "per_class", "sampling", "class_images", "validate_every", "threads", "workers", "memory", "save_every", "keep",
}

// tuning is a configuration to fine-tune with.
func tuning() config.Run {
	c := config.DefaultOf("ce", "sgd")
	c.Epochs, c.Rate, c.HeadRate, c.WarmupEpochs = 10, 0.01, 0.1, 1
	c.Augment, c.CropMin = "weak", 0.5
	return c
}

func finetuneCommand() *cobra.Command {
	settings := tuning()
	out, override := "", ""
	asJSON := false
	cmd := &cobra.Command{
		Use:   "finetune RUN",
		Short: "Train a classifier at every exit of a run's encoder, and the encoder with it",
		Long: `Train classifiers on a run's encoder, by cross-entropy at every exit, and the
encoder with them: all of it, or, with --freeze, its last stages only. The
classifiers have a learning rate of their own. The result is a run, with the same
data and validation images, and top-1 of its classifiers on the test split is
printed; nothing is chosen by either. selfcon probe RUN judges the encoder as it
was, to compare with.`,
		Example: `  selfcon finetune runs/photos-selfcon-s
  selfcon finetune --freeze 2 --epochs 5 runs/photos-selfcon-s
  selfcon finetune --data imagefolder:photos runs/resnet50              # an imported one
  selfcon finetune --fraction 0.01 --epochs 100 runs/photos-selfcon-s   # with the labels of one image in a hundred
  selfcon train --resume runs/photos-selfcon-s-tuned                    # go on after Ctrl-C`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := newReporter(cmd)
			defer r.end()
			dir, from, err := openModel(r, args[0])
			if err != nil {
				return err
			}
			of := from.Config
			if override != "" {
				of.Data = absolute(override)
			} else if err := from.NeedData(dir); err != nil {
				return err
			}
			c, err := tuned(cmd, settings, of)
			if err != nil {
				return err
			}
			if out == "" {
				out = run.Beside(dir, "tuned")
			}
			res, err := finetune(cmd.Context(), r, c, cmd.Flags().Changed("batch"), dir, from, out)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), res)
			}
			r.sayf("next: selfcon predict --run %s IMAGE…", shell.Quote(out))
			if res.Own == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), fmt.Sprintf("%s\n%s, %d images\n%s%s", out, res.Split, res.Images, res.Own, legend(len(res.Classes))))
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&override, "data", "", "train on other data with the same classes, or the run's own where they have moved to, as `FORMAT[:PATH]` (default: the run's own, where they were)")
	settingFlags(cmd, &settings, tuneSettings...)
	f.StringVar(&out, "out", "", "the new run's `folder` (default: RUN-tuned)")
	f.BoolVar(&asJSON, "json", false, "print the results as JSON")
	return cmd
}

// tuned is the configuration of a fine-tuning of a run: what the flags say, on
// the run's data and network.
func tuned(cmd *cobra.Command, c, of config.Run) (config.Run, error) {
	if !cmd.Flags().Changed("lr") && c.Optimizer != "sgd" {
		c.Rate = config.DefaultRate(c.Optimizer) / 10
		if !cmd.Flags().Changed("head-lr") {
			c.HeadRate = config.DefaultRate(c.Optimizer)
		}
	}
	if !cmd.Flags().Changed("weight-decay") {
		c.WeightDecay = config.DefaultDecay(c.Optimizer)
	}
	c.Data, c.ClassOrder, c.ClassList, c.Cache, c.CacheSide = of.Data, of.ClassOrder, of.ClassList, of.Cache, of.CacheSide
	c.Image, c.EvalResize, c.Model, c.Mean, c.Std = of.Image, of.EvalResize, of.Model, of.Mean, of.Std
	c.Seed, c.ValFraction = of.Seed, of.ValFraction // the same validation images
	if !cmd.Flags().Changed("per-class") && !cmd.Flags().Changed("fraction") {
		c.PerClass, c.Fraction = of.PerClass, of.Fraction
	}
	c.Method = "ce"
	if len(c.Model.Exits) > 0 {
		c.Method = "subnet_ce"
	}
	if _, err := loss.Parse(c.Method); err != nil {
		return c, err
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	return c, c.CheckGiven(tuning(), func(key string) bool {
		f := cmd.Flags().Lookup(config.FindSetting(key).Flag())
		return f != nil && f.Changed
	})
}

// finetune trains by a configuration from a run's encoder into a new folder, and
// judges the classifiers, if there are images to judge them on. A batch that was
// not chosen becomes as small as it must for few images.
func finetune(ctx context.Context, r *reporter, c config.Run, chosen bool, from string, m run.Manifest, out string) (*results, error) {
	s, err := newSetup(ctx, r, c)
	if err == nil && !chosen && s.Train.Len() < c.Batch {
		if batch := largestBatch(s, c); batch > 0 {
			r.notef("batch %d, as there are %d training images; by default it is %d", batch, s.Train.Len(), c.Batch)
			c.Batch = batch
			s, err = newSetup(ctx, r, c)
		}
	}
	if err != nil && c.Data == m.Config.Data {
		return nil, moved(err, "selfcon finetune --data FORMAT:PATH "+shell.Quote(from))
	}
	if err != nil {
		return nil, err
	}
	for _, note := range s.Notes {
		r.notef("%s", note)
	}
	if judgedSplit(s) == nil {
		r.warnf("%s has neither test nor validation images (val_fraction is 0): the classifiers are trained, but nothing says how good they are", c.Data)
	}
	if err := sameClasses(s.Classes, from, m); err != nil {
		return nil, err
	}
	if err := warnOther(r, from, m, s); err != nil {
		return nil, err
	}
	e, err := openCPU(cpu.Options{Threads: c.Threads, Memory: c.Memory})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	t, err := train.NewTrainer(s, e)
	if err != nil {
		return nil, err
	}
	if err := run.Begin(t, from); err != nil {
		return nil, err
	}
	now, err := run.NewManifest(s, e, versionString())
	if err != nil {
		return nil, err
	}
	if now.From, err = filepath.Abs(from); err != nil {
		return nil, err
	}
	f, err := run.Create(out, now)
	if err != nil {
		return nil, err
	}
	err = r.into(f, func() error {
		if err := f.SaveNow(t); err != nil { // the other run may change
			return err
		}
		return runTrainer(ctx, r, t, e, f)
	})
	if err != nil {
		return nil, err
	}
	return judgeOwn(ctx, r, out)
}

// largestBatch is the largest batch that the training images fill and that goes
// with the other settings of c, such as micro-batches or sampling; 0: there is none.
func largestBatch(s *train.Setup, c config.Run) int {
	for c.Batch = s.Train.Len(); c.Batch > 1; c.Batch-- {
		if c.Validate() != nil {
			continue
		}
		if _, err := s.Loader(s.Train, c.Batch, true); err == nil {
			return c.Batch
		}
	}
	return 0
}

// judgeOwn tests the classifiers that a run has trained with its network, as
// saved; without a table if there are no images to test them on.
func judgeOwn(ctx context.Context, r *reporter, dir string) (*results, error) {
	m, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	s, e, err := openTrained(ctx, r, dir, m, m.Config)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	ds := judgedSplit(s)
	if ds == nil {
		return &results{Split: "none", Classes: s.Classes, Ensemble: eval.DefaultEnsemble(), LabelFraction: 1, Labels: s.Train.Len()}, nil
	}
	res := &results{Split: splitName(s), Images: ds.Len(), Classes: s.Classes, Ensemble: eval.DefaultEnsemble(), LabelFraction: 1, Labels: s.Train.Len()}
	if res.Own, err = ownClassifiers(ctx, r, s, e, res.Ensemble); err != nil {
		return nil, err
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, run.ResultsFile), res); err != nil {
		return res, err
	}
	return res, report.Write(dir)
}
