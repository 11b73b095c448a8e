package train

import (
	"context"
	"errors"
	"fmt"
	"time"

	"selfcon/data"
	"selfcon/engine"
	"selfcon/eval"
)

// Validation is how well the network does on the validation images, part-way
// through a training. The test images have no part in it.
type Validation struct {
	Measure string      `json:"measure"` // knn: nearest neighbours of the features; classifier: the classifiers in training
	Images  int         `json:"images"`  // judged
	Exits   []ExitScore `json:"exits"`
	Score   float64     `json:"score"` // top-1 of the best exit, which the best checkpoint is chosen by
	Seconds float64     `json:"seconds"`
}

// ExitScore is the top-1 accuracy of an exit, from 0 to 1.
type ExitScore struct {
	Name string  `json:"name"`
	Top1 float64 `json:"top1"`
}

// What Validation.Measure can be.
const (
	MeasureKNN        = "knn"
	MeasureClassifier = "classifier"
)

// How many images a validation looks at, drawn class by class, and what it may
// cost where it is not said how often it is made.
const (
	validImages   = 2000
	neighbourKeys = 5000 // training images among which the neighbours are sought
	validBatch    = 100
	saneImages    = 8    // of a run that is not validated
	validShare    = 0.05 // of the time between two validations
	stepCost      = 3    // of a step, in forward passes: the backward pass takes two
)

// some is at most n of the images of ds, class by class.
func some(ds data.Dataset, n int, seed uint64) data.Dataset {
	if ds.Len() <= n {
		return ds
	}
	return data.Fraction(ds, float64(n)/float64(ds.Len()), seed)
}

// validateEvery is how many epochs lie between validations, where that is left
// to us: a tenth of all, or as many as make its price bearable.
func (s *Setup) validateEvery(epochs int) int {
	images := min(s.Val.Len(), validImages)
	if !s.Method.OneStage() {
		images += min(s.Train.Len(), neighbourKeys)
	}
	bearable := float64(images) / (validShare * stepCost * float64(s.Method.Views*s.Train.Len()))
	return min(max((epochs+9)/10, int(bearable)+1), epochs)
}

// validator judges a trainer's network by the validation images: methods with a
// classifier by that, others by the nearest neighbours of the features among
// those of training images. It changes nothing of the training: the network is
// run in evaluation mode, and its images come as they are.
type validator struct {
	t         *Trainer
	every     int // epochs; 0: never
	val, keys data.Dataset
}

func newValidator(t *Trainer) *validator {
	s := t.Setup
	v := &validator{t: t, every: s.Config.ValidateEvery}
	if v.every == 0 {
		return v
	}
	v.val = some(s.Val, validImages, s.Config.Seed)
	if !s.Method.OneStage() {
		v.keys = some(s.Train, neighbourKeys, s.Config.Seed)
	}
	return v
}

// after judges the network after so many epochs, if it is to be judged then:
// after every so many, and at the end.
// A network whose features are not finite, though the training's batch norms may
// hide it, is an error that wraps ErrDiverged; where nothing is judged, some
// images are looked at for that at the end.
func (v *validator) after(ctx context.Context, epoch int) (*Validation, error) {
	if v.every == 0 && epoch == v.t.Setup.Config.Epochs {
		return nil, v.failed(ctx, "the network", epoch, v.t.Averaged(func() error { return v.sane(ctx) }))
	}
	if v.every == 0 || epoch%v.every != 0 && epoch != v.t.Setup.Config.Epochs {
		return nil, nil
	}
	start := time.Now()
	out := &Validation{Measure: MeasureKNN, Images: v.val.Len()}
	judge := v.neighbours
	if v.t.Setup.Method.OneStage() {
		out.Measure, judge = MeasureClassifier, v.classifiers
	}
	err := v.t.Averaged(func() (err error) {
		out.Exits, err = judge(ctx)
		return err
	})
	if err := v.failed(ctx, "validation", epoch, err); err != nil {
		return nil, err
	}
	for _, x := range out.Exits {
		out.Score = max(out.Score, x.Top1)
	}
	out.Seconds = time.Since(start).Seconds()
	return out, nil
}

// failed is the error of what was done after an epoch.
func (v *validator) failed(ctx context.Context, what string, epoch int, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, eval.ErrNotFinite):
		return fmt.Errorf("%w (%s after epoch %d: %w): %s", ErrDiverged, what, epoch, err, convergeAdvice)
	case err != nil:
		return fmt.Errorf("%s after epoch %d: %w", what, epoch, data.SeeCheck(v.t.Setup.Config.Data, err))
	}
	return nil
}

// sane says whether the network gives finite numbers in evaluation mode, by some
// training images.
func (v *validator) sane(ctx context.Context) error {
	s := v.t.Setup
	n := min(saneImages, s.Train.Len())
	var first []int
	for i := range n {
		first = append(first, i)
	}
	l, err := s.Loader(data.Subset(s.Train, first), n, false)
	if err != nil {
		return err
	}
	var f *eval.Features
	if s.Method.OneStage() {
		f, err = eval.ExtractLogits(ctx, v.t.Engine, s.Net, len(s.Classes), l.Epoch(ctx, 0, 0), n, n, nil)
	} else {
		f, err = eval.Extract(ctx, v.t.Engine, s.Net, l.Epoch(ctx, 0, 0), n, n, nil)
	}
	if err != nil {
		return err
	}
	return f.Finite("training")
}

// neighbours judges the features of every exit.
func (v *validator) neighbours(ctx context.Context) ([]ExitScore, error) {
	s := v.t.Setup
	features := func(ds data.Dataset) (*eval.Features, error) {
		batch := min(validBatch, ds.Len())
		l, err := s.Loader(ds, batch, false)
		if err != nil {
			return nil, err
		}
		return eval.Extract(ctx, v.t.Engine, s.Net, l.Epoch(ctx, 0, 0), ds.Len(), batch, nil)
	}
	keys, err := features(v.keys)
	if err != nil {
		return nil, err
	}
	val, err := features(v.val)
	if err != nil {
		return nil, err
	}
	// As many neighbours as there are images of a class among the keys.
	c := eval.DefaultKNN()
	c.K = min(c.K, max(1, v.keys.Len()/len(s.Classes)))
	table, err := eval.KNN(ctx, v.t.Engine, keys, val, len(s.Classes), c, eval.DefaultEnsemble(), nil)
	if err != nil {
		return nil, err
	}
	var out []ExitScore
	for _, row := range table[:len(val.Names)] { // without the ensemble
		out = append(out, ExitScore{row.Name, row.Top1})
	}
	return out, nil
}

// classifiers judges the logits of every exit.
func (v *validator) classifiers(ctx context.Context) ([]ExitScore, error) {
	s := v.t.Setup
	c := NewStepConfig(s.Config, s.Method, len(s.Classes))
	c.Method.Views = 1
	batch := min(validBatch, v.val.Len())
	l, err := s.Loader(v.val, batch, false)
	if err != nil {
		return nil, err
	}
	programs := map[int]engine.Executable{} // by their number of images: the last batch has fewer
	var out []ExitScore
	for _, name := range s.Net.ExitNames() {
		out = append(out, ExitScore{Name: name})
	}
	for b, err := range l.Epoch(ctx, 0, 0) {
		if err != nil {
			return nil, err
		}
		c.Batch = len(b.Labels)
		if programs[c.Batch] == nil {
			p, err := NewForward(s.Net, c)
			if err != nil {
				return nil, err
			}
			if programs[c.Batch], err = v.t.Engine.Compile(p); err != nil {
				return nil, err
			}
		}
		logits, err := programs[c.Batch].Run(map[string]engine.Tensor{
			InputImages: engine.Float32(b.Images, c.Batch, s.Net.ImageHeight, s.Net.ImageWidth, s.Net.ImageChannels),
		})
		if err != nil {
			return nil, err
		}
		for i := range out {
			if !finite(logits[fmt.Sprint(OutputExit, i)]) {
				return nil, fmt.Errorf("the logits of %s are not finite: %w", out[i].Name, eval.ErrNotFinite)
			}
			rows, n := logits[fmt.Sprint(OutputExit, i)].Float32s(), len(s.Classes)
			for k, label := range b.Labels {
				if eval.Largest(rows[k*n:][:n]) == int(label) {
					out[i].Top1++
				}
			}
		}
	}
	for i := range out {
		out[i].Top1 /= float64(v.val.Len())
	}
	return out, nil
}

// Averaged calls f while the variables hold their moving averages, where the
// run keeps them: those are what it is judged by.
func (t *Trainer) Averaged(f func() error) (err error) {
	if t.Setup.Config.Average == 0 {
		return f()
	}
	saved := map[string]engine.Tensor{}
	defer func() {
		for name, value := range saved {
			if e := t.Engine.Write(name, value); err == nil {
				err = e
			}
		}
	}()
	for _, v := range t.Variables {
		if !averaged(v) {
			continue
		}
		a, err := t.Engine.Read(AverageName(v.Name))
		if err != nil {
			continue // it never changes
		}
		value, err := t.Engine.Read(v.Name)
		if err != nil {
			return err
		}
		saved[v.Name] = value
		if err := t.Engine.Write(v.Name, a); err != nil {
			return err
		}
	}
	return f()
}
