package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/eval"
	"selfcon/internal/shell"
	"selfcon/model"
	"selfcon/report"
	"selfcon/run"
	"selfcon/train"
)

// evalBatch is how many images are put through a frozen network at once.
const evalBatch = 100

func probeCommand() *cobra.Command {
	o := defaultProbe()
	p := &o.linear
	var override string
	threads, workers := 0, 0
	asJSON, perClass, confusion := false, false, false
	cmd := &cobra.Command{
		Use:   "probe RUN",
		Short: "Judge a run's encoder: a linear classifier on every exit, and their ensemble",
		Long: `Train a linear classifier on the frozen features of every exit (linear
evaluation) and print top-1, top-5 and the expected calibration error (ECE) of
each and of their ensemble on the test split. The epoch is chosen on the validation split; the
test split is looked at once, at the end. Data without a test split is judged on
its validation split, and the table says so.

The classifiers are saved in the run's folder, for selfcon predict, unless
--label-fraction keeps labels from them. Ctrl-C ends a probe without saving.`,
		Example: `  selfcon probe runs/photos-selfcon-s
  selfcon probe --json runs/photos-selfcon-s
  selfcon probe runs/photos-selfcon-s/checkpoints/best     # as it was at its best validation; classifiers apart
  selfcon probe --knn --label-fraction 0.1 runs/photos-selfcon-s
  selfcon probe --data imagefolder:other-photos runs/photos-selfcon-s   # the same classes, other images`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.given(cmd); err != nil {
				return err
			}
			r := newReporter(cmd)
			defer r.end()
			dir, m, err := openModel(r, args[0])
			if err != nil {
				return err
			}
			c := m.Config
			if override != "" {
				c.Data = absolute(override)
			} else if err := m.NeedData(dir); err != nil {
				return err
			}
			if cmd.Flags().Changed("threads") {
				c.Threads = threads
			}
			if cmd.Flags().Changed("workers") {
				c.Workers = workers
			}
			res, err := probeRun(cmd.Context(), r, dir, m, c, o)
			if errors.Is(err, context.Canceled) {
				return interrupted{"interrupted; nothing of this probe was saved", "the same command begins anew"}
			}
			if res == nil {
				return err
			}
			// What was found out is printed even if it could not be saved.
			if asJSON {
				return errors.Join(err, writeJSON(cmd.OutOrStdout(), res))
			}
			_, printed := io.WriteString(cmd.OutOrStdout(), res.String()+res.details(perClass, confusion))
			return errors.Join(err, printed)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&override, "data", "", "judge on other data with the same classes, or the run's own where they have moved to, as `FORMAT[:PATH]` (default: the run's own, where they were)")
	f.StringVar((*string)(&o.ensemble.Mean), "ensemble", string(o.ensemble.Mean), "how the exits vote together: the mean of their logits or of their probabilities")
	f.StringSliceVar(&o.ensemble.Exits, "ensemble-exits", nil, "the `exits` of the ensemble, such as 1,backbone: stages with a sub-network, and backbone (default: all)")
	f.BoolVar(&o.knn, "knn", false, "also classify by the nearest neighbours among the training features")
	f.IntVar(&o.neighbours.K, "k", o.neighbours.K, "neighbours of --knn (at most all training images)")
	f.Float64Var(&o.neighbours.Temperature, "knn-temperature", o.neighbours.Temperature, "divides the cosine similarities before they become the neighbours' votes")
	f.Float64Var(&o.labelFraction, "label-fraction", o.labelFraction, "share of the training images whose labels the classifiers see, such as 0.01, class by class, at least one each; saves nothing in the run's folder")
	probeFlags(cmd, p)
	machineFlags(f, &threads, &workers)
	f.BoolVar(&perClass, "per-class", false, "print every class's accuracy too (always in the JSON)")
	f.BoolVar(&confusion, "confusion", false, "print the confusion matrices too (always in the JSON)")
	f.BoolVar(&asJSON, "json", false, "print everything as JSON")
	return cmd
}

func probeFlags(cmd *cobra.Command, p *eval.ProbeConfig) {
	f := cmd.Flags()
	f.IntVar(&p.Epochs, "epochs", p.Epochs, "times to go through the training features")
	f.IntVar(&p.Batch, "batch", p.Batch, "features a step")
	f.Float64Var(&p.Rate, "lr", p.Rate, "learning rate at the start")
	f.Float64Var(&p.WeightDecay, "weight-decay", p.WeightDecay, "weight decay of the classifiers")
	f.Var(&intList{&p.Milestones}, "milestones", "epochs after which the rate is divided by 10, or none (default: after 60 and 80 % of them)")
	f.BoolVar(&p.Standardize, "standardize", p.Standardize, "shift and scale each feature to mean 0 and deviation 1 over the training set first")
	f.Uint64Var(&p.Seed, "seed", p.Seed, "fixes everything random")
}

// probeOptions say how an encoder is judged.
type probeOptions struct {
	linear        eval.ProbeConfig
	knn           bool
	neighbours    eval.KNNConfig
	labelFraction float64       // of the training images, class by class
	ensemble      eval.Ensemble // its exits by stage, or backbone
}

func defaultProbe() probeOptions {
	return probeOptions{linear: eval.DefaultProbe(), neighbours: eval.DefaultKNN(), labelFraction: 1, ensemble: eval.DefaultEnsemble()}
}

// judgeError names the flag of a judge's setting; prefix is what that of a
// temperature begins with.
func judgeError(err error, prefix string) error {
	var e *eval.SettingError
	if !errors.As(err, &e) {
		return usageError{err}
	}
	flag := map[string]string{"rate": "lr", "weight decay": "weight-decay", "temperature": prefix + "temperature"}[e.Setting]
	return usagef("--%s: %s", cmp.Or(flag, e.Setting), e.Reason)
}

// given completes the options by what the flags leave open, and refuses flags
// that would do nothing.
func (o *probeOptions) given(cmd *cobra.Command) error {
	is := cmd.Flags().Changed
	for _, name := range []string{"k", "knn-temperature"} {
		if is(name) && !o.knn {
			return usagef("--%s is of the nearest neighbours: give --knn as well", name)
		}
	}
	if is("epochs") && !is("milestones") {
		o.linear.Milestones = eval.Milestones(o.linear.Epochs)
	}
	if m := o.linear.Milestones; is("milestones") && len(m) > 0 && m[len(m)-1] >= o.linear.Epochs {
		return usagef("--milestones: after epoch %d nothing is left to train of %d epochs: the rate would never fall to what it should; name epochs before the last, or none", m[len(m)-1], o.linear.Epochs)
	}
	if is("ensemble-exits") && len(o.ensemble.Exits) < 2 {
		what := "nothing is"
		if len(o.ensemble.Exits) == 1 {
			what = o.ensemble.Exits[0] + " alone is"
		}
		return usagef("--ensemble-exits: %s no ensemble: name at least two exits, such as 1,backbone", what)
	}
	return o.validate()
}

func (o *probeOptions) validate() error {
	if err := o.linear.Validate(); err != nil {
		return judgeError(err, "")
	}
	if err := o.neighbours.Validate(); err != nil {
		return judgeError(err, "knn-")
	}
	if !(o.labelFraction > 0 && o.labelFraction <= 1) {
		return usagef("--label-fraction: %g is out of range: must be greater than 0 and at most 1", o.labelFraction)
	}
	return nil
}

// resolve turns an ensemble's exits, by stage or backbone, into the network's
// names for them.
func resolve(e eval.Ensemble, net *model.Network) (eval.Ensemble, error) {
	names := net.ExitNames()
	exits := e.Exits
	e.Exits = nil
	for _, x := range exits {
		if _, err := strconv.Atoi(x); err == nil {
			x = "sub-network " + x
		}
		e.Exits = append(e.Exits, x)
	}
	if err := e.Check(names); err != nil {
		return e, usageError{err}
	}
	return e, nil
}

// results are what a probe found out; they lie in the run's folder.
type results struct {
	Split         string        `json:"split"` // test or validation
	Images        int           `json:"images"`
	Classes       []string      `json:"classes"`
	Ensemble      eval.Ensemble `json:"ensemble"`
	LabelFraction float64       `json:"label_fraction"`
	Labels        int           `json:"labels"` // training images that the classifiers saw
	Table         eval.Table    `json:"table"`
	KNN           *knnResults   `json:"knn,omitempty"`
	Own           eval.Table    `json:"own,omitempty"` // of the classifiers that were trained with the network, if any were
	Exits         []exit        `json:"exits"`
}

// knnResults are those of the nearest neighbours.
type knnResults struct {
	eval.KNNConfig
	Table eval.Table `json:"table"`
}

func (r *results) String() string {
	text := fmt.Sprintf("%s, %d images; labels of %d training images\n%s", r.Split, r.Images, r.Labels, r.Table)
	if r.Own != nil {
		text += fmt.Sprintf("\nthe classifiers that were trained with the network\n%s", r.Own)
	}
	if r.KNN != nil {
		text += fmt.Sprintf("\n%d nearest neighbours, temperature %g\n%s", r.KNN.K, r.KNN.Temperature, r.KNN.Table)
	}
	return text + legend(len(r.Classes))
}

// legend explains the columns of the tables of so many classes.
func legend(classes int) string {
	top5 := ""
	if classes > 5 {
		top5 = "top-5: it is among the five likeliest; "
	}
	return "\ntop-1: the right class is the likeliest; " + top5 + "ECE: how far probabilities are from accuracy, 0 at best\n"
}

// details are the tables that were asked for besides.
func (r *results) details(perClass, confusion bool) string {
	tables := []eval.Table{r.Table}
	titles := []string{""}
	if r.KNN != nil {
		tables, titles = append(tables, r.KNN.Table), append(titles, "nearest neighbours\n")
	}
	text := ""
	for i, t := range tables {
		if perClass {
			text += "\n" + titles[i] + t.ClassText(r.Classes)
		}
		if confusion {
			for _, row := range t {
				text += "\n" + titles[i] + row.ConfusionText(r.Classes)
			}
		}
	}
	return text
}

// exit is where an exit's classifier came from.
type exit struct {
	Name    string  `json:"name"`
	Epoch   int     `json:"epoch"` // chosen on the validation split
	ValTop1 float64 `json:"val_top1"`
}

// probeRun probes a run's model on the data of c and saves the classifiers. If
// only that fails there are results as well as an error.
func probeRun(ctx context.Context, r *reporter, dir string, m run.Manifest, c config.Run, o probeOptions) (*results, error) {
	judged, _ := os.Stat(filepath.Join(dir, run.ModelFile)) // a checkpoint's model is not replaced
	s, e, err := openTrained(ctx, r, dir, m, c)
	if err != nil && c.Data == m.Config.Data {
		return nil, moved(err, "selfcon probe --data FORMAT:PATH "+shell.Quote(dir))
	}
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if err := warnOther(r, dir, m, s); err != nil {
		return nil, err
	}
	if o.ensemble, err = resolve(o.ensemble, s.Net); err != nil {
		return nil, err
	}
	if o.labelFraction == 1 {
		if err := run.Writable(dir); err != nil { // now, and not when all is computed
			return nil, fmt.Errorf("the classifiers could not be saved in %s (--label-fraction below 1 saves none): %w", dir, err)
		}
	}
	n := s.Counts()
	r.tell("probe", fmt.Sprintf("%s: features of %d training, %d validation and %d test images, then classifiers of %d classes; %s of width %d, %s; %s", dir,
		n.Train, n.Val, n.Test, len(s.Classes), s.Config.Model.Arch, s.Config.Model.Width, s.Config.Model.SubNetworks(), e.Name()),
		"run", dir, "images", n, "classes", len(s.Classes), "engine", e.Name())
	linears, res, err := probe(ctx, r, s, e, o, "probe", extractor(e, s))
	if err != nil {
		return nil, err
	}
	if res.Own, err = ownClassifiers(ctx, r, s, e, o.ensemble); err != nil {
		return nil, err
	}
	if o.labelFraction < 1 {
		return res, nil // an experiment: selfcon predict keeps the classifiers that saw all labels
	}
	save := func() error {
		if now, err := os.Stat(filepath.Join(dir, run.ModelFile)); judged != nil && (err != nil || !os.SameFile(judged, now) || !judged.ModTime().Equal(now.ModTime())) {
			return fmt.Errorf("a training has replaced the model in %s meanwhile, and they are not of the new one; probe that, or a checkpoint", dir)
		}
		if err := saveProbe(dir, linears, o.ensemble); err != nil {
			return err
		}
		if m.NeedData(dir) != nil { // imported: from now on this is its data
			if err := m.SetData(s); err != nil {
				return err
			}
			if err := m.Write(dir); err != nil {
				return err
			}
		}
		return checkpoint.WriteJSON(filepath.Join(dir, run.ResultsFile), res)
	}
	if err := save(); err != nil {
		return res, fmt.Errorf("the results could not be saved: %w", err)
	}
	if m.At != nil { // the report is of the run
		return res, nil
	}
	if err := report.Write(dir); err != nil {
		return res, fmt.Errorf("the results are saved, but %s could not be written: %w", report.File, err)
	}
	return res, nil
}

// openTrained opens the data of c and puts a run's weights into an engine, which
// the caller closes.
func openTrained(ctx context.Context, r *reporter, dir string, m run.Manifest, c config.Run) (*train.Setup, engine.Engine, error) {
	s, err := newSetup(ctx, r, c)
	if err != nil {
		return nil, nil, err
	}
	if err := sameClasses(s.Classes, dir, m); err != nil {
		return nil, nil, err
	}
	e, err := openEngine(c.Threads)
	if err != nil {
		return nil, nil, err
	}
	if _, err := run.LoadModel(dir, m, e); err != nil {
		e.Close()
		return nil, nil, err
	}
	return s, e, nil
}

// moved adds to the error of data that are gone the command that says where they
// are now.
func moved(err error, command string) error {
	var gone *data.Error
	if !errors.As(err, &gone) || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &data.Error{Path: gone.Path, Reason: gone.Reason + "; if the data have moved, say where they are: " + command, Err: gone.Err}
}

// warnOther tells how the data differ from those of a run. That is no error, as
// other images of the same classes are a fair test of an encoder; but then other
// images are held out, and what is found may not be what it seems.
func warnOther(r *reporter, dir string, m run.Manifest, s *train.Setup) error {
	if m.Data == nil { // imported, or trained by a program that took no fingerprint
		return nil
	}
	now, err := s.Data.Fingerprint()
	if err != nil {
		return err
	}
	if differ := m.Data.Differences(now); len(differ) > 0 {
		r.warnf("%s is not the data of %s: %s; images that it has learnt from may now be among those to choose and to judge by", s.Config.Data, dir, strings.Join(differ, "; "))
	}
	return nil
}

// splitName is what judgedSplit is called.
func splitName(s *train.Setup) string {
	if s.Test != nil {
		return "test"
	}
	return "validation"
}

// judgedSplit is the split that the last word is had on.
func judgedSplit(s *train.Setup) data.Dataset {
	if s.Test != nil {
		return s.Test
	}
	return s.Val
}

// ownClassifiers tests the classifiers that were trained with the network; nil
// if its method has none.
func ownClassifiers(ctx context.Context, r *reporter, s *train.Setup, e engine.Engine, ensemble eval.Ensemble) (eval.Table, error) {
	if !s.Method.OneStage() {
		return nil, nil
	}
	ds := judgedSplit(s)
	l, err := s.Loader(ds, evalBatch, false)
	if err != nil {
		return nil, err
	}
	logits, err := eval.ExtractLogits(ctx, e, s.Net, len(s.Classes), l.Epoch(ctx, 0, 0), ds.Len(), evalBatch, r.phase("the network's own classifiers"))
	if err != nil {
		return nil, err
	}
	return eval.JudgeLogits(logits, len(s.Classes), ensemble)
}

// features turns a split into one feature vector an image and exit.
type features func(ctx context.Context, r *reporter, ds data.Dataset, what string) (*eval.Features, error)

// extractor takes the features from the network that the engine holds.
func extractor(e engine.Engine, s *train.Setup) features {
	return func(ctx context.Context, r *reporter, ds data.Dataset, what string) (*eval.Features, error) {
		l, err := s.Loader(ds, evalBatch, false)
		if err != nil {
			return nil, err
		}
		return eval.Extract(ctx, e, s.Net, l.Epoch(ctx, 0, 0), ds.Len(), evalBatch, r.phase("features of the "+what+" images"))
	}
}

// errNoValidation is that of a run with all images in training.
var errNoValidation = &config.Error{Setting: "val_fraction", Reason: "0 leaves no validation images to choose the probe's epoch by; the run needs a validation split or a fraction held out"}

// probe trains a linear classifier on the features of every exit and tests them.
func probe(ctx context.Context, r *reporter, s *train.Setup, e engine.Engine, o probeOptions, name string, take features) ([]eval.ProbeResult, *results, error) {
	if s.Val == nil {
		return nil, nil, errNoValidation
	}
	labelled := s.Train
	if o.labelFraction < 1 {
		labelled = data.Fraction(s.Train, o.labelFraction, o.linear.Seed)
	}
	tr, err := take(ctx, r, labelled, "training")
	if err != nil {
		return nil, nil, err
	}
	val, err := take(ctx, r, s.Val, "validation")
	if err != nil {
		return nil, nil, err
	}
	found, err := eval.Train(ctx, e, tr, val, len(s.Classes), o.linear, r.phase(name))
	if err != nil {
		return nil, nil, err
	}
	res := &results{Split: "test", Images: s.Val.Len(), Classes: s.Classes, Ensemble: o.ensemble, LabelFraction: o.labelFraction, Labels: labelled.Len()}
	judged := val
	if s.Test != nil {
		res.Images = s.Test.Len()
		if judged, err = take(ctx, r, s.Test, "test"); err != nil {
			return nil, nil, err
		}
	} else {
		res.Split = "validation (no test split; the epoch was chosen on these images)"
	}
	var linears []*eval.Linear
	for _, f := range found {
		linears = append(linears, f.Linear)
		res.Exits = append(res.Exits, exit{f.Exit, f.Epoch, f.ValTop1})
	}
	if res.Table, err = eval.Test(linears, judged, o.ensemble); err != nil {
		return nil, nil, err
	}
	if o.knn {
		c := o.neighbours
		c.K = min(c.K, labelled.Len())
		t, err := eval.KNN(ctx, e, tr, judged, len(s.Classes), c, o.ensemble, r.phase("nearest neighbours"))
		if err != nil {
			return nil, nil, err
		}
		res.KNN = &knnResults{c, t}
	}
	return found, res, nil
}

// sameClasses says how the classes of data differ from those of a run; an imported
// one without data takes any.
func sameClasses(got []string, dir string, m run.Manifest) error {
	if m.NeedData(dir) != nil || slices.Equal(got, m.Classes) {
		return nil
	}
	return usagef("the data's classes are not those of the run: %s, not %s", strings.Join(got, ", "), strings.Join(m.Classes, ", "))
}

func writeJSON(w io.Writer, v any) error {
	text, err := checkpoint.Indent(v)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
