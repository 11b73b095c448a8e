package jpeg

import (
	"bytes"
	"image"
	"image/color"
	std "image/jpeg"
	"math/rand/v2"
	"testing"

	"selfcon/internal/testkit"
)

// photo is a JPEG of noise and shades.
func photo(t testing.TB, w, h, quality int) []byte {
	r := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			im.SetRGBA(x, y, color.RGBA{uint8(3*x + r.IntN(40)), uint8(5*y + r.IntN(40)), uint8(x + y + r.IntN(90)), 255})
		}
	}
	var b bytes.Buffer
	if err := std.Encode(&b, im, &std.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestNearStandard compares with image/jpeg on luma alone, where both differ by
// rounding only. That results are libjpeg's is tested in package data, on
// recorded files.
func TestNearStandard(t *testing.T) {
	im := image.NewGray(image.Rect(0, 0, 61, 43))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range im.Pix {
		im.Pix[i] = uint8(r.IntN(256))
	}
	var b bytes.Buffer
	if err := std.Encode(&b, im, nil); err != nil {
		t.Fatal(err)
	}
	pix, w, h, ch, err := Decode(b.Bytes())
	if err != nil || w != 61 || h != 43 || ch != 1 {
		t.Fatalf("%d×%d×%d, %v", w, h, ch, err)
	}
	want, err := std.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range want.(*image.Gray).Pix[:61] {
		if d := int(v) - int(pix[i]); d < -1 || d > 1 {
			t.Fatalf("pixel %d: %d, want %d", i, pix[i], v)
		}
	}
}

// TestDamaged: whatever a byte is changed to, or where the file ends, there is no
// panic; a cut file is an error.
func TestDamaged(t *testing.T) {
	raw := photo(t, 50, 35, 80)
	if _, _, _, _, err := Decode(raw); err != nil {
		t.Fatal(err)
	}
	for n := range len(raw) - 2 { // without its end marker it is whole
		if _, _, _, _, err := Decode(raw[:n]); err == nil && n < len(raw)-10 {
			t.Fatalf("cut after %d of %d bytes: no error", n, len(raw))
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		bad := bytes.Clone(raw)
		for range 1 + r.IntN(3) {
			bad[r.IntN(len(bad))] = byte(r.Uint32())
		}
		_, _, _, _, _ = Decode(bad)
	}
	// A size that the file can't hold is refused before memory is taken.
	huge := bytes.Clone(raw)
	at := bytes.Index(huge, []byte{0xff, 0xc0})
	copy(huge[at+5:], []byte{0xff, 0xff, 0xff, 0xff})
	if _, _, _, _, err := Decode(huge); err == nil {
		t.Error("an image of 65535×65535 in a small file")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(photo(f, 20, 20, 50))
	f.Add(photo(f, 9, 3, 100))
	f.Fuzz(func(t *testing.T, raw []byte) {
		// 64 pixels a bit at best, in blocks of up to 32×32 around them.
		defer testkit.Bound(t, 1<<20+8192*len(raw))()
		pix, w, h, ch, err := Decode(raw)
		if err == nil && (len(pix) != w*h*ch || w < 1 || h < 1) {
			t.Errorf("%d bytes of %d×%d×%d", len(pix), h, w, ch)
		}
	})
}
