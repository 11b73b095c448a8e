package checkpoint

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"selfcon/internal/reason"
)

// SumsFile lists the SHA-256 of every other file of a folder, as sha256sum -c
// reads them.
const SumsFile = "SHA256SUMS"

// Part is a file of a folder that WriteFolder makes.
type Part struct {
	Name  string
	Write func(io.Writer) error
}

// TensorPart is a safetensors file.
func TensorPart(name string, f File) Part {
	return Part{name, func(w io.Writer) error {
		header, order, err := layout(f)
		if err != nil {
			return err
		}
		return encode(w, header, order)
	}}
}

// JSONPart is v as indented JSON.
func JSONPart(name string, v any) Part {
	return Part{name, func(w io.Writer) error {
		text, err := Indent(v)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}}
}

// BytesPart is a file of the given bytes.
func BytesPart(name string, text []byte) Part {
	return Part{name, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}}
}

// The names of a folder that is being written and of the one it replaces, beside
// it.
func unfinished(path string) string { return beside(path, ".new") }
func replaced(path string) string   { return beside(path, ".old") }

func beside(path, suffix string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+suffix)
}

// WriteFolder makes a folder of files with a list of their checksums, whole or
// not at all, even if the machine stops: it is filled and synced under another
// name, then renamed, then the folder around it is synced. One that is there is
// replaced; between its going and the other's coming it lies beside, where
// MendFolders finds it. Only one process at a time may write in the folder
// around it. An error names path.
func WriteFolder(path string, parts []Part) (err error) {
	defer func() { err = unwritten(path, err) }()
	fresh := unfinished(path)
	if err := os.RemoveAll(fresh); err != nil { // of a process that was killed
		return err
	}
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(fresh)
		}
	}()
	var sums bytes.Buffer
	for _, p := range parts {
		sum := sha256.New()
		err := fill(filepath.Join(fresh, p.Name), func(w io.Writer) error { return p.Write(io.MultiWriter(w, sum)) })
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum.Sum(nil), p.Name)
	}
	err = fill(filepath.Join(fresh, SumsFile), func(w io.Writer) error {
		_, err := w.Write(sums.Bytes())
		return err
	})
	if err != nil {
		return err
	}
	if err := syncFolder(fresh); err != nil {
		return err
	}
	old := ""
	if _, err := os.Lstat(path); err == nil {
		old = replaced(path)
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(path, old); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		if old != "" {
			err = errors.Join(err, os.Rename(old, path))
		}
		return err
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return err
	}
	if old != "" {
		return os.RemoveAll(old)
	}
	return nil
}

// fill writes and syncs a new file.
func fill(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// RemoveFolder deletes a folder that WriteFolder made: whole or not at all for
// whoever looks for it by its name.
func RemoveFolder(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: can't be removed: %w", path, reason.Of(err))
		}
	}()
	gone := unfinished(path)
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(path, gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// MendFolders puts in order what a process that was killed in WriteFolder or
// RemoveFolder left in a folder.
func MendFolders(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		name, hidden := strings.CutPrefix(e.Name(), ".")
		if !hidden || !e.IsDir() {
			continue
		}
		if strings.HasSuffix(name, ".new") {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
		if name, ok := strings.CutSuffix(name, ".old"); ok {
			to := filepath.Join(dir, name)
			if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
				err = os.Rename(path, to)
				if err != nil {
					return err
				}
				continue
			}
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// ErrDamaged is wrapped by the error of a folder whose files are not those that
// were written.
var ErrDamaged = errors.New("is damaged")

// CheckFolder compares a folder's files with their checksums; those of the given
// names must be there. The error wraps ErrDamaged unless the files can't be read.
func CheckFolder(path string, names ...string) error {
	text, err := os.ReadFile(filepath.Join(path, SumsFile))
	if err != nil {
		return damaged(path, SumsFile, err)
	}
	listed := map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || !strings.HasSuffix(line, "\n") || len(sum) != 2*sha256.Size || name != filepath.Base(name) {
			return fmt.Errorf("%s %w: %s is not a list of checksums", path, ErrDamaged, SumsFile)
		}
		listed[name] = sum
	}
	for _, name := range names {
		if listed[name] == "" {
			return fmt.Errorf("%s %w: %s has no checksum of %s", path, ErrDamaged, SumsFile, name)
		}
	}
	for _, name := range sortedKeys(listed) {
		sum, err := sumOf(filepath.Join(path, name))
		if err != nil {
			return damaged(path, name, err)
		}
		if sum != listed[name] {
			return fmt.Errorf("%s %w: %s is not what was written (its checksum differs)", path, ErrDamaged, name)
		}
	}
	return nil
}

// damaged is the error of a file that can't be read: that of the machine, unless
// the file is not there.
func damaged(path, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %w: it has no %s", path, ErrDamaged, name)
	}
	return err
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sortedKeys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
