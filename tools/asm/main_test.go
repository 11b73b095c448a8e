package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What is checked in must be what the generator writes.
func TestRegeneratingChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := writeAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		for _, ext := range []string{".s", ".go"} {
			name := f.name + "_amd64" + ext
			want, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(kernelDir, name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what the generator writes; run: go run .", name)
			}
		}
	}
}
