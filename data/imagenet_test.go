package data

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tinyMembers is a Tiny ImageNet of three classes, two training images each and
// three validation images; image i is i+1 pixels wide.
func tinyMembers(t *testing.T) []member {
	n := 0
	p := func() []byte { n++; return pngOf(t, flat(n, 1, red)) }
	m := []member{
		{"tiny-imagenet-200/wnids.txt", []byte("n03000000\nn01000000\nn02000000\n")},
		{"tiny-imagenet-200/words.txt", []byte("n01000000\tgoldfish\n")},
		{"tiny-imagenet-200/test/images/test_0.JPEG", p()},
	}
	for _, id := range []string{"n01000000", "n02000000", "n03000000"} {
		m = append(m, member{"tiny-imagenet-200/train/" + id + "/" + id + "_boxes.txt", []byte("x\t0\t0\t1\t1\n")})
		for i := range 2 {
			m = append(m, member{fmt.Sprintf("tiny-imagenet-200/train/%s/images/%s_%d.JPEG", id, id, i), p()})
		}
	}
	var lines strings.Builder
	for i, id := range []string{"n03000000", "n01000000", "n02000000"} {
		fmt.Fprintf(&lines, "val_%d.JPEG\t%s\t0\t0\t62\t62\n", i, id)
		m = append(m, member{fmt.Sprintf("tiny-imagenet-200/val/images/val_%d.JPEG", i), p()})
	}
	return append(m, member{"tiny-imagenet-200/val/val_annotations.txt", []byte(lines.String())})
}

func TestTinyImageNet(t *testing.T) {
	dir := t.TempDir()
	members := tinyMembers(t)
	for _, m := range members {
		write(t, dir, m.name, m.body)
	}
	for _, path := range []string{filepath.Join(dir, "tiny-imagenet-200"), write(t, dir, "t.zip", zipOf(t, members))} {
		s, err := Open("tinyimagenet:"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Train.Classes(); !slices.Equal(got, []string{"n01000000", "n02000000", "n03000000"}) {
			t.Errorf("classes %q", got)
		}
		if s.Train.Len() != 6 || s.Val != nil || s.Test.Len() != 3 || len(s.Notes) != 0 {
			t.Fatalf("%d training, %d test images, notes %q", s.Train.Len(), s.Test.Len(), s.Notes)
		}
		for i := range 6 {
			if im := imageOf(t, s.Train, i); im.Width != 2+i || im.Channels != 3 || s.Train.Label(i) != i/2 {
				t.Errorf("training image %d: width %d, label %d", i, im.Width, s.Train.Label(i))
			}
		}
		for i, label := range []int{2, 0, 1} {
			if im := imageOf(t, s.Test, i); im.Width != 8+i || s.Test.Label(i) != label {
				t.Errorf("test image %d: width %d, label %d, want %d", i, im.Width, s.Test.Label(i), label)
			}
		}
		s, err = Open("tinyimagenet:"+path, Options{Classes: []string{"n03000000", "n01000000"}})
		if err != nil {
			t.Fatal(err)
		}
		if s.Train.Len() != 4 || s.Test.Len() != 2 || s.Test.Label(0) != 0 || s.Test.Label(1) != 1 {
			t.Errorf("of two classes: %d and %d images", s.Train.Len(), s.Test.Len())
		}
	}
	_, err := Open("tinyimagenet:"+dir, Options{})
	wantData(t, err, "wnids.txt", "tiny-imagenet-200")
}

func TestImageNet(t *testing.T) {
	p := pngOf(t, flat(2, 2, red))
	make1 := func() string {
		dir := t.TempDir()
		for _, id := range []string{"n01", "n02", "n10"} {
			write(t, dir, "train/"+id+"/"+id+"_1.JPEG", p)
			write(t, dir, "train/"+id+"/"+id+"_2.JPEG", p)
		}
		return dir
	}
	flatVal := func(dir string) {
		for i := range 3 {
			write(t, dir, fmt.Sprintf("val/ILSVRC2012_val_0000000%d.JPEG", i+1), p)
		}
	}
	want := []int{2, 0, 1}
	for name, text := range map[string]string{
		"val/val_annotations.txt": "ILSVRC2012_val_00000001.JPEG n10\nILSVRC2012_val_00000002.JPEG n01\nILSVRC2012_val_00000003.JPEG n02\n",
		"LOC_val_solution.csv":    "ImageId,PredictionString\nILSVRC2012_val_00000002,n01 1 2 3 4\nILSVRC2012_val_00000001,n10 1 2 3 4 n10 5 6 7 8\nILSVRC2012_val_00000003,n02 1 2 3 4\n",
		"val.txt":                 "ILSVRC2012_val_00000001.JPEG 2\nILSVRC2012_val_00000002.JPEG 0\nILSVRC2012_val_00000003.JPEG 1\n",
	} {
		dir := make1()
		flatVal(dir)
		write(t, dir, name, []byte(text))
		s, err := Open("imagenet:"+dir, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, l := range want {
			if s.Test.Label(i) != l {
				t.Errorf("%s: label %d of image %d, want %d", name, s.Test.Label(i), i, l)
			}
		}
		// A class list changes which, and in which order, also of numbered labels.
		if s, err = Open("imagenet:"+dir, Options{Classes: []string{"n10", "n02"}}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Test.Len() != 2 || s.Test.Label(0) != 0 || s.Test.Label(1) != 1 || s.Train.Len() != 4 {
			t.Errorf("%s: with a class list %d and %d images", name, s.Train.Len(), s.Test.Len())
		}
	}
	dir := make1()
	for _, id := range []string{"n01", "n02", "n10"} {
		write(t, dir, "val/"+id+"/1.JPEG", p)
	}
	if s, err := Open("imagenet:"+dir, Options{}); err != nil || s.Test.Len() != 3 {
		t.Errorf("class folders: %v", err)
	}
	for text, part := range map[string]string{
		"":                             "neither class folders nor a list",
		"ILSVRC2012_val_00000001.JPEG": "line 1: an image's name and its class",
		"ILSVRC2012_val_00000001.JPEG n01\nILSVRC2012_val_00000002.JPEG n01\n":                                               "does not say its class",
		"ILSVRC2012_val_00000001.JPEG n01\nILSVRC2012_val_00000001.JPEG n02\n":                                               "line 2: ILSVRC2012_val_00000001.JPEG has come before",
		"ILSVRC2012_val_00000001.JPEG n99\n":                                                                                 `class "n99"`,
		"a.JPEG n01\nILSVRC2012_val_00000001.JPEG n01\nILSVRC2012_val_00000002.JPEG n01\nILSVRC2012_val_00000003.JPEG n01\n": "not in",
	} {
		dir := make1()
		flatVal(dir)
		if text != "" {
			write(t, dir, "val_annotations.txt", []byte(text))
		}
		_, err := Open("imagenet:"+dir, Options{})
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one with %q", err, part)
		}
	}
	_, err := Open("imagenet:"+t.TempDir(), Options{})
	wantData(t, err, "train", "not there")
}
