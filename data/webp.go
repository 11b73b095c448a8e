package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"

	"golang.org/x/image/webp"
)

// A WebP file is RIFF: "RIFF", size, "WEBP", then chunks of a name, a size and a
// body of even length. An animation has a chunk VP8X with its flag and the size
// of the whole, and a chunk ANMF a frame (RFC 9649 §2.7).

// webpFrame is the first frame of an animation.
type webpFrame struct {
	width, height int             // of the whole
	at            image.Rectangle // where the frame lies
	file          []byte          // the frame as a file of its own
}

var errWebPAnimation = errors.New("webp: an animation without a whole first frame")

// firstWebPFrame is nil for what is no animation.
func firstWebPFrame(raw []byte) (*webpFrame, error) {
	if len(raw) < 30 || string(raw[12:16]) != "VP8X" || raw[20]&2 == 0 {
		return nil, nil
	}
	f := &webpFrame{width: 1 + u24(raw[24:]), height: 1 + u24(raw[27:])}
	for at := 12; ; {
		name, body, next, ok := webpChunk(raw, at)
		if !ok {
			return nil, errWebPAnimation
		}
		at = next
		if name != "ANMF" || len(body) < 16 {
			continue
		}
		left, top := 2*u24(body), 2*u24(body[3:])
		f.at = image.Rect(left, top, left+1+u24(body[6:]), top+1+u24(body[9:]))
		alpha := []byte(nil)
		for at := 16; ; {
			name, _, next, ok := webpChunk(body, at)
			if !ok {
				return nil, errWebPAnimation
			}
			chunk := body[at:next]
			at = next
			switch {
			case name == "ALPH":
				alpha = chunk
			case name == "VP8L", name == "VP8 " && alpha == nil:
				f.file = riff(chunk)
				return f, nil
			case name == "VP8 ":
				head := append([]byte("VP8X\x0a\x00\x00\x00\x10\x00\x00\x00"), body[6:12]...)
				f.file = riff(head, alpha, chunk)
				return f, nil
			}
		}
	}
}

// wholeWebP refuses a file that ends within its image: the decoder makes room for
// as much as the chunk's size says, up to 128 MiB, before it reads any of it.
func wholeWebP(raw []byte) error {
	for at := 12; ; {
		name, _, next, ok := webpChunk(raw, at)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		if name == "VP8 " || name == "VP8L" {
			return nil
		}
		at = next
	}
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// webpChunk is the chunk at a place, and where the next begins.
func webpChunk(raw []byte, at int) (name string, body []byte, next int, ok bool) {
	if at+8 > len(raw) {
		return "", nil, 0, false
	}
	size := int64(binary.LittleEndian.Uint32(raw[at+4:]))
	if size > int64(len(raw)-at-8) {
		return "", nil, 0, false
	}
	end := at + 8 + int(size)
	return string(raw[at : at+4]), raw[at+8 : end], min(end+int(size&1), len(raw)), true
}

func riff(chunks ...[]byte) []byte {
	out := []byte("RIFF\x00\x00\x00\x00WEBP")
	for _, c := range chunks {
		out = append(out, c...)
		if len(c)%2 == 1 {
			out = append(out, 0)
		}
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}

func configWebP(r io.Reader) (image.Config, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return image.Config{}, err
	}
	f, err := firstWebPFrame(raw)
	if err != nil {
		return image.Config{}, err
	}
	if f == nil {
		if err := wholeWebP(raw); err != nil {
			return image.Config{}, err
		}
		return webp.DecodeConfig(bytes.NewReader(raw))
	}
	cfg, err := webp.DecodeConfig(bytes.NewReader(f.file))
	if err != nil {
		return cfg, err
	}
	if cfg.Width != f.at.Dx() || cfg.Height != f.at.Dy() || !f.at.In(image.Rect(0, 0, f.width, f.height)) {
		return cfg, errors.New("webp: the first frame of the animation does not lie in the image")
	}
	cfg.Width, cfg.Height = f.width, f.height
	return cfg, nil
}

// decodeWebP decodes an image, or an animation's first frame, which lies on black;
// so do its pixels that can't be seen, as in libwebp's decoder of animations.
func decodeWebP(r io.Reader) (image.Image, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	f, err := firstWebPFrame(raw)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return webp.Decode(bytes.NewReader(raw))
	}
	im, err := webp.Decode(bytes.NewReader(f.file))
	if err != nil {
		return nil, err
	}
	frame, err := fromGo(im, true)
	if err != nil {
		return nil, err
	}
	seen := func(int) bool { return true }
	switch im := im.(type) {
	case *image.NYCbCrA:
		seen = func(i int) bool { return im.A[i/frame.Width*im.AStride+i%frame.Width] != 0 }
	case *image.NRGBA:
		seen = func(i int) bool { return im.Pix[i/frame.Width*im.Stride+i%frame.Width*4+3] != 0 }
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, f.width, f.height))
	for i := range frame.Width * frame.Height {
		if seen(i) {
			at := canvas.PixOffset(f.at.Min.X+i%frame.Width, f.at.Min.Y+i/frame.Width)
			copy(canvas.Pix[at:at+3], frame.Pix[3*i:])
		}
	}
	return canvas, nil
}
