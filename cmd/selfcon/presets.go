package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"selfcon/config"
	"selfcon/data"
	"selfcon/graph"
	"selfcon/internal/columns"
	"selfcon/model"
	"selfcon/train"
)

func presetsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the recipes of the paper and small ones for a CPU, or print one",
		Long: `List the presets that selfcon train --preset NAME trains by: the paper's settings
(dataset × network × method), and small ones that finish on a CPU. The source is
"scripts" where all of it stands in the scripts of the paper's code, "carried over"
where batch, epochs and learning rate are those of the published setting nearest to
it, and "ours". The memory is about that of a training step with --memory fast,
without which large ones take less, and, beside it, of one with --micro-batch 64.

With a name, print the preset's whole configuration as YAML, which selfcon train
--config reads, and on standard error whose its settings are and how to train and
judge by it.`,
		Example: `  selfcon presets
  selfcon presets cifar100-resnet18-selfcon-s
  selfcon train --preset cifar100-resnet18-selfcon-s --data cifar100:cifar-100-binary.tar.gz --micro-batch 64
  selfcon train --preset small-sample-supcon`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return presetNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listPresets(cmd.OutOrStdout())
			}
			p, err := config.FindPreset(args[0])
			if err != nil {
				return err
			}
			text, err := config.Marshal(p.Run)
			if err != nil {
				return err
			}
			if _, err := cmd.OutOrStdout().Write(text); err != nil {
				return err
			}
			r := newReporter(cmd)
			_, source := sourceOf(p)
			r.sayf("source: %s", source)
			r.sayf("train: %s", trainLine(p))
			r.sayf("judge: %s", probeLine(p))
			return nil
		},
	}
}

func presetNames() []string {
	var out []string
	for _, p := range config.Presets() {
		out = append(out, p.Name)
	}
	return out
}

func listPresets(w io.Writer) error {
	known := map[string]presetMemory{}
	t := columns.New(w)
	fmt.Fprintln(t, "preset\tdata\tnetwork\tmethod\tbatch\tepochs\tmemory\tin micro-batches\tsource")
	for _, p := range config.Presets() {
		c := p.Run
		whole, micro, err := memoryOf(c, known)
		if err != nil {
			return err
		}
		dataset, network := c.Data, c.Model.Arch
		if p.Classes > 0 {
			dataset += fmt.Sprintf(", %d classes", p.Classes)
		}
		if c.Model.Width != model.DefaultWidth {
			network += fmt.Sprintf(", width %d", c.Model.Width)
		}
		source, _ := sourceOf(p)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", p.Name, dataset, network, c.Method, c.Batch, c.Epochs, roughly(whole), roughly(micro), source)
	}
	return t.Flush()
}

// sourceOf is whose a preset's settings are, in a word and in a sentence.
func sourceOf(p config.Preset) (word, sentence string) {
	switch {
	case p.Published:
		return "scripts", "the scripts of the paper's code; val_fraction is ours"
	case p.Probe.Epochs == 0:
		return "ours", "all ours, nothing of the paper's"
	}
	return "carried over", "optimizer, schedule and augmentation are the paper's; batch, epochs, lr, sub and how to judge are carried over by us " +
		"from its scripts for that kind of data, and not checked against its appendix; val_fraction is ours"
}

// roughly writes bytes with as few digits as an estimate is worth.
func roughly(bytes float64) string {
	if bytes < 1e9 {
		return fmt.Sprintf("%.0f MB", bytes/1e6)
	}
	return fmt.Sprintf("%.1f GB", bytes/1e9)
}

// listMicroBatch is the --micro-batch that presets are listed with.
const listMicroBatch = 64

// presetMemory is what the memory of a network's steps is made of, in bytes: what
// each view takes, all variables, the gradients of those that are learnt, an image.
type presetMemory struct{ perView, variables, gradients, image float64 }

// memoryOf is about what a step of c takes, whole and in micro-batches: the
// engine's plan for a few images times as many views, the parameters and the
// optimizer's state (and, in micro-batches, the sums of their gradients), and the
// views themselves. Networks that are known are not planned again.
func memoryOf(c config.Run, known map[string]presetMemory) (whole, micro float64, err error) {
	m, err := c.LossMethod()
	if err != nil {
		return 0, 0, err
	}
	facts, _ := data.FactsOf(c.Data)
	n := c.Model
	n.ImageHeight, n.ImageWidth, n.ImageChannels = facts.Height, facts.Width, facts.Channels
	optimizer := train.NewOptimizer(c)
	key := fmt.Sprint(n.Arch, n.Exits, n.Sub, n.Width, n.ImageHeight, n.ImageChannels, optimizer.Kind, optimizer.Average > 0)
	b, ok := known[key]
	if !ok {
		network, err := model.New(n)
		if err != nil {
			return 0, 0, err
		}
		perView, variables, err := trainingMemory(network, optimizer)
		if err != nil {
			return 0, 0, err
		}
		b = presetMemory{perView: float64(perView), image: float64(4 * n.ImageHeight * n.ImageWidth * n.ImageChannels)}
		for _, v := range variables {
			b.variables += float64(4 * v.Shape.Size())
			if v.Role == graph.Parameter {
				b.gradients += float64(4 * v.Shape.Size())
			}
		}
		known[key] = b
	}
	views := float64(c.Batch * m.Views)
	few := float64(min(c.Batch, listMicroBatch) * m.Views)
	micro = few*b.perView + b.variables + views*b.image
	if c.Batch > listMicroBatch {
		micro += b.gradients
	}
	return views*(b.perView+b.image) + b.variables, micro, nil
}

// trainLine is the command that trains by a preset.
func trainLine(p config.Preset) string {
	line := "selfcon train --preset " + p.Name
	if p.Run.Data != "sample" {
		for _, f := range data.Formats() {
			if f.Name == p.Run.Data {
				line += " --data " + f.Example
			}
		}
	}
	if p.Classes > 0 {
		line += " --classes FILE"
	}
	return line
}

// probeLine is the command that judges a preset's run.
func probeLine(p config.Preset) string {
	line := "selfcon probe"
	if b := p.Probe; b.Epochs > 0 {
		var m []string
		for _, e := range b.Milestones {
			m = append(m, strconv.Itoa(e))
		}
		line += fmt.Sprintf(" --epochs %d --batch %d --lr %g --milestones %s --standardize=false", b.Epochs, b.Batch, b.Rate, strings.Join(m, ","))
	}
	return line + " RUN"
}
