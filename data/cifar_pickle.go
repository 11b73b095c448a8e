package data

import (
	"fmt"

	"selfcon/internal/pickle"
)

// numpyDtype is numpy's uint8.
type numpyDtype struct{}

func (numpyDtype) Kind() string { return "dtype" }

// SetState: byte order and alignment are nothing for single bytes.
func (numpyDtype) SetState(any) error { return nil }

// numpyArray is an array of unsigned bytes; its data is a part of the pickle
// where that is possible.
type numpyArray struct {
	shape   []int
	fortran bool // first index fastest
	data    []byte
}

func (*numpyArray) Kind() string { return "array" }

// SetState takes numpy's tuple: version, shape, dtype, is Fortran order, data.
func (a *numpyArray) SetState(state any) error {
	s, ok := state.(pickle.Tuple)
	if !ok || len(s) != 5 {
		return fmt.Errorf("an array's state is a %s of %d parts, not a tuple of 5", pickle.Kind(state), len(s))
	}
	shape, ok1 := s[1].(pickle.Tuple)
	_, ok2 := s[2].(numpyDtype)
	data, ok3 := s[4].(pickle.Bytes)
	fortran, ok4 := s[3].(bool)
	if i, isInt := s[3].(int64); isInt {
		fortran, ok4 = i != 0, true
	}
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return fmt.Errorf("an array's state is (…, %s, %s, %s, %s), not (…, tuple, dtype, bool, bytes)",
			pickle.Kind(s[1]), pickle.Kind(s[2]), pickle.Kind(s[3]), pickle.Kind(s[4]))
	}
	made := numpyArray{fortran: fortran, data: data}
	total := 1
	for _, d := range shape {
		n, ok := d.(int64)
		if !ok || n < 1 || n > int64(len(data)/total) {
			return fmt.Errorf("an array of %d bytes has a dimension of %s", len(data), pickle.Brief(d))
		}
		total *= int(n)
		made.shape = append(made.shape, int(n))
	}
	if total != len(data) {
		return fmt.Errorf("an array of shape %v has %d bytes of data", made.shape, len(data))
	}
	*a = made
	return nil
}

// cifarPickle reads the pickles that the python form of CIFAR is made of: they
// name no more than a numpy array of bytes needs. numpy 2 moved its
// _reconstruct; Python 3 writes bytes in protocol 2 as
// _codecs.encode(text, "latin1").
func cifarPickle(raw []byte) (any, error) {
	const ndarray = "numpy.ndarray"
	reconstruct := func(args pickle.Tuple) (any, error) {
		if len(args) != 3 || args[0] != any(pickle.Global(ndarray)) {
			return nil, fmt.Errorf("only an ndarray is reconstructed")
		}
		return &numpyArray{}, nil
	}
	r := pickle.Reader{Globals: map[string]func(pickle.Tuple) (any, error){
		ndarray:                               nil,
		"numpy.core.multiarray._reconstruct":  reconstruct,
		"numpy._core.multiarray._reconstruct": reconstruct,
		"numpy.dtype": func(args pickle.Tuple) (any, error) {
			code := ""
			if len(args) > 0 {
				code, _ = pickle.Text(args[0])
			}
			if code != "u1" {
				return nil, fmt.Errorf("an array of type %.20q, but pixels are unsigned bytes (\"u1\")", code)
			}
			return numpyDtype{}, nil
		},
		"_codecs.encode": pickle.LatinBytes(len(raw)),
	}}
	return r.Read(raw)
}
