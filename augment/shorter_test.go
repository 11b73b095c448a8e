package augment

import (
	"testing"

	"selfcon/data"
)

// Shorter followed by nothing is the evaluation's resize: the centre crop of
// what it gives is Eval's result, which is compared with torchvision's.
func TestShorter(t *testing.T) {
	rec := loadRecording(t)
	for _, name := range []string{"synthetic", "upright", "fashion"} {
		im := rec.image(t, name)
		small, err := Shorter(im, 20)
		if err != nil || min(small.Width, small.Height) != 20 || len(small.Pix) != small.Width*small.Height*small.Channels {
			t.Fatalf("%s: %d×%d, %v", name, small.Width, small.Height, err)
		}
		mean, std := make([]float64, im.Channels), make([]float64, im.Channels)
		for i := range std {
			std[i] = 1
		}
		f, err := New(Eval(20, 20, mean, std))
		if err != nil {
			t.Fatal(err)
		}
		got, want := make([]float32, 400*im.Channels), make([]float32, 400*im.Channels)
		if err := f(want, im, nil); err != nil {
			t.Fatal(err)
		}
		if err := f(got, small, nil); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%s: value %d is %v, want %v", name, i, got[i], want[i])
			}
		}
		same, err := Shorter(im, 100)
		if err != nil || &same.Pix[0] != &im.Pix[0] {
			t.Errorf("%s: a small image was changed, %v", name, err)
		}
	}
	if _, err := Shorter(data.Image{}, 0); err == nil {
		t.Error("no error for a side of 0")
	}
}
