package data

import (
	"encoding/json"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	"selfcon/data/internal/parquet"
)

// Parquet as Hugging Face stores image sets: a column that is a structure of
// the image file's bytes and its path (or only the bytes), and a column of labels,
// numbers whose names are in the file's metadata, or the names. Several files make
// a set; see findShards. Images stay on disk: a page of some hundred is read when
// one of them is asked for, and kept for its neighbours.
const parquetWant = "a Parquet file with images, or a folder of them (train-*.parquet, test-*.parquet, …)"

// parquetCache is how many bytes of pages a split keeps: two windows of the
// loader's shuffle, so that one can be begun before the other is done.
const parquetCache = 2 * windowBytes

// parquetSplit is one split.
type parquetSplit struct {
	channels int
	classes  []string
	pages    []parquetPage // of all files, in order
	rows     []int32       // the images, as rows counted over all pages; nil: every row
	labels   []int32       // an image each
	cache    *blockCache[[][]byte]
}

type parquetPage struct {
	file  *parquetFile
	page  parquet.Page
	first int // row, counted over all pages
}

// parquetFile is an open file, and the columns that are read.
type parquetFile struct {
	path string
	*parquet.File
	image, label int
	names        []string // of the classes, if the metadata has them
}

func openParquet(spec string, opt Options) (Splits, error) {
	shards, err := findShards(spec, parquetWant, ".parquet")
	if err != nil {
		return Splits{}, err
	}
	parts := map[string]*parquetSplit{}
	texts := map[*parquetSplit][]string{} // labels as they stand
	set := labelSet{}
	var known []string
	for _, sh := range shards {
		f, err := openParquetFile(sh.path)
		if err != nil {
			return Splits{}, err
		}
		if f.names != nil {
			if known != nil && !slices.Equal(known, f.names) {
				return Splits{}, badf(sh.path, "its metadata names other classes than that of the files before it")
			}
			known = f.names
		}
		p := parts[sh.split]
		if p == nil {
			p = &parquetSplit{cache: &blockCache[[][]byte]{limit: parquetCache}}
			parts[sh.split] = p
		}
		labels, err := f.labels(opt, sh.split)
		if err != nil {
			return Splits{}, err
		}
		for _, l := range labels {
			if l != "" && l != leftOut {
				set.add(l, sh.split == "train", func() string { return sh.path })
			}
		}
		texts[p] = append(texts[p], labels...)
		pages, err := f.Pages(f.image)
		if err != nil {
			return Splits{}, badf(sh.path, "%v", err)
		}
		first := 0
		if n := len(p.pages); n > 0 {
			first = p.pages[n-1].first + p.pages[n-1].page.Rows
		}
		for _, pg := range pages {
			p.pages = append(p.pages, parquetPage{f, pg, first})
			first += pg.Rows
		}
	}
	var s Splits
	for split, p := range parts {
		missing := 0
		for _, l := range texts[p] {
			if l == "" {
				missing++
			}
		}
		switch {
		case missing == 0:
		case missing == len(texts[p]) && split != "train":
			s.Notes = append(s.Notes, "the "+split+" split has no labels and is passed over")
			delete(parts, split)
		case opt.faults == nil:
			return Splits{}, badf(spec, "%d of %d images of the split %s have no label", missing, len(texts[p]), split)
		default:
			for row, l := range texts[p] {
				if l == "" {
					opt.faults.add(OutOfRange, split, outOfRangeAbout, badf(p.rowName(row), "no label"))
				}
			}
		}
	}
	labelOf, classes, err := set.classes(spec, known, opt)
	if err != nil {
		return Splits{}, err
	}
	for split, p := range parts {
		p.classes = classes
		for row, l := range texts[p] {
			if label, ok := labelOf[l]; ok {
				p.rows = append(p.rows, int32(row))
				p.labels = append(p.labels, label)
			}
		}
		if len(p.rows) == 0 {
			return Splits{}, badf(spec, "the split %s has no images of the classes that are read", split)
		}
	}
	train := parts["train"]
	if train.channels = opt.Channels; train.channels == 0 {
		if train.channels, err = opt.probeChannels(train, 1); err != nil {
			return Splits{}, err
		}
	}
	s.Train = train
	for split, to := range map[string]*Dataset{"val": &s.Val, "test": &s.Test} {
		if p := parts[split]; p != nil {
			p.channels = train.channels
			*to = p
		}
	}
	return s, nil
}

func openParquetFile(path string) (*parquetFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, readFailed(path, err)
	}
	st, err := file.Stat()
	if err != nil {
		return nil, readFailed(path, err)
	}
	p, err := parquet.Open(file, st.Size())
	if err != nil {
		return nil, badf(path, "%v: it should be %s", err, parquetWant)
	}
	f := &parquetFile{path: path, File: p}
	return f, f.choose()
}

// imageColumns and labelColumns are names that tell what a column is where the
// metadata doesn't, the likeliest first.
var (
	imageColumns = []string{"image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "picture"}
	labelColumns = []string{"label", "fine_label", "labels", "class", "target", "cls", "category"}
)

// hfFeature is what Hugging Face's metadata says of a column.
type hfFeature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
}

// choose finds the columns of images and of labels.
func (f *parquetFile) choose() error {
	var about struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	features := map[string]hfFeature{}
	if text, ok := f.Meta["huggingface"]; ok {
		if err := json.Unmarshal([]byte(text), &about); err != nil {
			return badf(f.path, "damaged Hugging Face metadata: %v", err)
		}
		for name, raw := range about.Info.Features {
			var h hfFeature
			if json.Unmarshal(raw, &h) == nil { // a list is a feature too, and none of ours
				features[name] = h
			}
		}
	}
	// The leaf of a column's bytes, and that of a label.
	leaf := func(name string, isImage bool) int {
		return slices.IndexFunc(f.Columns, func(c parquet.Column) bool {
			switch {
			case c.Repeated || c.Path[0] != name:
				return false
			case isImage:
				return c.Type == parquet.Bytes && (len(c.Path) == 1 || len(c.Path) == 2 && c.Path[1] == "bytes")
			}
			return len(c.Path) == 1 && (c.Type == parquet.Bytes || c.Type == parquet.Int32 || c.Type == parquet.Int64 || c.Type == parquet.Bool)
		})
	}
	find := func(names []string, feature string, isImage bool) int {
		for _, name := range append(slices.Clone(names), sortedKeys(features)...) {
			if features[name].Type == feature {
				if i := leaf(name, isImage); i >= 0 {
					return i
				}
			}
		}
		for _, name := range names {
			if i := leaf(name, isImage); i >= 0 {
				return i
			}
		}
		return -1
	}
	f.image, f.label = find(imageColumns, "Image", true), find(labelColumns, "ClassLabel", false)
	var names []string
	for _, c := range f.Columns {
		names = append(names, c.Name())
	}
	switch has := strings.Join(names, ", "); {
	case f.image < 0:
		return badf(f.path, "no column of images among %.200s: it should be called image, a structure of bytes and path, or bytes", has)
	case f.label < 0:
		return badf(f.path, "no column of labels among %.200s: it should be called label, numbers or names", has)
	}
	if h := features[f.Columns[f.label].Path[0]]; h.Type == "ClassLabel" && len(h.Names) > 0 {
		f.names = h.Names
	}
	return nil
}

func sortedKeys(m map[string]hfFeature) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// leftOut is for a label that is out of range and told.
const leftOut = "\x00"

// labels reads the whole column of labels, as text: a class's name where it is
// known, nothing where there is no label.
func (f *parquetFile) labels(opt Options, split string) ([]string, error) {
	pages, err := f.Pages(f.label)
	if err != nil {
		return nil, badf(f.path, "%v", err)
	}
	out := make([]string, 0, f.Rows)
	same := map[string]string{} // one string a class, not one a row
	for _, p := range pages {
		v, err := f.Read(p)
		if err != nil {
			return nil, badf(f.path, "%v", err)
		}
		for i, valid := range v.Valid {
			switch {
			case !valid:
				out = append(out, "")
			case v.Bytes != nil:
				text, ok := same[string(v.Bytes[i])]
				if !ok {
					text = string(v.Bytes[i])
					same[text] = text
				}
				out = append(out, text)
			case f.names == nil:
				out = append(out, strconv.FormatInt(v.Ints[i], 10))
			case v.Ints[i] == -1: // Hugging Face's sign of a missing label
				out = append(out, "")
			case v.Ints[i] < 0 || v.Ints[i] >= int64(len(f.names)):
				if err := opt.fault(OutOfRange, split, outOfRangeAbout, badf(f.path, "row %d has label %d, out of range: the metadata names %d classes", p.Row+i, v.Ints[i], len(f.names))); err != nil {
					return nil, err
				}
				out = append(out, leftOut)
			default:
				out = append(out, f.names[v.Ints[i]])
			}
		}
	}
	return out, nil
}

func (d *parquetSplit) Len() int          { return len(d.labels) }
func (d *parquetSplit) Classes() []string { return d.classes }
func (d *parquetSplit) Label(i int) int   { return int(d.labels[i]) }

// page is where image i lies: the page and the row in it.
func (d *parquetSplit) page(i int) (p, row int) { return d.pageOf(int(d.rows[i])) }

func (d *parquetSplit) pageOf(r int) (p, row int) {
	p = sort.Search(len(d.pages), func(k int) bool { return d.pages[k].first > r }) - 1
	return p, r - d.pages[p].first
}

func (d *parquetSplit) Name(i int) string { return d.rowName(int(d.rows[i])) }

func (d *parquetSplit) rowName(r int) string {
	p, row := d.pageOf(r)
	return d.pages[p].file.path + ": row " + strconv.Itoa(d.pages[p].page.Row+row)
}

func (d *parquetSplit) block(i int) (id, size int64) {
	p, _ := d.page(i)
	pg := &d.pages[p].page
	return int64(p), pg.Size / int64(pg.Rows)
}

func (d *parquetSplit) raw(i int) ([]byte, error) {
	p, row := d.page(i)
	pg := &d.pages[p]
	images, err := d.cache.get(int64(p), pg.page.Size, func() ([][]byte, error) {
		v, err := pg.file.Read(pg.page)
		if err != nil {
			return nil, badf(pg.file.path, "%v", err)
		}
		return v.Bytes, nil
	})
	if err != nil {
		return nil, err
	}
	if images[row] == nil {
		return nil, badf(d.Name(i), "no image in this row (its bytes are missing)")
	}
	return images[row], nil
}

func (d *parquetSplit) Image(i int) (Image, error) {
	raw, err := d.raw(i)
	if err != nil {
		return Image{}, err
	}
	return decodeImage(d.Name(i), raw, d.channels)
}
