// Package torchfile reads and writes the files of PyTorch's torch.save, as its
// zip format (since PyTorch 1.6) has them: a pickle that describes the values
// and a record of bytes for the storage of each tensor.
//
// Nothing in a file is run. The pickle may name what state dictionaries,
// tensors and the command lines beside them (argparse.Namespace) are made of;
// any other name is an error that says it. Tensors are read when they are
// asked for, and take no more memory than a small multiple of the file.
package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"

	"selfcon/internal/pickle"
)

// maxEntries bounds the records of a file; a ResNet-101 and its optimizer's
// state have some 1,000.
const maxEntries = 1 << 16

// File is an open file. Its tensors are read from it, so it must stay open.
type File struct {
	// Root is what was saved, see package pickle; besides, *Tensor and *Object.
	Root any

	size     int64
	in       io.ReaderAt
	close    func() error
	root     string // the folder within the archive
	order    binary.ByteOrder
	entries  map[string]*zip.File
	storages map[string]*storage
}

// Object is an object of a class that is known by name only.
type Object struct {
	Class string
	State any
}

// Kind is the class.
func (o *Object) Kind() string { return o.Class }

// SetState keeps a state.
func (o *Object) SetState(state any) error { o.State = state; return nil }

// Open reads what a file holds but the tensors' data.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err // names the file
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	var f *File
	if err == nil {
		f, err = read(file, info.Size())
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.close = file.Close
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.close() }

// Is says whether data begins as a file of torch.save does, of any age.
func Is(begin []byte) bool {
	return bytes.HasPrefix(begin, []byte("PK\x03\x04")) || bytes.HasPrefix(begin, legacyMagic)
}

// legacyMagic is how files before PyTorch 1.6 begin: the pickled number
// 0x1950a86a20f9469cfc6c.
var legacyMagic = []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")

const saveAgain = "; with PyTorch, load it and save it again: torch.save(torch.load(FILE, map_location=\"cpu\", weights_only=True), NEW)"

func read(in io.ReaderAt, size int64) (*File, error) {
	begin := make([]byte, 512)
	n, err := in.ReadAt(begin, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	begin = begin[:n]
	switch {
	case bytes.HasPrefix(begin, legacyMagic):
		return nil, errors.New("is in PyTorch's format from before 1.6 (or of _use_new_zipfile_serialization=False), which is not read" + saveAgain)
	case len(begin) > 262 && string(begin[257:262]) == "ustar":
		return nil, errors.New("is a tar archive, PyTorch's first format, which is not read" + saveAgain)
	case !Is(begin):
		return nil, fmt.Errorf("is not a file of torch.save: it begins with %q, not with a zip archive's \"PK\"", begin[:min(4, n)])
	}
	z, err := zip.NewReader(in, size)
	if err != nil {
		return nil, fmt.Errorf("is no whole zip archive: %w", err)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("has %d records; at most %d are read", len(z.File), maxEntries)
	}
	f := &File{size: size, in: in, order: binary.LittleEndian, entries: map[string]*zip.File{}, storages: map[string]*storage{}}
	for _, e := range z.File {
		if f.entries[e.Name] != nil {
			return nil, fmt.Errorf("has two records %q", e.Name)
		}
		f.entries[e.Name] = e
		if folder, ok := strings.CutSuffix(e.Name, "/data.pkl"); ok && !strings.Contains(folder, "/") {
			f.root = folder
		}
	}
	if f.root == "" {
		return nil, errors.New("is a zip archive, but none of torch.save's: it has no data.pkl")
	}
	if f.entries[f.root+"/constants.pkl"] != nil {
		return nil, errors.New("is TorchScript (torch.jit.save), which is code; save the weights: torch.save(model.state_dict(), FILE)")
	}
	if f.entries[f.root+"/byteorder"] != nil {
		raw, err := f.record("byteorder", 16)
		if err != nil {
			return nil, err
		}
		switch string(raw) {
		case "little":
		case "big":
			f.order = binary.BigEndian
		default:
			return nil, fmt.Errorf("record byteorder is %q, must be little or big", raw)
		}
	}
	raw, err := f.record("data.pkl", size)
	if err != nil {
		return nil, err
	}
	if f.Root, err = f.reader(len(raw)).Read(raw); err != nil {
		if u := new(pickle.UnknownGlobal); errors.As(err, &u) {
			err = fmt.Errorf("%w; only state dictionaries are: torch.save(model.state_dict(), FILE) writes one, torch.save(model, FILE) does not", err)
		}
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	return f, nil
}

// section is where a record's bytes are.
func (f *File) section(name string) (*io.SectionReader, *zip.File, error) {
	e := f.entries[f.root+"/"+name]
	if e == nil {
		return nil, nil, fmt.Errorf("has no record %q", name)
	}
	if e.Method != zip.Store {
		return nil, nil, fmt.Errorf("record %q is compressed, which torch.save never does; save it again with PyTorch", name)
	}
	at, err := e.DataOffset()
	if err != nil {
		return nil, nil, fmt.Errorf("record %q: %w", name, err)
	}
	n := e.UncompressedSize64
	if n != e.CompressedSize64 || at < 0 || at > f.size || n > uint64(f.size-at) {
		return nil, nil, fmt.Errorf("record %q has %d bytes, which the file ends before: it is cut short", name, n)
	}
	return io.NewSectionReader(f.in, at, int64(n)), e, nil
}

// record is the whole of a record of at most so many bytes.
func (f *File) record(name string, most int64) ([]byte, error) {
	s, e, err := f.section(name)
	if err != nil {
		return nil, err
	}
	if s.Size() > most {
		return nil, fmt.Errorf("record %q has %d bytes; at most %d are read", name, s.Size(), most)
	}
	raw := make([]byte, s.Size())
	if _, err := io.ReadFull(s, raw); err != nil {
		return nil, fmt.Errorf("record %q: %w", name, err)
	}
	return raw, check(name, e, crc32.ChecksumIEEE(raw))
}

// check compares a record's checksum; 0 stands for none, which PyTorch can be
// told to write.
func check(name string, e *zip.File, sum uint32) error {
	if e.CRC32 != 0 && e.CRC32 != sum {
		return fmt.Errorf("record %q is damaged: its checksum is %08x, must be %08x", name, sum, e.CRC32)
	}
	return nil
}

// reader knows what state dictionaries, tensors and options are made of.
func (f *File) reader(size int) pickle.Reader {
	known := map[string]func(pickle.Tuple) (any, error){
		"collections.OrderedDict": func(args pickle.Tuple) (any, error) {
			if len(args) != 0 {
				return nil, errors.New("is only read without arguments")
			}
			return &pickle.Dict{}, nil
		},
		"torch._utils._rebuild_tensor_v2": f.rebuild,
		"torch._utils._rebuild_parameter": func(args pickle.Tuple) (any, error) {
			if len(args) > 0 {
				if t, ok := args[0].(*Tensor); ok {
					return t, nil
				}
			}
			return nil, errors.New("needs a tensor")
		},
		"torch.Size": func(args pickle.Tuple) (any, error) {
			if len(args) == 1 {
				if t, ok := args[0].(pickle.Tuple); ok {
					return t, nil
				}
			}
			return nil, errors.New("needs a tuple")
		},
		"_codecs.encode": pickle.LatinBytes(size),
	}
	// Objects that are told apart by their class alone.
	for _, class := range []string{"argparse.Namespace", "torch.device", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"} {
		known[class] = func(pickle.Tuple) (any, error) { return &Object{Class: class}, nil }
	}
	for name := range storageTypes {
		known[name] = nil
	}
	for _, d := range []string{"float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"} {
		known["torch."+d] = nil
	}
	return pickle.Reader{Globals: known, Persistent: f.persistent}
}
