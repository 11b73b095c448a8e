package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What is checked in must be what the generator writes.
func TestRegeneratingChangesNothing(t *testing.T) {
	root := t.TempDir()
	for _, p := range packages {
		if err := os.MkdirAll(filepath.Join(root, p.dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeAll(root); err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		for _, f := range p.files {
			for _, ext := range []string{".s", ".go"} {
				name := filepath.Join(p.dir, f.name+"_amd64"+ext)
				want, err := os.ReadFile(filepath.Join(root, name))
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(filepath.Join(repository, name))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s is not what the generator writes; run: go run .", name)
				}
			}
		}
	}
}
