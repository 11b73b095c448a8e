// Package augment turns an image into the float32 input of a network: random
// crops, flips and colour changes for training, a plain resize for evaluation.
//
// Every operation is defined by torchvision's transform of the same name
// applied to a PIL image, and gives the same bytes: resampling, enhancement
// and colour conversion follow Pillow's C code (versions up to 12; see
// resample) down to its rounding. The random streams are Go's own. What
// random choices are made is separate from what they do to pixels: a
// transform first draws its parameters from a random stream (draw.go), then
// applies them, and the second half is a pure function.
//
// The order of operations is torchvision's usual one for contrastive learning:
//
//	RandomResizedCrop, or Resize and CenterCrop
//	RandomHorizontalFlip(p)
//	RandAugment(n, m), or AutoAugment(policy)
//	RandomApply([ColorJitter(brightness, contrast, saturation, hue)], p)
//	RandomGrayscale(p)
//	RandomApply([GaussianBlur(kernel, sigma)], p)
//	RandomSolarize(128, p)
//	ToTensor, Normalize(mean, std)
//	RandomErasing(p)
//
// Mixup and CutMix work on whole batches after that.
package augment

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"selfcon/data"
	"selfcon/internal/pixels"
	"selfcon/internal/suggest"
)

// Config describes a transform. It is plain data: start from a preset
// (Strong, Weak, Eval), change what differs, and hand it to New.
type Config struct {
	// Height and Width are the size of the result, in pixels.
	Height, Width int
	// Channels of the result: 3 (RGB) or 1 (grey). An image with another
	// number is converted first: grey is repeated, RGB becomes
	// PIL's convert("L").
	Channels int

	// CropMin > 0 asks for RandomResizedCrop((Height, Width),
	// scale=(CropMin, 1), ratio=(3/4, 4/3)). 0 asks for Resize and CenterCrop.
	CropMin float64
	// Resize is the length of the image's shorter side before the centre
	// crop (256 for ImageNet's crops of 224). 0 means the longer of Height
	// and Width, and that an image of exactly Height×Width stays as it is.
	// It has no meaning, and must be 0, with CropMin > 0.
	Resize int

	// Flip is the probability of a horizontal flip.
	Flip float64
	// JitterProb is the probability that Jitter is applied.
	JitterProb float64
	Jitter     Jitter
	// Gray is the probability that an RGB result loses its colour
	// (R = G = B = PIL's convert("L")).
	Gray float64

	// RandAugment and AutoAugment (one of AutoPolicies, or empty) come after the
	// flip; at most one of them is on.
	RandAugment RandAugment
	AutoAugment string
	// Blur comes after Gray.
	Blur Blur
	// Solarize is the probability that bytes from 128 on are inverted.
	Solarize float64
	// Erase is the probability that a rectangle of 2 to 33 % of the area is set to
	// the mean.
	Erase float64

	// Mean and Std, one a channel, in units where white is 1: a byte x becomes
	// (x/255 − mean)/std, in float32.
	Mean, Std []float64
}

// Jitter is torchvision's ColorJitter: in random order, brightness, contrast
// and saturation are multiplied by factors uniform in [max(0, 1−b), 1+b], and
// the hue is turned by a part of the circle uniform in [−Hue, Hue]. A zero
// field leaves its operation out.
type Jitter struct {
	Brightness, Contrast, Saturation float64 // ≥ 0
	Hue                              float64 // in [0, 0.5]
}

// Strong is the paper's augmentation for representation learning:
// RandomResizedCrop(0.2–1), flip, ColorJitter(.4, .4, .4, .1) with probability
// .8, grayscale with probability .2. There are as many channels as means.
func Strong(height, width int, mean, std []float64) Config {
	c := Weak(height, width, mean, std)
	c.JitterProb = 0.8
	c.Jitter = Jitter{Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1}
	c.Gray = 0.2
	return c
}

// Weak is the paper's augmentation for linear probes and one-stage training:
// RandomResizedCrop(0.2–1) and flip.
func Weak(height, width int, mean, std []float64) Config {
	c := Eval(height, width, mean, std)
	c.CropMin = 0.2
	c.Flip = 0.5
	return c
}

// Eval changes an image's size, where it differs, by Resize and CenterCrop,
// and normalises. It draws nothing: its transform takes a nil random stream.
func Eval(height, width int, mean, std []float64) Config {
	return Config{Height: height, Width: width, Channels: len(mean), Mean: mean, Std: std}
}

// Validate says everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("augment: "+format, a...)) }

	if c.Height < 1 || c.Width < 1 {
		bad("size %d×%d (height×width): both must be at least 1", c.Height, c.Width)
	}
	if c.Channels != 1 && c.Channels != 3 {
		bad("%d channels: must be 1 (grey) or 3 (RGB)", c.Channels)
	}
	if !(c.CropMin >= 0 && c.CropMin <= 1) {
		bad("CropMin %v: the smallest crop is a part of the image's area, in (0, 1]; 0 means no random crop", c.CropMin)
	}
	switch long := max(c.Height, c.Width); {
	case c.Resize != 0 && c.CropMin > 0:
		bad("Resize %d with CropMin %v: a random crop is resized to %d×%d; set one of them to 0", c.Resize, c.CropMin, c.Height, c.Width)
	case c.Resize != 0 && c.Resize < long:
		bad("Resize %d: the image's shorter side must not be below %d, the crop's longer side; 0 means %d", c.Resize, long, long)
	}
	for _, p := range []struct {
		name  string
		value float64
	}{{"Flip", c.Flip}, {"JitterProb", c.JitterProb}, {"Gray", c.Gray}, {"Blur.Prob", c.Blur.Prob}, {"Solarize", c.Solarize}, {"Erase", c.Erase}} {
		if !(p.value >= 0 && p.value <= 1) {
			bad("%s %v: a probability must be in [0, 1]", p.name, p.value)
		}
	}
	for _, f := range []struct {
		name  string
		value float64
	}{{"Brightness", c.Jitter.Brightness}, {"Contrast", c.Jitter.Contrast}, {"Saturation", c.Jitter.Saturation}} {
		if !(f.value >= 0 && f.value <= maxJitter) {
			bad("Jitter.%s %v: must be in [0, %d]", f.name, f.value, maxJitter)
		}
	}
	if !(c.Jitter.Hue >= 0 && c.Jitter.Hue <= 0.5) {
		bad("Jitter.Hue %v: a part of the colour circle, must be in [0, 0.5]", c.Jitter.Hue)
	}
	if err := c.RandAugment.Check(); err != nil {
		bad("RandAugment of %w", err)
	}
	if _, ok := autoPolicies[c.AutoAugment]; c.AutoAugment != "" && !ok {
		bad("unknown AutoAugment policy %q%s", c.AutoAugment, suggest.Among(c.AutoAugment, AutoPolicies()))
	}
	if c.AutoAugment != "" && c.RandAugment.N > 0 {
		bad("RandAugment and AutoAugment: choose one")
	}
	if c.Blur.Prob > 0 {
		if lo, hi := c.Blur.sigmas(); !(lo > 0 && hi >= lo) || math.IsInf(hi, 0) {
			bad("Blur of deviation %v to %v: must be positive and in order", lo, hi)
		}
		if k := c.Blur.width(c.Height, c.Width); k%2 == 0 || k > 2*min(c.Height, c.Width)-1 {
			bad("Blur.Kernel %d: must be odd and at most %d, twice the image's shorter side less one", k, 2*min(c.Height, c.Width)-1)
		}
	}
	if len(c.Mean) != c.Channels {
		bad("%d means for %d channels: need one a channel", len(c.Mean), c.Channels)
	}
	if len(c.Std) != c.Channels {
		bad("%d standard deviations for %d channels: need one a channel", len(c.Std), c.Channels)
	}
	for i, m := range c.Mean {
		if math.IsNaN(m) || math.IsInf(m, 0) {
			bad("mean of channel %d is %v: must be finite", i, m)
		}
	}
	for i, s := range c.Std {
		if !(float32(s) > 0) || math.IsInf(s, 0) {
			bad("standard deviation of channel %d is %v: must be positive and finite", i, s)
		}
	}
	return errors.Join(errs...)
}

// maxJitter keeps factor × 255 far inside an int32, where a float becomes a
// byte; a factor above 255 makes every non-zero difference saturate anyway.
const maxJitter = 1000

// random reports whether the transform draws anything.
func (c Config) random() bool {
	return c.CropMin > 0 || c.Flip > 0 || c.JitterProb > 0 || c.Gray > 0 || c.RandAugment.N > 0 || c.AutoAugment != "" ||
		c.Blur.Prob > 0 || c.Solarize > 0 || c.Erase > 0
}

// New returns the transform that c describes. It writes one image as
// Height·Width·Channels floats, rows from top to bottom, channels interleaved
// (HWC), into dst, and takes its choices from r, in the order that draw
// documents: an equal stream gives an equal result. It never writes to the
// image. r may be nil where nothing is random.
//
// The function is safe for concurrent use, each caller with its own r, and
// allocates nothing once its pooled scratch memory has grown to the images'
// size.
func New(c Config) (func(dst []float32, im data.Image, r *rand.Rand) error, error) {
	t, err := newTransform(c)
	if err != nil {
		return nil, err
	}
	return t.run, nil
}

type transform struct {
	Config
	norm *pixels.Norm
	pool sync.Pool // of *scratch
}

func newTransform(c Config) (*transform, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	t := &transform{Config: c}
	t.pool.New = func() any { return new(scratch) }
	t.norm = kernels.NewNorm(c.Mean, c.Std)
	return t, nil
}

func (t *transform) run(dst []float32, im data.Image, r *rand.Rand) error {
	if im.Width < 1 || im.Height < 1 || (im.Channels != 1 && im.Channels != 3) {
		return fmt.Errorf("augment: image of %d×%d (height×width) with %d channels: need at least one pixel, and 1 or 3 channels", im.Height, im.Width, im.Channels)
	}
	if want := im.Width * im.Height * im.Channels; len(im.Pix) != want {
		return fmt.Errorf("augment: image of %d×%d (height×width) with %d channels has %d bytes, want %d", im.Height, im.Width, im.Channels, len(im.Pix), want)
	}
	if want := t.Height * t.Width * t.Channels; len(dst) != want {
		return fmt.Errorf("augment: room for %d values, need %d (height %d × width %d × channels %d)", len(dst), want, t.Height, t.Width, t.Channels)
	}
	if r == nil && t.random() {
		return errors.New("augment: a random transform needs a random stream, got nil")
	}
	s := t.pool.Get().(*scratch)
	p := t.draw(im.Height, im.Width, s.ops, r)
	t.applyIn(s, dst, im, p)
	s.ops = p.policy[:0]
	t.pool.Put(s)
	return nil
}

// scratch is the memory of one run.
type scratch struct {
	src  []uint8 // the crop in another number of channels
	pix  []uint8 // the image at its final size
	tmp  []uint8 // between the two passes of the resampling
	cols filter
	rows filter

	ops    []policyOp
	moved  []uint8   // an image that was moved or smoothed
	window []float32 // the blur's weights
	wide   []float32 // a row with its mirrored ends
	rowsF  []float32 // an image whose rows are blurred
}

// grow returns s with length n, its contents undefined.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// apply does to the image what p says. The pixel work is done with as few
// channels as carry information: a grey image stays at one channel until it
// is written, which changes nothing, because every operation maps R = G = B to
// R = G = B as it maps a grey image. The flip is done while resampling.
func (t *transform) apply(dst []float32, im data.Image, p params) {
	s := t.pool.Get().(*scratch)
	t.applyIn(s, dst, im, p)
	t.pool.Put(s)
}

func (t *transform) applyIn(s *scratch, dst []float32, im data.Image, p params) {
	src := plane{pix: im.Pix, stride: im.Width * im.Channels, width: im.Width, height: im.Height, ch: im.Channels}
	src = src.sub(p.crop)
	if src.ch == 3 && t.Channels == 1 {
		s.src = grow(s.src, src.width*src.height)
		for y := range src.height {
			kernels.ToGrey(s.src[y*src.width:(y+1)*src.width], src.row(y))
		}
		src = plane{pix: s.src, stride: src.width, width: src.width, height: src.height, ch: 1}
	}

	s.pix = grow(s.pix, t.Height*t.Width*src.ch)
	s.resample(s.pix, src, p.resize, p.window, p.flip)

	pix, ch := s.pix, src.ch
	for _, op := range p.policy {
		s.applyOp(op, pix, t.Width, t.Height, ch)
	}
	for _, op := range p.jitter[:p.ops] {
		op.apply(pix, ch)
	}
	if p.gray && ch == 3 {
		kernels.ToGrey(pix, pix)
		pix, ch = pix[:t.Height*t.Width], 1
	}
	if p.sigma > 0 {
		s.blur(pix, t.Width, t.Height, ch, t.Blur.width(t.Height, t.Width), p.sigma)
	}
	if p.solarize {
		solarize(pix, 128)
	}
	kernels.Normalize(dst, t.Channels, pix, ch, t.norm)
	erase(dst, t.Width, t.Channels, p.erase)
}

// mirrorRows turns every row around, in place.
func mirrorRows(pix []uint8, w, ch int) {
	for ; len(pix) > 0; pix = pix[w*ch:] {
		for a, b := 0, (w-1)*ch; a < b; a, b = a+ch, b-ch {
			for c := range ch {
				pix[a+c], pix[b+c] = pix[b+c], pix[a+c]
			}
		}
	}
}
