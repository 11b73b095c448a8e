package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"selfcon/config"
	"selfcon/engine/cpu"
	"selfcon/graph"
	"selfcon/internal/columns"
	"selfcon/loss"
	"selfcon/model"
	"selfcon/train"
)

// modelInfo is what models prints of a network.
type modelInfo struct {
	Name       string           `json:"name"`
	Stem       model.Stem       `json:"stem"`
	Sub        model.SubNetwork `json:"sub"`
	Width      int              `json:"width"`
	Image      int              `json:"image"`
	Channels   int              `json:"channels"`
	Positions  int              `json:"exit_positions"`                   // exits can follow stages 1 to this
	Dim        int              `json:"dim"`                              // of every exit's features
	Parameters int              `json:"parameters"`                       // of the backbone and all exits listed
	Training   int              `json:"training_bytes_per_image"`         // what a step's memory grows by with each image
	State      int              `json:"training_bytes_of_the_parameters"` // weights, the optimizer's state, running statistics
	Exits      []exitInfo       `json:"exits"`
	Error      string           `json:"error,omitempty"` // why the images do not fit
}

type exitInfo struct {
	model.Cost
	Memory int `json:"inference_bytes_per_image"`
}

func modelsCommand() *cobra.Command {
	c := model.Config{Width: model.DefaultWidth, Sub: config.Default().Model.Sub, ImageHeight: 32, ImageChannels: 3}
	arch, exits, asJSON := "", "half-way", false
	cmd := &cobra.Command{
		Use:   "models [NETWORK…]",
		Short: "List the networks: parameters, work and memory of each exit",
		Long: `List the networks, or those named, with what it takes to come to each exit: the
parameters of the backbone up to there and of the exit's sub-network, the
multiply-accumulates of one image (twice as many FLOPs) and the memory that each
image of a batch takes; and, beside the backbone, the memory that each image takes
in training with all exits listed, by ` + "`selfcon-s`" + ` with --memory fast, without which
steps of more than 560 MB take less. The memory is the CPU engine's own plan;
parameters and, in training, the optimizer's state come on top, once.`,
		Example: `  selfcon models
  selfcon models resnet50 wrn_28_10 --image 224 --exits all
  selfcon models --width 8 --image 28 --channels 1 --sub fc --json`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return model.Archs(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, names []string) error {
			if arch != "" {
				names = append(names, arch)
			}
			list, err := listModels(cmd.Context(), c, exits, names)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			}
			return printModels(cmd.OutOrStdout(), list)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&arch, "arch", "", "the network, as selfcon train has it: the same as its name alone")
	f.IntVar(&c.ImageHeight, "image", c.ImageHeight, "side of the square images in pixels")
	f.IntVar(&c.ImageChannels, "channels", c.ImageChannels, "1 (grey) or 3 (RGB)")
	f.IntVar(&c.Width, "width", c.Width, about("width"))
	f.StringVar((*string)(&c.Stem), "stem", "", "small or large (default: small up to 64 pixels)")
	f.StringVar((*string)(&c.Sub), "sub", string(c.Sub), "sub-network: "+strings.Join(model.SubNetworks(), ", "))
	f.StringVar(&exits, "exits", exits, `"half-way", "all", "none" or stages, such as 1,2`)
	f.BoolVar(&asJSON, "json", false, "print JSON, sizes in bytes")
	for name, values := range map[string][]string{"arch": model.Archs(), "stem": model.Stems(), "sub": model.SubNetworks(), "exits": {"half-way", "all", "none"}} {
		complete(cmd, name, func() []string { return values })
	}
	return cmd
}

// listModels describes the named networks, or all: of these, one that the
// images or the exits do not fit says so and is no error, unless none fits.
func listModels(ctx context.Context, c model.Config, exits string, names []string) ([]modelInfo, error) {
	named := len(names) > 0
	if !named {
		names = model.Archs()
	}
	if c.ImageHeight < 1 || c.ImageHeight > 4096 || c.Width < 1 || c.Width > 4096 {
		return nil, usagef("--image %d and --width %d: must be between 1 and 4096", c.ImageHeight, c.Width)
	}
	c.ImageWidth = c.ImageHeight
	var list []modelInfo
	var wrong error // with the first network, if with all
	fits := named
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.Arch, c.Exits = name, nil
		switch exits {
		case "half-way":
			c.Exits = model.DefaultExits(name)
		case "all":
			n, err := model.New(c)
			if err != nil {
				return nil, usageError{err} // without exits: not this network's fault
			}
			for e := range n.Positions() {
				c.Exits = append(c.Exits, e+1)
			}
		default:
			if err := (&intList{&c.Exits}).Set(exits); err != nil {
				return nil, usagef("--exits: %v", err)
			}
		}
		m := modelInfo{Name: name, Sub: c.Sub, Width: c.Width, Image: c.ImageHeight, Channels: c.ImageChannels}
		n, err := model.New(c)
		if err == nil {
			m, err = describeModel(n)
			fits = true // the images may be too small; the network is there
		}
		if err != nil {
			if named {
				return nil, usageError{err}
			}
			if wrong == nil {
				wrong = err
			}
			m.Exits, m.Error = nil, err.Error()
		}
		list = append(list, m)
	}
	if !fits {
		return nil, usagef("none of the networks fits; of the first: %v", wrong)
	}
	return list, nil
}

func describeModel(n *model.Network) (modelInfo, error) {
	m := modelInfo{Name: n.Arch, Stem: n.Stem, Sub: n.Sub, Width: n.Width, Image: n.ImageHeight, Channels: n.ImageChannels, Positions: n.Positions(), Dim: n.Dim()}
	costs, err := n.Costs()
	if err != nil {
		return m, err
	}
	for i, c := range costs {
		x := exitInfo{Cost: c}
		if x.Memory, _, err = memoryPerImage(func(batch int) (*graph.Program, error) { return n.Inference(i, batch) }); err != nil {
			return m, err
		}
		m.Exits = append(m.Exits, x)
	}
	training, variables, err := trainingMemory(n, train.NewOptimizer(config.DefaultOf(listMethod(n), "")))
	if err != nil {
		return m, err
	}
	m.Training = training
	for _, v := range variables {
		m.State += 4 * v.Shape.Size()
		if v.Role == graph.Parameter && strings.HasPrefix(v.Name, "encoder.") {
			m.Parameters += v.Shape.Size()
		}
	}
	return m, nil
}

// listMethod is the method that a network's training is described by.
func listMethod(n *model.Network) string {
	if len(n.Exits) == 0 {
		return "supcon-s"
	}
	return "selfcon-s"
}

// trainingMemory is the bytes that each image takes in training, and the variables
// of the step, which are there once.
func trainingMemory(n *model.Network, o train.Optimizer) (int, []*graph.Variable, error) {
	method, err := loss.Parse(listMethod(n))
	if err != nil {
		return 0, nil, err
	}
	step := train.StepConfig{Method: method, Temperatures: loss.Temperatures{Tau: 0.1, Base: 0.07}, Dim: 128, Optimizer: o}
	return memoryPerImage(func(batch int) (*graph.Program, error) {
		step.Batch = batch
		return train.NewStep(n, step)
	})
}

// memoryPerImage is the bytes that a program's memory grows by with each image,
// by the engine's plan for 8 and for 16 of them; nothing is run.
func memoryPerImage(build func(batch int) (*graph.Program, error)) (int, []*graph.Variable, error) {
	// By default a large step repeats convolutions, and its memory is no multiple of the images'.
	e, err := openCPU(cpu.Options{Memory: cpu.MemoryFast})
	if err != nil {
		return 0, nil, err
	}
	defer e.Close()
	const few = 8
	arena := func(batch int) (int, []*graph.Variable, error) {
		p, err := build(batch)
		if err != nil {
			return 0, nil, err
		}
		x, err := e.Compile(p)
		if err != nil {
			return 0, nil, err
		}
		return x.(*cpu.Executable).Stats().Arena, p.Variables, nil
	}
	less, _, err := arena(few)
	if err != nil {
		return 0, nil, err
	}
	more, variables, err := arena(2 * few)
	return (more - less) / few, variables, err
}

func printModels(w io.Writer, list []modelInfo) error {
	width := len("network")
	for _, m := range list {
		width = max(width, len(m.Name))
	}
	// The writer aligns all columns to the right: the names bring their own blanks.
	t := &columns.Writer{To: w, Gap: 2, Right: true}
	row := func(name, exit string, figures ...string) {
		fmt.Fprintf(t, "%-*s\t%-13s\t%s\t\n", width, name, exit, strings.Join(figures, "\t"))
	}
	row("network", "exit", "parameters", "MACs/image", "memory/image", "in training")
	for _, m := range list {
		if m.Error != "" {
			row(m.Name, "does not fit", "", "", "", "")
		}
		for i, x := range m.Exits {
			name, training := "", ""
			if i == 0 {
				name = m.Name
			}
			if i == len(m.Exits)-1 {
				training = megabytes(m.Training)
			}
			row(name, x.Exit, fmt.Sprintf("%.2f M", float64(x.Parameters)/1e6), fmt.Sprintf("%.1f M", float64(x.MACs)/1e6), megabytes(x.Memory), training)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range list {
		if m.Error != "" {
			if _, err := fmt.Fprintln(w, m.Error); err != nil {
				return err
			}
		}
	}
	return nil
}

func megabytes(bytes int) string { return fmt.Sprintf("%.2f MB", float64(bytes)/1e6) }
