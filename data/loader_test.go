package data

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// noisy is a transform that shows both image and stream: pixels plus noise.
func noisy(dst []float32, im Image, r *rand.Rand) error {
	for i := range dst {
		dst[i] = float32(im.Pix[i]) + r.Float32()
	}
	return nil
}

func config(ds Dataset) LoaderConfig {
	return LoaderConfig{
		Dataset: ds, Transform: noisy,
		Batch: 8, Views: 2, Height: 1, Width: 2, Channels: 3,
		Shuffle: true, Seed: 5, Workers: 2,
	}
}

func loaderOf(t testing.TB, cfg LoaderConfig) *Loader {
	t.Helper()
	l, err := NewLoader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// epochOf is copies of an epoch's batches.
func epochOf(t testing.TB, l *Loader, epoch, skip int) []Batch {
	t.Helper()
	var out []Batch
	for b, err := range l.Epoch(context.Background(), epoch, skip) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Batch{slices.Clone(b.Images), slices.Clone(b.Labels), slices.Clone(b.Indices)})
	}
	return out
}

func sameBatches(a, b []Batch) bool {
	return slices.EqualFunc(a, b, func(x, y Batch) bool {
		return slices.Equal(x.Images, y.Images) && slices.Equal(x.Labels, y.Labels) && slices.Equal(x.Indices, y.Indices)
	})
}

func TestLoaderEpoch(t *testing.T) {
	ds := small(30, 3)
	l := loaderOf(t, config(ds))
	if l.Batches() != 4 {
		t.Fatalf("%d batches, want 4", l.Batches())
	}
	batches := epochOf(t, l, 0, 0)
	seen := map[int]bool{}
	for k, b := range batches {
		n := 8
		if k == 3 {
			n = 6
		}
		if len(b.Indices) != n || len(b.Labels) != n || len(b.Images) != 2*n*6 {
			t.Fatalf("batch %d: %d indices, %d labels, %d values", k, len(b.Indices), len(b.Labels), len(b.Images))
		}
		for j, i := range b.Indices {
			seen[i] = true
			if int(b.Labels[j]) != ds.Label(i) {
				t.Errorf("image %d has label %d", i, b.Labels[j])
			}
			one, two := b.Images[j*6:j*6+6], b.Images[(n+j)*6:(n+j)*6+6]
			if slices.Equal(one, two) {
				t.Errorf("image %d: both views are the same", i)
			}
			for c, p := range ds.pix[i] {
				if int(one[c]) != int(p) || int(two[c]) != int(p) {
					t.Errorf("image %d: %v and %v, want %v and noise", i, one, two, ds.pix[i])
					break
				}
			}
		}
	}
	if len(seen) != 30 {
		t.Errorf("%d different images, want 30", len(seen))
	}
	if sameBatches(batches, epochOf(t, l, 1, 0)) {
		t.Error("two epochs are the same")
	}
	if l.Waited() <= 0 {
		t.Error("it never waited")
	}

	cfg := config(ds)
	cfg.Shuffle, cfg.DropLast = false, true
	batches = epochOf(t, loaderOf(t, cfg), 3, 0)
	if len(batches) != 3 || !slices.Equal(batches[1].Indices, []int{8, 9, 10, 11, 12, 13, 14, 15}) {
		t.Errorf("%d batches in the dataset's order", len(batches))
	}
	cfg.Batch = 100
	cfg.DropLast = false
	if batches = epochOf(t, loaderOf(t, cfg), 0, 0); len(batches) != 1 || len(batches[0].Labels) != 30 {
		t.Errorf("%d batches, want one of 30", len(batches))
	}
}

func TestLoaderDeterminism(t *testing.T) {
	ds := small(203, 7)
	cfg := config(ds)
	cfg.Workers = 1
	want := epochOf(t, loaderOf(t, cfg), 4, 0)
	for _, workers := range []int{1, 2, 4, 0} {
		for _, prefetch := range []int{0, 1, 5} {
			cfg.Workers, cfg.Prefetch = workers, prefetch
			l := loaderOf(t, cfg)
			for range 2 { // the second time in used memory
				if !sameBatches(epochOf(t, l, 4, 0), want) {
					t.Fatalf("%d workers, prefetch %d: another epoch", workers, prefetch)
				}
			}
			for _, skip := range []int{1, 7, len(want) - 1, len(want), len(want) + 3} {
				if !sameBatches(epochOf(t, l, 4, skip), want[min(skip, len(want)):]) {
					t.Fatalf("%d workers, prefetch %d: another epoch when %d are skipped", workers, prefetch, skip)
				}
			}
		}
	}
	cfg.Seed++
	if sameBatches(epochOf(t, loaderOf(t, cfg), 4, 0), want) {
		t.Error("another seed gives the same epoch")
	}
	// A view's stream does not depend on where in the epoch it is.
	cfg.Seed--
	cfg.Shuffle, cfg.Batch = false, 5
	for _, b := range epochOf(t, loaderOf(t, cfg), 4, 0) {
		for j, i := range b.Indices {
			for _, w := range want {
				if k := slices.Index(w.Indices, i); k >= 0 && !slices.Equal(b.Images[j*6:j*6+6], w.Images[k*6:k*6+6]) {
					t.Fatalf("image %d is another in another order", i)
				}
			}
		}
	}
}

// goroutines waits for the number of goroutines to come down to n.
func goroutines(t *testing.T, n int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines are left, there were %d", runtime.NumGoroutine(), n)
}

func TestLoaderStops(t *testing.T) {
	before := runtime.NumGoroutine()
	cfg := config(small(200, 2))
	cfg.Batch = 3
	cfg.Transform = func(dst []float32, im Image, r *rand.Rand) error {
		time.Sleep(50 * time.Microsecond)
		return noisy(dst, im, r)
	}
	l := loaderOf(t, cfg)
	for stop := range 12 { // the consumer goes away
		n := 0
		for _, err := range l.Epoch(context.Background(), 0, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n > stop {
				break
			}
		}
		if runtime.NumGoroutine() > before {
			goroutines(t, before)
		}
	}
	for stop := range 12 { // the context ends
		ctx, cancel := context.WithCancel(context.Background())
		n, last := 0, error(nil)
		for _, err := range l.Epoch(ctx, 0, 0) {
			if last = err; err == nil {
				if n++; n > stop {
					cancel()
				}
			}
		}
		cancel()
		if !errors.Is(last, context.Canceled) || n != stop+1 {
			t.Errorf("%d batches, then %v; want %d, then that it was cancelled", n, last, stop+1)
		}
		goroutines(t, before)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	stuck := config(small(200, 2))
	stuck.Transform = func([]float32, Image, *rand.Rand) error { <-ctx.Done(); return nil }
	for _, err := range loaderOf(t, stuck).Epoch(ctx, 0, 0) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that the deadline passed", err)
		}
	}
	// What it gives after all this is still right.
	if !sameBatches(epochOf(t, l, 2, 0), epochOf(t, loaderOf(t, cfg), 2, 0)) {
		t.Error("an epoch after ones that were left early is another")
	}
	goroutines(t, before)
}

// broken is a set of which some images can't be read.
type broken struct {
	Dataset
	bad  func(i int) bool
	read atomic.Int64
}

func (b *broken) Image(i int) (Image, error) {
	b.read.Add(1)
	if b.bad(i) {
		return Image{}, badf(b.Name(i), "broken")
	}
	return b.Dataset.Image(i)
}

func TestLoaderErrors(t *testing.T) {
	before := runtime.NumGoroutine()
	ds := &broken{Dataset: small(100, 2), bad: func(i int) bool { return i >= 21 }}
	for _, workers := range []int{1, 4} {
		for range 20 {
			cfg := config(ds)
			cfg.Workers, cfg.Shuffle = workers, false
			n, last := 0, error(nil)
			for b, err := range loaderOf(t, cfg).Epoch(context.Background(), 0, 0) {
				if last = err; err == nil {
					n++
				} else if b != nil {
					t.Error("a batch with the error")
				}
			}
			wantData(t, last, "small 21", "broken")
			if n != 2 {
				t.Errorf("%d batches before the error, want 2", n)
			}
		}
	}
	goroutines(t, before)

	cfg := config(small(10, 2))
	cfg.Transform = func(dst []float32, im Image, r *rand.Rand) error { return errors.New("too small") }
	cfg.Shuffle = false
	for _, err := range loaderOf(t, cfg).Epoch(context.Background(), 0, 0) {
		if err == nil || err.Error() != "small 0: transform: too small" {
			t.Errorf("error %v", err)
		}
	}
	cfg.Channels = 1
	for _, err := range loaderOf(t, cfg).Epoch(context.Background(), 0, 0) {
		wantData(t, err, "small 0", "3 channels", "fed with 1")
	}
	for _, err := range loaderOf(t, cfg).Epoch(context.Background(), 0, -1) {
		if err == nil {
			t.Error("no error for a negative skip")
		}
	}
}

func TestLoaderConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*LoaderConfig){
		"no dataset":            func(c *LoaderConfig) { c.Dataset = nil },
		"no transform":          func(c *LoaderConfig) { c.Transform = nil },
		"batch of 0":            func(c *LoaderConfig) { c.Batch = 0 },
		"-1 views":              func(c *LoaderConfig) { c.Views = -1 },
		"0×2×3":                 func(c *LoaderConfig) { c.Height = 0 },
		"-1 workers":            func(c *LoaderConfig) { c.Workers = -1 },
		"prefetch of -1":        func(c *LoaderConfig) { c.Prefetch = -1 },
		"has no images":         func(c *LoaderConfig) { c.Dataset = small(0, 2) },
		"a batch of at most 10": func(c *LoaderConfig) { c.Batch, c.DropLast = 11, true },
	} {
		cfg := config(small(10, 2))
		change(&cfg)
		if _, err := NewLoader(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// The loader works ahead of its consumer, but not further than Prefetch+1
// batches, also with one worker.
func TestLoaderWorksAhead(t *testing.T) {
	for _, workers := range []int{1, 3} {
		ds := &broken{Dataset: small(100, 2), bad: func(int) bool { return false }}
		cfg := config(ds)
		cfg.Batch, cfg.Workers, cfg.Prefetch = 10, workers, 2
		n := 0
		for _, err := range loaderOf(t, cfg).Epoch(context.Background(), 0, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				for range 1000 {
					if ds.read.Load() == 30 {
						break
					}
					time.Sleep(time.Millisecond)
				}
				time.Sleep(5 * time.Millisecond)
				if got := ds.read.Load(); got != 30 {
					t.Errorf("%d workers: %d images read while the consumer has the first 10, want 30", workers, got)
				}
			}
		}
	}
}

// After the first epoch, an epoch takes no memory that grows with its batches.
func TestLoaderReusesMemory(t *testing.T) {
	cfg := config(small(2000, 2))
	cfg.Batch, cfg.Shuffle = 4, false
	l := loaderOf(t, cfg)
	epoch := func() {
		for _, err := range l.Epoch(context.Background(), 0, 0) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// 500 batches; goroutines, channels and closures of an epoch are some 30.
	if n := testing.AllocsPerRun(3, epoch); n > 100 {
		t.Errorf("%.0f allocations in an epoch of 500 batches", n)
	}
}

func BenchmarkLoader(b *testing.B) {
	s, err := Open("sample", Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			l := loaderOf(b, LoaderConfig{
				Dataset: s.Train, Batch: 256, Views: 2, Height: 28, Width: 28, Channels: 1, Shuffle: true, Workers: workers,
				Transform: func(dst []float32, im Image, _ *rand.Rand) error {
					for i, v := range im.Pix {
						dst[i] = float32(v) * (1. / 255)
					}
					return nil
				},
			})
			for b.Loop() {
				for _, err := range l.Epoch(context.Background(), 0, 0) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N*s.Train.Len())/b.Elapsed().Seconds(), "images/s")
		})
	}
}

func ExampleLoader() {
	splits, err := Open("sample", Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	loader, err := NewLoader(LoaderConfig{
		Dataset: splits.Train, Batch: 256, Views: 2, Height: 28, Width: 28, Channels: 1, Shuffle: true, DropLast: true,
		Transform: func(dst []float32, im Image, r *rand.Rand) error {
			for i, v := range im.Pix {
				dst[i] = (float32(v)/255 - 0.2860) / 0.3530
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for batch, err := range loader.Epoch(context.Background(), 0, 0) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(loader.Batches(), "batches of", len(batch.Labels), "images,", len(batch.Images), "values")
		break
	}
	// Output: 39 batches of 256 images, 401408 values
}
