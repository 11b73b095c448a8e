package train

import (
	"context"
	"fmt"
	"math"

	"selfcon/augment"
	"selfcon/config"
	"selfcon/data"
	"selfcon/loss"
	"selfcon/model"
)

// Setup is what a configuration and its data determine: everything that
// training, probing and predicting share.
type Setup struct {
	Config config.Run // resolved: image size, exits, mean and deviation filled in
	Method loss.Method
	Net    *model.Network
	// Train is what the network may see; Val is held out of it (or the data's
	// own validation split), to choose by; Test is for the last word, nil if the
	// data has none.
	Train, Val, Test data.Dataset
	Data             data.Splits // as opened, before images were held or left out
	Classes          []string
	Notes            []string // what a person should know
}

// statImages is how many training images measure the mean and deviation of
// data that they are not known for.
const statImages = 2000

// maxDefaultImage bounds the image size that is chosen when none is asked for.
const maxDefaultImage = 64

// NewSetup opens the data and resolves the configuration. Errors are
// *config.Error (a setting), *data.SpecError (the name of the data) or
// *data.Error (bad data).
func NewSetup(c config.Run) (*Setup, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c, _ = c.Plain()
	splits, _, err := OpenData(context.Background(), c, nil)
	if err != nil {
		return nil, err
	}
	s := &Setup{Data: splits, Train: splits.Train, Val: splits.Val, Test: splits.Test, Classes: splits.Train.Classes(), Notes: splits.Notes}
	if len(s.Classes) < 2 {
		return nil, &data.Error{Path: c.Data, Reason: fmt.Sprintf("%d class; at least 2 are needed to tell apart", len(s.Classes))}
	}
	if s.Val == nil && c.ValFraction > 0 {
		s.Train, s.Val = data.HoldOut(s.Train, c.ValFraction, c.Seed)
		if s.Val.Len() == 0 {
			s.Val = nil
		}
	}
	switch {
	case c.PerClass > 0:
		s.Train = data.PerClass(s.Train, c.PerClass, c.Seed)
	case c.Fraction > 0 && c.Fraction < 1:
		s.Train = data.Fraction(s.Train, c.Fraction, c.Seed)
	}
	if err := s.resolve(&c); err != nil {
		return nil, err
	}
	if s.Method, err = c.LossMethod(); err != nil {
		return nil, err
	}
	if s.Net, err = model.New(c.Model); err != nil {
		return nil, &config.Error{Setting: "model", Reason: err.Error()}
	}
	if _, err := s.Net.Costs(); err != nil {
		return nil, &config.Error{Setting: "image", Reason: fmt.Sprintf("%d: too small for %s: %v", c.Model.ImageHeight, c.Model.Arch, err)}
	}
	s.Net.Seed, s.Net.Frozen = c.Seed, c.Freeze
	switch {
	case c.ValidateEvery > 0 && s.Val == nil:
		return nil, &config.Error{Setting: "validate_every", Reason: fmt.Sprintf("%d, but there are no validation images: the data needs a validation split, or val_fraction holds some out", c.ValidateEvery)}
	case s.Val == nil:
		c.ValidateEvery = 0
	case c.ValidateEvery < 0:
		c.ValidateEvery = s.validateEvery(c.Epochs)
	}
	c.Model = s.Net.Config
	if c.EvalResize > 0 && c.EvalResize < c.Image {
		return nil, &config.Error{Setting: "eval_resize", Reason: fmt.Sprintf("%d: the shorter side must not be below %d, the side of the images that are cut out of it", c.EvalResize, c.Image)}
	}
	s.Config = c
	if steps := c.Epochs * (s.Train.Len() / c.Batch); c.Average > 0 && steps > 0 {
		if left := math.Pow(c.Average, float64(steps)); left > oldWeights {
			s.Notes = append(s.Notes, fmt.Sprintf("average %g: after the %d steps of this run %.0f %% of the average, which it is judged by, are still the weights that it begins with; try %.2g or less, or more epochs",
				c.Average, steps, 100*left, math.Pow(oldWeights, 1/float64(steps))))
		}
	}
	if c.Schedule == "cosine" && c.Epochs <= shortCosine {
		part := "all of this run trains"
		if c.Epochs > 1 {
			part = "the second half of this run trains"
		}
		schedule := NewSchedule(c)
		s.Notes = append(s.Notes, fmt.Sprintf("epochs %d: a cosine schedule falls from epoch to epoch, as in the paper's code, to a thousandth of the learning rate in the last: %s at %.3g, not at %.3g; try --schedule constant, or more epochs",
			c.Epochs, part, schedule.At(c.Epochs-1, 0, 1), schedule.Rate))
	}
	return s, nil
}

// shortCosine is how many epochs are few enough for the end of a cosine, which is
// an epoch, to be worth a note.
const shortCosine = 2

// oldWeights is the share of the first weights in a moving average at a run's end
// that is worth a note.
const oldWeights = 0.1

// OpenData opens a configuration's data, through its cache if it has one: the
// copy is made now, with progress told, if there is none yet.
func OpenData(ctx context.Context, c config.Run, progress func(done, total int)) (s data.Splits, made bool, err error) {
	opt := data.Options{Channels: c.Model.ImageChannels, Order: c.ClassOrder, Classes: c.ClassList}
	if c.Cache == "" {
		s, err = data.Open(c.Data, opt)
		return s, false, err
	}
	pack := data.PackOptions{Workers: c.Workers, Progress: progress}
	form := ""
	if c.CacheSide > 0 {
		form = fmt.Sprintf("short%d", c.CacheSide)
		pack.Resize = func(im data.Image) (data.Image, error) { return augment.Shorter(im, c.CacheSide) }
	}
	return data.Cached(ctx, c.Cache, c.Data, opt, form, pack)
}

// Counts are the sizes of the splits.
type Counts struct {
	Train int `json:"train"`
	Val   int `json:"val"`
	Test  int `json:"test"`
}

// Counts are the sizes of the splits.
func (s *Setup) Counts() Counts {
	n := Counts{Train: s.Train.Len()}
	if s.Val != nil {
		n.Val = s.Val.Len()
	}
	if s.Test != nil {
		n.Test = s.Test.Len()
	}
	return n
}

// commonSide is the commonest longer side of up to 100 images spread over a
// set, the larger of equals, at most maxDefaultImage.
func commonSide(ds data.Dataset) (int, error) {
	count := map[int]int{}
	best := 0
	n := min(100, ds.Len())
	for i := range n {
		im, err := ds.Image(i * ds.Len() / n)
		if err != nil {
			return 0, err
		}
		side := min(max(im.Height, im.Width), maxDefaultImage)
		count[side]++
		if count[side] > count[best] || count[side] == count[best] && side > best {
			best = side
		}
	}
	return best, nil
}

// resolve fills in what depends on the data.
func (s *Setup) resolve(c *config.Run) error {
	first, err := s.Train.Image(0)
	if err != nil {
		return data.SeeCheck(c.Data, err)
	}
	facts, known := data.FactsOf(c.Data)
	c.Model.ImageChannels = first.Channels
	if err := c.CheckPixels(first.Channels); err != nil {
		return err
	}
	if c.Image == 0 {
		if c.Image, err = commonSide(s.Train); err != nil {
			return data.SeeCheck(c.Data, err)
		}
	}
	if c.Epochs == 0 {
		steps := max(1, s.Train.Len()/c.Batch)
		c.Epochs = max(config.MinEpochs, (config.MinSteps+steps-1)/steps)
		if err := c.CheckLength(); err != nil {
			return err
		}
	}
	c.Model.ImageHeight, c.Model.ImageWidth = c.Image, c.Image
	switch {
	case c.Mean != nil:
	case known && len(facts.Mean) == first.Channels:
		c.Mean, c.Std = facts.Mean, facts.Std
	default:
		if c.Mean, c.Std, err = data.Stats(s.Train, statImages); err != nil {
			return data.SeeCheck(c.Data, err)
		}
		for i := range c.Std {
			c.Std[i] = math.Max(c.Std[i], 1.0/255) // images of one colour
		}
	}
	return nil
}

// Transform is the augmentation of a preset, strong, weak or none.
func (s *Setup) Transform(preset string) (data.Transform, error) {
	c := s.Config
	h, w := c.Model.ImageHeight, c.Model.ImageWidth
	var a augment.Config
	switch preset {
	case "strong":
		a = augment.Strong(h, w, c.Mean, c.Std)
	case "weak":
		a = augment.Weak(h, w, c.Mean, c.Std)
	default:
		a = augment.Eval(h, w, c.Mean, c.Std)
		if side := c.EvalSide(); side > max(h, w) {
			a.Resize = side
		}
	}
	if preset == "strong" || preset == "weak" {
		a.CropMin = c.CropMin
		if !c.Flip {
			a.Flip = 0
		}
		if len(c.RandAugment) == 2 {
			a.RandAugment = augment.RandAugment{N: c.RandAugment[0], Magnitude: c.RandAugment[1]}
		}
		a.AutoAugment, a.Blur.Prob, a.Solarize, a.Erase = c.AutoAugment, c.Blur, c.Solarize, c.Erase
	}
	t, err := augment.New(a)
	if err != nil {
		return nil, &config.Error{Setting: "augment", Reason: err.Error()}
	}
	return t, nil
}

// Loader gives a split's images: augmented, shuffled and in full batches for
// training; resized and their centre cut out (EvalResize), in order, every one
// for evaluation.
func (s *Setup) Loader(ds data.Dataset, batch int, training bool) (*data.Loader, error) {
	c := s.Config
	preset, views := "none", 1
	if training {
		preset, views = c.Augment, s.Method.Views
	}
	t, err := s.Transform(preset)
	if err != nil {
		return nil, err
	}
	l := data.LoaderConfig{
		Dataset: ds, Transform: t, Batch: batch, Views: views,
		Height: c.Model.ImageHeight, Width: c.Model.ImageWidth, Channels: c.Model.ImageChannels,
		Shuffle: training, DropLast: training, Seed: c.Seed, Workers: c.Workers,
	}
	switch {
	case !training:
	case c.Sampling == "weighted":
		l.Weights = data.ClassWeights(ds)
	case c.Sampling == "balanced":
		if l.Balanced = c.ClassImages; l.Balanced == 0 {
			if l.Balanced, err = data.BalancedImages(ds, batch); err != nil {
				return nil, &config.Error{Setting: "sampling", Reason: "balanced: " + err.Error()}
			}
		}
	}
	loader, err := data.NewLoader(l)
	if err != nil && l.Balanced > 0 {
		return nil, &config.Error{Setting: "sampling", Reason: err.Error()}
	}
	return loader, err
}
