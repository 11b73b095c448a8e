package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
)

// maxPixels bounds the size of one image file, so that a damaged or hostile
// header can't take all memory.
const maxPixels = 64 << 20

// header is what the first bytes of an image file say.
type header struct {
	kind          string // JPEG or PNG
	width, height int
	grey          bool // stored as grey without alpha
}

// readHeader checks an image file's size against maxPixels and against what so
// many bytes can hold.
func readHeader(path string, raw []byte) (header, error) {
	var h header
	var cfg image.Config
	var err error
	switch {
	case len(raw) == 0:
		return h, badf(path, "empty file: it should be a JPEG or PNG image")
	case bytes.HasPrefix(raw, []byte("\x89PNG\r\n\x1a\n")):
		h.kind = "PNG"
		cfg, err = png.DecodeConfig(bytes.NewReader(raw))
	case bytes.HasPrefix(raw, []byte("\xff\xd8")):
		h.kind = "JPEG"
		cfg, err = jpeg.DecodeConfig(bytes.NewReader(raw))
	default:
		return h, badf(path, "not an image: it begins with % x, neither as JPEG (ff d8) nor as PNG (89 50 4e 47)", raw[:min(len(raw), 4)])
	}
	if err != nil {
		return h, damaged(path, h.kind, err)
	}
	h.width, h.height = cfg.Width, cfg.Height
	h.grey = cfg.ColorModel == color.GrayModel || cfg.ColorModel == color.Gray16Model
	if h.width < 1 || h.height < 1 {
		return h, badf(path, "%s image of %d×%d (width×height)", h.kind, h.width, h.height)
	}
	if int64(h.width)*int64(h.height) > maxPixels {
		return h, badf(path, "%s image of %d×%d (width×height): more than %d megapixels are not read; make it smaller", h.kind, h.width, h.height, maxPixels>>20)
	}
	// The fewest bytes that an image of this size can take.
	var need int
	if h.kind == "PNG" {
		// IHDR is the first chunk: bit depth and colour type are at 24 and 25.
		channels := [7]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[raw[25]]
		need = h.height * (1 + h.width*channels*int(raw[24])/8) / maxDeflate
	} else {
		need = h.width * h.height / (64 * 8) // a bit for each block of 8×8
	}
	if len(raw) < need {
		return h, badf(path, "damaged %s image: the header says %d×%d (width×height), which a file of %d bytes can't hold", h.kind, h.width, h.height, len(raw))
	}
	return h, nil
}

func damaged(path, kind string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badf(path, "damaged %s image: the file ends too early", kind).because(io.ErrUnexpectedEOF)
	}
	return badf(path, "damaged or unsupported %s image: %v", kind, err)
}

// decodeImage decodes a JPEG or PNG file to 1 or 3 channels, as Pillow's
// convert("L") and convert("RGB") would: alpha is dropped, palettes are looked
// up, of 16 bits a channel the high 8 are kept, and 16-bit grey is clipped at
// 255. JPEGs differ from libjpeg's by a few levels: the inverse transform
// rounds differently, and reduced colour planes are repeated, not smoothed. As
// in Pillow, an orientation in EXIF is not applied.
func decodeImage(path string, raw []byte, channels int) (Image, error) {
	h, err := readHeader(path, raw)
	if err != nil {
		return Image{}, err
	}
	var im image.Image
	if h.kind == "PNG" {
		im, err = png.Decode(bytes.NewReader(raw))
	} else {
		im, err = jpeg.Decode(bytes.NewReader(raw))
	}
	if err != nil {
		return Image{}, damaged(path, h.kind, err)
	}
	out, ok := fromGo(im)
	if !ok {
		return Image{}, badf(path, "%s image of a kind that is not read (%T): save it as RGB or grey", h.kind, im)
	}
	return withChannels(out, channels), nil
}

// fromGo is im with 1 channel if it is grey, else with 3. It knows the types
// that image/jpeg and image/png give.
func fromGo(im image.Image) (Image, bool) {
	b := im.Bounds()
	w, h := b.Dx(), b.Dy()
	out := Image{Width: w, Height: h, Channels: 3}
	// copyRows takes three of every step bytes, every second one being the
	// high byte of 16 if step is 8.
	copyRows := func(pix []uint8, stride, step, g, b int) {
		out.Pix = make([]uint8, 3*w*h)
		at := 0
		for y := range h {
			row := pix[y*stride:]
			for x := range w {
				px := row[x*step:]
				out.Pix[at], out.Pix[at+1], out.Pix[at+2] = px[0], px[g], px[b]
				at += 3
			}
		}
	}
	switch im := im.(type) {
	case *image.Gray:
		out.Channels = 1
		out.Pix = make([]uint8, w*h)
		for y := range h {
			copy(out.Pix[y*w:(y+1)*w], im.Pix[y*im.Stride:])
		}
	case *image.Gray16:
		out.Channels = 1
		out.Pix = make([]uint8, w*h)
		for y := range h {
			for x := range w {
				out.Pix[y*w+x] = uint8(min(binary.BigEndian.Uint16(im.Pix[y*im.Stride+2*x:]), 255))
			}
		}
	case *image.RGBA: // opaque here
		copyRows(im.Pix, im.Stride, 4, 1, 2)
	case *image.NRGBA:
		copyRows(im.Pix, im.Stride, 4, 1, 2)
	case *image.RGBA64: // opaque here
		copyRows(im.Pix, im.Stride, 8, 2, 4)
	case *image.NRGBA64:
		copyRows(im.Pix, im.Stride, 8, 2, 4)
	case *image.Paletted:
		var table [256][3]uint8
		for i, c := range im.Palette[:min(len(im.Palette), 256)] {
			switch c := c.(type) {
			case color.RGBA: // opaque here
				table[i] = [3]uint8{c.R, c.G, c.B}
			case color.NRGBA:
				table[i] = [3]uint8{c.R, c.G, c.B}
			}
		}
		out.Pix = make([]uint8, 0, 3*w*h)
		for y := range h {
			for _, v := range im.Pix[y*im.Stride : y*im.Stride+w] {
				out.Pix = append(out.Pix, table[v][:]...)
			}
		}
	case *image.YCbCr:
		out.Pix = make([]uint8, 3*w*h)
		at := 0
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				ci := im.COffset(x, y)
				out.Pix[at], out.Pix[at+1], out.Pix[at+2] = color.YCbCrToRGB(im.Y[im.YOffset(x, y)], im.Cb[ci], im.Cr[ci])
				at += 3
			}
		}
	case *image.CMYK:
		out.Pix = make([]uint8, 0, 3*w*h)
		for y := range h {
			row := im.Pix[y*im.Stride:]
			for x := range w {
				rest := 255 - uint32(row[4*x+3]) // light that black leaves
				for c := range 3 {
					v := uint32(row[4*x+c])*rest + 128
					out.Pix = append(out.Pix, uint8(rest-(v+v>>8)>>8)) // rest·(255-v)/255, rounded
				}
			}
		}
	default:
		return Image{}, false
	}
	return out, true
}
