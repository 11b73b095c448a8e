package data

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func TestSample(t *testing.T) {
	start := time.Now()
	s, err := Open("sample", Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("opened in %v", time.Since(start))
	f, ok := FactsOf("sample")
	if !ok {
		t.Fatal("no facts of the sample")
	}
	if s.Train.Len() != f.Train || s.Test.Len() != f.Test || s.Val != nil {
		t.Fatalf("%d and %d images, the facts say %d and %d", s.Train.Len(), s.Test.Len(), f.Train, f.Test)
	}
	for _, ds := range []Dataset{s.Train, s.Test} {
		for label, n := range perClass(ds) {
			if n != ds.Len()/10 {
				t.Errorf("class %d has %d images, want %d", label, n, ds.Len()/10)
			}
		}
		im := imageOf(t, ds, ds.Len()-1)
		if im.Width != f.Width || im.Height != f.Height || im.Channels != f.Channels {
			t.Errorf("images of %d×%d×%d", im.Height, im.Width, im.Channels)
		}
	}
	// The first images of Fashion-MNIST are an ankle boot and a T-shirt, those
	// of its test set an ankle boot and a pullover.
	if c := s.Train.Classes(); c[s.Train.Label(0)] != "Ankle boot" || c[s.Train.Label(1)] != "T-shirt/top" || c[s.Test.Label(0)] != "Ankle boot" || c[s.Test.Label(1)] != "Pullover" {
		t.Error("wrong first labels")
	}
	if !strings.Contains(s.Test.Name(5), "t10k-images-idx3-ubyte.gz: image 5") {
		t.Errorf("name %q", s.Test.Name(5))
	}
	mean, std, err := Stats(s.Train, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The mean of 1,000 images of a class strays from that of 6,000 by about
	// 0.12/√10,000, the spread of image means being some 0.12: 1e-2 is ample.
	if math.Abs(mean[0]-f.Mean[0]) > 1e-2 || math.Abs(std[0]-f.Std[0]) > 1e-2 {
		t.Errorf("mean %v, std %v, far from %v, %v", mean, std, f.Mean, f.Std)
	}
	if l := SampleLicense(); !strings.Contains(l, "Copyright © 2017 Zalando SE, https://tech.zalando.com") || !strings.Contains(l, "Permission is hereby granted") {
		t.Error("the sample's licence is not whole")
	}
}

// The sample is the first images of each class, in the order of the original.
func TestSampleIsFashionMNIST(t *testing.T) {
	whole := openReal(t)
	sample, err := Open("sample", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]Dataset{{whole.Train, sample.Train}, {whole.Test, sample.Test}} {
		from, to := pair[0], pair[1]
		each := to.Len() / len(to.Classes())
		count := make([]int, len(to.Classes()))
		at := 0
		for i := 0; i < from.Len() && at < to.Len(); i++ {
			l := from.Label(i)
			if count[l]++; count[l] > each {
				continue
			}
			if to.Label(at) != l || !bytes.Equal(imageOf(t, from, i).Pix, imageOf(t, to, at).Pix) {
				t.Fatalf("image %d of the sample is not image %d of Fashion-MNIST", at, i)
			}
			at++
		}
		if at != to.Len() {
			t.Errorf("%d images found, the sample has %d", at, to.Len())
		}
	}
}
