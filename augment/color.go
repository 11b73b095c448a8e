package augment

import "selfcon/internal/pixels"

// kernels are the inner loops.
var kernels = pixels.Best()

// adjustment is one of the operations of ColorJitter, numbered as there.
type adjustment uint8

const (
	brightness adjustment = iota
	contrast
	saturation
	hue
)

// adjust is an adjustment and its factor: ≥ 0 and 1 for no change; for hue, a
// part of the colour circle in [−0.5, 0.5].
type adjust struct {
	kind   adjustment
	factor float64
}

// apply changes pixels in place. On a grey image (ch = 1) saturation and hue
// change nothing, as in torchvision.
// Source: torchvision _functional_pil.adjust_brightness, adjust_contrast,
// adjust_saturation, adjust_hue; Pillow, src/PIL/ImageEnhance.py.
func (a adjust) apply(pix []uint8, ch int) {
	switch {
	case a.kind == brightness:
		kernels.BlendWith(pix, 0, float32(a.factor))
	case a.kind == contrast:
		kernels.BlendWith(pix, meanGrey(pix, ch), float32(a.factor))
	case ch == 1:
	case a.kind == saturation:
		kernels.Saturate(pix, float32(a.factor))
	default:
		// The shift is factor·255 cut off to an integer, modulo 256.
		kernels.TurnHue(pix, uint8(int32(a.factor*255)))
	}
}

// meanGrey is the mean of convert("L"), rounded: int(mean + 0.5).
// Source: Pillow, ImageEnhance.Contrast, ImageStat.Stat.mean.
func meanGrey(pix []uint8, ch int) uint8 {
	sum := 0
	if ch == 3 {
		sum = kernels.GreySum(pix)
	} else {
		for _, v := range pix {
			sum += int(v)
		}
	}
	return uint8(float64(sum)/float64(len(pix)/ch) + 0.5)
}
