package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/internal/shell"
	"selfcon/model"
	"selfcon/run"
	"selfcon/train"
	"selfcon/weights"
)

// trainSettings are the flags of a training that are settings, in whole: a file,
// a preset, one for each.
type trainSettings struct{ file, preset string }

func (t *trainSettings) declare(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.file, "config", "", "read settings from this YAML `file` (selfcon config prints one); the environment, key=value and flags replace them")
	cmd.Flags().StringVar(&t.preset, "preset", "", "begin with the recipe of this `name` instead of the defaults below (selfcon presets lists them); settings that are given replace its own")
	complete(cmd, "preset", presetNames)
	settingFlags(cmd, nil)
}

// sources are all that settings come from: pairs are the command's arguments.
func (t *trainSettings) sources(cmd *cobra.Command, pairs []string) (config.Sources, error) {
	s := config.Sources{Environ: os.Environ(), Pairs: pairs, Names: data.ReadClassList}
	if t.file != "" {
		var err error
		if s.Text, err = os.ReadFile(t.file); err != nil {
			return s, usageError{fmt.Errorf("--config: %w", err)}
		}
		s.File = t.file
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if _, ok := f.Value.(*settingFlag); ok || f.Name == "preset" {
			s.Flags = append(s.Flags, config.Flag{Name: f.Name, Value: f.Value.String()})
		}
	})
	return s, nil
}

// resolve makes the configuration of a training; network is that of the weights
// that it begins with, or nil.
func (t *trainSettings) resolve(cmd *cobra.Command, pairs []string, network *model.Config) (config.Resolved, error) {
	s, err := t.sources(cmd, pairs)
	if err != nil {
		return config.Resolved{}, err
	}
	s.Network = network
	r, err := config.Resolve(s)
	if err != nil {
		return r, err
	}
	r.Run.Data = absolute(r.Run.Data)
	if r.Run.Cache != "" {
		r.Run.Cache, err = filepath.Abs(r.Run.Cache)
	}
	return r, err
}

// onlyPairs refuses an argument that is not key=value.
func onlyPairs(cmd *cobra.Command, args []string) error {
	for _, a := range args {
		if !strings.Contains(a, "=") {
			return usagef("%q is no setting: write key=value, such as epochs=10; see %s --help", a, cmd.CommandPath())
		}
	}
	return nil
}

// completePairs offers key=value to the shell.
func completePairs(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	var out []string
	key, _, valued := strings.Cut(word, "=")
	for _, s := range config.Settings() {
		if !valued {
			out = append(out, s.Key+"=")
		} else if s.Key == key {
			for _, v := range s.Offers() {
				out = append(out, key+"="+v)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func trainCommand() *cobra.Command {
	var t trainSettings
	out, resume, initial := "", "", ""
	accept := false
	cmd := &cobra.Command{
		Use:   "train --data FORMAT[:PATH] [key=value …]",
		Short: "Train an encoder on labelled images",
		Long: `Train an encoder on labelled images and write it into a new folder under runs/.

Ctrl-C stops after the step in work and saves; a long run saves every few minutes
besides. --resume goes on from there and gives, bit for bit, what an
uninterrupted run gives.

Settings come from defaults, a preset, a file, the environment (SELFCON_EPOCHS=5),
key=value and flags, the later before the earlier; selfcon config prints what
comes of them.`,
		Example: `  selfcon train --data imagefolder:photos                       # photos/train/<class>/*.jpg, photos/test/<class>/*.jpg
  selfcon train --data imagefolder:photos --width 8 --image 32    # a small network: minutes on a laptop
  selfcon train --data cifar10:cifar-10-binary.tar.gz --method supcon --epochs 100
  selfcon train --data fashion-mnist:fashion --exits 1,2,3 --sub small
  selfcon train --preset cifar100-resnet18-selfcon-s --data cifar100:cifar-100-binary.tar.gz   # the paper's; see selfcon presets
  selfcon train --config photos.yaml epochs=50                    # settings from a file; see selfcon config
  selfcon train --init resnet50.pth --data imagefolder:photos --image 224   # begin with weights from elsewhere
  selfcon train --resume runs/photos-selfcon-s                    # go on after Ctrl-C`,
		Args:              onlyPairs,
		ValidArgsFunction: completePairs,
		RunE: func(cmd *cobra.Command, pairs []string) error {
			r := newReporter(cmd)
			defer r.end()
			if resume != "" {
				if err := resumeRun(cmd, r, &t, pairs, resume, accept); err != nil {
					return err
				}
				sayTrained(cmd, r, resume)
				return nil
			}
			if accept {
				return usagef("--accept-data goes with --resume: a new run takes the data as it is")
			}
			c, begin, err := beginWith(cmd, r, &t, pairs, initial)
			if err != nil {
				return err
			}
			if out, err = trainRun(cmd.Context(), r, c, out, begin); err != nil {
				return err
			}
			sayTrained(cmd, r, out)
			return nil
		},
	}
	t.declare(cmd)
	cmd.Flags().StringVar(&out, "out", "", "the run's folder, which must be new (default: runs/ and a name from data and method)")
	cmd.Flags().StringVar(&initial, "init", "", "begin with the weights in this `file` (safetensors, PyTorch), run's folder or RUN/checkpoints/best: what fits by name and shape; network and exits are its own unless flags say otherwise")
	cmd.Flags().StringVar(&resume, "resume", "", "go on with an interrupted run, given its `folder`; all settings are the run's own but --threads, --workers, --memory, --save-every, --keep, and --data if the images have moved")
	cmd.Flags().BoolVar(&accept, "accept-data", false, "with --resume: go on although labels, names or bytes of the images are not what the run began with, as when damaged ones were replaced")
	return cmd
}

// runName is the default name of a run's folder.
func runName(c config.Run) string { return filepath.Join("runs", dataName(c)+"-"+c.Method) }

// dataName is a short name for a run's data.
func dataName(c config.Run) string {
	name, path, _ := strings.Cut(c.Data, ":")
	if path != "" {
		base := filepath.Base(path)
		for _, ext := range []string{".gz", ".tar", ".tgz"} {
			base = strings.TrimSuffix(base, ext)
		}
		name = base
	}
	return name
}

// beginWith makes the configuration of a training that may begin with weights
// from elsewhere, and reads these; nil: there are none.
func beginWith(cmd *cobra.Command, r *reporter, t *trainSettings, pairs []string, path string) (config.Run, *weights.File, error) {
	var f *weights.File
	var network *model.Config
	if path != "" {
		var err error
		if f, err = weights.Read(path, ""); err != nil {
			return config.Run{}, nil, err
		}
		n, err := f.Recognise("")
		if err != nil {
			return config.Run{}, nil, err
		}
		what := weights.Describe(n)
		if f.Average {
			what += ", the moving averages of its weights"
		}
		r.sayf("begins with %s: %s", path, what)
		network = &n
	}
	c, err := t.resolve(cmd, pairs, network)
	if err != nil {
		return c.Run, nil, err
	}
	for _, note := range c.Notes {
		r.warnf("%s", note)
	}
	return c.Run, f, c.NeedData()
}

// trainRun trains a configuration from the start, or from the weights that it
// begins with if that is not nil, and returns the run's folder.
func trainRun(ctx context.Context, r *reporter, c config.Run, out string, begin *weights.File) (string, error) {
	s, err := newSetup(ctx, r, c)
	if err != nil {
		return "", err
	}
	for _, note := range s.Notes {
		r.notef("%s", note)
	}
	e, err := openCPU(cpu.Options{Threads: c.Threads, Memory: c.Memory})
	if err != nil {
		return "", err
	}
	defer e.Close()
	t, err := train.NewTrainer(s, e)
	if err != nil {
		return "", err
	}
	m, err := run.NewManifest(s, e, versionString())
	if err != nil {
		return "", err
	}
	if begin != nil {
		if err := initialise(r, e, t, begin); err != nil {
			return "", err
		}
		if m.Init, err = filepath.Abs(begin.Path); err != nil {
			return "", err
		}
	}
	if out == "" {
		out = run.Fresh(runName(c))
	}
	f, err := run.Create(out, m) // a folder that can't be written to is found now, not after the training
	if err != nil {
		return "", err
	}
	return out, r.into(f, func() error { return runTrainer(ctx, r, t, e, f) })
}

// initialise puts weights from elsewhere into a trainer that has not begun.
func initialise(r *reporter, e engine.Engine, t *train.Trainer, begin *weights.File) error {
	in, err := weights.LoadInitial(e, t.Variables, begin)
	if err != nil {
		return err
	}
	for _, line := range in.Lines() {
		r.sayf("%s", line)
	}
	return t.StartAverages()
}

// fillCache makes the packed copy of the data if the run wants one and it isn't
// there, which can take long.
func fillCache(ctx context.Context, r *reporter, c config.Run) error {
	if c.Cache == "" || c.Validate() != nil { // NewSetup says what is wrong
		return nil
	}
	_, made, err := train.OpenData(ctx, c, r.phase("pack"))
	if made {
		r.sayf("the images are packed in %s", c.Cache)
	}
	return err
}

// newSetup is train.NewSetup that tells of a cache which is filled before, and lets
// it be interrupted.
func newSetup(ctx context.Context, r *reporter, c config.Run) (*train.Setup, error) {
	if err := fillCache(ctx, r, c); err != nil {
		return nil, err
	}
	return train.NewSetup(c)
}

// resumeRun goes on with an interrupted run.
func resumeRun(cmd *cobra.Command, r *reporter, t *trainSettings, pairs []string, dir string, accept bool) error {
	var extra []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if slices.Contains([]string{"config", "preset", "out", "init"}, f.Name) {
			extra = append(extra, "--"+f.Name)
		}
	})
	if len(extra) > 0 {
		return usagef("--resume goes on with the settings of the run; leave out %s", strings.Join(extra, ", "))
	}
	sources, err := t.sources(cmd, pairs)
	if err != nil {
		return err
	}
	some := config.Quickstart() // what is wrong with any run's settings is wrong with this one's
	if err := config.Override(&some, sources); err != nil {
		return err
	}
	m, err := run.Open(dir)
	if err != nil {
		return err
	}
	if m.Done {
		return usagef("%s is done: there is nothing to resume; next: selfcon probe %s", dir, shell.Quote(dir))
	}
	f, err := run.Reopen(dir)
	if err != nil {
		return err
	}
	return r.into(f, func() error { return resumeIn(cmd.Context(), r, f, sources, accept) })
}

// sayTrained prints a run's folder and says what comes next.
func sayTrained(cmd *cobra.Command, r *reporter, dir string) {
	fmt.Fprintln(cmd.OutOrStdout(), dir)
	if byItself(cmd.Context()) {
		r.sayf("next: selfcon probe %s", shell.Quote(dir))
	}
}

// resumeIn goes on with the run in a folder, also with data that has changed if
// that is accepted.
func resumeIn(ctx context.Context, r *reporter, f *run.Folder, sources config.Sources, accept bool) error {
	m := &f.Manifest
	c := m.Config
	if err := config.Override(&c, sources); err != nil {
		return err
	}
	c.Data = absolute(c.Data)
	s, err := newSetup(ctx, r, c)
	if err != nil && c.Data == m.Config.Data {
		return moved(err, "selfcon train --resume "+shell.Quote(f.Dir)+" --data FORMAT:PATH")
	}
	if err != nil {
		return err
	}
	checked, err := m.CheckData(f.Dir, s, accept)
	if err != nil {
		return err
	}
	m.Config = c
	e, err := openCPU(cpu.Options{Threads: c.Threads, Memory: c.Memory})
	if err != nil {
		return err
	}
	defer e.Close()
	t, err := train.NewTrainer(s, e)
	if err != nil {
		return err
	}
	notes, err := f.Restore(t)
	for _, note := range notes {
		r.warnf("%s", note)
	}
	if err != nil {
		return err
	}
	for _, note := range f.GoOn(t, versionString(), checked) {
		r.warnf("%s", note)
	}
	if m.From != "" && !f.Saved() {
		if err := run.Begin(t, m.From); err != nil {
			return err
		}
	}
	if m.Init != "" && !f.Saved() {
		begin, err := weights.Read(m.Init, "")
		if err != nil {
			return err
		}
		if err := initialise(r, e, t, begin); err != nil {
			return err
		}
	}
	return runTrainer(ctx, r, t, e, f)
}

// runTrainer trains to the end, to an interruption or to an error of the data,
// and saves in any case; and every so often, so that a machine that stops does
// not take the run with it.
func runTrainer(ctx context.Context, r *reporter, t *train.Trainer, e engine.Engine, f *run.Folder) error {
	s, c, m := t.Setup, t.Setup.Config, &f.Manifest
	saveEvery, err := time.ParseDuration(c.SaveEvery)
	if err != nil {
		return err
	}
	r.tell("train", fmt.Sprintf("%s: %s on %d images of %d×%d×%d, %d classes; %s of width %d, %s; %s", f.Dir, s.Method.Name, s.Train.Len(),
		c.Image, c.Image, c.Model.ImageChannels, len(s.Classes), c.Model.Arch, c.Model.Width, c.Model.SubNetworks(), e.Name()),
		"run", f.Dir, "method", s.Method.Name, "images", s.Train.Len(), "classes", len(s.Classes), "arch", c.Model.Arch, "width", c.Model.Width,
		"exits", c.Model.Exits, "epochs", c.Epochs, "batch", c.Batch, "engine", e.Name())
	if cores := runtime.NumCPU(); c.Threads > cores {
		r.notef("threads %d: this process may use %s, and more threads than cores make nothing faster", c.Threads, counted(cores, "core"))
	}
	f.Warn = func(text string) { r.warnf("%s", text) }
	start := time.Now()
	saved := start
	var last train.Progress
	before := m.Cost // of the parts before this one
	save := func(how func(*train.Trainer) error) error {
		peak, err := peakMemory()
		if err != nil {
			return err
		}
		m.Cost = run.Cost{
			Seconds: before.Seconds + time.Since(start).Seconds(), Waited: before.Waited + last.Waited.Seconds(),
			Steps: before.Steps + last.Steps, Peak: max(before.Peak, peak),
		}
		saved = time.Now()
		if err := t.Finite(); err != nil {
			return err
		}
		return how(t)
	}
	look := newBoard(r, f, t)
	defer look.close()
	var failed error // to take a copy, or to write down what can't be written
	err = t.Run(ctx, func(p train.Progress) {
		last = p
		r.training(p)
		look.step(p)
		if p.EpochDone {
			failed = errors.Join(failed, f.Epoch(run.NewEpoch(p)))
		}
		if p.Validation != nil {
			r.tell("validation", validated(p), "epoch", p.Epoch, "score", p.Validation.Score, "measure", p.Validation.Measure, "exits", p.Validation.Exits, "improved", p.Improved)
		}
		if p.Improved || time.Since(saved) > saveEvery {
			failed = errors.Join(failed, save(f.Save))
		}
		for _, w := range p.Warnings {
			r.warnf("%s", w)
		}
	})
	r.end()
	if errors.Is(err, train.ErrDiverged) { // not worth saving
		return beforeThat(f, t.Place, err)
	}
	if err != nil {
		where := t.After()
		stopped := ctx.Err() != nil
		if stopped {
			err = errors.New("interrupted")
		}
		if saving := save(f.SaveNow); errors.Is(saving, train.ErrDiverged) {
			return beforeThat(f, t.Place, saving)
		} else if saving != nil {
			return fmt.Errorf("%w %s, and saving failed: %w", err, where, saving)
		}
		if stopped {
			return interrupted{"interrupted " + where + " and saved", "go on with: selfcon train --resume " + shell.Quote(f.Dir)}
		}
		return fmt.Errorf("%w (%s; saved: when this is mended, go on with: selfcon train --resume %s)", err, where, shell.Quote(f.Dir))
	}
	if err := save(f.Finish); errors.Is(err, train.ErrDiverged) {
		return beforeThat(f, t.Place, err)
	} else if err != nil {
		return err
	}
	look.embed(ctx, t)
	r.tell("trained", fmt.Sprintf("trained %s in %s", counted(c.Epochs, "epoch"), short(time.Since(start))),
		"run", f.Dir, "epochs", c.Epochs, "seconds", round(time.Since(start).Seconds()))
	if b := t.Best; b != nil && b.Epoch < c.Epochs {
		r.notef("the run's model is that of its end; by the validation images epoch %d was the best, and %s, in place of the run's folder, is what it was then", b.Epoch, shell.Quote(filepath.Join(f.Dir, run.CheckpointsDir, run.BestFile)))
	}
	if share := last.Waited.Seconds() / last.Elapsed.Seconds(); share > 0.1 {
		r.notef("%.0f%% of that time the network waited for images, which %d threads on %d cores load and augment: --cache FOLDER keeps them decoded, and --cache-side shrinks large ones",
			100*share, cmp.Or(c.Workers, runtime.GOMAXPROCS(0)), runtime.NumCPU())
	}
	return failed
}

// beforeThat adds to the error of a run that has diverged at some place what is
// saved of before, of which it is known that a step still went well, and how to go
// on from it or begin anew with a smaller rate.
func beforeThat(f *run.Folder, at train.Place, err error) error {
	m, c := f.Manifest, f.Manifest.Config
	smaller := fmt.Sprintf(" --lr %.3g", c.Rate/10)
	if c.HeadRate > 0 {
		smaller += fmt.Sprintf(" --head-lr %.3g", c.HeadRate/10)
	}
	again := "selfcon train --config " + shell.Quote(filepath.Join(f.Dir, run.ConfigFile)) + smaller
	dir, then, loss, unread := f.Before(at)
	switch {
	case unread != nil:
		return errors.Join(err, unread)
	case dir != "" && then == (train.Place{}): // of a fine-tuning: what it began with
		again += " --init " + shell.Quote(dir)
	case dir != "":
		return fmt.Errorf("%w; before that %s was saved (%s, mean loss %.4g): to go on from it in a new run, with a tenth of the rate: %s --init %s", err, dir, then.After(), loss, again, shell.Quote(dir))
	case m.Init != "":
		again += " --init " + shell.Quote(m.Init)
	}
	return fmt.Errorf("%w; nothing was saved before that: to begin anew, with a tenth of the rate: %s", err, again)
}

// validated tells of a validation.
func validated(p train.Progress) string {
	v := p.Validation
	how := "by nearest neighbours"
	if v.Measure == train.MeasureClassifier {
		how = "by the classifier"
	}
	var exits []string
	for _, x := range v.Exits {
		exits = append(exits, fmt.Sprintf("%s %.1f %%", x.Name, 100*x.Top1))
	}
	text := fmt.Sprintf("epoch %d: validation %s: %s of %d images (%.1f s)", p.Epoch, how, strings.Join(exits, ", "), v.Images, v.Seconds)
	if p.Improved {
		text += ", the best so far"
	}
	return text
}
