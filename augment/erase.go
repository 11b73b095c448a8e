package augment

import (
	"math"
	"math/rand/v2"
)

// The erased part of an image, and the range of its aspect ratio (height to
// width): torchvision's defaults (Zhong et al. 2020, arXiv 1708.04896).
const (
	eraseMin, eraseMax           = 0.02, 0.33
	eraseRatioMin, eraseRatioMax = 0.3, 3.3
)

// randomErase chooses a rectangle to erase in an image of the given size: 10
// times a uniform area and a uniform logarithm of the aspect ratio; when it is
// smaller than the image either way: top, left. An empty one if none is.
// Source: torchvision transforms.RandomErasing.get_params.
func randomErase(height, width int, r *rand.Rand) rect {
	full := float64(height) * float64(width)
	for range 10 {
		area := full * uniform(eraseMin, eraseMax, r)
		aspect := math.Exp(uniform(math.Log(eraseRatioMin), math.Log(eraseRatioMax), r))
		h := int(math.RoundToEven(math.Sqrt(area * aspect)))
		w := int(math.RoundToEven(math.Sqrt(area / aspect)))
		if h < height && w < width {
			return rect{r.IntN(height - h + 1), r.IntN(width - w + 1), h, w}
		}
	}
	return rect{}
}

// erase sets a rectangle to 0, the mean after normalisation.
func erase(dst []float32, width, ch int, at rect) {
	for y := at.top; y < at.top+at.height; y++ {
		clear(dst[(y*width+at.left)*ch:][:at.width*ch])
	}
}
