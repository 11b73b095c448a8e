package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

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
	return noted(r)(data.Open(spec, opt))
}

// noted says what is to be known about a dataset.
func noted(r *reporter) func(data.Splits, error) (data.Splits, error) {
	return func(s data.Splits, err error) (data.Splits, error) {
		for _, n := range s.Notes {
			r.notef("%s", n)
		}
		return s, err
	}
}

// counted is "1 image" or "3 images".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkWorkers refuses a number of threads that can't be.
func checkWorkers(n int) error {
	if n < 0 {
		return usagef("--workers %d: must be at least 1, or 0 for one a core", n)
	}
	return nil
}

// newFile refuses a path where a file can't be made or would take another's place,
// before the work for it is done.
func newFile(path string) error {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return usagef("%s is there already; name another file, or remove it", path)
	case errors.Is(err, syscall.ENOTDIR):
		return usagef("%s can't be a file: there is a file where its folder should be", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return usagef("%s: there is no folder %s to put it in; make it first", path, dir)
	} else if err != nil {
		return err
	}
	return nil
}
