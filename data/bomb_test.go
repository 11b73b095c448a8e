package data

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// allocated is how many bytes do asks for.
func allocated(do func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	do()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}

// decodeBound is the memory that decoding may ask for: of what readHeader lets
// pass, the pixels; of anything, a multiple of the file.
func decodeBound(pixels, size int) uint64 {
	return uint64(pixelBytes*pixels + 8*size + 4<<20)
}

// TestImageBombs: small files that claim to be huge are refused before memory is
// taken for them, where the format can't hold so much.
func TestImageBombs(t *testing.T) {
	files := map[string][]byte{}
	for _, m := range membersOf(t, "testdata/images.tar.gz") {
		files[m.name] = m.body
	}
	// tag sets a number in a little-endian TIFF's first directory.
	tag := func(raw []byte, id uint16, v uint32) {
		at := binary.LittleEndian.Uint32(raw[4:])
		for i := range uint32(binary.LittleEndian.Uint16(raw[at:])) {
			if e := raw[at+2+12*i:]; binary.LittleEndian.Uint16(e) == id {
				binary.LittleEndian.PutUint16(e[2:], 4) // a long
				binary.LittleEndian.PutUint32(e[8:], v)
			}
		}
	}
	claim := map[string]func(raw []byte, w, h int){
		"P.gif": func(raw []byte, w, h int) {
			binary.LittleEndian.PutUint16(raw[6:], uint16(w))
			binary.LittleEndian.PutUint16(raw[8:], uint16(h))
		},
		"RGB.bmp": func(raw []byte, w, h int) {
			binary.LittleEndian.PutUint32(raw[18:], uint32(w))
			binary.LittleEndian.PutUint32(raw[22:], uint32(h))
		},
		"RGB.webp": func(raw []byte, w, h int) { // RIFF, size, WEBP, VP8L, size, signature, 14 + 14 bits
			v := binary.LittleEndian.Uint32(raw[21:])&^(1<<28-1) | uint32(h-1)&0x3fff<<14 | uint32(w-1)&0x3fff
			binary.LittleEndian.PutUint32(raw[21:], v)
		},
		"RGB-tiff_lzw.tif": func(raw []byte, w, h int) { tag(raw, 256, uint32(w)); tag(raw, 257, uint32(h)) },
	}
	for name, set := range claim {
		for _, size := range [][2]int{{16000, 16000}, {8000, 8000}, {2000, 2000}, {1024, 1024}} {
			raw := bytes.Clone(files[name])
			set(raw, size[0], size[1])
			h, err := readHeader(name, raw)
			if err == nil && (h.width != size[0] || h.height != size[1]) {
				t.Fatalf("%s: the test sets no size: %d×%d", name, h.width, h.height)
			}
			pixels := 0
			if err == nil {
				if pixels = size[0] * size[1]; pixels > 4<<20 && name != "RGB.webp" {
					t.Errorf("%s of %d bytes claims %v and is not refused at once", name, len(raw), size)
				}
			}
			n := allocated(func() {
				if _, err := decodeImage(name, raw, 3); err == nil && size[0] > 1024 {
					t.Errorf("%s of %d bytes claims %v and was decoded", name, len(raw), size)
				}
			})
			if n > decodeBound(pixels, len(raw)) {
				t.Errorf("%s of %d bytes that claims %v: %d MB allocated", name, len(raw), size, n>>20)
			}
		}
	}
}

// TestArchiveBombs: what an archive unpacks to is bounded by its own size.
func TestArchiveBombs(t *testing.T) {
	zeros := make([]byte, 40<<20)
	packed := gz(t, tarOf(t, []member{{"a/1.png", zeros}}))
	if n := allocated(func() {
		a, err := openArchive("x", bytes.NewReader(packed), int64(len(packed)), "x")
		if err == nil {
			_, err = a.read("a/1.png")
		}
		if err != nil {
			t.Error(err)
		}
	}); n > 3*uint64(len(packed))*maxDeflate {
		t.Errorf("%d MB allocated for an archive of %d bytes", n>>20, len(packed))
	}
	// A header that promises more than is there takes no more than what is there.
	lies := tarOf(t, []member{{"a/1.png", []byte("x")}})
	lies = lies[:600]
	copy(lies[124:], "01777777777\x00")
	sum := 0
	copy(lies[148:156], "        ")
	for _, b := range lies[:512] {
		sum += int(b)
	}
	copy(lies[148:], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	for _, raw := range [][]byte{lies, gz(t, lies)} {
		if n := allocated(func() {
			if _, err := openArchive("x", bytes.NewReader(raw), int64(len(raw)), "x"); err == nil {
				t.Error("no error")
			}
		}); n > 20<<20 {
			t.Errorf("%d MB allocated for an archive of %d bytes", n>>20, len(raw))
		}
	}
}

// TestFlatImages: images of one colour, which take next to nothing, are read.
func TestFlatImages(t *testing.T) {
	const w, h = 4000, 4000
	var b bytes.Buffer
	if err := gif.Encode(&b, image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.Black, color.White}), nil); err != nil {
		t.Fatal(err)
	}
	// Group 4: each row as the one above it is a single 1 bit.
	fax := binary.LittleEndian.AppendUint32([]byte("II*\x00"), 8)
	tags := [][2]uint32{{256, w}, {257, h}, {258, 1}, {259, 4}, {262, 0}, {273, 8 + 2 + 8*12 + 4}, {278, h}, {279, h / 8}}
	fax = binary.LittleEndian.AppendUint16(fax, uint16(len(tags)))
	for _, tag := range tags {
		fax = binary.LittleEndian.AppendUint16(fax, uint16(tag[0]))
		fax = binary.LittleEndian.AppendUint16(fax, 4)
		fax = binary.LittleEndian.AppendUint32(fax, 1)
		fax = binary.LittleEndian.AppendUint32(fax, tag[1])
	}
	fax = append(append(fax, 0, 0, 0, 0), bytes.Repeat([]byte{255}, h/8)...)
	for _, c := range []struct {
		name string
		raw  []byte
		want uint8
	}{{"x.gif", b.Bytes(), 0}, {"x.tif", fax, 255}} {
		n := allocated(func() {
			im, err := decodeImage(c.name, c.raw, 1)
			if err != nil || im.Width != w || im.Height != h || bytes.Count(im.Pix, []byte{c.want}) != w*h {
				t.Errorf("%s of %d bytes: %d×%d, %v", c.name, len(c.raw), im.Width, im.Height, err)
			}
		})
		if n > decodeBound(w*h, len(c.raw)) {
			t.Errorf("%s of %d bytes: %d MB allocated", c.name, len(c.raw), n>>20)
		}
	}
}

// TestLargeImages: what the largest kinds of decoders take stays in bounds.
func TestLargeImages(t *testing.T) {
	const side = 3000
	files := map[string][]byte{"x.png": pngOf(t, image.NewNRGBA64(image.Rect(0, 0, side, side)))}
	for _, m := range membersOf(t, "testdata/images.tar.gz") {
		if m.name == "progressive.jpg" || m.name == "CMYK.jpg" { // of that size, but for most of the blocks
			raw := bytes.Clone(m.body)
			at := max(bytes.Index(raw, []byte{0xff, 0xc0}), bytes.Index(raw, []byte{0xff, 0xc2}))
			binary.BigEndian.PutUint32(raw[at+5:], side<<16|side)
			files[m.name] = append(raw, make([]byte, side*side/512)...)
		}
	}
	for name, raw := range files {
		if h, err := readHeader(name, raw); err != nil || h.width != side || h.height != side {
			t.Errorf("%s: %d×%d, %v", name, h.width, h.height, err)
		}
		for _, channels := range []int{1, 3} {
			n := allocated(func() { decodeImage(name, raw, channels) })
			if n > decodeBound(side*side, len(raw)) {
				t.Errorf("%s of %d bytes: %d MB allocated, want at most %d", name, len(raw), n>>20, decodeBound(side*side, len(raw))>>20)
			}
		}
	}
}

// TestLargeInTurn: images that are decoded one after the other do not add up, nor
// what a decoder needs to what is made of it.
func TestLargeInTurn(t *testing.T) {
	const side = 5000
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, image.NewNRGBA64(image.Rect(0, 0, side, side))); err != nil {
		t.Fatal(err)
	}
	debug.FreeOSMemory()
	var before, peak runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 3 {
		if _, err := decodeImage("x.png", b.Bytes(), 3); err != nil {
			t.Fatal(err)
		}
		// What is held, used or not: nothing is given back so soon.
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak.HeapSys = max(peak.HeapSys, now.HeapSys-now.HeapReleased)
	}
	held := before.HeapSys - before.HeapReleased
	// 8 bytes a pixel for the decoder and 3 for the result; half as much again, as
	// free memory may lie in pieces that are too small. Without collections it is
	// twice that.
	if got, want := peak.HeapSys-held, uint64(side*side*(8+3)*3/2); peak.HeapSys > held && got > want {
		t.Errorf("%d MB for images that take %d MB each", got>>20, side*side*(8+3)>>20)
	}
}

// TestUnpackedBounds: gzip and zip files that unpack to more than a hundred times
// their size, and 64 MB, are refused at that size.
func TestUnpackedBounds(t *testing.T) {
	const n = 68
	images := be(0x803, n, 1000, 1000)
	images = append(images, make([]byte, n*1000*1000)...)
	labels := append(be(0x801, n), make([]byte, n)...)
	dir := t.TempDir()
	write(t, dir, "idx/train-images-idx3-ubyte.gz", gz(t, images))
	write(t, dir, "idx/train-labels-idx1-ubyte", labels)
	bomb := tarOf(t, []member{{"train/a/1.png", images}, {"train/b/1.png", images[:100]}})
	for spec, part := range map[string]string{
		"idx:" + dir + "/idx": "more than 67108864 are not unpacked in memory; gunzip it",
		"imagefolder:" + write(t, dir, "x.tar.gz", gz(t, bomb)):                                       "more than 64 MB unpacked",
		"imagefolder:" + write(t, dir, "x.zip", zipOf(t, []member{{"train/a/1.png", images}})):        "not a file that is read from an archive",
		"webdataset:" + write(t, dir, "x/train.tar.gz", gz(t, tarOf(t, []member{{"1.png", images}}))): "unpacks to more than 64 MB",
	} {
		got := allocated(func() {
			if _, err := Open(spec, Options{}); err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v, want %q", spec, err, part)
			}
		})
		if got > 5*uint64(maxUnpacked(0)) { // doubled as it grows
			t.Errorf("%s: %d MB allocated", spec, got>>20)
		}
	}
}
