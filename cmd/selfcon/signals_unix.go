//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreSizeLimit makes a write past the limit of a file's size (ulimit -f) fail
// as one on a full disk does, where Go's runtime would end the program.
func ignoreSizeLimit() { signal.Ignore(syscall.SIGXFSZ) }
