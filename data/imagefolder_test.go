package data

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	red  = color.NRGBA{200, 10, 20, 255}
	blue = color.NRGBA{10, 20, 200, 255}
)

func TestImageFolder(t *testing.T) {
	dir := t.TempDir()
	p := pngOf(t, flat(4, 3, red))
	j := jpegOf(t, flat(8, 8, blue))
	for _, f := range []string{"Zebra/b.PNG", "Zebra/a.JPEG", "ape/deep/er/1.png", "ape/2.jpg", "ape/.hidden.png", "ape/note.txt", ".git/x.png", "ape/deep.d/3.png"} {
		body := p
		if strings.Contains(strings.ToLower(f), ".jp") {
			body = j
		}
		write(t, dir, "train/"+f, body)
	}
	write(t, dir, "train/stray.png", p)
	write(t, dir, "README", nil)
	for _, f := range []string{"valid/Zebra/1.png", "valid/ape/1.png", "Test/ape/1.png", "Test/Zebra/1.png", "Test/Zebra/2.png"} {
		write(t, dir, f, p)
	}
	s, err := Open("imagefolder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Train.Classes(), []string{"Zebra", "ape"}) {
		t.Errorf("classes %q", s.Train.Classes())
	}
	// As Python: sorted(os.walk(…)), then sorted names.
	want := []string{"Zebra/a.JPEG", "Zebra/b.PNG", "ape/2.jpg", "ape/deep.d/3.png", "ape/deep/er/1.png"}
	var got []string
	for i := range s.Train.Len() {
		rel, _ := filepath.Rel(filepath.Join(dir, "train"), s.Train.Name(i))
		got = append(got, filepath.ToSlash(rel))
		if l := s.Train.Label(i); s.Train.Classes()[l] != strings.Split(got[i], "/")[0] {
			t.Errorf("%s has label %d", got[i], l)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if s.Val.Len() != 2 || s.Test.Len() != 3 {
		t.Errorf("%d and %d images in val and test", s.Val.Len(), s.Test.Len())
	}
	im := imageOf(t, s.Train, 1)
	if im.Width != 4 || im.Height != 3 || !bytes.Equal(im.Pix[:6], []byte{200, 10, 20, 200, 10, 20}) {
		t.Errorf("image %+v", im)
	}
	im = imageOf(t, s.Train, 0)
	for c, want := range []int{10, 20, 200} {
		if d := int(im.Pix[c]) - want; d < -3 || d > 3 { // JPEG rounds colours
			t.Errorf("JPEG channel %d is %d, want about %d", c, im.Pix[c], want)
		}
	}
	if s, err = Open("imagefolder:"+dir, Options{Channels: 1}); err != nil {
		t.Fatal(err)
	}
	if im = imageOf(t, s.Train, 1); im.Channels != 1 || im.Pix[0] != luma(200, 10, 20) {
		t.Errorf("grey: %+v", im)
	}

	// Class folders alone, one behind a link.
	dir2 := t.TempDir()
	write(t, dir2, "a/1.png", p)
	if err := os.Symlink(filepath.Join(dir, "train", "Zebra"), filepath.Join(dir2, "z")); err != nil {
		t.Fatal(err)
	}
	if s, err = Open("imagefolder:"+dir2, Options{}); err != nil {
		t.Fatal(err)
	}
	if s.Train.Len() != 3 || s.Val != nil || s.Test != nil || !slices.Equal(s.Train.Classes(), []string{"a", "z"}) {
		t.Errorf("%d images of %q", s.Train.Len(), s.Train.Classes())
	}
}

func TestImageFolderChannels(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a/1.png", pngOf(t, flatGrey(2, 2, 77)))
	write(t, dir, "a/2.png", pngOf(t, flat(2, 2, red))) // not the first of its class
	write(t, dir, "b/1.jpg", jpegOf(t, flatGrey(2, 2, 99)))
	s, err := Open("imagefolder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []byte{77, luma(200, 10, 20), 99} {
		if im := imageOf(t, s.Train, i); im.Channels != 1 || im.Pix[0] != want {
			t.Errorf("image %d: %d channels, %d, want 1 and %d", i, im.Channels, im.Pix[0], want)
		}
	}
	write(t, dir, "c/1.png", pngOf(t, flat(2, 2, red)))
	if s, err = Open("imagefolder:"+dir, Options{}); err != nil {
		t.Fatal(err)
	}
	if im := imageOf(t, s.Train, 0); im.Channels != 3 || !bytes.Equal(im.Pix[:3], []byte{77, 77, 77}) {
		t.Errorf("image 0: %+v", im)
	}
}

func TestImageFolderBad(t *testing.T) {
	p := pngOf(t, flat(2, 2, red))
	for name, c := range map[string]struct {
		files []string
		dirs  []string
		path  string
		parts []string
	}{
		"nothing":       {path: "", parts: []string{"no folders in it", "train/<class>"}},
		"no train":      {files: []string{"val/a/1.png"}, path: "", parts: []string{"a folder val but no folder train"}},
		"no classes":    {files: []string{"train/1.png"}, path: "train", parts: []string{"no class folders", "<class>"}},
		"empty class":   {files: []string{"train/a/1.png"}, dirs: []string{"train/b"}, path: "train/b", parts: []string{"no images in this class folder", ".jpg, .png or .webp"}},
		"other files":   {files: []string{"train/a/1.heic"}, path: "train/a", parts: []string{"no images", "1.heic"}},
		"class missing": {files: []string{"train/a/1.png", "train/b/1.png", "test/a/1.png"}, path: "test", parts: []string{`no folder for class "b"`, "the same class folders"}},
		"class extra":   {files: []string{"train/a/1.png", "val/a/1.png", "val/c/1.png", "val/b/1.png"}, path: "val", parts: []string{`classes "b", "c" not in`}},
		"two vals":      {files: []string{"train/a/1.png", "val/a/1.png", "valid/a/1.png"}, path: "", parts: []string{"val and valid are the same split"}},
		"empty val":     {files: []string{"train/a/1.png"}, dirs: []string{"val"}, path: "val", parts: []string{"no class folders"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range c.files {
				write(t, dir, f, p)
			}
			for _, d := range c.dirs {
				if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open("imagefolder:"+dir, Options{})
			wantData(t, err, filepath.ToSlash(filepath.Join(dir, c.path)), c.parts...)
		})
	}

	dir := t.TempDir()
	write(t, dir, "train/a/1.png", p)
	if err := os.Symlink(filepath.Join(dir, "train"), filepath.Join(dir, "train", "a", "loop")); err != nil {
		t.Fatal(err)
	}
	_, err := Open("imagefolder:"+dir, Options{})
	wantData(t, err, "a/loop", "a link to a folder that it is in")
	_, err = Open("imagefolder:"+filepath.Join(dir, "train/a/1.png"), Options{})
	wantData(t, err, "1.png", "is a file", "train/<class>")

	// Images are decoded when asked for: the folder opens, the image fails.
	dir = t.TempDir()
	write(t, dir, "a/0.png", p)
	bad := write(t, dir, "a/1.png", p[:40])
	gone := write(t, dir, "a/2.png", p)
	s, err := Open("imagefolder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	_, err = s.Train.Image(1)
	wantData(t, err, bad, "damaged PNG image: the file ends too early")
	_, err = s.Train.Image(2)
	wantData(t, err, gone, "no such file")
}

// rawPNG is a PNG of given header fields and rows (each with its filter byte).
func rawPNG(w, h uint32, depth, kind byte, chunks map[string][]byte, idat []byte) []byte {
	out := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, body []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
		at := len(out)
		out = append(append(out, name...), body...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[at:]))
	}
	chunk("IHDR", append(be(w, h), depth, kind, 0, 0, 0))
	for _, name := range []string{"PLTE", "tRNS"} {
		if chunks[name] != nil {
			chunk(name, chunks[name])
		}
	}
	chunk("IDAT", idat)
	chunk("IEND", nil)
	return out
}

// stored is a zlib stream that holds raw as it is.
func stored(raw []byte) []byte {
	n := len(raw)
	out := append([]byte{0x78, 1, 1, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}, raw...)
	a, b := uint32(1), uint32(0)
	for _, v := range raw {
		a = (a + uint32(v)) % 65521
		b = (b + a) % 65521
	}
	return binary.BigEndian.AppendUint32(out, b<<16|a)
}

// The wanted values are what Pillow 13's convert("RGB") gives for these files, but
// for 16-bit grey (see decodeImage).
func TestDecodeAsPillow(t *testing.T) {
	u16 := func(v ...uint16) []byte {
		var b []byte
		for _, x := range v {
			b = binary.BigEndian.AppendUint16(b, x)
		}
		return b
	}
	row := func(b ...byte) []byte { return stored(append([]byte{0}, b...)) }
	for name, c := range map[string]struct {
		png  []byte
		want []byte
	}{
		"grey 16":    {rawPNG(6, 1, 16, 0, nil, row(u16(0, 1, 255, 256, 300, 65535)...)), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 255, 255, 255}},
		"RGB 16":     {rawPNG(2, 1, 16, 2, nil, row(u16(0, 255, 256, 511, 0x80ff, 65535)...)), []byte{0, 0, 1, 1, 128, 255}},
		"grey+a 16":  {rawPNG(2, 1, 16, 4, nil, row(u16(0x80ff, 255, 511, 65535)...)), []byte{128, 128, 128, 1, 1, 1}},
		"RGBA 16":    {rawPNG(1, 1, 16, 6, nil, row(u16(0x80ff, 255, 511, 30000)...)), []byte{128, 0, 1}},
		"grey 2":     {rawPNG(4, 1, 2, 0, nil, row(0b00011011)), []byte{0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255}},
		"grey 1":     {rawPNG(4, 1, 1, 0, nil, row(0b00110000)), []byte{0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255}},
		"palette":    {rawPNG(2, 1, 8, 3, map[string][]byte{"PLTE": {10, 20, 30, 40, 50, 60}, "tRNS": {100}}, row(0, 1)), []byte{10, 20, 30, 40, 50, 60}},
		"RGBA":       {rawPNG(1, 1, 8, 6, nil, row(200, 100, 50, 3)), []byte{200, 100, 50}},
		"RGBA clear": {rawPNG(1, 1, 8, 6, nil, row(200, 100, 50, 0)), []byte{200, 100, 50}},
		"grey+a":     {rawPNG(1, 1, 8, 4, nil, row(200, 0)), []byte{200, 200, 200}},
		"RGB tRNS":   {rawPNG(1, 1, 8, 2, map[string][]byte{"tRNS": {0, 1, 0, 2, 0, 3}}, row(1, 2, 3)), []byte{1, 2, 3}},
	} {
		im, err := decodeImage(name, c.png, 3)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(im.Pix, c.want) {
			t.Errorf("%s: %d, want %d", name, im.Pix, c.want)
		}
	}
}

// A CMYK JPEG of 1×1 and Pillow's RGB of it.
func TestDecodeCMYK(t *testing.T) {
	im := image.NewCMYK(image.Rect(0, 0, 2, 1))
	copy(im.Pix, []byte{0, 100, 255, 0, 10, 20, 30, 40})
	got, err := fromGo(im, false)
	// Pillow: Image.frombytes("CMYK", (2, 1), …).convert("RGB")
	if want := []byte{255, 155, 0, 207, 198, 190}; err != nil || !bytes.Equal(got.Pix, want) {
		t.Errorf("%d, want %d", got.Pix, want)
	}
}

func TestDecodeBad(t *testing.T) {
	j := jpegOf(t, flat(64, 64, red))
	p := pngOf(t, flat(64, 64, red))
	for name, c := range map[string]struct {
		raw   []byte
		parts []string
	}{
		"empty":          {nil, []string{"empty file", "JPEG, PNG,"}},
		"text":           {[]byte("<html>"), []string{"not an image", "3c 68 74 6d"}},
		"cut JPEG":       {j[:len(j)/2], []string{"damaged JPEG", "ends too early"}},
		"cut JPEG head":  {j[:12], []string{"damaged JPEG", "ends too early"}},
		"cut PNG":        {p[:60], []string{"damaged", "PNG image"}},
		"PNG checksum":   {flip(p, -13), []string{"damaged or unsupported PNG", "checksum"}},
		"large PNG":      {rawPNG(100000, 100000, 8, 2, nil, stored([]byte{0})), []string{"100000×100000", "more than 64 megapixels"}},
		"claiming PNG":   {rawPNG(8000, 8000, 16, 6, nil, stored([]byte{0})), []string{"header says 8000×8000", "can't hold"}},
		"claiming JPEG":  {bytes.Replace(j, []byte{8, 0, 64, 0, 64}, []byte{8, 30, 0, 30, 0}, 1), []string{"header says 7680×7680", "can't hold"}},
		"JPEG of no row": {bytes.Replace(j, []byte{8, 0, 64, 0, 64}, []byte{8, 0, 0, 0, 64}, 1), []string{"JPEG"}},
	} {
		_, err := decodeImage("folder/x", c.raw, 3)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		wantData(t, err, "folder/x", c.parts...)
	}
}

// TestJPEGNearPillow bounds how far Go's JPEG decoder is from libjpeg's, on a
// smooth 16×16 image with full-size colour planes.
func TestJPEGNearPillow(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(pillowJPEG)
	if err != nil {
		t.Fatal(err)
	}
	want, err := base64.StdEncoding.DecodeString(pillowRGB)
	if err != nil {
		t.Fatal(err)
	}
	im, err := decodeImage("x", raw, 3)
	if err != nil {
		t.Fatal(err)
	}
	worst := 0
	for i, v := range im.Pix {
		worst = max(worst, max(int(v)-int(want[i]), int(want[i])-int(v)))
	}
	// Each of three planes may round to the other side once, and the largest
	// weight of a colour difference is 1.772.
	if worst > 3 {
		t.Errorf("off by %d levels", worst)
	}
	t.Logf("off by at most %d levels", worst)
}
