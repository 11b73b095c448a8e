package augment

import (
	"math"
	"math/rand/v2"
)

// rect is a part of an image, in pixels.
type rect struct{ top, left, height, width int }

// size of an image, in pixels.
type size struct{ height, width int }

// params is what is done to one image.
type params struct {
	crop   rect // of the image
	resize size // the size that the crop is resampled to
	window rect // the part of the resampled crop that is kept
	flip   bool
	jitter [4]adjust // the first ops of them, in order
	ops    int
	gray   bool

	policy   []policyOp
	sigma    float64 // of the blur; 0: none
	solarize bool
	erase    rect // empty: none
}

// The range of a random crop's aspect ratio (width to height), and its logarithms.
const (
	ratioMin, ratioMax = 3.0 / 4, 4.0 / 3
)

var logRatioMin, logRatioMax = math.Log(ratioMin), math.Log(ratioMax)

// draw chooses the parameters for an image of the given size. The stream is
// read in this order, and a stage that is off (no random crop, probability 0,
// jitter field 0) reads nothing:
//
//	crop:   up to 10 times a uniform area and a uniform logarithm of the aspect
//	        ratio; when they fit in the image: top, left
//	flip:   one uniform number, flipped where it is below the probability
//	jitter: one uniform number, applied where it is below the probability; then
//	        three numbers for the order (Fisher–Yates from the back), then the
//	        brightness, contrast, saturation and hue factors
//	gray:   one uniform number, grey where it is below the probability
//	policy: RandAugment's or AutoAugment's numbers (see there)
//	blur:   one uniform number, then the deviation
//	solarise, erase: one uniform number each; for erase then area, aspect, top, left
//
// What is read depends on the image's size, never on its pixels or channels.
func (c *Config) draw(height, width int, ops []policyOp, r *rand.Rand) params {
	var p params
	if c.CropMin > 0 {
		p.crop = randomCrop(height, width, c.CropMin, r)
		p.resize = size{c.Height, c.Width}
		p.window = rect{0, 0, c.Height, c.Width}
	} else {
		p.crop = rect{0, 0, height, width}
		p.resize, p.window = c.centre(height, width)
	}
	p.flip = chance(c.Flip, r)
	if chance(c.JitterProb, r) {
		p.jitter, p.ops = c.Jitter.draw(r)
	}
	p.gray = chance(c.Gray, r)
	p.policy = ops[:0]
	switch {
	case c.RandAugment.N > 0:
		p.policy = c.RandAugment.draw(p.policy, c.Height, c.Width, r)
	case c.AutoAugment != "":
		p.policy = drawAuto(p.policy, c.AutoAugment, c.Height, c.Width, r)
	}
	if chance(c.Blur.Prob, r) {
		lo, hi := c.Blur.sigmas()
		p.sigma = uniform(lo, hi, r)
	}
	p.solarize = chance(c.Solarize, r)
	if chance(c.Erase, r) {
		p.erase = randomErase(c.Height, c.Width, r)
	}
	return p
}

// chance is true with probability p.
func chance(p float64, r *rand.Rand) bool {
	return p > 0 && r.Float64() < p
}

// uniform is a number in [lo, hi). The conversion forbids a fused
// multiply-add, so that all machines draw the same.
func uniform(lo, hi float64, r *rand.Rand) float64 {
	return lo + float64((hi-lo)*r.Float64())
}

// randomCrop chooses a crop of at least the part minArea of an image's area:
//
//	10 times:
//		area   = height·width·uniform(minArea, 1)
//		aspect = exp(uniform(log 3/4, log 4/3))
//		w, h   = round(√(area·aspect)), round(√(area/aspect))    halves to even
//		if 0 < w ≤ width and 0 < h ≤ height: return it, its place uniform
//	return the largest crop in the centre with an aspect in [3/4, 4/3]
//
// Source: torchvision transforms.RandomResizedCrop.get_params.
func randomCrop(height, width int, minArea float64, r *rand.Rand) rect {
	full := float64(height) * float64(width)
	for range 10 {
		area := full * uniform(minArea, 1, r)
		aspect := math.Exp(uniform(logRatioMin, logRatioMax, r))
		w := int(math.RoundToEven(math.Sqrt(area * aspect)))
		h := int(math.RoundToEven(math.Sqrt(area / aspect)))
		if 0 < w && w <= width && 0 < h && h <= height {
			top := r.IntN(height - h + 1)
			left := r.IntN(width - w + 1)
			return rect{top, left, h, w}
		}
	}
	return centralCrop(height, width)
}

// centralCrop is the largest crop in the centre with an aspect ratio
// in [3/4, 4/3].
func centralCrop(height, width int) rect {
	w, h := width, height
	switch aspect := float64(width) / float64(height); {
	case aspect < ratioMin:
		h = int(math.RoundToEven(float64(w) / ratioMin))
	case aspect > ratioMax:
		w = int(math.RoundToEven(float64(h) * ratioMax))
	}
	return rect{(height - h) / 2, (width - w) / 2, h, w}
}

// centre gives the size after Resize, and the place of CenterCrop in it.
//
// Source: torchvision functional._compute_resized_output_size (the longer side
// is rounded down) and functional.center_crop (halves to even).
func (c *Config) centre(height, width int) (size, rect) {
	short := c.Resize
	if short == 0 {
		if height == c.Height && width == c.Width {
			return size{height, width}, rect{0, 0, height, width}
		}
		short = max(c.Height, c.Width)
	}
	// As Python's int(short * long / short): a product of integers, one division.
	to := size{short, short}
	if width <= height {
		to.height = int(float64(short*height) / float64(width))
	} else {
		to.width = int(float64(short*width) / float64(height))
	}
	top := int(math.RoundToEven(float64(to.height-c.Height) / 2))
	left := int(math.RoundToEven(float64(to.width-c.Width) / 2))
	return to, rect{top, left, c.Height, c.Width}
}

// draw chooses the order of the adjustments and their factors.
// Source: torchvision transforms.ColorJitter.get_params.
func (j Jitter) draw(r *rand.Rand) (ops [4]adjust, n int) {
	order := [4]adjustment{brightness, contrast, saturation, hue}
	for i := len(order) - 1; i > 0; i-- {
		k := r.IntN(i + 1)
		order[i], order[k] = order[k], order[i]
	}
	var factor [4]float64
	on := [4]bool{}
	for kind, b := range [...]float64{brightness: j.Brightness, contrast: j.Contrast, saturation: j.Saturation} {
		if b > 0 {
			on[kind], factor[kind] = true, uniform(max(0, 1-b), 1+b, r)
		}
	}
	if j.Hue > 0 {
		on[hue], factor[hue] = true, uniform(-j.Hue, j.Hue, r)
	}
	for _, kind := range order {
		if on[kind] {
			ops[n] = adjust{kind, factor[kind]}
			n++
		}
	}
	return ops, n
}
