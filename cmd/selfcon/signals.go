package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// lifeline in the environment tells a process of this program that its standard
// input is a pipe whose other end the process that started it holds. When that
// closes it, or ends in whatever way, the process stops as after a signal. This
// works on every system, unlike Linux's signal at the parent's death, which
// comes at that of a thread.
const lifeline = "SELFCON_LIFELINE"

// cut gives a channel that is closed when the lifeline is; nil without one.
func cut(in io.Reader) <-chan struct{} {
	if os.Getenv(lifeline) == "" {
		return nil
	}
	os.Unsetenv(lifeline) // it is none of a process that this one starts
	gone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, in) // whatever ends it
		close(gone)
	}()
	return gone
}

// started is the key of a context's value in a process with a lifeline.
type started struct{}

// byItself is whether the command is no part of another one's work, which says
// itself what comes next.
func byItself(ctx context.Context) bool { return ctx.Value(started{}) == nil }

// untilSignal gives a context that the first interrupt ends, so that the command
// stops in good order and saves; a second one calls quit, which ends the program.
// SIGHUP counts unless nohup has the program ignore it. The end of a lifeline
// counts as the first interrupt.
func untilSignal(quit func()) context.Context {
	stayAlive()
	wanted := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		wanted = append(wanted, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, wanted...)
	gone := cut(os.Stdin)
	if gone != nil {
		ctx = context.WithValue(ctx, started{}, true)
	}
	go func() {
		select {
		case <-signals:
		case <-gone:
		}
		cancel()
		<-signals
		quit()
	}()
	return ctx
}
