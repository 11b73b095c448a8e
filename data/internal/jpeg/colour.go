package jpeg

import "selfcon/internal/pixels"

var kernels = pixels.Best()

// colours makes the interleaved image from the planes.
func (d *decoder) colours() []uint8 {
	w := d.width
	out := make([]uint8, w*d.height*d.n)
	y := &d.comps[0]
	if d.n == 1 {
		for i := range d.height {
			copy(out[i*w:(i+1)*w], y.plane[i*y.stride:])
		}
		return out
	}
	room := pixels.Room(d.comps[1].width)
	for k := range d.rows {
		if len(d.rows[k]) < 2*room {
			d.rows[k] = make([]uint8, 2*room)
		}
	}
	if len(d.sums) < room+2 {
		d.sums = make([]uint16, room+2)
	}
	for i := range d.height {
		cb, cr := d.chroma(&d.comps[1], i, d.rows[0]), d.chroma(&d.comps[2], i, d.rows[1])
		kernels.YCbCrToRGB(out[3*i*w:][:3*w], y.plane[i*y.stride:][:w], cb[:w], cr[:w])
	}
	return out
}

// chroma is row i of a chroma plane at full width, made in memory if need be: planes
// of one or two samples are repeated, as in libjpeg.
func (d *decoder) chroma(c *component, i int, room []uint8) []uint8 {
	n := c.width
	if d.hmax == 1 {
		return c.plane[i*c.stride:][:n]
	}
	near, far := i, i
	if d.vmax == 2 {
		near = i / 2
		far = min(max(near-1+i%2*2, 0), c.height-1)
	}
	a, b := c.plane[near*c.stride:], c.plane[far*c.stride:]
	switch {
	case n <= 2:
		repeat(room, a[:n])
	case d.vmax == 1:
		kernels.Upsample(room, a, b, n, d.sums, 4, 8)
	default:
		kernels.Upsample(room, a, b, n, d.sums, 8, 7)
	}
	return room
}

func repeat(out, in []uint8) {
	for x, v := range in {
		out[2*x], out[2*x+1] = v, v
	}
}
