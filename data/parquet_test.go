package data

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"selfcon/data/internal/parquet"

	"selfcon/internal/testkit"
)

// checkParquet checks images first to first+n-1 of testdata/make_parquet.py.
func checkParquet(t *testing.T, ds Dataset, first, n int, missing ...int) {
	t.Helper()
	if ds.Len() != n {
		t.Fatalf("%d images, want %d", ds.Len(), n)
	}
	for k := range n {
		i := first + k
		if ds.Label(k) != i%3 {
			t.Errorf("image %d has label %d", i, ds.Label(k))
		}
		if slices.Contains(missing, i) {
			_, err := ds.Image(k)
			wantData(t, err, ds.Name(k), "no image in this row")
			continue
		}
		im := imageOf(t, ds, k)
		if want := []byte{byte(i), byte(2 * i), byte(255 - i)}; im.Width != i%7+1 || im.Height != 2 || !bytes.Equal(im.Pix[:3], want) {
			t.Errorf("image %d is %d×%d of %d, want %d×2 of %d", i, im.Width, im.Height, im.Pix[:3], i%7+1, want)
		}
	}
}

// TestParquetHuggingFace reads what Hugging Face's datasets 5.2 wrote.
func TestParquetHuggingFace(t *testing.T) {
	s, err := Open("parquet:testdata/hf", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Train.Classes(), []string{"cat", "dog", "a bird"}) || s.Test != nil {
		t.Errorf("classes %q", s.Train.Classes())
	}
	checkParquet(t, s.Train, 0, 24)
	checkParquet(t, s.Val, 24, 5)
	if got := filepath.ToSlash(s.Train.Name(15)); got != "testdata/hf/train-00001-of-00002.parquet: row 1" {
		t.Errorf("name %q", got)
	}
	if s, err = Open("parquet:testdata/hf/train-*.parquet", Options{Classes: []string{"a bird", "cat"}}); err != nil {
		t.Fatal(err)
	}
	if s.Train.Len() != 16 || s.Train.Label(0) != 1 || s.Train.Label(1) != 0 || imageOf(t, s.Train, 1).Pix[0] != 2 {
		t.Errorf("of two classes: %d images", s.Train.Len())
	}
	_, err = Open("parquet:testdata/hf", Options{Classes: []string{"fish"}})
	wantData(t, err, "testdata/hf", `class "fish" of the class list`)
}

func checkArrow(t *testing.T, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err != nil || len(files) < 14 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			s, err := Open("parquet:"+f, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var missing []int
			switch filepath.Base(f) {
			case "missing.parquet":
				missing = []int{7, 8}
			case "names.parquet", "categories.parquet":
				if got := s.Train.Classes(); !slices.Equal(got, []string{"a bird", "cat", "dog"}) {
					t.Fatalf("classes %q", got)
				}
				if s, err = Open("parquet:"+f, Options{Classes: []string{"cat", "dog", "a bird"}}); err != nil {
					t.Fatal(err)
				}
			}
			checkParquet(t, s.Train, 0, 40, missing...)
		})
	}
}

// TestParquetArrow reads what Arrow 26 wrote in several codecs and encodings.
func TestParquetArrow(t *testing.T) {
	dir := t.TempDir()
	for _, m := range membersOf(t, "testdata/arrow.tar.gz") {
		if strings.HasSuffix(m.name, ".parquet") {
			write(t, dir, m.name, m.body)
		}
	}
	checkArrow(t, dir)
}

// TestParquetPython does the same with the Arrow of this machine's Python
// (SELFCON_PYTHON, or python3), if it has one.
func TestParquetPython(t *testing.T) {
	python := os.Getenv("SELFCON_PYTHON")
	if python == "" {
		python = "python3"
	}
	if exec.Command(python, "-c", "import pyarrow, PIL").Run() != nil {
		t.Skip("no Python with pyarrow and Pillow; SELFCON_PYTHON may name one")
	}
	dir := t.TempDir()
	if out, err := exec.Command(python, "testdata/make_parquet.py", "arrow", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	checkArrow(t, dir)
}

func TestParquetBad(t *testing.T) {
	dir := t.TempDir()
	good, err := os.ReadFile("testdata/hf/train-00000-of-00002.parquet")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		raw   []byte
		parts []string
	}{
		"cut":     {good[:len(good)-20], []string{"does not end with PAR1", "whole copy"}},
		"short":   {[]byte("PAR1"), []string{"too short"}},
		"footer":  {append(bytes.Clone(good[:len(good)-8]), "\xff\xff\xff\x00PAR1"...), []string{"metadata of"}},
		"unnamed": {bytes.ReplaceAll(bytes.ReplaceAll(good, []byte("image"), []byte("ximgx")), []byte(`"Image"`), []byte(`"Other"`)), []string{"no column of images among ximgx.bytes, ximgx.path, label"}},
		"rubbish": {append(bytes.Clone(good[:len(good)-1400]), append(bytes.Repeat([]byte{0xff}, 1392), good[len(good)-8:]...)...), []string{"damaged metadata"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open("parquet:"+write(t, dir, name+".parquet", c.raw), Options{})
			wantData(t, err, name+".parquet", c.parts...)
		})
	}
	// A damaged page is found when it is read.
	body := bytes.Clone(good)
	at := bytes.Index(body, []byte("\x00\x00\x00\x89PNG"))
	copy(body[at-1:], []byte{0xff, 0xff, 0xff, 0x7f}) // the first image's length
	s, err := Open("parquet:"+write(t, t.TempDir(), "x.parquet", body), Options{Channels: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Train.Image(0)
	wantData(t, err, "x.parquet", "ends too early")
	if _, err := Open("parquet:"+dir+"/none-{0..3}.parquet", Options{}); err == nil {
		t.Error("files that are not there were opened")
	}
}

func FuzzParquet(f *testing.F) {
	for _, m := range membersOf(f, "testdata/arrow.tar.gz") {
		f.Add(m.body)
	}
	hf, err := os.ReadFile("testdata/hf/train-00000-of-00002.parquet")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hf)
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 64<<20+maxDeflate*len(raw))()
		p, err := parquet.Open(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		if p.Rows > len(raw) {
			t.Errorf("%d rows in %d bytes", p.Rows, len(raw))
		}
		pf := &parquetFile{path: "x", File: p}
		if err := pf.choose(); err != nil {
			onlyDataErrors(t, err)
		} else {
			_, err := pf.labels(Options{}, "train")
			onlyDataErrors(t, err)
		}
		for c := range p.Columns {
			pages, err := p.Pages(c)
			if err != nil {
				continue
			}
			for _, pg := range pages {
				v, err := p.Read(pg)
				if err == nil && len(v.Valid) != pg.Rows {
					t.Errorf("%d values of %d rows", len(v.Valid), pg.Rows)
				}
			}
		}
	})
}
