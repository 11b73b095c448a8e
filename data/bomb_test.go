package data

import (
	"bytes"
	"encoding/binary"
	"runtime"
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

// TestImageBombs: small files that claim to be huge are refused before memory is
// taken for them, and no small file takes more than that of a million pixels.
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
			if h, err := readHeader(name, raw); err == nil && (h.width != size[0] || h.height != size[1]) {
				t.Fatalf("%s: the test sets no size: %d×%d", name, h.width, h.height)
			}
			n := allocated(func() {
				if _, err := decodeImage(name, raw, 3); err == nil && size[0] > 1024 {
					t.Errorf("%s of %d bytes claims %v and was decoded", name, len(raw), size)
				}
			})
			// 16 bytes for each of a million pixels.
			if n > 20<<20 {
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
