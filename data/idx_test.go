package data

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// idxSet writes a set of 2×3 images whose pixels count up: train has labels
// 0, 1, 2, test 2, 0.
func idxSet(t testing.TB, zipped bool) (dir string) {
	dir = t.TempDir()
	for split, labels := range map[string][]byte{"train": {0, 1, 2}, "t10k": {2, 0}} {
		n := uint32(len(labels))
		images := be(0x803, n, 2, 3)
		for i := range 6 * len(labels) {
			images = append(images, byte(i))
		}
		labels = append(be(0x801, n), labels...)
		ext := ""
		if zipped {
			images, labels, ext = gz(t, images), gz(t, labels), ".gz"
		}
		write(t, dir, split+"-images-idx3-ubyte"+ext, images)
		write(t, dir, split+"-labels-idx1-ubyte"+ext, labels)
	}
	return dir
}

func TestIDX(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		dir := idxSet(t, zipped)
		for _, spec := range []string{"idx:" + dir, "mnist:" + dir, "fashion-mnist:" + dir} {
			s, err := Open(spec, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Val != nil || s.Train.Len() != 3 || s.Test.Len() != 2 {
				t.Fatalf("%s: wrong splits", spec)
			}
			if s.Train.Label(1) != 1 || s.Test.Label(0) != 2 {
				t.Errorf("%s: wrong labels", spec)
			}
			im := imageOf(t, s.Train, 1)
			if im.Width != 3 || im.Height != 2 || im.Channels != 1 || !bytes.Equal(im.Pix, []byte{6, 7, 8, 9, 10, 11}) {
				t.Errorf("%s: image 1 is %+v", spec, im)
			}
		}
		s, _ := Open("idx:"+dir, Options{Channels: 3})
		if !slices.Equal(s.Test.Classes(), []string{"0", "1", "2"}) {
			t.Errorf("classes %q", s.Test.Classes())
		}
		if im := imageOf(t, s.Test, 1); im.Channels != 3 || !bytes.Equal(im.Pix[:6], []byte{6, 6, 6, 7, 7, 7}) {
			t.Errorf("three channels: %+v", im)
		}
	}
}

func TestIDXOtherPlaces(t *testing.T) {
	from := idxSet(t, false)
	dir := t.TempDir()
	for _, name := range []string{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"} {
		raw, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "raw/"+string(bytes.Replace([]byte(name), []byte("-idx"), []byte(".idx"), 1)), raw)
	}
	s, err := Open("idx:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Train.Len() != 3 || s.Test != nil {
		t.Error("wrong splits")
	}
}

func TestIDXBad(t *testing.T) {
	const images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	two := append(be(0x803, 2, 1, 1), 7, 8)
	bomb := gz(t, be(0x803, 60000, 1<<15, 1<<15))
	for name, c := range map[string]struct {
		spec  string // idx if empty
		files map[string][]byte
		path  string
		parts []string
	}{
		"no files":          {files: nil, path: images + ".gz", parts: []string{"no such file", "images"}},
		"no labels":         {files: map[string][]byte{images: two}, path: labels + ".gz", parts: []string{"no such file", "labels of " + images}},
		"half a test":       {files: map[string][]byte{"t10k-images-idx3-ubyte": two}, path: "t10k-labels-idx1-ubyte.gz", parts: []string{"no such file"}},
		"no test":           {spec: "mnist", files: map[string][]byte{"t10k-images-idx3-ubyte": nil, "t10k-labels-idx1-ubyte": nil}, path: "t10k-images-idx3-ubyte.gz", parts: []string{"no such file"}},
		"empty":             {files: map[string][]byte{images: {}}, path: images, parts: []string{"0 bytes, no IDX header"}},
		"magic":             {files: map[string][]byte{images: []byte("hello, world, hello")}, path: images, parts: []string{"magic number 0x68656c6c", "begins with 0x00000803"}},
		"swapped":           {files: map[string][]byte{labels: two}, path: labels, parts: []string{"this is an images file", "0x00000801"}},
		"header cut":        {files: map[string][]byte{images: two[:10]}, path: images, parts: []string{"header is cut off"}},
		"truncated":         {files: map[string][]byte{images: append(be(0x803, 3, 28, 28), make([]byte, 2000)...)}, path: images, parts: []string{"truncated", "3×28×28", "file of 2016 bytes can hold"}},
		"truncated gz":      {files: map[string][]byte{images: gz(t, two)[:25]}, path: images, parts: []string{"truncated"}},
		"gz checksum":       {files: map[string][]byte{images: flip(gz(t, two), -6)}, path: images, parts: []string{"can't be read", "checksum"}},
		"claims":            {files: map[string][]byte{images: be(0x803, 0xffffffff, 0xffffffff, 0xffffffff)}, path: images, parts: []string{"truncated", "4294967295×4294967295×4294967295", "more than a file of 16 bytes can hold"}},
		"gz claims":         {files: map[string][]byte{images: bomb}, path: images, parts: []string{"truncated", "can hold"}},
		"none":              {files: map[string][]byte{images: be(0x803, 0, 28, 28)}, path: images, parts: []string{"no images", "says 0"}},
		"no size":           {files: map[string][]byte{images: be(0x803, 2, 28, 0)}, path: images, parts: []string{"28×0"}},
		"left over":         {files: map[string][]byte{images: append(bytes.Clone(two), 1)}, path: images, parts: []string{"bytes left after", "2×1×1"}},
		"count":             {files: map[string][]byte{labels: append(be(0x801, 3), 0, 1, 2)}, path: labels, parts: []string{"3 labels", "has 2 images"}},
		"label":             {spec: "mnist", files: map[string][]byte{labels: append(be(0x801, 2), 0, 10)}, path: labels, parts: []string{"label 10 of image 1", "end at 9"}},
		"test label":        {files: map[string][]byte{"t10k-labels-idx1-ubyte": append(be(0x801, 2), 0, 5)}, path: "t10k-labels-idx1-ubyte", parts: []string{"label 5 of image 1", "training labels end at 1"}},
		"another size":      {files: map[string][]byte{"t10k-images-idx3-ubyte": append(be(0x803, 2, 1, 2), 1, 2, 3, 4)}, path: "t10k-images-idx3-ubyte", parts: []string{"1×2", "are 1×1"}},
		"gz of what is not": {files: map[string][]byte{images: {0x1f, 0x8b, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}}, path: images, parts: []string{"can't be read", "gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			all := map[string][]byte{}
			if c.files != nil {
				for _, split := range []string{"train", "t10k"} {
					all[split+"-images-idx3-ubyte"] = two
					all[split+"-labels-idx1-ubyte"] = append(be(0x801, 2), 0, 1)
				}
			}
			switch name {
			case "no labels":
				delete(all, labels)
			case "half a test":
				delete(all, "t10k-labels-idx1-ubyte")
			case "no test":
				delete(all, "t10k-images-idx3-ubyte")
				delete(all, "t10k-labels-idx1-ubyte")
				c.files = nil
			}
			for f, raw := range c.files {
				all[f] = raw
			}
			for f, raw := range all {
				write(t, dir, f, raw)
			}
			if c.spec == "" {
				c.spec = "idx"
			}
			_, err := Open(c.spec+":"+dir, Options{})
			wantData(t, err, c.path, c.parts...)
		})
	}
	_, err := Open("idx:"+filepath.Join(t.TempDir(), "nowhere"), Options{})
	wantData(t, err, "nowhere", "no such file or folder")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	_, err = Open("idx:"+write(t, t.TempDir(), "file", nil), Options{})
	wantData(t, err, "file", "is a file", "train-images-idx3-ubyte.gz")
}

// flip changes the byte at i, from the end if it is negative.
func flip(raw []byte, i int) []byte {
	raw = bytes.Clone(raw)
	if i < 0 {
		i += len(raw)
	}
	raw[i] ^= 0xff
	return raw
}

// realFashion is where Debian's package dataset-fashion-mnist puts the set.
const realFashion = "/usr/share/datasets/fashion-mnist"

func openReal(t testing.TB) Splits {
	if testing.Short() {
		t.Skip("the whole of Fashion-MNIST takes seconds")
	}
	if _, err := os.Stat(realFashion); err != nil {
		t.Skip("no whole Fashion-MNIST here (Debian's package dataset-fashion-mnist)")
	}
	s, err := Open("fashion-mnist:"+realFashion, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRealFashionMNIST(t *testing.T) {
	s := openReal(t)
	f, _ := FactsOf("fashion-mnist")
	if s.Train.Len() != f.Train || s.Test.Len() != f.Test {
		t.Errorf("%d and %d images, the facts say %d and %d", s.Train.Len(), s.Test.Len(), f.Train, f.Test)
	}
	for _, ds := range []Dataset{s.Train, s.Test} {
		for label, n := range perClass(ds) {
			if n != ds.Len()/10 {
				t.Errorf("class %d has %d images, want %d", label, n, ds.Len()/10)
			}
		}
	}
	mean, std, err := Stats(s.Train, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The table's numbers have four digits.
	if math.Abs(mean[0]-f.Mean[0]) > 5e-5+1e-9 || math.Abs(std[0]-f.Std[0]) > 5e-5+1e-9 {
		t.Errorf("mean %v, std %v, the facts say %v, %v", mean, std, f.Mean, f.Std)
	}
}

func perClass(ds Dataset) []int {
	n := make([]int, len(ds.Classes()))
	for i := range ds.Len() {
		n[ds.Label(i)]++
	}
	return n
}
