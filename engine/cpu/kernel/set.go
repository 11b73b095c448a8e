package kernel

import (
	"fmt"
	"os"
	"strings"
)

// EnvVar names the environment variable that restricts [Best] to one set.
const EnvVar = "SELFCON_KERNELS"

// A Set is the kernels for one instruction set. Its methods are safe for
// concurrent use.
type Set struct {
	// Name is "generic", "avx2" or "avx512".
	Name string
	// Tiles are the matrix product kernels, widest first. Every NR is a
	// multiple of the last one's.
	Tiles []Tile
	// Lanes is how many float32s a core multiplies and adds in a cycle: where it is
	// half as many, what saves products pays sooner.
	Lanes int
	// SlowStores says that a core stores slowly beside how fast it multiplies: what
	// saves products by moving more memory pays less often.
	SlowStores bool

	fn funcs
}

// A Tile is a kernel that computes a block of a matrix product, at most MR
// rows by exactly NR columns, in registers.
type Tile struct {
	MR, NR int

	// Run computes so many tiles, one after another: for i in [0,tiles*rows) and
	// j in [0,NR),
	//
	//	C[i*ldc+j] = (D ? D[i*ldd+j] : 0) + Σ_{k<depth} A[i*ars+k*ads] * B[k*ldb+j]
	//
	// with at least one tile, rows in 1..MR and pointers to first elements. D, which
	// may be C or nil, is add.
	// Strides are in elements and may have any value. The sum starts from zero,
	// runs through k in order with one accumulator, and is added to D last; it is
	// the same, bit for bit, for every number of rows.
	//
	// With cold, B's rows, NR elements each, side by side, are fetched for the first
	// tile before they are needed. Unless next is nil, it may fetch lines, from next
	// on and step elements apart, into the second-level cache: dense of them, one or
	// two, for each step of depth or, where dense is 0, one for two steps, but one
	// for each of a cold tile. They need not exist.
	Run func(tiles, rows, depth int, a *float32, ars, ads int, b *float32, ldb int, c *float32, ldc int, add *float32, ldd int, cold bool, next *float32, step, dense int)
}

// funcs are a set's kernels for rows of channels. Lengths have been checked
// and rows and c are positive when one is called. Slices come in this order:
// results, other elements, channel vectors. [plain] is the definition.
type funcs struct {
	add       func(dst, a, b []float32)
	scale     func(dst, a []float32, s float32)
	relu      func(dst, a []float32)
	reluGrad  func(dst, y, dy []float32)
	addReLU   func(dst, a, b []float32)
	sigmoid   func(dst, x []float32)
	sigmoidG  func(dst, y, dy []float32)
	silu      func(dst, x []float32)
	siluGrad  func(dst, x, dy []float32)
	dot       func(a, b []float32) float32
	sgd       func(p, g, m []float32, lr, momentum, weightDecay float32)
	sgdNest   func(p, g, m []float32, lr, momentum, weightDecay float32)
	colSums   func(sum, x []float32, rows, c, group int)
	colVar    func(sq, x, mean []float32, rows, c, group int)
	colDot2   func(s1, s2, dy, x, mean []float32, rows, c, group int)
	scaleSh   func(dst, x, scale, shift []float32, rows, c int)
	scaleShR  func(dst, x, scale, shift []float32, rows, c int)
	scaleShA  func(dst, x, r, scale, shift []float32, rows, c int)
	scaleShAR func(dst, x, r, scale, shift []float32, rows, c int)
	scaleShRG func(dst, x, dy, scale, shift []float32, rows, c int)
	bnGrad    func(dx, dy, x, a, b, d []float32, rows, c int)
	expSub    func(dst, x []float32, scale, shift float32)
	expAdd    func(dst, x, l, add []float32, scale float32)
	transpose func(dst *float32, dstStep int, src *float32, srcStep int, rows, cols int)
	addRows   func(dst *float32, dstStep int, a *float32, aStep int, b *float32, bStep int, rows, n int)
	subRows   func(dst *float32, dstStep int, a *float32, aStep int, b *float32, bStep int, rows, n int)
	quarters  func(s *float32, sPart, sStep int, a *float32, down, step, rows, n int)
	windows
	winograd
	winostride
	peak     func(iters int)
	peakFLOP int // floating-point operations an iteration of peak does
}

var (
	generic = &Set{Name: "generic", Tiles: []Tile{{MR: 4, NR: 8, Run: tile4x8}}, fn: plain}
	usable  = append(machineSets(), generic)
)

// Usable returns the sets this machine can run, best first. The last one is
// always "generic". The slice is the caller's.
func Usable() []*Set { return append([]*Set(nil), usable...) }

// Best returns the set to use: the first of [Usable], or the one that the
// environment variable SELFCON_KERNELS names. A value that names no usable set
// has no effect here; a program that wants to complain about it calls
// Select(os.Getenv(EnvVar)).
func Best() *Set {
	if s, err := Select(os.Getenv(EnvVar)); err == nil {
		return s
	}
	return usable[0]
}

// Select returns the usable set of that name; the empty name means the best.
func Select(name string) (*Set, error) {
	if name == "" {
		return usable[0], nil
	}
	names := make([]string, len(usable))
	for i, s := range usable {
		if s.Name == name {
			return s, nil
		}
		names[i] = s.Name
	}
	switch name {
	case "avx2", "avx512":
		return nil, fmt.Errorf("kernels %q: this machine or build can't run them; usable: %s", name, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("kernels %q: unknown set; usable: %s", name, strings.Join(names, ", "))
}
