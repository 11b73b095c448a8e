package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"selfcon/internal/shell"
	"selfcon/run"
	"selfcon/train"
)

// reporter tells how far the work is: a person with a bar on a terminal and with
// plain lines elsewhere, a program with a JSON object a line (--log-format json).
// It writes to stderr; results go to stdout.
type reporter struct {
	mu    sync.Mutex // a phase may be reported by several workers
	out   io.Writer
	log   *slog.Logger // nil: for people
	quiet bool         // only warnings
	bar   *bar         // nil: not on a terminal
	said  time.Time    // when the last line was printed
	pace  pace

	// journal is the log of the run in work, or keeps the lines until there is
	// one. It gets all of them as for people, whatever the flags.
	journal io.Writer

	// reword, if not nil, words the error that ends a training, for its log too.
	reword func(error) error
}

// How long the plain lines and the JSON may stay silent within a phase, and how
// soon one epoch's line follows another's. Of many short epochs most are left out;
// metrics.jsonl has them all.
const (
	silence      = 30 * time.Second
	betweenLines = 2 * time.Second
)

// The values of --log-format.
const (
	logText = "text"
	logJSON = "json"
)

// logFlags declares on all commands how to report.
func logFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.Bool("quiet", false, "print warnings, errors and results only")
	f.String("log-format", logText, "progress and messages on stderr: text, or json with an object a line")
	complete(cmd, "log-format", func() []string { return []string{logText, logJSON} })
}

// checkLogFlags refuses an unknown format.
func checkLogFlags(cmd *cobra.Command) error {
	if form, _ := cmd.Root().PersistentFlags().GetString("log-format"); form != logText && form != logJSON {
		return usagef("--log-format %q: must be %s or %s", form, logText, logJSON)
	}
	return nil
}

// newReporter reports as the command's flags say.
func newReporter(cmd *cobra.Command) *reporter {
	f := cmd.Root().PersistentFlags()
	quiet, _ := f.GetBool("quiet") // logFlags declares both
	form, _ := f.GetString("log-format")
	r := &reporter{out: cmd.ErrOrStderr(), quiet: quiet, said: time.Now()}
	switch f, ok := r.out.(*os.File); {
	case form == logJSON:
		r.log = slog.New(slog.NewJSONHandler(r.out, &slog.HandlerOptions{ReplaceAttr: jsonNames}))
	case ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb":
		r.bar = &bar{out: r.out, width: func() int {
			w, _, err := term.GetSize(int(f.Fd()))
			if err != nil || w < 1 { // a terminal that does not know, as under expect
				return 80
			}
			return w
		}}
	}
	return r
}

// flags make a process of this program report as r does.
func (r *reporter) flags() (out []string) {
	if r.quiet {
		out = append(out, "--quiet")
	}
	if r.log != nil {
		out = append(out, "--log-format="+logJSON)
	}
	return out
}

// jsonNames are time, level and event, then an event's own fields.
func jsonNames(groups []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey:
		return slog.Time("time", a.Value.Time().UTC().Truncate(time.Millisecond))
	case slog.LevelKey:
		level, _ := a.Value.Any().(slog.Level)
		return slog.String("level", map[slog.Level]string{slog.LevelInfo: "info", slog.LevelWarn: "warning", slog.LevelError: "error"}[level])
	case slog.MessageKey:
		return slog.String("event", a.Value.String())
	}
	return a
}

// into lets work print into a run's log as well, with what was printed before
// there was one and the error that ends it, and closes the run's folder.
func (r *reporter) into(f *run.Folder, work func() error) error {
	early := r.journal
	r.journal = &f.Log
	defer func() {
		r.journal = nil
		f.Close()
	}()
	fmt.Fprintf(r.journal, "selfcon %s: %s\n", versionString(), shell.Command(os.Args))
	if b, ok := early.(*bytes.Buffer); ok {
		b.WriteTo(r.journal)
	}
	err := work()
	r.end()
	if err != nil && r.reword != nil {
		err = r.reword(err)
	}
	if err != nil {
		fmt.Fprintln(r.journal, err)
	}
	return err
}

// enter writes a line into the journal.
func (r *reporter) enter(text string) {
	if r.journal == nil {
		r.journal = new(bytes.Buffer)
	}
	fmt.Fprintln(r.journal, text)
}

// sayf prints a line that stays.
func (r *reporter) sayf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.tell("message", text, "message", text)
}

// notef prints what a person should know.
func (r *reporter) notef(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.tell("note", "note: "+text, "message", text)
}

// warnf prints what may be wrong, also if quiet.
func (r *reporter) warnf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter("warning: " + text)
	if r.log != nil {
		r.log.Warn("warning", "message", text)
		return
	}
	r.line("warning: " + text)
}

// tell prints something that happened: a text for people; for programs the name
// of the event and fields, names and values in turn.
func (r *reporter) tell(event, text string, fields ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(text)
	switch {
	case r.quiet:
	case r.log != nil:
		r.log.Info(event, fields...)
		r.said = time.Now()
	default:
		r.line(text)
	}
}

// fail prints the error that a command ends with.
func (r *reporter) fail(err error, code int) {
	r.end()
	if r.log != nil {
		r.log.Error("error", "message", err.Error(), "exit_code", code)
		return
	}
	fmt.Fprintln(r.out, "selfcon:", err)
}

// line prints a line in place of the bar.
func (r *reporter) line(text string) {
	r.bar.clear()
	fmt.Fprintln(r.out, text)
	r.said = time.Now()
}

// training reports a step.
func (r *reporter) training(p train.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.pace.step(p)
	total, done := p.Epochs*p.Batches, p.Epoch*p.Batches+p.Batch
	epoch := p.Epoch
	if !p.EpochDone {
		epoch++ // the one in work
	}
	parts := []string{
		fmt.Sprintf("epoch %d/%d", epoch, p.Epochs), short(p.Left()) + " left", fmt.Sprintf("loss %.4f", p.MeanLoss),
		fmt.Sprintf("%.0f images/s", now.images), fmt.Sprintf("%.0f%% waiting for data", 100*now.wait), fmt.Sprintf("lr %.4g", p.Rate),
	}
	if p.Top1 != nil {
		parts = slices.Insert(parts, 3, fmt.Sprintf("train top-1 %.1f %%", 100**p.Top1))
	}
	line := strings.Join(parts, "  ")
	if p.EpochDone {
		r.enter(line)
	}
	since := time.Since(r.said)
	speak := since > silence
	if p.EpochDone { // of epochs a program hears them all
		speak = r.log != nil || since > betweenLines || epoch == 1 || epoch == p.Epochs
	}
	switch {
	case r.quiet:
	case r.log != nil && speak:
		event := "step"
		if p.EpochDone {
			event = "epoch"
		}
		fields := []any{"epoch", epoch, "epochs", p.Epochs, "step", done, "steps", total, "loss", p.MeanLoss, "lr", p.Rate,
			"images_per_s", round(now.images), "data_wait", round(now.wait), "seconds_left", round(p.Left().Seconds())}
		if p.Top1 != nil {
			fields = append(fields, "train_top1", round(*p.Top1))
		}
		if p.Exits != nil {
			fields = append(fields, "exits", p.Exits)
		}
		r.log.Info(event, fields...)
		r.said = time.Now()
	case r.log != nil:
	case r.bar != nil:
		r.bar.draw("train", done, total, parts)
	case speak:
		r.line(line)
	}
}

// round keeps three digits after the point, which is enough to read.
func round(v float64) float64 { return float64(int64(v*1000+0.5)) / 1000 }

// phase reports progress of something that counts to total.
func (r *reporter) phase(name string) func(done, total int) {
	start := time.Now()
	return func(done, total int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.quiet {
			return
		}
		speak := time.Since(r.said) > silence
		switch {
		case r.log != nil && (speak || done >= total):
			r.log.Info("progress", "phase", name, "done", done, "total", total)
			r.said = time.Now()
		case r.log != nil:
		case r.bar != nil:
			left := time.Duration(float64(time.Since(start)) * float64(total-done) / float64(max(done, 1)))
			r.bar.draw(name, done, total, []string{fmt.Sprintf("%d/%d", done, total), short(left) + " left"})
			if done >= total {
				r.bar.clear()
			}
		case speak:
			r.line(fmt.Sprintf("%s %d/%d", name, done, total))
		}
	}
}

// end takes the bar away, so that other output can follow.
func (r *reporter) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bar.clear()
}

// pace is how quick a training is now: over the last seconds, not since it began.
type pace struct{ seen []sample }

type sample struct {
	images          float64
	elapsed, waited time.Duration
}

// speed is images a second and the share of the time that the network waits for
// them: near 0 the network is what takes the time, near 1 loading and augmenting.
type speed struct{ images, wait float64 }

// window is how much of the past a pace looks at.
const window = 20 * time.Second

// step takes in a step and says how quick the training is.
func (p *pace) step(t train.Progress) speed {
	now := sample{float64(t.Images), t.Elapsed, t.Waited}
	if n := len(p.seen); n > 0 && p.seen[n-1].elapsed > now.elapsed { // another training
		p.seen = nil
	}
	if p.seen == nil {
		p.seen = []sample{{}}
	}
	for len(p.seen) > 1 && now.elapsed-p.seen[1].elapsed > window {
		p.seen = p.seen[1:]
	}
	first := p.seen[0]
	// A hundred samples a window are enough.
	if n := len(p.seen); now.elapsed-p.seen[n-1].elapsed > window/100 {
		p.seen = append(p.seen, now)
	}
	d := (now.elapsed - first.elapsed).Seconds()
	if d <= 0 {
		return speed{}
	}
	return speed{(now.images - first.images) / d, min(max((now.waited-first.waited).Seconds()/d, 0), 1)}
}

// bar is a line on a terminal that is drawn anew. It needs no terminal codes but
// the carriage return. A nil bar draws nothing.
type bar struct {
	out   io.Writer
	width func() int // of the terminal, in columns
	drawn time.Time
	used  int // columns of the line that is there
}

// redraw is how soon the line is drawn anew.
const redraw = 100 * time.Millisecond

// draw shows how much of the total is done and, as far as they fit on the line,
// parts, which are of one column a byte.
func (b *bar) draw(name string, done, total int, parts []string) {
	if b == nil || total <= 0 || time.Since(b.drawn) < redraw && done < total {
		return
	}
	b.drawn = time.Now()
	room := b.width() - 1 // a full line would wrap
	share := min(max(float64(done)/float64(total), 0), 1)
	line := fmt.Sprintf("%s %3.0f%%", name, 100*share)
	rest := ""
	for _, p := range parts {
		if len(line)+len(rest)+2+len(p) > room {
			break
		}
		rest += "  " + p
	}
	if cells := min(room-len(line)-len(rest)-3, 30); cells >= 5 {
		full := int(share * float64(cells))
		line += " [" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "]"
	}
	line += rest
	if len(line) > room {
		line = line[:max(room, 0)]
	}
	fmt.Fprintf(b.out, "\r%s%s", line, strings.Repeat(" ", min(max(b.used-len(line), 0), max(room-len(line), 0))))
	b.used = len(line)
}

// clear leaves an empty line with the cursor at its beginning.
func (b *bar) clear() {
	if b == nil || b.used == 0 {
		return
	}
	fmt.Fprintf(b.out, "\r%s\r", strings.Repeat(" ", min(b.used, max(b.width()-1, 0))))
	b.used, b.drawn = 0, time.Time{}
}

// short prints a duration as people say it: 45s, 3m05s, 2h10m.
func short(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
