package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"selfcon/engine/cpu"
)

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine",
		Example: `  selfcon bench step --arch resnet18 --method selfcon-s --batch 64 --image 32 --threads 2
  selfcon bench inference --batch 1
  selfcon bench loading imagefolder:photos --image 224`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("say what to measure: %s; see %s --help", strings.Join(names(cmd), ", "), cmd.CommandPath())
		},
	}
	cmd.AddCommand(benchStepCommand(), benchInferenceCommand(), benchLoadingCommand())
	return cmd
}

// timings are the seconds that runs took.
type timings struct{ first, best, median float64 }

// timeRuns calls run steps times after a first one and a second that is not
// counted either.
func timeRuns(ctx context.Context, steps int, run func() error) (timings, error) {
	times := make([]float64, steps+2)
	for i := range times {
		if err := ctx.Err(); err != nil {
			return timings{}, err
		}
		start := time.Now()
		if err := run(); err != nil {
			return timings{}, err
		}
		times[i] = time.Since(start).Seconds()
	}
	t := timings{first: times[0]}
	times = times[2:]
	slices.Sort(times)
	t.best = times[0]
	t.median = (times[(len(times)-1)/2] + times[len(times)/2]) / 2
	return t, nil
}

// printMeasured prints a benchmark's results: in words, or as a line of JSON. What
// explains them, if anything, goes to standard error.
func printMeasured(cmd *cobra.Command, results any, asJSON bool, explanation, words string) error {
	fmt.Fprint(cmd.ErrOrStderr(), explanation)
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(results)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), words)
	return err
}

func convFlag(f *pflag.FlagSet, conv *string) {
	f.StringVar(conv, "conv", *conv, `convolutions: "direct", by their definition; "winograd", by Winograd's transforms and Strassen's products wherever possible; empty: whichever is quicker`)
}

func checkConv(conv string) error {
	switch conv {
	case "", "direct", "winograd":
		return nil
	}
	return usagef("--conv %q: must be direct, winograd or empty", conv)
}

// memoryLine says what memory a program takes, beside the process's peak.
func memoryLine(s cpu.Stats, peak int64) string {
	return fmt.Sprintf("memory: arena %.1f MB + variables %.1f MB + scratch of the threads %.1f MB = %.1f MB; peak of the process %.1f MB\n",
		float64(s.Arena)/1e6, float64(s.Variables)/1e6, float64(s.Scratch)/1e6, float64(s.Arena+s.Variables+s.Scratch)/1e6, float64(peak)/1e6)
}
