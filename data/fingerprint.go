package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// Fingerprint tells a labelled image set from others, wherever it lies. It holds
// sums (the first half of a SHA-256, in hexadecimal) of the class names and, a
// split at a time, of
//
//   - all labels, in order;
//   - sets that are in memory or packed: all pixels (packed ones by their size
//     and checksum, without reading them);
//   - other sets: all names below the folder that they have in common;
//     the sizes of up to 10,000 images' files; and the bytes of up to 500 of
//     them (of Parquet 8, which is read a page at a time), spread evenly.
//
// So a set of files with one image changed in place, of a split of more than
// 500, may go unnoticed if its size is the same, or if the split has more than
// 10,000; anything else is found.
type Fingerprint struct {
	Sum     string             `json:"sum"`    // of all that follows
	Format  int                `json:"format"` // of how sums are made: those of another one can't be compared
	Covers  string             `json:"covers"` // pixels, or files: see above
	Classes string             `json:"classes"`
	Splits  []SplitFingerprint `json:"splits"`
}

// SplitFingerprint is that of a split.
type SplitFingerprint struct {
	Name    string `json:"name"` // train, val or test
	Images  int    `json:"images"`
	Labels  string `json:"labels"`
	Names   string `json:"names,omitempty"` // of files
	Sized   int    `json:"sized,omitempty"` // how many files' sizes are in Bytes and Sizes
	Bytes   int64  `json:"bytes,omitempty"`
	Sizes   string `json:"sizes,omitempty"`
	Read    int    `json:"read"` // how many images are in Content
	Content string `json:"content"`
}

// What Fingerprint.Covers can be.
const (
	CoversPixels = "pixels"
	CoversFiles  = "files"
)

const fingerprintFormat = 1

// How many files' sizes are asked for and how many images are read in a split.
const (
	printSizes = 10_000
	printReads = 500
	printPages = 8
)

// Fingerprint sums up a set, all its splits. An image that can't be read is an
// error.
func (s Splits) Fingerprint() (Fingerprint, error) {
	f := Fingerprint{Format: fingerprintFormat, Covers: CoversPixels}
	h := sha256.New()
	for _, c := range s.Train.Classes() {
		writeText(h, c)
	}
	f.Classes = sumOf(h)
	for _, n := range s.Named() {
		ds := unwrapped(n.Dataset)
		if !inMemory(ds) {
			f.Covers = CoversFiles
		}
		p, err := fingerprint(ds)
		if err != nil {
			return f, err
		}
		p.Name = n.Name
		f.Splits = append(f.Splits, p)
	}
	h = sha256.New()
	fmt.Fprintf(h, "%d %s %s %+v", f.Format, f.Covers, f.Classes, f.Splits)
	f.Sum = sumOf(h)
	return f, nil
}

// commonFolder is what the names of all images begin with, up to a slash.
func commonFolder(ds Dataset) string {
	common := ""
	for i := range ds.Len() {
		name := filepath.ToSlash(ds.Name(i))
		if i == 0 {
			common = folderOf(name)
		}
		for !strings.HasPrefix(name, common) {
			common = folderOf(strings.TrimSuffix(common, "/"))
		}
	}
	return common
}

// folderOf is a path up to its last slash.
func folderOf(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// writeText hashes a text so that others can't make the same together.
func writeText(h hash.Hash, s string) {
	writeNumber(h, uint64(len(s)))
	io.WriteString(h, s)
}

func writeNumber(h hash.Hash, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	h.Write(b[:])
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:16]) }

// unwrapped is the set that is read, without a conversion of channels.
func unwrapped(ds Dataset) Dataset {
	if r, ok := ds.(*rechannelled); ok {
		return r.Dataset
	}
	return ds
}

// inMemory is whether all pixels of a set can be summed up at the price of memory.
func inMemory(ds Dataset) bool {
	switch ds.(type) {
	case *memory, *packed:
		return true
	}
	return false
}

// fingerprint sums up a split.
func fingerprint(ds Dataset) (p SplitFingerprint, err error) {
	n := ds.Len()
	p.Images = n
	h := sha256.New()
	for i := range n {
		writeNumber(h, uint64(ds.Label(i)))
	}
	p.Labels = sumOf(h)
	h = sha256.New()
	switch d := ds.(type) {
	case *memory:
		fmt.Fprintf(h, "%d %d %d\n", d.width, d.height, d.channels)
		for _, pix := range d.pix {
			h.Write(pix)
		}
		p.Read = n
	case *packed:
		fmt.Fprintf(h, "packed %d\n", d.channels)
		for i := range n {
			e := d.index[i*packEntry:]
			h.Write(e[16:24]) // width, height
			h.Write(e[28:32]) // CRC-32C
		}
		p.Read = n
	default:
		names, common := sha256.New(), commonFolder(ds)
		for i := range n {
			writeText(names, filepath.ToSlash(ds.Name(i))[len(common):])
		}
		p.Names = sumOf(names)
		if d, ok := ds.(sized); ok {
			if err := p.sizes(d, n); err != nil {
				return p, err
			}
		}
		reads := printReads
		if _, ok := ds.(*parquetSplit); ok {
			reads = printPages
		}
		p.Read = min(n, reads)
		sums, err := gather(p.Read, func(k int) (sum [sha256.Size]byte, err error) {
			raw, err := content(ds, k*n/p.Read)
			return sha256.Sum256(raw), err
		})
		if err != nil {
			return p, err
		}
		for _, s := range sums {
			h.Write(s[:])
		}
	}
	p.Content = sumOf(h)
	return p, nil
}

// content is what an image is made of: its file's bytes, or else its pixels.
func content(ds Dataset, i int) ([]byte, error) {
	if d, ok := ds.(encoded); ok {
		return d.raw(i)
	}
	im, err := ds.Image(i)
	return im.Pix, err
}

// sized is a set that can say how large an image's file is without reading it.
type sized interface {
	size(i int) (int64, error)
}

func (p *SplitFingerprint) sizes(d sized, n int) error {
	p.Sized = min(n, printSizes)
	sizes, err := gather(p.Sized, func(k int) (int64, error) { return d.size(k * n / p.Sized) })
	if err != nil {
		return err
	}
	h := sha256.New()
	for _, v := range sizes {
		p.Bytes += v
		writeNumber(h, uint64(v))
	}
	p.Sizes = sumOf(h)
	return nil
}

func (d *imageFiles) size(i int) (int64, error) {
	if a, ok := d.tree.(*archive); ok {
		return a.members[a.root+d.files[i]].size, nil
	}
	st, err := os.Stat(d.Name(i))
	if err != nil {
		return 0, readFailed(d.Name(i), err)
	}
	return st.Size(), nil
}

func (d *webSplit) size(i int) (int64, error) { return int64(d.samples[i].size), nil }

// gather calls get for 0 to n-1, several at once, as disks and networks like it,
// and gives the results in order, or the first error in order.
func gather[T any](n int, get func(int) (T, error)) ([]T, error) {
	out, failed := make([]T, n), make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, 4*runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if out[i], failed[i] = get(i); failed[i] != nil {
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Differences says how a set that is there now differs from the one of f, a
// phrase each; none if they are the same, or were summed up in ways that can't be
// compared.
func (f Fingerprint) Differences(now Fingerprint) []string {
	if f.Sum == now.Sum || f.Format != now.Format {
		return nil
	}
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if f.Classes != now.Classes {
		say("other classes")
	}
	for _, a := range f.Splits {
		b, ok := now.split(a.Name)
		if !ok {
			say("no %s split, which had %d images", a.Name, a.Images)
			continue
		}
		if a.Images != b.Images {
			say("%d %s images, not %d", b.Images, a.Name, a.Images)
			continue
		}
		if a.Labels != b.Labels {
			say("other labels of the %s images", a.Name)
		}
		switch {
		case f.Covers != now.Covers: // packed meanwhile, or not any more
		case a.Names != b.Names:
			say("other names of the %s images", a.Name)
		case a.Sizes != b.Sizes && a.Bytes != b.Bytes:
			say("%d bytes of %s images, not %d", b.Bytes, a.Name, a.Bytes)
		case a.Sizes != b.Sizes:
			say("files of other sizes among the %s images", a.Name)
		case a.Content != b.Content && f.Covers == CoversPixels:
			say("other pixels in the %s images", a.Name)
		case a.Content != b.Content:
			say("other bytes in the %s images", a.Name)
		}
	}
	for _, b := range now.Splits {
		if _, ok := f.split(b.Name); !ok {
			say("a %s split of %d images, which was not there", b.Name, b.Images)
		}
	}
	return out
}

func (f Fingerprint) split(name string) (SplitFingerprint, bool) {
	for _, s := range f.Splits {
		if s.Name == name {
			return s, true
		}
	}
	return SplitFingerprint{}, false
}

// String is the fingerprint's sum and what it covers.
func (f Fingerprint) String() string {
	images := 0
	for _, s := range f.Splits {
		images += s.Images
	}
	if f.Covers == CoversPixels {
		return fmt.Sprintf("%s (all pixels of %d images)", f.Sum, images)
	}
	return fmt.Sprintf("%s (names, labels, sizes and samples of %d images)", f.Sum, images)
}
