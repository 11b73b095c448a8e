package pickle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Reader says what a pickle may name and call.
type Reader struct {
	// Globals are what a pickle may name, as "module.name", and what stands for
	// the call of each; nil for what may be named but not called.
	Globals map[string]func(args Tuple) (any, error)
	// Persistent gives the object that the pickle keeps outside itself under an
	// id; nil: there are none.
	Persistent func(id any) (any, error)
}

// Stateful is an object that a pickle can give a state (Python's __setstate__).
type Stateful interface{ SetState(state any) error }

// UnknownGlobal is the error of a pickle that names what its reader does not
// list.
type UnknownGlobal struct{ Name Global }

func (e *UnknownGlobal) Error() string {
	return fmt.Sprintf("it names %.200q, which is not read: nothing that a pickle names is run", string(e.Name))
}

// maxOpcodes bounds what a pickle may make, each opcode at most one value of
// some hundred bytes. The largest of CIFAR's, 50,000 images with two labels and
// a file name each, needs 160,000; a ResNet-101's state with its optimizer's
// 70,000.
const maxOpcodes = 1 << 20

type machine struct {
	Reader
	raw   []byte
	at    int
	stack []any
	marks []int // stack heights
	memo  map[uint32]any
}

// Read reads one pickle, which must fill raw. Errors give the byte they are at.
// The result's Bytes share memory with raw.
func (r Reader) Read(raw []byte) (any, error) {
	m := &machine{Reader: r, raw: raw, memo: map[uint32]any{}}
	for n := 0; ; n++ {
		start := m.at
		op, err := m.take(1)
		if err != nil {
			return nil, fmt.Errorf("pickle: %w", err)
		}
		if op[0] == '.' {
			if len(m.stack) != 1 || len(m.marks) != 0 {
				return nil, fmt.Errorf("pickle, byte %d: it ends with %d values on the stack, not one", start, len(m.stack))
			}
			if m.at != len(raw) {
				return nil, fmt.Errorf("pickle, byte %d: there are bytes after its end", m.at)
			}
			return m.stack[0], nil
		}
		if n == maxOpcodes {
			return nil, fmt.Errorf("pickle, byte %d: more than %d opcodes", start, maxOpcodes)
		}
		if err := m.do(op[0]); err != nil {
			return nil, fmt.Errorf("pickle, byte %d: %w", start, err)
		}
	}
}

// take is the next n bytes of the input.
func (m *machine) take(n uint64) ([]byte, error) {
	if n > uint64(len(m.raw)-m.at) {
		return nil, fmt.Errorf("truncated: %d bytes wanted at byte %d of %d", n, m.at, len(m.raw))
	}
	b := m.raw[m.at : m.at+int(n) : m.at+int(n)]
	m.at += int(n)
	return b, nil
}

// takeUint is a little-endian number of n bytes, at most 8.
func (m *machine) takeUint(n uint64) (uint64, error) {
	b, err := m.take(n)
	if err != nil {
		return 0, err
	}
	var padded [8]byte
	copy(padded[:], b)
	return binary.LittleEndian.Uint64(padded[:]), nil
}

// takeSized is a length of n bytes, then as many bytes.
func (m *machine) takeSized(n uint64) ([]byte, error) {
	size, err := m.takeUint(n)
	if err != nil {
		return nil, err
	}
	return m.take(size)
}

// takeLong is a signed number after its length of n bytes.
func (m *machine) takeLong(n uint64) (int64, error) {
	b, err := m.takeSized(n)
	if err != nil {
		return 0, err
	}
	if len(b) > 8 {
		return 0, fmt.Errorf("a number of %d bytes; at most 8 are read", len(b))
	}
	var padded [8]byte
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		padded = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	copy(padded[:], b)
	return int64(binary.LittleEndian.Uint64(padded[:])), nil
}

// takeLine is the input to the next newline, which is left out.
func (m *machine) takeLine() (string, error) {
	const most = 200
	end := bytes.IndexByte(m.raw[m.at:min(len(m.raw), m.at+most)], '\n')
	if end < 0 {
		return "", fmt.Errorf("no end of line in %d bytes", most)
	}
	b, err := m.take(uint64(end) + 1)
	if err != nil {
		return "", err
	}
	return string(b[:end]), nil
}

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	return nil
}

// pop takes n values off the stack, the deepest first. It doesn't reach below
// a mark.
func (m *machine) pop(n int) ([]any, error) {
	floor := 0
	if len(m.marks) > 0 {
		floor = m.marks[len(m.marks)-1]
	}
	if len(m.stack)-n < floor {
		return nil, fmt.Errorf("%d values wanted, the stack has %d", n, len(m.stack)-floor)
	}
	top := m.stack[len(m.stack)-n:]
	m.stack = m.stack[:len(m.stack)-n]
	return top, nil
}

// popMark takes all values above the last mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, fmt.Errorf("no mark")
	}
	at := m.marks[len(m.marks)-1]
	m.marks = m.marks[:len(m.marks)-1]
	top := m.stack[at:]
	m.stack = m.stack[:at]
	return top, nil
}

// do carries out one opcode.
func (m *machine) do(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.takeUint(1)
		if err != nil {
			return err
		}
		if v < 2 || v > 5 {
			return fmt.Errorf("protocol %d; 2 to 5 are read", v)
		}
		return nil
	case 0x95: // FRAME: a hint for readers of streams
		_, err := m.takeUint(8)
		return err
	case '(': // MARK
		m.marks = append(m.marks, len(m.stack))
		return nil
	case 'N': // NONE
		return m.push(nil)
	case 0x88: // NEWTRUE
		return m.push(true)
	case 0x89: // NEWFALSE
		return m.push(false)
	case 'K', 'M', 'J', 0x8a, 0x8b, 'G':
		v, err := m.number(op)
		if err != nil {
			return err
		}
		return m.push(v)
	case 'U', 'C', 'T', 'B', 0x8e, 'X', 0x8c, 0x8d:
		v, err := m.text(op)
		if err != nil {
			return err
		}
		return m.push(v)
	case ')': // EMPTY_TUPLE
		return m.push(Tuple(nil))
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		v, err := m.pop(int(op - 0x84))
		if err != nil {
			return err
		}
		return m.push(append(Tuple(nil), v...))
	case 't': // TUPLE
		v, err := m.popMark()
		if err != nil {
			return err
		}
		return m.push(append(Tuple(nil), v...))
	case ']': // EMPTY_LIST
		return m.push(&List{})
	case 'a', 'e': // APPEND, APPENDS
		return m.appendItems(op)
	case '}': // EMPTY_DICT
		return m.push(&Dict{})
	case 's', 'u': // SETITEM, SETITEMS
		return m.setItems(op)
	case 'q', 'r', 0x94: // BINPUT, LONG_BINPUT, MEMOIZE
		return m.put(op)
	case 'h', 'j': // BINGET, LONG_BINGET
		i, err := m.takeUint(map[byte]uint64{'h': 1, 'j': 4}[op])
		if err != nil {
			return err
		}
		v, ok := m.memo[uint32(i)]
		if !ok {
			return fmt.Errorf("value %d is used before it is kept", i)
		}
		return m.push(v)
	case 'c', 0x93: // GLOBAL, STACK_GLOBAL
		return m.global(op)
	case 'Q': // BINPERSID
		v, err := m.pop(1)
		if err != nil {
			return err
		}
		if m.Persistent == nil {
			return fmt.Errorf("it keeps an object outside itself, which this reader knows nothing of")
		}
		made, err := m.Persistent(v[0])
		if err != nil {
			return err
		}
		return m.push(made)
	case 'R', 0x81: // REDUCE: call; NEWOBJ: make an object of a class
		v, err := m.pop(2)
		if err != nil {
			return err
		}
		return m.call(v[0], v[1])
	case 'b': // BUILD: set an object's state
		return m.build()
	}
	return fmt.Errorf("opcode 0x%02x, which is not read", op)
}

func (m *machine) number(op byte) (any, error) {
	switch op {
	case 'K', 'M': // BININT1, BININT2
		v, err := m.takeUint(map[byte]uint64{'K': 1, 'M': 2}[op])
		return int64(v), err
	case 'J': // BININT: signed
		v, err := m.takeUint(4)
		return int64(int32(v)), err
	case 0x8a, 0x8b: // LONG1, LONG4
		return m.takeLong(map[byte]uint64{0x8a: 1, 0x8b: 4}[op])
	}
	b, err := m.take(8) // BINFLOAT
	if err != nil {
		return nil, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

func (m *machine) text(op byte) (any, error) {
	length := map[byte]uint64{
		'U': 1, 'T': 4, // SHORT_BINSTRING, BINSTRING
		'C': 1, 'B': 4, 0x8e: 8, // SHORT_BINBYTES, BINBYTES, BINBYTES8
		0x8c: 1, 'X': 4, 0x8d: 8, // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
	}[op]
	b, err := m.takeSized(length)
	if err != nil {
		return nil, err
	}
	switch op {
	case 'X', 0x8c, 0x8d:
		return string(b), nil
	}
	return Bytes(b), nil
}

// put keeps the value on top of the stack for later.
func (m *machine) put(op byte) error {
	i := uint64(len(m.memo))
	if op != 0x94 {
		var err error
		if i, err = m.takeUint(map[byte]uint64{'q': 1, 'r': 4}[op]); err != nil {
			return err
		}
	}
	v, err := m.pop(1)
	if err != nil {
		return err
	}
	m.memo[uint32(i)] = v[0]
	return m.push(v[0])
}

// appendItems adds to a list one value (APPEND) or those above the mark.
func (m *machine) appendItems(op byte) error {
	var items []any
	var err error
	if op == 'a' {
		items, err = m.pop(1)
	} else {
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	under, err := m.pop(1)
	if err != nil {
		return err
	}
	list, ok := under[0].(*List)
	if !ok {
		return fmt.Errorf("values are appended to a %s, not a list", Kind(under[0]))
	}
	list.Items = append(list.Items, items...)
	return m.push(list)
}

// setItems puts into a dictionary one pair (SETITEM) or those above the mark.
func (m *machine) setItems(op byte) error {
	var items []any
	var err error
	if op == 's' {
		items, err = m.pop(2)
	} else {
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	if len(items)%2 != 0 {
		return fmt.Errorf("a key without a value")
	}
	under, err := m.pop(1)
	if err != nil {
		return err
	}
	dict, ok := under[0].(*Dict)
	if !ok {
		return fmt.Errorf("values are set in a %s, not a dictionary", Kind(under[0]))
	}
	for i := 0; i < len(items); i += 2 {
		if err := dict.Set(items[i], items[i+1]); err != nil {
			return err
		}
	}
	return m.push(dict)
}

// global pushes a name if the reader lists it.
func (m *machine) global(op byte) error {
	var module, name string
	if op == 'c' {
		var err error
		if module, err = m.takeLine(); err != nil {
			return err
		}
		if name, err = m.takeLine(); err != nil {
			return err
		}
	} else {
		v, err := m.pop(2)
		if err != nil {
			return err
		}
		var ok1, ok2 bool
		module, ok1 = v[0].(string)
		name, ok2 = v[1].(string)
		if !ok1 || !ok2 {
			return fmt.Errorf("a name is a %s and a %s, not two strings", Kind(v[0]), Kind(v[1]))
		}
	}
	full := module + "." + name
	if _, ok := m.Globals[full]; !ok {
		return &UnknownGlobal{Global(full)}
	}
	return m.push(Global(full))
}

// call stands for callable(*args).
func (m *machine) call(callable, args any) error {
	a, ok := args.(Tuple)
	if !ok {
		return fmt.Errorf("arguments are a %s, not a tuple", Kind(args))
	}
	g, ok := callable.(Global)
	if !ok {
		return fmt.Errorf("a %s is called", Kind(callable))
	}
	f := m.Globals[string(g)]
	if f == nil {
		return fmt.Errorf("%s is called, which this reader only knows as a name", g)
	}
	v, err := f(a)
	if err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	return m.push(v)
}

// build stands for object.__setstate__(state). A dictionary's attributes, such
// as the _metadata of PyTorch's state dictionaries, are left out.
func (m *machine) build() error {
	v, err := m.pop(2)
	if err != nil {
		return err
	}
	object, state := v[0], v[1]
	switch o := object.(type) {
	case *Dict:
	case Stateful:
		if err := o.SetState(state); err != nil {
			return err
		}
	default:
		return fmt.Errorf("a state is set on a %s", Kind(object))
	}
	return m.push(object)
}
