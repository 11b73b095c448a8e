package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"selfcon/run"
	"selfcon/train"
)

// reporter tells a person how far the work is: with a bar on a terminal, with
// plain lines elsewhere.
type reporter struct {
	out io.Writer
	tty bool
	log io.Writer // of the run, if there is one: gets every line too

	bars   *mpb.Progress
	bar    *mpb.Bar
	status atomic.Pointer[string] // shown beside the bar, which is drawn elsewhere
	said   time.Time              // when the last plain line was printed
}

// quiet is how long plain output may stay silent within an epoch or a phase.
const quiet = 30 * time.Second

func newReporter(out io.Writer) *reporter {
	f, ok := out.(*os.File)
	return &reporter{out: out, log: new(bytes.Buffer), tty: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb", said: time.Now()}
}

// sayf prints a line that stays.
func (r *reporter) sayf(format string, args ...any) {
	r.end()
	r.linef(format, args...)
}

// linef prints a line.
func (r *reporter) linef(format string, args ...any) {
	text := fmt.Sprintf(format+"\n", args...)
	io.WriteString(r.out, text) // a terminal that is gone must not end a training
	io.WriteString(r.log, text)
	r.said = time.Now()
}

// into lets work print into a run's log as well, with what was printed before
// there was one and the error that ends it, and closes the run's folder.
func (r *reporter) into(f *run.Folder, work func() error) error {
	early := r.log
	r.log = &f.Log
	defer func() {
		r.log = new(bytes.Buffer)
		f.Close()
	}()
	fmt.Fprintf(r.log, "selfcon %s: %s\n", versionString(), strings.Join(os.Args, " "))
	if b, ok := early.(*bytes.Buffer); ok {
		b.WriteTo(r.log)
	}
	err := work()
	r.end()
	if err != nil {
		fmt.Fprintln(r.log, err)
	}
	return err
}

// training reports a step.
func (r *reporter) training(p train.Progress) {
	total := p.Epochs * p.Batches
	done := p.Epoch*p.Batches + p.Batch
	epoch := p.Epoch + 1
	if p.EpochDone {
		epoch = p.Epoch
	}
	status := fmt.Sprintf("epoch %d/%d  loss %.4f  lr %.4g  %.0f images/s", epoch, p.Epochs, p.MeanLoss, p.Rate, p.ImagesPerSecond)
	if wait := p.Waited.Seconds() / p.Elapsed.Seconds(); wait > 0.1 {
		status += fmt.Sprintf("  (%.0f%% waiting for data)", 100*wait)
	}
	left := p.Left()
	status = fmt.Sprintf("%s  %s left", status, short(left))
	switch {
	case r.tty:
		r.step("train", total, done, status)
		if p.EpochDone {
			fmt.Fprintln(r.log, status)
		}
	case p.EpochDone || time.Since(r.said) > quiet:
		r.linef("%s", status)
	}
}

// phase reports progress of something that counts to total.
func (r *reporter) phase(name string) func(done, total int) {
	return func(done, total int) {
		if r.tty {
			r.step(name, total, done, "")
		} else if time.Since(r.said) > quiet {
			r.linef("%s %d/%d", name, done, total)
		}
		if done >= total {
			r.end()
		}
	}
}

// step moves the bar, which it makes if there is none.
func (r *reporter) step(name string, total, done int, status string) {
	r.status.Store(&status)
	if r.bar == nil {
		r.bars = mpb.New(mpb.WithOutput(r.out), mpb.WithWidth(32), mpb.WithAutoRefresh())
		r.bar = r.bars.AddBar(int64(total),
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name+" "), decor.Percentage(decor.WCSyncSpace)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return *r.status.Load() })))
	}
	r.bar.SetCurrent(int64(done))
}

// end takes the bar away, so that other output can follow.
func (r *reporter) end() {
	if r.bar != nil {
		r.bar.Abort(true)
		r.bars.Wait()
		r.bar, r.bars = nil, nil
	}
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
