//go:build !unix

package data

import "os"

// mapFile is a file's content, read whole where the system has no mmap.
func mapFile(path string) ([]byte, error) { return os.ReadFile(path) }
