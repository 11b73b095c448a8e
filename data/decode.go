package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	fastjpeg "selfcon/data/internal/jpeg"
)

// maxPixels bounds the size of one image file, so that a damaged or hostile
// header can't take all memory (Pillow warns of more than 89 million pixels and
// refuses twice as many). Decoding takes at most pixelBytes a pixel, the most
// for a progressive JPEG's coefficients (of one in CMYK, which is rare, 24), and
// some times the file; so an image 1 GiB at most (1.5).
const (
	maxPixels  = 64 << 20
	pixelBytes = 16
)

// largePixels is the size from which on images are decoded one at a time, so
// that many workers don't take a gigabyte each.
const largePixels = 16 << 20

var large sync.Mutex

// maxLZW bounds how much LZW of 12-bit codes can grow: a code stands for less than
// 4,096 bytes.
const maxLZW = 4096 * 2 / 3

// imageKind is a format of image files.
type imageKind struct {
	name   string
	exts   []string
	magic  []string // what a file begins with; '?' is any byte
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
	// least is the fewest bytes that an image of w×h can take.
	least func(raw []byte, w, h int) int
}

// imageKinds is the one table of image formats.
var imageKinds = []imageKind{
	{
		name: "JPEG", exts: []string{".jpg", ".jpeg", ".jpe", ".jfif"}, magic: []string{"\xff\xd8"},
		config: jpeg.DecodeConfig, decode: jpeg.Decode,
		least: func(_ []byte, w, h int) int { return w * h / (64 * 8) }, // a bit for each block of 8×8
	},
	{
		name: "PNG", exts: []string{".png"}, magic: []string{"\x89PNG\r\n\x1a\n"},
		config: png.DecodeConfig, decode: png.Decode,
		least: func(raw []byte, w, h int) int {
			// IHDR is the first chunk: bit depth and colour type are at 24 and 25.
			channels := [7]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[raw[25]]
			return h * (1 + w*channels*int(raw[24])/8) / maxDeflate
		},
	},
	{
		name: "GIF", exts: []string{".gif"}, magic: []string{"GIF87a", "GIF89a"},
		config: gif.DecodeConfig, decode: decodeGIF,
		least: func(_ []byte, w, h int) int { return w * h / maxLZW },
	},
	{
		name: "BMP", exts: []string{".bmp"}, magic: []string{"BM"},
		config: bmp.DecodeConfig, decode: bmp.Decode,
		least: func(raw []byte, w, h int) int { // not compressed; bits a pixel are at 28
			if len(raw) < 30 {
				return 30
			}
			return w * h / 8 * int(binary.LittleEndian.Uint16(raw[28:]))
		},
	},
	{
		name: "TIFF", exts: []string{".tif", ".tiff"}, magic: []string{"II*\x00", "MM\x00*"},
		config: tiff.DecodeConfig, decode: decodeTIFF, least: leastTIFF,
	},
	{
		name: "WebP", exts: []string{".webp"}, magic: []string{"RIFF????WEBP"},
		config: configWebP, decode: decodeWebP,
		least: func([]byte, int, int) int { return 0 }, // one colour takes no bits at all
	},
}

// imageNames are the formats' names, for messages: "JPEG, PNG, … or WebP".
var imageNames = func() string {
	var names []string
	for _, k := range imageKinds {
		names = append(names, k.name)
	}
	n := len(names) - 1
	return strings.Join(names[:n], ", ") + " or " + names[n]
}()

// isImageName says whether a file's name ends as an image's.
func isImageName(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return slices.ContainsFunc(imageKinds, func(k imageKind) bool { return slices.Contains(k.exts, ext) })
}

// kindOf finds the format by a file's first bytes; its name doesn't count.
func kindOf(raw []byte) *imageKind {
	for i := range imageKinds {
		for _, m := range imageKinds[i].magic {
			if len(raw) >= len(m) && matches(raw, m) {
				return &imageKinds[i]
			}
		}
	}
	return nil
}

func matches(raw []byte, magic string) bool {
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != raw[i] {
			return false
		}
	}
	return true
}

// header is what the first bytes of an image file say.
type header struct {
	kind          *imageKind
	width, height int  // as stored, before the orientation
	grey          bool // stored as grey without alpha
}

// readHeader checks an image file's size against maxPixels and against what so
// many bytes can hold.
func readHeader(path string, raw []byte) (h header, err error) {
	if len(raw) == 0 {
		return h, badf(path, "empty file: it should be an image (%s)", imageNames)
	}
	if h.kind = kindOf(raw); h.kind == nil {
		return h, badf(path, "not an image that is read: it begins with % x, not as %s does", raw[:min(len(raw), 4)], imageNames)
	}
	// The decoders are fuzzed, and still a panic in one of them must not end a
	// run of days.
	defer func() {
		if p := recover(); p != nil {
			err = badf(path, "damaged %s image: %v", h.kind.name, p)
		}
	}()
	cfg, err := h.kind.config(bytes.NewReader(raw))
	if err != nil {
		return h, damaged(path, h.kind.name, err)
	}
	name := h.kind.name
	h.width, h.height = cfg.Width, cfg.Height
	h.grey = cfg.ColorModel == color.GrayModel || cfg.ColorModel == color.Gray16Model
	if h.width < 1 || h.height < 1 {
		return h, badf(path, "%s image of %d×%d (width×height)", name, h.width, h.height)
	}
	if int64(h.width)*int64(h.height) > maxPixels {
		return h, badf(path, "%s image of %d×%d (width×height): more than %d megapixels are not read; make it smaller", name, h.width, h.height, maxPixels>>20)
	}
	if len(raw) < h.kind.least(raw, h.width, h.height) {
		return h, badf(path, "damaged %s image: the header says %d×%d (width×height), which a file of %d bytes can't hold", name, h.width, h.height, len(raw))
	}
	return h, nil
}

func damaged(path, kind string, err error) error {
	// Some decoders tell of an early end in words only.
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.HasSuffix(err.Error(), io.ErrUnexpectedEOF.Error()) || strings.HasSuffix(err.Error(), "not enough pixel data") {
		return badf(path, "damaged %s image: the file ends too early", kind).because(io.ErrUnexpectedEOF)
	}
	return badf(path, "damaged or unsupported %s image: %v", kind, err)
}

// decodeImage decodes an image file to 1 or 3 channels, much as Pillow's
// convert("L") and convert("RGB") would: alpha is dropped, palettes are looked
// up, CMYK is mixed, of an animation the first frame is taken. Two things differ:
// of 16 bits a channel the high 8 are kept for grey too (Pillow clips grey at
// 255, which leaves such images white), and an orientation in EXIF is applied,
// as every viewer does. Progressive JPEGs and those in CMYK differ from libjpeg's
// by a few levels: the inverse transform rounds differently, and reduced colour
// planes are repeated, not smoothed.
func decodeImage(path string, raw []byte, channels int) (out Image, err error) {
	h, err := readHeader(path, raw)
	if err != nil {
		return Image{}, err
	}
	defer func() {
		if p := recover(); p != nil {
			out, err = Image{}, badf(path, "damaged %s image: %v", h.kind.name, p)
		}
	}()
	// Go lets garbage double the heap before it collects it: of images this large
	// that would be gigabytes.
	isLarge := h.width*h.height > largePixels
	if isLarge {
		large.Lock()
		defer large.Unlock()
		runtime.GC() // the image before
	}
	if h.kind.name == "JPEG" {
		// What it doesn't read, image/jpeg does, or says what is wrong.
		if pix, w, ht, ch, err := fastjpeg.Decode(raw); err == nil && w == h.width && ht == h.height {
			return turned(withChannels(Image{pix, w, ht, ch}, channels), orientation(h.kind.name, raw)), nil
		}
	}
	im, err := h.kind.decode(bytes.NewReader(raw))
	if err != nil {
		return Image{}, damaged(path, h.kind.name, err)
	}
	if isLarge {
		runtime.GC() // what only the decoder needed
	}
	if b := im.Bounds(); b.Dx() != h.width || b.Dy() != h.height {
		return Image{}, badf(path, "damaged %s image: it says %d×%d and has %d×%d (width×height)", h.kind.name, h.width, h.height, b.Dx(), b.Dy())
	}
	if out, err = fromGo(im, h.kind.name == "WebP"); err != nil {
		return Image{}, badf(path, "%s image of a kind that is not read (%v): save it as RGB or grey", h.kind.name, err)
	}
	return turned(withChannels(out, channels), orientation(h.kind.name, raw)), nil
}

// fromGo is im with 1 channel if it is grey, else with 3. studio says that
// luma and chroma have the reduced range of video, as in WebP.
func fromGo(im image.Image, studio bool) (Image, error) {
	b := im.Bounds()
	w, h := b.Dx(), b.Dy()
	out := Image{Width: w, Height: h, Channels: 3}
	// copyRows takes three of every step bytes, every second one being the
	// high byte of 16 if step is 8.
	copyRows := func(pix []uint8, stride, step int) {
		out.Pix = make([]uint8, 3*w*h)
		at, g, b := 0, step/4, step/2
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
				out.Pix[y*w+x] = im.Pix[y*im.Stride+2*x]
			}
		}
	case *image.RGBA: // multiplied by alpha, in TIFF
		copyRows(im.Pix, im.Stride, 4)
		for i := range w * h {
			if a := uint32(im.Pix[i/w*im.Stride+i%w*4+3]); a != 255 && a != 0 {
				for c, v := range out.Pix[3*i : 3*i+3] {
					out.Pix[3*i+c] = uint8(min(uint32(v)*255/a, 255))
				}
			}
		}
	case *image.NRGBA:
		copyRows(im.Pix, im.Stride, 4)
	case *image.RGBA64: // as RGBA
		copyRows(im.Pix, im.Stride, 8)
		for i := range w * h {
			px := im.Pix[i/w*im.Stride+i%w*8:]
			if a := uint32(binary.BigEndian.Uint16(px[6:])); a != 65535 && a != 0 {
				for c := range 3 {
					v := uint32(binary.BigEndian.Uint16(px[2*c:]))
					out.Pix[3*i+c] = uint8(min(v*65535/a, 65535) >> 8)
				}
			}
		}
	case *image.NRGBA64:
		copyRows(im.Pix, im.Stride, 8)
	case *image.Paletted:
		var table [256][3]uint8
		for i, c := range im.Palette[:min(len(im.Palette), 256)] {
			switch c := c.(type) {
			case color.RGBA: // opaque here
				table[i] = [3]uint8{c.R, c.G, c.B}
			case color.NRGBA:
				table[i] = [3]uint8{c.R, c.G, c.B}
			default:
				r, g, b, _ := c.RGBA()
				table[i] = [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}
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
		switch {
		case studio:
			fromStudio(out.Pix, im)
		default:
			for y := range h {
				top := b.Min.Y + y
				ys := im.Y[im.YOffset(b.Min.X, top):][:w]
				ci := im.COffset(b.Min.X, top)
				twoWide := im.SubsampleRatio == image.YCbCrSubsampleRatio420 || im.SubsampleRatio == image.YCbCrSubsampleRatio422
				switch {
				case im.SubsampleRatio == image.YCbCrSubsampleRatio444 || im.SubsampleRatio == image.YCbCrSubsampleRatio440:
					fromYCbCr(out.Pix[3*y*w:][:3*w], ys, im.Cb[ci:], im.Cr[ci:], 0)
				case twoWide && b.Min.X%2 == 0:
					fromYCbCr(out.Pix[3*y*w:][:3*w], ys, im.Cb[ci:], im.Cr[ci:], 1)
				default:
					for x := range w {
						ci := im.COffset(b.Min.X+x, top)
						o := out.Pix[3*(y*w+x):]
						o[0], o[1], o[2] = color.YCbCrToRGB(ys[x], im.Cb[ci], im.Cr[ci])
					}
				}
			}
		}
	case *image.NYCbCrA:
		return fromGo(&im.YCbCr, studio)
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
		return Image{}, fmt.Errorf("%T", im)
	}
	return out, nil
}

// fromYCbCr converts a row, with a chroma sample for every 1<<shift pixels, as
// color.YCbCrToRGB does: 16-bit fixed point, clipped.
func fromYCbCr(dst, ys, cbs, crs []uint8, shift int) {
	n := (len(ys)-1)>>shift + 1
	cbs, crs = cbs[:n], crs[:n]
	clip := func(v int32) uint8 {
		if uint32(v) < 1<<24 {
			return uint8(v >> 16)
		}
		return uint8(^(v >> 31))
	}
	for i, cb := range cbs {
		u, v := int32(cb)-128, int32(crs[i])-128
		r, g, b := 91881*v, -22554*u-46802*v, 116130*u
		at := i << shift
		for ; at < min((i+1)<<shift, len(ys)); at++ {
			l := int32(ys[at]) * 0x10101
			o := dst[3*at:][:3:3]
			o[0], o[1], o[2] = clip(l+r), clip(l+g), clip(l+b)
		}
	}
}

// fromStudio converts a lossy WebP image: luma in 16…235, chroma in 16…240 at
// half the width and height, which is interpolated between its four nearest
// samples with weights 9, 3, 3 and 1.
// Source: RFC 9649 §2.5 (colours as BT.601); the fixed-point numbers and the
// interpolation are libwebp's (src/dsp/yuv.h, src/dsp/upsampling.c), so that the
// bytes are those that Pillow gives.
func fromStudio(dst []uint8, im *image.YCbCr) {
	w, h := im.Rect.Dx(), im.Rect.Dy()
	cw, ch := (w+1)/2, (h+1)/2
	clip := func(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
	// blend is one plane's value at x of an output row, from the chroma row it
	// lies in and the next nearest.
	blend := func(near, far []uint8, x int) int {
		i := x / 2
		j := min(max(i-1+x%2*2, 0), cw-1) // the neighbour on the other side
		a, b, c, d := int(near[i]), int(near[j]), int(far[i]), int(far[j])
		// libwebp adds along both diagonals first, and cuts off twice.
		sum := a + b + c + d + 8
		if i == j {
			return (3*a + c + 2) >> 2
		}
		diag := (sum + 2*(b+c)) >> 3
		return (diag + a) >> 1
	}
	for y := range h {
		n := y / 2
		f := min(max(n-1+y%2*2, 0), ch-1)
		row := func(plane []uint8, i int) []uint8 { return plane[i*im.CStride:][:cw] }
		un, uf, vn, vf := row(im.Cb, n), row(im.Cb, f), row(im.Cr, n), row(im.Cr, f)
		ys := im.Y[y*im.YStride:]
		for x := range w {
			l, u, v := int(ys[x])*19077>>8, blend(un, uf, x), blend(vn, vf, x)
			o := dst[3*(y*w+x):][:3:3]
			o[0] = clip(l + v*26149>>8 - 14234)
			o[1] = clip(l - u*6419>>8 - v*13320>>8 + 8708)
			o[2] = clip(l + u*33050>>8 - 17685)
		}
	}
}

// decodeGIF decodes the first frame and puts it on the image's whole area, the
// rest being the transparent colour or else the palette's first, as in Pillow.
// Transparent pixels keep their colour.
func decodeGIF(r io.Reader) (image.Image, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	cfg, err := gif.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	raw, fill := opaqueGIF(raw)
	im, err := gif.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	frame, ok := im.(*image.Paletted)
	whole := image.Rect(0, 0, cfg.Width, cfg.Height)
	if !ok || frame.Rect == whole {
		return im, nil
	}
	if !frame.Rect.In(whole) || int(fill) >= len(frame.Palette) {
		return nil, errors.New("the frame does not lie in the image")
	}
	canvas := image.NewPaletted(whole, frame.Palette)
	if fill != 0 {
		for i := range canvas.Pix {
			canvas.Pix[i] = fill
		}
	}
	for y := frame.Rect.Min.Y; y < frame.Rect.Max.Y; y++ {
		at := canvas.PixOffset(frame.Rect.Min.X, y)
		copy(canvas.Pix[at:at+frame.Rect.Dx()], frame.Pix[frame.PixOffset(frame.Rect.Min.X, y):])
	}
	return canvas, nil
}

// opaqueGIF is a copy of a GIF whose first frame has no transparent colour, and
// the number of that colour. image/gif would forget what colour it is.
func opaqueGIF(raw []byte) ([]byte, uint8) {
	// Header and screen (13 bytes), the global colours, then blocks.
	at := 13
	if len(raw) < at {
		return raw, 0
	}
	if raw[10]&0x80 != 0 {
		at += 3 << (raw[10]&7 + 1)
	}
	for at+2 < len(raw) && raw[at] == '!' { // extensions
		if raw[at+1] == 0xf9 && at+7 < len(raw) && raw[at+2] == 4 && raw[at+3]&1 != 0 {
			raw = bytes.Clone(raw)
			raw[at+3] &^= 1
			return raw, raw[at+6]
		}
		for at += 2; at < len(raw) && raw[at] != 0; { // sub-blocks
			at += 1 + int(raw[at])
		}
		at++
	}
	return raw, 0
}
