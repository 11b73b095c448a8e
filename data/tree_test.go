package data

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func zipOf(t testing.TB, members []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		f, err := w.Create(m.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImageFolderArchives(t *testing.T) {
	p := pngOf(t, flat(4, 3, red))
	q := pngOf(t, flat(5, 2, blue))
	var members []member
	for _, f := range []string{"train/b/1.png", "train/a/2.png", "train/a/deep/1.PNG", "train/.git/x.png", "__MACOSX/train/a/._2.png", "train/a/.DS_Store", "train/a/notes.txt", "test/a/1.png", "test/b/1.png"} {
		body := p
		if strings.HasPrefix(f, "test") {
			body = q
		}
		members = append(members, member{f, body})
	}
	inFolder := slices.Clone(members)
	for i := range inFolder {
		if !strings.HasPrefix(inFolder[i].name, "__") {
			inFolder[i].name = "./photos/" + inFolder[i].name
		}
	}
	dir := t.TempDir()
	for name, raw := range map[string][]byte{
		"p.zip": zipOf(t, members), "p.tar": tarOf(t, members), "p.tar.gz": gz(t, tarOf(t, members)),
		"deep.zip": zipOf(t, inFolder), "deep.tar": tarOf(t, inFolder), "deep.tgz": gz(t, tarOf(t, inFolder)),
	} {
		s, err := Open("imagefolder:"+write(t, dir, name, raw), Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Train.Len() != 3 || s.Test.Len() != 2 || !slices.Equal(s.Train.Classes(), []string{"a", "b"}) {
			t.Errorf("%s: %d and %d images of %q", name, s.Train.Len(), s.Test.Len(), s.Train.Classes())
			continue
		}
		if im := imageOf(t, s.Test, 1); im.Width != 5 || im.Height != 2 || im.Pix[2] != blue.B {
			t.Errorf("%s: image %+v", name, im)
		}
		if !strings.HasSuffix(s.Train.Name(1), "train/a/deep/1.PNG") || !strings.Contains(s.Train.Name(1), name+": ") {
			t.Errorf("%s: name %q", name, s.Train.Name(1))
		}
		if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "notes.txt is passed over") {
			t.Errorf("%s: notes %q", name, s.Notes)
		}
	}
}

func TestArchiveBad(t *testing.T) {
	p := pngOf(t, flat(4, 3, red))
	dir := t.TempDir()
	ok := []member{{"a/1.png", p}, {"b/1.png", p}}
	lies := zipOf(t, ok) // the central directory promises 4 GB
	at := bytes.LastIndex(lies, []byte("PK\x01\x02"))
	copy(lies[at+24:], []byte{0xf0, 0xff, 0xff, 0xff})
	sum := zipOf(t, []member{{"a/1.txt", bytes.Repeat([]byte("x"), 100)}, {"a/2.png", p}})
	at = bytes.Index(sum, []byte("PK\x01\x02"))
	sum[at+16]++ // the checksum
	for name, c := range map[string]struct {
		raw   []byte
		parts []string
	}{
		"text.zip":   {[]byte("hello, this is no archive"), []string{"neither a zip nor a tar archive", "train/<class>"}},
		"cut.zip":    {zipOf(t, ok)[:200], []string{"damaged zip archive"}},
		"empty.zip":  {zipOf(t, nil), []string{"no files in this archive"}},
		"out.zip":    {zipOf(t, append(ok, member{"../../evil.png", p})), []string{"leads out of the archive", "evil.png"}},
		"out2.zip":   {zipOf(t, append(ok, member{`..\evil.png`, p})), []string{"leads out of the archive"}},
		"root.tar":   {tarOf(t, append(ok, member{"/etc/evil.png", p})), []string{"leads out of the archive"}},
		"twice.zip":  {zipOf(t, append(ok, member{"a/1.png", p})), []string{"two files of this name"}},
		"both.zip":   {zipOf(t, append(ok, member{"a/1.png/2.png", p})), []string{"both a file and a folder"}},
		"deep.tar":   {tarOf(t, []member{{strings.Repeat("d/", 70) + "1.png", p}}), []string{"folders deep"}},
		"bomb.zip":   {lies, []string{"not a file that is read from an archive"}},
		"cut.tar.gz": {gz(t, tarOf(t, ok))[:80], []string{"ends too early"}},
	} {
		_, err := Open("imagefolder:"+write(t, dir, name, c.raw), Options{})
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v, want a *data.Error", name, err)
			continue
		}
		for _, part := range c.parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %q in it", name, err, part)
			}
		}
	}
	// A wrong checksum is found when the file is read.
	tr, err := openTree(write(t, dir, "sum.zip", sum), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.read("a/1.txt"); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("error %v, want one about the checksum", err)
	}
	if _, err := tr.read("a/none.png"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestClassOrderAndList(t *testing.T) {
	p := pngOf(t, flat(2, 2, red))
	dir := t.TempDir()
	for _, c := range []string{"100", "2", "30", "002", "b10", "b9"} {
		write(t, dir, c+"/1.png", p)
	}
	list := write(t, t.TempDir(), "list.txt", []byte("# mine\nb9\n\n2\tdeux\n"))
	names, err := ReadClassList(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opt  Options
		want []string
	}{
		{Options{}, []string{"002", "100", "2", "30", "b10", "b9"}},
		{Options{Order: Natural}, []string{"002", "2", "30", "100", "b9", "b10"}},
		{Options{Classes: names}, []string{"b9", "2"}},
	} {
		s, err := Open("imagefolder:"+dir, c.opt)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Train.Classes(); !slices.Equal(got, c.want) {
			t.Errorf("classes %q, want %q", got, c.want)
		}
		for i := range s.Train.Len() {
			if class := filepath.Base(filepath.Dir(s.Train.Name(i))); class != c.want[s.Train.Label(i)] {
				t.Errorf("%s has label %d", s.Train.Name(i), s.Train.Label(i))
			}
		}
	}
	_, err = Open("imagefolder:"+dir, Options{Classes: []string{"2", "cat"}})
	wantData(t, err, filepath.ToSlash(dir), `no folder for class "cat" of the class list`)
	var spec *SpecError
	if _, err = Open("imagefolder:"+dir, Options{Order: "naturl"}); !errors.As(err, &spec) || !strings.Contains(err.Error(), "natural") {
		t.Errorf("error %v", err)
	}
	if _, err = Open("sample", Options{Classes: names}); !errors.As(err, &spec) {
		t.Errorf("error %v", err)
	}
	for text, part := range map[string]string{"a\nb\na\n": "line 3", "#\n\n": "no classes", strings.Repeat("x", 70000): "not a class list"} {
		_, err := parseClassList("list", []byte(text))
		wantData(t, err, "list", part)
	}
	if got, err := parseClassList("list", []byte("n01532829 house finch\nhouse finch\n")); err != nil || !slices.Equal(got, []string{"n01532829", "house finch"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNaturalOrder(t *testing.T) {
	want := []string{"", "0", "1", "01", "2", "10", "99999999999999999999", "100000000000000000000", "a", "a1", "a1b", "a01c", "a2", "a10", "b"}
	slices.SortFunc(want[2:4], strings.Compare)
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, naturally)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// linkedTar is a tar archive of members, and of links (hard ones where hard says so).
func linkedTar(t testing.TB, members []member, links [][2]string, hard ...int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h *tar.Header, body []byte) {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	for i, l := range links { // before what they lead to
		kind := byte(tar.TypeSymlink)
		if slices.Contains(hard, i) {
			kind = tar.TypeLink
		}
		put(&tar.Header{Typeflag: kind, Name: l[0], Linkname: l[1]}, nil)
	}
	for _, m := range members {
		put(&tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.body)), Mode: 0o644}, m.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestArchiveLinks: links of archives lead to what they lead to when unpacked,
// and never out.
func TestArchiveLinks(t *testing.T) {
	p, q := pngOf(t, flat(4, 3, red)), pngOf(t, flat(5, 2, blue))
	members := []member{{"x/train/a/1.png", p}, {"x/train/b/1.png", q}, {"x/pool/c/1.png", p}, {"x/pool/c/2.png", q}}
	links := [][2]string{{"x/train/a/2.png", "x/train/b/1.png"}, {"x/train/a/3.png", "../b/1.png"}, {"x/train/c", "../pool/./c"}, {"x/train/a/4.png", "../c/2.png"}, {"x/train/b/5.png", "5to.png"}, {"x/train/b/5to.png", "../a/1.png"}}
	dir := t.TempDir()
	raw := linkedTar(t, members, links, 0)
	var zipped bytes.Buffer
	w := zip.NewWriter(&zipped)
	for i, m := range append(members, member{"x/train/a/2.png", q}) {
		f, err := w.Create(m.name)
		if err != nil {
			t.Fatal(i, err)
		}
		f.Write(m.body)
	}
	for _, l := range links[1:] {
		h := &zip.FileHeader{Name: l[0]}
		h.SetMode(os.ModeSymlink | 0o777)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(l[1]))
	}
	w.Close()
	for name, raw := range map[string][]byte{"l.tar": raw, "l.tar.gz": gz(t, raw), "l.zip": zipped.Bytes()} {
		s, err := Open("imagefolder:"+write(t, dir, name, raw), Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for i := range s.Train.Len() {
			_, in, _ := strings.Cut(filepath.ToSlash(s.Train.Name(i)), "train/")
			got = append(got, fmt.Sprint(in, " ", imageOf(t, s.Train, i).Width))
		}
		want := []string{"a/1.png 4", "a/2.png 5", "a/3.png 5", "a/4.png 5", "b/1.png 5", "b/5.png 4", "b/5to.png 4", "c/1.png 4", "c/2.png 5"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, c := range []struct {
		link [2]string
		part string
	}{
		{[2]string{"train/a/2.png", "../../../../etc/passwd"}, "leads out of the archive"},
		{[2]string{"train/a/2.png", "/etc/passwd"}, "leads out of the archive"},
		{[2]string{"train/a/2.png", "none.png"}, "is a link to none.png, which is not in the archive"},
		{[2]string{"train/a/2.png", "2.png"}, "around in a circle"},
		{[2]string{"train/a/up", ".."}, "is a link to a folder that it is in"},
		{[2]string{"train/a/1.png", "../b/1.png"}, "two files of this name"},
		{[2]string{"train/a", "b"}, "both a file and a folder"},
		{[2]string{"train/a/2.png", strings.Repeat("x/", 3000)}, "a name of 6000 bytes"},
	} {
		raw := linkedTar(t, []member{{"train/a/1.png", p}, {"train/b/1.png", q}}, [][2]string{c.link})
		for _, name := range []string{"bad.tar", "bad.tar.gz"} {
			if strings.HasSuffix(name, "gz") {
				raw = gz(t, raw)
			}
			_, err := Open("imagefolder:"+write(t, dir, name, raw), Options{})
			if err == nil || !strings.Contains(err.Error(), c.part) {
				t.Errorf("%s with a link from %s to %.40s: error %v, want %q", name, c.link[0], c.link[1], err, c.part)
			}
		}
	}
	shard := linkedTar(t, []member{{"1.png", p}, {"1.cls", []byte("0")}}, [][2]string{{"0.png", "1.png"}})
	_, err := Open("webdataset:"+write(t, dir, "train.tar", shard), Options{})
	wantData(t, err, "0.png", "is a link to 1.png", "write the file itself")
}
