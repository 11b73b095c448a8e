package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"selfcon/data"
	"selfcon/engine"
	"selfcon/eval"
	"selfcon/internal/columns"
	"selfcon/internal/reason"
	"selfcon/internal/shell"
	"selfcon/run"
	"selfcon/train"
)

func predictCommand() *cobra.Command {
	run := ""
	threads := 0
	asJSON := false
	cmd := &cobra.Command{
		Use:   "predict [--run RUN] IMAGE…",
		Short: "Classify images at each exit of a probed run",
		Long: `Classify image files (JPEG, PNG, GIF, BMP, TIFF, WebP) and print the class and its
probability at each exit and for their ensemble. The run must have been probed:
its classifiers are those of selfcon probe. Files that can't be read are named at
the end, and the exit code is 3; the others are classified all the same.`,
		Example: `  selfcon predict --run runs/photos-selfcon-s cat.jpg dog.png
  selfcon predict --json cat.jpg     # the newest probed run under runs/, one line of JSON an image`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := noFolders(args); err != nil {
				return err
			}
			if run == "" {
				var err error
				if run, err = newestProbed("runs"); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "using %s\n", run)
			}
			good, unread := readable(args)
			if len(good) == 0 {
				return unread
			}
			predictions, err := predict(cmd.Context(), run, good, threads)
			if err != nil {
				return err
			}
			if !asJSON {
				return errors.Join(printPredictions(cmd.OutOrStdout(), predictions), unread)
			}
			for _, p := range predictions {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(p); err != nil {
					return err
				}
			}
			return unread
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&run, "run", "", "the run's folder, or RUN/checkpoints/best (default: the newest probed one under runs/)")
	machineFlags(f, &threads, nil)
	f.BoolVar(&asJSON, "json", false, "print one line of JSON an image")
	return cmd
}

// prediction is what the exits say of an image.
type prediction struct {
	Image string `json:"image"`
	Exits []vote `json:"exits"` // the backbone's, then the ensemble's, last
}

// vote is the likeliest class at an exit.
type vote struct {
	Exit        string  `json:"exit"`
	Class       string  `json:"class"`
	Probability float64 `json:"probability"`
}

// readable parts paths into those of images that can be decoded and an error
// about the others, so that one bad file costs no more than itself.
func readable(paths []string) (good []string, unread error) {
	files := data.Files(paths, 3)
	for i, p := range paths {
		if _, err := files.Image(i); err != nil {
			unread = errors.Join(unread, err)
			continue
		}
		good = append(good, p)
	}
	return good, unread
}

// noFolders refuses folders among images, of which a run's is the likeliest.
func noFolders(paths []string) error {
	for _, p := range paths {
		if st, err := os.Stat(p); err != nil || !st.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(p, run.ManifestFile)); err == nil {
			return usagef("%s is a run's folder, not an image: name it with --run %s", p, shell.Quote(p))
		}
		return usagef("%s is a folder, not an image: name its images, such as %s/*", p, shell.Quote(p))
	}
	return nil
}

func predict(ctx context.Context, dir string, paths []string, threads int) ([]prediction, error) {
	dir, m, err := run.OpenModel(dir)
	if err != nil {
		return nil, err
	}
	e, err := openEngine(threads)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	net, err := run.LoadModel(dir, m, e)
	if err != nil {
		return nil, err
	}
	s := &train.Setup{Config: m.Config, Net: net}
	files := data.Files(paths, m.Config.Model.ImageChannels)
	logits, ensemble, err := classify(ctx, e, s, dir, len(m.Classes), files)
	if err != nil {
		return nil, err
	}
	out := make([]prediction, len(paths))
	classes := len(m.Classes)
	add := func(exit string, logits []float32) {
		for i := range out {
			c, p := likeliest(logits[i*classes : (i+1)*classes])
			out[i].Image = paths[i]
			out[i].Exits = append(out[i].Exits, vote{exit, m.Classes[c], p})
		}
	}
	for x, name := range logits.Names {
		add(name, logits.X[x])
	}
	together, err := ensemble.Vote(logits.Names, logits.X, classes)
	if err != nil {
		return nil, err
	}
	if together != nil {
		add(eval.EnsembleRow, together)
	}
	return out, nil
}

// classify gives the logits of images at every exit, by the classifiers of
// selfcon probe or, of a run that was not probed, by those that were trained with
// the network; and how the exits vote together.
func classify(ctx context.Context, e engine.Engine, s *train.Setup, dir string, classes int, images data.Dataset) (*eval.Features, eval.Ensemble, error) {
	n := images.Len()
	batch := min(evalBatch, n)
	ensemble := eval.DefaultEnsemble()
	l, err := s.Loader(images, batch, false)
	if err != nil {
		return nil, ensemble, err
	}
	method, err := s.Config.LossMethod()
	if err != nil {
		return nil, ensemble, err
	}
	if _, err := os.Stat(filepath.Join(dir, run.ProbeFile)); errors.Is(err, fs.ErrNotExist) && method.OneStage() {
		f, err := eval.ExtractLogits(ctx, e, s.Net, classes, l.Epoch(ctx, 0, 0), n, batch, nil)
		return f, ensemble, err
	}
	linears, ensemble, err := loadProbe(dir, s.Net, classes)
	if err != nil {
		return nil, ensemble, err
	}
	f, err := eval.Extract(ctx, e, s.Net, l.Epoch(ctx, 0, 0), n, batch, nil)
	if err != nil {
		return nil, ensemble, err
	}
	for x, linear := range linears {
		f.X[x], f.Dims[x] = linear.Logits(f.X[x], n), classes
	}
	return f, ensemble, nil
}

// likeliest is the class with the largest logit and its probability by softmax.
func likeliest(logits []float32) (class int, probability float64) {
	class = eval.Largest(logits)
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v - logits[class]))
	}
	return class, 1 / sum
}

func printPredictions(w io.Writer, predictions []prediction) error {
	tw := columns.New(w)
	fmt.Fprint(tw, "image")
	for _, v := range predictions[0].Exits {
		fmt.Fprintf(tw, "\t%s", v.Exit)
	}
	fmt.Fprintln(tw)
	for _, p := range predictions {
		fmt.Fprint(tw, p.Image)
		for _, v := range p.Exits {
			fmt.Fprintf(tw, "\t%s %.1f%%", v.Class, 100*v.Probability)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// newestProbed finds the run that was probed last.
func newestProbed(root string) (string, error) {
	found, err := filepath.Glob(filepath.Join(root, "*", run.ProbeFile))
	if err != nil {
		return "", err
	}
	age := func(path string) int64 {
		if info, err := os.Stat(path); err == nil {
			return info.ModTime().UnixNano()
		}
		return 0
	}
	if len(found) == 0 {
		// Glob passes over what can't be read.
		if _, err := os.ReadDir(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s: can't be read: %w; name the run's folder with --run", root, reason.Of(err))
		}
		return "", usagef("no probed run under %s/: train and probe one first, or name its folder with --run", root)
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(age(a), age(b)) })
	return filepath.Dir(newest), nil
}
