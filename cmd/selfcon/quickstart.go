package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"selfcon/config"
	"selfcon/data"
	"selfcon/eval"
	"selfcon/internal/columns"
	"selfcon/internal/shell"
	"selfcon/run"
	"selfcon/train"
)

func quickstartCommand() *cobra.Command {
	c := config.Quickstart()
	out, resume := "", ""
	cmd := &cobra.Command{
		Use:   "quickstart",
		Short: "Train and judge a small network on images inside the program, in a minute",
		Long: `Train a small ResNet-18 with one sub-network by SelfCon-S on a real sample of
Fashion-MNIST that is part of the program, judge every exit with a linear
classifier, and print the result beside two references: a linear classifier on
the raw pixels, and the same network untrained. Ctrl-C saves, and --resume goes on
to the same table.`,
		Example: `  selfcon quickstart
  selfcon quickstart --epochs 5 --out /tmp/quick
  selfcon quickstart --resume runs/quickstart   # go on after Ctrl-C`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := time.Now()
			r := newReporter(cmd)
			defer r.end()
			dir := resume
			if resume == "" {
				dir = cmp.Or(out, run.Fresh("runs/quickstart"))
			}
			goOn := func(err error) error { return goOnQuickstart(dir, err) }
			r.reword = goOn
			var err error
			if resume != "" {
				err = resumeQuickstart(cmd, r, dir)
			} else {
				_, err = trainRun(cmd.Context(), r, c, dir, nil)
			}
			if err != nil {
				return err
			}
			return goOn(judgeQuickstart(cmd, r, c, dir, start))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	settingFlags(cmd, &c, "epochs", "width", "seed", "threads", "workers")
	f.StringVar(&out, "out", "", "the run's folder, which must be new (default: runs/quickstart, or the next free number)")
	f.StringVar(&resume, "resume", "", "go on with an interrupted quickstart, given its run's `folder`; all settings are the run's own but --threads and --workers")
	return cmd
}

// resumeQuickstart sees to it that a quickstart's run is trained.
func resumeQuickstart(cmd *cobra.Command, r *reporter, dir string) error {
	m, err := run.Open(dir)
	if err != nil {
		return err
	}
	if q := config.Quickstart(); m.Config.Data != q.Data || m.Config.Method != q.Method {
		return usagef("--resume %s: is not a run of quickstart, but %s on %s; that goes on with: selfcon train --resume %s", dir, m.Config.Method, m.Config.Data, shell.Quote(dir))
	}
	if !m.Done {
		return resumeRun(cmd, r, &trainSettings{}, nil, dir, false)
	}
	for _, name := range []string{"epochs", "width", "seed", "out"} {
		if cmd.Flags().Changed(name) {
			return usagef("--resume goes on with the settings of the run; leave out --%s", name)
		}
	}
	return nil
}

// goOnQuickstart lets the error of an interruption name what goes on to the table.
func goOnQuickstart(dir string, err error) error {
	stopped := interrupted{message: "interrupted"}
	if !errors.As(err, &stopped) && !errors.Is(err, context.Canceled) {
		return err
	}
	if _, missing := os.Stat(filepath.Join(dir, run.ManifestFile)); missing != nil { // too early to go on with
		return err
	}
	stopped.advice = "go on with: selfcon quickstart --resume " + shell.Quote(dir)
	return stopped
}

// judgeQuickstart prints how good a trained run is, beside the references; c has
// the threads and workers that the flags say.
func judgeQuickstart(cmd *cobra.Command, r *reporter, c config.Run, dir string, start time.Time) error {
	m, err := run.Open(dir)
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("threads") {
		m.Config.Threads = c.Threads
	}
	if cmd.Flags().Changed("workers") {
		m.Config.Workers = c.Workers
	}
	ctx, w, p := cmd.Context(), cmd.OutOrStdout(), defaultProbe()
	trained, err := probeRun(ctx, r, dir, m, m.Config, p)
	if err != nil {
		return err
	}
	pixels, untrained, err := references(ctx, r, m.Config, p)
	if err != nil {
		return err
	}
	tw := columns.New(w)
	fmt.Fprintf(tw, "linear classifier on\ttop-1\ttop-5\n")
	rows := func(prefix string, t eval.Table) {
		for _, row := range t {
			fmt.Fprintf(tw, "%s%s\t%.2f %%\t%.2f %%\n", prefix, row.Name, 100*row.Top1, 100*row.Top5)
		}
	}
	rows("", pixels.Table)
	rows("untrained ", untrained.Table)
	rows("SelfCon-S ", trained.Table)
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d test images that training never saw; %s in all; the run is in %s\n", trained.Images, short(time.Since(start)), dir)
	_, err = fmt.Fprintf(w, "next: selfcon predict --run %s IMAGE…, or selfcon train --data imagefolder:PATH on images of your own\n", shell.Quote(dir))
	return err
}

// references judges what the encoder is compared with: the raw pixels, and the
// same network before training, each by the same probe.
func references(ctx context.Context, r *reporter, c config.Run, p probeOptions) (pixels, untrained *results, err error) {
	s, err := train.NewSetup(c)
	if err != nil {
		return nil, nil, err
	}
	e, err := openEngine(c.Threads)
	if err != nil {
		return nil, nil, err
	}
	defer e.Close()
	_, pixels, err = probe(ctx, r, s, e, p, "probe of the raw pixels", func(ctx context.Context, r *reporter, ds data.Dataset, what string) (*eval.Features, error) {
		l, err := s.Loader(ds, evalBatch, false)
		if err != nil {
			return nil, err
		}
		return eval.Pixels(l.Epoch(ctx, 0, 0), ds.Len(), s.Net.ImageHeight*s.Net.ImageWidth*s.Net.ImageChannels)
	})
	if err != nil {
		return nil, nil, err
	}
	if _, err := train.NewTrainer(s, e); err != nil { // gives every variable its first value
		return nil, nil, err
	}
	_, untrained, err = probe(ctx, r, s, e, p, "probe of the untrained network", extractor(e, s))
	return pixels, untrained, err
}
