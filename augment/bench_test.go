package augment

import (
	"bytes"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"selfcon/data"
)

// The benchmarks run on one core with -cpu 1; the loading races of tools/compare are
// the same work beside torchvision's.

// BenchmarkPaper is the paper's augmentation of decoded images: 32×32, and
// 500×375 to 224×224 (as from a packed set).
func BenchmarkPaper(b *testing.B) {
	rec := loadRecording(b)
	small := rec.image(b, "scene0")
	large := data.Image{Pix: make([]uint8, 500*375*3), Width: 500, Height: 375, Channels: 3}
	for i := range large.Pix {
		large.Pix[i] = uint8(i*i>>7 + i/1500)
	}
	for _, c := range []struct {
		name string
		im   data.Image
		size int
	}{{"32", small, 32}, {"224", large, 224}} {
		b.Run(c.name, func(b *testing.B) {
			f, err := New(Strong(c.size, c.size, cifarMean, cifarStd))
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]float32, c.size*c.size*3)
			pcg := rand.NewPCG(1, 2)
			r := rand.New(pcg)
			for i := 0; b.Loop(); i++ {
				pcg.Seed(uint64(i), 1)
				if err := f(dst, c.im, r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}

// BenchmarkJPEG decodes the JPEGs in the folder SELFCON_JPEGS and augments them
// to 224×224 as the paper does.
func BenchmarkJPEG(b *testing.B) {
	paths, _ := filepath.Glob(filepath.Join(os.Getenv("SELFCON_JPEGS"), "*.jpg"))
	if len(paths) == 0 {
		b.Skip("no JPEGs in SELFCON_JPEGS")
	}
	files := data.Files(paths, 3)
	b.Run("std", func(b *testing.B) {
		raw, _ := os.ReadFile(paths[0])
		for b.Loop() {
			if _, err := jpeg.Decode(bytes.NewReader(raw)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
	})
	b.Run("decode", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := files.Image(i % len(paths)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
	})
	b.Run("to224", func(b *testing.B) {
		f, err := New(Strong(224, 224, cifarMean, cifarStd))
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]float32, 224*224*3)
		r := rand.New(rand.NewPCG(1, 2))
		for i := 0; b.Loop(); i++ {
			im, err := files.Image(i % len(paths))
			if err == nil {
				err = f(dst, im, r)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
	})
}
