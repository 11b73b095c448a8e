package data

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOpenSpec(t *testing.T) {
	dir := t.TempDir()
	spaced := filepath.Join(dir, "my photos")
	if err := os.Mkdir(spaced, 0o755); err != nil {
		t.Fatal(err)
	}
	for spec, parts := range map[string][]string{
		"":                    {`unknown format ""`, "known: sample, cifar10, cifar100, fashion-mnist, mnist, idx, imagefolder"},
		"cifar01:x":           {`unknown format "cifar01"`, `did you mean "cifar10"`, "known: sample"},
		"fashon-mnist:x":      {`did you mean "fashion-mnist"`},
		"image-folder:x":      {`did you mean "imagefolder"`},
		"Sample":              {`did you mean "sample"`},
		"something/else":      {`unknown format "something/else" (known: `},
		dir:                   {"needs its format in front, for example imagefolder:" + dir},
		spaced:                {"for example 'imagefolder:" + spaced + "'"},
		"mnist":               {"needs a path", "mnist:mnist"},
		"cifar10:":            {"needs a path", "cifar-10-binary.tar.gz"},
		"sample:data":         {"takes no path: write sample"},
		"imagefolder:" + "./": nil, // not a mistake in the spec
	} {
		_, err := Open(spec, Options{})
		var e *SpecError
		if parts == nil {
			if errors.As(err, &e) {
				t.Errorf("%s: %v", spec, err)
			}
			continue
		}
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want a *data.SpecError", spec, err)
			continue
		}
		for _, p := range parts {
			if !strings.Contains(err.Error(), p) {
				t.Errorf("%s: message %q lacks %q", spec, err, p)
			}
		}
	}
	var e *SpecError
	if _, err := Open("sample", Options{Channels: 2}); !errors.As(err, &e) {
		t.Errorf("two channels: %v, want a *data.SpecError", err)
	}
}

func TestFormats(t *testing.T) {
	for _, f := range Formats() {
		if f.Name == "" || f.Reads == "" || !strings.HasPrefix(f.Example, f.Name) {
			t.Errorf("%+v", f)
		}
	}
}

func TestFacts(t *testing.T) {
	for _, f := range factsTable {
		if f.Classes != nil && len(f.Classes) != f.NumClasses {
			t.Errorf("%s: %d names of %d classes", f.Name, len(f.Classes), f.NumClasses)
		}
		if !slices.Equal(slices.Sorted(slices.Values(f.Classes)), slices.Compact(slices.Sorted(slices.Values(f.Classes)))) {
			t.Errorf("%s: a class comes twice", f.Name)
		}
		if len(f.Mean) != f.Channels || len(f.Std) != f.Channels {
			t.Errorf("%s: %d means and %d stds of %d channels", f.Name, len(f.Mean), len(f.Std), f.Channels)
		}
	}
	if f, ok := FactsOf("cifar100:some/path.tar.gz"); !ok || f.Classes[99] != "worm" || f.Train != 50000 {
		t.Errorf("%+v, %v", f, ok)
	}
	for _, spec := range []string{"imagefolder:x", "idx:x", "nothing", ""} {
		if _, ok := FactsOf(spec); ok {
			t.Errorf("facts of %q", spec)
		}
	}
}

// small is a set in memory for tests: n 1×2 RGB images, labels in turn.
func small(n, classes int) *memory {
	m := &memory{width: 2, height: 1, channels: 3, classes: digits(classes), name: func(i int) string { return "small " + digits(n)[i] }}
	for i := range n {
		v := byte(i)
		m.pix = append(m.pix, []byte{v, 2 * v, 255, v + 1, 2 * v, 0})
		m.labels = append(m.labels, int32(i%classes))
	}
	return m
}

func TestStats(t *testing.T) {
	mean, std, err := Stats(small(2, 2), 0)
	if err != nil {
		t.Fatal(err)
	}
	// Red is 0, 1, 1, 2; green 0, 0, 2, 2; blue 255, 0, 255, 0.
	wantMean := []float64{1. / 255, 1. / 255, 0.5}
	wantStd := []float64{math.Sqrt(0.5) / 255, 1. / 255, 0.5}
	for c := range 3 {
		if math.Abs(mean[c]-wantMean[c]) > 1e-15 || math.Abs(std[c]-wantStd[c]) > 1e-15 {
			t.Errorf("channel %d: mean %v, std %v, want %v, %v", c, mean[c], std[c], wantMean[c], wantStd[c])
		}
	}
	// At most two of five images: the first and the third.
	mean, _, err = Stats(small(5, 2), 2)
	if want := (0.0 + 1 + 2 + 3) / 4 / 255; err != nil || math.Abs(mean[0]-want) > 1e-15 {
		t.Errorf("mean %v, want %v (%v)", mean[0], want, err)
	}
	if _, _, err = Stats(small(0, 2), 0); err == nil {
		t.Error("no error for no images")
	}
}

func TestHoldOut(t *testing.T) {
	ds := small(40, 4)
	ds.labels[0], ds.labels[1] = 3, 3 // classes of 9, 9, 10 and 12 images
	rest, held := HoldOut(ds, 0.2, 7)
	if got := perClass(held); !slices.Equal(got, []int{2, 2, 2, 2}) {
		t.Errorf("held %v of the classes", got)
	}
	seen := map[string]bool{}
	for _, part := range []Dataset{rest, held} {
		last := -1
		for i := range part.Len() {
			at := int(imageOf(t, part, i).Pix[0])
			if at <= last || seen[part.Name(i)] || part.Label(i) != ds.Label(at) || part.Name(i) != ds.Name(at) {
				t.Errorf("image %d: out of order, twice, or with another label", at)
			}
			last = at
			seen[part.Name(i)] = true
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d images in both parts", len(seen))
	}
	_, again := HoldOut(ds, 0.2, 7)
	_, other := HoldOut(ds, 0.2, 8)
	if !slices.Equal(again.(*subset).indices, held.(*subset).indices) {
		t.Error("the same seed holds out other images")
	}
	if slices.Equal(other.(*subset).indices, held.(*subset).indices) {
		t.Error("another seed holds out the same images")
	}
	// At least one of each class on each side, but for a class of one.
	rest, held = HoldOut(small(5, 3), 0.01, 1) // classes of 2, 2 and 1
	if !slices.Equal(perClass(rest), []int{1, 1, 1}) || !slices.Equal(perClass(held), []int{1, 1, 0}) {
		t.Errorf("%v and %v", perClass(rest), perClass(held))
	}
	rest, _ = HoldOut(small(5, 3), 0.99, 1)
	if !slices.Equal(perClass(rest), []int{1, 1, 1}) {
		t.Errorf("rest %v", perClass(rest))
	}
}

func TestSubset(t *testing.T) {
	indices := []int{3, 1, 3}
	s := Subset(small(5, 5), indices)
	indices[0] = 0
	if s.Len() != 3 || s.Label(0) != 3 || s.Name(1) != "small 1" || imageOf(t, s, 2).Pix[0] != 3 || len(s.Classes()) != 5 {
		t.Error("wrong images")
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for an index out of range")
		}
	}()
	Subset(small(5, 5), []int{5})
}
