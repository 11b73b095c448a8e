package main

import (
	"errors"
	"io"
	"syscall"
)

// output is standard output, of which it keeps the first error: a result that
// could not be printed is a failure, however it was printed. A reader that has
// gone, such as head, wants no more, which is none.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	if o.err == nil {
		o.err = err
	}
	return n, err
}
