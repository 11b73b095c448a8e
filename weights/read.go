// Package weights brings networks in from other programs' files and out to
// them: names are translated, the network is recognised by its tensors.
//
// The names within are the paper's reference code's, which selfcon's own are.
package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"selfcon/checkpoint"
	"selfcon/checkpoint/torchfile"
	"selfcon/model"
	"selfcon/run"
)

// Error is a file that can't be used: what is wrong with it and what would be
// right.
type Error struct {
	Path   string
	Reason string
	Err    error
}

func (e *Error) Error() string { return e.Path + ": " + e.Reason }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

func bad(path, format string, args ...any) *Error {
	return &Error{Path: path, Reason: fmt.Sprintf(format, args...)}
}

// File is what a file of weights holds, under the reference's names.
type File struct {
	Path    string
	Format  string // "safetensors" or "PyTorch"
	Naming  Naming
	Tensors []checkpoint.Named // those of the encoder (encoder.…) and of known heads
	Left    []string           // names of the others, as in the file
	Average bool               // they are moving averages: of a run's checkpoint that keeps some

	Options  map[string]any    // the command line that a PyTorch checkpoint keeps
	Metadata map[string]string // of a safetensors file, or of one that Export has written
}

// Naming is whose names a file has.
type Naming string

const (
	Reference   Naming = "the reference's"                 // encoder.layer1.0.shortcut.0.weight
	Torchvision Naming = "torchvision's, as timm's ResNet" // layer1.0.downsample.0.weight
)

// Read reads the weights in a safetensors file, in a file of torch.save, in a
// run's folder, or in a checkpoint of a run. prefix is what the names of the network begin with, such as
// "encoder_q."; empty, it is found, and of a run that keeps moving averages these
// are read, as by all that judges it. Errors about what a file holds are *Error.
func Read(path, prefix string) (*File, error) {
	if run.IsCheckpoint(path) {
		return readCheckpoint(path, prefix)
	}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &Error{path, "no such file", err}
	}
	if err != nil {
		return nil, err
	}
	f := &File{Path: path}
	if info.IsDir() {
		f.Path = filepath.Join(path, run.ModelFile)
		if _, err := os.Stat(f.Path); errors.Is(err, os.ErrNotExist) {
			return nil, &Error{path, "is a folder, and not that of a run: it has no " + run.ModelFile + "; name the file of the weights", err}
		}
	}
	raw, err := f.read()
	if err != nil {
		return nil, err
	}
	if err := f.translate(raw, prefix); err != nil {
		return nil, err
	}
	return f, nil
}

// readCheckpoint reads the weights in a run's checkpoint.
func readCheckpoint(path, prefix string) (*File, error) {
	dir, m, err := run.OpenModel(path)
	if err != nil {
		return nil, err
	}
	s, err := run.ReadModel(dir, m)
	if err != nil {
		return nil, err
	}
	f := &File{Path: dir, Format: "safetensors", Metadata: s.Metadata}
	return f, f.translate(s.Tensors, prefix)
}

// read reads the tensors as the file has them.
func (f *File) read() ([]checkpoint.Named, error) {
	begin, err := beginning(f.Path)
	if err != nil {
		return nil, err
	}
	if torchfile.Is(begin) || strings.HasSuffix(f.Path, ".pth") || strings.HasSuffix(f.Path, ".pt") {
		f.Format = "PyTorch"
		t, err := torchfile.Open(f.Path)
		if err != nil {
			return nil, f.wrong(err)
		}
		defer t.Close()
		f.Options, f.Metadata = t.Options(), t.Metadata()
		tensors, err := t.Tensors()
		if err != nil {
			return nil, &Error{f.Path, err.Error(), err}
		}
		return tensors, nil
	}
	// Python's pickles begin with the mark of their version; what follows in a
	// safetensors file are the length's other bytes, which are 0.
	if len(begin) > 2 && begin[0] == 0x80 && begin[1] >= 2 && begin[1] <= 5 && !bytes.Equal(begin[2:min(8, len(begin))], make([]byte, min(8, len(begin))-2)) {
		return nil, &Error{f.Path, "is a bare Python pickle, of which nothing is executed here: save the network's state_dict with torch.save (.pth) or as safetensors", nil}
	}
	f.Format = "safetensors"
	s, err := checkpoint.ReadTensors(f.Path)
	if err != nil {
		return nil, f.wrong(err)
	}
	f.Metadata = s.Metadata
	return s.Tensors, nil
}

// wrong makes an error that begins with the path one about the file's contents,
// unless it can't be read at all.
func (f *File) wrong(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return err
	}
	return &Error{f.Path, strings.TrimPrefix(err.Error(), f.Path+": "), err}
}

func beginning(path string) ([]byte, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b := make([]byte, 512)
	n, err := io.ReadFull(in, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	return b[:n], nil
}

// wrappers are parts of names that say how a network was run, not what it is.
var wrappers = []string{"module", "_orig_mod"} // DataParallel, torch.compile

// unwrap takes the wrappers out of a name.
func unwrap(name string) string {
	parts := strings.Split(name, ".")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return slices.Contains(wrappers, p) }), ".")
}

// roots are names, without what is before them, that only the networks known
// here have; a ResNet's must have its first block as well.
var roots = []string{"layer1.0.conv1.weight", "block1.0.weight", "_conv_stem.weight"}

// headPrefixes begin the names of heads beside an encoder.
var headPrefixes = []string{"head.", "sub_heads.", "l_fc.", "logit_fc.", "f_fc.", "feat_fc."}

// translate gives the tensors the reference's names.
func (f *File) translate(raw []checkpoint.Named, prefix string) error {
	for i := range raw {
		raw[i].Name = unwrap(raw[i].Name)
	}
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, ".") + "."
		if !slices.ContainsFunc(raw, func(t checkpoint.Named) bool { return strings.HasPrefix(t.Name, prefix) }) {
			return bad(f.Path, "no name in it begins with %s; the first are %s", prefix, some(nameList(raw), 3))
		}
	} else {
		var err error
		if prefix, err = findPrefix(raw); err != nil {
			return bad(f.Path, "%v", err)
		}
		raw, f.Average = run.Averaged(raw)
	}
	f.Naming = Reference
	seen := map[string]bool{}
	for _, t := range raw {
		name, within := strings.CutPrefix(t.Name, prefix)
		switch {
		case strings.HasSuffix(name, ".num_batches_tracked"):
			continue // counts batches, which nothing here depends on
		case within && strings.HasPrefix(name, "fc."):
			f.Left = append(f.Left, t.Name) // a classifier of what it was trained on
			continue
		case within:
			if strings.Contains(name, ".downsample.") {
				if prefix != model.EncoderPrefix {
					f.Naming = Torchvision
				}
				name = strings.Replace(name, ".downsample.", ".shortcut.", 1)
			}
			t.Name = model.EncoderPrefix + name
		case !slices.ContainsFunc(headPrefixes, func(p string) bool { return strings.HasPrefix(t.Name, p) }) || prefix != model.EncoderPrefix:
			f.Left = append(f.Left, t.Name)
			continue
		}
		if seen[t.Name] {
			return bad(f.Path, "has two tensors that are %s once module. and the like are taken out of their names", t.Name)
		}
		seen[t.Name] = true
		f.Tensors = append(f.Tensors, t)
	}
	return nil
}

// findPrefix finds what the names of the network begin with; of several, the
// reference's.
func findPrefix(tensors []checkpoint.Named) (string, error) {
	found := map[string]bool{}
	for _, t := range tensors {
		for _, root := range roots {
			if p, ok := strings.CutSuffix(t.Name, root); ok && (p == "" || strings.HasSuffix(p, ".")) {
				found[p] = true
			}
		}
	}
	names := slices.Sorted(maps.Keys(found))
	switch {
	case len(names) == 1:
		return names[0], nil
	case found[model.EncoderPrefix]:
		return model.EncoderPrefix, nil
	case len(names) == 0:
		return "", errors.New("holds no network that is known: none of its names ends with " + strings.Join(roots, ", ") + "; it begins with " + some(nameList(tensors), 3))
	}
	return "", fmt.Errorf("holds several networks; say with --prefix which: %s", strings.Join(names, ", "))
}

func nameList(tensors []checkpoint.Named) []string {
	out := make([]string, len(tensors))
	for i, t := range tensors {
		out[i] = t.Name
	}
	return out
}

// Some joins the first names of many.
func Some(names []string) string { return some(names, 6) }

// some joins the first names and says how many there are besides.
func some(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
