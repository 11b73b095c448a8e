package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"selfcon/checkpoint"
	"selfcon/compare"
	"selfcon/config"
	"selfcon/data"
	"selfcon/engine/cpu"
	"selfcon/eval"
	"selfcon/internal/shell"
	"selfcon/internal/suggest"
	"selfcon/loss"
	"selfcon/run"
	"selfcon/train"
)

// The files of a comparison's folder; beside them are the runs' folders.
const (
	planFile     = "plan.json"    // comparePlan
	reportFile   = "compare.json" // compare.Report
	markdownFile = "compare.md"
	judgedFile   = "judged.json" // in a run's folder: judgedRun
)

func compareCommand() *cobra.Command {
	o := comparison{judging: judging{Split: "test", KNN: eval.DefaultKNN()}}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "compare --data FORMAT[:PATH]",
		Short: "Train several methods under equal budgets and set them side by side",
		Long: `Train every method with every budget and seed, each in a process of its own, judge
the exits of each by linear probes and nearest neighbours, and print one table:
top-1, seconds, peak memory and images/s, mean ± deviation over the seeds. The
flags that selfcon train has are settings of all methods; --for changes one for
a single method. What is not given is each method's own: selfcon-s, -m, -su and
-mu learn by AdamW with --lr 0.005, the others by SGD with --lr 0.1.

The same command, given again, goes on where it stopped: trainings that are done
are kept, an interrupted one is resumed, and more --methods, --epochs or --seeds
add to what is there.

--seconds measures each method's speed once, for a few seconds, and trains for
as many whole epochs as fit; the epochs are kept in the folder. A training that
then takes a tenth more or less than its budget is named in a warning and below
the table.`,
		Example: `  selfcon compare --data sample --preset small-sample --methods ce,selfcon-s --epochs 5
  selfcon compare --data cifar10:cifar-10-binary.tar.gz --width 8 --per-class 1000 --epochs 15,30
  selfcon compare --data imagefolder:photos --width 8 --image 32 --seconds 60,240 --seeds 2
  selfcon compare --data imagefolder:photos --for ce:augment=weak --split validation   # to choose settings by`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := newReporter(cmd)
			defer r.end()
			report, err := o.run(cmd.Context(), r, cmd)
			if report != nil && err == nil {
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), report)
				}
				_, err = io.WriteString(cmd.OutOrStdout(), report.String())
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&o.plan.Methods, "methods", []string{"ce", "supcon", "supcon-s", "selfcon-s", "selfcon-m"}, "what to compare: any of "+methodNames())
	f.Var(&intList{&o.epochs}, "epochs", "budgets in passes over the training images, such as 15,30 (default: as many as selfcon train takes)")
	f.Var(&intList{&o.seconds}, "seconds", "budgets in seconds of training instead, such as 60,240")
	f.IntVar(&o.seeds, "seeds", 3, "trainings of each method and budget, whose seeds are --seed and those after it")
	f.Uint64Var(&o.seed, "seed", 1, "the first seed; a seed fixes everything random")
	f.StringArrayVar(&o.only, "for", nil, "a setting of one method, as `METHOD:FLAG=VALUE`, such as ce:augment=weak; may be repeated")
	f.StringVar(&o.preset, "preset", "", "begin with the recipes of this `name` and each method's, such as small-sample for small-sample-ce and so on (selfcon presets)")
	f.StringVar(&o.out, "out", "", "the comparison's `folder` (default: compare/ and a name from the data)")
	f.StringVar(&o.judging.Split, "split", o.judging.Split, "what to judge on: test, or validation to choose settings by")
	f.IntVar(&o.judging.KNN.K, "k", o.judging.KNN.K, "nearest neighbours that vote (at most all training images)")
	f.Float64SliceVar(&o.judging.Fractions, "label-fraction", nil, "also probe with the labels of these shares of the training images only, such as 0.01,0.1")
	f.BoolVar(&asJSON, "json", false, "print everything as JSON")
	o.settings = trainFlagSet()
	o.settings.VisitAll(func(x *pflag.Flag) {
		if ofMethod(x.Name) {
			x.DefValue = "" // its text says what each method's is
		}
		if f.Lookup(x.Name) == nil && !slices.Contains([]string{"method", "resume"}, x.Name) {
			f.AddFlag(x)
		}
	})
	complete(cmd, "split", func() []string { return []string{"test", "validation"} })
	return cmd
}

// ofMethod is whether methods have a setting's default each their own.
func ofMethod(flag string) bool {
	s := config.FindSetting(strings.ReplaceAll(flag, "-", "_"))
	if s == nil || s.Key == "method" {
		return false
	}
	d := config.Default()
	return slices.ContainsFunc(loss.Methods(), func(m loss.Method) bool {
		c := config.DefaultOf(m.Name, "")
		return s.Text(&c) != s.Text(&d)
	})
}

// trainFlagSet are the flags of selfcon train that are settings of a run.
func trainFlagSet() *pflag.FlagSet {
	cmd := &cobra.Command{}
	(&trainSettings{}).declare(cmd)
	return cmd.Flags()
}

// comparison is what selfcon compare was asked for.
type comparison struct {
	plan            compare.Plan
	epochs, seconds []int
	seeds           int
	seed            uint64
	only            []string
	preset, out     string
	judging         judging
	settings        *pflag.FlagSet // of all methods
}

// judging says how the runs of a comparison are judged.
type judging struct {
	Split     string         `json:"split"` // test or validation
	KNN       eval.KNNConfig `json:"knn"`
	Fractions []float64      `json:"label_fractions,omitempty"`
}

// judgedRun is what judging a run gave.
type judgedRun struct {
	Judging judging          `json:"judging"`
	Images  int              `json:"images"`
	Judged  []compare.Judged `json:"judged"`
}

// comparePlan is what a comparison's folder was begun with.
type comparePlan struct {
	Settings map[string][]string `json:"settings"` // by method: flags of selfcon train
	Epochs   map[string]int      `json:"epochs"`   // by method and seconds: as many as were found to fit
}

func (o *comparison) run(ctx context.Context, r *reporter, cmd *cobra.Command) (*compare.Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	now := comparePlan{Settings: map[string][]string{}, Epochs: map[string]int{}}
	configs := map[string]config.Run{}
	for _, m := range o.plan.Methods {
		args, err := o.arguments(m)
		if err != nil {
			return nil, err
		}
		now.Settings[m] = args
		if len(o.plan.Budgets) > 0 { // and not the epochs of a preset
			args = append(slices.Clip(args), "--epochs=0")
		}
		if configs[m], err = parseTraining(args); err != nil {
			return nil, err
		}
	}
	first := configs[o.plan.Methods[0]]
	if o.out == "" {
		o.out = filepath.Join("compare", dataName(first))
	}
	if err := o.budgets(ctx, r, first); err != nil {
		return nil, err
	}
	if err := o.checkEpochs(now); err != nil {
		return nil, err
	}
	held, err := run.Claim(o.out, planFile, "comparing")
	if err != nil {
		return nil, err
	}
	defer held.Close()
	plan, err := o.adopt(now)
	if err != nil {
		return nil, err
	}
	if err := o.measure(ctx, r, plan, configs); err != nil {
		return nil, err
	}
	if err := o.checkEpochs(plan); err != nil {
		return nil, err
	}
	if err := o.keep(plan); err != nil {
		return nil, err
	}
	cases := o.plan.Cases()
	var outcomes []compare.Outcome
	var failed error
	for i, c := range cases {
		dir := filepath.Join(o.out, c.Name())
		trained, err := o.train(ctx, r, cmd.ErrOrStderr(), plan, c, dir, fmt.Sprintf("%d of %d: %s", i+1, len(cases), c.Name()))
		var child childError
		if errors.As(err, &child) && child.code == exitFailed { // its own fault: the others may do
			failed = errors.Join(failed, fmt.Errorf("%s: %w", c.Name(), err))
			r.warnf("%s failed; going on with the others", c.Name())
			continue
		}
		if err != nil {
			return nil, o.goOn(ctx, err)
		}
		found, err := o.outcome(ctx, r, c, dir)
		if err != nil {
			return nil, o.goOn(ctx, err)
		}
		if c.Budget.Seconds > 0 && trained {
			sayBudget(r, found)
		}
		outcomes = append(outcomes, found)
		if err := o.write(plan, outcomes); err != nil {
			return nil, err
		}
	}
	if len(outcomes) == 0 {
		return nil, failed
	}
	report, err := o.report(plan, outcomes)
	if failed != nil {
		fmt.Fprint(cmd.OutOrStdout(), report.String())
	}
	r.sayf("the comparison is in %s: %s, %s, and the runs", o.out, markdownFile, reportFile)
	return report, errors.Join(err, failed)
}

// goOn makes the error of a signal say what to do next.
func (o *comparison) goOn(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return interrupted{"interrupted", "the same command goes on, with what is in " + o.out}
	}
	return err
}

func (o *comparison) check() error {
	for _, m := range o.plan.Methods {
		if _, err := loss.Parse(m); err != nil {
			return usageError{err}
		}
	}
	switch {
	case len(o.epochs) > 0 && len(o.seconds) > 0:
		return usagef("--epochs and --seconds: give one kind of budget; two comparisons can have each their own --out")
	case o.seeds < 1:
		return usagef("--seeds %d: must be at least 1", o.seeds)
	case o.judging.Split != "test" && o.judging.Split != "validation":
		return usagef("--split: unknown value %q%s", o.judging.Split, suggest.Among(o.judging.Split, []string{"test", "validation"}))
	}
	if err := o.judging.KNN.Validate(); err != nil {
		return usageError{err}
	}
	for _, f := range o.judging.Fractions {
		if !(f > 0 && f < 1) {
			return usagef("--label-fraction %g: must be greater than 0 and less than 1", f)
		}
	}
	for i := range o.seeds {
		o.plan.Seeds = append(o.plan.Seeds, o.seed+uint64(i))
	}
	for _, n := range o.epochs {
		o.plan.Budgets = append(o.plan.Budgets, compare.Budget{Epochs: n})
	}
	for _, n := range o.seconds {
		o.plan.Budgets = append(o.plan.Budgets, compare.Budget{Seconds: n})
	}
	return nil
}

// arguments are the flags of selfcon train for a method: those of all methods,
// and its own in their place.
func (o *comparison) arguments(method string) ([]string, error) {
	m, err := loss.Parse(method)
	if err != nil {
		return nil, usageError{err}
	}
	args := []string{"--method=" + method}
	if o.preset != "" {
		args = append(args, "--preset="+o.preset+"-"+method)
	}
	own := map[string]bool{}
	var last []string
	for _, s := range o.only {
		to, setting, ok := strings.Cut(s, ":")
		name, _, valued := strings.Cut(setting, "=")
		switch {
		case !ok || !valued:
			return nil, usagef("--for %s: must be METHOD:FLAG=VALUE, such as ce:augment=weak", s)
		case !slices.Contains(o.plan.Methods, to):
			return nil, usagef("--for %s: %s is not among the --methods%s", s, to, suggest.Among(to, o.plan.Methods))
		case slices.Contains([]string{"method", "seed", "epochs", "preset", "out", "resume"}, name):
			return nil, usagef("--for %s: --%s can't be that of one method", s, name)
		case to == method:
			own[name] = true
			last = append(last, "--"+setting)
		}
	}
	o.settings.VisitAll(func(f *pflag.Flag) {
		if !f.Changed || own[f.Name] || f.Name == "exits" && !m.NeedsExits() || unheeded(method, f.Name) {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				args = append(args, "--"+f.Name+"="+v)
			}
			return
		}
		args = append(args, "--"+f.Name+"="+f.Value.String())
	})
	return append(args, last...), nil
}

// unheeded is whether a setting of all methods is none for this one.
func unheeded(method, flag string) bool {
	key := strings.ReplaceAll(flag, "-", "_")
	return config.FindSetting(key) != nil && !config.MethodHeeds(method, key)
}

// parseTraining reads the flags of selfcon train.
func parseTraining(args []string) (config.Run, error) {
	var t trainSettings
	cmd := &cobra.Command{Use: "selfcon train"}
	t.declare(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		return config.Run{}, flagError(cmd, err)
	}
	c, err := t.resolve(cmd, nil, nil)
	if err != nil {
		return c.Run, err
	}
	return c.Run, c.NeedData()
}

// budgets fills in the budget that selfcon train has, where none is given.
func (o *comparison) budgets(ctx context.Context, r *reporter, first config.Run) error {
	if err := fillCache(ctx, r, first); err != nil {
		return err
	}
	if len(o.plan.Budgets) > 0 {
		first.Epochs = cmp.Or(o.plan.Budgets[0].Epochs, forever)
	}
	s, err := train.NewSetup(first) // which finds out what is wrong with the data, too
	if err != nil {
		return err
	}
	if s.Val == nil {
		return errNoValidation
	}
	if o.judging.Split == "test" && s.Test == nil {
		return usagef("the data has no test split: give --split validation")
	}
	if len(o.plan.Budgets) == 0 {
		o.plan.Budgets = []compare.Budget{{Epochs: s.Config.Epochs}}
	}
	if err := o.plan.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

// checkEpochs refuses settings that can't be with the epochs of a budget, such as
// a warm-up that is longer, before anything is trained. Those of a budget of
// seconds that was not measured yet are not known.
func (o *comparison) checkEpochs(plan comparePlan) error {
	for _, b := range o.plan.Budgets {
		for _, m := range o.plan.Methods {
			n := plan.epochs(m, b)
			if n == 0 {
				continue
			}
			if _, err := parseTraining(append(slices.Clip(plan.Settings[m]), fmt.Sprintf("--epochs=%d", n))); err != nil {
				return fmt.Errorf("%s within a budget of %s: %w", m, b, err)
			}
		}
	}
	return nil
}

// epochs are those of a method within a budget; 0: not measured yet.
func (p comparePlan) epochs(method string, b compare.Budget) int {
	if b.Seconds > 0 {
		return p.Epochs[method+" "+b.String()]
	}
	return b.Epochs
}

// adopt joins what the comparison's folder was begun with.
func (o *comparison) adopt(now comparePlan) (comparePlan, error) {
	path := filepath.Join(o.out, planFile)
	var then comparePlan
	err := checkpoint.ReadJSON(path, &then)
	if errors.Is(err, fs.ErrNotExist) {
		return now, nil
	}
	if err != nil {
		return now, err
	}
	for m, args := range then.Settings {
		if have, ok := now.Settings[m]; ok && !slices.Equal(have, args) {
			return now, usagef("%s trains %s with %s, not with %s: give the same settings, or another --out", o.out, m, strings.Join(args, " "), strings.Join(have, " "))
		}
		now.Settings[m] = args
	}
	for k, n := range then.Epochs {
		now.Epochs[k] = n
	}
	return now, nil
}

// keep writes what the comparison is begun with into its folder.
func (o *comparison) keep(plan comparePlan) error {
	return checkpoint.WriteJSON(filepath.Join(o.out, planFile), plan)
}

// measure finds out how many epochs fit into the budgets of time; what it has found
// before it is interrupted is kept.
func (o *comparison) measure(ctx context.Context, r *reporter, plan comparePlan, configs map[string]config.Run) error {
	measured := false
	for _, m := range o.plan.Methods {
		var missing []compare.Budget
		for _, b := range o.plan.Budgets {
			if plan.epochs(m, b) == 0 {
				missing = append(missing, b)
			}
		}
		if len(missing) == 0 {
			continue
		}
		step, batches, err := timeTraining(ctx, configs[m])
		if err != nil && ctx.Err() != nil && measured && o.checkEpochs(plan) == nil { // what can't be is not kept: it may be mended
			if err := o.keep(plan); err != nil {
				return err
			}
		}
		if err != nil {
			return o.goOn(ctx, err)
		}
		measured = true
		for _, b := range missing {
			n := compare.EpochsIn(b.Seconds, step, batches)
			plan.Epochs[m+" "+b.String()] = n
			r.sayf("%s: a step takes %.1f ms, so %d s are %d epochs of %d steps", m, 1e3*step.Seconds(), b.Seconds, n, batches)
		}
	}
	return nil
}

// forever is epochs that are never done.
const forever = 1 << 20

// How long a training is timed for: at least so many steps and so much time,
// after some that are not counted.
const (
	timedFirst = 5
	timedSteps = 20
	timedFor   = 5 * time.Second
)

// timeTraining trains for some seconds, and says how long a step takes, with all
// that it waits for, and how many make an epoch.
func timeTraining(ctx context.Context, c config.Run) (step time.Duration, batches int, err error) {
	c.Epochs = forever
	s, err := train.NewSetup(c)
	if err != nil {
		return 0, 0, err
	}
	e, err := openCPU(cpu.Options{Threads: c.Threads, Memory: c.Memory})
	if err != nil {
		return 0, 0, err
	}
	defer e.Close()
	t, err := train.NewTrainer(s, e)
	if err != nil {
		return 0, 0, err
	}
	enough := errors.New("enough")
	timed, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var from time.Duration
	err = t.Run(timed, func(p train.Progress) {
		batches = p.Batches
		n := p.Steps - timedFirst
		if n == 0 {
			from = p.Elapsed
		}
		if took := p.Elapsed - from; n >= timedSteps && took >= timedFor {
			step = took / time.Duration(n)
			stop(enough)
		}
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return step, batches, err
}

// train sees to it that a case's run is done; trained is whether it was not yet.
func (o *comparison) train(ctx context.Context, r *reporter, stderr io.Writer, plan comparePlan, c compare.Case, dir, title string) (trained bool, err error) {
	m, err := run.Open(dir)
	switch {
	case err == nil && m.Done:
		return false, nil
	case err == nil:
		r.sayf("%s, resumed", title)
		return true, child(ctx, stderr, append(r.flags(), "train", "--resume="+dir)...)
	}
	if _, missing := os.Stat(filepath.Join(dir, run.ManifestFile)); !errors.Is(missing, fs.ErrNotExist) {
		return false, err
	}
	if err := os.RemoveAll(dir); err != nil { // begun, but nothing saved yet
		return false, err
	}
	r.sayf("%s", title)
	args := append(append(r.flags(), "train", "--validate-every=0"), plan.Settings[c.Method]...) // which takes time, and not the same
	return true, child(ctx, stderr, append(args, fmt.Sprintf("--epochs=%d", plan.epochs(c.Method, c.Budget)), fmt.Sprintf("--seed=%d", c.Seed), "--out="+dir)...)
}

// childError is how a process of this program ended, which has said itself why.
type childError struct{ code int }

func (e childError) Error() string {
	return fmt.Sprintf("the training ended with exit code %d; its message is above", e.code)
}

// child runs this program in a process of its own, so that its memory is that of
// the training alone. When ctx ends the process is asked to stop and waited for;
// when this process ends otherwise, the child stops too.
func child(ctx context.Context, stderr io.Writer, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = stderr
	cmd.Env = append(os.Environ(), lifeline+"=1")
	separate(cmd)
	line, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { line.Close() })
	defer stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return childError{exit.ExitCode()}
	}
	return err
}

// sayBudget tells how long a training took against its budget of seconds, and
// warns where methods can't be compared by it.
func sayBudget(r *reporter, o compare.Outcome) {
	if !o.OffBudget() {
		r.sayf("%s took %.1f s of its budget of %d s", o.Name(), o.Seconds, o.Budget.Seconds)
		return
	}
	r.warnf("%s took %.1f s, not its budget of %d s: the machine was busier or freer than when a step was timed, or a whole epoch is long; another --out times it anew", o.Name(), o.Seconds, o.Budget.Seconds)
}

// outcome judges a run that is done, unless that is done too, and sums it up.
func (o *comparison) outcome(ctx context.Context, r *reporter, c compare.Case, dir string) (compare.Outcome, error) {
	out := compare.Outcome{Case: c, Split: o.judging.Split}
	m, err := run.Open(dir)
	if err != nil {
		return out, err
	}
	out.Epochs, out.Engine = m.Config.Epochs, m.Engine
	out.Seconds, out.Peak, out.Speed = m.Cost.Seconds, m.Cost.Peak, m.Cost.ImagesPerSecond(m.Config.Batch)
	path := filepath.Join(dir, judgedFile)
	var j judgedRun
	err = checkpoint.ReadJSON(path, &j)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	if err != nil || !reflect.DeepEqual(j.Judging, o.judging) {
		if j, err = o.judge(ctx, r, dir, m); err != nil {
			return out, err
		}
		if err := checkpoint.WriteJSON(path, j); err != nil {
			return out, err
		}
	}
	out.Images, out.Judged = j.Images, j.Judged
	return out, nil
}

// judge probes a run: with all labels, by nearest neighbours, with few labels.
func (o *comparison) judge(ctx context.Context, r *reporter, dir string, m run.Manifest) (judgedRun, error) {
	j := judgedRun{Judging: o.judging}
	s, e, err := openTrained(ctx, r, dir, m, m.Config)
	if err != nil {
		return j, err
	}
	defer e.Close()
	if o.judging.Split == "validation" {
		s.Test = nil
	}
	if s.Val == nil {
		return j, errNoValidation
	}
	j.Images = judgedSplit(s).Len()
	take := extractor(e, s)
	seen := map[string]*eval.Features{}
	once := func(ctx context.Context, r *reporter, ds data.Dataset, what string) (*eval.Features, error) {
		if f := seen[what]; f != nil && what != "training" { // of which there is only a part for few labels
			return f, nil
		}
		f, err := take(ctx, r, ds, what)
		seen[what] = f
		return f, err
	}
	p := defaultProbe()
	p.knn, p.neighbours = true, o.judging.KNN
	linears, res, err := probe(ctx, r, s, e, p, "probe", once)
	if err != nil {
		return j, err
	}
	if o.judging.Split == "test" { // as selfcon probe does
		if err := saveProbe(dir, linears, p.ensemble); err != nil {
			return j, err
		}
		if err := checkpoint.WriteJSON(filepath.Join(dir, run.ResultsFile), res); err != nil {
			return j, err
		}
	}
	own, err := ownClassifiers(ctx, r, s, e, p.ensemble)
	if err != nil {
		return j, err
	}
	j.Judged = append(j.Judged, compare.Judged{By: "linear probe", Table: brief(res.Table)})
	if own != nil {
		j.Judged = append(j.Judged, compare.Judged{By: "classifiers trained with the network", Table: brief(own)})
	}
	j.Judged = append(j.Judged, compare.Judged{By: fmt.Sprintf("%d nearest neighbours", res.KNN.K), Table: brief(res.KNN.Table)})
	p.knn = false
	for _, f := range o.judging.Fractions {
		p.labelFraction = f
		_, few, err := probe(ctx, r, s, e, p, "probe", once)
		if err != nil {
			return j, err
		}
		j.Judged = append(j.Judged, compare.Judged{By: fmt.Sprintf("linear probe with %d labels", few.Labels), Table: brief(few.Table)})
	}
	return j, nil
}

// brief leaves out what a comparison does not show.
func brief(t eval.Table) eval.Table {
	out := slices.Clone(t)
	for i := range out {
		out[i].PerClass, out[i].Confusion = nil, nil
	}
	return out
}

func (o *comparison) report(plan comparePlan, outcomes []compare.Outcome) (*compare.Report, error) {
	settings := map[string]string{}
	for m, args := range plan.Settings {
		settings[m] = "selfcon train " + shell.Command(args)
	}
	return compare.NewReport(o.plan, settings, outcomes)
}

// write puts what there is into the comparison's folder.
func (o *comparison) write(plan comparePlan, outcomes []compare.Outcome) error {
	report, err := o.report(plan, outcomes)
	if err != nil {
		return err
	}
	if err := checkpoint.WriteJSON(filepath.Join(o.out, reportFile), report); err != nil {
		return err
	}
	return checkpoint.WriteText(filepath.Join(o.out, markdownFile), []byte(report.Markdown()))
}
