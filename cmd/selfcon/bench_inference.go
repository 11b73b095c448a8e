package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"selfcon/checkpoint"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
	"selfcon/model"
)

// inferenceBench is what bench inference measures and prints.
type inferenceBench struct {
	Arch     string  `json:"arch"`
	Batch    int     `json:"batch"`
	Image    int     `json:"image"`
	Width    int     `json:"width"`
	Steps    int     `json:"steps"`
	Threads  int     `json:"threads"`
	Engine   string  `json:"engine"`
	Conv     string  `json:"conv,omitempty"` // the one algorithm of convolutions
	Arena    int     `json:"arena_bytes"`
	CompileS float64 `json:"compile_s"`
	First    float64 `json:"first_step_s"` // prepares the weights as well
	Step     float64 `json:"step_s"`       // the quickest
	Median   float64 `json:"step_s_median"`
	Speed    float64 `json:"images_per_s"` // batch over the quickest step
	Peak     int64   `json:"peak_bytes"`   // the process's peak resident set

	weights, sample string // files to write
}

func benchInferenceCommand() *cobra.Command {
	b := inferenceBench{Arch: "resnet18", Batch: 64, Image: 32, Width: 64, Steps: 20}
	asJSON, explain := false, false
	cmd := &cobra.Command{
		Use:   "inference",
		Short: "Time the backbone's features in evaluation mode, on random images",
		Long: `Time a backbone without sub-networks in evaluation mode, from random images to
the features before the heads, with random weights and running statistics, and
the process's peak resident set. The files of --weights and --sample let others
compute the same.`,
		Example: `  selfcon bench inference
  selfcon bench inference --batch 1 --steps 200 --explain
  selfcon bench inference --weights w.safetensors --sample s.safetensors --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			table, err := b.run(cmd.Context(), explain)
			if err != nil {
				return err
			}
			return printMeasured(cmd, b, asJSON, table, fmt.Sprintf("%s, width %d, %d images of %d×%d, %s\nbest %.3f ms (median %.3f, first %.1f, compile %.1f)  %.1f images/s  peak memory %.0f MB",
				b.Arch, b.Width, b.Batch, b.Image, b.Image, b.Engine, 1e3*b.Step, 1e3*b.Median, 1e3*b.First, 1e3*b.CompileS, b.Speed, float64(b.Peak)/1e6))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&b.Arch, "arch", b.Arch, archNames())
	f.IntVar(&b.Batch, "batch", b.Batch, "images at a time")
	f.IntVar(&b.Image, "image", b.Image, "side of the square images in pixels")
	f.IntVar(&b.Width, "width", b.Width, about("width"))
	f.IntVar(&b.Steps, "steps", b.Steps, "runs to time, after two that are not")
	machineFlags(f, &b.Threads, nil)
	convFlag(f, &b.Conv)
	f.StringVar(&b.weights, "weights", "", "write the weights to this `file` (safetensors, the reference's names)")
	f.StringVar(&b.sample, "sample", "", "write the images (NHWC) and their features to this `file` (safetensors)")
	f.BoolVar(&explain, "explain", explain, "print each instruction's least time to standard error")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON")
	complete(cmd, "arch", model.Archs)
	return cmd
}

// run measures, and returns the program as a table if it should be explained.
func (b *inferenceBench) run(ctx context.Context, explain bool) (string, error) {
	const channels = 3
	for _, x := range []struct {
		flag string
		v    int
	}{{"batch", b.Batch}, {"image", b.Image}, {"width", b.Width}, {"steps", b.Steps}} {
		if x.v < 1 {
			return "", usagef("--%s %d: must be at least 1", x.flag, x.v)
		}
	}
	if err := checkConv(b.Conv); err != nil {
		return "", err
	}
	net, err := model.New(model.Config{Arch: b.Arch, Width: b.Width, ImageHeight: b.Image, ImageWidth: b.Image, ImageChannels: channels})
	if err != nil {
		return "", usageError{err}
	}
	g := graph.New()
	shape := graph.Shape{b.Batch, b.Image, b.Image, channels}
	features := net.Encode(g, g.Input("images", graph.Float, shape...), false)
	g.Output("features", features[len(features)-1])
	prog, err := g.Build()
	if err != nil {
		return "", usageError{err}
	}
	e, err := openCPU(cpu.Options{Threads: b.Threads, Conv: b.Conv, Profile: explain})
	if err != nil {
		return "", err
	}
	defer e.Close()
	b.Engine = e.Name()
	if b.Threads == 0 {
		b.Threads = runtime.GOMAXPROCS(0) // what 0 stands for
	}

	start := time.Now()
	exec, err := e.Compile(prog)
	if err != nil {
		return "", err
	}
	b.CompileS = time.Since(start).Seconds()
	r := rand.New(rand.NewPCG(0, 0))
	if err := randomWeights(e, prog, r); err != nil {
		return "", err
	}
	images := make([]float32, shape.Size())
	for i := range images {
		images[i] = float32(r.NormFloat64())
	}
	in := map[string]engine.Tensor{"images": {Shape: shape, Data: images}}
	var out map[string]engine.Tensor
	t, err := timeRuns(ctx, b.Steps, func() (err error) {
		out, err = exec.Run(in)
		return err
	})
	if err != nil {
		return "", err
	}
	b.First, b.Step, b.Median = t.first, t.best, t.median
	b.Speed = float64(b.Batch) / b.Step
	if b.Peak, err = peakMemory(); err != nil {
		return "", err
	}
	if b.weights != "" {
		w, err := checkpoint.Snapshot(e, prog.Variables)
		if err != nil {
			return "", err
		}
		if err := checkpoint.WriteTensors(b.weights, checkpoint.File{Tensors: w}); err != nil {
			return "", err
		}
	}
	if b.sample != "" {
		s := checkpoint.File{Tensors: []checkpoint.Named{{Name: "images", Tensor: in["images"]}, {Name: "features", Tensor: out["features"]}}}
		if err := checkpoint.WriteTensors(b.sample, s); err != nil {
			return "", err
		}
	}
	x, ok := exec.(*cpu.Executable)
	if !ok {
		return "", nil
	}
	s := x.Stats()
	b.Arena = s.Arena
	if explain {
		return x.Explain() + memoryLine(s, b.Peak), nil
	}
	return "", nil
}

// randomWeights gives a network its first values, and batch norms scales,
// shifts and running statistics that differ, so that a comparison of features
// sees which is used how.
func randomWeights(e engine.Engine, p *graph.Program, r *rand.Rand) error {
	if err := engine.Initialize(e, p, 0); err != nil {
		return err
	}
	for _, v := range p.Variables {
		if len(v.Shape) != 1 || v.DType != graph.Float {
			continue
		}
		d := make([]float32, v.Shape.Size())
		for i := range d {
			d[i] = float32(0.2 * r.NormFloat64())
			if v.Init.Kind == graph.Constant1 { // scales and variances
				d[i] = float32(0.5 + r.Float64())
			}
		}
		if err := e.Write(v.Name, engine.Float32(d, v.Shape...)); err != nil {
			return err
		}
	}
	return nil
}
