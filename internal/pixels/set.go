// Package pixels holds the inner loops over the bytes of images: resampling, changes
// of colour and normalisation for package augment, transforms and colours of JPEGs
// for package data.
//
// A [Set] is the kernels for one instruction set. The plain Go ones, "generic", are
// the definition of the others, are compiled everywhere, and are the only ones on
// machines without assembly or with the build tag purego. Assembly does what is long
// enough in whole vectors, plain Go the rest, and both give the same bytes.
//
// Slices that are too short are a caller's bug and panic.
package pixels

//go:generate go run -C ../../tools/asm .

import "os"

// A Set is the kernels for one instruction set. Its methods are safe for concurrent
// use.
type Set struct {
	// Name is "generic" or "avx2".
	Name string

	fn funcs
}

// funcs are a set's kernels in assembly; nil leaves everything to plain Go.
type funcs struct {
	rows, rowsOfPairs func(dst *uint8, dstStep int, src *uint8, srcStep int, first *int32, weight *int16, blocks, n int)
	columns           func(dst, src *uint8, step int, weight *int16, pairs, n int)
	greySum           func(rgb *uint8, n int) uint32
	toGrey            func(dst, rgb *uint8, n int)
	blendBytes        func(pix *uint8, n int, grey uint8, alpha float32)
	saturate          func(rgb *uint8, n int, alpha float32)
	hue               func(rgb *uint8, n int, shift uint8)
	normalize         func(dst *float32, pix *uint8, n int, mean, std, over *float32)
	inverseDCT        func(out *uint8, stride int, b *int32)
	chromaSums        func(sums *uint16, near, far *uint8, n int)
	chromaSpread      func(dst *uint8, sums *uint16, n int, even, odd uint16)
	yccToRGB          func(dst, luma, cb, cr *uint8, n int)
}

var (
	generic = &Set{Name: "generic"}
	usable  = append(machineSets(), generic)
)

// Usable returns the sets this machine can run, best first. The last one is always
// "generic". The slice is the caller's.
func Usable() []*Set { return append([]*Set(nil), usable...) }

// Best returns the set to use: the first of [Usable], or "generic" where the
// environment variable SELFCON_KERNELS says so.
func Best() *Set {
	if os.Getenv("SELFCON_KERNELS") == generic.Name {
		return generic
	}
	return usable[0]
}

// stretch is how many pixels assembly does at a time: Go can't interrupt it.
const stretch = 1 << 14

// stretches calls f for the first pixels of n, in pieces of multiples of step, and
// returns how many it has done.
func stretches(n, step int, f func(from, n int)) int {
	n -= n % step
	for from := 0; from < n; from += stretch {
		f(from, min(stretch, n-from))
	}
	return n
}
