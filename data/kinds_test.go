package data

import (
	"fmt"
	"testing"
)

// TestImageKinds decodes small files of every kind and compares them with what
// Pillow makes of them (testdata/make_images.py).
func TestImageKinds(t *testing.T) {
	files := map[string][]byte{}
	for _, m := range membersOf(t, "testdata/images.tar.gz") {
		files[m.name] = m.body
	}
	seen := map[string]bool{}
	for name, raw := range files {
		want, ok := files[name+".raw"]
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			im, err := decodeImage(name, raw, 3)
			if err != nil {
				t.Fatal(err)
			}
			if im.Width != int(want[0]) || im.Height != int(want[1]) {
				t.Fatalf("%d×%d (width×height), want %d×%d", im.Width, im.Height, want[0], want[1])
			}
			limit := 0
			if name == "progressive.jpg" || name == "CMYK.jpg" {
				limit = 3 // see TestJPEGNearPillow
			}
			worst, at := 0, 0
			for i, v := range want[2:] {
				if d := max(int(v)-int(im.Pix[i]), int(im.Pix[i])-int(v)); d > worst {
					worst, at = d, i
				}
			}
			if worst > limit {
				t.Errorf("differs by up to %d, at pixel %d, channel %d: %d, want %d", worst, at/3, at%3, im.Pix[at], want[2+at])
			}
		})
		seen[kindOf(raw).name] = true
	}
	for _, k := range imageKinds {
		if !seen[k.name] {
			t.Errorf("no file of kind %s", k.name)
		}
	}
	if len(files) < 100 {
		t.Error(fmt.Sprint(len(files), " files, which can't be all"))
	}
}
