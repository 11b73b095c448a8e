// Command compare races training steps of selfcon against PyTorch on this
// machine: the same step, in turn, several rounds, each in a process of its own.
//
//	go run ./tools/compare -python VENV/bin/python [-rounds 3] [-json FILE] [STEP…]
//
// The python must have torch (pip install torch). A STEP is
// arch:method:image:batch, such as resnet18:selfcon-s:32:64; the default is the
// list of docs/performance.md. PyTorch runs eager and compiled; the better counts.
// Times are the best step of all rounds, memory the largest peak resident set of
// the mode that counts.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

var standard = []string{
	"resnet18:selfcon-s:32:64",
	"resnet18:selfcon-s:32:256",
	"resnet18:supcon:32:256",
	"resnet50:selfcon-s:224:8",
}

// measured is what one process prints.
type measured struct {
	Step   float64 `json:"step_s"`
	Median float64 `json:"step_s_median"`
	Peak   int64   `json:"peak_bytes"`
	Engine string  `json:"engine"`
}

// race is one row of the table.
type race struct {
	Step    string   `json:"step"`
	Ours    measured `json:"selfcon"`
	Eager   measured `json:"torch_eager"`
	Compile measured `json:"torch_compile"`
	Speed   float64  `json:"speed_ratio"`  // the better torch's step over ours
	Memory  float64  `json:"memory_ratio"` // our peak over that torch's
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run() error {
	python := flag.String("python", "python3", "a python with torch")
	rounds := flag.Int("rounds", 3, "times that each side runs")
	threads := flag.Int("threads", runtime.NumCPU(), "threads of both sides")
	steps := flag.Int("steps", 6, "steps timed in a round")
	out := flag.String("json", "", "also write the table as JSON to this file")
	eagerOnly := flag.Bool("eager", false, "leave out torch.compile, which needs a C compiler and minutes")
	flag.Parse()
	list := flag.Args()
	if len(list) == 0 {
		list = standard
	}
	dir, err := os.MkdirTemp("", "compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "selfcon")
	if o, err := exec.Command("go", "build", "-o", bin, "./cmd/selfcon").CombinedOutput(); err != nil {
		return fmt.Errorf("building selfcon (run this at the repository's root): %s", o)
	}
	peer := filepath.Join("tools", "compare", "torch_step.py")

	var table []race
	fmt.Println("| step | selfcon | torch eager | torch compile | speed | memory |")
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	for _, spec := range list {
		part := strings.Split(spec, ":")
		if len(part) != 4 {
			return fmt.Errorf("step %q: must be arch:method:image:batch", spec)
		}
		args := []string{"--arch", part[0], "--method", part[1], "--image", part[2], "--batch", part[3], "--threads", fmt.Sprint(*threads), "--steps", fmt.Sprint(*steps)}
		r := race{Step: spec}
		for range *rounds {
			err = errors.Join(
				measure(&r.Ours, bin, append([]string{"bench", "step", "--json"}, args...)...),
				measure(&r.Eager, *python, append([]string{peer, "--mode", "eager"}, args...)...))
			if err == nil && !*eagerOnly {
				err = measure(&r.Compile, *python, append([]string{peer, "--mode", "compile"}, args...)...)
			}
			if err != nil {
				return err
			}
		}
		best := r.Eager
		if r.Compile.Step > 0 && r.Compile.Step < best.Step {
			best = r.Compile
		}
		r.Speed, r.Memory = best.Step/r.Ours.Step, float64(r.Ours.Peak)/float64(best.Peak)
		table = append(table, r)
		fmt.Printf("| %s | %s | %s | %s | %.2f× | %.2f× |\n", spec, r.Ours, r.Eager, r.Compile, r.Speed, r.Memory)
	}
	if *out == "" {
		return nil
	}
	text, err := json.MarshalIndent(table, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(text, '\n'), 0o644)
}

func (m measured) String() string {
	if m.Step == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f s, %.0f MB", m.Step, float64(m.Peak)/1e6)
}

// measure runs a process and keeps the best of its figures and those so far.
func measure(best *measured, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var m measured
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &m); err != nil {
		return fmt.Errorf("%s printed no line of JSON: %w", name, err)
	}
	if best.Step == 0 || m.Step < best.Step {
		best.Step = m.Step
	}
	if best.Median == 0 || m.Median < best.Median {
		best.Median = m.Median
	}
	best.Peak, best.Engine = max(best.Peak, m.Peak), m.Engine
	return nil
}
