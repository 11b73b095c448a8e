package cpu

import (
	"fmt"
	"runtime"
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
	stats   Stats
}

type instruction struct {
	name, kind, pass string

	run        func()
	flops      float64
	bytes      int
	last, best time.Duration
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
	for i := range x.ints {
		x.ints[i].run()
	}
	for _, c := range x.checks {
		if err := engine.CheckLabels(c.labels, c.classes); err != nil {
			return nil, fmt.Errorf("cpu: node %s (%s): %w", c.name, c.kind, err)
		}
	}
	if x.engine.opt.Profile {
		for i := range x.steps {
			s := &x.steps[i]
			start := time.Now()
			s.run()
			s.last = time.Since(start)
			if s.best == 0 || s.last < s.best {
				s.best = s.last
			}
		}
	} else {
		for i := range x.steps {
			x.steps[i].run()
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

// StepStats is what one step costs. Last and Best are the times of the last and
// of the fastest run, with Options.Profile; FLOPs counts the matrix products'
// work.
type StepStats struct {
	Name, Kind string
	Pass       string // of package plan, that made the step; graph for an operation as it is
	Bytes      int
	FLOPs      float64
	Last, Best time.Duration
}

// Stats reports what the program costs.
func (x *Executable) Stats() Stats {
	s := x.stats
	s.Variables = x.engine.stored
	for _, w := range x.engine.pool.scratch {
		s.Scratch += 4 * len(w)
	}
	for _, in := range x.steps {
		s.Steps = append(s.Steps, StepStats{in.name, in.kind, in.pass, in.bytes, in.flops, in.last, in.best})
	}
	return s
}

// Explain prints the program as a table, a step a line, with the time of the
// fastest run.
func (x *Executable) Explain() string {
	s := x.Stats()
	var b strings.Builder
	var total time.Duration
	for _, t := range s.Steps {
		total += t.Best
	}
	fmt.Fprintf(&b, "%s: %d steps, arena %.1f MB (unshared %.1f MB), %d results in place\n",
		x.engine.Name(), len(s.Steps), float64(s.Arena)/1e6, float64(s.Unshared)/1e6, s.InPlace)
	fmt.Fprintf(&b, "%9s %5s %8s %9s  %-22s %s\n", "ms", "%", "MB", "GFLOP/s", "operation", "name")
	for _, t := range s.Steps {
		ms, share, rate := "", "", ""
		if t.Best > 0 {
			ms = fmt.Sprintf("%.3f", t.Best.Seconds()*1e3)
			share = fmt.Sprintf("%.1f", 100*t.Best.Seconds()/total.Seconds())
			if t.FLOPs > 0 {
				rate = fmt.Sprintf("%.1f", t.FLOPs/t.Best.Seconds()/1e9)
			}
		}
		fmt.Fprintf(&b, "%9s %5s %8.2f %9s  %-22s %s\n", ms, share, float64(t.Bytes)/1e6, rate, t.Kind, t.Name)
	}
	return b.String()
}
