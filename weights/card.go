package weights

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/eval"
	"selfcon/internal/shell"
	"selfcon/model"
	"selfcon/run"
)

// Results are those of a probe, for the card.
type Results struct {
	Split  string
	Images int
	Labels int // of training images that the classifiers saw
	Table  eval.Table
}

// card is the model card: what the network is, where it comes from, how good it
// is and how to load it.
func (x Export) card(m run.Manifest, tensors []checkpoint.Named, module bool) (string, error) {
	net, err := model.New(m.Config.Model)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	c := m.Config
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	name := fmt.Sprintf("%s, %s", c.Model.Arch, c.Method)
	if m.Imported != nil {
		name = c.Model.Arch + ", imported"
	}
	say("---")
	say("# license: of these weights, for you to choose; that of the data matters")
	say("library_name: pytorch")
	say("pipeline_tag: image-feature-extraction")
	say("tags: [image-encoder, self-contrastive-learning, selfcon, %s]", c.Model.Arch)
	say("---\n")
	say("# %s\n", name)
	if m.Imported != nil {
		say("An image encoder, imported from a %s file (%s); how it was trained is not known here.\n", m.Imported.Format, m.Imported.Naming)
	} else {
		say("An image encoder, trained with selfcon %s by `%s` on %s.", m.Version, c.Method, dataName(c))
		if m.At != nil {
			say("These are its weights %s of %d.", m.At.After(), m.Config.Epochs)
		} else if !m.Done {
			say("The training was interrupted.")
		}
		say("\n    %s\n", command(c))
	}
	say("| | |\n| --- | --- |")
	say("| network | %s |", Describe(c.Model))
	say("| exits | %s |", strings.Join(net.ExitNames(), ", "))
	say("| features | %d at each exit |", net.Dim())
	say("| images | %d×%d, %d channels, pixels in [0, 1] |", c.Image, c.Image, c.Model.ImageChannels)
	if side := c.EvalSide(); side > c.Image {
		say("| judged on | the centre of images resized to a shorter side of %d pixels |", side)
	}
	if c.Mean != nil {
		say("| normalisation | mean %s, deviation %s |", numbers(c.Mean), numbers(c.Std))
	}
	if len(m.Classes) > 0 {
		what := "training images"
		if m.Imported != nil {
			what = "images that it was probed with"
		}
		say("| data | %s: %d classes, %d %s, %d validation, %d test |", dataName(c), len(m.Classes), m.Images.Train, what, m.Images.Val, m.Images.Test)
	}
	say("| parameters | %d |", parameters(tensors))
	say("")
	if r := x.Results; r != nil {
		say("## How good it is\n")
		say("Linear classifiers on the frozen features, trained with %d labels, judged on the %s images (%d):\n", r.Labels, r.Split, r.Images)
		say("| exit | top-1 | top-5 | calibration error |\n| --- | --- | --- | --- |")
		for _, row := range r.Table {
			top5 := "–"
			if row.Top5 > 0 {
				top5 = fmt.Sprintf("%.2f %%", 100*row.Top5)
			}
			say("| %s | %.2f %% | %s | %.2f %% |", row.Name, 100*row.Top1, top5, 100*row.ECE)
		}
		var names []string
		for _, e := range c.Model.Exits {
			names = append(names, fmt.Sprintf("`exit%d.weight`", e))
		}
		say("\nThe classifiers are in `%s`: %s of shape classes × features, and their biases; the classes' names, in that order, are a JSON list in its metadata, `classes`.\n", ProbesFile, strings.Join(append(names, "`backbone.weight`"), ", "))
	}
	say("## Load it in PyTorch\n")
	x.loading(say, m, module)
	say("\n## Load it in selfcon\n")
	say("    selfcon import %s", x.file())
	return b.String(), nil
}

func (x Export) file() string {
	if x.Format == "pth" {
		return TorchFile
	}
	return SafeFile
}

// loading is the code that loads the weights, all of them and nothing else.
func (x Export) loading(say func(string, ...any), m run.Manifest, module bool) {
	c := m.Config
	say("```python")
	switch {
	case x.Torchvision:
		say("import torch, torchvision")
	case module:
		say("import torch\nfrom network import Net, images  # network.py beside these weights")
	default:
		say("import torch  # and the paper's code: github.com/raymin0223/self-contrastive-learning")
	}
	state := `torch.load("model.pth", weights_only=True)["model"]`
	if x.Format != "pth" {
		say("from safetensors.torch import load_file")
		state = `load_file("model.safetensors")`
	}
	say("")
	switch {
	case x.Torchvision:
		say("net = torchvision.models.%s()", c.Model.Arch)
		if c.Model.Stem == model.SmallStem || c.Model.ImageChannels != 3 {
			kernel, stride := 3, 1
			if c.Model.Stem == model.LargeStem {
				kernel, stride = 7, 2
			}
			say("net.conv1 = torch.nn.Conv2d(%d, 64, %d, %d, %d, bias=False)", c.Model.ImageChannels, kernel, stride, kernel/2)
		}
		if c.Model.Stem == model.SmallStem {
			say("net.maxpool = torch.nn.Identity()")
		}
		say("net.fc = torch.nn.Identity()")
	case module:
		say("net = Net()")
	default:
		class, args := referenceClass(c, len(m.Classes))
		say("net = %s(%s)", class, args)
	}
	say("net.load_state_dict(%s, strict=True)", state)
	say("net.eval()")
	x0 := fmt.Sprintf("torch.rand(1, %d, %d, %d)", c.Model.ImageChannels, c.Image, c.Image)
	switch {
	case x.Torchvision && c.Mean != nil:
		say("mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (%s, %s))", list(c.Mean), list(c.Std))
		say("features = net((%s - mean) / std)  # pixels in [0, 1]", x0)
	case module && c.Mean != nil:
		say("features = net(images(%s))  # pixels in [0, 1]; a list, an exit each, the backbone last", x0)
	case x.Torchvision || module:
		say("features = net(%s)", x0)
	default:
		say("exits, backbone = net.encoder(%s)  # normalised images", x0)
	}
	say("```")
	if !x.Torchvision && !module && (c.Model.Width != model.DefaultWidth || c.Model.ImageChannels != 3) {
		say("\nThe paper's code has this network only with width %d and 3 channels; of others it has the names.", model.DefaultWidth)
	}
}

// referenceClass is the class of the paper's code that has these weights, and
// its arguments.
func referenceClass(c config.Run, classes int) (class, args string) {
	m := c.Model
	family := map[string]string{"vgg": "VGG", "wrn": "WRN", "eff": "EfficientNet", "res": "ResNet"}[m.Arch[:3]]
	positions := 3
	switch family {
	case "VGG":
		positions = 4
	case "WRN":
		positions = 2
	}
	var at []string
	for i := range positions {
		at = append(at, map[bool]string{true: "True", false: "False"}[slices.Contains(m.Exits, i+1)])
	}
	dataset := "cifar100"
	if m.Stem == model.LargeStem {
		dataset = "imagenet"
	}
	args = fmt.Sprintf("name=%q, selfcon_pos=[%s], selfcon_size=%q, dataset=%q", m.Arch, strings.Join(at, ", "), m.Sub, dataset)
	if method, err := c.LossMethod(); err == nil && method.OneStage() {
		if family == "EfficientNet" {
			family = "EffNet"
		}
		return "CE" + family, args + fmt.Sprintf(", method=%q, num_classes=%d, dim_out=%d", c.Method, classes, c.ProjectionDim)
	}
	return "Con" + family, args + fmt.Sprintf(", feat_dim=%d", c.ProjectionDim)
}

// local are settings of the machine that trained, which say nothing of the
// result.
var local = []string{"cache", "cache_side", "threads", "workers", "memory", "mean", "std"}

// command is the command that trained a run, without the paths of its machine.
func command(c config.Run) string {
	c.Data = dataFormat(c)
	def := config.DefaultOf(c.Method, c.Optimizer)
	def.Method, def.Optimizer = config.Default().Method, config.DefaultOptimizer(c.Method)
	own := model.Config{Arch: c.Model.Arch, ImageHeight: c.Model.ImageHeight, ImageWidth: c.Model.ImageWidth, ImageChannels: c.Model.ImageChannels}
	if n, err := model.New(own); err == nil { // what follows from the network and the images
		def.Model.Stem, def.Model.Dropout, def.Model.DropConnect = n.Stem, n.Dropout, n.DropConnect
	}
	words := []string{"selfcon", "train"}
	for _, s := range config.Settings() {
		if v := s.Text(&c); v != s.Text(&def) && !slices.Contains(local, s.Key) && len(v) < 200 {
			words = append(words, "--"+s.Flag(), v)
		}
	}
	return shell.Command(words)
}

// dataFormat is a run's --data with PATH for its path.
func dataFormat(c config.Run) string {
	if format, _, ok := strings.Cut(c.Data, ":"); ok {
		return format + ":PATH"
	}
	return c.Data
}

func dataName(c config.Run) string {
	format, _, _ := strings.Cut(c.Data, ":")
	return format
}

// parameters counts what is trained, without running statistics.
func parameters(tensors []checkpoint.Named) int {
	n := 0
	for _, t := range tensors {
		if !strings.Contains(t.Name, ".running_") && !strings.HasSuffix(t.Name, ".num_batches_tracked") {
			n += t.Shape.Size()
		}
	}
	return n
}

func numbers(v []float64) string {
	var out []string
	for _, x := range v {
		out = append(out, fmt.Sprintf("%.4g", x))
	}
	return strings.Join(out, ", ")
}

func list(v []float64) string {
	text, _ := json.Marshal(v)
	return string(text)
}
