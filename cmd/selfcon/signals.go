package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal gives a context that the first interrupt ends, so that the command
// stops in good order and saves; a second one calls quit, which ends the program.
// SIGHUP counts unless nohup has the program ignore it.
func untilSignal(quit func()) context.Context {
	ignoreSizeLimit()
	wanted := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		wanted = append(wanted, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, wanted...)
	go func() {
		<-signals
		cancel()
		<-signals
		quit()
	}()
	return ctx
}
