package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write puts a file into dir, with the folders it needs, and gives its path.
func write(t testing.TB, dir, name string, body []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func gz(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gunzip(t testing.TB, raw []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// member is a file of an archive.
type member struct {
	name string
	body []byte
}

func tarOf(t testing.TB, members []member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// membersOf are the files of a .tar.gz.
func membersOf(t testing.TB, archive string) []member {
	t.Helper()
	raw, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	var out []member
	r := tar.NewReader(bytes.NewReader(gunzip(t, raw)))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, member{h.Name, body})
	}
}

// be is numbers as big-endian uint32.
func be(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

func pngOf(t testing.TB, im image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, im); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, im image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, im, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// flat is a w×h image of one colour.
func flat(w, h int, c color.NRGBA) *image.NRGBA {
	im := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			im.SetNRGBA(x, y, c)
		}
	}
	return im
}

func flatGrey(w, h int, v uint8) *image.Gray {
	im := image.NewGray(image.Rect(0, 0, w, h))
	for i := range im.Pix {
		im.Pix[i] = v
	}
	return im
}

// wantData checks that err is an *Error at a path that ends in path, whose
// reason has all parts.
func wantData(t *testing.T, err error, path string, parts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *data.Error", err, err)
	}
	if !strings.HasSuffix(filepath.ToSlash(e.Path), path) {
		t.Errorf("error is at %q, want a path that ends in %q: %v", e.Path, path, err)
	}
	for _, p := range parts {
		if !strings.Contains(e.Reason, p) {
			t.Errorf("reason %q, want one with %q", e.Reason, p)
		}
	}
	if !strings.Contains(err.Error(), e.Path) || !strings.Contains(err.Error(), e.Reason) {
		t.Errorf("message %q lacks path or reason", err)
	}
}

// imageOf is ds.Image(i), which must work.
func imageOf(t testing.TB, ds Dataset, i int) Image {
	t.Helper()
	im, err := ds.Image(i)
	if err != nil {
		t.Fatal(err)
	}
	if len(im.Pix) != im.Width*im.Height*im.Channels {
		t.Fatalf("image %d has %d bytes, want %d×%d×%d", i, len(im.Pix), im.Height, im.Width, im.Channels)
	}
	return im
}
