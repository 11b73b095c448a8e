//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// peakMemory is the process's peak resident set in bytes.
func peakMemory() (int64, error) {
	// Linux's rusage begins with the peak of the process that started this one.
	if runtime.GOOS == "linux" {
		if status, err := os.ReadFile("/proc/self/status"); err == nil {
			for line := range bytes.Lines(status) {
				var kb int64
				if n, _ := fmt.Sscanf(string(line), "VmHWM: %d kB", &kb); n == 1 {
					return kb * 1024, nil
				}
			}
		}
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss), nil
	}
	return int64(u.Maxrss) * 1024, nil
}
