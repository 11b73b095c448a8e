package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"selfcon/data"
	"selfcon/internal/columns"
)

// dataStats is what data stats prints.
type dataStats struct {
	Splits   []splitStats `json:"splits"`
	Classes  []string     `json:"classes"`
	Measured int          `json:"measured"` // training images
	Mean     []float64    `json:"mean"`     // a channel each, in [0, 1]
	Std      []float64    `json:"std"`
}

type splitStats struct {
	Split    string `json:"split"`
	Images   int    `json:"images"`
	PerClass []int  `json:"per_class"`
}

func dataStatsCommand() *cobra.Command {
	var opt data.Options
	most := 0
	asJSON := false
	cmd := &cobra.Command{
		Use:   "stats FORMAT[:PATH]",
		Short: "Count a dataset's images and measure the mean and deviation of its pixels",
		Long: `Count the images of every class in every split, and measure mean and standard
deviation of the training pixels, channel by channel, white being 1: what train
normalises images with.`,
		Example: `  selfcon data stats imagefolder:photos
  selfcon data stats --most 2000 --json imagenet:ILSVRC2012`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if most < 0 {
				return usagef("--most %d: must be at least 1, or 0 for all", most)
			}
			r := newReporter(cmd)
			defer r.end()
			s, err := openNoted(r, args[0], opt)
			if err != nil {
				return err
			}
			st := dataStats{Classes: s.Train.Classes(), Measured: s.Train.Len()}
			if most > 0 {
				st.Measured = min(most, st.Measured)
			}
			for _, n := range s.Named() {
				c := splitStats{Split: n.Name, Images: n.Len(), PerClass: make([]int, len(st.Classes))}
				for i := range n.Len() {
					c.PerClass[n.Label(i)]++
				}
				st.Splits = append(st.Splits, c)
			}
			if st.Mean, st.Std, err = data.StatsContext(cmd.Context(), s.Train, most, r.phase("stats")); err != nil {
				return err
			}
			r.end()
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), st)
			}
			return printStats(cmd.OutOrStdout(), st)
		},
	}
	dataFlags(cmd, &opt)
	f := cmd.Flags()
	f.IntVar(&most, "most", 0, "measure at most this many training images, spread evenly (0: all)")
	f.BoolVar(&asJSON, "json", false, "print as JSON, with the images of every class")
	return cmd
}

// fewClasses is how many classes are listed one by one.
const fewClasses = 50

func printStats(w io.Writer, st dataStats) error {
	tw := columns.New(w)
	fmt.Fprint(tw, "class")
	for _, s := range st.Splits {
		fmt.Fprintf(tw, "\t%s", s.Split)
	}
	for i, c := range st.Classes {
		if len(st.Classes) > fewClasses {
			break
		}
		fmt.Fprintf(tw, "\n%s", c)
		for _, s := range st.Splits {
			fmt.Fprintf(tw, "\t%d", s.PerClass[i])
		}
	}
	fmt.Fprintf(tw, "\nall %d", len(st.Classes))
	for _, s := range st.Splits {
		fmt.Fprintf(tw, "\t%d", s.Images)
	}
	fmt.Fprintln(tw)
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nof %s: mean %.4f, deviation %.4f\n", counted(st.Measured, "training image"), st.Mean, st.Std)
	return err
}
