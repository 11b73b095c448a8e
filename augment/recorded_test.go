package augment

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"testing"

	"selfcon/data"
	"selfcon/internal/pixels"
)

// recording is what testdata/record.py wrote.
type recording struct {
	Images []struct {
		Name                        string
		Width, Height, Channels, At int
	}
	Cases      []recordedCase
	EveryPixel map[string]string `json:"every_pixel"`
	Blends     string
	Resizes    string
	// Image height, width; top, left, height, width of the fallback crop.
	CentralCrops [][6]int `json:"central_crops"`

	pixels []byte
}

type recordedCase struct {
	Name, Image, Mode string
	Steps             []struct {
		Op   string
		Args []float64
	}
	Width, Height, Channels int
	Float                   bool
	At                      int
}

func (c recordedCase) String() string {
	return fmt.Sprintf("%s of %s%s %v", c.Name, c.Image, c.Mode, c.Steps)
}

var recorded = sync.OnceValues(func() (*recording, error) {
	text, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		return nil, err
	}
	rec := new(recording)
	if err := json.Unmarshal(text, rec); err != nil {
		return nil, err
	}
	packed, err := os.ReadFile("testdata/pixels.bin.gz")
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	rec.pixels, err = io.ReadAll(z)
	return rec, err
})

// eachSet runs a test with every set of kernels.
func eachSet(t *testing.T, test func(t *testing.T)) {
	best := kernels
	defer func() { kernels = best }()
	for _, s := range pixels.Usable() {
		kernels = s
		t.Run(s.Name, test)
	}
}

func loadRecording(t testing.TB) *recording {
	t.Helper()
	rec, err := recorded()
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func (r *recording) image(t testing.TB, name string) data.Image {
	t.Helper()
	for _, im := range r.Images {
		if im.Name == name {
			n := im.Width * im.Height * im.Channels
			return data.Image{Pix: r.pixels[im.At:][:n:n], Width: im.Width, Height: im.Height, Channels: im.Channels}
		}
	}
	t.Fatalf("no recorded image %q", name)
	return data.Image{}
}

// resolve turns a case's steps into a transform and its parameters. Steps are
// in the transform's order; what is missing is off.
func (r *recording) resolve(t *testing.T, c recordedCase) (*transform, data.Image, params) {
	t.Helper()
	im := r.image(t, c.Image)
	cfg := Config{Height: c.Height, Width: c.Width, Channels: c.Channels}
	for range c.Channels {
		cfg.Mean, cfg.Std = append(cfg.Mean, 0), append(cfg.Std, 1)
	}
	p := params{
		crop:   rect{0, 0, im.Height, im.Width},
		resize: size{im.Height, im.Width},
		window: rect{0, 0, im.Height, im.Width},
	}
	for _, s := range c.Steps {
		var n []int
		for _, a := range s.Args {
			n = append(n, int(a))
		}
		adjustTo := func(kind adjustment) {
			p.jitter[p.ops] = adjust{kind, s.Args[0]}
			p.ops++
		}
		switch s.Op {
		case "resized_crop":
			p.crop = rect{n[0], n[1], n[2], n[3]}
			p.resize = size{n[4], n[5]}
			p.window = rect{0, 0, n[4], n[5]}
		case "resize_center":
			cfg.Resize = n[0]
			p.resize, p.window = cfg.centre(im.Height, im.Width)
		case "hflip":
			p.flip = true
		case "brightness":
			adjustTo(brightness)
		case "contrast":
			adjustTo(contrast)
		case "saturation":
			adjustTo(saturation)
		case "hue":
			adjustTo(hue)
		case "gray":
			p.gray = true
		case "normalize":
			cfg.Mean, cfg.Std = s.Args[:c.Channels], s.Args[c.Channels:]
		default:
			t.Fatalf("%v: unknown step %q", c, s.Op)
		}
	}
	tr, err := newTransform(cfg)
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	return tr, im, p
}

// TestRecorded demands the bytes, and where the case normalises the float32
// bits, that torchvision and Pillow gave.
func TestRecorded(t *testing.T) { eachSet(t, testRecorded) }

func testRecorded(t *testing.T) {
	rec := loadRecording(t)
	for _, c := range rec.Cases {
		tr, im, p := rec.resolve(t, c)
		got := make([]float32, c.Height*c.Width*c.Channels)
		before := bytes.Clone(im.Pix)
		tr.apply(got, im, p)
		if !bytes.Equal(before, im.Pix) {
			t.Errorf("%v: the image was written to", c)
		}
		wrong, first := 0, -1
		want := make([]float32, len(got))
		for i := range got {
			if c.Float {
				want[i] = math.Float32frombits(binary.LittleEndian.Uint32(rec.pixels[c.At+4*i:]))
			} else {
				want[i] = float32(rec.pixels[c.At+i]) / 255 // mean 0, deviation 1
			}
			if got[i] != want[i] {
				if wrong++; first < 0 {
					first = i
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%v: %d of %d values differ, first at y=%d x=%d channel %d: got %v, want %v", c, wrong, len(got),
				first/(c.Width*c.Channels), first/c.Channels%c.Width, first%c.Channels, got[first], want[first])
		}
	}
}

// TestEveryPixel compares the colour conversions on all 2^24 pixels with Pillow's, by digest.
func TestEveryPixel(t *testing.T) { eachSet(t, testEveryPixel) }

func testEveryPixel(t *testing.T) {
	if testing.Short() {
		t.Skip("80 million pixels")
	}
	rec := loadRecording(t)
	for name, convert := range map[string]func(dst, px []uint8) int{
		"rgb_to_l": func(dst, px []uint8) int { kernels.ToGrey(dst, px); return 1 },
		"rgb_to_hsv": func(dst, px []uint8) int {
			for i := 0; i < len(px); i += 3 {
				dst[i], dst[i+1], dst[i+2] = pixels.RGBToHSV(px[i], px[i+1], px[i+2])
			}
			return 3
		},
		"hsv_to_rgb": func(dst, px []uint8) int {
			for i := 0; i < len(px); i += 3 {
				if px[i+1] == 0 {
					dst[i], dst[i+1], dst[i+2] = px[i+2], px[i+2], px[i+2]
					continue
				}
				dst[i], dst[i+1], dst[i+2] = pixels.HSVToRGB(px[i], px[i+1], px[i+2])
			}
			return 3
		},
		"saturation_1.3": func(dst, px []uint8) int {
			copy(dst, px)
			adjust{saturation, 1.3}.apply(dst, 3)
			return 3
		},
		"hue_-0.07": func(dst, px []uint8) int {
			copy(dst, px)
			adjust{hue, -0.07}.apply(dst, 3)
			return 3
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, ok := rec.EveryPixel[name]
			if !ok {
				t.Fatal("not recorded")
			}
			px, dst := make([]uint8, 3<<16), make([]uint8, 3<<16)
			digest := sha256.New()
			for first := range 256 {
				for i := range 1 << 16 {
					px[3*i], px[3*i+1], px[3*i+2] = uint8(first), uint8(i>>8), uint8(i)
				}
				digest.Write(dst[:convert(dst, px)<<16])
			}
			if got := hex.EncodeToString(digest.Sum(nil)); got != want {
				t.Errorf("digest of all pixels is %s, want Pillow's %s", got, want)
			}
		})
	}
}

// TestBlends compares blend on all pairs of bytes and 357 factors with Pillow's, by digest.
func TestBlends(t *testing.T) { eachSet(t, testBlends) }

func testBlends(t *testing.T) {
	rec := loadRecording(t)
	out := make([]uint8, 1<<16)
	row := make([]uint8, 256)
	digest := sha256.New()
	one := func(alpha float64) {
		for i := range out {
			out[i] = pixels.Blend(int32(i>>8), int32(i&255), float32(alpha))
		}
		for grey := range 256 {
			for v := range row {
				row[v] = uint8(v)
			}
			kernels.BlendWith(row, uint8(grey), float32(alpha))
			if !bytes.Equal(row, out[grey<<8:][:256]) {
				t.Fatalf("blending all bytes with %d by %v gives others than one by one", grey, alpha)
			}
		}
		digest.Write(out)
	}
	for i := range 257 {
		one(float64(i) / 128)
	}
	for i := range 100 {
		eighth := 0.8 * float64(i)
		one(0.6 + float64(eighth/99))
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != rec.Blends {
		t.Errorf("digest of all blends is %s, want Pillow's %s", got, rec.Blends)
	}
}

// TestResizes compares resampling between all lengths from 1 to 40, in one
// axis and in both, with Pillow's, by digest.
func TestResizes(t *testing.T) { eachSet(t, testResizes) }

func testResizes(t *testing.T) {
	rec := loadRecording(t)
	im := rec.image(t, "noise")
	all := plane{pix: im.Pix, stride: 3 * im.Width, width: im.Width, height: im.Height, ch: 3}
	digest := sha256.New()
	var s scratch
	for n := 1; n <= 40; n++ {
		for m := 1; m <= 40; m++ {
			for _, c := range [][2]size{{{3, n}, {3, m}}, {{n, 3}, {m, 3}}, {{41 - n, n}, {41 - m, m}}} {
				in, out := c[0], c[1]
				dst := make([]uint8, out.height*out.width*3)
				s.resample(dst, all.sub(rect{0, 0, in.height, in.width}), out, rect{0, 0, out.height, out.width}, false)
				digest.Write(dst)

				// One channel is resampled as each of three.
				grey := make([]uint8, in.height*in.width)
				for y := range in.height {
					for x := range in.width {
						grey[y*in.width+x] = all.pix[y*all.stride+3*x+1]
					}
				}
				one := make([]uint8, out.height*out.width)
				s.resample(one, plane{pix: grey, stride: in.width, width: in.width, height: in.height, ch: 1}, out, rect{0, 0, out.height, out.width}, false)
				for i, v := range one {
					if v != dst[3*i+1] {
						t.Fatalf("%v to %v: value %d of a grey image is %d, want %d as in RGB", in, out, i, v, dst[3*i+1])
					}
				}
			}
		}
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != rec.Resizes {
		t.Errorf("digest of all resizes is %s, want Pillow's %s", got, rec.Resizes)
	}
}
