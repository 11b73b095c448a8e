package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/graph"
)

// Place is where a run stands: all steps before step Batch of epoch Epoch (both
// from 0) are done.
type Place struct {
	Epoch int `json:"epoch"`
	Batch int `json:"batch"`
}

// After says after what a run stands there.
func (p Place) After() string {
	if p.Batch == 0 && p.Epoch > 0 {
		return fmt.Sprintf("after epoch %d", p.Epoch)
	}
	return fmt.Sprintf("after step %d of epoch %d", p.Batch, p.Epoch+1)
}

// State is where a trainer stands, beside its variables: what a checkpoint keeps
// so that the run goes on as if it had never stopped.
type State struct {
	Place
	// LossSum is that of the epoch's steps so far, Hits of how many of their images
	// the classifier was right; Exits are of the last batch, where all steps are done
	// and only the validation is missing.
	LossSum float64      `json:"loss_sum"`
	Hits    float64      `json:"hits,omitempty"`
	Exits   []ExitHealth `json:"exits,omitempty"`
	// Took is how long the epoch's steps have taken so far, Waited how much of it
	// the step waited for data.
	Took   time.Duration `json:"took_ns"`
	Waited time.Duration `json:"waited_ns"`
	Best   *Best         `json:"best,omitempty"`
}

// Best is the best validation so far, of equals the first.
type Best struct {
	Epoch int     `json:"epoch"` // done, so from 1
	Score float64 `json:"score"`
}

// Progress is what is told after each step.
type Progress struct {
	Place                                // after this step
	Epochs, Batches, Steps int           // epochs of the run, steps of an epoch, steps done since Run began
	Images                 int           // labelled, of those steps
	Loss                   float64       // of this step
	MeanLoss               float64       // of the epoch so far
	Top1                   *float64      // of the epoch's training images so far; nil: nothing classifies
	Rate                   float64       // learning rate of this step
	ImagesPerSecond        float64       // labelled images, in the epoch so far
	EpochTook, EpochWaited time.Duration // by the epoch's steps so far; of it, for data
	Elapsed, Waited        time.Duration // since Run began; of it, for data
	EpochDone              bool          // this step was the last of its epoch
	Exits                  []ExitHealth  // of the epoch's last batch, when it is done, of methods that contrast
	Validation             *Validation   // of the network after the epoch, if it was judged
	Improved               bool          // that is the best so far
	Warnings               []string      // what looks wrong and what to try, each kind once
}

// Left is the time that the rest of the run takes at the speed so far.
func (p Progress) Left() time.Duration {
	if p.Steps == 0 {
		return 0
	}
	left := p.Epochs*p.Batches - (p.Epoch*p.Batches + p.Batch)
	return time.Duration(float64(p.Elapsed) / float64(p.Steps) * float64(left))
}

// Trainer is a run in progress: a compiled step and where it stands.
type Trainer struct {
	Setup     *Setup
	Engine    engine.Engine
	Variables []*graph.Variable // of the run: parameters, statistics, the optimizer's state
	State

	step engine.Executable
}

// NewTrainer compiles the training step of a setup and gives every variable its
// first value. A batch that the training images don't fill is a *config.Error.
func NewTrainer(s *Setup, e engine.Engine) (*Trainer, error) {
	c := s.Config
	if c.Batch > s.Train.Len() {
		return nil, &config.Error{Setting: "batch", Reason: fmt.Sprintf("%d is more than the %d training images: give at most as many", c.Batch, s.Train.Len())}
	}
	if _, err := s.Loader(s.Train, c.Batch, true); err != nil { // what would end it at its first step
		return nil, err
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

// Batches is the number of steps of an epoch.
func (t *Trainer) Batches() int { return t.Setup.Train.Len() / t.Setup.Config.Batch }

// ErrDiverged is wrapped by the error of a run whose loss or weights are no
// longer finite.
var ErrDiverged = errors.New("the training has diverged: numbers are not finite any more")

// Finite says, by an error that wraps ErrDiverged, which variable of the run is no
// longer finite, if one is: the last update may have made it so, of which the
// loss before it told nothing. To be asked before a trainer is saved.
func (t *Trainer) Finite() error {
	for _, v := range t.Variables {
		x, err := t.Engine.Read(v.Name)
		if err != nil {
			return err
		}
		if finite(x) {
			continue
		}
		at, batches := t.Place, t.Batches()
		if at.Batch == 0 {
			at = Place{at.Epoch - 1, batches}
		}
		return fmt.Errorf("%w (%s after epoch %d, step %d, at learning rate %g): %s",
			ErrDiverged, v.Name, at.Epoch+1, at.Batch, NewSchedule(t.Setup.Config).At(at.Epoch, at.Batch-1, batches), convergeAdvice)
	}
	return nil
}

// finite is whether all elements of a tensor are.
func finite(x engine.Tensor) bool {
	switch d := x.Data.(type) {
	case []float32:
		for _, v := range d {
			if v-v != 0 { // NaN of both infinities and NaN
				return false
			}
		}
	case []float64:
		for _, v := range d {
			if v-v != 0 {
				return false
			}
		}
	}
	return true
}

// Run trains from the trainer's place to the end, telling tell after each step.
// tell may save the trainer. After some epochs the network is judged by the
// validation images (Config.ValidateEvery), before tell is told of the epoch's
// end. When ctx ends Run stops after the step in work and returns ctx's cause;
// after that, or after an error of the data, the trainer can be saved and run
// again, but not after ErrDiverged.
func (t *Trainer) Run(ctx context.Context, tell func(Progress)) error {
	c := t.Setup.Config
	loader, err := t.Setup.Loader(t.Setup.Train, c.Batch, true)
	if err != nil {
		return err
	}
	schedule, watch := NewSchedule(c), newDiagnosis(t.Setup)
	judge := newValidator(t)
	net := t.Setup.Net
	shape := graph.Shape{t.Setup.Method.Views * c.Batch, net.ImageHeight, net.ImageWidth, net.ImageChannels}
	backbone := fmt.Sprint(OutputExit, len(net.Exits))
	var targets []float32
	start := time.Now()
	p := Progress{Epochs: c.Epochs, Batches: t.Batches()}
	if t.Batch > p.Batches {
		return fmt.Errorf("the run stands at step %d of an epoch, but an epoch has %d: the training images are not those it began with", t.Batch, p.Batches)
	}
	// done notes what is known after a step and, at an epoch's end, closes it.
	done := func() error {
		p.MeanLoss = t.LossSum / float64(t.Batch)
		if t.Setup.Method.OneStage() {
			top1 := t.Hits / float64(t.Batch*c.Batch)
			p.Top1 = &top1
		}
		p.EpochTook, p.EpochWaited, p.Waited = t.Took, t.State.Waited, loader.Waited()
		p.ImagesPerSecond = float64(t.Batch*c.Batch) / t.Took.Seconds()
		if p.EpochDone = t.Batch == p.Batches; p.EpochDone {
			if err := t.Finite(); err != nil { // no later loss need see what the last update did
				return err
			}
			v, err := judge.after(ctx, t.Epoch+1)
			if err != nil {
				return err
			}
			p.Exits, p.Validation = t.Exits, v
			if p.Improved = v != nil && (t.Best == nil || v.Score > t.Best.Score); p.Improved {
				t.Best = &Best{t.Epoch + 1, v.Score}
			}
			t.State = State{Place: Place{Epoch: t.Epoch + 1}, Best: t.Best}
		}
		p.Place, p.Elapsed = t.Place, time.Since(start)
		watch.step(p)
		if p.EpochDone {
			p.Warnings = append(p.Warnings, watch.epoch(p)...)
		}
		if tell != nil {
			tell(p)
		}
		p.Exits, p.Validation, p.Improved, p.Warnings = nil, nil, false, nil
		return nil
	}
	for t.Epoch < c.Epochs {
		if t.Batch == p.Batches { // stopped before it was judged
			p.Rate = schedule.At(t.Epoch, t.Batch-1, p.Batches)
			if err := done(); err != nil {
				return err
			}
			continue
		}
		last, waited := time.Now(), loader.Waited()
		for b, err := range loader.Epoch(ctx, t.Epoch, t.Batch) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return data.SeeCheck(c.Data, err)
			}
			p.Rate = schedule.At(t.Epoch, t.Batch, p.Batches)
			mix := t.Setup.Mix(t.Place)
			labels := t.Setup.labels(b, mix, &targets)
			out, err := t.step.Run(map[string]engine.Tensor{
				InputImages: {Shape: shape, Data: b.Images},
				InputLabels: labels,
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
			if t.Batch++; t.Batch == p.Batches {
				t.Exits = watch.health(out, b.Labels)
			}
			t.LossSum += p.Loss
			if t.Setup.Method.OneStage() {
				t.Hits += hits(out[backbone], b.Labels, mix)
			}
			p.Steps++
			p.Images += c.Batch
			now, w := time.Now(), loader.Waited()
			t.Took, t.State.Waited = t.Took+now.Sub(last), t.State.Waited+w-waited
			last, waited = now, w
			if err := done(); err != nil {
				return err
			}
			if ctx.Err() != nil && t.Epoch < c.Epochs {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}
