//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// stayAlive makes an error of two failures to write that would end the program:
// past the limit of a file's size (ulimit -f), and to a pipe that nobody reads any
// more. A training does not end because whoever watched it has gone.
func stayAlive() {
	signal.Ignore(syscall.SIGXFSZ)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not Ignore, which programs that this one starts would inherit
}
