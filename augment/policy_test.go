package augment

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mathext"

	"selfcon/data"
)

// recordedPolicy is testdata/policy.json, made by record_policy.py.
type recordedPolicy struct {
	Names   []string
	Amounts []struct {
		Op                  string
		Height, Width, Bins int
		Amounts             []float64
	}
	Ops []struct {
		Op, Image, Digest string
		Amount            float64
	}
	Blurs []struct {
		Image, Pixels string
		Kernel        int
		Sigma         float64
	}
	Solarize []struct{ Image, Digest string }
	Mixes    []struct {
		Kind, Digest string
		Lam          float64
		X, Y         int
		Labels       []float64
	}
	Erased   string
	Policies map[string][][2][3]any
}

func loadPolicy(t testing.TB) recordedPolicy {
	t.Helper()
	raw, err := os.ReadFile("testdata/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec recordedPolicy
	if err := json.Unmarshal(raw, &rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

// kinds are the operations by torchvision's names.
var kinds = map[string]opKind{
	"Identity": opIdentity, "ShearX": opShearX, "ShearY": opShearY, "TranslateX": opTranslateX, "TranslateY": opTranslateY, "Rotate": opRotate,
	"Brightness": opBrightness, "Color": opColor, "Contrast": opContrast, "Sharpness": opSharpness, "Posterize": opPosterize,
	"Solarize": opSolarize, "AutoContrast": opAutoContrast, "Equalize": opEqualize, "Invert": opInvert,
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func digestFloats(v []float32) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return digestOf(b)
}

func TestPolicyRecorded(t *testing.T) {
	rec, images := loadPolicy(t), loadRecording(t)
	if len(rec.Ops) < 300 || len(rec.Names) != 14 {
		t.Fatalf("%d cases of %d operations", len(rec.Ops), len(rec.Names))
	}
	var s scratch
	for _, c := range rec.Ops {
		im := images.image(t, c.Image)
		pix := bytes.Clone(im.Pix)
		s.applyOp(policyOp{kinds[c.Op], c.Amount}, pix, im.Width, im.Height, im.Channels)
		if digestOf(pix) != c.Digest {
			t.Errorf("%s of %s by %v differs from torchvision's", c.Op, c.Image, c.Amount)
		}
	}
	for _, c := range rec.Amounts {
		for bin, want := range c.Amounts {
			if got := kinds[c.Op].amount(bin, c.Bins, c.Height, c.Width); got != want {
				t.Errorf("%s of %d×%d, magnitude %d of %d: %v, want %v", c.Op, c.Height, c.Width, bin, c.Bins, got, want)
			}
		}
	}
	for policy, pairs := range rec.Policies {
		if len(pairs) != len(autoPolicies[policy]) {
			t.Fatalf("%s has %d pairs, want %d", policy, len(autoPolicies[policy]), len(pairs))
		}
		for i, pair := range pairs {
			for k, step := range pair {
				want := autoStep{kinds[step[0].(string)], int(step[1].(float64)), int(step[2].(float64))}
				if got := autoPolicies[policy][i][k]; got != want {
					t.Errorf("%s, pair %d, operation %d: %v, want %v", policy, i, k, got, want)
				}
			}
		}
	}
}

func TestBlurRecorded(t *testing.T) {
	rec, images := loadPolicy(t), loadRecording(t)
	var s scratch
	for _, c := range rec.Blurs {
		im := images.image(t, c.Image)
		want, err := base64.StdEncoding.DecodeString(c.Pixels)
		if err != nil {
			t.Fatal(err)
		}
		pix := bytes.Clone(im.Pix)
		s.blur(pix, im.Width, im.Height, im.Channels, c.Kernel, c.Sigma)
		off := 0
		for i, v := range want {
			switch d := int(pix[i]) - int(v); {
			case d < -1 || d > 1:
				t.Fatalf("%s, kernel %d, sigma %v: value %d is %d, want %d", c.Image, c.Kernel, c.Sigma, i, pix[i], v)
			case d != 0:
				off++
			}
		}
		// Two float32 sums of a few hundred terms up to 255 differ by some 1e-4,
		// and as many of the values lie that near to a half.
		if off > 1+len(want)/1000 {
			t.Errorf("%s, kernel %d, sigma %v: %d of %d values differ", c.Image, c.Kernel, c.Sigma, off, len(want))
		}
	}
	for _, c := range rec.Solarize {
		pix := bytes.Clone(images.image(t, c.Image).Pix)
		solarize(pix, 128)
		if digestOf(pix) != c.Digest {
			t.Errorf("solarised %s differs from torchvision's", c.Image)
		}
	}
}

func TestMixRecorded(t *testing.T) {
	rec, images := loadPolicy(t), loadRecording(t)
	const h, w, ch = 32, 32, 3
	var batch []float32
	for _, name := range []string{"scene0", "scene1", "scene2"} {
		im := images.image(t, name)
		flipped := bytes.Clone(im.Pix)
		mirrorRows(flipped, w, ch)
		for _, pix := range [][]uint8{im.Pix, flipped} {
			for _, v := range pix {
				batch = append(batch, float32(v)/255)
			}
		}
	}
	for _, c := range rec.Mixes {
		m := Mix{Lambda: c.Lam}
		if c.Kind == "cutmix" {
			m = cutMix(c.Lam, c.X, c.Y, h, w)
		}
		got := append([]float32(nil), batch...)
		m.Apply(got, 6, h, w, ch)
		if digestFloats(got) != c.Digest {
			t.Errorf("%+v differs from torchvision's", c)
		}
		targets := make([]float32, 6*6)
		m.Targets(targets, []int32{0, 1, 2, 3, 4, 5}, 6, 0)
		for k, want := range c.Labels { // of image 1, which is mixed with image 0
			if targets[6+k] != float32(want) {
				t.Errorf("%+v: targets %v, want %v", m, targets[6:12], c.Labels)
			}
		}
	}
	one := append([]float32(nil), batch[:h*w*ch]...)
	erase(one, w, ch, rect{3, 7, 11, 9})
	if digestFloats(one) != rec.Erased {
		t.Error("the erased image differs from torchvision's")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		if m := CutMix(1, 20, 30, r); m.Lambda < 0 || m.Lambda > 1 || m.box.top < 0 || m.box.left < 0 || m.box.top+m.box.height > 20 || m.box.left+m.box.width > 30 {
			t.Fatalf("%+v", m)
		}
	}
}

// TestMixDistribution holds draws to the distribution function of Beta(α, α), and
// a batch that can be mixed both ways to equal chances.
func TestMixDistribution(t *testing.T) {
	const n = 4000
	r := rand.New(rand.NewPCG(3, 4))
	for _, alpha := range []float64{0.001, 0.05, 0.2, 1, 1.5, 8} {
		draws := make([]float64, n)
		for i := range draws {
			draws[i] = Mixup(alpha, r).Lambda
		}
		slices.Sort(draws)
		for i, x := range draws {
			// Kolmogorov and Smirnov's distance is above 2.2/√n once in 8,000 times. Very
			// small alphas have draws that a float64 takes for 0 or 1.
			if f := mathext.RegIncBeta(alpha, alpha, x); !(x >= 0 && x <= 1) || x > 0 && x < 1 && math.Abs(f-float64(i)/n) > 2.2/math.Sqrt(n) {
				t.Fatalf("alpha %g: draw %d of %d is %g, where the distribution is %g", alpha, i, n, x, f)
			}
		}
	}
	cut := 0
	for range n {
		if (Mixing{Mixup: 0.2, CutMix: 1}).Draw(8, 8, r).cut {
			cut++
		}
		if (Mixing{Mixup: 0.2}).Draw(8, 8, r).cut || !(Mixing{CutMix: 1}).Draw(8, 8, r).cut {
			t.Fatal("what is off is drawn")
		}
	}
	if math.Abs(float64(cut)-n/2) > 4*math.Sqrt(n)/2 {
		t.Errorf("cutmix %d times of %d", cut, n)
	}
	if m := (Mixing{}).Draw(8, 8, nil); m != (Mix{Lambda: 1}) || (Mixing{}).On() {
		t.Errorf("nothing to mix: %+v", m)
	}
}

// A batch without its partner, or with all of itself, stays as it is.
func TestMixNothing(t *testing.T) {
	odd := float32(math.Inf(1)) // times 0 it would be no number
	for _, c := range []struct {
		m Mix
		n int
	}{{Mix{Lambda: 0.3}, 1}, {Mix{Lambda: 1}, 2}} {
		images := []float32{odd, 1, 2, odd}
		c.m.Apply(images, c.n, 1, 2, 1)
		if !slices.Equal(images, []float32{odd, 1, 2, odd}) {
			t.Errorf("%+v of %d images: %v", c.m, c.n, images)
		}
	}
	one := make([]float32, 3)
	Mix{Lambda: 0.3}.Targets(one, []int32{2}, 3, 0)
	if !slices.Equal(one, []float32{0, 0, 1}) {
		t.Errorf("the targets of one image alone: %v", one)
	}
}

// TestPolicyDraw looks at the whole transform: what is drawn is what happens,
// the flip comes first, all operations come, and an image is left alone.
func TestPolicyDraw(t *testing.T) {
	images := loadRecording(t)
	im := images.image(t, "scene1")
	base := Eval(32, 32, []float64{0, 0, 0}, []float64{1, 1, 1})
	for name, change := range map[string]func(*Config){
		"rand":     func(c *Config) { c.RandAugment = RandAugment{2, 9} },
		"cifar10":  func(c *Config) { c.AutoAugment = AutoCIFAR10 },
		"imagenet": func(c *Config) { c.AutoAugment = AutoImageNet },
		"svhn":     func(c *Config) { c.AutoAugment = AutoSVHN },
		"all": func(c *Config) {
			c.RandAugment = RandAugment{1, 30}
			c.Flip, c.Blur.Prob, c.Solarize, c.Erase = 0.5, 0.5, 0.2, 0.5
		},
	} {
		c := base
		change(&c)
		tr, err := newTransform(c)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[opKind]bool{}
		got, want := make([]float32, 32*32*3), make([]float32, 32*32*3)
		for k := range 400 {
			if err := tr.run(got, im, rand.New(rand.NewPCG(7, uint64(k)))); err != nil {
				t.Fatal(err)
			}
			p := tr.draw(32, 32, nil, rand.New(rand.NewPCG(7, uint64(k))))
			for _, op := range p.policy {
				seen[op.kind] = true
			}
			if p.erase.height*p.erase.width > 32*32*2/5 {
				t.Errorf("%+v is erased", p.erase)
			}
			// By hand, one after another.
			var s scratch
			pix := bytes.Clone(im.Pix)
			if p.flip {
				mirrorRows(pix, 32, 3)
			}
			for _, op := range p.policy {
				s.applyOp(op, pix, 32, 32, 3)
			}
			if p.sigma > 0 {
				s.blur(pix, 32, 32, 3, 3, p.sigma)
			}
			if p.solarize {
				solarize(pix, 128)
			}
			for i, v := range pix {
				want[i] = float32(v) / 255
			}
			erase(want, 32, 3, p.erase)
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("%s: value %d is %v, want %v", name, i, got[i], want[i])
				}
			}
		}
		if (name == "rand" || name == "all") && len(seen) != 14 {
			t.Errorf("%s: %d operations seen, want 14", name, len(seen))
		}
		if name == "cifar10" && len(seen) < 10 {
			t.Errorf("%s: %d operations seen", name, len(seen))
		}
	}
	for part, change := range map[string]func(*Config){
		"choose one":                 func(c *Config) { c.RandAugment.N, c.AutoAugment = 1, AutoSVHN },
		`did you mean "cifar10"`:     func(c *Config) { c.AutoAugment = "cifar100" },
		"magnitude 31":               func(c *Config) { c.RandAugment = RandAugment{2, 31} },
		"Blur.Kernel 4: must be odd": func(c *Config) { c.Blur = Blur{Prob: 1, Kernel: 4} },
		"deviation 2 to 1":           func(c *Config) { c.Blur = Blur{Prob: 1, SigmaMin: 2, SigmaMax: 1} },
		"Erase 2":                    func(c *Config) { c.Erase = 2 },
	} {
		c := base
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one with %q", err, part)
		}
	}
	// A grey image gives the same whether it is made RGB before or after.
	c := base
	c.RandAugment, c.Blur.Prob, c.Solarize = RandAugment{3, 12}, 0.5, 0.3
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	grey := images.image(t, "fashion")
	rgb := data.Image{Width: grey.Width, Height: grey.Height, Channels: 3}
	for _, v := range grey.Pix {
		rgb.Pix = append(rgb.Pix, v, v, v)
	}
	a, b := make([]float32, 32*32*3), make([]float32, 32*32*3)
	for k := range 100 {
		if err := f(a, grey, rand.New(rand.NewPCG(1, uint64(k)))); err != nil {
			t.Fatal(err)
		}
		if err := f(b, rgb, rand.New(rand.NewPCG(1, uint64(k)))); err != nil {
			t.Fatal(err)
		}
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("view %d: value %d is %v for grey, %v for RGB", k, i, a[i], b[i])
			}
		}
	}
}
