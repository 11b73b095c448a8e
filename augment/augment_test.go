package augment

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"selfcon/data"
)

var (
	cifarMean = []float64{0.4914, 0.4822, 0.4465}
	cifarStd  = []float64{0.2023, 0.1994, 0.2010}
)

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string // in the message
	}{
		{func(c *Config) { c.CropMin = 1.5 }, "CropMin 1.5: the smallest crop is a part of the image's area, in (0, 1]"},
		{func(c *Config) { c.CropMin = -0.1 }, "CropMin -0.1"},
		{func(c *Config) { c.CropMin = math.NaN() }, "CropMin NaN"},
		{func(c *Config) { c.Std = []float64{0.2, 0, 0.2} }, "standard deviation of channel 1 is 0: must be positive and finite"},
		{func(c *Config) { c.Std = []float64{0.2, 0.2, 1e-60} }, "standard deviation of channel 2 is 1e-60"},
		{func(c *Config) { c.Std = []float64{0.2} }, "1 standard deviations for 3 channels: need one a channel"},
		{func(c *Config) { c.Mean = []float64{0.5, 0.5} }, "2 means for 3 channels: need one a channel"},
		{func(c *Config) { c.Mean = []float64{0.5, math.Inf(1), 0.5} }, "mean of channel 1 is +Inf"},
		{func(c *Config) { c.Height = 0 }, "size 0×32 (height×width): both must be at least 1"},
		{func(c *Config) { c.Width = -1 }, "size 32×-1"},
		{func(c *Config) { c.Channels = 4 }, "4 channels: must be 1 (grey) or 3 (RGB)"},
		{func(c *Config) { c.Flip = 1.1 }, "Flip 1.1: a probability must be in [0, 1]"},
		{func(c *Config) { c.JitterProb = -1 }, "JitterProb -1"},
		{func(c *Config) { c.Gray = math.NaN() }, "Gray NaN"},
		{func(c *Config) { c.Jitter.Brightness = -0.4 }, "Jitter.Brightness -0.4: must be in [0, 1000]"},
		{func(c *Config) { c.Jitter.Contrast = 1e9 }, "Jitter.Contrast 1e+09"},
		{func(c *Config) { c.Jitter.Saturation = math.Inf(1) }, "Jitter.Saturation +Inf"},
		{func(c *Config) { c.Jitter.Hue = 0.6 }, "Jitter.Hue 0.6: a part of the colour circle, must be in [0, 0.5]"},
		{func(c *Config) { c.Resize = 40 }, "Resize 40 with CropMin 0.2: a random crop is resized to 32×32"},
		{func(c *Config) { c.CropMin, c.Resize = 0, 31 }, "Resize 31: the image's shorter side must not be below 32"},
	} {
		cfg := Strong(32, 32, cifarMean, cifarStd)
		c.change(&cfg)
		f, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || f != nil {
			t.Errorf("New gave error %q, want one with %q", err, c.want)
		}
	}
	// All mistakes are named at once.
	err := Config{}.Validate()
	for _, want := range []string{"size 0×0", "0 channels"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the empty configuration gave %q, want a message with %q", err, want)
		}
	}
	for _, preset := range []func(int, int, []float64, []float64) Config{Strong, Weak, Eval} {
		if err := preset(32, 24, cifarMean, cifarStd).Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestRunErrors(t *testing.T) {
	f, err := New(Strong(8, 8, cifarMean, cifarStd))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	good := data.Image{Pix: make([]uint8, 12), Width: 2, Height: 2, Channels: 3}
	for _, c := range []struct {
		n    int
		im   data.Image
		r    *rand.Rand
		want string
	}{
		{192, data.Image{Pix: make([]uint8, 11), Width: 2, Height: 2, Channels: 3}, r, "image of 2×2 (height×width) with 3 channels has 11 bytes, want 12"},
		{192, data.Image{Pix: make([]uint8, 16), Width: 2, Height: 2, Channels: 4}, r, "need at least one pixel, and 1 or 3 channels"},
		{192, data.Image{}, r, "image of 0×0"},
		{191, good, r, "room for 191 values, need 192"},
		{192, good, nil, "needs a random stream, got nil"},
	} {
		if err := f(make([]float32, c.n), c.im, c.r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %q, want one with %q", err, c.want)
		}
	}
	if err := f(make([]float32, 192), good, r); err != nil {
		t.Error(err)
	}
}

// TestChannels: a grey image through a transform to RGB is the same image
// repeated, an RGB image through one to grey is its convert("L"); both with
// the same draws.
func TestChannels(t *testing.T) {
	rec := loadRecording(t)
	grey := rec.image(t, "fashion")
	asRGB := data.Image{Width: grey.Width, Height: grey.Height, Channels: 3}
	for _, v := range grey.Pix {
		asRGB.Pix = append(asRGB.Pix, v, v, v)
	}
	rgb := rec.image(t, "scene0")
	asGrey := data.Image{Pix: make([]uint8, rgb.Width*rgb.Height), Width: rgb.Width, Height: rgb.Height, Channels: 1}
	kernels.ToGrey(asGrey.Pix, rgb.Pix)

	for _, c := range []struct {
		mean, std []float64
		a, b      data.Image
	}{
		{cifarMean, cifarStd, grey, asRGB},
		{[]float64{0.3}, []float64{0.4}, rgb, asGrey},
	} {
		f, err := New(Strong(24, 20, c.mean, c.std))
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(50) {
			a, b := make([]float32, 24*20*len(c.mean)), make([]float32, 24*20*len(c.mean))
			ra, rb := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 0))
			if err := f(a, c.a, ra); err != nil {
				t.Fatal(err)
			}
			if err := f(b, c.b, rb); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(a, b) {
				t.Fatalf("%d channels, seed %d: the image and its conversion give different results", len(c.mean), seed)
			}
			if ra.Uint64() != rb.Uint64() {
				t.Fatalf("%d channels, seed %d: the image and its conversion read different amounts of the stream", len(c.mean), seed)
			}
		}
	}
}

// TestDeterminism: a seed fixes every value, whoever else uses the transform.
func TestDeterminism(t *testing.T) { eachSet(t, testDeterminism) }

func testDeterminism(t *testing.T) {
	rec := loadRecording(t)
	images := []data.Image{rec.image(t, "scene0"), rec.image(t, "synthetic"), rec.image(t, "fashion")}
	var f data.Transform // what the loader takes
	f, err := New(Strong(32, 32, cifarMean, cifarStd))
	if err != nil {
		t.Fatal(err)
	}
	digest := func() uint64 {
		h := fnv.New64a()
		dst := make([]float32, 32*32*3)
		for i := range 300 {
			if err := f(dst, images[i%3], rand.New(rand.NewPCG(42, uint64(i)))); err != nil {
				t.Error(err)
			}
			if err := binary.Write(h, binary.LittleEndian, dst); err != nil {
				t.Error(err)
			}
		}
		return h.Sum64()
	}
	// Changing how the stream is read, or any operation, changes runs that
	// were started before: this number must then be changed on purpose.
	const want = 0x59d5e695a96fb885
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := digest(); got != want {
				t.Errorf("digest of 300 transformed images is %#x, want %#x", got, uint64(want))
			}
		})
	}
	wg.Wait()
}

func TestNoAllocations(t *testing.T) {
	im := loadRecording(t).image(t, "synthetic")
	tr, err := newTransform(Strong(32, 32, cifarMean, cifarStd))
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]float32, 32*32*3)
	r := rand.New(rand.NewPCG(1, 2))
	var s scratch
	once := func() { tr.applyIn(&s, dst, im, tr.draw(im.Height, im.Width, nil, r)) }
	for range 200 { // scratch grows to the largest crop
		once()
	}
	if n := testing.AllocsPerRun(200, once); n != 0 {
		t.Errorf("%v allocations an image, want 0", n)
	}
}

func BenchmarkTransform(b *testing.B) {
	rec := loadRecording(b)
	small := []data.Image{rec.image(b, "scene0"), rec.image(b, "scene1"), rec.image(b, "scene2")}
	// A photograph's size: a small image, enlarged.
	photo := data.Image{Pix: make([]uint8, 375*500*3), Width: 500, Height: 375, Channels: 3}
	in := rec.image(b, "synthetic")
	new(scratch).resample(photo.Pix, plane{in.Pix, in.Width * 3, in.Width, in.Height, 3}, size{375, 500}, rect{0, 0, 375, 500}, false)

	large := Eval(224, 224, cifarMean, cifarStd)
	large.Resize = 256
	for _, c := range []struct {
		name   string
		cfg    Config
		images []data.Image
	}{
		{"strong", Strong(32, 32, cifarMean, cifarStd), small},
		{"weak", Weak(32, 32, cifarMean, cifarStd), small},
		{"eval", Eval(32, 32, cifarMean, cifarStd), small},
		{"strong", Strong(224, 224, cifarMean, cifarStd), []data.Image{photo}},
		{"eval", large, []data.Image{photo}},
	} {
		b.Run(fmt.Sprintf("%s-%d", c.name, c.cfg.Height), func(b *testing.B) {
			f, err := New(c.cfg)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]float32, c.cfg.Height*c.cfg.Width*3)
			r := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := f(dst, c.images[i%len(c.images)], r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

func BenchmarkSteps(b *testing.B) {
	im := loadRecording(b).image(b, "scene0")
	pix := slices.Clone(im.Pix)
	for _, a := range []struct {
		name string
		op   adjust
	}{{"brightness", adjust{brightness, 1.1}}, {"contrast", adjust{contrast, 0.9}}, {"saturation", adjust{saturation, 1.2}}, {"hue", adjust{hue, 0.05}}} {
		b.Run(a.name, func(b *testing.B) {
			for b.Loop() {
				copy(pix, im.Pix)
				a.op.apply(pix, 3)
			}
		})
	}
	b.Run("resample", func(b *testing.B) {
		src := plane{im.Pix, 96, 32, 32, 3}.sub(rect{3, 4, 25, 23})
		var s scratch
		for b.Loop() {
			s.resample(pix, src, size{32, 32}, rect{0, 0, 32, 32}, false)
		}
	})
}
