package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Parquet's metadata is Thrift structures in the compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md):
// a field is a byte of id step and type, then its value; integers are zigzag
// varints.
type thrift struct {
	buf   []byte
	depth int
}

const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// errShort is the error of a structure that goes on after the bytes at hand.
var errShort = errors.New("it ends too early")

// maxNesting bounds structures in structures.
const maxNesting = 32

func (t *thrift) byte() (byte, error) {
	if len(t.buf) == 0 {
		return 0, errShort
	}
	b := t.buf[0]
	t.buf = t.buf[1:]
	return b, nil
}

func (t *thrift) varint() (uint64, error) {
	v, n := binary.Uvarint(t.buf)
	if n == 0 {
		return 0, errShort
	}
	if n < 0 {
		return 0, errors.New("a number of more than 64 bits")
	}
	t.buf = t.buf[n:]
	return v, nil
}

// int reads an integer of any width.
func (t *thrift) int(kind byte) (int64, error) {
	switch kind {
	case thriftByte:
		b, err := t.byte()
		return int64(int8(b)), err
	case thriftI16, thriftI32, thriftI64:
		v, err := t.varint()
		return int64(v>>1) ^ -int64(v&1), err
	}
	return 0, fmt.Errorf("a field of type %d where a number should be", kind)
}

func (t *thrift) bytes(kind byte) ([]byte, error) {
	if kind != thriftBinary {
		return nil, fmt.Errorf("a field of type %d where a text should be", kind)
	}
	n, err := t.varint()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(t.buf)) {
		return nil, errShort
	}
	b := t.buf[:n]
	t.buf = t.buf[n:]
	return b, nil
}

// list calls each for the elements of a list. There can't be more than bytes are left.
func (t *thrift) list(kind byte, each func(kind byte) error) error {
	if kind != thriftList && kind != thriftSet {
		return fmt.Errorf("a field of type %d where a list should be", kind)
	}
	head, err := t.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = t.varint(); err != nil {
			return err
		}
	}
	if n > uint64(len(t.buf)) {
		return errShort
	}
	for range n {
		if err := each(head & 15); err != nil {
			return err
		}
	}
	return nil
}

// fields calls each for the fields of a structure; each must take the value or
// skip it.
func (t *thrift) fields(kind byte, each func(id int, kind byte) error) error {
	if kind != thriftStruct {
		return fmt.Errorf("a field of type %d where a structure should be", kind)
	}
	if t.depth++; t.depth > maxNesting {
		return errors.New("structures nested too deeply")
	}
	defer func() { t.depth-- }()
	id := int64(0)
	for {
		head, err := t.byte()
		if err != nil {
			return err
		}
		kind := head & 15
		if kind == 0 {
			return nil
		}
		if step := head >> 4; step != 0 {
			id += int64(step)
		} else if id, err = t.int(thriftI16); err != nil {
			return err
		}
		if id < math.MinInt16 || id > math.MaxInt16 {
			return errors.New("a field's number is out of range")
		}
		if err := each(int(id), kind); err != nil {
			return err
		}
	}
}

// skip passes over a value.
func (t *thrift) skip(kind byte) error {
	switch kind {
	case thriftTrue, thriftFalse:
		return nil
	case thriftByte, thriftI16, thriftI32, thriftI64:
		_, err := t.int(kind)
		return err
	case thriftDouble:
		if len(t.buf) < 8 {
			return errShort
		}
		t.buf = t.buf[8:]
		return nil
	case thriftBinary:
		_, err := t.bytes(kind)
		return err
	case thriftList, thriftSet:
		if t.depth++; t.depth > maxNesting {
			return errors.New("lists nested too deeply")
		}
		defer func() { t.depth-- }()
		return t.list(kind, func(kind byte) error {
			if kind == thriftTrue || kind == thriftFalse { // a byte each, in lists
				_, err := t.byte()
				return err
			}
			return t.skip(kind)
		})
	case thriftStruct:
		return t.fields(kind, func(_ int, kind byte) error { return t.skip(kind) })
	}
	return fmt.Errorf("a value of unknown type %d", kind) // maps: Parquet has none
}
