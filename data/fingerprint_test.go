package data

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func printOf(t *testing.T, spec string) Fingerprint {
	t.Helper()
	s, err := Open(spec, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A fingerprint stays the same where the images do, and says what has changed
// otherwise.
func TestFingerprint(t *testing.T) {
	source := packSource(t)
	at := func(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	move := func(from, to string) func(dir string) error {
		return func(dir string) error { return os.Rename(at(dir, from), at(dir, to)) }
	}
	swap := func(dir, a, b string) error {
		x, err := os.ReadFile(at(dir, a))
		if err != nil {
			return err
		}
		y, err := os.ReadFile(at(dir, b))
		if err != nil {
			return err
		}
		if err := os.WriteFile(at(dir, a), y, 0o644); err != nil {
			return err
		}
		return os.WriteFile(at(dir, b), x, 0o644)
	}
	for name, c := range map[string]struct {
		change func(dir string) error
		files  []string // what is said of the folder
		pixels []string // and of a packed copy
	}{
		"nothing": {func(string) error { return nil }, nil, nil},
		"times": {func(dir string) error {
			return os.Chtimes(at(dir, "train/a/1.png"), time.Unix(1, 0), time.Unix(1, 0))
		}, nil, nil},
		"an image more": {func(dir string) error {
			return os.CopyFS(at(dir, "train/b/more"), os.DirFS(at(source, "train/b")))
		}, []string{"4 train images, not 3"}, []string{"4 train images, not 3"}},
		"an image in another class": {move("train/a/2.png", "train/b/0.png"),
			[]string{"other labels of the train images", "other names of the train images"}, []string{"other labels of the train images"}},
		"another name": {move("val/a/1.png", "val/a/one.png"), []string{"other names of the val images"}, nil},
		"a split less": {func(dir string) error { return os.RemoveAll(at(dir, "val")) },
			[]string{"no val split, which had 2 images"}, []string{"no val split, which had 2 images"}},
		"another split's folder": {move("val", "validation"), nil, nil},
		"bytes behind the image": {func(dir string) error {
			f, err := os.OpenFile(at(dir, "test/a/1.png"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		}, []string{"bytes of test images, not"}, nil},
		"two images for each other": {func(dir string) error { return swap(dir, "train/a/1.png", "train/a/2.png") },
			[]string{"among the train images"}, []string{"other pixels in the train images"}},
		"another image of that size": {func(dir string) error {
			raw := pngOf(t, flat(6, 2, red)) // without the blue pixel
			old, err := os.ReadFile(at(dir, "test/a/1.png"))
			for err == nil && len(raw) < len(old) {
				raw = append(raw, 0)
			}
			if err == nil && len(raw) > len(old) {
				err = fmt.Errorf("%d bytes for %d", len(raw), len(old))
			}
			if err != nil {
				return err
			}
			return os.WriteFile(at(dir, "test/a/1.png"), raw, 0o644)
		}, []string{"other bytes in the test images"}, []string{"other pixels in the test images"}},
		"class names": {func(dir string) error {
			for _, s := range []string{"train", "val", "test"} {
				if err := os.Rename(at(dir, s+"/b"), at(dir, s+"/c")); err != nil {
					return err
				}
			}
			return nil
		}, []string{"other classes", "other names of the train images", "other names of the val images", "other names of the test images"}, []string{"other classes"}},
	} {
		dir := filepath.Join(t.TempDir(), "elsewhere")
		if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
			t.Fatal(err)
		}
		if err := c.change(dir); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		pack := func(dir string) string {
			path := filepath.Join(t.TempDir(), "set.pack")
			s, err := Open("imagefolder:"+dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := PackFile(t.Context(), path, s, PackOptions{}); err != nil {
				t.Fatal(err)
			}
			return "packed:" + path
		}
		for _, x := range []struct {
			a, b string
			want []string
		}{
			{"imagefolder:" + source, "imagefolder:" + dir, c.files}, {pack(source), pack(dir), c.pixels},
		} {
			a, b := printOf(t, x.a), printOf(t, x.b)
			got := a.Differences(b)
			if (a.Sum == b.Sum) != (len(x.want) == 0) || len(got) != len(x.want) {
				t.Errorf("%s: %s: %q, want %q (%s, %s)", name, a.Covers, got, x.want, a.Sum, b.Sum)
				continue
			}
			for i := range got {
				if !strings.Contains(got[i], x.want[i]) {
					t.Errorf("%s: %s: %q, want %q", name, a.Covers, got, x.want)
				}
			}
			if back := b.Differences(a); (len(back) == 0) != (len(got) == 0) {
				t.Errorf("%s: %q one way, %q the other", name, got, back)
			}
		}
	}
}

// Every format has one, the same each time, and it survives JSON. A folder and
// archives of it are the same set; so are a folder's sets of one split and of
// more, as far as that goes.
func TestFingerprintFormats(t *testing.T) {
	p, q := pngOf(t, flat(4, 3, red)), pngOf(t, flat(5, 2, blue))
	members := []member{{"train/a/1.png", p}, {"train/b/1.png", q}, {"test/a/1.png", q}, {"test/b/1.png", p}}
	dir := t.TempDir()
	for _, m := range members {
		write(t, dir, "folder/"+m.name, m.body)
	}
	folder := "imagefolder:" + filepath.Join(dir, "folder")
	same := []string{folder, "imagefolder:" + write(t, dir, "p.zip", zipOf(t, members)), "imagefolder:" + write(t, dir, "p.tar", tarOf(t, members)), "imagefolder:" + write(t, dir, "p.tar.gz", gz(t, tarOf(t, members)))}
	sums := map[string]string{}
	for _, spec := range append(same, "sample", "parquet:testdata/hf", "webdataset:"+write(t, dir, "shards/train-0.tar", shardOf(t, 0, 7, clsOf)),
		"csv:"+write(t, dir, "list.csv", []byte("path,label\nfolder/train/a/1.png,a\nfolder/train/b/1.png,b\n"))) {
		f := printOf(t, spec)
		if again := printOf(t, spec); !reflect.DeepEqual(f, again) {
			t.Errorf("%s: %+v, then %+v", spec, f, again)
		}
		var read Fingerprint
		text, err := json.Marshal(f)
		if err == nil {
			err = json.Unmarshal(text, &read)
		}
		if err != nil || !reflect.DeepEqual(f, read) || f.Differences(read) != nil {
			t.Errorf("%s: %s: %+v, %v", spec, text, read, err)
		}
		if (f.Covers == CoversPixels) != (spec == "sample") || len(f.Sum) != 32 || !strings.Contains(f.String(), f.Sum) {
			t.Errorf("%s: %+v", spec, f)
		}
		if slices.Contains(same, spec) {
			spec = folder
		}
		if other, ok := sums[f.Sum]; ok && other != spec {
			t.Errorf("%s and %s have one fingerprint", spec, other)
		}
		sums[f.Sum] = spec
	}
	if len(sums) != 5 {
		t.Errorf("%v", sums)
	}
	// Channels are a setting, no other data.
	s, err := Open("sample", Options{Channels: 3})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := s.Fingerprint(); err != nil || sums[f.Sum] != "sample" {
		t.Errorf("in colour: %v, %v", f, err)
	}
	// Sums of another kind can't be compared.
	a, b := printOf(t, "sample"), printOf(t, folder)
	b.Format++
	if d := a.Differences(b); d != nil {
		t.Errorf("%q", d)
	}
	if err := os.Remove(filepath.Join(dir, "folder/train/a/1.png")); err != nil {
		t.Fatal(err)
	}
	s, err = Open("csv:"+filepath.Join(dir, "list.csv"), Options{Channels: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Fingerprint()
	wantData(t, err, "folder/train/a/1.png", "no such file")
}
