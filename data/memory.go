package data

import "strconv"

// memory is a split whose pixels are all in memory.
type memory struct {
	width, height, channels int
	pix                     [][]uint8 // an image each, HWC
	labels                  []int32
	classes                 []string
	name                    func(i int) string
}

func (m *memory) Len() int          { return len(m.pix) }
func (m *memory) Classes() []string { return m.classes }
func (m *memory) Label(i int) int   { return int(m.labels[i]) }
func (m *memory) Name(i int) string { return m.name(i) }
func (m *memory) Image(i int) (Image, error) {
	return Image{Pix: m.pix[i], Width: m.width, Height: m.height, Channels: m.channels}, nil
}

// rechannelled gives a set's images with another number of channels.
type rechannelled struct {
	Dataset
	channels int // 1 or 3
}

func (d *rechannelled) Image(i int) (Image, error) {
	im, err := d.Dataset.Image(i)
	if err != nil {
		return Image{}, err
	}
	return withChannels(im, d.channels), nil
}

// withChannels is im with 1 or 3 channels: im itself if it has them.
func withChannels(im Image, channels int) Image {
	if im.Channels == channels {
		return im
	}
	n := im.Width * im.Height
	out := Image{Pix: make([]uint8, n*channels), Width: im.Width, Height: im.Height, Channels: channels}
	if channels == 3 {
		for i, v := range im.Pix[:n] {
			out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = v, v, v
		}
		return out
	}
	for i := range n {
		out.Pix[i] = luma(im.Pix[3*i], im.Pix[3*i+1], im.Pix[3*i+2])
	}
	return out
}

// luma is 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, rounded: the
// numbers of Pillow's convert("L").
func luma(r, g, b uint8) uint8 {
	return uint8((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 1<<15) >> 16)
}

// digits are the class names "0", "1", … of n classes.
func digits(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}
