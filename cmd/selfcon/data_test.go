package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"selfcon/data"
)

func TestData(t *testing.T) {
	photos := shapes(t)
	t.Chdir(t.TempDir())
	spec := "imagefolder:" + photos
	stdout, stderr, code := call(t.Context(), "data", "stats", "--json", spec)
	var st dataStats
	if err := json.Unmarshal([]byte(stdout), &st); code != exitDone || err != nil {
		t.Fatalf("stats: exit code %d, %q, %v", code, stderr, err)
	}
	if len(st.Splits) != 2 || st.Splits[0].PerClass[0] != st.Splits[0].Images/2 || len(st.Mean) != 1 && len(st.Mean) != 3 || st.Std[0] <= 0 {
		t.Errorf("stats: %+v", st)
	}
	if stdout, _, code := call(t.Context(), "data", "stats", spec); code != exitDone || !strings.Contains(stdout, "mean") {
		t.Errorf("stats: exit code %d, %q", code, stdout)
	}

	// A copy in the test split and a broken file are found.
	raw, err := os.ReadFile(filepath.Join(photos, "train/dark/a.png"))
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"test/dark/copy.png": raw, "train/light/broken.png": raw[:50]} {
		if err := os.WriteFile(filepath.Join(photos, name), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stdout, _, code = call(t.Context(), "data", "check", "--json", spec)
	var rep data.Report
	if err := json.Unmarshal([]byte(stdout), &rep); code != exitBadData || err != nil {
		t.Fatalf("check: exit code %d, %v, %q", code, err, stdout)
	}
	kinds := map[string]bool{}
	for _, f := range rep.Findings {
		kinds[f.Kind] = true
	}
	if !kinds[data.Unreadable] || !kinds[data.Leak] {
		t.Errorf("check: %+v", rep.Findings)
	}
	if stdout, _, code := call(t.Context(), "data", "check", "--examples", "20", spec); code != exitBadData || !strings.Contains(stdout, "broken.png") || !strings.Contains(stdout, "copy.png is ") {
		t.Errorf("check: exit code %d, %q", code, stdout)
	}
	if _, stderr, code := call(t.Context(), "data", "pack", spec, "x.pack"); code != exitBadData || !strings.Contains(stderr, "broken.png") {
		t.Errorf("pack of a broken image: exit code %d, %q", code, stderr)
	}
	if files, _ := filepath.Glob("*"); len(files) != 0 {
		t.Errorf("a failed pack leaves %q", files)
	}
	for _, name := range []string{"test/dark/copy.png", "train/light/broken.png"} {
		if err := os.Remove(filepath.Join(photos, name)); err != nil {
			t.Fatal(err)
		}
	}

	if stdout, stderr, code := call(t.Context(), "data", "pack", "--short", "8", spec, "x.pack"); code != exitDone || !strings.Contains(stdout, "packed:x.pack") {
		t.Fatalf("pack: exit code %d, %q", code, stderr)
	}
	s, err := data.Open("packed:x.pack", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if im, err := s.Train.Image(0); err != nil || min(im.Width, im.Height) != 8 {
		t.Errorf("packed image of %d×%d, %v", im.Width, im.Height, err)
	}
	if stdout, stderr, code := call(t.Context(), "data", "show", "--images", "3", "--views", "4", "--image", "16", "packed:x.pack"); code != exitDone || strings.TrimSpace(stdout) != "views.png" {
		t.Fatalf("show: exit code %d, %q", code, stderr)
	}
	f, err := os.Open("views.png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil || im.Bounds().Dx() != 5*(96+4)+4 || im.Bounds().Dy() != 3*(96+4)+4 {
		t.Errorf("drawing of %v, %v", im.Bounds(), err)
	}
	// Mixed, the views differ and the images themselves don't.
	if _, stderr, code := call(t.Context(), "data", "show", "--images", "3", "--views", "4", "--image", "16", "--mixup", "1", "--cutmix", "1", "--out", "mixed.png", "packed:x.pack"); code != exitDone {
		t.Fatalf("show, mixed: exit code %d, %q", code, stderr)
	}
	g, err := os.Open("mixed.png")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	mixed, err := png.Decode(g)
	if err != nil || mixed.Bounds() != im.Bounds() {
		t.Fatalf("drawing of mixed views: %v", err)
	}
	for col := range 5 {
		same := true
		for y := range im.Bounds().Dy() {
			for x := col * 100; x < (col+1)*100; x++ {
				same = same && mixed.At(x, y) == im.At(x, y)
			}
		}
		if same != (col == 0) {
			t.Errorf("column %d of the drawing of mixed views: like that of plain views: %t", col, same)
		}
	}
	// Training through a cache: made once, the same result as without.
	args := []string{"train", "--data", spec, "--width", "4", "--epochs", "1", "--batch", "12", "--image", "8"}
	var sums []string
	for i, more := range [][]string{nil, {"--cache", "cache"}, {"--cache", "cache"}} {
		_, stderr, code := call(t.Context(), append(args, more...)...)
		if code != exitDone || strings.Contains(stderr, "packed in") != (i == 1) {
			t.Fatalf("train %q: exit code %d, %q", more, code, stderr)
		}
		raw, err := os.ReadFile(filepath.Join("runs", filepath.Base(photos)+"-selfcon-s"+[]string{"", "-2", "-3"}[i], "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(raw))
	}
	if sums[0] != sums[1] || sums[1] != sums[2] {
		t.Error("a cache changes the result")
	}
	for _, c := range []struct {
		args []string
		code int
		part string
	}{
		{[]string{"--sampling", "balanced"}, exitDone, "36 images"},
		{[]string{"--sampling", "weighted", "--fraction", "0.5", "--batch", "8"}, exitDone, "18 images"},
		{[]string{"--per-class", "7"}, exitDone, "14 images"},
		{[]string{"--rand-augment", "2,9", "--blur", "0.5", "--solarize", "0.2", "--erase", "0.2"}, exitDone, ""},
		{[]string{"--auto-augment", "cifar10"}, exitDone, ""},
		{[]string{"--rand-augment", "2"}, exitUsage, "such as 2,9"},
		{[]string{"--auto-augment", "cifar"}, exitUsage, `did you mean "cifar10"`},
		{[]string{"--augment", "none", "--erase", "0.1"}, exitUsage, "take weak or strong"},
		{[]string{"--sampling", "balanced", "--class-images", "4"}, exitUsage, "sampling: data loader: a batch of 12 with 4 images of a class needs 3 classes, and there are 2"},
		{[]string{"--sampling", "balanced", "--class-images", "5"}, exitUsage, "divide the batch of 12"},
		{[]string{"--class-images", "4"}, exitUsage, "is for --sampling balanced"},
		{[]string{"--sampling", "balnced"}, exitUsage, `did you mean "balanced"`},
		{[]string{"--fraction", "1.5"}, exitUsage, "fraction: 1.5 is out of range"},
	} {
		if _, stderr, code := call(t.Context(), append(args, c.args...)...); code != c.code || !strings.Contains(stderr, c.part) {
			t.Errorf("train %q: exit code %d, %q, want %d and %q", c.args, code, stderr, c.code, c.part)
		}
	}
	if _, stderr, code := call(t.Context(), append(args, "--cache-side", "8")...); code != exitUsage || !strings.Contains(stderr, "--cache FOLDER") {
		t.Errorf("--cache-side alone: exit code %d, %q", code, stderr)
	}
	for _, args := range [][]string{{"data", "chek", "x"}, {"data", "show", "--views", "0", "sample"}, {"data", "pack", "sample"}, {"data", "stats", "--most", "-1", "sample"}} {
		if _, _, code := call(t.Context(), args...); code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

// TestDataOutputs: what is there is never written over, and a file is whole or
// not there.
func TestDataOutputs(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"photo.jpg", "x.pack"} {
		if err := os.WriteFile(name, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("photo.jpg", "link.pack"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"data", "pack", "sample", "x.pack"}, {"data", "pack", "sample", "link.pack"},
		{"data", "show", "--out", "photo.jpg", "sample"}, {"data", "show", "--out", ".", "sample"},
	} {
		if _, stderr, code := call(t.Context(), args...); code != exitUsage || !strings.Contains(stderr, "is there already") {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
	for _, name := range []string{"photo.jpg", "x.pack"} {
		if raw, err := os.ReadFile(name); err != nil || string(raw) != "mine" {
			t.Errorf("%s is now %q, %v", name, raw, err)
		}
	}
	// Without a name, a free one.
	for _, want := range []string{"views.png", "views-2.png", "views-3.png"} {
		stdout, stderr, code := call(t.Context(), "data", "show", "--images", "1", "--views", "1", "sample")
		if code != exitDone || strings.TrimSpace(stdout) != want {
			t.Errorf("show: exit code %d, %q %q, want %s", code, stdout, stderr, want)
		}
	}
}
