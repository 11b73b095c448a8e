package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"selfcon/config"
	"selfcon/data"
)

func dataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Look at a dataset: check, measure, pack, draw",
		Example: `  selfcon data check imagefolder:photos
  selfcon data show --out views.png imagefolder:photos`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(dataCheckCommand(), dataStatsCommand(), dataPackCommand(), dataShowCommand())
	return cmd
}

// dataFlags declares how a dataset is opened.
func dataFlags(cmd *cobra.Command, opt *data.Options) {
	c := &config.Run{}
	settingFlags(cmd, c, "channels", "class_order", "classes")
	cmd.PreRun = func(*cobra.Command, []string) {
		opt.Channels, opt.Order, opt.Classes = c.Model.ImageChannels, c.ClassOrder, c.ClassList
	}
}

// openNoted opens a dataset and says what is to be known about it.
func openNoted(r *reporter, spec string, opt data.Options) (data.Splits, error) {
	s, err := data.Open(spec, opt)
	for _, n := range s.Notes {
		r.notef("%s", n)
	}
	return s, err
}

// counted is "1 image" or "3 images".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
