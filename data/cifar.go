package data

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"selfcon/internal/pickle"
)

// CIFAR (A. Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html) comes
// in two forms. Binary: records of one label byte (CIFAR-100: a coarse, then a
// fine one) and 3072 bytes, 1024 red, 1024 green, 1024 blue, rows from the top.
// Python: pickled dictionaries with the same 3072 bytes as rows of an array
// "data", and a list of labels. Both are read from the .tar.gz or a folder.
const (
	cifarSide   = 32
	cifarPlane  = cifarSide * cifarSide
	cifarPixels = 3 * cifarPlane
)

// maxCIFARFile bounds a file: the largest distributed, CIFAR-100's train, is 155 MB.
const maxCIFARFile = 256 << 20

// cifarForm is one of the two forms of a set.
type cifarForm struct {
	folder  string // as unpacked
	archive string // as distributed
	train   []string
	test    string
	pickled bool // files are pickles, not records
}

// cifarKind is CIFAR-10 or CIFAR-100.
type cifarKind struct {
	title      string
	format     string // of a spec
	classes    []string
	labelBytes int    // of a binary record; the last one counts
	labelKey   string // in a pickle
	forms      []cifarForm
}

var cifar10 = &cifarKind{
	title: "CIFAR-10", format: "cifar10", classes: cifar10Classes,
	labelBytes: 1, labelKey: "labels",
	forms: []cifarForm{
		{
			folder: "cifar-10-batches-bin", archive: "cifar-10-binary.tar.gz",
			train: []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
			test:  "test_batch.bin",
		},
		{
			folder: "cifar-10-batches-py", archive: "cifar-10-python.tar.gz",
			train: []string{"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"},
			test:  "test_batch", pickled: true,
		},
	},
}

var cifar100 = &cifarKind{
	title: "CIFAR-100", format: "cifar100", classes: cifar100Classes,
	labelBytes: 2, labelKey: "fine_labels",
	forms: []cifarForm{
		{
			folder: "cifar-100-binary", archive: "cifar-100-binary.tar.gz",
			train: []string{"train.bin"}, test: "test.bin",
		},
		{
			folder: "cifar-100-python", archive: "cifar-100-python.tar.gz",
			train: []string{"train"}, test: "test", pickled: true,
		},
	},
}

// files are a form's files, the training ones first.
func (f *cifarForm) files() []string { return append(slices.Clone(f.train), f.test) }

// want says what a path to this set should be.
func (k *cifarKind) want() string {
	return fmt.Sprintf("%s or %s, or the unpacked folder %s or %s", k.forms[0].archive, k.forms[1].archive, k.forms[0].folder, k.forms[1].folder)
}

// other is the other set, for hints.
func (k *cifarKind) other() *cifarKind {
	if k.labelBytes == 1 {
		return cifar100
	}
	return cifar10
}

// openCIFAR reads a set from a folder or an archive.
func openCIFAR(root string, kind *cifarKind, opt Options) (Splits, error) {
	st, err := os.Stat(root)
	if err != nil {
		return Splits{}, readFailed(root, err)
	}
	if !st.IsDir() {
		return openCIFARArchive(root, kind, opt)
	}
	for _, sub := range []string{"", kind.forms[0].folder, kind.forms[1].folder} {
		for i := range kind.forms {
			form := &kind.forms[i]
			dir := filepath.Join(root, sub)
			if !slices.ContainsFunc(form.files(), func(name string) bool { return isRegular(filepath.Join(dir, name)) }) {
				continue
			}
			parts := map[string]*cifarPart{}
			for _, name := range form.files() {
				path := filepath.Join(dir, name)
				if err := withFile(path, func(r io.Reader, size int64) error {
					parts[name], err = readCIFARPart(path, r, size, form, kind, opt)
					return err
				}); err != nil {
					return Splits{}, err
				}
			}
			return kind.splits(form, parts), nil
		}
	}
	for _, form := range kind.forms {
		if p := filepath.Join(root, form.archive); isRegular(p) {
			return openCIFARArchive(p, kind, opt)
		}
	}
	for _, form := range kind.other().forms {
		for _, name := range []string{form.test, form.folder, form.archive} {
			// A folder "test" is more likely one of images.
			if _, err := os.Stat(filepath.Join(root, name)); err == nil && name != "test" {
				return Splits{}, badf(root, "no %s here, but %s: did you mean %s:%s?", kind.title, kind.other().title, kind.other().format, root)
			}
		}
	}
	return Splits{}, badf(root, "no %s in this folder: it should be %s", kind.title, kind.want())
}

func isRegular(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// openCIFARArchive reads a set from a .tar.gz (or a .tar), in one pass.
func openCIFARArchive(archive string, kind *cifarKind, opt Options) (Splits, error) {
	formOf := map[string]*cifarForm{}
	for i := range kind.forms {
		for _, name := range kind.forms[i].files() {
			formOf[name] = &kind.forms[i]
		}
	}
	otherFile := map[string]bool{}
	for _, form := range kind.other().forms {
		for _, name := range form.files() {
			otherFile[name] = true
		}
	}
	parts := map[string]*cifarPart{}
	isOther := false
	err := withFile(archive, func(r io.Reader, _ int64) error {
		r, _, err := maybeGzip(archive, r)
		if err != nil {
			return err
		}
		t := tar.NewReader(r)
		for first := true; ; first = false {
			h, err := t.Next()
			if err == io.EOF && !first {
				if _, err := io.Copy(io.Discard, r); err != nil { // to gzip's checksum
					return readFailed(archive, err)
				}
				return nil
			}
			if errors.Is(err, tar.ErrHeader) || err == io.EOF {
				return badf(archive, "not a tar archive: it should be %s", kind.want())
			}
			if err != nil {
				return readFailed(archive, err)
			}
			name := path.Base(h.Name)
			isOther = isOther || otherFile[name] && h.Typeflag == tar.TypeReg
			form := formOf[name]
			if form == nil || h.Typeflag != tar.TypeReg {
				continue
			}
			if parts[name] != nil {
				return badf(archive+": "+h.Name, "the archive has two files of this name")
			}
			if parts[name], err = readCIFARPart(archive+": "+h.Name, t, h.Size, form, kind, opt); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return Splits{}, err
	}
	if len(parts) == 0 {
		if isOther {
			return Splits{}, badf(archive, "this is %s, not %s: did you mean %s:%s?", kind.other().title, kind.title, kind.other().format, archive)
		}
		return Splits{}, badf(archive, "no file of %s in this archive: it should be %s", kind.title, kind.want())
	}
	// The form that is complete, or the one that lacks least.
	var best *cifarForm
	var lacks []string
	for i := range kind.forms {
		form := &kind.forms[i]
		missing := slices.DeleteFunc(form.files(), func(name string) bool { return parts[name] != nil })
		if best == nil || len(missing) < len(lacks) {
			best, lacks = form, missing
		}
	}
	if len(lacks) > 0 {
		return Splits{}, badf(archive, "the archive has no %s: %s needs all of %s", strings.Join(lacks, ", "), kind.title, strings.Join(best.files(), ", ")).because(os.ErrNotExist)
	}
	return kind.splits(best, parts), nil
}

// cifarPart is one file's images.
type cifarPart struct {
	path   string
	pix    [][]uint8 // HWC
	labels []int32
}

func readCIFARPart(path string, r io.Reader, size int64, form *cifarForm, kind *cifarKind, opt Options) (*cifarPart, error) {
	if size > maxCIFARFile {
		return nil, badf(path, "%d bytes: no file of %s is larger than %d", size, kind.title, maxCIFARFile)
	}
	raw, err := readExactly(r, size)
	if err != nil {
		return nil, readFailed(path, err)
	}
	parse := parseCIFARBinary
	if form.pickled {
		parse = parseCIFARPython
	}
	p := &cifarPart{path: path}
	if p.pix, p.labels, err = parse(path, raw, kind); err != nil {
		return nil, err
	}
	for i, l := range p.labels {
		if (l < 0 || int(l) >= len(kind.classes)) && opt.faults == nil { // otherwise the check says so
			return nil, badf(path, "label %d of image %d is out of range: %s has labels 0 to %d", l, i, kind.title, len(kind.classes)-1)
		}
	}
	return p, nil
}

func (k *cifarKind) splits(form *cifarForm, parts map[string]*cifarPart) Splits {
	train := make([]*cifarPart, len(form.train))
	for i, name := range form.train {
		train[i] = parts[name]
	}
	return Splits{Train: k.dataset(train), Test: k.dataset([]*cifarPart{parts[form.test]})}
}

func (k *cifarKind) dataset(parts []*cifarPart) *memory {
	m := &memory{width: cifarSide, height: cifarSide, channels: 3, classes: k.classes}
	ends := make([]int, len(parts))
	for i, p := range parts {
		m.pix = append(m.pix, p.pix...)
		m.labels = append(m.labels, p.labels...)
		ends[i] = len(m.pix)
	}
	m.name = func(i int) string {
		p := sort.SearchInts(ends, i+1)
		return fmt.Sprintf("%s: image %d", parts[p].path, i-ends[p]+len(parts[p].pix))
	}
	return m
}

// parseCIFARBinary takes raw over: the images are made in its memory. Labels may
// be out of range.
func parseCIFARBinary(path string, raw []byte, kind *cifarKind) (pix [][]uint8, labels []int32, err error) {
	size := kind.labelBytes + cifarPixels
	n := len(raw) / size
	if len(raw)%size != 0 || n == 0 {
		return nil, nil, badf(path, "truncated or of another kind: %d bytes are not one or more whole records of %d (%d for the label, 3×1024 for the pixels), as %s has",
			len(raw), size, kind.labelBytes, kind.title)
	}
	pix, labels = make([][]uint8, n), make([]int32, n)
	for i := range n {
		record := raw[i*size : (i+1)*size]
		labels[i] = int32(record[kind.labelBytes-1])
		pix[i] = record[kind.labelBytes:size:size]
		interleave(pix[i])
	}
	return pix, labels, nil
}

// parseCIFARPython takes raw over, as parseCIFARBinary.
func parseCIFARPython(path string, raw []byte, kind *cifarKind) (pix [][]uint8, labels []int32, err error) {
	v, err := cifarPickle(raw)
	if err != nil {
		return nil, nil, badf(path, "not a python file of %s: %v", kind.title, err)
	}
	dict, ok := v.(*pickle.Dict)
	if !ok {
		return nil, nil, badf(path, "not a python file of %s: it holds a %s, not a dictionary", kind.title, pickle.Kind(v))
	}
	array, ok := dict.Get("data").(*numpyArray)
	if !ok || len(array.shape) != 2 || array.shape[1] != cifarPixels {
		return nil, nil, badf(path, "not a python file of %s: its \"data\" must be an array of bytes of shape n×%d", kind.title, cifarPixels)
	}
	list, ok := dict.Get(kind.labelKey).(*pickle.List)
	if !ok {
		hint := ""
		if dict.Get(kind.other().labelKey) != nil {
			hint = fmt.Sprintf(" (this is %s: use %s:)", kind.other().title, kind.other().format)
		}
		return nil, nil, badf(path, "not a python file of %s: it has no list %q%s", kind.title, kind.labelKey, hint)
	}
	n := array.shape[0]
	if len(list.Items) != n {
		return nil, nil, badf(path, "%d labels for %d images: there must be one label an image", len(list.Items), n)
	}
	data := array.data
	if array.fortran { // first index fastest: pixel j of all images together
		data = make([]byte, len(array.data))
		for j := range cifarPixels {
			for i := range n {
				data[i*cifarPixels+j] = array.data[j*n+i]
			}
		}
	}
	pix, labels = make([][]uint8, n), make([]int32, n)
	for i := range n {
		label, ok := list.Items[i].(int64)
		if !ok {
			return nil, nil, badf(path, "label %s of image %d: must be a whole number, 0 to %d for %s", pickle.Brief(list.Items[i]), i, len(kind.classes)-1, kind.title)
		}
		labels[i] = int32(min(max(label, math.MinInt32), math.MaxInt32))
		pix[i] = data[i*cifarPixels : (i+1)*cifarPixels : (i+1)*cifarPixels]
		interleave(pix[i])
	}
	return pix, labels, nil
}

// interleave turns an image's three planes (CHW) into pixels (HWC), in place.
func interleave(pix []uint8) {
	var planes [cifarPixels]uint8
	copy(planes[:], pix)
	for i := range cifarPlane {
		pix[3*i] = planes[i]
		pix[3*i+1] = planes[cifarPlane+i]
		pix[3*i+2] = planes[2*cifarPlane+i]
	}
}
