// Package parquet reads columns of Apache Parquet files
// (https://parquet.apache.org/docs/file-format/): flat and nested columns that
// are not repeated, of byte arrays and integers, plain or dictionary-encoded,
// uncompressed or by Snappy, gzip or Zstandard, which is what writers such as
// Arrow's make of images and labels. Anything else is an error that names it.
//
// Memory is bounded by the file: a page never takes more than
// 1 MiB + 1032 times its compressed bytes, and there are fewer rows than bytes.
package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
)

// Type is a column's physical type.
type Type int

// The physical types that are read.
const (
	Bool  Type = 0
	Int32 Type = 1
	Int64 Type = 2
	Bytes Type = 6
)

// Column is a leaf of the schema.
type Column struct {
	Path     []string
	Type     Type
	Repeated bool // it, or what it is in, comes any number of times a row: not read

	maxDef int // levels at which a value may be missing
}

// Name is the path with dots.
func (c Column) Name() string { return strings.Join(c.Path, ".") }

// File is an open file.
type File struct {
	Rows    int
	Columns []Column
	Meta    map[string]string

	mu         sync.Mutex
	dictionary *Page // the one that words are of
	words      Values

	r      io.ReaderAt
	size   int64
	groups []group
}

type group struct {
	rows   int
	chunks []chunk // a column each
}

// chunk is a column's part of a row group.
type chunk struct {
	codec int
	start int64 // of the first page
	size  int64 // compressed
}

// maxFooter bounds the metadata at a file's end.
const maxFooter = 64 << 20

// Open reads a file's metadata. r must stay open.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size, Meta: map[string]string{}}
	tail := make([]byte, 8)
	if size < 12 {
		return nil, errors.New("too short for a Parquet file")
	}
	if _, err := r.ReadAt(tail, size-8); err != nil {
		return nil, err
	}
	switch string(tail[4:]) {
	case "PAR1":
	case "PARE":
		return nil, errors.New("an encrypted Parquet file, which is not read")
	default:
		return nil, errors.New("not a Parquet file: it does not end with PAR1 (is it a whole copy?)")
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if n > size-12 || n > maxFooter {
		return nil, fmt.Errorf("metadata of %d bytes in a file of %d", n, size)
	}
	raw := make([]byte, n)
	if _, err := r.ReadAt(raw, size-8-n); err != nil {
		return nil, err
	}
	if err := f.parse(raw); err != nil {
		return nil, fmt.Errorf("damaged metadata: %w", err)
	}
	return f, nil
}

// element is a node of the schema.
type element struct {
	kind       int64
	repetition int64 // 0 required, 1 optional, 2 repeated
	name       string
	children   int64
}

func (f *File) parse(raw []byte) error {
	t := &thrift{buf: raw}
	var schema []element
	rows := int64(-1)
	err := t.fields(thriftStruct, func(id int, kind byte) (err error) {
		switch id {
		case 2:
			return t.list(kind, func(kind byte) error {
				e, err := t.element(kind)
				schema = append(schema, e)
				return err
			})
		case 3:
			rows, err = t.int(kind)
			return err
		case 4:
			return t.list(kind, func(kind byte) error {
				g, err := t.group(kind)
				f.groups = append(f.groups, g)
				return err
			})
		case 5:
			return t.list(kind, func(kind byte) error {
				var key, value []byte
				err := t.fields(kind, func(id int, kind byte) (err error) {
					switch id {
					case 1:
						key, err = t.bytes(kind)
					case 2:
						value, err = t.bytes(kind)
					default:
						err = t.skip(kind)
					}
					return err
				})
				f.Meta[string(key)] = string(value)
				return err
			})
		}
		return t.skip(kind)
	})
	if err != nil {
		return err
	}
	if len(schema) == 0 {
		return errors.New("no schema")
	}
	rest, err := f.columns(schema[1:], schema[0].children, nil, 0, false)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return errors.New("the schema has columns that are in nothing")
	}
	total, packed := int64(0), int64(0)
	for i, g := range f.groups {
		if len(g.chunks) != len(f.Columns) {
			return fmt.Errorf("row group %d has %d columns, the schema %d", i, len(g.chunks), len(f.Columns))
		}
		for _, c := range g.chunks {
			if c.start < 4 || c.size < 0 || c.size > f.size || c.start > f.size-c.size {
				return fmt.Errorf("row group %d has a column at bytes %d to %d of a file of %d", i, c.start, c.start+c.size, f.size)
			}
		}
		total += int64(g.rows)
		for _, c := range g.chunks {
			packed += c.size
		}
	}
	if packed > f.size {
		return errors.New("its columns take more bytes than there are")
	}
	if total != rows || total > f.size {
		return fmt.Errorf("%d rows in row groups of a file of %d rows and %d bytes", total, rows, f.size)
	}
	f.Rows = int(rows)
	return nil
}

// columns makes the leaves of n schema elements, and gives the elements after them.
func (f *File) columns(rest []element, n int64, path []string, def int, repeated bool) ([]element, error) {
	if len(path) > maxNesting {
		return nil, errors.New("the schema is nested too deeply")
	}
	for range n {
		if len(rest) == 0 {
			return nil, errors.New("the schema ends too early")
		}
		e := rest[0]
		rest = rest[1:]
		here := append(path[:len(path):len(path)], e.name)
		def, repeated := def, repeated || e.repetition == 2
		if e.repetition != 0 {
			def++
		}
		if e.children == 0 {
			f.Columns = append(f.Columns, Column{Path: here, Type: Type(e.kind), Repeated: repeated, maxDef: def})
			continue
		}
		var err error
		if rest, err = f.columns(rest, e.children, here, def, repeated); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func (t *thrift) element(kind byte) (e element, err error) {
	err = t.fields(kind, func(id int, kind byte) (err error) {
		switch id {
		case 1:
			e.kind, err = t.int(kind)
		case 3:
			e.repetition, err = t.int(kind)
		case 4:
			var b []byte
			b, err = t.bytes(kind)
			e.name = string(b)
		case 5:
			e.children, err = t.int(kind)
		default:
			err = t.skip(kind)
		}
		return err
	})
	if err == nil && (e.children < 0 || e.children > math.MaxInt32) {
		err = fmt.Errorf("a schema element has %d children", e.children)
	}
	return e, err
}

func (t *thrift) group(kind byte) (g group, err error) {
	err = t.fields(kind, func(id int, kind byte) (err error) {
		switch id {
		case 1:
			return t.list(kind, func(kind byte) error {
				c, err := t.chunk(kind)
				g.chunks = append(g.chunks, c)
				return err
			})
		case 3:
			rows, err := t.int(kind)
			if rows < 0 || rows > math.MaxInt32 {
				return fmt.Errorf("a row group of %d rows", rows)
			}
			g.rows = int(rows)
			return err
		}
		return t.skip(kind)
	})
	return g, err
}

func (t *thrift) chunk(kind byte) (c chunk, err error) {
	dictionary := int64(0)
	err = t.fields(kind, func(id int, kind byte) error {
		switch id {
		case 1:
			return errors.New("a column in another file")
		case 3:
			return t.fields(kind, func(id int, kind byte) (err error) {
				var v int64
				switch id {
				case 4, 7, 9, 11:
					v, err = t.int(kind)
				default:
					return t.skip(kind)
				}
				switch id {
				case 4:
					c.codec = int(v)
				case 7:
					c.size = v
				case 9:
					c.start = v
				case 11:
					dictionary = v
				}
				return err
			})
		}
		return t.skip(kind)
	})
	if dictionary > 0 {
		c.start = min(c.start, dictionary)
	}
	return c, err
}
