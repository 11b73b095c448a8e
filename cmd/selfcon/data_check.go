package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"selfcon/data"
	"selfcon/internal/columns"
)

func dataCheckCommand() *cobra.Command {
	var opt data.Options
	examples, workers := 3, 0
	asJSON := false
	cmd := &cobra.Command{
		Use:   "check FORMAT[:PATH]",
		Short: "Find a dataset's faults: unreadable and duplicate images, odd sizes, unequal classes",
		Long: `Decode every image and list what is wrong: images that can't be read, images that
are in a split twice or in two splits (the same pixels), one image with two
labels, odd sizes, classes that are missing or far smaller than others, labels out
of range. The exit code is 3 if there is anything to list.`,
		Example: `  selfcon data check imagefolder:photos
  selfcon data check --json --examples 1000 csv:photos.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if examples < 0 {
				return usagef("--examples %d: must be at least 0", examples)
			}
			if err := checkWorkers(workers); err != nil {
				return err
			}
			r := newReporter(cmd)
			defer r.end()
			s, err := noted(r)(data.Survey(args[0], opt))
			if err != nil {
				return err
			}
			rep, err := data.Check(cmd.Context(), s, examples, workers, r.phase("check"))
			if err != nil {
				return err
			}
			r.end()
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), rep)
			} else {
				err = printCheck(cmd.OutOrStdout(), rep)
			}
			if err == nil && len(rep.Findings) > 0 {
				err = &data.Error{Path: args[0], Reason: counted(len(rep.Findings), "kind") + " of faults found"}
			}
			return err
		},
	}
	dataFlags(cmd, &opt)
	f := cmd.Flags()
	f.IntVar(&examples, "examples", examples, "how many images to name for each kind of fault")
	f.IntVar(&workers, "workers", workers, "threads that decode (0: one a core)")
	f.BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return cmd
}

func printCheck(w io.Writer, rep data.Report) error {
	tw := columns.New(w)
	fmt.Fprintln(tw, "split\timages\tclasses\tsmallest\tlargest\tshorter side (smallest, median, largest)")
	for _, s := range rep.Splits {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d, %d, %d\n", s.Split, s.Images, s.Classes, s.Smallest, s.Largest, s.MinSide, s.MedianSide, s.MaxSide)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if len(rep.Findings) == 0 {
		_, err := fmt.Fprintln(w, "\nnothing wrong found")
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(tw, "fault\tsplit\tcount\t")
	for _, f := range rep.Findings {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\n", f.Kind, f.Split, f.Count, f.About)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, f := range rep.Findings {
		if len(f.Examples) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s, %s:\n", f.Kind, f.Split)
		for _, e := range f.Examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
		if more := f.Count - len(f.Examples); more > 0 {
			fmt.Fprintf(w, "  and %d more (--examples)\n", more)
		}
	}
	return nil
}
