package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"selfcon/config"
	"selfcon/data"
	"selfcon/eval"
	"selfcon/internal/shell"
	"selfcon/run"
	"selfcon/train"
)

func quickstartCommand() *cobra.Command {
	c := config.Quickstart()
	out := ""
	cmd := &cobra.Command{
		Use:   "quickstart",
		Short: "Train and judge a small network on images inside the program, in a minute",
		Long: `Train a small ResNet-18 with one sub-network by SelfCon-S on a real sample of
Fashion-MNIST that is part of the program, judge every exit with a linear
classifier, and print the result beside two references: a linear classifier on
the raw pixels, and the same network untrained.`,
		Example: `  selfcon quickstart
  selfcon quickstart --epochs 5 --out /tmp/quick`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := newReporter(cmd)
			defer r.end()
			if out == "" {
				out = run.Fresh("runs/quickstart")
			}
			return quickstart(cmd.Context(), r, cmd.OutOrStdout(), c, out)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	settingFlags(cmd, &c, "epochs", "width", "seed", "threads", "workers")
	f.StringVar(&out, "out", "", "the run's folder, which must be new (default: runs/quickstart, or the next free number)")
	return cmd
}

func quickstart(ctx context.Context, r *reporter, w io.Writer, c config.Run, out string) error {
	start := time.Now()
	dir, err := trainRun(ctx, r, c, out, nil)
	if err != nil {
		return err
	}
	m, err := run.Open(dir)
	if err != nil {
		return err
	}
	p := defaultProbe()
	trained, err := probeRun(ctx, r, dir, m, m.Config, p)
	if err != nil {
		return err
	}
	pixels, untrained, err := references(ctx, r, m.Config, p)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
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
