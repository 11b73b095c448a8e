package augment

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// Mixing says how batches are mixed: mixup, cutmix, or, where both are on, one of
// them, drawn for each batch with equal chances. The zero value mixes nothing.
type Mixing struct {
	Mixup, CutMix float64 // α of their Beta(α, α); 0: off
}

// On says whether anything is mixed.
func (c Mixing) On() bool { return c.Mixup > 0 || c.CutMix > 0 }

// Draw says how a batch of images of height×width is mixed. An equal stream gives
// an equal mix; r may be nil where nothing is mixed.
func (c Mixing) Draw(height, width int, r *rand.Rand) Mix {
	cut := c.CutMix > 0
	if cut && c.Mixup > 0 {
		cut = r.IntN(2) == 1
	}
	switch {
	case cut:
		return CutMix(c.CutMix, height, width, r)
	case c.Mixup > 0:
		return Mixup(c.Mixup, r)
	}
	return Mix{Lambda: 1}
}

// Mix says how each image of a batch is mixed with the one before it (the first
// with the last): for cross-entropy, whose loss is then Lambda times that of the
// image's own label and 1−Lambda times that of the other's.
type Mix struct {
	// Lambda is the share of the image itself, in [0, 1].
	Lambda float64
	box    rect // cutmix: what comes from the other image
	cut    bool
}

// Mixup draws Lambda from Beta(alpha, alpha), alpha > 0: images and labels are
// blended (Zhang et al. 2018, arXiv 1710.09412). As torchvision's v2.MixUp.
func Mixup(alpha float64, r *rand.Rand) Mix {
	return Mix{Lambda: beta(alpha, r)}
}

// CutMix draws a share from Beta(alpha, alpha) and cuts a rectangle of about
// the rest of the area out of the other image; Lambda is the area that is left
// (Yun et al. 2019, arXiv 1905.04899). As torchvision's v2.CutMix.
func CutMix(alpha float64, height, width int, r *rand.Rand) Mix {
	share := beta(alpha, r)
	x, y := r.IntN(width), r.IntN(height)
	return cutMix(share, x, y, height, width)
}

// cutMix is CutMix with the rectangle's centre given.
func cutMix(share float64, x, y, height, width int) Mix {
	half := 0.5 * math.Sqrt(1-share)
	hw, hh := int(half*float64(width)), int(half*float64(height))
	left, right := max(x-hw, 0), min(x+hw, width)
	top, bottom := max(y-hh, 0), min(y+hh, height)
	area := float64((right - left) * (bottom - top))
	return Mix{Lambda: 1 - area/float64(width*height), cut: true, box: rect{top, left, bottom - top, right - left}}
}

// beta draws from Beta(alpha, alpha). For small alphas it does as Jöhnk (1964) in
// logarithms: both of the gamma variates of the usual way would be 0 as often as not.
func beta(alpha float64, r *rand.Rand) float64 {
	if alpha > 1 {
		return distuv.Beta{Alpha: alpha, Beta: alpha, Src: r}.Rand()
	}
	for {
		// Two uniforms in (0, 1] to the power of 1/alpha, of a sum up to 1.
		x, y := math.Log(1-r.Float64())/alpha, math.Log(1-r.Float64())/alpha
		if math.Exp(x)+math.Exp(y) <= 1 {
			return 1 / (1 + math.Exp(y-x))
		}
	}
}

// Apply mixes n images, each of height×width×ch values in HWC, in place.
func (m Mix) Apply(images []float32, n, height, width, ch int) {
	size := height * width * ch
	if n < 2 || m.Lambda == 1 {
		return
	}
	last := append([]float32(nil), images[(n-1)*size:n*size]...)
	for i := n - 1; i >= 0; i-- {
		own, other := images[i*size:(i+1)*size], last
		if i > 0 {
			other = images[(i-1)*size : i*size]
		}
		if m.cut {
			for y := m.box.top; y < m.box.top+m.box.height; y++ {
				at := (y*width + m.box.left) * ch
				copy(own[at:at+m.box.width*ch], other[at:])
			}
			continue
		}
		a, b := float32(m.Lambda), float32(1-m.Lambda)
		for k, v := range other {
			own[k] = float32(v*b) + float32(own[k]*a)
		}
	}
}

// Other is the image that image i of n is mixed with.
func (Mix) Other(i, n int) int { return (i + n - 1) % n }

// Targets writes what the mixed images show, a row of classes for each of the
// labels: Lambda at its own label and 1−Lambda at the other's, as torchvision's
// v2.MixUp and v2.CutMix. Of that, smoothing, in [0, 1), is spread evenly over all
// classes, as by torch's label_smoothing. dst has room for len(labels)·classes
// values; a label must be in [0, classes).
func (m Mix) Targets(dst []float32, labels []int32, classes int, smoothing float64) {
	n := len(labels)
	for i, own := range labels {
		row := dst[i*classes : (i+1)*classes]
		clear(row)
		row[own] = float32(m.Lambda)
		row[labels[m.Other(i, n)]] += float32(1 - m.Lambda)
		if smoothing == 0 {
			continue
		}
		for k, t := range row {
			row[k] = float32((1-smoothing)*float64(t) + smoothing/float64(classes))
		}
	}
}
