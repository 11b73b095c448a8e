package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"selfcon/internal/suggest"
	"selfcon/loss"
	"selfcon/model"
)

// Preset is a named configuration: a setting of the paper (dataset × network ×
// method), or a small one that finishes on a CPU.
type Preset struct {
	Name string
	Run  Run // its Data is a format without the path, which only the caller knows
	// Published is whether all of it stands in the reference's scripts. Of the
	// others the sizes are carried over from the published ones of that kind of data.
	Published bool
	Classes   int   // that a class list must choose from the data's; 0: all, and no list
	Probe     Probe // the zero value: the program's own
}

// Probe is how the features of a preset's runs are judged: SGD without weight
// decay, the rate divided by 10 after each of the milestones.
type Probe struct {
	Epochs, Batch int
	Rate          float64
	Milestones    []int
}

// course is how long and how fast a run learns.
type course struct {
	batch, epochs int
	rate          float64
}

// setting is what the paper's runs on one dataset have in common.
type setting struct {
	name, data string // as in a preset's name; a format
	image      int
	classes    int // where they come from a class list
	networks   []string
	all        string // the network that every method is listed for
	sub        model.SubNetwork
	contrast   course
	oneStage   course // zero: none known
	probe      Probe
	published  []string // network-method
}

// The reference's scripts (https://github.com/raymin0223/self-contrastive-learning,
// scripts/*.sh) have a course, a sub-network and a probe for small images, with
// CIFAR-100, and for large ones, with ImageNet.
var (
	small32  = course{1024, 1000, 0.5}
	large224 = course{2048, 800, 0.25}
	onePass  = course{1024, 500, 0.8}

	smallProbe = Probe{Epochs: 100, Batch: 512, Rate: 3, Milestones: []int{60, 80}}
	largeProbe = Probe{Epochs: 40, Batch: 512, Rate: 5, Milestones: []int{20, 30}}
)

// settings is the one table of facts that the paper's presets come from.
var settings = []setting{
	{
		name: "cifar10", data: "cifar10", image: 32, networks: []string{"resnet18", "resnet50"},
		sub: model.SubFC, contrast: small32, oneStage: onePass, probe: smallProbe,
	},
	{
		name: "cifar100", data: "cifar100", image: 32, networks: []string{"resnet18", "resnet50", "wrn_16_8", "vgg16_bn", "efficientnet"}, all: "resnet18",
		sub: model.SubFC, contrast: small32, oneStage: onePass, probe: smallProbe,
		published: []string{"resnet18-selfcon-s", "resnet18-supcon", "resnet18-ce"},
	},
	{
		name: "tinyimagenet", data: "tinyimagenet", image: 64, networks: []string{"resnet18", "resnet50"},
		sub: model.SubFC, contrast: small32, oneStage: onePass, probe: smallProbe,
	},
	{
		name: "imagenet100", data: "imagenet", image: 224, classes: 100, networks: []string{"resnet18", "resnet50"},
		sub: model.SubSame, contrast: large224, probe: largeProbe,
	},
	{
		name: "imagenet", data: "imagenet", image: 224, networks: []string{"resnet18", "resnet34", "resnet50"},
		sub: model.SubSame, contrast: large224, probe: largeProbe,
		published: []string{"resnet34-selfcon-s"},
	},
}

// compared are the methods that the paper compares throughout.
var compared = []string{"selfcon-s", "selfcon-m", "supcon", "supcon-s", "simclr", "ce"}

// smallData are what the small presets train on, and how long.
var smallData = []struct {
	data        string
	epochs      int
	valFraction float64
}{
	{"sample", 20, 0.05}, // 3,000 steps; with selfcon-s, what quickstart does
	{"fashion-mnist", 5, 0.05},
	{"cifar10", 20, 0.05},
	{"cifar100", 20, 0.05},
}

// quickstart is the preset of the command of that name.
const quickstart = "small-sample-selfcon-s"

// Presets lists the presets, the small ones first.
func Presets() []Preset {
	var out []Preset
	for _, d := range smallData {
		for _, m := range compared {
			c := small(m)
			c.Data, c.Epochs, c.ValFraction = d.data, d.epochs, d.valFraction
			out = append(out, Preset{Name: "small-" + d.data + "-" + m, Run: c})
		}
	}
	for _, s := range settings {
		for _, network := range s.networks {
			for _, m := range loss.Methods() {
				if network == s.all || slices.Contains(compared, m.Name) {
					if p, ok := s.preset(network, m); ok {
						out = append(out, p)
					}
				}
			}
		}
	}
	return out
}

// preset is a setting with a network and a method; ok is false if the setting
// has no course for the method.
func (s setting) preset(network string, m loss.Method) (p Preset, ok bool) {
	c := DefaultOf(m.Name, "sgd") // momentum, weight decay, temperatures, projections, cosine, strong augmentation: the paper's
	c.Data, c.Image, c.Method = s.data, s.image, m.Name
	c.Model.Arch, c.Model.Sub, c.Model.ImageHeight, c.Model.ImageWidth = network, s.sub, s.image, s.image
	if m.NeedsExits() {
		c.Model.Exits = model.DefaultExits(network)
	}
	at := s.contrast
	if m.Classifiers != nil {
		at, c.Augment = s.oneStage, "weak"
	}
	c.Batch, c.Epochs, c.Rate = at.batch, at.epochs, at.rate
	c.WarmupEpochs = 10
	c.ValFraction = 0.02 // ours: something has to choose the probe's epoch, and not the test images
	rest := network + "-" + m.Name
	return Preset{
		Name: s.name + "-" + rest, Run: c, Published: slices.Contains(s.published, rest),
		Classes: s.classes, Probe: s.probe,
	}, at.epochs > 0
}

// small is a narrow network with steps that a CPU makes thousands of in
// minutes; docs/log.md and docs/results.md say how it was chosen.
func small(method string) Run {
	c := DefaultOf(method, "")
	c.Model.Width = 8
	if m, err := loss.Parse(method); err == nil && m.NeedsExits() {
		c.Model.Exits = model.DefaultExits(c.Model.Arch)
	}
	c.Augment, c.CropMin, c.WarmupEpochs = "weak", 0.5, 2
	return c
}

// FindPreset finds a preset by its name; an unknown one is an *Error that names
// the nearest.
func FindPreset(name string) (Preset, error) {
	var names []string
	for _, p := range Presets() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, bad("preset", "unknown name %q; %s (selfcon presets lists all)", name, nearPresets(name, names))
}

// nearPresets says which presets may have been meant: those that have all words of
// the name, or the nearest one; if there is neither, how they are named.
func nearPresets(name string, known []string) string {
	var near []string
	for _, k := range known {
		has := strings.Split(k, "-")
		if !slices.ContainsFunc(strings.Split(name, "-"), func(word string) bool { return !slices.Contains(has, word) }) {
			near = append(near, strconv.Quote(k))
		}
	}
	if n, ok := suggest.Nearest(name, known); ok && len(near) == 0 {
		near = []string{strconv.Quote(n)}
	}
	const most = 4
	switch n := len(near); {
	case n == 0:
		return fmt.Sprintf("the names are DATA-NETWORK-METHOD and small-DATA-METHOD, such as %q and %q", "cifar100-resnet18-selfcon-s", quickstart)
	case n == 1:
		return fmt.Sprintf("did you mean %s?", near[0])
	case n <= most:
		return fmt.Sprintf("did you mean %s or %s?", strings.Join(near[:n-1], ", "), near[n-1])
	default:
		return fmt.Sprintf("did you mean %s or one of %d others?", strings.Join(near[:most-1], ", "), n-most+1)
	}
}

// Quickstart trains a small network on the embedded sample in about a
// minute of two cores.
func Quickstart() Run {
	p, err := FindPreset(quickstart)
	if err != nil {
		panic(err) // the tables above lack it
	}
	return p.Run
}
