// Command compare races selfcon against PyTorch and ONNX Runtime on this
// machine: the same work on the same threads, in turn, several rounds, each in a
// process of its own.
//
//	go run ./tools/compare -python VENV/bin/python [-rounds 3] [-json FILE] [RACE…]
//
// The python must have torch, and for inference onnx and onnxruntime (pip install
// torch onnx onnxruntime), for loading torchvision. A RACE is
//
//	step:ARCH:METHOD:IMAGE:BATCH    a training step against torch eager and compiled
//	inference:ARCH:IMAGE:BATCH      the features in evaluation mode, of the same weights
//	                                and images, against torch eager, compiled and ONNX Runtime
//	loading:FROM:IMAGE              loading and augmenting as the paper does on one core,
//	                                against torchvision: FROM is jpeg (files of 500×375),
//	                                packed (the same, decoded), packed256 (shrunk to that
//	                                shorter side) or small (decoded images of 32×32)
//	contrast:ROWS:DIM               the contrastive loss of that many features and its gradient,
//	                                against dense torch: eager, as the reference writes it, compiled
//	methods:ARCH:IMAGE:BATCH        our step of selfcon-s against ours of supcon, on the same
//	                                labelled images
//
// and the default is the list of docs/performance.md. Times are the best run of
// all rounds, memory the largest peak resident set. The quickest of the others
// counts.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

var standard = []string{
	"step:resnet18:selfcon-s:32:64",
	"step:resnet18:selfcon-s:32:256",
	"step:resnet18:supcon:32:256",
	"step:resnet50:selfcon-s:224:8",
	"inference:resnet18:32:64",
	"inference:resnet18:32:1",
	"contrast:8192:128",
	"loading:small:32",
	"loading:jpeg:224",
	"loading:packed:224",
	"loading:packed256:224",
	"methods:resnet18:32:64",
	"methods:resnet18:32:256",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	flag.StringVar(&o.python, "python", "python3", "a python with torch, onnx and onnxruntime")
	rounds := flag.Int("rounds", 3, "times that each side runs")
	flag.IntVar(&o.threads, "threads", runtime.NumCPU(), "threads of all sides")
	flag.IntVar(&o.steps, "steps", 6, "runs timed in a round; of inference more, the fewer the images")
	out := flag.String("json", "", "also write the results as JSON to this file")
	skip := flag.String("skip", "", "sides to leave out, of compile,onnx: the compiler needs a C compiler and minutes")
	flag.Parse()
	list := flag.Args()
	if len(list) == 0 {
		list = standard
	}
	var err error
	if o.dir, err = os.MkdirTemp("", "compare"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	o.selfcon = filepath.Join(o.dir, "selfcon")
	for _, s := range strings.Split(*skip, ",") {
		if s != "" && s != "compile" && s != "onnx" {
			return fmt.Errorf("-skip %q: must be of compile, onnx", s)
		}
		o.skip = append(o.skip, s)
	}

	var races []race
	for _, spec := range list {
		r, err := o.race(spec)
		if err != nil {
			return err
		}
		races = append(races, r)
	}
	if o, err := exec.Command("go", "build", "-o", o.selfcon, "./cmd/selfcon").CombinedOutput(); err != nil {
		return fmt.Errorf("building selfcon (run this at the repository's root): %s", o)
	}
	if slices.ContainsFunc(list, func(spec string) bool { return strings.HasPrefix(spec, "loading:") }) {
		if err := o.preparePhotos(); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(list, func(spec string) bool { return strings.HasPrefix(spec, "contrast:") }) {
		if o, err := exec.Command("go", "build", "-o", o.contrast(), "./tools/compare/contrast").CombinedOutput(); err != nil {
			return fmt.Errorf("building tools/compare/contrast: %s", o)
		}
	}
	for i := range races {
		r := &races[i]
		for round := range *rounds {
			for j := range r.Sides {
				fmt.Fprintf(os.Stderr, "%s: round %d of %d, %s\n", r.What, round+1, *rounds, r.Sides[j].Name)
				if err := r.Sides[j].measure(); err != nil {
					return err
				}
			}
		}
		r.judge()
	}
	rep := report{machine(o.threads, races), races}
	fmt.Print(rep.markdown())
	if *out == "" {
		return nil
	}
	text, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(text, '\n'), 0o644)
}

// options are what races are made of.
type options struct {
	python, selfcon, dir string
	threads, steps       int
	skip                 []string
}

// contrast is the program that times the loss alone.
func (o options) contrast() string { return filepath.Join(o.dir, "contrast") }

// race is a row of the table.
type race struct {
	What    string  `json:"race"`
	Sides   []side  `json:"sides"`        // ours first
	Against string  `json:"against"`      // the quickest of the others
	Speed   float64 `json:"speed_ratio"`  // its time over ours
	Memory  float64 `json:"memory_ratio"` // our peak over its
}

// side is one of those who run, and the best of its figures so far.
type side struct {
	Name string `json:"name"`
	measured
	command []string
}

// measured is what one process prints.
type measured struct {
	Engine string  `json:"engine"`
	Step   float64 `json:"step_s"`
	Median float64 `json:"step_s_median"`
	Peak   int64   `json:"peak_bytes"`
	// The largest difference of inference from our features, and the largest
	// feature; of a contrast's gradient from ours, relative to the largest entry.
	Difference *float64 `json:"difference,omitempty"`
	Largest    *float64 `json:"largest_feature,omitempty"`
}

// race makes a race of its specification.
func (o options) race(spec string) (race, error) {
	r := race{What: spec}
	kind, rest, _ := strings.Cut(spec, ":")
	part := strings.Split(rest, ":")
	script := func(name string) string { return filepath.Join("tools", "compare", name) }
	ours := func(name string, args ...string) {
		r.Sides = append(r.Sides, side{Name: name, command: append([]string{o.selfcon, "bench"}, args...)})
	}
	peer := func(name, mode, file string, args []string) {
		if !slices.Contains(o.skip, mode) {
			r.Sides = append(r.Sides, side{Name: name, command: append([]string{o.python, script(file), "--mode", mode}, args...)})
		}
	}
	common := func(arch, image, batch string, steps int) []string {
		return []string{"--arch", arch, "--image", image, "--batch", batch, "--threads", fmt.Sprint(o.threads), "--steps", fmt.Sprint(steps)}
	}
	switch {
	case kind == "step" && len(part) == 4:
		args := append(common(part[0], part[2], part[3], o.steps), "--method", part[1])
		ours("selfcon", append([]string{"step", "--json"}, args...)...)
		peer("torch eager", "eager", "torch_step.py", args)
		peer("torch compile", "compile", "torch_step.py", args)
	case kind == "inference" && len(part) == 3:
		var batch int
		if _, err := fmt.Sscan(part[2], &batch); err != nil || batch < 1 {
			return r, fmt.Errorf("race %q: a batch of %q images", spec, part[2])
		}
		args := append(common(part[0], part[1], part[2], max(3*o.steps, 300/batch)),
			"--weights", filepath.Join(o.dir, "weights.safetensors"), "--sample", filepath.Join(o.dir, "sample.safetensors"))
		ours("selfcon", append([]string{"inference", "--json"}, args...)...)
		peer("torch eager", "eager", "torch_inference.py", args)
		peer("torch compile", "compile", "torch_inference.py", args)
		peer("ONNX Runtime", "onnx", "torch_inference.py", args)
	case kind == "loading" && len(part) == 2 && photoSets[part[0]].spec != "":
		set := photoSets[part[0]]
		format, path, _ := strings.Cut(set.spec, ":")
		steps := fmt.Sprint(o.steps)
		ours("selfcon", "loading", format+":"+filepath.Join(o.dir, path), "--json", "--workers", "1", "--image", part[1], "--steps", steps)
		args := []string{"--folder", filepath.Join(o.dir, set.folder), "--threads", "1", "--image", part[1], "--steps", steps}
		if set.folder == "large" {
			peer("torchvision", "files", "torch_data.py", args)
		}
		if format == "packed" {
			peer("torchvision of decoded", "decoded", "torch_data.py", args)
		}
	case kind == "contrast" && len(part) == 2:
		args := []string{"--rows", part[0], "--dim", part[1], "--threads", fmt.Sprint(o.threads), "--steps", fmt.Sprint(o.steps), "--sample", filepath.Join(o.dir, "sample.contrast")}
		r.Sides = append(r.Sides, side{Name: "selfcon", command: append([]string{o.contrast()}, args...)})
		peer("torch eager", "eager", "torch_contrast.py", args)
		peer("torch as the reference", "reference", "torch_contrast.py", args)
		peer("torch compile", "compile", "torch_contrast.py", args)
	case kind == "methods" && len(part) == 3:
		args := common(part[0], part[1], part[2], o.steps)
		for _, method := range []string{"selfcon-s", "supcon"} {
			ours(method, append([]string{"step", "--json", "--method", method}, args...)...)
		}
	default:
		return r, fmt.Errorf("race %q: must be step:ARCH:METHOD:IMAGE:BATCH, inference:ARCH:IMAGE:BATCH, loading:FROM:IMAGE, contrast:ROWS:DIM or methods:ARCH:IMAGE:BATCH", spec)
	}
	return r, nil
}

// measure runs a side and keeps the best of its figures and those so far.
func (s *side) measure() error {
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(s.command, " "), err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var m measured
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &m); err != nil {
		return fmt.Errorf("%s printed no line of JSON: %w", s.command[0], err)
	}
	if m.Step <= 0 || m.Peak <= 0 {
		return fmt.Errorf("%s printed no time or no memory: %s", s.command[0], lines[len(lines)-1])
	}
	s.take(m)
	return nil
}

func (s *side) take(m measured) {
	if s.Step > 0 {
		m.Step, m.Median, m.Peak = min(m.Step, s.Step), min(m.Median, s.Median), max(m.Peak, s.Peak)
		if s.Difference != nil && m.Difference != nil {
			m.Difference = new(max(*m.Difference, *s.Difference))
		}
	}
	s.measured = m
}

// judge finds the quickest of the others and compares.
func (r *race) judge() {
	best := slices.MinFunc(r.Sides[1:], func(a, b side) int {
		switch {
		case a.Step < b.Step:
			return -1
		case a.Step > b.Step:
			return 1
		}
		return 0
	})
	us := r.Sides[0]
	r.Against, r.Speed, r.Memory = best.Name, best.Step/us.Step, float64(us.Peak)/float64(best.Peak)
}
