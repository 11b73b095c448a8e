// Package kernel holds the inner loops of the CPU engine: small matrix
// products, and passes over float32 rows of channels (NHWC, channel fastest).
//
// A [Set] is one complete collection of kernels written for one instruction
// set. Every set computes the same thing; the plain Go one, "generic", is the
// definition of the others, is compiled everywhere, and is the only one on
// machines without assembly or with the build tag purego. A set that the
// machine can't run can't be obtained: [Usable] lists the rest, best first.
//
// No result depends on threads: kernels start none, and an element of a
// product is summed in the same order whichever rows a call covers, so a
// caller may split the rows of a product as it likes.
//
// Slices that are too short are a caller's bug and panic; nothing here returns
// an error but [Select].
package kernel

//go:generate go run -C ../../../tools/asm .
