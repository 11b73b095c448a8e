// Command selfcon trains image encoders by self-contrastive learning, judges
// them and runs them. See selfcon --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/weights"
)

// The exit codes, the same for every subcommand.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitBadData     = 3
	exitInterrupted = 130
)

func main() {
	out := &output{to: os.Stdout}
	cmd := root(out, os.Stderr)
	ctx := untilSignal(func() {
		fmt.Fprintln(os.Stderr, "\nselfcon: interrupted twice: stopped at once, without saving")
		os.Exit(exitInterrupted)
	})
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		err = out.err
	}
	code := exitCode(err)
	if code == exitInterrupted && !errors.As(err, new(interrupted)) {
		err = errors.New("interrupted") // and not: context canceled
	}
	if err != nil {
		newReporter(cmd).fail(err, code)
	}
	os.Exit(code)
}

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// interrupted is the error of a command that a signal ended in good order.
// It says what was done, and what goes on with it.
type interrupted struct{ message, advice string }

func (e interrupted) Error() string { return e.message + "; " + e.advice }

func exitCode(err error) int {
	var usage usageError
	var setting *config.Error
	var spec *data.SpecError
	var bad *data.Error
	var file *weights.Error
	var invalid checkpoint.Invalid
	var stopped interrupted
	var child childError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &stopped), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &setting), errors.As(err, &spec):
		return exitUsage
	case errors.As(err, &bad), errors.As(err, &file), errors.As(err, &invalid):
		return exitBadData
	case errors.As(err, &child):
		return child.code
	}
	return exitFailed
}
