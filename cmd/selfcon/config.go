package main

import (
	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	var t trainSettings
	cmd := &cobra.Command{
		Use:   "config [key=value …]",
		Short: "Print the configuration that selfcon train would have with these arguments",
		Long: `Print every setting as YAML, with what it is and, where its value is not the
default, where that comes from. The arguments are those of selfcon train, which
reads what is printed with --config.

The later of these wins: defaults, a preset (--preset, or preset: in the file), the
file, the environment (SELFCON_ and the key in capitals), key=value, flags.`,
		Example: `  selfcon config > photos.yaml                      # all settings, to edit
  selfcon train --config photos.yaml
  selfcon config --config photos.yaml --preset small-sample-supcon epochs=5
  SELFCON_THREADS=1 selfcon config`,
		Args:              onlyPairs,
		ValidArgsFunction: completePairs,
		RunE: func(cmd *cobra.Command, pairs []string) error {
			c, err := t.resolve(cmd, pairs, nil)
			if err != nil {
				return err
			}
			r := newReporter(cmd)
			for _, note := range c.Notes {
				r.warnf("%s", note)
			}
			text, err := c.Marshal()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	t.declare(cmd)
	return cmd
}
