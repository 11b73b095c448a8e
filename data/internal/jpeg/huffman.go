package jpeg

// look is how many bits are looked up at once.
const look = 10

// huffman is a table of codes. short[bits] is a symbol and its code's length
// for codes of at most look bits, else 0; of AC tables value[bits] is a whole
// coefficient where code and coefficient fit: it, the zeros before it, and the
// bits of both, as value<<16 | run<<8 | bits.
type huffman struct {
	set    bool
	short  [1 << look]uint16
	value  [1 << look]int32
	first  [18]int32 // code of each length, the first; of 17: a bound
	offset [17]int32 // of its symbol
	count  [17]int32
	symbol [256]uint8
}

func (d *decoder) huffmanTables(b []byte) error {
	for len(b) > 0 {
		class, id := b[0]>>4, b[0]&15
		if class > 1 || id > 3 {
			return errFormat
		}
		if b = b[1:]; len(b) < 16 {
			return errShort
		}
		t := &d.tables[class][id]
		n := int32(0)
		for i := range 16 {
			t.count[i+1] = int32(b[i])
			n += int32(b[i])
		}
		if b = b[16:]; n > 256 || int(n) > len(b) {
			return errFormat
		}
		copy(t.symbol[:], b[:n])
		b = b[n:]
		if err := t.build(class == 1); err != nil {
			return err
		}
	}
	return nil
}

func (t *huffman) build(ac bool) error {
	clear(t.short[:])
	clear(t.value[:])
	code, k := int32(0), int32(0)
	for length := int32(1); length <= 16; length++ {
		t.first[length], t.offset[length] = code, k
		if code+t.count[length] > 1<<length {
			return errFormat
		}
		for range t.count[length] {
			if length <= look {
				from := code << (look - length)
				for i := from; i < from+1<<(look-length); i++ {
					t.short[i] = uint16(length)<<8 | uint16(t.symbol[k])
				}
			}
			code++
			k++
		}
		code <<= 1
	}
	t.set = true
	if !ac {
		return nil
	}
	for i := range int32(1 << look) {
		e := t.short[i]
		length, size, run := int32(e>>8), int32(e&15), int32(e>>4&15)
		if length == 0 || size == 0 || length+size > look {
			continue
		}
		bits := i >> (look - length - size) & (1<<size - 1)
		t.value[i] = extend(bits, size)<<16 | run<<8 | (length + size)
	}
	return nil
}

// extend is the number that size bits stand for (T.81 §F.2.2.1).
func extend(bits, size int32) int32 {
	if bits < 1<<(size-1) {
		return bits - 1<<size + 1
	}
	return bits
}

// symbol decodes a code; there are at least 16 bits.
func (d *decoder) symbol(t *huffman) (uint8, error) {
	if e := t.short[d.acc>>(64-look)]; e != 0 {
		d.acc <<= e >> 8
		d.bits -= int(e >> 8)
		return uint8(e), nil
	}
	for length := int32(look + 1); length <= 16; length++ {
		code := int32(d.acc >> (64 - length))
		if code-t.first[length] < t.count[length] && code >= t.first[length] {
			d.acc <<= length
			d.bits -= int(length)
			return t.symbol[t.offset[length]+code-t.first[length]], nil
		}
	}
	return 0, errFormat
}

// coefficients decodes a block, dequantised, into d.block (in 16 bits, which damaged
// data can exceed, as libjpeg-turbo has them), and gives the index
// (in the order of the file) of the last that isn't zero.
func (d *decoder) coefficients(c *component) (last int, err error) {
	if d.bits < 48 {
		d.fill()
	}
	size, err := d.symbol(c.dc)
	if err != nil {
		return 0, err
	}
	if size > 11 {
		return 0, errFormat
	}
	if size > 0 {
		bits := int32(d.acc >> (64 - size))
		d.acc <<= size
		d.bits -= int(size)
		c.last += extend(bits, int32(size))
	}
	d.block[0] = int32(int16(c.last * c.q[0]))
	// In registers, and written back before anything else uses them.
	acc, bits, table := d.acc, d.bits, c.ac
	for k := 1; k < 64; {
		if bits < 32 {
			d.acc, d.bits = acc, bits
			d.fill()
			if acc, bits = d.acc, d.bits; bits < 0 {
				return 0, errShort
			}
		}
		if v := table.value[acc>>(64-look)]; v != 0 {
			acc <<= v & 15
			bits -= int(v & 15)
			if k += int(v >> 8 & 15); k > 63 {
				return 0, errFormat
			}
			last = k
			d.block[natural[k]&63] = int32(int16(v >> 16 * c.q[k]))
			k++
			continue
		}
		var rs uint8
		if e := table.short[acc>>(64-look)]; e != 0 {
			acc <<= e >> 8 & 15
			bits -= int(e >> 8)
			rs = uint8(e)
		} else {
			d.acc, d.bits = acc, bits
			if rs, err = d.symbol(table); err != nil {
				return 0, err
			}
			acc, bits = d.acc, d.bits
		}
		run, size := int(rs>>4), rs&15
		if size == 0 {
			if run != 15 {
				break
			}
			k += 16
			continue
		}
		if k += run; k > 63 || size > 10 {
			return 0, errFormat
		}
		more := int32(acc >> (64 - size))
		acc <<= size
		bits -= int(size)
		last = k
		d.block[natural[k]&63] = int32(int16(extend(more, int32(size)) * c.q[k]))
		k++
	}
	d.acc, d.bits = acc, bits
	return last, nil
}

// natural is where the coefficients lie, which the file has in zigzag order.
var natural = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}
