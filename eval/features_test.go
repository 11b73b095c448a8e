package eval

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"selfcon/data"
	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
	"selfcon/model"
)

// batches gives images of the given size in batches; like a loader's, a batch
// is good for one turn of the loop.
func batches(images []float32, labels []int32, size, batch int) iter.Seq2[*data.Batch, error] {
	return func(yield func(*data.Batch, error) bool) {
		for at := 0; at < len(labels); at += batch {
			end := min(at+batch, len(labels))
			b := &data.Batch{
				Images: append([]float32(nil), images[at*size:end*size]...),
				Labels: append([]int32(nil), labels[at:end]...),
			}
			if !yield(b, nil) {
				return
			}
			clear(b.Images)
			clear(b.Labels)
		}
	}
}

// network is a small one with two exits, its variables started in an oracle.
func network(t *testing.T) (*model.Network, engine.Engine) {
	t.Helper()
	net, err := model.New(model.Config{Arch: "resnet18", Exits: []int{1}, Width: 2, ImageHeight: 8, ImageWidth: 6, ImageChannels: 3})
	if err != nil {
		t.Fatal(err)
	}
	g := graph.New()
	e := oracle.New()
	for i, f := range net.Encode(g, g.Input("images", graph.Float, 1, 8, 6, 3), false) {
		g.Output(exitOutput(i), f)
	}
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Compile(p); err != nil {
		t.Fatal(err)
	}
	if err := engine.Initialize(e, p, 1); err != nil {
		t.Fatal(err)
	}
	return net, e
}

func randomImages(n, size int) ([]float32, []int32) {
	r := rand.New(rand.NewPCG(1, 2))
	images, labels := make([]float32, n*size), make([]int32, n)
	for i := range images {
		images[i] = float32(r.NormFloat64())
	}
	for i := range labels {
		labels[i] = int32(i)
	}
	return images, labels
}

func TestExtract(t *testing.T) {
	const n, size = 5, 8 * 6 * 3
	net, e := network(t)
	images, labels := randomImages(n, size)
	whole, err := Extract(t.Context(), e, net, batches(images, labels, size, n), n, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"sub-network 1", "backbone"}, whole.Names); d != "" {
		t.Error(d)
	}
	if err := whole.check("all", n); err != nil {
		t.Fatal(err)
	}
	for i, x := range whole.X {
		if len(x) != n*net.Dim() {
			t.Fatalf("exit %d: %d values", i, len(x))
		}
		if cmp.Equal(x[:net.Dim()], x[net.Dim():2*net.Dim()]) {
			t.Errorf("exit %d: two images have the same features", i)
		}
	}
	// In evaluation mode an image's features do not depend on its batch.
	var told []int
	parts, err := Extract(t.Context(), e, net, batches(images, labels, size, 2), n, 2, func(done, total int) { told = append(told, done, total) })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(whole, parts); d != "" {
		t.Errorf("batches of 5 and of 2 differ:\n%s", d)
	}
	if d := cmp.Diff([]int{2, 5, 4, 5, 5, 5}, told); d != "" {
		t.Errorf("progress: %s", d)
	}
}

func TestExtractRefuses(t *testing.T) {
	const n, size = 4, 8 * 6 * 3
	net, e := network(t)
	images, labels := randomImages(n, size)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("cat.jpg is cut short")
	for _, c := range []struct {
		reason  string
		ctx     context.Context
		batches iter.Seq2[*data.Batch, error]
		n, size int
	}{
		{"4 of the 5 images", t.Context(), batches(images, labels, size, 2), 5, 2},
		{"more than the 3 images", t.Context(), batches(images, labels, size, 2), 3, 2},
		{"a batch of 2 images; at most 1", t.Context(), batches(images, labels, size, 2), 4, 1},
		{"of 4 images has 572 values; must be 576", t.Context(), batches(images, labels, size-1, 4), 4, 4},
		{"at least 1", t.Context(), batches(images, labels, size, 2), 0, 2},
		{"at least 1", t.Context(), batches(images, labels, size, 2), 4, 0},
		{"context canceled", cancelled, batches(images, labels, size, 2), 4, 2},
		{"cat.jpg", t.Context(), func(yield func(*data.Batch, error) bool) { yield(nil, broken) }, 4, 2},
	} {
		_, err := Extract(c.ctx, e, net, c.batches, c.n, c.size, nil)
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("error %v, want %q", err, c.reason)
		}
	}
}

func TestPixels(t *testing.T) {
	images, labels := randomImages(5, 12)
	f, err := Pixels(batches(images, labels, 12, 2), 5, 2, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	want := &Features{Names: []string{"raw pixels"}, X: [][]float32{images}, Dims: []int{12}, Labels: labels}
	if d := cmp.Diff(want, f); d != "" {
		t.Error(d)
	}
	if _, err := Pixels(batches(images, labels, 12, 2), 6, 2, 3, 2); err == nil {
		t.Error("5 images passed for 6")
	}
}
