package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/eval"
	"selfcon/internal/columns"
	"selfcon/internal/machine"
	"selfcon/internal/reason"
	"selfcon/internal/shell"
	"selfcon/model"
	"selfcon/report"
	"selfcon/run"
)

func runsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List, show and compare runs",
		Example: `  selfcon runs list
  selfcon runs show runs/photos-selfcon-s
  selfcon runs diff runs/photos-selfcon-s runs/photos-ce
  selfcon runs tail -f runs/photos-selfcon-s`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args: noCommand,
	}
	cmd.AddCommand(runsListCommand(), runsShowCommand(), runsDiffCommand(), runsTailCommand(), runsReportCommand())
	return cmd
}

// openModel opens the run that a path names, or one of its checkpoints, and notes
// where that is not the end of its training.
func openModel(r *reporter, path string) (dir string, m run.Manifest, err error) {
	dir, m, err = run.OpenModel(path)
	switch {
	case err != nil:
	case m.At != nil:
		r.notef("%s is the run %s of %d", dir, m.At.After(), m.Config.Epochs)
	case !m.Done:
		r.notef("%s was interrupted; this is what it had learnt (go on with: selfcon train --resume %s)", dir, shell.Quote(dir))
	}
	return dir, m, err
}

// runInfo is what is told of a run.
type runInfo struct {
	Dir        string     `json:"run"`
	State      string     `json:"state"` // done, running, interrupted, imported or damaged
	Error      string     `json:"error,omitempty"`
	Method     string     `json:"method,omitempty"`
	Network    string     `json:"network,omitempty"`
	Data       string     `json:"data,omitempty"`
	Epoch      int        `json:"epoch"` // done
	Epochs     int        `json:"epochs"`
	Loss       *float64   `json:"loss,omitempty"`       // of the last epoch
	Validation *float64   `json:"validation,omitempty"` // best
	Top1       []exitTop1 `json:"top1,omitempty"`       // of the probe, or of the network's own classifiers
	Split      string     `json:"split,omitempty"`      // that they were judged on
	Seconds    float64    `json:"seconds"`
	Speed      float64    `json:"images_per_s"`
	Peak       int64      `json:"peak_bytes,omitempty"`
	Created    time.Time  `json:"created"`

	Version     string            `json:"selfcon,omitempty"` // this and the rest: how it began
	Engine      string            `json:"engine,omitempty"`
	Seed        uint64            `json:"seed"`
	Machine     *machine.Machine  `json:"machine,omitempty"`
	Later       []run.Part        `json:"later,omitempty"`
	Fingerprint *data.Fingerprint `json:"data_fingerprint,omitempty"`
	Init        string            `json:"init,omitempty"` // the file or run whose weights it began with
	Begin       string            `json:"from,omitempty"` // the run whose encoder it fine-tunes

	config config.Run
}

type exitTop1 struct {
	Exit string  `json:"exit"`
	Top1 float64 `json:"top1"`
}

// inspect reads what is known of a run.
func inspect(dir string) (runInfo, error) {
	i := runInfo{Dir: dir, State: "interrupted"}
	m, err := run.Open(dir)
	if err != nil {
		return i, err
	}
	switch {
	case m.Imported != nil:
		i.State = "imported"
	case m.Done:
		i.State = "done"
	case run.Busy(dir):
		i.State = "running"
	}
	c := m.Config
	i.Version, i.Engine, i.Seed, i.Machine, i.Later, i.Fingerprint = m.Version, m.Engine, c.Seed, m.Machine, m.Later, m.Data
	i.config, i.Method, i.Data, i.Epochs, i.Created = c, c.Method, c.Data, c.Epochs, m.Created
	i.Network = fmt.Sprintf("%s w%d", c.Model.Arch, c.Model.Width)
	cost := m.Spent(dir)
	i.Seconds, i.Peak, i.Speed = cost.Seconds, cost.Peak, cost.ImagesPerSecond(c.Batch)
	i.Init, i.Begin = m.Init, m.From
	epochs, err := run.ReadEpochs(dir)
	if err != nil {
		return i, err
	}
	for _, e := range epochs {
		i.Epoch, i.Loss = e.Epoch, &e.Loss
		if v := e.Validation; v != nil && (i.Validation == nil || v.Score > *i.Validation) {
			i.Validation = &v.Score
		}
	}
	var res results
	switch err := checkpoint.ReadJSON(filepath.Join(dir, run.ResultsFile), &res); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return i, err
	default:
		table := eval.Table(res.Table)
		if len(table) == 0 {
			table = res.Own
		}
		i.Split = res.Split
		for _, row := range table {
			i.Top1 = append(i.Top1, exitTop1{row.Name, row.Top1})
		}
	}
	return i, nil
}

// last is a run's last accuracy: the ensemble's, or the only exit's.
func (i runInfo) last() string {
	if len(i.Top1) == 0 {
		return ""
	}
	t := i.Top1[len(i.Top1)-1]
	return fmt.Sprintf("%.2f%% %s", 100*t.Top1, t.Exit)
}

// progress is how many of its epochs a run has done; nothing of one that was
// trained elsewhere.
func (i runInfo) progress(of string) string {
	if i.State == "imported" {
		return ""
	}
	return fmt.Sprintf("%d%s%d", i.Epoch, of, i.Epochs)
}

func share(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.2f%%", 100**v)
}

func number(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.4f", *v)
}

func runsListCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "list [FOLDER]",
		Short: "List the runs in a folder (default: runs), or the one whose folder it is",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "runs"
			if len(args) > 0 {
				dir = args[0]
			}
			entries, err := os.ReadDir(dir)
			if errors.Is(err, fs.ErrNotExist) && len(args) == 0 {
				return usagef("there is no folder runs here: name one, or train first")
			}
			if errors.Is(err, fs.ErrNotExist) {
				return usagef("%s: there is no such folder", dir)
			}
			if errors.Is(err, syscall.ENOTDIR) {
				return usagef("%s is a file: name a run's folder, or the one that runs lie in", dir)
			}
			if err != nil {
				return fmt.Errorf("%s: can't be read: %w", dir, reason.Of(err))
			}
			isRun := func(path string) bool {
				_, err := os.Stat(filepath.Join(path, run.ManifestFile))
				return err == nil
			}
			var paths []string
			for _, e := range entries {
				if path := filepath.Join(dir, e.Name()); isRun(path) && !strings.HasPrefix(e.Name(), ".") {
					paths = append(paths, path)
				}
			}
			if isRun(dir) {
				paths = []string{dir}
			}
			infos := []runInfo{}
			for _, path := range paths {
				i, err := inspect(path)
				if err != nil {
					i.State, i.Error = "damaged", err.Error()
				}
				infos = append(infos, i)
			}
			slices.SortStableFunc(infos, func(a, b runInfo) int { return a.Created.Compare(b.Created) })
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), infos)
			}
			if len(infos) == 0 {
				newReporter(cmd).notef("no run in %s", dir)
				return nil
			}
			w := columns.New(cmd.OutOrStdout())
			fmt.Fprintln(w, "run\tstate\tmethod\tnetwork\tepochs\tloss\tvalidation\ttop-1\ttime")
			for _, i := range infos {
				if i.State == "damaged" {
					fmt.Fprintf(w, "%s\tdamaged\t\t\t\t\t\t\t%s\n", i.Dir, i.Error) // as many cells as the others, which they stay in line by
					continue
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.Dir, i.State, i.Method, i.Network, i.progress("/"),
					number(i.Loss), share(i.Validation), i.last(), short(time.Duration(i.Seconds*float64(time.Second))))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return cmd
}

// rows are what is told of a run beside its settings.
func (i runInfo) rows() [][2]string {
	out := [][2]string{
		{"state", i.State}, {"begun", i.Created.Local().Format("2006-01-02 15:04")}, {"epochs", i.progress(" of ")},
		{"loss", number(i.Loss)}, {"best validation", share(i.Validation)},
	}
	for _, t := range i.Top1 {
		out = append(out, [2]string{"top-1, " + t.Exit, fmt.Sprintf("%.2f%%", 100*t.Top1)})
	}
	if i.Seconds > 0 {
		out = append(out, [2]string{"time", short(time.Duration(i.Seconds * float64(time.Second)))},
			[2]string{"images/s", fmt.Sprintf("%.0f", i.Speed)}, [2]string{"peak memory", fmt.Sprintf("%.0f MB", float64(i.Peak)/1e6)})
	}
	return out
}

// origins are what a run began with: what one asks when two do not agree.
func (i runInfo) origins() [][2]string {
	out := [][2]string{{"program", "selfcon " + i.Version}, {"engine", i.Engine}, {"seed", strconv.FormatUint(i.Seed, 10)}}
	if i.Init != "" {
		out = append(out, [2]string{"began with the weights in", i.Init})
	}
	if i.Begin != "" {
		out = append(out, [2]string{"began with the encoder of", i.Begin})
	}
	if i.Machine != nil {
		out = append(out, [2]string{"machine", i.Machine.String()})
	}
	if i.Fingerprint != nil {
		out = append(out, [2]string{"data's fingerprint", i.Fingerprint.String()})
	}
	for _, p := range i.Later {
		out = append(out, [2]string{fmt.Sprintf("from step %d on", p.Steps), p.String()})
	}
	return out
}

func runsShowCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "show RUN",
		Short: "Show a run: its state, results, what it began with and settings that are not the defaults",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := inspect(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), i)
			}
			w := columns.New(cmd.OutOrStdout())
			for _, row := range slices.Concat(i.rows(), i.origins()) {
				if row[1] != "" {
					fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
				}
			}
			def := config.Default()
			i.config.Model = asPublished(i.config.Model)
			for _, s := range config.Settings() {
				if v := s.Text(&i.config); v != s.Text(&def) {
					fmt.Fprintf(w, "%s\t%s\n", s.Key, v)
				}
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// asPublished leaves out the dropouts that a network has anyway.
func asPublished(c model.Config) model.Config {
	usual := c
	usual.Dropout, usual.DropConnect = nil, nil
	net, err := model.New(usual)
	if err != nil {
		return c // run.Open has checked what matters
	}
	if c.Dropout != nil && *c.Dropout == *net.Dropout {
		c.Dropout = nil
	}
	if c.DropConnect != nil && *c.DropConnect == *net.DropConnect {
		c.DropConnect = nil
	}
	return c
}

func runsDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff RUN RUN",
		Short: "Show the settings in which two runs differ, their results side by side, and where else they differ",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := inspect(args[0])
			if err != nil {
				return err
			}
			b, err := inspect(args[1])
			if err != nil {
				return err
			}
			w := columns.New(cmd.OutOrStdout())
			fmt.Fprintf(w, "\t%s\t%s\n", a.Dir, b.Dir)
			for _, s := range config.Settings() {
				if x, y := s.Text(&a.config), s.Text(&b.config); x != y {
					fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, cmp.Or(x, "–"), cmp.Or(y, "–"))
				}
			}
			pairs := func(a, b [][2]string, all bool) {
				theirs := map[string]string{}
				for _, row := range b {
					theirs[row[0]] = row[1]
				}
				for _, row := range a {
					if y := theirs[row[0]]; row[1] != y || all && y != "" {
						fmt.Fprintf(w, "%s\t%s\t%s\n", row[0], cmp.Or(row[1], "–"), cmp.Or(y, "–"))
					}
					delete(theirs, row[0])
				}
				for _, row := range b {
					if y := theirs[row[0]]; y != "" {
						fmt.Fprintf(w, "%s\t–\t%s\n", row[0], y)
					}
				}
			}
			pairs(a.rows(), b.rows(), true)
			pairs(a.origins(), b.origins(), false)
			return w.Flush()
		},
	}
}

func runsTailCommand() *cobra.Command {
	follow, lines := false, 10
	cmd := &cobra.Command{
		Use:   "tail RUN",
		Short: "Print the last lines of a run's log, and with -f those to come",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lines < 0 {
				return usagef("lines: %d is out of range: must be at least 0", lines)
			}
			if _, err := run.Open(args[0]); err != nil {
				return err
			}
			return tail(cmd.Context(), cmd.OutOrStdout(), args[0], lines, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the run ends")
	cmd.Flags().IntVarP(&lines, "lines", "n", lines, "how many lines")
	return cmd
}

// tail prints the end of a run's log and, if asked to follow, what comes until
// nobody trains in the folder any more.
func tail(ctx context.Context, w io.Writer, dir string, lines int, follow bool) error {
	f, err := os.Open(filepath.Join(dir, run.LogFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &config.Error{Setting: "run", Reason: fmt.Sprintf("%s has no %s: it was not trained here", dir, run.LogFile)}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	all := bytes.SplitAfter(text, []byte("\n"))
	if len(all[len(all)-1]) == 0 {
		all = all[:len(all)-1]
	}
	if _, err := w.Write(bytes.Join(all[max(0, len(all)-lines):], nil)); err != nil {
		return err
	}
	for follow {
		busy := run.Busy(dir) // before reading: what is written up to the end is read
		if _, err := io.Copy(w, f); err != nil {
			return err
		}
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // Ctrl-C is how one stops looking
		case <-time.After(300 * time.Millisecond):
		}
	}
	return nil
}

func runsReportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report RUN",
		Short: "Write a run's report.html anew",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := report.Write(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(args[0], report.File))
			return err
		},
	}
}
