package data

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"selfcon/internal/testkit"
)

// shardOf is a shard of samples first to first+n-1, of colour and class i.
func shardOf(t testing.TB, first, n int, label func(i int) member) []byte {
	var m []member
	for i := first; i < first+n; i++ {
		l := label(i)
		l.name = fmt.Sprintf("dir.x/%04d.%s", i, l.name)
		im := member{fmt.Sprintf("dir.x/%04d.png", i), pngOf(t, flatGrey(i%5+1, 1, uint8(i)))}
		m = append(m, member{fmt.Sprintf("dir.x/%04d.txt", i), []byte("a caption")}, im, l)
	}
	return tarOf(t, m)
}

func clsOf(i int) member { return member{"cls", fmt.Appendf(nil, "%d\n", i%3)} }

func TestWebDataset(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "set-train-0.tar", shardOf(t, 0, 7, clsOf))
	write(t, dir, "set-train-1.tar", shardOf(t, 7, 4, func(i int) member { return member{"json", fmt.Appendf(nil, `{"id": 5, "label": %d}`, i%3)} }))
	write(t, dir, "set-train-10.tar", shardOf(t, 11, 2, clsOf))
	write(t, dir, "set-val-0.tar", shardOf(t, 20, 3, clsOf))
	for spec, train := range map[string]int{
		dir: 13, filepath.Join(dir, "set-train-{0..1}.tar"): 11, filepath.Join(dir, "set-{train,val}-*.tar"): 13,
		filepath.Join(dir, "set-train-10.tar"): 2,
	} {
		s, err := Open("webdataset:"+spec, Options{})
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if s.Train.Len() != train || !slices.Equal(s.Train.Classes(), digits(3)) {
			t.Errorf("%s: %d images of %q", spec, s.Train.Len(), s.Train.Classes())
			continue
		}
		for i := range train {
			n := i
			if train == 2 {
				n += 11
			}
			if im := imageOf(t, s.Train, i); s.Train.Label(i) != n%3 || im.Channels != 1 || im.Width != n%5+1 || im.Pix[0] != uint8(n) {
				t.Errorf("%s: image %d: label %d, %+v", spec, i, s.Train.Label(i), im)
			}
		}
		if s.Val != nil && (s.Val.Len() != 3 || imageOf(t, s.Val, 1).Pix[0] != 21) {
			t.Errorf("%s: wrong validation images", spec)
		}
	}
	// Names as labels, a class list.
	names := write(t, t.TempDir(), "x.tar", shardOf(t, 0, 6, func(i int) member { return member{"cls", []byte([]string{"dog", "cat", "ant"}[i%3])} }))
	s, err := Open("webdataset:"+names, Options{})
	if err != nil || !slices.Equal(s.Train.Classes(), []string{"ant", "cat", "dog"}) {
		t.Fatalf("classes %v, %v", s.Train, err)
	}
	s, err = Open("webdataset:"+names, Options{Classes: []string{"dog", "ant"}})
	if err != nil || s.Train.Len() != 4 || s.Train.Label(1) != 1 || imageOf(t, s.Train, 1).Pix[0] != 2 {
		t.Errorf("of two classes: %v, %v", s.Train, err)
	}
}

// TestGzippedShards: they are as plain ones, beside which they may lie, and bounded.
func TestGzippedShards(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "train-0.tar.gz", gz(t, shardOf(t, 0, 7, clsOf)))
	write(t, dir, "train-1.tar", shardOf(t, 7, 4, clsOf))
	last := write(t, dir, "train-2.tgz", gz(t, shardOf(t, 11, 2, clsOf)))
	s, err := Open("webdataset:"+dir, Options{})
	if err != nil || s.Train.Len() != 13 {
		t.Fatalf("%+v, %v", s, err)
	}
	for i := range 13 {
		if im := imageOf(t, s.Train, i); s.Train.Label(i) != i%3 || im.Pix[0] != uint8(i) {
			t.Errorf("image %d: label %d, %+v", i, s.Train.Label(i), im)
		}
	}
	room := int64(5000)
	_, err = openShard(last, &room)
	wantData(t, err, "train-2.tgz", "gunzip them")
	room = 100_000
	if _, err := openShard(last, &room); err != nil || room >= 100_000 || room <= 0 {
		t.Errorf("room for %d bytes is left, %v", room, err)
	}
}

func TestWebDatasetBad(t *testing.T) {
	p := pngOf(t, flat(2, 2, red))
	good := shardOf(t, 0, 3, clsOf)
	for name, c := range map[string]struct {
		raw  []byte
		part string
	}{
		"unlabelled": {tarOf(t, []member{{"a.png", p}, {"b.png", p}, {"b.cls", []byte("1")}}), "sample a has no label"},
		"no image":   {tarOf(t, []member{{"a.cls", []byte("1")}}), "sample a has a label and no image"},
		"two images": {tarOf(t, []member{{"a.png", p}, {"a.jpg", p}, {"a.cls", []byte("1")}}), "the second image"},
		"cut gz":     {gz(t, good)[:len(gz(t, good))/2], "the file ends too early"},
		"no tar":     {gz(t, []byte("text")), "neither a zip nor a tar"},
		"nothing":    {tarOf(t, []member{{"a.md", p}}), "no samples"},
		"text":       {[]byte("text"), "neither a zip nor a tar"},
		"cut":        {good[:len(good)/2+100], "too early"},
	} {
		_, err := Open("webdataset:"+write(t, t.TempDir(), "x.tar", c.raw), Options{})
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: error %v, want a *data.Error with %q", name, err, c.part)
		}
	}
	// Two shards, one of which says no split.
	dir := t.TempDir()
	write(t, dir, "train-0.tar", good)
	write(t, dir, "more.tar", good)
	_, err := Open("webdataset:"+dir, Options{})
	wantData(t, err, "more.tar", "says no split")
}

func TestExpandBraces(t *testing.T) {
	for in, want := range map[string][]string{
		"a.tar":                {"a.tar"},
		"a-{008..011}.tar":     {"a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"},
		"{x,y}-{1..2}":         {"x-1", "x-2", "y-1", "y-2"},
		"a{2..1}":              {"a{2..1}"},
		"a{1..9999999}":        nil,
		"{0..9999}{0..9999}.x": nil,
	} {
		got, tooMany := expandBraces(in)
		if !slices.Equal(got, want) || tooMany != (want == nil) {
			t.Errorf("%s: %q, %v, want %q", in, got, tooMany, want)
		}
	}
}

func TestBlockOrder(t *testing.T) {
	// Blocks of 10 images of 10 MB: a window is 3 of them, 300 MB.
	const n = 200
	block := func(i int) (int64, int64) { return int64(i / 10), 10 << 20 }
	ds := &blockedSmall{small(n, 2), block}
	l := loaderOf(t, LoaderConfig{Dataset: &subset{ds, seq(n)}, Transform: noisy, Batch: 10, Views: 1, Height: 1, Width: 2, Channels: 3, Shuffle: true, Seed: 3})
	var order []int
	for _, b := range epochOf(t, l, 0, 0) {
		order = append(order, b.Indices...)
	}
	if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, seq(n)) {
		t.Fatal("not every image once")
	}
	inOrder := 0
	for w := 0; w < n; w += 30 {
		window := order[w:min(w+30, n)]
		blocks := map[int]int{}
		for k, i := range window {
			blocks[i/10]++
			if k > 0 && window[k-1]+1 == i {
				inOrder++
			}
		}
		for b, k := range blocks {
			if k != 10 {
				t.Errorf("window at %d has %d images of block %d, want all", w, k, b)
			}
		}
	}
	if inOrder > 30 { // a random order of 30 has one such pair; 6 windows
		t.Errorf("%d images follow the one before them in the set", inOrder)
	}
	other := epochOf(t, l, 1, 0)
	if slices.Equal(other[0].Indices, order[:10]) {
		t.Error("the next epoch has the same order")
	}
}

type blockedSmall struct {
	*memory
	of func(i int) (int64, int64)
}

func (b *blockedSmall) block(i int) (int64, int64) { return b.of(i) }

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func FuzzShard(f *testing.F) {
	f.Add(shardOf(f, 0, 3, clsOf))
	f.Add(shardOf(f, 0, 2, func(i int) member { return member{"json", []byte(`{"cls": "x"}`)} }))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 2<<20+200*len(raw))()
		samples, labels, err := readShard("x", bytes.NewReader(raw))
		onlyDataErrors(t, err)
		if err == nil && (len(samples) == 0 || len(samples) != len(labels)) {
			t.Errorf("%d samples, %d labels", len(samples), len(labels))
		}
		for _, s := range samples {
			if s.at < 0 || s.size < 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}
