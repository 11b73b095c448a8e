package data

import (
	"bytes"
	"errors"
	"image"
	"io"

	"golang.org/x/image/tiff"
)

// Tags and values of TIFF 6.0.
const (
	tiffBits, tiffCompression, tiffPhotometric, tiffSamples, tiffT4Options = 258, 259, 262, 277, 292

	tiffGroup3, tiffGroup4, tiffLZW, tiffPackBits = 3, 4, 5, 32773
	tiffDeflate, tiffOldDeflate                   = 8, 32946
)

// leastTIFF is the fewest bytes of w×h pixels in a TIFF's compression.
func leastTIFF(raw []byte, w, h int) int {
	samples, bits := 1, 1
	if v, ok := tiffTag(raw, tiffSamples); ok {
		samples = int(min(v, 4))
	}
	if v, ok := tiffTag(raw, tiffBits); ok { // of RGB it lies elsewhere
		bits = int(min(v, 16))
	}
	growth := 1
	switch c, _ := tiffTag(raw, tiffCompression); c {
	case tiffGroup3, tiffGroup4:
		return h / 8 // a row like the one above is a bit
	case tiffLZW:
		growth = maxLZW
	case tiffPackBits:
		growth = 64
	case tiffDeflate, tiffOldDeflate:
		growth = maxDeflate
	}
	return w * h / 8 * samples * bits / growth
}

// decodeTIFF is tiff.Decode but for fax compression. A white run is a run of
// zeros (TIFF 6.0, sections 10 and 11), and so black where black is zero;
// golang.org/x/image makes it white whatever the zeros are. It reads rows coded
// one by one only, without filling bits.
func decodeTIFF(r io.Reader) (image.Image, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	compression, _ := tiffTag(raw, tiffCompression)
	if options, _ := tiffTag(raw, tiffT4Options); compression == tiffGroup3 && options != 0 {
		return nil, errors.New("fax compression (Group 3) in two dimensions or with filling bits is not read: save it as Group 4 or LZW")
	}
	im, err := tiff.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if white, _ := tiffTag(raw, tiffPhotometric); (compression == tiffGroup3 || compression == tiffGroup4) && white != 0 {
		switch im := im.(type) {
		case *image.Gray:
			for i := range im.Pix {
				im.Pix[i] ^= 255
			}
		case *image.Paletted: // of two colours
			for i := range im.Pix {
				im.Pix[i] ^= 1
			}
		}
	}
	return im, nil
}
