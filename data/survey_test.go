package data

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// surveyed is what Check finds in a set that Open refuses.
func surveyed(t *testing.T, spec string) map[[2]string]Finding {
	t.Helper()
	s, err := Survey(spec, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := Check(context.Background(), s, 10, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[[2]string]Finding{}
	for _, f := range rep.Findings {
		out[[2]string{f.Kind, f.Split}] = f
	}
	return out
}

func wantFound(t *testing.T, found map[[2]string]Finding, kind, split string, count int, parts ...string) {
	t.Helper()
	f, ok := found[[2]string{kind, split}]
	if !ok || f.Count != count || len(f.Examples) != count {
		t.Fatalf("%s, %s: %d found, want %d; all: %v", kind, split, f.Count, count, found)
	}
	for _, p := range parts {
		if !slices.ContainsFunc(f.Examples, func(e string) bool { return strings.Contains(e, p) }) {
			t.Errorf("%s, %s: %q, want %q among them", kind, split, f.Examples, p)
		}
	}
}

// TestSurveyFolder: faults of a folder's structure are findings, and the rest is
// checked.
func TestSurveyFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("makes links")
	}
	dir := t.TempDir()
	p := pngOf(t, flat(4, 3, red))
	for _, f := range []string{"train/a/1.png", "train/b/1.png", "test/a/1.png", "test/wolf/1.png"} {
		write(t, dir, f, pngOf(t, flat(4, 3+len(f)%7, blue)))
	}
	write(t, dir, "train/a/0broken.png", p[:40])
	if err := os.Mkdir(filepath.Join(dir, "train/hollow"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"train/b/gone.png": "nowhere.png", "train/b/up": "..", "train/a/self.png": "self.png", "train/round": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open("imagefolder:"+dir, Options{}); err == nil {
		t.Error("Open takes it")
	}
	found := surveyed(t, "imagefolder:"+dir)
	wantFound(t, found, Unreadable, "train", 5, "0broken.png: damaged PNG", "is a link to nowhere.png, which is not there", "a link to a folder that it is in", "self.png: can't be read")
	wantFound(t, found, MissingClass, "train", 2, "2 (hollow)", "3 (round)")
	wantFound(t, found, MissingClass, "test", 3, "1 (b)", "2 (hollow)", "3 (round)")
	wantFound(t, found, UnknownClass, "test", 1, "wolf: there is no such folder in ")
	s, err := Survey("imagefolder:"+dir, Options{})
	if err != nil || s.Train.Len() != 3 || s.Test.Len() != 1 {
		t.Errorf("%d training and %d test images, %v", s.Train.Len(), s.Test.Len(), err)
	}
	// A class alone.
	alone := t.TempDir()
	write(t, alone, "a/1.png", p)
	wantFound(t, surveyed(t, "imagefolder:"+alone), OneClass, "train", 1, `class "a"`)
	// Nothing that could be checked.
	if err := os.MkdirAll(filepath.Join(t.TempDir(), "none/a"), 0o755); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := os.MkdirAll(filepath.Join(empty, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Survey("imagefolder:"+empty, Options{})
	wantData(t, err, "", "no images in any of its class folders")
}

// TestSurveyLabels: labels out of range, image by image.
func TestSurveyLabels(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		write(t, dir, n+".png", pngOf(t, flat(3, len(n)+3, red)))
	}
	list := write(t, dir, "x.csv", []byte("path,label,split\n1.png,0,\n2.png,1,\n3.png,-1,\n4.png,-1,\n5.png,2,test\n"))
	_, err := Open("csv:"+list, Options{})
	wantData(t, err, "x.csv", "line 4: label -1: labels that are numbers go from 0")
	found := surveyed(t, "csv:"+list)
	wantFound(t, found, OutOfRange, "train", 2, "3.png: label -1 of 3 classes", "4.png: label -1")
	wantFound(t, found, MissingClass, "train", 1, "2 (2)")
	names := write(t, dir, "y.csv", []byte("path,label,split\n1.png,cat,\n2.png,dog,\n3.png,wolf,test\n"))
	_, err = Open("csv:"+names, Options{})
	wantData(t, err, "y.csv", `line 4: class "wolf", which no training image has`)
	wantFound(t, surveyed(t, "csv:"+names), MissingClass, "train", 1, "2 (wolf)")
	for text, part := range map[string]string{
		`{"path": "1.png", "label": 1}` + "\n" + `{"path": "2.png", "label": "dog"}`:     `line 2: label "dog" is a name, but that of line 1 is the number 1`,
		`{"path": "1.png", "label": "dog"}` + "\n" + `{"path": "2.png", "label": 0}`:     `line 1: label "dog" is a name, but that of line 2 is the number 0`,
		`{"path": "1.png", "label": 0.5}` + "\n":                                         "line 1: label 0.5: a label that is a number must be a whole one",
		`{"path": "1.png", "label": -3}` + "\n" + `{"path": "2.png", "label": 0}` + "\n": "line 1: label -3: labels that are numbers go from 0",
	} {
		_, err := Open("jsonl:"+write(t, dir, "z.jsonl", []byte(text)), Options{})
		wantData(t, err, "z.jsonl", part)
	}
	if s, err := Open("jsonl:"+write(t, dir, "z.jsonl", []byte(`{"path": "1.png", "label": 1}`+"\n"+`{"path": "2.png", "label": "0"}`)), Options{}); err != nil || s.Train.Label(0) != 1 {
		t.Errorf("numbers in quotes and without: %v", err)
	}
}

// TestSurveyParquet: labels of testdata/bad.parquet (make_parquet.py): 0, 1, 5,
// -1, null, 1 of two classes.
func TestSurveyParquet(t *testing.T) {
	_, err := Open("parquet:testdata/bad.parquet", Options{})
	wantData(t, err, "bad.parquet", "row 2 has label 5, out of range: the metadata names 2 classes")
	found := surveyed(t, "parquet:testdata/bad.parquet")
	wantFound(t, found, OutOfRange, "train", 3, "row 2 has label 5", "row 3: no label", "row 4: no label")
	s, err := Survey("parquet:testdata/bad.parquet", Options{})
	if err != nil || s.Train.Len() != 3 || s.Train.Label(2) != 1 {
		t.Errorf("%d images, %v", s.Train.Len(), err)
	}
}

// TestSurveyArrays: labels out of range in IDX and CIFAR files, which Open refuses,
// are findings, and the rest is checked.
func TestSurveyArrays(t *testing.T) {
	dir := idxSet(t, false)
	write(t, dir, "t10k-labels-idx1-ubyte", append(be(0x801, 2), 77, 0))
	_, err := Open("idx:"+dir, Options{})
	wantData(t, err, "t10k-labels-idx1-ubyte", "label 77 of image 0 is out of range: the training labels end at 2")
	found := surveyed(t, "idx:"+dir)
	wantFound(t, found, OutOfRange, "test", 1, "t10k-images-idx3-ubyte: image 0: label 77 of 3 classes")
	wantFound(t, found, Leak, "train+test", 2, "image 0 is ")
	wantFound(t, surveyed(t, "mnist:"+dir), OutOfRange, "test", 1, "label 77 of 10 classes")

	batch := cifarBinary(cifar10, 1)
	batch[3073] = 10
	dir = t.TempDir()
	python := t.TempDir()
	for i, name := range cifar10.forms[0].files() {
		write(t, dir, name, batch)
		write(t, python, cifar10.forms[1].files()[i], pickleOf(2, true, make([]byte, 2*cifarPixels), 200, 3))
	}
	found = surveyed(t, "cifar10:"+dir)
	wantFound(t, found, OutOfRange, "train", 5, "data_batch_1.bin: image 1: label 10 of 10 classes")
	wantFound(t, found, OutOfRange, "test", 1, "test_batch.bin: image 1: label 10")
	wantFound(t, found, Leak, "train+test", 3)
	wantFound(t, surveyed(t, "cifar10:"+python), OutOfRange, "train", 5, "data_batch_5: image 0: label 200 of 10 classes")
}
