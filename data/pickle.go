package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// A reader for the pickles that the python form of CIFAR is made of, and for
// nothing else: protocol 2 (and 3, which adds a type for bytes) with
// dictionaries, lists, tuples, strings, numbers, and numpy arrays of unsigned
// bytes. It runs nothing that a pickle names: the few callables that numpy
// needs are known by name and stand for a line of Go; any other is an error.
// Opcodes are described in Python's Lib/pickletools.py.

// What unpickle makes: nil, bool, int, pickleBytes, string, pickleTuple,
// *pickleList, pickleDict, pickleGlobal, *pickleArray, pickleDtype.
type (
	pickleBytes  []byte // Python 2's str, or bytes; a part of the input where that is possible
	pickleTuple  []any
	pickleList   struct{ items []any }
	pickleDict   map[string]any // keys are str, bytes or unicode
	pickleGlobal string         // "module name"
	pickleDtype  struct{}       // numpy's uint8
	pickleArray  struct {
		shape   []int
		fortran bool // first index fastest
		data    []byte
	}
)

// maxPickleValues bounds what a pickle may make: the largest that CIFAR has,
// 50,000 images with two labels and a file name each, needs 160,000.
const maxPickleValues = 4 << 20

type unpickler struct {
	raw     []byte
	at      int
	stack   []any
	marks   []int // stack heights
	memo    map[uint32]any
	values  int
	encoded int // bytes made by _codecs.encode
}

// unpickle reads one pickle. Errors give the byte they are at. The result's
// pickleBytes and arrays share memory with raw.
func unpickle(raw []byte) (any, error) {
	u := &unpickler{raw: raw, memo: map[uint32]any{}}
	for {
		start := u.at
		op, err := u.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' {
			if len(u.stack) != 1 || len(u.marks) != 0 {
				return nil, fmt.Errorf("pickle, byte %d: it ends with %d values on the stack, not one", start, len(u.stack))
			}
			if u.at != len(raw) {
				return nil, fmt.Errorf("pickle, byte %d: there are bytes after its end", u.at)
			}
			return u.stack[0], nil
		}
		if u.values++; u.values > maxPickleValues {
			return nil, fmt.Errorf("pickle, byte %d: more than %d values", start, maxPickleValues)
		}
		if err := u.do(op[0]); err != nil {
			return nil, fmt.Errorf("pickle, byte %d: %w", start, err)
		}
	}
}

// take is the next n bytes of the input.
func (u *unpickler) take(n int) ([]byte, error) {
	if n < 0 || n > len(u.raw)-u.at {
		return nil, fmt.Errorf("truncated: %d bytes wanted at byte %d of %d", n, u.at, len(u.raw))
	}
	b := u.raw[u.at : u.at+n : u.at+n]
	u.at += n
	return b, nil
}

// takeUint is a little-endian number of n bytes, at most 4.
func (u *unpickler) takeUint(n int) (uint32, error) {
	b, err := u.take(n)
	if err != nil {
		return 0, err
	}
	var padded [4]byte
	copy(padded[:], b)
	return binary.LittleEndian.Uint32(padded[:]), nil
}

// takeSized is a length of n bytes, then as many bytes.
func (u *unpickler) takeSized(n int) ([]byte, error) {
	size, err := u.takeUint(n)
	if err != nil {
		return nil, err
	}
	return u.take(int(int64(size)))
}

// takeLine is the input to the next newline, which is left out.
func (u *unpickler) takeLine() (string, error) {
	const most = 200
	end := bytes.IndexByte(u.raw[u.at:min(len(u.raw), u.at+most)], '\n')
	if end < 0 {
		return "", fmt.Errorf("no end of line in %d bytes", most)
	}
	b, err := u.take(end + 1)
	if err != nil {
		return "", err
	}
	return string(b[:end]), nil
}

func (u *unpickler) push(v any) error {
	u.stack = append(u.stack, v)
	return nil
}

// pop takes n values off the stack, the deepest first. It doesn't reach below
// a mark.
func (u *unpickler) pop(n int) ([]any, error) {
	floor := 0
	if len(u.marks) > 0 {
		floor = u.marks[len(u.marks)-1]
	}
	if len(u.stack)-n < floor {
		return nil, fmt.Errorf("%d values wanted, the stack has %d", n, len(u.stack)-floor)
	}
	top := u.stack[len(u.stack)-n:]
	u.stack = u.stack[:len(u.stack)-n]
	return top, nil
}

// popMark takes all values above the last mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, fmt.Errorf("no mark")
	}
	m := u.marks[len(u.marks)-1]
	u.marks = u.marks[:len(u.marks)-1]
	top := u.stack[m:]
	u.stack = u.stack[:m]
	return top, nil
}

// do carries out one opcode.
func (u *unpickler) do(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := u.take(1)
		if err != nil {
			return err
		}
		if v[0] != 2 && v[0] != 3 {
			return fmt.Errorf("protocol %d: CIFAR is distributed in protocol 2", v[0])
		}
		return nil
	case '(': // MARK
		u.marks = append(u.marks, len(u.stack))
		return nil
	case 'N': // NONE
		return u.push(nil)
	case 0x88: // NEWTRUE
		return u.push(true)
	case 0x89: // NEWFALSE
		return u.push(false)
	case 'K', 'M': // BININT1, BININT2
		v, err := u.takeUint(map[byte]int{'K': 1, 'M': 2}[op])
		if err != nil {
			return err
		}
		return u.push(int(v))
	case 'J': // BININT: signed
		v, err := u.takeUint(4)
		if err != nil {
			return err
		}
		return u.push(int(int32(v)))
	case 'U', 'C': // SHORT_BINSTRING, SHORT_BINBYTES
		b, err := u.takeSized(1)
		if err != nil {
			return err
		}
		return u.push(pickleBytes(b))
	case 'T', 'B': // BINSTRING, BINBYTES
		b, err := u.takeSized(4)
		if err != nil {
			return err
		}
		return u.push(pickleBytes(b))
	case 'X': // BINUNICODE
		b, err := u.takeSized(4)
		if err != nil {
			return err
		}
		return u.push(string(b))
	case ')': // EMPTY_TUPLE
		return u.push(pickleTuple(nil))
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		v, err := u.pop(int(op - 0x84))
		if err != nil {
			return err
		}
		return u.push(append(pickleTuple(nil), v...))
	case 't': // TUPLE
		v, err := u.popMark()
		if err != nil {
			return err
		}
		return u.push(append(pickleTuple(nil), v...))
	case ']': // EMPTY_LIST
		return u.push(&pickleList{})
	case 'a', 'e': // APPEND, APPENDS
		return u.appendItems(op)
	case '}': // EMPTY_DICT
		return u.push(pickleDict{})
	case 's', 'u': // SETITEM, SETITEMS
		return u.setItems(op)
	case 'q', 'r': // BINPUT, LONG_BINPUT
		i, err := u.takeUint(map[byte]int{'q': 1, 'r': 4}[op])
		if err != nil {
			return err
		}
		v, err := u.pop(1)
		if err != nil {
			return err
		}
		u.memo[i] = v[0]
		return u.push(v[0])
	case 'h', 'j': // BINGET, LONG_BINGET
		i, err := u.takeUint(map[byte]int{'h': 1, 'j': 4}[op])
		if err != nil {
			return err
		}
		v, ok := u.memo[i]
		if !ok {
			return fmt.Errorf("value %d is used before it is kept", i)
		}
		return u.push(v)
	case 'c': // GLOBAL
		module, err := u.takeLine()
		if err != nil {
			return err
		}
		name, err := u.takeLine()
		if err != nil {
			return err
		}
		switch g := pickleGlobal(module + " " + name); g {
		case numpyReconstruct, numpyReconstruct2, numpyNdarray, numpyDtype, codecsEncode:
			return u.push(g)
		default:
			return fmt.Errorf("it names %q, which no CIFAR file does; nothing that a pickle names is run", strings.Join([]string{module, name}, "."))
		}
	case 'R': // REDUCE: call
		v, err := u.pop(2)
		if err != nil {
			return err
		}
		return u.call(v[0], v[1])
	case 'b': // BUILD: set an object's state
		v, err := u.pop(2)
		if err != nil {
			return err
		}
		return u.build(v[0], v[1])
	}
	return fmt.Errorf("opcode 0x%02x, which no CIFAR file has", op)
}

// appendItems adds to a list one value (APPEND) or those above the mark.
func (u *unpickler) appendItems(op byte) error {
	var items []any
	var err error
	if op == 'a' {
		items, err = u.pop(1)
	} else {
		items, err = u.popMark()
	}
	if err != nil {
		return err
	}
	under, err := u.pop(1)
	if err != nil {
		return err
	}
	list, ok := under[0].(*pickleList)
	if !ok {
		return fmt.Errorf("values are appended to a %s, not a list", pickleKind(under[0]))
	}
	list.items = append(list.items, items...)
	return u.push(list)
}

// setItems puts into a dictionary one pair (SETITEM) or those above the mark.
func (u *unpickler) setItems(op byte) error {
	var items []any
	var err error
	if op == 's' {
		items, err = u.pop(2)
	} else {
		items, err = u.popMark()
	}
	if err != nil {
		return err
	}
	if len(items)%2 != 0 {
		return fmt.Errorf("a key without a value")
	}
	under, err := u.pop(1)
	if err != nil {
		return err
	}
	dict, ok := under[0].(pickleDict)
	if !ok {
		return fmt.Errorf("values are set in a %s, not a dictionary", pickleKind(under[0]))
	}
	for i := 0; i < len(items); i += 2 {
		key, ok := pickleText(items[i])
		if !ok {
			return fmt.Errorf("a key is a %s, not a string", pickleKind(items[i]))
		}
		dict[key] = items[i+1]
	}
	return u.push(dict)
}

// The callables that a pickled array of bytes names. numpy 2 moved the first;
// Python 3 writes bytes in protocol 2 as _codecs.encode(text, "latin1").
const (
	numpyReconstruct  pickleGlobal = "numpy.core.multiarray _reconstruct"
	numpyReconstruct2 pickleGlobal = "numpy._core.multiarray _reconstruct"
	numpyNdarray      pickleGlobal = "numpy ndarray"
	numpyDtype        pickleGlobal = "numpy dtype"
	codecsEncode      pickleGlobal = "_codecs encode"
)

// call stands for callable(*args).
func (u *unpickler) call(callable, args any) error {
	g, _ := callable.(pickleGlobal)
	a, ok := args.(pickleTuple)
	if !ok {
		return fmt.Errorf("arguments are a %s, not a tuple", pickleKind(args))
	}
	switch {
	case (g == numpyReconstruct || g == numpyReconstruct2) && len(a) == 3 && a[0] == any(numpyNdarray):
		return u.push(&pickleArray{})
	case g == numpyDtype && len(a) >= 1:
		if code, _ := pickleText(a[0]); code != "u1" {
			return fmt.Errorf("an array of type %.20q, but pixels are unsigned bytes (\"u1\")", code)
		}
		return u.push(pickleDtype{})
	case g == codecsEncode && len(a) == 2:
		text, isText := a[0].(string)
		if codec, _ := pickleText(a[1]); !isText || codec != "latin1" {
			return fmt.Errorf("_codecs.encode is only read for text in latin1")
		}
		// A text kept once and encoded many times would take ever more memory.
		if u.encoded += len(text); u.encoded > len(u.raw) {
			return fmt.Errorf("more text encoded than there is")
		}
		out := make(pickleBytes, 0, len(text))
		for _, r := range text {
			if r > 0xff {
				return fmt.Errorf("a character %U that latin1 has not", r)
			}
			out = append(out, byte(r))
		}
		return u.push(out)
	}
	return fmt.Errorf("a call that no CIFAR file makes: %s with %d arguments", pickleKind(callable), len(a))
}

// build stands for object.__setstate__(state).
func (u *unpickler) build(object, state any) error {
	s, ok := state.(pickleTuple)
	if !ok {
		return fmt.Errorf("a state is a %s, not a tuple", pickleKind(state))
	}
	switch o := object.(type) {
	case pickleDtype: // byte order and alignment: nothing for single bytes
		return u.push(o)
	case *pickleArray: // version, shape, dtype, is Fortran order, data
		if len(s) != 5 {
			return fmt.Errorf("an array's state has %d parts, not 5", len(s))
		}
		shape, ok1 := s[1].(pickleTuple)
		_, ok2 := s[2].(pickleDtype)
		data, ok3 := s[4].(pickleBytes)
		fortran, ok4 := s[3].(bool)
		if i, isInt := s[3].(int); isInt {
			fortran, ok4 = i != 0, true
		}
		if !ok1 || !ok2 || !ok3 || !ok4 {
			return fmt.Errorf("an array's state is (…, %s, %s, %s, %s), not (…, tuple, dtype, bool, bytes)",
				pickleKind(s[1]), pickleKind(s[2]), pickleKind(s[3]), pickleKind(s[4]))
		}
		made := pickleArray{fortran: fortran, data: data}
		total := 1
		for _, d := range shape {
			n, ok := d.(int)
			if !ok || n < 1 || n > len(data)/total {
				return fmt.Errorf("an array of %d bytes has a dimension of %s", len(data), pickleBrief(d))
			}
			total *= n
			made.shape = append(made.shape, n)
		}
		if total != len(data) {
			return fmt.Errorf("an array of shape %v has %d bytes of data", made.shape, len(data))
		}
		*o = made
		return u.push(o)
	}
	return fmt.Errorf("a state is set on a %s", pickleKind(object))
}

// pickleText is the text of a str, bytes or unicode.
func pickleText(v any) (string, bool) {
	switch v := v.(type) {
	case pickleBytes:
		return string(v), true
	case string:
		return v, true
	}
	return "", false
}

// pickleBrief is an int's value or another value's type, for messages. A value
// may contain itself, so it must not be printed whole.
func pickleBrief(v any) string {
	if i, ok := v.(int); ok {
		return strconv.Itoa(i)
	}
	return pickleKind(v)
}

// pickleKind names a value's type for messages.
func pickleKind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int:
		return "int"
	case pickleBytes:
		return "bytes"
	case string:
		return "string"
	case pickleTuple:
		return "tuple"
	case *pickleList:
		return "list"
	case pickleDict:
		return "dictionary"
	case *pickleArray:
		return "array"
	case pickleDtype:
		return "dtype"
	case pickleGlobal:
		return string(v)
	}
	return "value"
}
