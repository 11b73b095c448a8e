package weights

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"selfcon/checkpoint"
	"selfcon/checkpoint/torchfile"
	"selfcon/engine"
	"selfcon/graph"
	"selfcon/model"
	"selfcon/run"
)

// The files of an export.
const (
	SafeFile   = "model.safetensors"
	TorchFile  = "model.pth"
	ProbesFile = "classifiers.safetensors"
	ModuleFile = "network.py"
	CardFile   = "README.md"
)

// ExportFormats are the formats of Export.
func ExportFormats() []string { return []string{"safetensors", "pth"} }

// ErrUsage is what is in the errors of an export that can't be asked for: of
// this run, or into this folder.
var ErrUsage = errors.New("not possible")

// Export says what to write.
type Export struct {
	Format      string // see ExportFormats
	Torchvision bool   // the backbone alone, under torchvision's names
	Results     *Results
}

// usage is an error that is ErrUsage too.
type usage struct{ error }

func (usage) Is(target error) bool { return target == ErrUsage }

//go:embed resnet.py
var resnetModule []byte

// Write writes the weights of the run or checkpoint in dir, as run.OpenModel found
// it, into the folder out, which must be
// new: the weights, the linear classifiers of its probe, for ResNets a module of
// PyTorch that loads them, and a model card.
func (x Export) Write(dir, out string, m run.Manifest) (failed error) {
	f, err := run.ReadModel(dir, m)
	if err != nil {
		return err
	}
	tensors := f.Tensors
	if x.Torchvision {
		if tensors, err = torchvision(tensors, m.Config.Model); err != nil {
			return err
		}
	}
	tensors = withCounters(tensors)
	var module []byte
	if strings.HasPrefix(m.Config.Model.Arch, "resnet") && !x.Torchvision {
		if module, err = x.module(m, tensors); err != nil {
			return err
		}
	}
	card, err := x.card(m, tensors, module != nil)
	if err != nil {
		return err
	}
	undo, err := run.NewFolder(out)
	if err != nil {
		return err
	}
	defer func() {
		if failed != nil { // no half of an export
			failed = errors.Join(failed, undo())
		}
	}()
	if x.Format == "pth" {
		epochs := m.Config.Epochs
		if m.At != nil {
			epochs = m.At.Epoch
		}
		err = checkpoint.Write(filepath.Join(out, TorchFile), func(w io.Writer) error { return torchfile.Write(w, tensors, epochs, metadata(m)) })
	} else {
		err = checkpoint.WriteTensors(filepath.Join(out, SafeFile), checkpoint.File{Metadata: metadata(m), Tensors: tensors})
	}
	if err != nil {
		return err
	}
	if x.Results != nil {
		if err := writeProbes(dir, filepath.Join(out, ProbesFile), m); err != nil {
			return err
		}
	}
	for name, text := range map[string][]byte{ModuleFile: module, CardFile: []byte(card)} {
		if text == nil {
			continue
		}
		if err := checkpoint.Write(filepath.Join(out, name), func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
			return err
		}
	}
	return nil
}

// metadata says how the network is to be used, for Read and for people.
func metadata(m run.Manifest) map[string]string {
	meta := map[string]string{"format": "pt", "selfcon": m.Version, "arch": m.Config.Model.Arch, "method": m.Config.Method}
	for key, v := range map[string]any{metaImage: m.Config.Image, metaMean: m.Config.Mean, metaStd: m.Config.Std} {
		text, _ := json.Marshal(v) // numbers can't fail
		meta[key] = string(text)
	}
	return meta
}

// withCounters adds the num_batches_tracked that PyTorch's batch norms have in
// their state. They are 0: PyTorch reads them only where there is no momentum.
func withCounters(tensors []checkpoint.Named) []checkpoint.Named {
	var out []checkpoint.Named
	for _, t := range tensors {
		out = append(out, t)
		if norm, ok := strings.CutSuffix(t.Name, ".running_var"); ok {
			out = append(out, checkpoint.Named{Name: norm + ".num_batches_tracked", Tensor: engine.Tensor{Shape: graph.Shape{}, Data: []int64{0}}})
		}
	}
	return out
}

// torchvision gives the tensors of a ResNet's backbone torchvision's names, and
// leaves the others out.
func torchvision(tensors []checkpoint.Named, c model.Config) ([]checkpoint.Named, error) {
	if !strings.HasPrefix(c.Arch, "resnet") || c.Width != model.DefaultWidth {
		return nil, usage{fmt.Errorf("torchvision has ResNets of width %d, and this is %s of width %d", model.DefaultWidth, c.Arch, c.Width)}
	}
	var out []checkpoint.Named
	for _, t := range tensors {
		name, ok := strings.CutPrefix(t.Name, model.EncoderPrefix)
		if !ok || strings.HasPrefix(name, "selfcon_layer.") {
			continue
		}
		t.Name = strings.Replace(name, ".shortcut.", ".downsample.", 1)
		out = append(out, t)
	}
	return out, nil
}

// module is a module of PyTorch for a ResNet with the heads that tensors has.
func (x Export) module(m run.Manifest, tensors []checkpoint.Named) ([]byte, error) {
	c := m.Config.Model
	shapes := map[string]graph.Shape{}
	for _, t := range tensors {
		shapes[t.Name] = t.Shape
	}
	// The blocks of a sub-network's stages, where any exit has them.
	blocks, subs := make([]int, 4), make([]int, 4)
	for s := range 4 {
		for shapes[fmt.Sprintf("encoder.layer%d.%d.conv1.weight", s+1, blocks[s])] != nil {
			blocks[s]++
		}
		for _, e := range c.Exits {
			n := 0
			for shapes[fmt.Sprintf("encoder.selfcon_layer.%d.%d.%d.conv1.weight", e-1, s-e, n)] != nil {
				n++
			}
			subs[s] = max(subs[s], n)
		}
	}
	config := map[string]any{
		"arch": c.Arch, "bottleneck": shapes["encoder.layer1.0.conv3.weight"] != nil, "width": c.Width, "channels": c.ImageChannels,
		"large_stem": c.Stem == model.LargeStem, "blocks": blocks, "exits": append([]int{}, c.Exits...), "sub": c.Sub, "sub_blocks": subs,
		"image": m.Config.Image, "mean": m.Config.Mean, "std": m.Config.Std, "classes": m.Classes, "heads": heads(tensors),
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	// JSON within a string, since its true and null are not Python's.
	quoted, err := json.Marshal(string(text))
	if err != nil {
		return nil, err
	}
	mark := []byte("CONFIG = None  # replaced: what this network is")
	out := bytes.Replace(resnetModule, mark, append([]byte("CONFIG = json.loads("), append(quoted, ')')...), 1)
	return bytes.Replace(out, []byte("import torch\n"), []byte("import json\n\nimport torch\n"), 1), nil
}

// heads are the shapes [out, in] of the linear layers of each head, in order.
func heads(tensors []checkpoint.Named) map[string][][]int {
	out := map[string][][]int{}
	for _, t := range tensors {
		name, ok := strings.CutSuffix(t.Name, ".weight")
		if !ok || strings.HasPrefix(t.Name, model.EncoderPrefix) || len(t.Shape) != 2 {
			continue
		}
		parts := strings.Split(name, ".")
		// head.0 and head.2 are the layers of one head; logit_fc.0 is a head.
		if last := parts[len(parts)-1]; slices.Contains([]string{"head", "sub_heads"}, parts[0]) && (last == "0" || last == "2") && len(parts) == map[string]int{"head": 2, "sub_heads": 3}[parts[0]] {
			name = strings.Join(parts[:len(parts)-1], ".")
		}
		out[name] = append(out[name], t.Shape)
	}
	return out
}

// writeProbes writes the linear classifiers of a probe by the names of the exits:
// exit1.weight, …, backbone.weight, with the names of the classes.
func writeProbes(dir, out string, m run.Manifest) error {
	f, err := checkpoint.ReadTensors(filepath.Join(dir, run.ProbeFile))
	if err != nil {
		return err
	}
	for i := range f.Tensors {
		number, rest, _ := strings.Cut(f.Tensors[i].Name, ".")
		name := "backbone"
		for k, e := range m.Config.Model.Exits {
			if number == fmt.Sprint(k) {
				name = fmt.Sprintf("exit%d", e)
			}
		}
		f.Tensors[i].Name = name + "." + rest
	}
	classes, err := json.Marshal(m.Classes)
	if err != nil {
		return err
	}
	f.Metadata = map[string]string{"format": "pt", "classes": string(classes)}
	return checkpoint.WriteTensors(out, f)
}
