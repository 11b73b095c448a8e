package train

import (
	"math/rand/v2"
	"slices"
	"testing"

	"selfcon/augment"
	"selfcon/config"
	"selfcon/data"
	"selfcon/model"
)

// Large images are judged by the centre of what is resized to 256 for each 224
// pixels, small ones whole, unless the run says otherwise; alike where the run is
// all that is known, as in a prediction.
func TestEvalResize(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	im := data.Image{Width: 150, Height: 120, Channels: 1, Pix: make([]uint8, 150*120)}
	for i := range im.Pix {
		im.Pix[i] = uint8(r.Uint32())
	}
	for _, c := range []struct {
		image, resize int
		stem          model.Stem
		want          int // shorter side; 0: that of the image
	}{
		{28, 0, "", 0}, {64, 0, "", 0}, {64, 0, model.LargeStem, 73}, {96, 0, "", 110}, {96, 0, model.SmallStem, 0},
		{96, 96, "", 0}, {96, 120, "", 120}, {32, 40, "", 40},
	} {
		s := small(t, func(r *config.Run) { r.Image, r.EvalResize, r.Model.Stem, r.Model.Width = c.image, c.resize, c.stem, 1 })
		a := augment.Eval(c.image, c.image, s.Config.Mean, s.Config.Std)
		a.Resize = c.want
		plain, err := augment.New(a)
		if err != nil {
			t.Fatal(err)
		}
		want, got := make([]float32, c.image*c.image), make([]float32, c.image*c.image)
		if err := plain(want, im, nil); err != nil {
			t.Fatal(err)
		}
		for what, s := range map[string]*Setup{"set up": s, "of a run": {Config: s.Config, Net: s.Net}} {
			l, err := s.Loader(one{im, s.Classes}, 1, false)
			if err != nil {
				t.Fatal(err)
			}
			for b, err := range l.Epoch(t.Context(), 0, 0) {
				if err != nil {
					t.Fatal(err)
				}
				copy(got, b.Images)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v, %s: not the pixels of a shorter side of %d", c, what, c.want)
			}
		}
	}
	if side := (config.Run{Image: 224, Model: model.Config{Stem: model.LargeStem}}).EvalSide(); side != 256 {
		t.Errorf("224 pixels are judged at %d, want 256", side)
	}
}

// one is a set of one image.
type one struct {
	im      data.Image
	classes []string
}

func (one) Len() int                        { return 1 }
func (o one) Image(int) (data.Image, error) { return o.im, nil }
func (one) Label(int) int                   { return 0 }
func (one) Name(int) string                 { return "one" }
func (o one) Classes() []string             { return o.classes }
