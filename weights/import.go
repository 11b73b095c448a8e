package weights

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/model"
	"selfcon/run"
)

// The keys of a safetensors file's metadata that say how images are given to the
// network; Export writes them.
const (
	metaImage = "image"
	metaMean  = "mean"
	metaStd   = "std"
)

// Settings are the configuration of a run that holds the network of f: the
// network, the side of its images, and mean and deviation if they are known. Its
// data is not. The notes say what was concluded from what, a line each.
func (f *File) Settings(network model.Config) (c config.Run, notes []string) {
	method := "supcon"
	if len(network.Exits) > 0 {
		method = "selfcon-s"
	}
	c = config.DefaultOf(method, "")
	c.Model = network
	for _, t := range f.Tensors {
		if t.Name == "head.2.weight" && len(t.Shape) == 2 {
			c.ProjectionDim = t.Shape[0]
		}
	}
	dataset, _ := f.Options["dataset"].(string)
	facts, known := data.FactsOf(strings.TrimSuffix(dataset, "100"))
	if dataset == "cifar100" { // imagenet100 has ImageNet's facts, cifar100 its own
		facts, known = data.FactsOf(dataset)
	}
	side, mean, std, from := f.recorded()
	switch {
	case from:
		c.Image, c.Mean, c.Std = side, mean, std
		notes = append(notes, fmt.Sprintf("images of %d×%d, mean %s, deviation %s: the file says so", c.Image, c.Image, numbers(c.Mean), numbers(c.Std)))
	case known && len(facts.Mean) == network.ImageChannels:
		c.Image, c.Mean, c.Std = cmp.Or(facts.Height, 224), facts.Mean, facts.Std
		notes = append(notes, fmt.Sprintf("images of %d×%d, mean and deviation of %s: the options in the file name it", c.Image, c.Image, facts.Title))
	case network.Stem == model.LargeStem && network.ImageChannels == 3:
		facts, _ := data.FactsOf("imagenet")
		c.Image, c.Mean, c.Std = 224, facts.Mean, facts.Std
		notes = append(notes, "images of 224×224, mean and deviation of ImageNet: usual for a stem for large images")
	default:
		c.Image = 32
		notes = append(notes, "images of 32×32: usual for a stem for small images; mean and deviation are not in the file: those of the data are taken")
	}
	c.Model.ImageHeight, c.Model.ImageWidth = c.Image, c.Image
	return c, notes
}

// recorded is what Export has written into the metadata.
func (f *File) recorded() (side int, mean, std []float64, ok bool) {
	for key, to := range map[string]any{metaImage: &side, metaMean: &mean, metaStd: &std} {
		if json.Unmarshal([]byte(f.Metadata[key]), to) != nil {
			return 0, nil, nil, false
		}
	}
	return side, mean, std, side > 0 && len(mean) == len(std) && len(mean) > 0
}

// Import writes the weights of f and the manifest of a run into a folder.
func (f *File) Import(dir string, m run.Manifest) error {
	file, err := filepath.Abs(f.Path)
	if err != nil {
		return err
	}
	m.Imported = &run.Imported{File: file, Format: f.Format, Naming: string(f.Naming)}
	m.Done = true
	out := checkpoint.File{Metadata: map[string]string{"format": "pt", "selfcon": m.Version, "arch": m.Config.Model.Arch}}
	for _, t := range f.Tensors {
		out.Tensors = append(out.Tensors, checkpoint.Named{Name: t.Name, Tensor: engine.Tensor{Shape: t.Shape, Data: t.Float32s()}})
	}
	if err := checkpoint.WriteTensors(filepath.Join(dir, run.ModelFile), out); err != nil {
		return err
	}
	return m.Write(dir)
}
