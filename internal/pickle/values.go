// Package pickle reads Python's pickles as plain data. It runs nothing: a
// pickle may name only what the caller has listed, and each of those names
// stands for a Go function; any other is an error that says the name.
//
// It reads the binary opcodes of protocols 2 to 5 that make dictionaries,
// lists, tuples, strings, bytes, numbers and objects. Opcodes are described in
// Python's Lib/pickletools.py.
package pickle

import (
	"fmt"
	"strconv"
)

// What a pickle is made of, besides what the caller's functions give: nil, bool,
// int64, float64, Bytes, string, Tuple, *List, *Dict, Global. Lists and
// dictionaries may contain themselves.
type (
	// Bytes are Python 2's str, or bytes; a part of the input.
	Bytes []byte
	Tuple []any
	List  struct{ Items []any }
	// Global is something that the pickle names, as "module.name".
	Global string
)

// Dict is a dictionary in the order of its first insertions. Keys are bool,
// int64, float64, string or nil; bytes are strings here.
type Dict struct {
	Keys, Values []any
	index        map[any]int
}

// Get is the value of a key, nil if there is none.
func (d *Dict) Get(key any) any {
	if i, ok := d.index[key]; ok {
		return d.Values[i]
	}
	return nil
}

// Set puts a value in, which replaces that of the same key.
func (d *Dict) Set(key, value any) error {
	switch k := key.(type) {
	case nil, bool, int64, float64, string:
	case Bytes:
		key = string(k)
	default:
		return fmt.Errorf("a key is a %s, not a string or a number", Kind(key))
	}
	if i, ok := d.index[key]; ok {
		d.Values[i] = value
		return nil
	}
	if d.index == nil {
		d.index = map[any]int{}
	}
	d.index[key] = len(d.Keys)
	d.Keys = append(d.Keys, key)
	d.Values = append(d.Values, value)
	return nil
}

// Text is the text of a str, bytes or unicode.
func Text(v any) (string, bool) {
	switch v := v.(type) {
	case Bytes:
		return string(v), true
	case string:
		return v, true
	}
	return "", false
}

// Brief is an int's value or another value's type, for messages. A value may
// contain itself, so it must not be printed whole.
func Brief(v any) string {
	if i, ok := v.(int64); ok {
		return strconv.FormatInt(i, 10)
	}
	return Kind(v)
}

// Kind names a value's type for messages.
func Kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case Bytes:
		return "bytes"
	case string:
		return "string"
	case Tuple:
		return "tuple"
	case *List:
		return "list"
	case *Dict:
		return "dictionary"
	case Global:
		return string(v)
	case interface{ Kind() string }:
		return v.Kind()
	}
	return "value"
}

// LatinBytes stands for _codecs.encode(text, "latin1"), by which Python 3
// writes bytes in protocol 2. All calls together make at most so many bytes: a
// text that is kept once and encoded often would take ever more memory.
func LatinBytes(most int) func(Tuple) (any, error) {
	made := 0
	return func(args Tuple) (any, error) {
		text, codec := "", ""
		if len(args) == 2 {
			text, _ = args[0].(string)
			codec, _ = Text(args[1])
		}
		if codec != "latin1" {
			return nil, fmt.Errorf("only text in latin1 is read")
		}
		if made += len(text); made > most {
			return nil, fmt.Errorf("more text is encoded than there is")
		}
		out := make(Bytes, 0, len(text))
		for _, r := range text {
			if r > 0xff {
				return nil, fmt.Errorf("a character %U that latin1 has not", r)
			}
			out = append(out, byte(r))
		}
		return out, nil
	}
}
