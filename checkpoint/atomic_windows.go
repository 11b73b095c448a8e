package checkpoint

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
)

// replace is Write; its errors may name the temporary file. Windows has no sync of
// folders, and renameio, which does this elsewhere, does not support it.
func replace(path string, write func(io.Writer) error) (err error) {
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.Close()
			os.Remove(t.Name())
		}
	}()
	w := bufio.NewWriterSize(t, 1<<16)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	return os.Rename(t.Name(), path)
}

// syncFolder does nothing: Windows can't sync folders.
func syncFolder(string) error { return nil }
