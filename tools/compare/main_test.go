package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestRaces(t *testing.T) {
	o := options{python: "py", selfcon: "sc", dir: "d", threads: 2, steps: 6}
	for spec, want := range map[string][]string{
		"step:resnet18:selfcon-s:32:64": {"selfcon", "torch eager", "torch compile"},
		"inference:resnet18:32:1":       {"selfcon", "torch eager", "torch compile", "ONNX Runtime"},
		"methods:resnet18:32:256":       {"selfcon-s", "supcon"},
		"contrast:8192:128":             {"selfcon", "torch eager", "torch as the reference", "torch compile"},
		"loading:jpeg:224":              {"selfcon", "torchvision"},
		"loading:packed256:224":         {"selfcon", "torchvision", "torchvision of decoded"},
		"loading:small:32":              {"selfcon", "torchvision of decoded"},
	} {
		r, err := o.race(spec)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range r.Sides {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: sides %q, want %q", spec, names, want)
		}
	}
	r, err := o.race("inference:resnet34:32:1")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(r.Sides[3].command, " ")
	want := "py " + filepath.Join("tools", "compare", "torch_inference.py") + " --mode onnx --arch resnet34 --image 32 --batch 1 --threads 2 --steps 300 --weights " +
		filepath.Join("d", "weights.safetensors") + " --sample " + filepath.Join("d", "sample.safetensors")
	if got != want {
		t.Errorf("ONNX Runtime is run by\n%s, want\n%s", got, want)
	}
	o.skip = []string{"compile"}
	if r, _ := o.race("step:resnet18:ce:32:64"); len(r.Sides) != 2 {
		t.Errorf("-skip compile leaves %d sides of a step", len(r.Sides))
	}
	for _, bad := range []string{"", "resnet18:selfcon-s:32:64", "step:resnet18:32:64", "inference:resnet18:32:many", "methods:resnet18", "loading:tape:32", "contrast:8192"} {
		if _, err := o.race(bad); err == nil || !strings.Contains(err.Error(), "race \""+bad) {
			t.Errorf("race %q: error %v", bad, err)
		}
	}
}

func TestReport(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("runs a shell script")
	}
	// A side that is slower the second time and takes more memory.
	script := filepath.Join(t.TempDir(), "side")
	body := "#!/bin/sh\nn=0; [ -f $0.n ] && n=1; touch $0.n\necho noise\n" +
		`echo "{\"engine\": \"peer 1\", \"step_s\": 0.$((5 + n)), \"step_s_median\": 0.7, \"peak_bytes\": $((4000000 + n * 1000000)), \"difference\": 0.0$((3 - n)), \"largest_feature\": 2}"` + "\n"
	if err := os.WriteFile(script, []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	r := race{What: "inference:x", Sides: []side{
		{Name: "selfcon", measured: measured{Step: 0.25, Peak: 1e6, Engine: "cpu"}},
		{Name: "torch", measured: measured{Step: 0.75, Peak: 2e6, Engine: "t"}},
		{Name: "onnx", command: []string{script}},
	}}
	for range 2 {
		if err := r.Sides[2].measure(); err != nil {
			t.Fatal(err)
		}
	}
	r.judge()
	if r.Against != "onnx" || r.Speed != 2 || r.Memory != 0.2 {
		t.Errorf("against %s: speed %g, memory %g; want onnx, 2, 0.2", r.Against, r.Speed, r.Memory)
	}
	rep := report{machine(2, []race{r}), []race{r}}
	want := "| inference:x | selfcon 250 ms, 1 MB | torch 750 ms, 2 MB; **onnx 500 ms, 5 MB** | 2.00× | 0.20× | 3.0e-02 (features up to 2.0) |\n"
	if got := rep.markdown(); !strings.HasSuffix(got, want) || !strings.Contains(got, "cpu, t, peer 1") {
		t.Errorf("the table is\n%s, want its last line\n%s", got, want)
	}
	text, err := json.Marshal(rep)
	if err != nil || !strings.Contains(string(text), `"difference":0.03`) {
		t.Errorf("JSON %s, %v", text, err)
	}
	s := side{command: []string{"sh", "-c", "echo '{}'"}}
	if err := s.measure(); err == nil {
		t.Error("a side without a time is accepted")
	}
}

func TestCPUInfo(t *testing.T) {
	var h hardware
	h.read(bufio.NewScanner(strings.NewReader("processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu fma avx2 avx512f amx_tile\n\nprocessor\t: 1\nmodel name\t: B\n")))
	if h.CPU != "A CPU" || !slices.Equal(h.Vectors, []string{"fma", "avx2", "avx512f", "amx_tile"}) {
		t.Errorf("%+v", h)
	}
}

// TestPhotos: what is written are images of the sizes that are said, much as large as
// photographs, and the same every time.
func TestPhotos(t *testing.T) {
	dir := t.TempDir()
	if err := writePhotos(dir, 2); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string][2]int{"large/train/a/0.jpg": {500, 375}, "large/train/b/1.jpg": {500, 375}, "small/train/a/0.png": {32, 32}} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := image.DecodeConfig(bytes.NewReader(raw))
		if err != nil || c.Width != size[0] || c.Height != size[1] {
			t.Errorf("%s: %d×%d, %v", name, c.Width, c.Height, err)
		}
		if size[0] == 500 && (len(raw) < 80_000 || len(raw) > 130_000) {
			t.Errorf("%s has %d bytes: a photograph would have about 110,000", name, len(raw))
		}
	}
	one, two := photo(40, 30, 3).(*image.RGBA), photo(40, 30, 3).(*image.RGBA)
	if !bytes.Equal(one.Pix, two.Pix) {
		t.Error("a photo differs the second time")
	}
}
