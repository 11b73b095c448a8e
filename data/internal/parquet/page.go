package parquet

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// Page is a run of rows of one column, the least that is read at once.
type Page struct {
	Row  int // of the file, the first in this page
	Rows int
	// Size is how many bytes it has uncompressed.
	Size int64

	column     *Column
	head       pageHeader
	at         int64 // of the body
	codec      int
	dictionary *Page // nil: none
}

// The kinds of pages, and the encodings that are read.
const (
	dataPage, dictionaryPage, dataPageV2 = 0, 2, 3

	plain, plainDictionary, rle, rleDictionary = 0, 2, 3, 8
)

type pageHeader struct {
	kind             int64
	size, packed     int64 // uncompressed, compressed
	values, encoding int64
	levels           int64 // encoding of definition levels
	defBytes         int64 // version 2: bytes of definition levels, before the compressed rest
	repBytes         int64
	stored           bool // version 2: not compressed after all
}

// Pages lists a column's pages, in order of rows.
func (f *File) Pages(column int) ([]Page, error) {
	c := &f.Columns[column]
	if c.Repeated {
		return nil, fmt.Errorf("column %s is repeated in a row, which is not read", c.Name())
	}
	var pages []Page
	row := 0
	for i, g := range f.groups {
		ch := g.chunks[column]
		rows := 0
		var dictionary *Page
		for at, end := ch.start, ch.start+ch.size; at < end && rows < g.rows; {
			head, n, err := f.pageHeader(at, end)
			if err != nil {
				return nil, fmt.Errorf("column %s, row group %d: damaged page: %w", c.Name(), i, err)
			}
			at += n
			if head.size < 0 || head.packed < 0 || head.packed > end-at || head.size > 1<<20+1032*head.packed {
				return nil, fmt.Errorf("column %s, row group %d: a page of %d bytes, %d unpacked, with %d left", c.Name(), i, head.packed, head.size, end-at)
			}
			p := Page{Row: row + rows, Size: head.size, column: c, head: head, at: at, codec: ch.codec, dictionary: dictionary}
			at += head.packed
			switch head.kind {
			case dataPage, dataPageV2:
				if head.values < 0 || head.values > int64(g.rows-rows) {
					return nil, fmt.Errorf("column %s, row group %d: a page of %d values with %d rows left", c.Name(), i, head.values, g.rows-rows)
				}
				p.Rows = int(head.values)
				rows += p.Rows
				pages = append(pages, p)
			case dictionaryPage:
				if head.values < 0 || head.values > head.size {
					return nil, fmt.Errorf("column %s, row group %d: a dictionary of %d values in %d bytes", c.Name(), i, head.values, head.size)
				}
				dictionary = &p
			}
		}
		if rows != g.rows {
			return nil, fmt.Errorf("column %s, row group %d: pages of %d rows, the group has %d", c.Name(), i, rows, g.rows)
		}
		row += rows
	}
	return pages, nil
}

// pageHeader reads the header at a place, and how long it is.
func (f *File) pageHeader(at, end int64) (pageHeader, int64, error) {
	// Headers hold the smallest and largest value, which may be long.
	for room := int64(256); ; room *= 8 {
		raw := make([]byte, min(room, end-at))
		if _, err := f.r.ReadAt(raw, at); err != nil {
			return pageHeader{}, 0, err
		}
		t := &thrift{buf: raw}
		h, err := t.pageHeader()
		if errors.Is(err, errShort) && room < 1<<20 && room < end-at {
			continue
		}
		return h, int64(len(raw) - len(t.buf)), err
	}
}

func (t *thrift) pageHeader() (h pageHeader, err error) {
	h.kind = -1
	err = t.fields(thriftStruct, func(id int, kind byte) (err error) {
		switch id {
		case 1:
			h.kind, err = t.int(kind)
		case 2:
			h.size, err = t.int(kind)
		case 3:
			h.packed, err = t.int(kind)
		case 5, 7, 8: // of a data page, a dictionary, a data page of version 2
			outer := id
			err = t.fields(kind, func(id int, kind byte) (err error) {
				switch {
				case id == 1:
					h.values, err = t.int(kind)
				case id == 2 && outer != 8, id == 4 && outer == 8:
					h.encoding, err = t.int(kind)
				case id == 3 && outer == 5:
					h.levels, err = t.int(kind)
				case id == 5 && outer == 8:
					h.defBytes, err = t.int(kind)
				case id == 6 && outer == 8:
					h.repBytes, err = t.int(kind)
				case id == 7 && outer == 8:
					h.stored = kind == thriftFalse
				default:
					err = t.skip(kind)
				}
				return err
			})
		default:
			err = t.skip(kind)
		}
		return err
	})
	return h, err
}

// Values are a page's values, one a row: of byte arrays slices of one buffer
// (nil where missing), of integers Ints and Valid.
type Values struct {
	Bytes [][]byte
	Ints  []int64
	Valid []bool
}

// Read decodes a page.
func (f *File) Read(p Page) (Values, error) {
	v, err := f.read(p)
	if err != nil {
		return v, fmt.Errorf("column %s, rows %d to %d: %w", p.column.Name(), p.Row, p.Row+p.Rows-1, err)
	}
	return v, nil
}

func (f *File) read(p Page) (Values, error) {
	if p.Rows == 0 {
		return Values{}, nil
	}
	body, err := f.body(p)
	if err != nil {
		return Values{}, err
	}
	valid, body, err := p.levels(body)
	if err != nil {
		return Values{}, err
	}
	n := 0
	for _, v := range valid {
		if v {
			n++
		}
	}
	var have Values // of the n rows that have one
	switch p.head.encoding {
	case plain:
		have, err = parsePlain(p.column.Type, body, n)
	case plainDictionary, rleDictionary:
		have, err = f.lookUp(p, body, n)
	case rle:
		if p.column.Type != Bool {
			return Values{}, errors.New("run lengths of what are no truth values")
		}
		if len(body) < 4 {
			return Values{}, errShort
		}
		have.Ints = make([]int64, n)
		err = runs(body[4:], 1, n, func(i int, v uint32) error { have.Ints[i] = int64(v); return nil })
	default:
		return Values{}, fmt.Errorf("encoding %d is not read: write the file with plain or dictionary encoding, as is Arrow's default", p.head.encoding)
	}
	if err != nil {
		return Values{}, err
	}
	// Spread over the rows.
	out := Values{Valid: valid}
	k := 0
	if have.Bytes != nil || p.column.Type == Bytes {
		out.Bytes = make([][]byte, p.Rows)
		for i, v := range valid {
			if v {
				out.Bytes[i] = have.Bytes[k]
				k++
			}
		}
		return out, nil
	}
	out.Ints = make([]int64, p.Rows)
	for i, v := range valid {
		if v {
			out.Ints[i] = have.Ints[k]
			k++
		}
	}
	return out, nil
}

// body is a page's bytes, unpacked.
func (f *File) body(p Page) ([]byte, error) {
	h := p.head
	raw := make([]byte, h.packed)
	if _, err := f.r.ReadAt(raw, p.at); err != nil {
		return nil, err
	}
	if h.kind != dataPageV2 {
		return unpack(p.codec, raw, h.size)
	}
	levels := h.defBytes + h.repBytes
	if h.defBytes < 0 || h.repBytes < 0 || levels > h.packed || levels > h.size {
		return nil, errors.New("levels longer than their page")
	}
	codec := p.codec
	if h.stored {
		codec = 0
	}
	rest, err := unpack(codec, raw[levels:], h.size-levels)
	if err != nil {
		return nil, err
	}
	return append(raw[h.repBytes:levels:levels], rest...), nil
}

var zstdReader = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
})

// unpack undoes a codec; the result must have size bytes, which are no more than
// Pages allows.
func unpack(codec int, raw []byte, size int64) ([]byte, error) {
	var out []byte
	var err error
	switch codec {
	case 0:
		out = raw
	case 1:
		n, bad := snappy.DecodedLen(raw)
		if bad != nil || int64(n) != size {
			return nil, errors.New("damaged Snappy data")
		}
		out, err = snappy.Decode(make([]byte, n), raw)
	case 2:
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(raw)); err == nil {
			out = make([]byte, size)
			_, err = io.ReadFull(z, out)
		}
	case 6:
		var z *zstd.Decoder
		if z, err = zstdReader(); err == nil {
			out, err = z.DecodeAll(raw, make([]byte, 0, size))
		}
	default:
		names := map[int]string{3: "LZO", 4: "Brotli", 5: "LZ4", 7: "LZ4"}
		return nil, fmt.Errorf("compressed by %s (codec %d), which is not read: use Snappy, gzip, Zstandard or none", names[codec], codec)
	}
	if err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	if int64(len(out)) != size {
		return nil, fmt.Errorf("%d bytes unpacked, not %d", len(out), size)
	}
	return out, nil
}

// levels says which rows have a value, and gives what follows in the body.
func (p Page) levels(body []byte) ([]bool, []byte, error) {
	valid := make([]bool, p.Rows)
	if p.column.maxDef == 0 {
		for i := range valid {
			valid[i] = true
		}
		if p.head.kind == dataPageV2 {
			body = body[p.head.defBytes:]
		}
		return valid, body, nil
	}
	n := int64(p.head.defBytes)
	if p.head.kind == dataPage {
		if p.head.levels != rle {
			return nil, nil, fmt.Errorf("levels in encoding %d, which is not read", p.head.levels)
		}
		if len(body) < 4 {
			return nil, nil, errShort
		}
		n = int64(binary.LittleEndian.Uint32(body))
		body = body[4:]
	}
	if n > int64(len(body)) {
		return nil, nil, errShort
	}
	err := runs(body[:n], bits.Len(uint(p.column.maxDef)), p.Rows, func(i int, v uint32) error {
		valid[i] = int(v) == p.column.maxDef
		return nil
	})
	return valid, body[n:], err
}

// runs decodes n numbers of width bits, in runs of one number or packed by eight.
func runs(b []byte, width, n int, each func(i int, v uint32) error) error {
	if width > 32 {
		return errors.New("numbers of more than 32 bits")
	}
	for i := 0; i < n; {
		head, k := binary.Uvarint(b)
		if k <= 0 {
			return errShort
		}
		b = b[k:]
		if head&1 == 0 { // a run
			bytes := (width + 7) / 8
			if len(b) < bytes {
				return errShort
			}
			v := uint32(0)
			for j := range bytes {
				v |= uint32(b[j]) << (8 * j)
			}
			b = b[bytes:]
			if head == 0 {
				return errors.New("a run of nothing")
			}
			for range min(head>>1, uint64(n-i)) {
				if err := each(i, v); err != nil {
					return err
				}
				i++
			}
			continue
		}
		if width == 0 {
			return errors.New("packed numbers of no bits")
		}
		var acc uint64
		have := 0
		groups := head >> 1
		if groups > uint64(len(b)/width)+1 {
			return errShort
		}
		end := min(int(groups)*width, len(b)) // the last may be cut
		packed := b[:end]
		b = b[end:]
		left := min(int(groups)*8, n-i)
		for _, x := range packed {
			acc |= uint64(x) << have
			have += 8
			for have >= width && left > 0 {
				if err := each(i, uint32(acc&(1<<width-1))); err != nil {
					return err
				}
				acc >>= width
				have -= width
				i++
				left--
			}
			if left == 0 {
				break
			}
		}
		if left > 0 {
			return errShort
		}
	}
	return nil
}

// parsePlain reads n values one after another.
func parsePlain(kind Type, b []byte, n int) (Values, error) {
	var v Values
	switch kind {
	case Bytes:
		if n > len(b)/4 {
			return v, errShort
		}
		v.Bytes = make([][]byte, n)
		for i := range v.Bytes {
			if len(b) < 4 {
				return v, errShort
			}
			size := binary.LittleEndian.Uint32(b)
			b = b[4:]
			if uint64(size) > uint64(len(b)) {
				return v, errShort
			}
			v.Bytes[i] = b[:size:size]
			b = b[size:]
		}
	case Int32, Int64:
		width := 4
		if kind == Int64 {
			width = 8
		}
		if n > len(b)/width {
			return v, errShort
		}
		v.Ints = make([]int64, n)
		for i := range v.Ints {
			if width == 4 {
				v.Ints[i] = int64(int32(binary.LittleEndian.Uint32(b[4*i:])))
			} else {
				v.Ints[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
			}
		}
	case Bool:
		if n > 8*len(b) {
			return v, errShort
		}
		v.Ints = make([]int64, n)
		for i := range v.Ints {
			v.Ints[i] = int64(b[i/8] >> (i % 8) & 1)
		}
	default:
		return v, fmt.Errorf("values of type %d, which is not read", kind)
	}
	return v, nil
}

// dictionaryOf is a page's dictionary. The last one is kept: the pages of a row
// group share theirs.
func (f *File) dictionaryOf(p Page) (Values, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dictionary == p.dictionary {
		return f.words, nil
	}
	raw, err := f.body(*p.dictionary)
	if err != nil {
		return Values{}, err
	}
	words, err := parsePlain(p.column.Type, raw, int(p.dictionary.head.values))
	if err != nil {
		return Values{}, err
	}
	f.dictionary, f.words = p.dictionary, words
	return words, nil
}

// lookUp reads n indices into the page's dictionary, and the values there.
func (f *File) lookUp(p Page, b []byte, n int) (Values, error) {
	if p.dictionary == nil {
		return Values{}, errors.New("indices without a dictionary")
	}
	words, err := f.dictionaryOf(p)
	if err != nil {
		return Values{}, fmt.Errorf("dictionary: %w", err)
	}
	var v Values
	size := len(words.Ints)
	if p.column.Type == Bytes {
		v.Bytes, size = make([][]byte, n), len(words.Bytes)
	} else {
		v.Ints = make([]int64, n)
	}
	if n == 0 {
		return v, nil
	}
	if len(b) < 1 {
		return v, errShort
	}
	return v, runs(b[1:], int(b[0]), n, func(i int, k uint32) error {
		if int64(k) >= int64(size) {
			return fmt.Errorf("index %d of a dictionary of %d values", k, size)
		}
		if v.Bytes != nil {
			v.Bytes[i] = words.Bytes[k]
		} else {
			v.Ints[i] = words.Ints[k]
		}
		return nil
	})
}
