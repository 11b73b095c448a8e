package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"selfcon/augment"
	"selfcon/data"
	"selfcon/internal/pixels"
)

// loadingBench is what bench loading measures and prints.
type loadingBench struct {
	Data    string  `json:"data"`
	Augment string  `json:"augment"`
	Image   int     `json:"image"`
	Views   int     `json:"views"`
	Batch   int     `json:"batch"`
	Steps   int     `json:"steps"`
	Workers int     `json:"workers"`
	Engine  string  `json:"engine"` // the kernels
	Step    float64 `json:"step_s"` // an image in all its views, in the quickest pass
	Median  float64 `json:"step_s_median"`
	Speed   float64 `json:"images_per_s"` // views, in the quickest pass
	Peak    int64   `json:"peak_bytes"`   // the process's peak resident set
}

func benchLoadingCommand() *cobra.Command {
	b := loadingBench{Augment: "strong", Image: 32, Views: 1, Batch: 64, Steps: 5}
	asJSON := false
	var opt data.Options
	cmd := &cobra.Command{
		Use:   "loading FORMAT[:PATH]",
		Short: "Time how quickly a dataset's images are loaded and augmented",
		Long: `Time how quickly the training images of a dataset are read, decoded and augmented
into batches, without a network. Where a network takes its batches faster than
this, pack the set (data pack, train --cache) or give it more cores.`,
		Example: `  selfcon bench loading imagefolder:photos --image 224
  selfcon bench loading packed:photos.pack --image 224 --workers 1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.Data = args[0]
			r := newReporter(cmd)
			defer r.end()
			s, err := openNoted(r, b.Data, opt)
			if err != nil {
				return err
			}
			r.end()
			if err := b.run(cmd.Context(), s.Train); err != nil {
				return err
			}
			return printMeasured(cmd, b, asJSON, "", fmt.Sprintf("%s, %s, to %d×%d, %d workers, kernels %s\n%.0f images/s (%.3f ms an image; median %.3f)  peak memory %.0f MB",
				b.Data, b.Augment, b.Image, b.Image, b.Workers, b.Engine, b.Speed, 1e3*b.Step, 1e3*b.Median, float64(b.Peak)/1e6))
		},
	}
	dataFlags(cmd, &opt)
	f := cmd.Flags()
	f.StringVar(&b.Augment, "augment", b.Augment, "strong (crop, flip, colour jitter, grayscale), weak (crop, flip) or none")
	f.IntVar(&b.Image, "image", b.Image, "side of the square views in pixels")
	f.IntVar(&b.Views, "views", b.Views, "views of each image")
	f.IntVar(&b.Batch, "batch", b.Batch, "images a batch")
	f.IntVar(&b.Workers, "workers", b.Workers, "threads that load and augment, on as many cores (0: one a core)")
	f.IntVar(&b.Steps, "steps", b.Steps, "passes over the images to time, after two that are not")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON")
	complete(cmd, "augment", func() []string { return []string{"strong", "weak", "none"} })
	return cmd
}

// run measures passes over a split; of a large one over its first 1,024 images in
// random order.
func (b *loadingBench) run(ctx context.Context, ds data.Dataset) error {
	if b.Steps < 1 {
		return usagef("--steps %d: must be at least 1", b.Steps)
	}
	first, err := ds.Image(0)
	if err != nil {
		return err
	}
	mean, std := []float64{0.5, 0.5, 0.5}[:first.Channels], []float64{0.25, 0.25, 0.25}[:first.Channels]
	var c augment.Config
	switch b.Augment {
	case "strong":
		c = augment.Strong(b.Image, b.Image, mean, std)
	case "weak":
		c = augment.Weak(b.Image, b.Image, mean, std)
	case "none":
		c = augment.Eval(b.Image, b.Image, mean, std)
	default:
		return usagef("--augment %q: must be strong, weak or none", b.Augment)
	}
	t, err := augment.New(c)
	if err != nil {
		return usageError{err}
	}
	if b.Workers > 0 {
		runtime.GOMAXPROCS(b.Workers)
	}
	loader, err := data.NewLoader(data.LoaderConfig{
		Dataset: ds, Transform: t, Batch: min(b.Batch, ds.Len()), Views: b.Views,
		Height: b.Image, Width: b.Image, Channels: first.Channels, Shuffle: true, Workers: b.Workers,
	})
	if err != nil {
		return usageError{err}
	}
	if b.Workers == 0 {
		b.Workers = runtime.GOMAXPROCS(0) // what 0 stands for
	}
	b.Engine = pixels.Best().Name
	const enough = 1024
	images, epoch := 0, 0
	times, err := timeRuns(ctx, b.Steps, func() error {
		images = 0
		for images < min(ds.Len(), enough) {
			for batch, err := range loader.Epoch(ctx, epoch, 0) {
				if err != nil {
					return err
				}
				if images += len(batch.Labels); images >= enough {
					break
				}
			}
			epoch++
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.Step, b.Median = times.best/float64(images), times.median/float64(images)
	b.Speed = float64(b.Views) / b.Step
	b.Peak, err = peakMemory()
	return err
}
