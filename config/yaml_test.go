package config

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"selfcon/internal/testkit"
	"selfcon/loss"
)

// Every field of a Run is one setting, but the shape of the network's images,
// which follows from Image.
func TestEveryFieldIsASetting(t *testing.T) {
	var c Run
	at := map[any]string{}
	for _, s := range Settings() {
		p := reflect.ValueOf(s.field(&c)).Pointer()
		if other := at[p]; other != "" {
			t.Errorf("%s and %s are one field", s.Key, other)
		}
		at[p] = s.Key
		if s.Type() == "" || s.About == "" || s.Group == "" {
			t.Errorf("%s: %+v", s.Key, s)
		}
	}
	count := 0
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		for i := range v.NumField() {
			f, name := v.Field(i), name+v.Type().Field(i).Name
			switch {
			case f.Kind() == reflect.Struct:
				walk(f, name+".")
			case name == "Model.ImageHeight" || name == "Model.ImageWidth":
			default:
				count++
				if at[f.Addr().Pointer()] == "" {
					t.Errorf("%s is no setting", name)
				}
			}
		}
	}
	walk(reflect.ValueOf(&c).Elem(), "")
	if count != len(Settings()) {
		t.Errorf("%d fields and %d settings", count, len(Settings()))
	}
}

// words are what a person may call a file or a class.
var words = []string{"", "photos", "imagefolder:/a b/c", "x: y", "# no remark", "true", "null", "~", "12", "1e3", "0x1f", "a\nb", "\ttab ", "'\"\\", "Größe", "\u2028", "\x00\x1f\x7f",
	"not \xff UTF-8", "&a", "*a", "!t", "%", "- x", "[1]", "{a: b}", "a:", "<<", "=", "2026-11-25", "\ufeff", "\U0001F600", "\ufffd", "yes", ".inf", "a, b", "|", "> x"}

// random makes a configuration that can be: each setting drawn from what it
// takes, then what they need of each other put right.
func random(r *rand.Rand) Run {
	c := Default()
	number := func(s *Setting) float64 {
		low, high := -1e6, 1e6
		if s.Range.bounded {
			low, high = s.Range.Low, math.Min(s.Range.High, 1e6)
		}
		for {
			v := low + (high-low)*r.Float64()
			switch r.IntN(4) {
			case 0:
				v = low + (high-low)*math.Exp(-50*r.Float64())
			case 1:
				v = []float64{low, high}[r.IntN(2)]
			}
			if s.Range.contains(v) {
				return v
			}
		}
	}
	whole := func(s *Setting) int {
		for {
			if v := int(number(s)); s.Range.contains(float64(v)) {
				return v
			}
		}
	}
	for _, s := range table {
		if r.IntN(2) == 0 {
			continue
		}
		switch p := s.field(&c).(type) {
		case *string:
			if s.Values != nil {
				*p = s.Values()[r.IntN(len(s.Values()))]
			} else if s.Key == "cache" {
				*p = words[r.IntN(len(words))]
			}
		case *int:
			*p = whole(s)
		case *uint64:
			*p = r.Uint64()
		case *float64:
			*p = number(s)
		case **float64:
			v := number(s)
			*p = &v
		case *bool:
			*p = r.IntN(2) == 0
		case *[]string:
			for range 1 + r.IntN(40) {
				*p = append(*p, words[1+r.IntN(len(words)-1)])
			}
		}
	}
	c.Data = words[1+r.IntN(len(words)-1)]
	c.Model.Arch = []string{"resnet18", "vgg16_bn", "wrn_28_10"}[r.IntN(3)]
	c.Model.Dropout, c.Model.DropConnect, c.Alpha = nil, nil, nil
	if m, err := loss.Parse(c.Method); err == nil && (m.Contrastive() || !m.OneStage()) {
		c.Mixup, c.CutMix, c.LabelSmoothing = 0, 0, 0
	}
	if c.Method != "kd" {
		c.DistillWeight, c.DistillTemperature = nil, nil
	}
	if c.Method != "selfcon" {
		c.ContrastWeight = nil
		if c.Method != "kd" && c.Method != "subnet_ce" {
			c.SubWeight = nil
		}
	}
	if c.EvalResize > 0 {
		c.EvalResize = max(c.EvalResize, c.Image)
	}
	if m, err := loss.Parse(c.Method); err == nil && m.NeedsExits() {
		c.Model.Exits = []int{1, 2}
		if !m.OneStage() && r.IntN(2) == 0 {
			a := 1 / (1 + 1e9*r.Float64())
			c.Alpha = &a
		}
	}
	if c.Model.Arch == "wrn_28_10" {
		d := r.Float64()
		c.Model.Dropout = &d
	}
	c.MicroBatch, c.ClassImages, c.Fraction, c.RandAugment, c.Milestones = 0, 0, 1, nil, nil
	if c.Nesterov {
		c.Optimizer, c.Momentum = "sgd", 0.5
	}
	if c.Augment == "none" {
		c.AutoAugment, c.Blur, c.Solarize, c.Erase = "", 0, 0, 0
	} else if c.AutoAugment == "" && r.IntN(2) == 0 {
		c.RandAugment = []int{2, 9}
	}
	if c.Cache == "" {
		c.CacheSide = 0
	}
	if c.Schedule == "step" {
		c.Milestones = []int{1, 5 + r.IntN(100)}
	}
	if c.Model.ImageChannels == 2 {
		c.Model.ImageChannels = 3
	}
	c.Freeze = r.IntN(4)
	channels := []int{0, 1, 3}[r.IntN(3)]
	c.Mean, c.Std = nil, nil
	for range channels {
		c.Mean, c.Std = append(c.Mean, number(byKey["mean"])), append(c.Std, number(byKey["std"]))
	}
	if c.Model.ImageChannels != 0 && channels != 0 {
		c.Model.ImageChannels = channels
	}
	c.Model.ImageHeight, c.Model.ImageWidth = c.Image, c.Image
	if c.Epochs > 0 && c.Schedule == "step" {
		c.Epochs = max(c.Epochs, 200)
	}
	c, _ = c.Plain()
	return c
}

// What is printed comes back as it was, bit for bit.
func TestMarshalParse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		c := random(r)
		if err := c.Validate(); err != nil {
			t.Fatalf("%v: %+v", err, c)
		}
		text, err := Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse("c.yaml", text)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%v: %+v\ncame back as %+v\n%s", err, c, got, text)
		}
	}
	for _, p := range Presets() {
		text, err := Marshal(p.Run)
		if err != nil {
			t.Fatal(err)
		}
		p.Run, _ = p.Run.Plain()
		if got, err := Parse("c.yaml", text); err != nil || !reflect.DeepEqual(got, p.Run) {
			t.Errorf("%s: %v: %+v\ncame back as %+v", p.Name, err, p.Run, got)
		}
	}
}

// FuzzParse: any bytes are settings or an *Error, in bounded memory, and what is
// read is written and read again the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"data: sample\nepochs: 2\nexits: [1, 2]\nflip: true\nlr: 0.5\n",
		"{\"data\": \"sample\", \"epochs\": 3}", "preset: small-sample-ce\n", "a: &x [1]\nb: *x\n", "data: !!int 3\n", "- a\n", "lr: .inf\n", "data: |\n  a\n  b\n", "save_every: 5m\n---\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		done := testkit.Bound(t, 2<<20+2000*len(text))
		c, err := Parse("x", text)
		done()
		var e *Error
		if err != nil {
			if !errors.As(err, &e) {
				t.Errorf("%v (%T), want an *Error", err, err)
			}
			return
		}
		once, err := Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("x", once)
		if err != nil {
			t.Fatalf("what was written can't be read: %v\n%s", err, once)
		}
		if twice, err := Marshal(again); err != nil || string(twice) != string(once) {
			t.Errorf("written twice, the files differ: %v\n%s\n%s", err, once, twice)
		}
	})
}
