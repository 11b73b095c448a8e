package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"selfcon/augment"
	"selfcon/data"
	"selfcon/internal/shell"
)

func dataPackCommand() *cobra.Command {
	var opt data.Options
	short, workers := 0, 0
	cmd := &cobra.Command{
		Use:   "pack FORMAT[:PATH] FILE",
		Short: "Write a dataset's decoded images into one file that is read at memory speed",
		Long: `Decode all images of all splits, shrink them if asked, and write them into one file
that is mapped into memory: reading an image then costs its checksum. Train on it
with --data packed:FILE. Decoded images are larger than JPEGs: width × height ×
channels bytes each. FILE must not be there yet. train --cache does the same by itself.`,
		Example: `  selfcon data pack --short 256 imagenet:ILSVRC2012 imagenet-256.pack
  selfcon train --data packed:imagenet-256.pack --image 224`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if short < 0 {
				return usagef("--short %d: must be at least 1, or 0 to keep the sizes", short)
			}
			if err := checkWorkers(workers); err != nil {
				return err
			}
			if err := newFile(args[1]); err != nil { // which may be the very source
				return err
			}
			r := newReporter(cmd)
			defer r.end()
			s, err := openNoted(r, args[0], opt)
			if err != nil {
				return err
			}
			if err := data.PackFile(cmd.Context(), args[1], s, data.PackOptions{
				Source: absolute(args[0]), Resize: shrink(short), Workers: workers, Progress: r.phase("pack"),
			}); err != nil {
				return err
			}
			r.end()
			st, err := os.Stat(args[1])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %.1f MB; next: selfcon train --data packed:%s\n", args[1], float64(st.Size())/1e6, shell.Quote(args[1]))
			return err
		},
	}
	dataFlags(cmd, &opt)
	f := cmd.Flags()
	f.IntVar(&short, "short", 0, "shrink images to this shorter side in pixels (0: keep their sizes)")
	f.IntVar(&workers, "workers", workers, "threads that decode (0: one a core)")
	return cmd
}

// shrink makes images smaller, or is nil where short is 0.
func shrink(short int) func(data.Image) (data.Image, error) {
	if short == 0 {
		return nil
	}
	return func(im data.Image) (data.Image, error) { return augment.Shorter(im, short) }
}
