package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"selfcon/config"
	"selfcon/engine"
	"selfcon/graph"
)

// Place is where a run stands: all steps before step Batch of epoch Epoch (both
// from 0) are done.
type Place struct {
	Epoch int `json:"epoch"`
	Batch int `json:"batch"`
}

// Progress is what is told after each step.
type Progress struct {
	Place                                // after this step
	Epochs, Batches, Steps int           // epochs of the run, steps of an epoch, steps done since Run began
	Loss                   float64       // of this step
	MeanLoss               float64       // of the epoch so far, from where Run began
	Rate                   float64       // learning rate of this step
	ImagesPerSecond        float64       // labelled images, since Run began
	Elapsed                time.Duration // since Run began
	Waited                 time.Duration // of it, for data
	EpochDone              bool          // this step was the last of its epoch
	Exits                  []ExitHealth  // of the epoch's last batch, when it is done, of methods that only contrast
	Validation             *Validation   // of the network after the epoch, if it was judged
	Warnings               []string      // what looks wrong and what to try, each kind once
}

// Left is the time that the rest of the run takes at the speed so far.
func (p Progress) Left() time.Duration {
	left := p.Epochs*p.Batches - (p.Epoch*p.Batches + p.Batch)
	return time.Duration(float64(p.Elapsed) / float64(p.Steps) * float64(left))
}

// Trainer is a run in progress: a compiled step and its place.
type Trainer struct {
	Setup     *Setup
	Engine    engine.Engine
	Variables []*graph.Variable // of the run: parameters, statistics, the optimizer's state
	Place     Place

	step engine.Executable
}

// NewTrainer compiles the training step of a setup and gives every variable its
// first value. A batch that the training images don't fill is a *config.Error.
func NewTrainer(s *Setup, e engine.Engine) (*Trainer, error) {
	c := s.Config
	if c.Batch > s.Train.Len() {
		return nil, &config.Error{Setting: "batch", Reason: fmt.Sprintf("%d is more than the %d training images", c.Batch, s.Train.Len())}
	}
	t := &Trainer{Setup: s, Engine: e}
	var err error
	step := NewStepConfig(c, s.Method, len(s.Classes))
	step.Heads = true
	t.step, t.Variables, err = CompileStep(e, s.Net, step, c.MicroBatch, c.Seed)
	if err != nil {
		return nil, err
	}
	return t, t.StartAverages()
}

// ErrDiverged is wrapped by the error of a run whose loss or weights are no
// longer finite.
var ErrDiverged = errors.New("the training has diverged: numbers are not finite any more")

// Run trains from the trainer's place to the end, telling tell after each step.
// tell may save the trainer. When ctx ends Run stops after the step in work and
// returns ctx's cause; after that, or after an error of the data, the trainer can
// be saved and run again, but not after ErrDiverged.
func (t *Trainer) Run(ctx context.Context, tell func(Progress)) error {
	c := t.Setup.Config
	loader, err := t.Setup.Loader(t.Setup.Train, c.Batch, true)
	if err != nil {
		return err
	}
	schedule, watch := NewSchedule(c), newDiagnosis(t.Setup)
	net := t.Setup.Net
	shape := graph.Shape{t.Setup.Method.Views * c.Batch, net.ImageHeight, net.ImageWidth, net.ImageChannels}
	start := time.Now()
	p := Progress{Epochs: c.Epochs, Batches: loader.Batches()}
	if t.Place.Batch >= p.Batches {
		return fmt.Errorf("the run stands at step %d of an epoch, but an epoch has %d: the training images are not those it began with", t.Place.Batch, p.Batches)
	}
	for t.Place.Epoch < c.Epochs {
		sum, n := 0.0, 0
		for b, err := range loader.Epoch(ctx, t.Place.Epoch, t.Place.Batch) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return err
			}
			p.Rate = schedule.At(t.Place.Epoch, t.Place.Batch, p.Batches)
			out, err := t.step.Run(map[string]engine.Tensor{
				InputImages: {Shape: shape, Data: b.Images},
				InputLabels: engine.Int32(b.Labels, len(b.Labels)),
				InputRate:   engine.Scalar(p.Rate),
			})
			if err != nil {
				return err
			}
			p.Loss = out[OutputLoss].Item()
			if err := diverged(t.step, p, t.Place); err != nil {
				return err
			}
			p.Warnings = watch.batch(b.Labels, t.Place)
			sum += p.Loss
			n++
			t.Place.Batch++
			p.EpochDone = t.Place.Batch == p.Batches
			if p.EpochDone {
				t.Place = Place{t.Place.Epoch + 1, 0}
			}
			p.Place, p.Steps, p.MeanLoss = t.Place, p.Steps+1, sum/float64(n)
			p.Elapsed, p.Waited = time.Since(start), loader.Waited()
			p.ImagesPerSecond = float64(p.Steps*c.Batch) / p.Elapsed.Seconds()
			p.Exits = nil
			if p.EpochDone {
				p.Exits = watch.health(out, b.Labels)
				p.Warnings = append(p.Warnings, watch.epoch(p)...)
			}
			if tell != nil {
				tell(p)
			}
			if ctx.Err() != nil && (t.Place.Epoch < c.Epochs) {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}
