// Package jpeg decodes baseline JPEGs (ITU-T T.81: sequential, Huffman-coded, 8
// bits, one scan) of one component or of three in YCbCr with full, half-width or
// quarter-size chroma: what nearly all photographs are. It gives the bytes that
// libjpeg gives by default, and so Pillow: the accurate integer inverse transform,
// smoothed chroma, and 16-bit fixed-point colours.
//
// Anything else is ErrUnsupported, and what is damaged an error: image/jpeg is
// there for both.
package jpeg

import (
	"encoding/binary"
	"errors"
	"sync"

	"selfcon/internal/pixels"
)

// ErrUnsupported is the error for JPEGs of other kinds.
var ErrUnsupported = errors.New("not a baseline JPEG of one scan, grey or YCbCr")

var (
	errShort  = errors.New("the file ends too early")
	errFormat = errors.New("damaged data")
)

// component is a colour plane.
type component struct {
	id, h, v int // sampling factors
	q        *[64]int32
	dc, ac   *huffman
	stride   int // of the plane, whole blocks
	width    int // samples that count
	height   int
	plane    []uint8
	last     int32 // the last block's DC coefficient
}

type decoder struct {
	raw []byte
	at  int

	acc  uint64 // bits to come, the next one highest
	bits int    // how many

	width, height int
	comps         [3]component
	n             int // of components
	hmax, vmax    int
	quant         [4][64]int32
	haveQuant     [4]bool
	tables        [2][4]huffman // DC, AC
	restart       int           // MCUs between restarts; 0: none
	adobe         int           // colour transform, −1: unknown

	block [64]int32
	rows  [2][]uint8 // of upsampled chroma
	sums  []uint16   // on the way to them
	mem   [3][]uint8 // planes, kept for the next image
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// Decode decodes a file to 1 or 3 interleaved channels.
func Decode(raw []byte) (pix []uint8, width, height, channels int, err error) {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	*d = decoder{raw: raw, adobe: -1, rows: d.rows, sums: d.sums, mem: d.mem, tables: d.tables}
	for i := range d.tables {
		for j := range d.tables[i] {
			d.tables[i][j].set = false
		}
	}
	defer func() { d.raw = nil }()
	if err := d.headers(); err != nil {
		return nil, 0, 0, 0, err
	}
	if err := d.scan(); err != nil {
		return nil, 0, 0, 0, err
	}
	return d.colours(), d.width, d.height, d.n, nil
}

// headers reads the markers up to the scan's data.
func (d *decoder) headers() error {
	if len(d.raw) < 4 || d.raw[0] != 0xff || d.raw[1] != 0xd8 {
		return errFormat
	}
	d.at = 2
	frame := false
	for {
		for d.at < len(d.raw) && d.raw[d.at] == 0xff && d.at+1 < len(d.raw) && d.raw[d.at+1] == 0xff {
			d.at++ // padding
		}
		if d.at+4 > len(d.raw) {
			return errShort
		}
		if d.raw[d.at] != 0xff {
			return errFormat
		}
		marker, size := d.raw[d.at+1], int(binary.BigEndian.Uint16(d.raw[d.at+2:]))
		if size < 2 || d.at+2+size > len(d.raw) {
			return errShort
		}
		body := d.raw[d.at+4 : d.at+2+size]
		d.at += 2 + size
		var err error
		switch {
		case marker == 0xdb:
			err = d.quantisation(body)
		case marker == 0xc4:
			err = d.huffmanTables(body)
		case marker == 0xc0 || marker == 0xc1:
			if frame {
				return errFormat
			}
			frame = true
			err = d.frame(body)
		case marker > 0xc1 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc:
			return ErrUnsupported // progressive, lossless, arithmetic
		case marker == 0xdd:
			if len(body) != 2 {
				return errFormat
			}
			d.restart = int(binary.BigEndian.Uint16(body))
		case marker == 0xee && len(body) >= 12 && string(body[:5]) == "Adobe":
			d.adobe = int(body[11])
		case marker == 0xda:
			if !frame {
				return errFormat
			}
			return d.scanHeader(body)
		case marker == 0xd8 || marker == 0xd9 || marker >= 0xd0 && marker <= 0xd7 || marker < 0xc0:
			return errFormat
		}
		if err != nil {
			return err
		}
	}
}

func (d *decoder) quantisation(b []byte) error {
	for len(b) > 0 {
		wide, t := b[0]>>4, b[0]&15
		if wide > 1 || t > 3 {
			return errFormat
		}
		n := 64 << wide
		if b = b[1:]; len(b) < n {
			return errShort
		}
		for i := range 64 {
			if wide == 0 {
				d.quant[t][i] = int32(b[i])
			} else {
				d.quant[t][i] = int32(binary.BigEndian.Uint16(b[2*i:]))
			}
		}
		d.haveQuant[t] = true
		b = b[n:]
	}
	return nil
}

func (d *decoder) frame(b []byte) error {
	if len(b) < 6 {
		return errShort
	}
	d.height, d.width, d.n = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:])), int(b[5])
	if b[0] != 8 || d.n != 1 && d.n != 3 || d.width == 0 || d.height == 0 {
		return ErrUnsupported
	}
	// Every block of 64 takes at least a bit: a small file asks for little memory.
	if len(b) != 6+3*d.n || len(d.raw) < d.width*d.height/(64*8) {
		return errFormat
	}
	for i := range d.n {
		e := b[6+3*i:]
		c := &d.comps[i]
		*c = component{id: int(e[0]), h: int(e[1] >> 4), v: int(e[1] & 15)}
		if e[2] > 3 {
			return errFormat
		}
		c.q = &d.quant[e[2]]
	}
	if d.n == 1 {
		d.comps[0].h, d.comps[0].v = 1, 1 // a single component isn't interleaved
	} else {
		y := d.comps[0]
		if y.v > y.h || y.h > 2 || y.h < 1 || y.v < 1 || d.comps[1].h != 1 || d.comps[1].v != 1 || d.comps[2].h != 1 || d.comps[2].v != 1 {
			return ErrUnsupported
		}
		if d.comps[0].id == 'R' && d.comps[1].id == 'G' && d.comps[2].id == 'B' {
			return ErrUnsupported
		}
	}
	d.hmax, d.vmax = d.comps[0].h, d.comps[0].v
	return nil
}

func (d *decoder) scanHeader(b []byte) error {
	if d.n == 3 && d.adobe == 0 {
		return ErrUnsupported // RGB
	}
	if len(b) < 1 || int(b[0]) != d.n {
		return ErrUnsupported // a scan a component
	}
	if len(b) != 4+2*d.n {
		return errFormat
	}
	for i := range d.n {
		c := &d.comps[i]
		if int(b[1+2*i]) != c.id {
			return ErrUnsupported
		}
		dc, ac := b[2+2*i]>>4, b[2+2*i]&15
		if dc > 3 || ac > 3 {
			return errFormat
		}
		c.dc, c.ac = &d.tables[0][dc], &d.tables[1][ac]
		if !c.dc.set || !c.ac.set {
			return errFormat
		}
	}
	for i := range d.n {
		for t := range 4 {
			if d.comps[i].q == &d.quant[t] && !d.haveQuant[t] {
				return errFormat
			}
		}
	}
	return nil
}

// scan decodes the blocks into the planes.
func (d *decoder) scan() error {
	mx := (d.width + 8*d.hmax - 1) / (8 * d.hmax)
	my := (d.height + 8*d.vmax - 1) / (8 * d.vmax)
	for i := range d.n {
		c := &d.comps[i]
		c.stride = mx * c.h * 8
		c.width = (d.width*c.h + d.hmax - 1) / d.hmax
		c.height = (d.height*c.v + d.vmax - 1) / d.vmax
		size := c.stride*my*c.v*8 + 15 // read past the last row, see pixels.Upsample
		if cap(d.mem[i]) < size {
			d.mem[i] = make([]uint8, size)
		}
		c.plane = d.mem[i][:size]
	}
	left := d.restart
	for y := range my {
		for x := range mx {
			if d.restart > 0 {
				if left == 0 {
					if err := d.restartMarker(); err != nil {
						return err
					}
					left = d.restart
				}
				left--
			}
			for i := range d.n {
				c := &d.comps[i]
				for v := range c.v {
					for h := range c.h {
						last, err := d.coefficients(c)
						if err != nil {
							return err
						}
						out := c.plane[(y*c.v+v)*8*c.stride+(x*c.h+h)*8:]
						if last == 0 {
							pixels.FlatDCT(out, c.stride, d.block[0])
							d.block[0] = 0
							continue
						}
						kernels.InverseDCT(out, c.stride, &d.block)
					}
				}
			}
		}
	}
	if d.bits < 0 {
		return errShort
	}
	return nil
}

func (d *decoder) restartMarker() error {
	if d.bits < 0 {
		return errShort
	}
	d.acc, d.bits = 0, 0
	if d.at+2 > len(d.raw) || d.raw[d.at] != 0xff || d.raw[d.at+1]&0xf8 != 0xd0 {
		return errFormat
	}
	d.at += 2
	for i := range d.n {
		d.comps[i].last = 0
	}
	return nil
}

// fill makes at least 48 bits ready. After the data's end there are zeros, and
// bits goes below 0 when they are used.
func (d *decoder) fill() {
	if d.bits < 0 {
		return
	}
	if d.at+8 <= len(d.raw) {
		v := binary.BigEndian.Uint64(d.raw[d.at:])
		// Where none of the next bytes is ff they are taken as they are.
		if n := ^v; (n-0x0101010101010101)&^n&0x8080808080808080 == 0 {
			k := (64 - d.bits) >> 3
			d.acc |= v >> d.bits
			d.bits += 8 * k
			d.at += k
			if d.bits < 64 { // what is of the byte after
				d.acc &^= 1<<(64-d.bits) - 1
			}
			return
		}
	}
	for d.bits <= 56 {
		if d.at >= len(d.raw) {
			return
		}
		b := d.raw[d.at]
		if b == 0xff {
			if d.at+1 >= len(d.raw) || d.raw[d.at+1] != 0 {
				return // a marker: the end of the data
			}
			d.at++
		}
		d.at++
		d.acc |= uint64(b) << (56 - d.bits)
		d.bits += 8
	}
}
