package cpu

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"selfcon/engine"
	"selfcon/graph"
)

// Executable is a compiled program.
type Executable struct {
	engine  *Engine
	program *graph.Program
	inputs  []inout
	ints    []instruction // first: labels can then be checked before anything changes
	checks  []check
	steps   []instruction
	outputs []inout
	results map[string]engine.Tensor
	updates []update
	changes []*variable // that updates change, where they lie or by a copy
	stats   Stats

	notFinite string // the first such result of the last run
}

type instruction struct {
	name, kind, pass string

	run        func()
	pack       func() // what run needs of weight, if it is made once
	weight     *variable
	packed     uint64 // the version that it was made of, 0: none
	flops      float64
	bytes      int
	last, best time.Duration
	loops      []Loop // of the best
}

// do runs the instruction.
func (in *instruction) do() {
	if in.pack != nil && in.packed != in.weight.version {
		in.pack()
		in.packed = in.weight.version
	}
	in.run()
}

// inout is an input or an output: where its numbers lie and, for an output,
// the caller's tensor.
type inout struct {
	name string
	f    []float32
	n    []int32
	to   engine.Tensor
}

// check is labels that must be in [0, classes).
type check struct {
	name, kind string
	labels     []int32
	classes    int
}

// update is a variable's new value that does not lie in the variable already.
type update struct {
	toF, f []float32
	toN, n []int32
}

// Run implements engine.Executable. Everything that can fail does so before
// the first variable changes.
func (x *Executable) Run(in map[string]engine.Tensor) (map[string]engine.Tensor, error) {
	if x.engine.closed {
		return nil, errClosed
	}
	defer runtime.KeepAlive(x) // its memory goes with it
	if err := engine.CheckInputs(x.program, in); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	for i := range x.inputs {
		copyIn(x.inputs[i].f, x.inputs[i].n, in[x.inputs[i].name])
	}
	x.notFinite = ""
	for i := range x.ints {
		x.ints[i].run()
	}
	for _, c := range x.checks {
		if err := engine.CheckLabels(c.labels, c.classes); err != nil {
			return nil, fmt.Errorf("cpu: node %s (%s): %w", c.name, c.kind, err)
		}
	}
	for _, v := range x.changes {
		v.version++
	}
	if x.engine.opt.Profile {
		for i := range x.steps {
			s := &x.steps[i]
			pool := x.engine.pool
			pool.loops = pool.loops[:0]
			start := time.Now()
			s.do()
			s.last = time.Since(start)
			if s.best == 0 || s.last < s.best {
				s.best = s.last
				s.loops = append(s.loops[:0], pool.loops...)
			}
		}
	} else {
		for i := range x.steps {
			x.steps[i].do()
		}
	}
	for _, o := range x.outputs {
		switch d := o.to.Data.(type) {
		case []float32:
			copy(d, o.f)
		case []int32:
			copy(d, o.n)
		}
	}
	for _, u := range x.updates {
		copy(u.toF, u.f)
		copy(u.toN, u.n)
	}
	return x.results, nil
}

// Stats is what a compiled program costs.
type Stats struct {
	Arena     int // bytes of memory for values, temporaries and constants
	Unshared  int // bytes without sharing
	Kept      int // bytes of Arena if nothing were recomputed
	Variables int // bytes of the engine's variables, which its programs share
	Scratch   int // bytes of the threads' scratch, which its programs share
	InPlace   int // results that lie on an operand
	Threads   int
	Steps     []StepStats
}

// Recomputed is the share of the matrix products' work that the steps of pass
// Recompute do.
func (s Stats) Recomputed() float64 {
	var all, again float64
	for _, t := range s.Steps {
		all += t.FLOPs
		if t.Pass == "Recompute" {
			again += t.FLOPs
		}
	}
	if all == 0 {
		return 0
	}
	return again / all
}

// Balance is how many times quicker than on one thread the program can be on
// the given number of threads, as far as its loops' numbers of tasks allow: all
// tasks of a loop are taken to last equally long, what lies outside of loops to
// stay. It rests on the measured times and is 0 without Options.Profile.
func (s Stats) Balance(threads int) float64 {
	var one, many float64
	for _, t := range s.Steps {
		rest := t.Best
		for _, l := range t.Loops {
			rest -= l.Time
			// Rounds of tasks, now and on other numbers of threads.
			rounds := func(threads int) float64 { return float64((l.Tasks + threads - 1) / threads) }
			if l.Tasks > 0 {
				round := l.Time.Seconds() / rounds(s.Threads)
				one += round * float64(l.Tasks)
				many += round * rounds(threads)
			}
		}
		one += rest.Seconds()
		many += rest.Seconds()
	}
	if many == 0 {
		return 0
	}
	return one / many
}

// StepStats is what one step costs. Last and Best are the times of the last and
// of the fastest run, and Loops what the fastest ran on all threads, with
// Options.Profile; FLOPs counts the matrix products' work, Bytes the operands
// and results.
type StepStats struct {
	Name, Kind string
	Pass       string // of package plan, that made the step; graph for an operation as it is
	Bytes      int
	FLOPs      float64
	Last, Best time.Duration
	Loops      []Loop
}

// Stats reports what the program costs.
func (x *Executable) Stats() Stats {
	s := x.stats
	s.Threads = x.engine.opt.Threads
	s.Variables = x.engine.stored
	for _, w := range x.engine.pool.scratch {
		s.Scratch += 4 * len(w)
	}
	for _, in := range x.steps {
		s.Steps = append(s.Steps, StepStats{in.name, in.kind, in.pass, in.bytes, in.flops, in.last, in.best, slices.Clone(in.loops)})
	}
	return s
}

// Explain prints the program as a table, a step a line, with the time of the
// fastest run, then the same summed by kind of operation, then how far the
// program's loops can be shared out. The share of the peak is that of what all
// threads can do (kernel.Set.Peak); work is counted as that of direct sums, so
// Winograd's convolutions can be above 100 %.
func (x *Executable) Explain() string {
	s := x.Stats()
	peak := 0.0
	var total time.Duration
	for _, t := range s.Steps {
		total += t.Best
	}
	if total > 0 {
		peak = x.engine.set.Peak(50*time.Millisecond) * float64(s.Threads)
	}
	row := func(t StepStats) string {
		if t.Best == 0 {
			return fmt.Sprintf("%9s %5s %8.2f %9s %6s %6s", "", "", float64(t.Bytes)/1e6, "", "", "")
		}
		seconds := t.Best.Seconds()
		rate, share := "", ""
		if t.FLOPs > 0 {
			rate, share = fmt.Sprintf("%.1f", t.FLOPs/seconds/1e9), fmt.Sprintf("%.1f", 100*t.FLOPs/seconds/peak)
		}
		return fmt.Sprintf("%9.3f %5.1f %8.2f %9s %6s %6.1f", seconds*1e3, 100*seconds/total.Seconds(), float64(t.Bytes)/1e6, rate, share, float64(t.Bytes)/seconds/1e9)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d steps, arena %.1f MB (unshared %.1f MB), %d results in place\n",
		x.engine.Name(), len(s.Steps), float64(s.Arena)/1e6, float64(s.Unshared)/1e6, s.InPlace)
	columns := fmt.Sprintf("%9s %5s %8s %9s %6s %6s", "ms", "%", "MB", "GFLOP/s", "%peak", "GB/s")
	fmt.Fprintf(&b, "%s  %-22s %-14s %s\n", columns, "operation", "pass", "name")
	kinds, count := map[string]*StepStats{}, map[string]int{}
	for _, t := range s.Steps {
		fmt.Fprintf(&b, "%s  %-22s %-14s %s\n", row(t), t.Kind, t.Pass, t.Name)
		k := kinds[t.Kind]
		if k == nil {
			k = &StepStats{Kind: t.Kind}
			kinds[t.Kind] = k
		}
		count[t.Kind]++
		k.Bytes += t.Bytes
		k.FLOPs += t.FLOPs
		k.Best += t.Best
	}
	fmt.Fprintf(&b, "%s  %-22s %s\n", columns, "operation", "steps")
	for _, k := range slices.SortedFunc(maps.Values(kinds), func(a, b *StepStats) int {
		return cmp.Or(cmp.Compare(b.Best, a.Best), strings.Compare(a.Kind, b.Kind))
	}) {
		fmt.Fprintf(&b, "%s  %-22s %d\n", row(*k), k.Kind, count[k.Kind])
	}
	if total > 0 {
		fmt.Fprintf(&b, "balance: 2 threads %.2f×, 8 threads %.2f×, 64 threads %.2f×\n", s.Balance(2), s.Balance(8), s.Balance(64))
	}
	return b.String()
}
