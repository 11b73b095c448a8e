package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/eval"
	"selfcon/model"
	"selfcon/run"
	"selfcon/train"
)

// trained makes a run's folder with first weights of a seed, of which the running
// statistics are not the usual zeros and ones.
func trained(t *testing.T, network model.Config) (dir string, m run.Manifest) {
	t.Helper()
	m, err := run.NewManifest(nil, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	m.Config = config.Default()
	network.ImageHeight, network.ImageWidth, network.ImageChannels = 32, 32, 3
	net, err := model.New(network)
	if err != nil {
		t.Fatal(err)
	}
	m.Config.Data, m.Config.Image, m.Config.Model = "imagefolder:/home/someone/photos", 32, net.Config
	m.Config.ProjectionDim, m.Config.Batch, m.Config.Epochs = 4, 8, 3
	m.Config.Mean, m.Config.Std = []float64{0.1, 0.2, 0.3}, []float64{0.4, 0.5, 0.6}
	if len(network.Exits) == 0 {
		m.Config.Method = "supcon"
	}
	m.Classes, m.Images, m.Done = []string{"cat", "dog"}, train.Counts{Train: 40, Val: 10, Test: 20}, true
	method, err := m.Config.LossMethod()
	if err != nil {
		t.Fatal(err)
	}
	step := train.NewStepConfig(m.Config, method, 2)
	step.Batch = 1
	p, err := train.NewForward(net, step)
	if err != nil {
		t.Fatal(err)
	}
	var all []checkpoint.Named
	for _, v := range p.Variables {
		value := engine.InitialValue(v, 7)
		if x, ok := value.Data.([]float32); ok && strings.Contains(v.Name, ".running_") {
			for i := range x {
				x[i] = 0.5 + float32(i%5)/8
			}
		}
		all = append(all, checkpoint.Named{Name: v.Name, Tensor: value})
	}
	dir = t.TempDir()
	if err := checkpoint.WriteTensors(filepath.Join(dir, run.ModelFile), checkpoint.File{Tensors: all}); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.WriteJSON(filepath.Join(dir, run.ManifestFile), m); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

// exported is a new export of a run.
func exported(t *testing.T, x Export, dir string, m run.Manifest) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "export")
	if err := x.Write(dir, out, m); err != nil {
		t.Fatal(err)
	}
	return out
}

// What is exported and imported again is the same network, to the bit.
func TestExportImports(t *testing.T) {
	for _, c := range []struct {
		network model.Config
		export  Export
		file    string
	}{
		{model.Config{Arch: "resnet18", Width: 2, Exits: []int{1, 3}, Sub: model.SubFC}, Export{Format: "safetensors"}, SafeFile},
		{model.Config{Arch: "resnet50", Width: 2, Exits: []int{2}, Sub: model.SubSmall}, Export{Format: "pth"}, TorchFile},
		{model.Config{Arch: "resnet18", Width: 64, Stem: model.LargeStem}, Export{Format: "safetensors", Torchvision: true}, SafeFile},
	} {
		name := fmt.Sprintf("%s, %+v", c.network.Arch, c.export)
		if len(c.network.Exits) == 0 {
			c.network.Sub = model.SubFC
		}
		dir, m := trained(t, c.network)
		out := exported(t, c.export, dir, m)
		back, f, _ := imported(t, filepath.Join(out, c.file), 32)
		if want := map[bool]Naming{true: Torchvision, false: Reference}[c.export.Torchvision]; f.Naming != want {
			t.Errorf("%s: read as %q, must be %q", name, f.Naming, want)
		}
		if _, mean, std, ok := f.recorded(); !ok || !slices.Equal(mean, m.Config.Mean) || !slices.Equal(std, m.Config.Std) {
			t.Errorf("%s: mean %v and deviation %v, not %v and %v", name, mean, std, m.Config.Mean, m.Config.Std)
		}
		want, got := features(t, dir), features(t, back)
		if c.export.Torchvision {
			want = want[len(want)-1:]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: other features", name)
		}
	}
}

func TestCard(t *testing.T) {
	dir, m := trained(t, model.Config{Arch: "resnet18", Width: 2, Exits: []int{2}, Sub: model.SubFC})
	e := oracle.New()
	defer e.Close()
	probes := checkpoint.File{}
	for _, name := range []string{"0.weight", "0.bias", "1.weight", "1.bias"} {
		probes.Tensors = append(probes.Tensors, checkpoint.Named{Name: name, Tensor: engine.Float32([]float32{1, 2}, 2)})
	}
	if err := checkpoint.WriteTensors(filepath.Join(dir, run.ProbeFile), probes); err != nil {
		t.Fatal(err)
	}
	x := Export{Format: "safetensors", Results: &Results{Split: "test", Images: 20, Labels: 40, Table: eval.Table{
		{Name: "sub-network 2", Top1: 0.755, ECE: 0.125}, {Name: "backbone", Top1: 0.8, Top5: 0.95},
	}}}
	out := exported(t, x, dir, m)
	text, err := os.ReadFile(filepath.Join(out, CardFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| sub-network 2 | 75.50 % | – | 12.50 % |", "| backbone | 80.00 % | 95.00 % | 0.00 % |", "40 labels", "test images (20)",
		"--data imagefolder:PATH", "--width 2", "--epochs 3", "mean 0.1, 0.2, 0.3, deviation 0.4, 0.5, 0.6", "strict=True", "selfcon import model.safetensors", "2 classes, 40 training", "`classifiers.safetensors`: `exit2.weight`, `backbone.weight` of shape",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the card does not have %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "/home") {
		t.Error("the card has a path of the machine")
	}
	f, err := checkpoint.ReadTensors(filepath.Join(out, ProbesFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(nameList(f.Tensors)); got != "[exit2.weight exit2.bias backbone.weight backbone.bias]" {
		t.Errorf("classifiers %s", got)
	}
	if got := f.Metadata["classes"]; got != `["cat","dog"]` {
		t.Errorf("classes %s", got)
	}
}

func TestExportRefuses(t *testing.T) {
	dir, m := trained(t, model.Config{Arch: "resnet18", Width: 2, Exits: []int{2}, Sub: model.SubFC})
	out := exported(t, Export{Format: "safetensors"}, dir, m)
	var setting *config.Error
	if err := (Export{Format: "safetensors"}).Write(dir, out, m); !errors.Is(err, ErrUsage) && !errors.As(err, &setting) {
		t.Errorf("into a folder that is there: %v", err)
	}
	if err := (Export{Format: "safetensors", Torchvision: true}).Write(dir, filepath.Join(t.TempDir(), "x"), m); !errors.Is(err, ErrUsage) {
		t.Errorf("torchvision's names for a width that it does not have: %v", err)
	}
	// What fails half-way takes the folders away that it made, and leaves one that was there, empty.
	above, there := filepath.Join(t.TempDir(), "above"), t.TempDir()
	made := filepath.Join(above, "made")
	for _, out := range []string{made, there} {
		if err := (Export{Format: "safetensors", Results: &Results{}}).Write(dir, out, m); err == nil { // it has no classifiers
			t.Fatal("classifiers of a run that was not probed are exported")
		}
	}
	if _, err := os.Stat(above); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half an export, or the folder for it: %v", err)
	}
	if entries, err := os.ReadDir(there); err != nil || len(entries) > 0 {
		t.Errorf("a folder that was there has %v (%v)", entries, err)
	}
}

// PyTorch and Hugging Face's reader load an export strictly, by the code on its
// card, and compute the same features. The Python is that of SELFCON_PYTHON, or
// python3; it needs torch and safetensors.
func TestExportPyTorch(t *testing.T) {
	python := os.Getenv("SELFCON_PYTHON")
	if python == "" {
		python = "python3"
	}
	if exec.Command(python, "-c", "import torch, safetensors").Run() != nil {
		t.Skip("no Python with torch and safetensors; SELFCON_PYTHON may name one")
	}
	for _, network := range []model.Config{
		{Arch: "resnet18", Width: 2, Exits: []int{1, 2, 3}, Sub: model.SubFC},
		{Arch: "resnet34", Width: 2, Exits: []int{2}, Sub: model.SubSame, Stem: model.LargeStem},
		{Arch: "resnet50", Width: 2, Exits: []int{1, 3}, Sub: model.SubSmall},
	} {
		dir, m := trained(t, network)
		for _, format := range ExportFormats() {
			out := exported(t, Export{Format: format}, dir, m)
			card, err := os.ReadFile(filepath.Join(out, CardFile))
			if err != nil {
				t.Fatal(err)
			}
			_, code, _ := strings.Cut(string(card), "```python\n")
			code, _, _ = strings.Cut(code, "```")
			// The image of testdata/make.py, normalised as it is.
			code += `
import json
x = torch.sin(torch.arange(3 * 32 * 32, dtype=torch.float64) * 0.7).float().view(1, 3, 32, 32)
print(json.dumps([f[0].tolist() for f in net(x)]))
`
			script := filepath.Join(out, "load.py")
			if err := os.WriteFile(script, []byte(code), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(python, script)
			cmd.Dir = out
			cmd.Stderr = os.Stderr
			text, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s, %s: %v", network.Arch, format, err)
			}
			var got [][]float64
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			want := features(t, dir)
			if len(got) != len(want) {
				t.Fatalf("%s, %s: %d exits, must be %d", network.Arch, format, len(got), len(want))
			}
			for i := range got {
				closeTo(t, fmt.Sprintf("%s, %s, exit %d", network.Arch, format, i), got[i], want[i])
			}
		}
	}
}

// The command on a card trains what the run was trained by: what it leaves out
// are the defaults of the run's method and optimizer.
func TestCardCommand(t *testing.T) {
	for _, x := range []struct{ method, optimizer string }{
		{"selfcon-s", "adamw"}, {"selfcon-s", "sgd"}, {"supcon", "adamw"}, {"supcon", "lars"}, {"ce", "sgd"}, {"ce", "adamw"},
	} {
		for _, rate := range []float64{0, 0.1, 0.005} {
			c := config.DefaultOf(x.method, x.optimizer)
			c.Data = "sample"
			if rate > 0 {
				c.Rate = rate
			}
			if x.method == "selfcon-s" {
				c.Model.Exits = []int{2}
			}
			c.Model.ImageHeight, c.Model.ImageWidth, c.Model.ImageChannels = 28, 28, 1
			n, err := model.New(c.Model) // a run has the network's own settings filled in
			if err != nil {
				t.Fatal(err)
			}
			c.Model = n.Config
			if line := command(c); strings.Contains(line, "drop") || strings.Contains(line, "--stem") {
				t.Errorf("%q gives what is the network's own", line)
			}
			words := strings.Fields(command(c))[2:]
			var flags []config.Flag
			for i := 0; i < len(words); i += 2 {
				flags = append(flags, config.Flag{Name: strings.TrimPrefix(words[i], "--"), Value: words[i+1]})
			}
			r, err := config.Resolve(config.Sources{Flags: flags})
			if err != nil || r.Run.Optimizer != c.Optimizer || r.Run.Method != c.Method || r.Run.Rate != c.Rate || r.Run.WeightDecay != c.WeightDecay {
				t.Errorf("%q gives %s by %s at %g with decay %g; want %s by %s at %g with %g (%v)", command(c), r.Run.Method, r.Run.Optimizer, r.Run.Rate, r.Run.WeightDecay, c.Method, c.Optimizer, c.Rate, c.WeightDecay, err)
			}
		}
	}
}
