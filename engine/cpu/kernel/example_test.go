package kernel_test

import (
	"fmt"

	"selfcon/engine/cpu/kernel"
)

// A product of two matrices, then the same with the first one transposed,
// added to it.
func ExampleSet_Gemm() {
	s := kernel.Best()
	a := []float32{
		1, 2, 3,
		4, 5, 6,
	}
	b := []float32{
		1, 0,
		0, 1,
		1, 1,
	}
	c := make([]float32, 2*2)
	s.Gemm(2, 2, 3, a, 3, 1, b, 2, c, 2, false) // row-major: strides 3 and 1
	fmt.Println(c)

	at := []float32{
		1, 4,
		2, 5,
		3, 6,
	}
	s.Gemm(2, 2, 3, at, 1, 2, b, 2, c, 2, true) // depth-major: strides 1 and 2
	fmt.Println(c)
	// Output:
	// [4 5 10 11]
	// [8 10 20 22]
}

// Batch norm and ReLU of four pixels with two channels.
func ExampleSet_ScaleShiftReLU() {
	x := []float32{1, 10, 2, 20, 3, 30, 4, 40}
	scale, shift := []float32{2, -1}, []float32{-5, 25}
	kernel.Best().ScaleShiftReLU(x, x, scale, shift, 4, 2)
	fmt.Println(x)
	// Output: [0 15 0 5 1 0 3 0]
}
