package data

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"selfcon/internal/testkit"
)

// Whatever the bytes are, a reader gives a whole result or an *Error, does not
// panic, and takes no more memory than the data warrants.

func onlyDataErrors(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Path == "" || e.Reason == "") {
		t.Errorf("error %v (%T), want a *data.Error with path and reason", err, err)
	}
}

func FuzzIDX(f *testing.F) {
	good := append(be(0x803, 2, 1, 3), 1, 2, 3, 4, 5, 6)
	for _, raw := range [][]byte{good, good[:20], good[:7], gz(f, good), be(0x803, 1<<31, 1<<31, 1<<31), append(be(0x801, 2), 3, 4), gz(f, append(be(0x801, 2), 3, 4))} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 2*(9<<20+3*maxDeflate*len(raw)))()
		h, w, pix, err := parseIDXImages("x", bytes.NewReader(raw), int64(len(raw)))
		onlyDataErrors(t, err)
		if err == nil && (h < 1 || w < 1 || len(pix) < 1 || len(pix)%(h*w) != 0) {
			t.Errorf("%d bytes of %d×%d images", len(pix), h, w)
		}
		labels, err := parseIDXLabels("x", bytes.NewReader(raw), int64(len(raw)))
		onlyDataErrors(t, err)
		if err == nil && len(labels) == 0 {
			t.Error("no labels and no error")
		}
	})
}

func checkParsed(t *testing.T, kind *cifarKind, pix [][]uint8, labels []int32, err error) {
	t.Helper()
	onlyDataErrors(t, err)
	if err != nil {
		return
	}
	if len(pix) == 0 || len(pix) != len(labels) {
		t.Errorf("%d images, %d labels", len(pix), len(labels))
	}
	for i, p := range pix {
		if len(p) != cifarPixels {
			t.Errorf("image %d: %d bytes, label %d", i, len(p), labels[i])
		}
	}
}

func FuzzCIFARBinary(f *testing.F) {
	f.Add(cifarBinary(cifar10, 1))
	f.Add(cifarBinary(cifar100, 1))
	f.Add(cifarBinary(cifar10, 1)[:3000])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 1<<20+8*len(raw))()
		for _, kind := range []*cifarKind{cifar10, cifar100} {
			pix, labels, err := parseCIFARBinary("x", bytes.Clone(raw), kind)
			checkParsed(t, kind, pix, labels, err)
		}
	})
}

func FuzzPickle(f *testing.F) {
	for _, archive := range []string{"cifar-10-py2", "cifar-10-py3", "cifar-100-py2", "cifar-100-py3"} {
		m := membersOf(f, filepath.Join("testdata", archive+".tar.gz"))
		f.Add(m[0].body)
	}
	f.Add(pickleOf(1, true, make([]byte, cifarPixels), 1))
	small := pickleOf(2, false, []byte("abcdef"), 1, 2) // its shape mended: 2×3
	f.Add(bytes.Replace(small, []byte{'M', 0, 12}, []byte{'K', 3}, 1))
	f.Add([]byte("\x80\x02}q\x01U\x01ah\x01s."))
	f.Add([]byte("\x80\x02]q\x01(h\x01h\x01h\x01e."))
	f.Add([]byte("\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00\xc2\x80X\x06\x00\x00\x00latin1\x86R."))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 1<<20+200*len(raw))()
		for _, kind := range []*cifarKind{cifar10, cifar100} {
			pix, labels, err := parseCIFARPython("x", bytes.Clone(raw), kind)
			checkParsed(t, kind, pix, labels, err)
		}
	})
}

func FuzzCIFARArchive(f *testing.F) {
	f.Add(tarOf(f, binaryMembers(cifar100)))
	f.Add(gz(f, tarOf(f, binaryMembers(cifar100))))
	f.Add(tarOf(f, membersOf(f, "testdata/cifar-100-py2.tar.gz")))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 9<<20+4*maxDeflate*len(raw))()
		path := filepath.Join(dir, "x.tar.gz")
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := openCIFAR(path, cifar100, Options{})
		onlyDataErrors(t, err)
		if err == nil && (s.Train.Len() == 0 || s.Test.Len() == 0) {
			t.Error("no images and no error")
		}
		for _, n := range s.Named() {
			for i := range n.Len() {
				if l := n.Label(i); l < 0 || l >= len(n.Classes()) {
					t.Errorf("%s, image %d: label %d", n.Name, i, l)
				}
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, raw := range [][]byte{
		pngOf(f, flat(5, 4, red)), pngOf(f, flatGrey(5, 4, 9)), jpegOf(f, flat(9, 9, blue)), jpegOf(f, flatGrey(9, 9, 80)),
		rawPNG(2, 1, 16, 0, nil, stored([]byte{0, 1, 2, 3, 4})),
		rawPNG(2, 1, 8, 3, map[string][]byte{"PLTE": {10, 20, 30, 40, 50, 60}, "tRNS": {100}}, stored([]byte{0, 0, 1})),
		rawPNG(8000, 8000, 16, 6, nil, stored([]byte{0})),
	} {
		f.Add(raw)
	}
	for _, m := range membersOf(f, "testdata/images.tar.gz") {
		if kindOf(m.body) != nil {
			f.Add(m.body)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		pixels := 0
		if h, err := readHeader("x", raw); err == nil {
			pixels = h.width * h.height
		}
		defer testkit.Bound(t, 2*int(decodeBound(pixels, len(raw))))()
		for _, channels := range []int{1, 3} {
			im, err := decodeImage("x", raw, channels)
			onlyDataErrors(t, err)
			if err == nil && (im.Channels != channels || im.Width < 1 || im.Height < 1 || len(im.Pix) != im.Width*im.Height*channels) {
				t.Errorf("%d bytes of %d×%d×%d", len(im.Pix), im.Height, im.Width, im.Channels)
			}
		}
	})
}

func FuzzArchive(f *testing.F) {
	p := pngOf(f, flat(2, 2, red))
	m := []member{{"train/a/1.png", p}, {"train/b/1.png", p}, {"test/a/1.png", p}, {"test/b/../b/1.png", p}}
	f.Add(zipOf(f, m))
	f.Add(tarOf(f, m))
	f.Add(gz(f, tarOf(f, m)))
	f.Add(zipOf(f, []member{{"../x", p}}))
	f.Add(linkedTar(f, m[:2], [][2]string{{"train/a/2.png", "../b/1.png"}, {"train/c", "b"}, {"train/d", "../train/c"}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		done := testkit.Bound(t, 17<<20+3*maxDeflate*len(raw))
		a, err := openArchive("x", bytes.NewReader(raw), int64(len(raw)), "an archive")
		onlyDataErrors(t, err)
		if err != nil {
			done()
			return
		}
		s, err := splitImageTree(a.descend(), Options{Channels: 3})
		onlyDataErrors(t, err)
		done()
		if err != nil {
			return
		}
		for i := range min(s.Train.Len(), 10) {
			_, err := s.Train.Image(i)
			onlyDataErrors(t, err)
		}
	})
}

func FuzzOrientation(f *testing.F) {
	for _, m := range membersOf(f, "testdata/images.tar.gz") {
		if k := kindOf(m.body); k != nil {
			f.Add(m.body)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 1<<20)()
		for _, k := range imageKinds {
			if o := orientation(k.name, raw); o < 1 || o > 8 {
				t.Errorf("orientation %d", o)
			}
		}
	})
}

func FuzzClassList(f *testing.F) {
	f.Add([]byte("a\nb\tx\n# y\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 1<<20+100*len(raw))()
		names, err := parseClassList("x", raw)
		onlyDataErrors(t, err)
		if err == nil && len(names) == 0 {
			t.Error("no names and no error")
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("path,label,split\na.png,x,train\nb.png,y,test\n"))
	f.Add([]byte("file\tclass\na.png\t3\n"))
	f.Add([]byte("{\"path\":\"a\",\"label\":1}\n{\"path\":\"b\",\"label\":\"2\",\"split\":\"val\"}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 256<<20+1000*len(raw))()
		for name, parse := range map[string]func(string, []byte) ([]row, error){"x.csv": parseCSV, "x.tsv": parseCSV, "x.jsonl": parseJSONL} {
			rows, err := parse(name, raw)
			onlyDataErrors(t, err)
			if err != nil {
				continue
			}
			for _, opt := range []Options{{Channels: 3}, {Channels: 3, Classes: []string{"x", "y"}}} {
				s, err := manifestSplits(name, rows, opt)
				onlyDataErrors(t, err)
				if err != nil {
					continue
				}
				for i := range s.Train.Len() {
					if l := s.Train.Label(i); l < 0 || l >= len(s.Train.Classes()) {
						t.Errorf("label %d of %d classes", l, len(s.Train.Classes()))
					}
				}
			}
		}
	})
}

func FuzzAnnotations(f *testing.F) {
	f.Add([]byte("val_0.JPEG\tn01\t0\t1\n"))
	f.Add([]byte("ImageId,PredictionString\nx,n01 1 2\n"))
	f.Add([]byte("a.JPEG 1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer testkit.Bound(t, 1<<20+300*len(raw))()
		for _, a := range annotationFiles {
			_, err := a.parse("x", raw, []string{"n01", "n02"})
			onlyDataErrors(t, err)
		}
	})
}
