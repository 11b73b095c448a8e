package data

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"selfcon/internal/testkit"
)

// packSource is a set of three splits with images of several sizes.
func packSource(t testing.TB) string {
	dir := t.TempDir()
	for i, f := range []string{"train/a/1.png", "train/a/2.png", "train/b/1.png", "val/a/1.png", "val/b/1.png", "test/a/1.png", "test/b/1.png"} {
		im := flat(i+1, 2, red)
		im.SetNRGBA(i, 1, blue)
		write(t, dir, f, pngOf(t, im))
	}
	return dir
}

func packOf(t testing.TB, s Splits, opt PackOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Pack(context.Background(), &b, s, opt); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sameSet(t *testing.T, got, want Splits) {
	t.Helper()
	g, w := got.Named(), want.Named()
	if len(g) != len(w) {
		t.Fatalf("%d splits, want %d", len(g), len(w))
	}
	for k := range w {
		if g[k].Name != w[k].Name || g[k].Len() != w[k].Len() || !slices.Equal(g[k].Classes(), w[k].Classes()) {
			t.Fatalf("split %s of %d images of %q, want %s, %d, %q", g[k].Name, g[k].Len(), g[k].Classes(), w[k].Name, w[k].Len(), w[k].Classes())
		}
		for i := range w[k].Len() {
			a, b := imageOf(t, g[k].Dataset, i), imageOf(t, w[k].Dataset, i)
			if a.Width != b.Width || a.Height != b.Height || a.Channels != b.Channels || !bytes.Equal(a.Pix, b.Pix) ||
				g[k].Label(i) != w[k].Label(i) || g[k].Dataset.Name(i) != w[k].Dataset.Name(i) {
				t.Fatalf("image %d of split %s differs", i, g[k].Name)
			}
		}
	}
}

func TestPack(t *testing.T) {
	for _, spec := range []string{"imagefolder:" + packSource(t), "parquet:testdata/hf", "sample"} {
		s, err := Open(spec, Options{})
		if err != nil {
			t.Fatal(err)
		}
		raw := packOf(t, s, PackOptions{Workers: 2})
		if other := packOf(t, s, PackOptions{Workers: 1}); !bytes.Equal(raw, other) {
			t.Errorf("%s: the packed set depends on the number of workers", spec)
		}
		path := write(t, t.TempDir(), "x.pack", raw)
		p, err := Open("packed:"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		sameSet(t, p, s)
		grey, err := Open("packed:"+path, Options{Channels: 1})
		if err != nil || imageOf(t, grey.Train, 0).Channels != 1 {
			t.Errorf("%s: with one channel: %v", spec, err)
		}
	}
	// Resized; the first error ends it.
	s, err := Open("imagefolder:"+packSource(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	one := func(im Image) (Image, error) { return Image{Pix: im.Pix[:3], Width: 1, Height: 1, Channels: 3}, nil }
	p, _, err := parsePacked("x", packOf(t, s, PackOptions{Resize: one}))
	if err != nil || imageOf(t, p.Train, 2).Width != 1 {
		t.Errorf("resized: %v", err)
	}
	bad := errors.New("bad image")
	if err := Pack(context.Background(), &bytes.Buffer{}, s, PackOptions{Resize: func(Image) (Image, error) { return Image{}, bad }}); err != bad {
		t.Errorf("error %v, want the resizer's", err)
	}
}

func TestPackDamaged(t *testing.T) {
	s, err := Open("imagefolder:"+packSource(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	raw := packOf(t, s, PackOptions{})
	// Any byte that is changed is found, at the latest when images are read.
	for at := range raw {
		changed := bytes.Clone(raw)
		changed[at] ^= 0x10
		p, _, err := parsePacked("x", changed)
		for _, n := range p.Named() {
			for i := range n.Len() {
				if err == nil {
					_, err = n.Image(i)
				}
			}
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("byte %d of %d changed: error %v, want a *data.Error", at, len(raw), err)
		}
	}
	for n := range raw {
		if _, _, err := parsePacked("x", raw[:n]); err == nil {
			t.Fatalf("cut after %d bytes: no error", n)
		}
	}
}

func TestCached(t *testing.T) {
	dir, cache := packSource(t), t.TempDir()
	ctx := context.Background()
	open := func(wantMade bool, form string) Splits {
		t.Helper()
		s, made, err := Cached(ctx, cache, "imagefolder:"+dir, Options{}, form, PackOptions{})
		if err != nil || made != wantMade {
			t.Fatalf("made %v, error %v, want %v", made, err, wantMade)
		}
		if _, ok := s.Train.(*packed); !ok {
			t.Fatalf("a %T, want a packed set", s.Train)
		}
		return s
	}
	source, err := Open("imagefolder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	sameSet(t, open(true, ""), source)
	sameSet(t, open(false, ""), source)
	first, err := source.Train.Image(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, made, err := Cached(ctx, cache, "imagefolder:"+dir, Options{Channels: first.Channels}, "", PackOptions{}); err != nil || made {
		t.Errorf("asked for the channels that there are, it is made again: %v, %v", made, err)
	}
	open(true, "short32")
	open(false, "short32")
	// A file more, a file of another time.
	write(t, dir, "train/b/2.png", pngOf(t, flat(3, 3, red)))
	if s := open(true, ""); s.Train.Len() != 4 {
		t.Errorf("%d images, want 4", s.Train.Len())
	}
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "test/a/1.png"), then, then); err != nil {
		t.Fatal(err)
	}
	open(true, "")
	open(false, "")
	files, _ := os.ReadDir(cache)
	if len(files) != 2 {
		t.Errorf("%d files in the cache, want 2: %v", len(files), files)
	}
	// A damaged copy is made anew, and said.
	name := filepath.Join(cache, files[0].Name())
	raw, _ := os.ReadFile(name)
	write(t, cache, files[0].Name(), raw[:len(raw)/2])
	other := filepath.Join(cache, files[1].Name())
	raw, _ = os.ReadFile(other)
	write(t, cache, files[1].Name(), raw[:len(raw)/2])
	if source, err = Open("imagefolder:"+dir, Options{}); err != nil {
		t.Fatal(err)
	}
	s := open(true, "")
	sameSet(t, s, source)
	if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "made anew") || !strings.Contains(s.Notes[0], "whole copy") {
		t.Errorf("notes %q", s.Notes)
	}
	open(false, "")
}

func FuzzPacked(f *testing.F) {
	s, err := Open("imagefolder:"+packSource(f), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packOf(f, s, PackOptions{}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 1<<20+100*len(raw))()
		s, _, err := parsePacked("x", raw)
		onlyDataErrors(t, err)
		if err != nil {
			return
		}
		for _, n := range s.Named() {
			for i := range n.Len() {
				_, err := n.Image(i)
				onlyDataErrors(t, err)
				_ = n.Dataset.Name(i)
				if l := n.Label(i); l < 0 || l >= len(n.Classes()) {
					t.Errorf("label %d", l)
				}
			}
		}
	})
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	im := func(v uint8, w, h int) []byte { return pngOf(t, flatGrey(w, h, v)) }
	for i := range 12 {
		write(t, dir, "train/a/"+digits(12)[i]+".png", im(uint8(i), 8, 8))
	}
	write(t, dir, "train/b/0.png", im(50, 8, 8))
	write(t, dir, "train/a/wide.png", im(51, 80, 8))
	write(t, dir, "train/a/small.png", im(52, 1, 1))
	write(t, dir, "train/a/twice.png", im(0, 8, 8))
	write(t, dir, "train/a/both.png", im(50, 8, 8))
	write(t, dir, "train/a/cut.png", im(9, 8, 8)[:40])
	write(t, dir, "test/a/0.png", im(1, 8, 8))
	write(t, dir, "test/b/0.png", im(77, 8, 8))
	s, err := Open("imagefolder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Test = &subset{s.Test, []int{0}} // class b is missing
	rep, err := Check(context.Background(), s, 3, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	type found struct {
		kind, split string
		count       int
	}
	var got []found
	for _, f := range rep.Findings {
		got = append(got, found{f.Kind, f.Split, f.Count})
		if len(f.Examples) == 0 || f.About == "" {
			t.Errorf("%+v", f)
		}
	}
	want := []found{
		{Unreadable, "train", 1}, {MissingClass, "test", 1}, {Leak, "train+test", 1}, {Conflict, "train", 1},
		{Duplicate, "train", 1}, {OddSize, "train", 2}, {Imbalance, "train", 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if r := rep.Splits[0]; r.Images != 18 || r.Classes != 2 || r.Smallest != 1 || r.Largest != 17 || r.MedianSide != 8 || r.MinSide != 1 {
		t.Errorf("%+v", r)
	}
	if rep, err = Check(context.Background(), Splits{Train: small(10, 2)}, 3, 1, nil); err != nil || len(rep.Findings) != 0 {
		t.Errorf("faults in a set that has none: %+v, %v", rep.Findings, err)
	}
}
