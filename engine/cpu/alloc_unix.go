//go:build unix && !race

package cpu

import "golang.org/x/sys/unix"

// reserveBytes asks the system for n zeros on pages of their own.
func reserveBytes(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// releaseBytes gives the pages back; it fails for what reserveBytes has not
// made, and for nothing else.
func releaseBytes(b []byte) { _ = unix.Munmap(b) }
