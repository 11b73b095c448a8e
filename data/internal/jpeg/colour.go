package jpeg

// Parts of the colour conversion by chroma value.
// Source: libjpeg, jdcolor.c, build_ycc_rgb_table.
var redOf, blueOf, greenOfU, greenOfV = func() (r, b, gu, gv [256]int32) {
	for i := range r {
		x := int32(i) - 128
		r[i] = (91881*x + 1<<15) >> 16
		b[i] = (116130*x + 1<<15) >> 16
		gv[i] = -46802 * x
		gu[i] = -22554*x + 1<<15
	}
	return
}()

func clip(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

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
	for k := range d.rows {
		if cap(d.rows[k]) < 2*d.comps[1].stride {
			d.rows[k] = make([]uint8, 2*d.comps[1].stride)
		}
	}
	for i := range d.height {
		cb, cr := d.chroma(&d.comps[1], i, d.rows[0]), d.chroma(&d.comps[2], i, d.rows[1])
		ys := y.plane[i*y.stride:][:w]
		cb, cr = cb[:w], cr[:w]
		row := out[3*i*w:][:3*w]
		for x, l := range ys {
			u, v := cb[x], cr[x]
			o := row[3*x:][:3:3]
			o[0] = clip(int32(l) + redOf[v])
			o[1] = clip(int32(l) + (greenOfU[u]+greenOfV[v])>>16)
			o[2] = clip(int32(l) + blueOf[u])
		}
	}
	return out
}

// chroma is row i of a chroma plane at full width, made in memory if need be.
// Source: libjpeg, jdsample.c: h2v1_fancy_upsample and h2v2_fancy_upsample
// (a sample is three parts of the nearest and one of the next, in each direction);
// planes of one or two samples are repeated.
func (d *decoder) chroma(c *component, i int, room []uint8) []uint8 {
	n := c.width
	if d.hmax == 1 {
		return c.plane[i*c.stride:][:n]
	}
	out := room[:2*n]
	if d.vmax == 1 {
		in := c.plane[i*c.stride:][:n]
		if n <= 2 {
			repeat(out, in)
			return out
		}
		out[0] = in[0]
		for x := 0; x < n-1; x++ {
			a, b := uint32(in[x]), uint32(in[x+1])
			out[2*x+1] = uint8((3*a + b + 2) >> 2)
			out[2*x+2] = uint8((3*b + a + 1) >> 2)
		}
		out[2*n-1] = in[n-1]
		return out
	}
	near := i / 2
	if n <= 2 {
		repeat(out, c.plane[near*c.stride:][:n])
		return out
	}
	far := min(max(near-1+i%2*2, 0), c.height-1)
	a, b := c.plane[near*c.stride:][:n], c.plane[far*c.stride:][:n]
	now := 3*uint32(a[0]) + uint32(b[0])
	out[0] = uint8((4*now + 8) >> 4)
	for x := 1; x < n; x++ {
		next := 3*uint32(a[x]) + uint32(b[x])
		o := out[2*x-1:][:2:2]
		o[0] = uint8((3*now + next + 7) >> 4)
		o[1] = uint8((3*next + now + 8) >> 4)
		now = next
	}
	out[2*n-1] = uint8((4*now + 7) >> 4)
	return out
}

func repeat(out, in []uint8) {
	for x, v := range in {
		out[2*x], out[2*x+1] = v, v
	}
}
