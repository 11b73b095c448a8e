// Package plan turns a program into what the CPU engine runs: a list of steps
// in a good order, some of them fused, and a place in memory for every value.
//
// Each pass is one function in a file of its own, matches a pattern of steps
// and puts one fused step in their stead. It knows nothing of how a step is
// computed. No pass changes results beyond rounding, and each can be left out.
package plan
