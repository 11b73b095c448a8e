package augment

import (
	"fmt"
	"sync"

	"selfcon/data"
)

var shorterScratch = sync.Pool{New: func() any { return new(scratch) }}

// Shorter shrinks an image so that its shorter side has at most side pixels, as
// torchvision's Resize(side) does; smaller images stay as they are.
func Shorter(im data.Image, side int) (data.Image, error) {
	if side < 1 {
		return data.Image{}, fmt.Errorf("augment: a shorter side of %d pixels: must be at least 1", side)
	}
	if min(im.Width, im.Height) <= side {
		return im, nil
	}
	c := Config{Height: side, Width: side, Resize: side}
	to, _ := c.centre(im.Height, im.Width)
	out := data.Image{Pix: make([]uint8, to.height*to.width*im.Channels), Width: to.width, Height: to.height, Channels: im.Channels}
	s := shorterScratch.Get().(*scratch)
	defer shorterScratch.Put(s)
	src := plane{pix: im.Pix, stride: im.Width * im.Channels, width: im.Width, height: im.Height, ch: im.Channels}
	s.resample(out.Pix, src, to, rect{0, 0, to.height, to.width}, false)
	return out, nil
}
