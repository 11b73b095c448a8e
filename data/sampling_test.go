package data

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// unequal is a set of 5 classes with 1, 3, 10, 40 and 146 images, mixed.
func unequal() *memory {
	ds := small(200, 5)
	for i := range ds.labels {
		switch {
		case i == 77:
			ds.labels[i] = 0
		case i%67 == 3:
			ds.labels[i] = 1
		case i%20 == 4:
			ds.labels[i] = 2
		case i%5 == 1:
			ds.labels[i] = 3
		default:
			ds.labels[i] = 4
		}
	}
	return ds
}

func TestBalanced(t *testing.T) {
	ds := unequal()
	cfg := config(ds)
	cfg.Batch, cfg.Balanced, cfg.DropLast = 12, 4, true
	l := loaderOf(t, cfg)
	if l.Batches() != 16 {
		t.Fatalf("%d batches, want 16", l.Batches())
	}
	drawn := make([]int, 5)
	images := map[int]int{}
	for epoch := range 3 {
		for _, b := range epochOf(t, l, epoch, 0) {
			count := map[int32]int{}
			for _, c := range b.Labels {
				count[c]++
			}
			if len(count) != 3 {
				t.Fatalf("classes %v in a batch, want 3", count)
			}
			for c, n := range count {
				if n != 4 {
					t.Fatalf("%d images of class %d in a batch, want 4", n, c)
				}
				drawn[c]++
			}
			for _, i := range b.Indices {
				images[i]++
			}
		}
	}
	// 48 batches of 3 of 5 classes: 28.8 each, and never more than a round apart.
	for c, n := range drawn {
		if n < 26 || n > 32 {
			t.Errorf("class %d came in %d batches, want about 29: %v", c, n, drawn)
		}
	}
	// The images of a class come equally often, but for the last round of each epoch.
	most, least := 0, math.MaxInt
	for i, l := range ds.labels {
		if l == 3 {
			most, least = max(most, images[i]), min(least, images[i])
		}
	}
	if most-least > 3 {
		t.Errorf("images of class 3 come %d to %d times", least, most)
	}
	// An image that comes twice in a batch has two different views.
	for _, b := range epochOf(t, l, 0, 0) {
		size := 6
		for k, i := range b.Indices {
			if i == 77 {
				for j := range k {
					if b.Indices[j] == 77 && slices.Equal(b.Images[j*size:(j+1)*size], b.Images[k*size:(k+1)*size]) {
						t.Fatal("the same view twice")
					}
				}
			}
		}
	}
	if !sameBatches(epochOf(t, l, 1, 5), epochOf(t, l, 1, 0)[5:]) {
		t.Error("skipping changes batches")
	}
	cfg.Workers = 1
	if !sameBatches(epochOf(t, l, 1, 0), epochOf(t, loaderOf(t, cfg), 1, 0)) {
		t.Error("the number of workers changes batches")
	}
}

func TestWeighted(t *testing.T) {
	ds := unequal()
	cfg := config(ds)
	cfg.Weights = ClassWeights(ds)
	l := loaderOf(t, cfg)
	drawn := make([]float64, 5)
	for epoch := range 50 {
		for _, b := range epochOf(t, l, epoch, 0) {
			for _, c := range b.Labels {
				drawn[c]++
			}
		}
	}
	// 10,000 draws, 2,000 a class, deviation 40; five times that is allowed.
	for c, n := range drawn {
		if math.Abs(n-2000) > 200 {
			t.Errorf("class %d drawn %v times, want about 2000", c, n)
		}
	}
	cfg.Weights = slices.Repeat([]float64{0}, 200)
	cfg.Weights[5], cfg.Weights[9] = 1, 3
	n5 := 0
	for _, b := range epochOf(t, loaderOf(t, cfg), 0, 0) {
		for _, i := range b.Indices {
			if i != 5 && i != 9 {
				t.Fatalf("image %d of weight 0 was drawn", i)
			}
			if i == 5 {
				n5++
			}
		}
	}
	if n5 < 20 || n5 > 80 { // 50, deviation 6
		t.Errorf("image 5 drawn %d times of 200, want about 50", n5)
	}
}

func TestSamplingErrors(t *testing.T) {
	for part, change := range map[string]func(*LoaderConfig){
		"choose one":                 func(c *LoaderConfig) { c.Balanced, c.Weights = 2, []float64{1} },
		"Shuffle is off":             func(c *LoaderConfig) { c.Balanced, c.Shuffle = 2, false },
		"1 weights for 200 images":   func(c *LoaderConfig) { c.Weights = []float64{1} },
		"weight -1 of image 3":       func(c *LoaderConfig) { c.Weights = slices.Repeat([]float64{1}, 200); c.Weights[3] = -1 },
		"sum up to 0":                func(c *LoaderConfig) { c.Weights = make([]float64, 200) },
		"at least 2 and divide it":   func(c *LoaderConfig) { c.Balanced = 3 },
		"needs 6 classes, and there": func(c *LoaderConfig) { c.Balanced, c.Batch = 2, 12 },
		"DropLast must be on":        func(c *LoaderConfig) { c.Balanced = 4; c.DropLast = false },
	} {
		cfg := config(unequal())
		cfg.DropLast = true
		change(&cfg)
		if _, err := NewLoader(cfg); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one with %q", err, part)
		}
	}
	if k, err := BalancedImages(unequal(), 64); err != nil || k != 16 {
		t.Errorf("%d, %v, want 16 images of each of 4 classes", k, err)
	}
	if _, err := BalancedImages(small(9, 3), 1); err == nil {
		t.Error("no error for a batch of 1")
	}
}

func TestFraction(t *testing.T) {
	ds := unequal()
	for _, c := range []struct {
		got  Dataset
		want []int
	}{
		{Fraction(ds, 0.1, 3), []int{1, 1, 1, 4, 15}}, {Fraction(ds, 1, 3), perClass(ds)}, {PerClass(ds, 5, 3), []int{1, 3, 5, 5, 5}},
	} {
		if got := perClass(c.got); !slices.Equal(got, c.want) {
			t.Errorf("%v images of the classes, want %v", got, c.want)
		}
	}
	less, more := Fraction(ds, 0.1, 3).(*subset).indices, Fraction(ds, 0.3, 3).(*subset).indices
	for _, i := range less {
		if !slices.Contains(more, i) {
			t.Fatalf("image %d is in a tenth and not in three", i)
		}
	}
	if slices.Equal(less, Fraction(ds, 0.1, 4).(*subset).indices) {
		t.Error("another seed takes the same images")
	}
}
