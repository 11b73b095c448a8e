// Package cpu is the engine for everyday machines: float32, Go and Go assembly,
// no cgo. Compile fuses and orders a program's operations (package plan), gives
// every value a place in one arena and turns each step into a closure over the
// memory it works on; Run copies the inputs in and calls the closures.
//
// Results do not depend on the number of threads: work is cut into blocks by
// its shape alone, and sums over blocks are taken in a fixed order.
package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"selfcon/engine"
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// Options say how an engine works. The zero value is the best choice; the
// switches are for tests and for finding faults.
type Options struct {
	Threads int    // 0: as many as GOMAXPROCS
	Kernels string // name of a kernel set; "": the best this machine can run

	// Conv is how convolutions are computed: "" chooses for each, "direct"
	// takes their definition, "winograd" takes Winograd's transforms and Strassen's
	// products in his form wherever they are possible.
	Conv string

	// Memory is what to do for less of it. MemoryFast applies norms a second time
	// in the backward pass instead of keeping their results, a pass over memory
	// each. "" repeats other steps as well where a program's values take more than
	// Arena, as few as bring it down to that, for a twelfth more work at most;
	// MemoryLeast whatever makes the arena smaller. The bits don't depend on it.
	Memory string
	Arena  int // bytes; 0: DefaultArena

	Skip    []string // passes to leave out: of plan.Fusions, "Recompute", "FuseBefore", or SkipAll
	NoOrder bool     // keep the program's order
	NoReuse bool     // give every value memory of its own
	Profile bool     // measure each step's time
}

// The choices of Options.Memory besides the empty one.
const (
	MemoryFast  = "fast"
	MemoryLeast = "least"
)

// DefaultArena is memory that every machine has to spare.
const DefaultArena = 560e6

// SkipAll, in Options.Skip, runs every operation by itself, and once.
const SkipAll = "all"

const (
	skipRecompute = "Recompute"
	skipBefore    = "FuseBefore"
)

// Engine implements engine.Engine. New makes one.
type Engine struct {
	opt    Options
	set    *kernel.Set
	pool   *pool
	memory *memory
	vars   map[string]*variable
	stored int // bytes of the variables
	closed bool
}

type variable struct {
	graph.Type
	f       []float32
	n       []int32
	version uint64 // another after each change, from 1
}

// New starts an engine; Close stops it.
func New(opt Options) (*Engine, error) {
	if opt.Threads < 0 {
		return nil, fmt.Errorf("cpu: %d threads: must be at least 1, or 0 for all", opt.Threads)
	}
	if opt.Threads == 0 {
		opt.Threads = runtime.GOMAXPROCS(0)
	}
	switch opt.Conv {
	case "", convDirect, convWinograd:
	default:
		return nil, fmt.Errorf("cpu: convolution %q: must be %q, %q or empty", opt.Conv, convDirect, convWinograd)
	}
	if opt.Memory != "" && opt.Memory != MemoryFast && opt.Memory != MemoryLeast {
		return nil, fmt.Errorf("cpu: memory %q: must be %q, %q or empty", opt.Memory, MemoryFast, MemoryLeast)
	}
	if opt.Arena < 0 {
		return nil, fmt.Errorf("cpu: arena of %d bytes: must be at least 1, or 0 for %d", opt.Arena, int(DefaultArena))
	}
	for _, name := range opt.Skip {
		if name != SkipAll && name != skipRecompute && name != skipBefore && !slices.ContainsFunc(plan.Fusions, func(f plan.Fusion) bool { return f.Name == name }) {
			return nil, fmt.Errorf("cpu: skip %q: no such pass", name)
		}
	}
	set := kernel.Best()
	if opt.Kernels != "" {
		var err error
		if set, err = kernel.Select(opt.Kernels); err != nil {
			return nil, fmt.Errorf("cpu: %w", err)
		}
	}
	e := &Engine{opt: opt, set: set, pool: newPool(opt.Threads), memory: &memory{}, vars: map[string]*variable{}}
	e.pool.profile = opt.Profile
	m := e.memory
	runtime.AddCleanup(e, func(p *pool) { // for an engine that is dropped without Close
		p.close()
		m.free()
	}, e.pool)
	return e, nil
}

// Name says how the engine runs, for example "cpu avx512, 2 threads".
func (e *Engine) Name() string {
	if e.opt.Threads == 1 {
		return fmt.Sprintf("cpu %s, 1 thread", e.set.Name)
	}
	return fmt.Sprintf("cpu %s, %d threads", e.set.Name, e.opt.Threads)
}

// errClosed is the error of whatever needs an engine's threads or memory after
// Close.
var errClosed = errors.New("cpu: the engine is closed")

// Close stops the engine's threads and frees its memory, that of its programs
// and of its variables. Its programs can't run any more, and its variables
// can't be read.
func (e *Engine) Close() error {
	e.closed = true
	e.pool.close()
	e.memory.free()
	return nil
}

// Read copies a variable out.
func (e *Engine) Read(name string) (engine.Tensor, error) {
	if e.closed {
		return engine.Tensor{}, errClosed
	}
	defer runtime.KeepAlive(e) // its memory goes with it
	v, ok := e.vars[name]
	if !ok {
		return engine.Tensor{}, fmt.Errorf("cpu: no variable %q", name)
	}
	if v.DType == graph.Int {
		return engine.Tensor{Shape: v.Shape, Data: append([]int32(nil), v.n...)}, nil
	}
	return engine.Tensor{Shape: v.Shape, Data: append([]float32(nil), v.f...)}, nil
}

// Write copies a variable in.
func (e *Engine) Write(name string, t engine.Tensor) error {
	if e.closed {
		return errClosed
	}
	defer runtime.KeepAlive(e)
	v, ok := e.vars[name]
	if !ok {
		return fmt.Errorf("cpu: no variable %q", name)
	}
	if err := t.Check(v.Type); err != nil {
		return fmt.Errorf("cpu: variable %q: value %w", name, err)
	}
	copyIn(v.f, v.n, t)
	v.version++
	return nil
}

// copyIn copies a tensor that has been checked to f or to n.
func copyIn(f []float32, n []int32, t engine.Tensor) {
	switch d := t.Data.(type) {
	case []int32:
		copy(n, d)
	case []float32:
		copy(f, d)
	case []float64:
		for i, v := range d {
			f[i] = float32(v)
		}
	}
}

// declare finds or makes the variables of a program; it makes none if one of
// them does not fit.
func (e *Engine) declare(p *graph.Program) error {
	for _, v := range p.Variables {
		if old, ok := e.vars[v.Name]; ok && (!old.Shape.Equal(v.Shape) || old.DType != v.DType) {
			return fmt.Errorf("cpu: variable %q is %v in this program but %v in an earlier one", v.Name, v.Type, old.Type)
		}
	}
	total := 0
	fresh := map[string]*variable{}
	for _, v := range p.Variables {
		if _, ok := e.vars[v.Name]; ok {
			continue
		}
		n := &variable{Type: v.Type, version: 1}
		if v.DType == graph.Int {
			n.n = make([]int32, v.Shape.Size())
		} else {
			total += plan.Aligned(v.Shape.Size())
		}
		fresh[v.Name] = n
	}
	block, err := e.memory.allocate(total)
	if err != nil {
		return err
	}
	for _, v := range p.Variables {
		n := fresh[v.Name]
		if n == nil {
			continue
		}
		if size := v.Shape.Size(); v.DType == graph.Float {
			n.f, block = block[:size:size], block[plan.Aligned(size):]
		}
		e.vars[v.Name] = n
	}
	e.stored += 4 * total
	return nil
}
