package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"selfcon/config"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
	"selfcon/loss"
	"selfcon/model"
	"selfcon/train"
)

// stepBench is what bench step measures and prints.
type stepBench struct {
	Arch      string  `json:"arch"`
	Method    string  `json:"method"`
	Batch     int     `json:"batch"` // labelled images; two-view methods see twice as many
	Micro     int     `json:"micro_batch,omitempty"`
	Image     int     `json:"image"`
	Width     int     `json:"width"`
	Steps     int     `json:"steps"`
	Threads   int     `json:"threads"`
	Precision string  `json:"precision"`
	Device    string  `json:"device"`
	Engine    string  `json:"engine"`
	Conv      string  `json:"conv,omitempty"` // the one algorithm of convolutions
	Memory    string  `json:"memory,omitempty"`
	Arena     int     `json:"arena_bytes"`
	Kept      int     `json:"arena_bytes_kept,omitempty"` // without recomputation
	Repeated  float64 `json:"recomputed_share,omitempty"` // of the step's FLOPs
	CompileS  float64 `json:"compile_s"`
	First     float64 `json:"first_step_s"`
	Step      float64 `json:"step_s"` // the quickest
	Median    float64 `json:"step_s_median"`
	Speed     float64 `json:"images_per_s"` // batch over the quickest step
	Peak      int64   `json:"peak_bytes"`   // the process's peak resident set
}

func benchStepCommand() *cobra.Command {
	b := stepBench{Arch: "resnet18", Method: "selfcon-s", Batch: 64, Image: 32, Width: 64, Steps: 6, Precision: "fp32", Device: "cpu"}
	asJSON, explain := false, false
	cmd := &cobra.Command{
		Use:   "step",
		Short: "Time a training step and its memory, on random images",
		Long: `Time one whole training step (forward, loss, backward, update) on random images
with random labels of 100 classes, and the process's peak resident set. Methods
with sub-networks have one, fc, half-way.`,
		Example: `  selfcon bench step
  selfcon bench step --arch resnet50 --image 224 --batch 8 --threads 2 --json
  selfcon bench step --width 8 --image 28 --batch 64
  selfcon bench step --batch 1024 --micro-batch 64 --steps 1
  selfcon bench step --conv direct --explain`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			table, err := b.run(cmd.Context(), explain)
			if err != nil {
				return err
			}
			words := fmt.Sprintf("%s %s, width %d, %d images of %d×%d a step, %s\nstep %.4f s (median %.4f, first %.3f, compile %.3f)  %.1f images/s  peak memory %.0f MB",
				b.Arch, b.Method, b.Width, b.Batch, b.Image, b.Image, b.Engine, b.Step, b.Median, b.First, b.CompileS, b.Speed, float64(b.Peak)/1e6)
			if b.Memory != "" {
				words += fmt.Sprintf("\narena %.0f MB, %.0f MB without recomputation; recomputed steps are %.1f %% of the step's FLOPs",
					float64(b.Arena)/1e6, float64(b.Kept)/1e6, 100*b.Repeated)
			}
			return printMeasured(cmd, b, asJSON, table, words)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&b.Arch, "arch", b.Arch, archNames())
	f.StringVar(&b.Method, "method", b.Method, methodNames())
	f.IntVar(&b.Batch, "batch", b.Batch, "images a step")
	f.IntVar(&b.Micro, "micro-batch", b.Micro, "images that go through the network at a time (0: all)")
	f.IntVar(&b.Image, "image", b.Image, "side of the square images in pixels")
	f.IntVar(&b.Width, "width", b.Width, about("width"))
	f.IntVar(&b.Steps, "steps", b.Steps, "steps to time, after two that are not")
	machineFlags(f, &b.Threads, nil)
	convFlag(f, &b.Conv)
	memoryFlag(cmd, &b.Memory)
	f.BoolVar(&explain, "explain", explain, "print each instruction's least time to standard error")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON")
	complete(cmd, "arch", model.Archs)
	return cmd
}

// run measures, and returns the program as a table if it should be explained.
func (b *stepBench) run(ctx context.Context, explain bool) (string, error) {
	const channels, classes = 3, 100
	c := config.DefaultOf(b.Method, "sgd") // the paper's step, as in all figures so far
	c.Model.Sub = model.SubFC
	c.Data, c.Method, c.Batch, c.Image, c.Threads, c.Rate = "random", b.Method, b.Batch, b.Image, b.Threads, 0.05
	c.Memory, c.MicroBatch = b.Memory, b.Micro
	c.Model.Arch, c.Model.Width = b.Arch, b.Width
	if m, err := loss.Parse(b.Method); err == nil && m.NeedsExits() {
		c.Model.Exits = model.DefaultExits(b.Arch)
	}
	if err := c.Validate(); err != nil {
		return "", err
	}
	if explain && b.Micro > 0 {
		return "", usagef("--explain shows one program; a step in micro-batches has four: leave out --micro-batch")
	}
	if b.Steps < 1 || b.Image < 1 {
		return "", usagef("--steps %d and --image %d: must be at least 1", b.Steps, b.Image)
	}
	c.Model.ImageHeight, c.Model.ImageWidth, c.Model.ImageChannels = b.Image, b.Image, channels
	net, err := model.New(c.Model)
	if err != nil {
		return "", usageError{err}
	}
	method, err := c.LossMethod()
	if err != nil {
		return "", err
	}
	if err := checkConv(b.Conv); err != nil {
		return "", err
	}
	e, err := openCPU(cpu.Options{Threads: b.Threads, Conv: b.Conv, Memory: b.Memory, Profile: explain})
	if err != nil {
		return "", err
	}
	defer e.Close()
	b.Engine = e.Name()
	if b.Threads == 0 {
		b.Threads = runtime.GOMAXPROCS(0) // what 0 stands for
	}

	start := time.Now()
	step, _, err := train.CompileStep(e, net, train.NewStepConfig(c, method, classes), b.Micro, 0)
	if err != nil {
		return "", usageError{err}
	}
	b.CompileS = time.Since(start).Seconds()
	r := rand.New(rand.NewPCG(0, 0))
	shape := graph.Shape{method.Views * b.Batch, b.Image, b.Image, channels}
	images := make([]float32, shape.Size())
	for i := range images {
		images[i] = float32(r.NormFloat64())
	}
	labels := make([]int32, b.Batch)
	for i := range labels {
		labels[i] = r.Int32N(classes)
	}
	in := map[string]engine.Tensor{
		train.InputImages: {Shape: shape, Data: images},
		train.InputLabels: engine.Int32(labels, b.Batch),
		train.InputRate:   engine.Scalar(c.Rate),
	}
	t, err := timeRuns(ctx, b.Steps, func() error {
		_, err := step.Run(in)
		return err
	})
	if err != nil {
		return "", err
	}
	b.First, b.Step, b.Median = t.first, t.best, t.median
	b.Speed = float64(b.Batch) / b.Step
	b.Peak, err = peakMemory()
	x, ok := step.(*cpu.Executable)
	if !ok {
		return "", err
	}
	s := x.Stats()
	b.Arena, b.Kept, b.Repeated = s.Arena, s.Kept, s.Recomputed()
	if explain {
		return x.Explain() + memoryLine(s, b.Peak), err
	}
	return "", err
}
