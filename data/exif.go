package data

import (
	"bytes"
	"encoding/binary"
)

// orientation is the EXIF orientation of an image file, 1 (as stored) to 8, and
// 1 where there is none or it makes no sense.
//
// EXIF (CIPA DC-008, §4.6.5.1.6) is a small TIFF structure; it lies in a JPEG's
// segment APP1, in PNG's chunk eXIf, in WebP's chunk EXIF, and is the file
// itself in TIFF.
func orientation(kind string, raw []byte) int {
	switch kind {
	case "JPEG":
		for at := 2; at+4 <= len(raw) && raw[at] == 0xff; {
			marker, size := raw[at+1], int(binary.BigEndian.Uint16(raw[at+2:]))
			if marker == 0xff { // padding
				at++
				continue
			}
			if marker == 0xda || size < 2 || at+2+size > len(raw) { // the pixels begin
				return 1
			}
			if body, ok := bytes.CutPrefix(raw[at+4:at+2+size], []byte("Exif\x00\x00")); marker == 0xe1 && ok {
				return tiffOrientation(body)
			}
			at += 2 + size
		}
	case "PNG":
		for at := 8; at+12 <= len(raw); {
			size, name := int64(binary.BigEndian.Uint32(raw[at:])), string(raw[at+4:at+8])
			end := int64(at) + 8 + size
			if end+4 > int64(len(raw)) {
				return 1
			}
			if name == "eXIf" {
				return tiffOrientation(raw[at+8 : end])
			}
			at = int(end) + 4
		}
	case "WebP":
		for at := 12; at+8 <= len(raw); {
			size, name := int64(binary.LittleEndian.Uint32(raw[at+4:])), string(raw[at:at+4])
			end := int64(at) + 8 + size
			if end > int64(len(raw)) {
				return 1
			}
			if name == "EXIF" {
				return tiffOrientation(bytes.TrimPrefix(raw[at+8:end], []byte("Exif\x00\x00")))
			}
			at = int(end + size&1)
		}
	case "TIFF":
		return tiffOrientation(raw)
	}
	return 1
}

// tiffOrientation is tag 274, if it is a short that makes sense.
func tiffOrientation(b []byte) int {
	if v, ok := tiffTag(b, 274); ok && v >= 1 && v <= 8 {
		return int(v)
	}
	return 1
}

// tiffTag finds a tag in the first directory of a TIFF, whose value is a short or
// a long; of several values the first, if they are few enough to lie in the
// directory. ok is false where it isn't there.
func tiffTag(b []byte, tag uint16) (v uint32, ok bool) {
	if len(b) < 8 {
		return 0, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return 0, false
	}
	b = b[at:]
	for i := range int(order.Uint16(b)) {
		e := 2 + 12*i
		if e+12 > len(b) {
			break
		}
		if order.Uint16(b[e:]) != tag {
			continue
		}
		switch n := order.Uint32(b[e+4:]); {
		case order.Uint16(b[e+2:]) == 3 && n <= 2:
			return uint32(order.Uint16(b[e+8:])), true
		case order.Uint16(b[e+2:]) == 4 && n <= 1:
			return order.Uint32(b[e+8:]), true
		}
		break
	}
	return 0, false
}

// turned is im as an orientation says it should be seen: 2 mirrored, 3 turned
// by half, 4 flipped top to bottom, 5 mirrored along the diagonal, 6 turned a
// quarter clockwise, 7 mirrored along the other diagonal, 8 a quarter
// anticlockwise.
func turned(im Image, orientation int) Image {
	if orientation == 1 {
		return im
	}
	w, h, ch := im.Width, im.Height, im.Channels
	out := Image{Pix: make([]uint8, len(im.Pix)), Width: w, Height: h, Channels: ch}
	if orientation >= 5 {
		out.Width, out.Height = h, w
	}
	at := 0
	for y := range out.Height {
		for x := range out.Width {
			sx, sy := x, y
			if orientation >= 5 {
				sx, sy = y, x
			}
			switch orientation {
			case 2, 3, 7, 8:
				sx = w - 1 - sx
			}
			switch orientation {
			case 3, 4, 6, 7:
				sy = h - 1 - sy
			}
			copy(out.Pix[at:at+ch], im.Pix[(sy*w+sx)*ch:])
			at += ch
		}
	}
	return out
}
