package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"

	"selfcon/engine"
	"selfcon/graph"
	"selfcon/internal/reason"
)

// The format (https://huggingface.co/docs/safetensors): the header's length in
// 8 bytes, little-endian; the header, a JSON object of
//
//	name: {"dtype": …, "shape": […], "data_offsets": [from, to]}
//
// and "__metadata__", an object of strings; then the data, little-endian and
// row-major, which the tensors fill without gaps or overlap.

const (
	maxHeader   = 100_000_000 // the limit of the format's own library
	maxMembers  = 1 << 16     // tensors of a file, or entries of its metadata: networks have some thousands
	maxRank     = 16
	metadataKey = "__metadata__"
)

// element is a type of element: its name in files and its size in bytes, and
// how a buffer of little-endian elements becomes Go's.
type element struct {
	name   string
	size   int
	decode func(r io.Reader, n int) (any, error)
}

var elements = []element{
	{"F32", 4, decoder(4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })},
	{"F64", 8, decoder(8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })},
	{"I32", 4, decoder(4, func(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) })},
	{"I64", 8, decoder(8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })},
	{"F16", 2, decoder(2, func(b []byte) float32 { return FromHalf(binary.LittleEndian.Uint16(b)) })},
	{"BF16", 2, decoder(2, func(b []byte) float32 {
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	})},
}

// decoder reads n elements in pieces.
func decoder[T any](size int, one func([]byte) T) func(io.Reader, int) (any, error) {
	return func(r io.Reader, n int) (any, error) {
		out := make([]T, n)
		buf := make([]byte, min(n, 1<<13)*size)
		for at := 0; at < n; {
			k := min(n-at, len(buf)/size)
			if _, err := io.ReadFull(r, buf[:k*size]); err != nil {
				return nil, err
			}
			for i := range k {
				out[at+i] = one(buf[i*size:])
			}
			at += k
		}
		return out, nil
	}
}

// FromHalf is the value of an IEEE 754 half.
func FromHalf(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, int(h>>10&31), uint32(h&1023)
	switch {
	case exp == 31: // infinite or not a number
		return math.Float32frombits(sign | 0xFF<<23 | frac<<13)
	case exp > 0:
		return math.Float32frombits(sign | uint32(exp-15+127)<<23 | frac<<13)
	case frac == 0:
		return math.Float32frombits(sign)
	}
	shift := bits.LeadingZeros16(uint16(frac)) - 5 // to make the leading 1 implicit
	return math.Float32frombits(sign | uint32(1-15+127-shift)<<23 | (frac<<shift&1023)<<13)
}

// ReadTensors reads a safetensors file; the tensors come in the order of its
// header. F16 and BF16 become []float32, I64 []int64. What the file holds is at
// fault if the error is an Invalid.
func ReadTensors(path string) (File, error) {
	file, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("%s: can't be read: %w", path, reason.Of(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s: is not a regular file", path)
	}
	f, err := decode(file, info.Size())
	if err != nil {
		return File{}, Invalidf("%s: not a valid safetensors file: %w", path, err)
	}
	return f, nil
}

// entry is a tensor's line in the header.
type entry struct {
	name     string
	kind     element
	shape    graph.Shape
	elements int
	from, to int64 // in the data
}

// decode reads a file of size bytes. It asks for no more than 64 times that, and
// 1 MiB, in all (of a header of nothing but entries; of tensors, three times).
func decode(r io.ReaderAt, size int64) (File, error) {
	var prefix [8]byte
	if size < 8 {
		return File{}, fmt.Errorf("has %d bytes; the length of the header alone takes 8", size)
	}
	if _, err := r.ReadAt(prefix[:], 0); err != nil {
		return File{}, err
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader {
		return File{}, fmt.Errorf("says its header has %d bytes; at most %d are allowed", n, maxHeader)
	}
	if int64(n) > size-8 {
		return File{}, fmt.Errorf("says its header has %d bytes, but only %d follow: it is cut short", n, size-8)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil && (err != io.EOF || int64(n) != size-8) {
		return File{}, err
	}
	f, entries, err := parseHeader(header)
	if err != nil {
		return File{}, fmt.Errorf("header: %w", err)
	}
	if err := checkLayout(entries, size-8-int64(n)); err != nil {
		return File{}, err
	}
	for _, e := range entries {
		data, err := e.kind.decode(io.NewSectionReader(r, 8+int64(n)+e.from, e.to-e.from), e.elements)
		if err != nil {
			return File{}, fmt.Errorf("tensor %q: %w", e.name, err)
		}
		f.Tensors = append(f.Tensors, Named{e.name, engine.Tensor{Shape: e.shape, Data: data}})
	}
	return f, nil
}

// checkLayout checks that the tensors fill size bytes of data without gaps or
// overlap.
func checkLayout(entries []entry, size int64) error {
	order := slices.Clone(entries)
	slices.SortStableFunc(order, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	at := int64(0)
	for _, e := range order {
		if e.to > size {
			return fmt.Errorf("tensor %q ends at byte %d of the data, which has %d: it is cut short", e.name, e.to, size)
		}
		if e.from != at {
			return fmt.Errorf("tensor %q begins at byte %d of the data and not at %d, where the one before it ends", e.name, e.from, at)
		}
		at = e.to
	}
	if at != size {
		return fmt.Errorf("the tensors end at byte %d of the data, which has %d", at, size)
	}
	return nil
}

// parseHeader walks the header's JSON token by token: encoding/json alone
// would let duplicate names, other spellings of keys and nulls pass.
func parseHeader(header []byte) (File, []entry, error) {
	if len(header) == 0 || header[0] != '{' {
		return File{}, nil, errors.New(`does not begin with "{"`)
	}
	if !utf8.Valid(header) {
		return File{}, nil, errors.New("is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(header))
	d.UseNumber()
	var f File
	var entries []entry
	err := object(d, func(name string) error {
		if name == metadataKey {
			f.Metadata = map[string]string{}
			return object(d, func(key string) (err error) {
				f.Metadata[key], err = token[string](d, "a string")
				return err
			})
		}
		e, err := parseEntry(d, name)
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return File{}, nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return File{}, nil, errors.New("goes on after its end")
	}
	return f, entries, nil
}

func parseEntry(d *json.Decoder, name string) (entry, error) {
	e := entry{name: name}
	var dtype string
	var shape, offsets []int64
	err := object(d, func(key string) (err error) {
		switch key {
		case "dtype":
			dtype, err = token[string](d, "a string")
		case "shape":
			shape, err = numbers(d)
		case "data_offsets":
			offsets, err = numbers(d)
		default:
			err = errors.New(`is not a field of a tensor (known: dtype, shape, data_offsets)`)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if dtype == "" || shape == nil || offsets == nil {
		return e, errors.New("needs dtype, shape and data_offsets")
	}
	i := slices.IndexFunc(elements, func(k element) bool { return k.name == dtype })
	if i < 0 {
		return e, fmt.Errorf("dtype %q is not supported (supported: F64, F32, F16, BF16, I64, I32)", dtype)
	}
	e.kind = elements[i]
	if len(offsets) != 2 || offsets[0] > offsets[1] {
		return e, fmt.Errorf("data_offsets %v must be a beginning and an end", offsets)
	}
	e.from, e.to = offsets[0], offsets[1]
	// Multiply with care: a product of absurd sizes must not wrap round to the right one.
	n, empty := uint64(e.kind.size), slices.Contains(shape, 0)
	e.shape = make(graph.Shape, len(shape))
	for i, s := range shape {
		if s > math.MaxInt {
			return e, fmt.Errorf("shape %v is too large", shape)
		}
		e.shape[i] = int(s)
		if empty {
			n = 0
			continue
		}
		var over uint64
		if over, n = bits.Mul64(n, uint64(s)); over != 0 {
			return e, fmt.Errorf("shape %v is too large", shape)
		}
	}
	if n != uint64(e.to-e.from) {
		return e, fmt.Errorf("%s of shape %v takes %d bytes, but data_offsets %v give it %d", dtype, shape, n, offsets, e.to-e.from)
	}
	if n > math.MaxInt { // on a 32-bit machine
		return e, fmt.Errorf("takes %d bytes, more than this machine can address", n)
	}
	e.elements = int(n) / e.kind.size
	return e, nil
}

// object reads an object, calling member to read the value of each key.
// Errors of member are given the key.
func object(d *json.Decoder, member func(key string) error) error {
	if err := delim(d, '{', "an object"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := token[string](d, "a string")
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%q comes twice", key)
		}
		if len(seen) == maxMembers {
			return fmt.Errorf("has more than %d members, from %q on: no network has so many tensors", maxMembers, key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	return delim(d, '}', `"}"`)
}

// numbers reads an array of integers that are not negative; it is not nil.
func numbers(d *json.Decoder) ([]int64, error) {
	if err := delim(d, '[', "an array"); err != nil {
		return nil, err
	}
	out := []int64{}
	for d.More() {
		s, err := token[json.Number](d, "a number")
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(s.String(), 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s must be an integer from 0 to %d", s, int64(math.MaxInt64))
		}
		if len(out) == maxRank {
			return nil, fmt.Errorf("has more than %d numbers", maxRank)
		}
		out = append(out, n)
	}
	return out, delim(d, ']', `"]"`)
}

func delim(d *json.Decoder, want json.Delim, what string) error {
	got, err := token[json.Delim](d, what)
	if err == nil && got != want {
		return fmt.Errorf("must be %s", what)
	}
	return err
}

func token[T any](d *json.Decoder, what string) (T, error) {
	var none T
	got, err := d.Token()
	if errors.Is(err, io.EOF) {
		return none, io.ErrUnexpectedEOF
	}
	if err != nil {
		return none, err
	}
	t, ok := got.(T)
	if !ok {
		return none, fmt.Errorf("must be %s", what)
	}
	return t, nil
}

// WriteTensors writes a safetensors file, whole or not at all. The same File
// gives the same bytes: the header lists the tensors in the order of f, the
// data holds those of 8-byte elements first, so that all are aligned in memory
// that the file is mapped into. Float data is written as it is, F32 or F64.
func WriteTensors(path string, f File) error {
	header, order, err := layout(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return Write(path, func(w io.Writer) error { return encode(w, header, order) })
}

// dtypeOf gives the file's name for data's elements, their size and number.
func dtypeOf(data any) (name string, size, n int) {
	switch d := data.(type) {
	case []float32:
		return "F32", 4, len(d)
	case []float64:
		return "F64", 8, len(d)
	case []int32:
		return "I32", 4, len(d)
	case []int64:
		return "I64", 8, len(d)
	}
	return "", 0, 0
}

// layout gives the header with its length in front, and the tensors in the
// order of their data.
func layout(f File) (header []byte, order []Named, err error) {
	offset := make(map[string]int, len(f.Tensors))
	at := 0
	for _, want := range []int{8, 4} {
		for _, t := range f.Tensors {
			dtype, size, n := dtypeOf(t.Data)
			_, twice := offset[t.Name]
			switch {
			case size == 4 && want == 8:
				continue
			case size == 8 && want == 4:
				continue
			case dtype == "":
				return nil, nil, fmt.Errorf("tensor %q holds %T; must be []float32, []float64, []int32 or []int64", t.Name, t.Data)
			case slices.ContainsFunc(t.Shape, func(s int) bool { return s < 0 }) || t.Shape.Size() != n:
				return nil, nil, fmt.Errorf("tensor %q has shape %v but %d elements", t.Name, t.Shape, n)
			case t.Name == metadataKey:
				return nil, nil, fmt.Errorf("no tensor may be called %q", t.Name)
			case !utf8.ValidString(t.Name):
				return nil, nil, fmt.Errorf("tensor name %q is not UTF-8", t.Name)
			case twice:
				return nil, nil, fmt.Errorf("two tensors are called %q", t.Name)
			}
			offset[t.Name] = at
			order = append(order, t)
			at += n * size
		}
	}
	var b bytes.Buffer
	b.Write(make([]byte, 8)) // the length
	b.WriteByte('{')
	member := func(key string, value any) {
		if b.Len() > 9 {
			b.WriteByte(',')
		}
		// Neither strings nor slices of int can fail to encode.
		k, _ := json.Marshal(key)
		v, _ := json.Marshal(value)
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	if len(f.Metadata) > 0 {
		for k, v := range f.Metadata {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return nil, nil, fmt.Errorf("metadata %q: %q is not UTF-8", k, v)
			}
		}
		member(metadataKey, f.Metadata) // encoding/json sorts the keys
	}
	for _, t := range f.Tensors {
		dtype, size, n := dtypeOf(t.Data)
		from := offset[t.Name]
		member(t.Name, struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{dtype, append([]int{}, t.Shape...), [2]int{from, from + n*size}})
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	header = b.Bytes()
	if len(header)-8 > maxHeader {
		return nil, nil, fmt.Errorf("the header would have %d bytes; at most %d are allowed", len(header)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(header, uint64(len(header)-8))
	return header, order, nil
}

func encode(w io.Writer, header []byte, order []Named) error {
	if _, err := w.Write(header); err != nil {
		return err
	}
	le := binary.LittleEndian
	for _, t := range order {
		var err error
		switch d := t.Data.(type) {
		case []float32:
			err = put(w, d, func(b []byte, v float32) []byte { return le.AppendUint32(b, math.Float32bits(v)) })
		case []float64:
			err = put(w, d, func(b []byte, v float64) []byte { return le.AppendUint64(b, math.Float64bits(v)) })
		case []int32:
			err = put(w, d, func(b []byte, v int32) []byte { return le.AppendUint32(b, uint32(v)) })
		case []int64:
			err = put(w, d, func(b []byte, v int64) []byte { return le.AppendUint64(b, uint64(v)) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put writes elements in pieces.
func put[T any](w io.Writer, data []T, one func([]byte, T) []byte) error {
	var buf []byte
	for piece := range slices.Chunk(data, 1<<13) {
		buf = buf[:0]
		for _, v := range piece {
			buf = one(buf, v)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}
