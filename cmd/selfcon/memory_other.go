//go:build !unix

package main

import "runtime"

// peakMemory is what Go has had from the system, in bytes: a little less than
// the process's peak resident set, which this system does not tell simply.
func peakMemory() (int64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys), nil
}
