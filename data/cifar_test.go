package data

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cifarValue is the formula of testdata/make_cifar.py.
func cifarValue(b, i, c, y, x int) byte { return byte(31*b + 7*i + 50*c + 3*y + 5*x) }

// cifarBinary is file b of a binary set, of three images.
func cifarBinary(kind *cifarKind, b int) []byte {
	var raw []byte
	for i := range 3 {
		if kind.labelBytes == 2 {
			raw = append(raw, byte(i))
		}
		raw = append(raw, byte(b+i))
		for c := range 3 {
			for y := range 32 {
				for x := range 32 {
					raw = append(raw, cifarValue(b, i, c, y, x))
				}
			}
		}
	}
	return raw
}

// binaryMembers is a binary set as the distributed archive has it.
func binaryMembers(kind *cifarKind) []member {
	form := kind.forms[0]
	m := []member{{form.folder + "/readme.html", []byte("hello")}}
	for b, name := range form.files() {
		m = append(m, member{form.folder + "/" + name, cifarBinary(kind, b)})
	}
	return m
}

func checkCIFAR(t *testing.T, s Splits, kind *cifarKind) {
	t.Helper()
	files := len(kind.forms[0].train)
	if s.Train.Len() != 3*files || s.Test.Len() != 3 || s.Val != nil {
		t.Fatalf("%d and %d images, want %d and 3", s.Train.Len(), s.Test.Len(), 3*files)
	}
	if !slices.Equal(s.Test.Classes(), kind.classes) {
		t.Errorf("classes %q", s.Test.Classes())
	}
	check := func(ds Dataset, b, at int) {
		for i := range 3 {
			if got := ds.Label(at + i); got != b+i {
				t.Errorf("file %d, image %d: label %d, want %d", b, i, got, b+i)
			}
			im := imageOf(t, ds, at+i)
			if im.Width != 32 || im.Height != 32 || im.Channels != 3 {
				t.Fatalf("image of %d×%d×%d", im.Height, im.Width, im.Channels)
			}
			for _, p := range [][3]int{{0, 0, 0}, {0, 31, 1}, {7, 3, 2}, {31, 31, 2}} {
				y, x, c := p[0], p[1], p[2]
				if got, want := im.Pix[(y*32+x)*3+c], cifarValue(b, i, c, y, x); got != want {
					t.Errorf("file %d, image %d, row %d, column %d, channel %d: %d, want %d", b, i, y, x, c, got, want)
				}
			}
		}
	}
	for b := range files {
		check(s.Train, b, 3*b)
	}
	check(s.Test, files, 0)
}

func TestCIFAR(t *testing.T) {
	for _, kind := range []*cifarKind{cifar10, cifar100} {
		number := strings.TrimPrefix(kind.format, "cifar")
		dir := t.TempDir()
		archives := map[string]string{
			"binary":       write(t, dir, "binary.tar.gz", gz(t, tarOf(t, binaryMembers(kind)))),
			"binary tar":   write(t, dir, "binary.tar", tarOf(t, binaryMembers(kind))),
			"Python 2":     "testdata/cifar-" + number + "-py2.tar.gz",
			"Python 3":     "testdata/cifar-" + number + "-py3.tar.gz",
			"beside other": write(t, dir, "both.tar.gz", gz(t, tarOf(t, append(membersOf(t, "testdata/cifar-"+number+"-py2.tar.gz"), binaryMembers(kind)[:2]...)))),
		}
		for name, archive := range archives {
			t.Run(kind.format+" "+name, func(t *testing.T) {
				s, err := Open(kind.format+":"+archive, Options{})
				if err != nil {
					t.Fatal(err)
				}
				checkCIFAR(t, s, kind)
				if n := s.Test.Name(1); !strings.Contains(n, archive) || !strings.Contains(n, "test") || !strings.HasSuffix(n, "image 1") {
					t.Errorf("name %q", n)
				}
				if name == "Python 2" || name == "binary" { // the same unpacked: its folder, and the one above
					dir := t.TempDir()
					var folder string
					if name == "Python 2" {
						for _, m := range membersOf(t, archive) {
							folder = filepath.Dir(write(t, dir, m.name, m.body))
						}
					} else {
						for _, m := range binaryMembers(kind) {
							folder = filepath.Dir(write(t, dir, m.name, m.body))
						}
					}
					for _, at := range []string{folder, dir} {
						if s, err = Open(kind.format+":"+at, Options{}); err != nil {
							t.Fatal(err)
						}
						checkCIFAR(t, s, kind)
					}
				}
			})
		}
		raw, err := os.ReadFile(archives["binary"])
		if err != nil {
			t.Fatal(err)
		}
		dir = t.TempDir()
		write(t, dir, kind.forms[0].archive, raw)
		s, err := Open(kind.format+":"+dir, Options{Channels: 1})
		if err != nil {
			t.Fatal(err)
		}
		im := imageOf(t, s.Train, 1)
		if want := luma(cifarValue(0, 1, 0, 2, 1), cifarValue(0, 1, 1, 2, 1), cifarValue(0, 1, 2, 2, 1)); im.Channels != 1 || im.Pix[2*32+1] != want {
			t.Errorf("grey: %d, want %d", im.Pix[2*32+1], want)
		}
	}
}

// A file of the last image of the last batch is named by its own batch.
func TestCIFARNames(t *testing.T) {
	s, err := Open("cifar10:testdata/cifar-10-py2.tar.gz", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "data_batch_1: image 0", 2: "data_batch_1: image 2", 3: "data_batch_2: image 0", 14: "data_batch_5: image 2"} {
		if n := s.Train.Name(i); !strings.HasSuffix(n, want) {
			t.Errorf("name of %d is %q, want …%s", i, n, want)
		}
	}
}

func TestCIFARFortranOrder(t *testing.T) {
	data := make([]byte, 2*cifarPixels)
	for i := range 2 {
		for j := range cifarPixels {
			data[j*2+i] = byte(j + 100*i)
		}
	}
	_, labels, err := parseCIFARPython("x", pickleOf(2, true, data, 3, 4), cifar10)
	if err != nil || labels[1] != 4 {
		t.Fatal(labels, err)
	}
	pix, _, _ := parseCIFARPython("x", pickleOf(2, true, data, 3, 4), cifar10)
	if pix[1][0] != 100 || pix[1][1] != byte(100+1024%256) || pix[0][3] != 1 {
		t.Errorf("pixels %d", pix[1][:6])
	}
}

// pickleOf is a pickle of the form of Python 2's, with an array of n rows.
func pickleOf(n byte, fortran bool, data []byte, labels ...byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x80\x02}q\x01(U\x06labelsq\x02]q\x03(")
	for _, l := range labels {
		b.Write([]byte{'K', l})
	}
	b.WriteString("eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01")
	b.Write([]byte{'K', n, 'M', 0, 12, 0x86})
	b.WriteString("cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
	b.WriteByte(map[bool]byte{true: 0x88, false: 0x89}[fortran])
	b.WriteByte('T')
	b.Write([]byte{byte(len(data)), byte(len(data) >> 8), byte(len(data) >> 16), byte(len(data) >> 24)})
	b.Write(data)
	b.WriteString("tbu.")
	return b.Bytes()
}

func TestCIFARBad(t *testing.T) {
	good := binaryMembers(cifar10)
	replace := func(name string, body []byte) []member {
		var out []member
		for _, m := range good {
			if path.Base(m.name) == name {
				if body == nil {
					continue
				}
				m.body = body
			}
			out = append(out, m)
		}
		return out
	}
	batch := cifarBinary(cifar10, 2)
	python := func(body []byte) []member {
		m := membersOf(t, "testdata/cifar-10-py2.tar.gz")
		m[1].body = body
		return m
	}
	row := make([]byte, cifarPixels)
	for name, c := range map[string]struct {
		raw   []byte
		path  string
		parts []string
	}{
		"truncated gz":        {gz(t, tarOf(t, good))[:500], "data_batch_1.bin", []string{"ends too early"}},
		"cut member":          {gz(t, tarOf(t, good)[:20000]), "data_batch_2.bin", []string{"ends too early"}},
		"checksum":            {flip(gz(t, tarOf(t, good)), -6), ".tar.gz", []string{"checksum"}},
		"no archive":          {bytes.Repeat([]byte("no archive "), 100), ".tar.gz", []string{"not a tar archive", "cifar-10-binary.tar.gz"}},
		"empty":               {nil, ".tar.gz", []string{"not a tar archive"}},
		"other files":         {gz(t, tarOf(t, []member{{"a", nil}})), ".tar.gz", []string{"no file of CIFAR-10", "cifar-10-binary.tar.gz"}},
		"other set":           {gz(t, tarOf(t, binaryMembers(cifar100))), ".tar.gz", []string{"this is CIFAR-100", "did you mean cifar100:"}},
		"missing":             {gz(t, tarOf(t, replace("data_batch_3.bin", nil))), ".tar.gz", []string{"no data_batch_3.bin", "needs all of", "test_batch.bin"}},
		"truncated batch":     {gz(t, tarOf(t, replace("data_batch_3.bin", batch[:5000]))), "data_batch_3.bin", []string{"truncated", "5000 bytes", "3073"}},
		"no images":           {gz(t, tarOf(t, replace("data_batch_3.bin", []byte{}))), "data_batch_3.bin", []string{"0 bytes", "one or more"}},
		"label":               {gz(t, tarOf(t, replace("test_batch.bin", append([]byte{10}, row...)))), "test_batch.bin", []string{"label 10 of image 0", "0 to 9"}},
		"twice":               {gz(t, tarOf(t, append(slices.Clone(good), good[1]))), "data_batch_1.bin", []string{"two files"}},
		"no pickle":           {gz(t, tarOf(t, python([]byte("hello")))), "data_batch_2", []string{"not a python file of CIFAR-10", "byte 0"}},
		"cut pickle":          {gz(t, tarOf(t, python(pickleOf(1, false, row, 1)[:2000]))), "data_batch_2", []string{"truncated: 3072 bytes wanted"}},
		"pickle labels":       {gz(t, tarOf(t, python(pickleOf(1, false, row, 1, 2)))), "data_batch_2", []string{"2 labels for 1 images"}},
		"pickle label":        {gz(t, tarOf(t, python(pickleOf(1, false, row, 10)))), "data_batch_2", []string{"label 10 of image 0", "0 to 9"}},
		"pickle shape":        {gz(t, tarOf(t, python(pickleOf(2, false, row, 1)))), "data_batch_2", []string{"an array of 3072 bytes has a dimension of 3072"}},
		"pickle of CIFAR-100": {gz(t, tarOf(t, python(membersOf(t, "testdata/cifar-100-py2.tar.gz")[0].body))), "data_batch_2", []string{"this is CIFAR-100: use cifar100:"}},
		"pickle of code":      {gz(t, tarOf(t, python([]byte("\x80\x02cos\nsystem\nU\x02ls\x85R.")))), "data_batch_2", []string{`it names "os.system"`, "nothing that a pickle names is run"}},
		"pickle protocol 6":   {gz(t, tarOf(t, python([]byte("\x80\x06}.")))), "data_batch_2", []string{"protocol 6", "2 to 5"}},
		"pickle of a list":    {gz(t, tarOf(t, python([]byte("\x80\x02].")))), "data_batch_2", []string{"a list, not a dictionary"}},
		"pickle of nothing":   {gz(t, tarOf(t, python([]byte("\x80\x02}.")))), "data_batch_2", []string{`"data" must be an array of bytes of shape n×3072`}},
		"pickle in itself":    {gz(t, tarOf(t, python([]byte("\x80\x02}q\x01U\x01ah\x01s.")))), "data_batch_2", []string{`"data" must be`}},
		"pickle of labels":    {gz(t, tarOf(t, python(bytes.Replace(pickleOf(1, false, row, 1), []byte("K\x01"), []byte("h\x03"), 1)))), "data_batch_2", []string{"label list of image 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			archive := write(t, t.TempDir(), "x.tar.gz", c.raw)
			_, err := Open("cifar10:"+archive, Options{})
			wantData(t, err, c.path, c.parts...)
			if !strings.Contains(fmt.Sprint(err), archive) {
				t.Errorf("the archive isn't named: %v", err)
			}
		})
	}

	dir := t.TempDir()
	_, err := Open("cifar10:"+dir, Options{})
	wantData(t, err, filepath.Base(dir), "no CIFAR-10 in this folder", "cifar-10-python.tar.gz")
	_, err = Open("cifar10:"+dir+"/nowhere", Options{})
	wantData(t, err, "nowhere", "no such file or folder")
	write(t, dir, "data_batch_1.bin", batch)
	_, err = Open("cifar10:"+dir, Options{})
	wantData(t, err, "data_batch_2.bin", "no such file")
	_, err = Open("cifar100:"+dir, Options{})
	wantData(t, err, filepath.Base(dir), "no CIFAR-100 in this folder")
	write(t, dir, "test_batch.bin", batch)
	_, err = Open("cifar100:"+dir, Options{})
	wantData(t, err, filepath.Base(dir), "no CIFAR-100 here, but CIFAR-10", "cifar10:")
}
