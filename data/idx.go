package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The IDX format (Y. LeCun, http://yann.lecun.com/exdb/mnist/): a magic number
// 0x0000TTDD (TT the element type, 08 for unsigned bytes; DD the number of
// dimensions), DD sizes as big-endian uint32, then the elements, last
// dimension fastest. Images are (n, height, width), labels are (n).
const (
	idxImages = 0x00000803
	idxLabels = 0x00000801
)

// maxDeflate bounds how much a deflate stream can grow: no byte of it stands
// for more than 1032 (zlib's technical notes, "maximum compression factor").
const maxDeflate = 1032

// maxUnpacked bounds what so many bytes of gzip or zip may unpack to in memory.
// Images and labels shrink to a tenth at best; what shrinks to less than a
// hundredth is a bomb, or may be unpacked by hand.
func maxUnpacked(size int64) int64 { return max(64<<20, 100*size) }

// openIDX reads the IDX files in a folder (or in its folder "raw", where
// torchvision puts them). classes nil means 0 to the largest training label.
func openIDX(dir string, classes []string, needTest bool, opt Options) (Splits, error) {
	if err := isFolder(dir, "the folder with train-images-idx3-ubyte.gz and the other IDX files"); err != nil {
		return Splits{}, err
	}
	train, err := openIDXPair(dir, "train", true)
	if err != nil {
		return Splits{}, err
	}
	test, err := openIDXPair(dir, "t10k", needTest)
	if err != nil {
		return Splits{}, err
	}
	parts := []*idxPair{train}
	if test != nil {
		parts = append(parts, test)
		if test.width != train.width || test.height != train.height {
			return Splits{}, badf(test.imagesPath, "images of %d×%d, but those of %s are %d×%d (height×width): a test set must have the training set's size",
				test.height, test.width, train.imagesPath, train.height, train.width)
		}
	}
	where := "this set's labels end at"
	if classes == nil {
		classes = digits(int(slices.Max(train.labels)) + 1)
		where = "the training labels end at"
	}
	for _, p := range parts {
		for i, l := range p.labels {
			if int(l) >= len(classes) && opt.faults == nil { // otherwise the check says so
				return Splits{}, badf(p.labelsPath, "label %d of image %d is out of range: %s %d", l, i, where, len(classes)-1)
			}
		}
	}
	s := Splits{Train: train.dataset(classes)}
	if test != nil {
		s.Test = test.dataset(classes)
	}
	return s, nil
}

// idxPair is an images file and its labels file.
type idxPair struct {
	imagesPath, labelsPath string
	height, width          int
	pix                    []uint8 // n×height×width
	labels                 []uint8 // n
}

func (p *idxPair) dataset(classes []string) *memory {
	m := &memory{width: p.width, height: p.height, channels: 1, classes: classes}
	size := p.width * p.height
	m.pix = make([][]uint8, len(p.labels))
	m.labels = make([]int32, len(p.labels))
	for i, l := range p.labels {
		m.pix[i] = p.pix[i*size : (i+1)*size : (i+1)*size]
		m.labels[i] = int32(l)
	}
	m.name = func(i int) string { return fmt.Sprintf("%s: image %d", p.imagesPath, i) }
	return m
}

// openIDXPair reads one split. It is nil without an error when both files are
// missing and needed is false.
func openIDXPair(dir, split string, needed bool) (*idxPair, error) {
	images, labels := findIDX(dir, split, "images", 3), findIDX(dir, split, "labels", 1)
	if images == "" && labels == "" && !needed {
		return nil, nil
	}
	if images == "" {
		return nil, badf(filepath.Join(dir, split+"-images-idx3-ubyte.gz"), "no such file (nor the same name without .gz): it must hold the images").because(os.ErrNotExist)
	}
	if labels == "" {
		return nil, badf(filepath.Join(dir, split+"-labels-idx1-ubyte.gz"), "no such file (nor the same name without .gz): it must hold the labels of %s", filepath.Base(images)).because(os.ErrNotExist)
	}
	p := &idxPair{imagesPath: images, labelsPath: labels}
	var err error
	if p.height, p.width, p.pix, err = readIDXImages(images); err != nil {
		return nil, err
	}
	if p.labels, err = readIDXLabels(labels); err != nil {
		return nil, err
	}
	if n := len(p.pix) / (p.height * p.width); n != len(p.labels) {
		return nil, badf(labels, "%d labels, but %s has %d images: there must be one label an image", len(p.labels), filepath.Base(images), n)
	}
	return p, nil
}

// findIDX is the path of an IDX file, or "". Names as distributed have a
// hyphen before idx; copies with a dot there are common.
func findIDX(dir, split, kind string, dims int) string {
	for _, sub := range []string{"", "raw"} {
		for _, sep := range []string{"-", "."} {
			for _, ext := range []string{"", ".gz"} {
				path := filepath.Join(dir, sub, fmt.Sprintf("%s-%s%sidx%d-ubyte%s", split, kind, sep, dims, ext))
				if st, err := os.Stat(path); err == nil && !st.IsDir() {
					return path
				}
			}
		}
	}
	return ""
}

func readIDXImages(path string) (height, width int, pix []uint8, err error) {
	err = withFile(path, func(r io.Reader, size int64) error {
		var e error
		height, width, pix, e = parseIDXImages(path, r, size)
		return e
	})
	return height, width, pix, err
}

func readIDXLabels(path string) (labels []uint8, err error) {
	err = withFile(path, func(r io.Reader, size int64) error {
		var e error
		labels, e = parseIDXLabels(path, r, size)
		return e
	})
	return labels, err
}

// withFile opens path and hands it on with its size in bytes.
func withFile(path string, read func(r io.Reader, size int64) error) error {
	f, err := os.Open(path)
	if err != nil {
		return readFailed(path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return readFailed(path, err)
	}
	return read(f, st.Size())
}

func parseIDXImages(path string, r io.Reader, size int64) (height, width int, pix []uint8, err error) {
	dims, pix, err := parseIDX(path, r, size, idxImages, "images")
	if err != nil {
		return 0, 0, nil, err
	}
	return dims[1], dims[2], pix, nil
}

func parseIDXLabels(path string, r io.Reader, size int64) ([]uint8, error) {
	_, labels, err := parseIDX(path, r, size, idxLabels, "labels")
	return labels, err
}

// parseIDX reads one IDX file, plain or gzipped, of size bytes on disk: its
// dimensions (all positive) and exactly their product of bytes.
func parseIDX(path string, r io.Reader, size int64, magic uint32, kind string) (dims []int, body []uint8, err error) {
	limit := size // the most bytes that r can give
	r, zipped, err := maybeGzip(path, r)
	if err != nil {
		return nil, nil, err
	}
	if zipped {
		limit *= maxDeflate
	}
	header := make([]byte, 4+4*(magic&0xff))
	if n, err := io.ReadFull(r, header[:4]); err != nil {
		return nil, nil, idxShort(path, err, "%d bytes, no IDX header", n)
	}
	if got := binary.BigEndian.Uint32(header); got != magic {
		hint := ""
		switch got {
		case idxImages:
			hint = " (this is an images file)"
		case idxLabels:
			hint = " (this is a labels file)"
		}
		return nil, nil, badf(path, "magic number 0x%08x%s, but an IDX file of %s begins with 0x%08x", got, hint, kind, magic)
	}
	if _, err := io.ReadFull(r, header[4:]); err != nil {
		return nil, nil, idxShort(path, err, "the IDX header is cut off")
	}
	total := int64(1)
	for at := 4; at < len(header); at += 4 {
		d := int64(binary.BigEndian.Uint32(header[at:]))
		dims = append(dims, int(d))
		if d == 0 {
			if at == 4 {
				return nil, nil, badf(path, "no %s: the header says 0", kind)
			}
			return nil, nil, badf(path, "the header says images of height×width %d×%d", dims[1], binary.BigEndian.Uint32(header[len(header)-4:]))
		}
		if total > limit/d { // also keeps the product from overflowing
			return nil, nil, badf(path, "truncated: the header says %s, more than a file of %d bytes can hold", idxShape(header), size)
		}
		total *= d
	}
	if zipped && total > maxUnpacked(size) {
		return nil, nil, badf(path, "%d bytes in a gzip file of %d: more than %d are not unpacked in memory; gunzip it, if that is right", total, size, maxUnpacked(size))
	}
	body, err = readExactly(r, total)
	if err != nil {
		return nil, nil, idxShort(path, err, "truncated: the header says %s, that is %d bytes, but there are %d", idxShape(header), total, len(body))
	}
	switch n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20)); {
	case err != nil: // also gzip's checksum
		return nil, nil, readFailed(path, err)
	case n > 0:
		return nil, nil, badf(path, "there are bytes left after the %s that the header says: wrong header or damaged file", idxShape(header))
	}
	return dims, body, nil
}

// idxShape is the sizes of a whole header, as "60000×28×28".
func idxShape(header []byte) string {
	var s []string
	for at := 4; at < len(header); at += 4 {
		s = append(s, fmt.Sprint(binary.BigEndian.Uint32(header[at:])))
	}
	return strings.Join(s, "×")
}

// idxShort words the end of a file that came too early.
func idxShort(path string, err error, format string, args ...any) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badf(path, format, args...).because(io.ErrUnexpectedEOF)
	}
	return readFailed(path, err)
}

// maybeGzip undoes gzip if r begins with gzip's magic number.
func maybeGzip(path string, r io.Reader) (io.Reader, bool, error) {
	head := make([]byte, 2)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false, readFailed(path, err)
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	if n < 2 || head[0] != 0x1f || head[1] != 0x8b {
		return r, false, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, false, readFailed(path, err)
	}
	return z, true, nil
}

// readExactly reads n bytes. It takes memory as bytes arrive, so that a wrong
// n costs no more than the data is long. On an error it gives what it read.
func readExactly(r io.Reader, n int64) ([]byte, error) {
	const first = 8 << 20
	buf := make([]byte, 0, min(n, first))
	for int64(len(buf)) < n {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(n, 2*int64(cap(buf))))
			copy(grown, buf)
			buf = grown
		}
		m, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+m]
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// isFolder is an error unless path is a folder; want says what it should be.
func isFolder(path, want string) error {
	st, err := os.Stat(path)
	if err != nil {
		return readFailed(path, err)
	}
	if !st.IsDir() {
		return badf(path, "is a file: it should be %s", want)
	}
	return nil
}
