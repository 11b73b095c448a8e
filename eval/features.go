// Package eval judges an encoder: the frozen features of its exits
// (features.go), a linear classifier on each (probe.go) or
// its nearest neighbours (knn.go), and how the exits and
// their ensemble (ensemble.go) do (metrics.go, table.go).
package eval

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"selfcon/data"
	"selfcon/engine"
	"selfcon/graph"
	"selfcon/model"
)

// Features are the feature vectors of a set of images at every exit of a
// network.
type Features struct {
	Names  []string    // of the exits, the backbone last
	X      [][]float32 // one an exit: len(Labels)×Dims[i], row-major
	Dims   []int
	Labels []int32
}

// Extract computes the features, before the heads, of n images at every exit,
// the network in evaluation mode with the variables that e holds. batches are
// of one view and at most batchSize images; a program is compiled for each size
// that comes. progress, which may be nil, is told after each batch.
func Extract(ctx context.Context, e engine.Engine, net *model.Network, batches iter.Seq2[*data.Batch, error], n, batchSize int, progress func(done, total int)) (*Features, error) {
	same := func(_ *graph.Graph, features []*graph.Value) []*graph.Value { return features }
	return outputs(ctx, e, net, net.Dim(), same, batches, n, batchSize, progress)
}

// ExtractLogits computes, as Extract the features, what the classifiers that were
// trained with the network give each of the classes at every exit.
func ExtractLogits(ctx context.Context, e engine.Engine, net *model.Network, classes int, batches iter.Seq2[*data.Batch, error], n, batchSize int, progress func(done, total int)) (*Features, error) {
	classify := func(g *graph.Graph, features []*graph.Value) []*graph.Value {
		return net.Classify(g, features, classes, false)
	}
	return outputs(ctx, e, net, classes, classify, batches, n, batchSize, progress)
}

// outputs computes what heads makes of every exit's features: dim numbers an
// image.
func outputs(ctx context.Context, e engine.Engine, net *model.Network, dim int, heads func(*graph.Graph, []*graph.Value) []*graph.Value,
	batches iter.Seq2[*data.Batch, error], n, batchSize int, progress func(done, total int),
) (*Features, error) {
	if batchSize < 1 {
		return nil, fmt.Errorf("eval: batch of %d images: must be at least 1", batchSize)
	}
	f := newFeatures(net.ExitNames(), slices.Repeat([]int{dim}, len(net.Exits)+1), n)
	programs := map[int]engine.Executable{}
	err := f.fill(batches, n, net.ImageHeight*net.ImageWidth*net.ImageChannels, func(b *data.Batch) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows := len(b.Labels)
		if rows > batchSize {
			return fmt.Errorf("eval: a batch of %d images; at most %d were announced", rows, batchSize)
		}
		x, ok := programs[rows]
		if !ok {
			var err error
			if x, err = compile(e, net, heads, rows); err != nil {
				return err
			}
			programs[rows] = x
		}
		out, err := x.Run(map[string]engine.Tensor{
			"images": engine.Float32(b.Images, rows, net.ImageHeight, net.ImageWidth, net.ImageChannels),
		})
		if err != nil {
			return err
		}
		for i := range f.X {
			f.X[i] = append(f.X[i], out[exitOutput(i)].Float32s()...)
		}
		if progress != nil {
			progress(len(f.Labels)+rows, n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Pixels makes features of the images themselves: what a linear classifier
// reaches on them is what an encoder has to beat. dims are the sizes of an
// image (height, width, channels).
func Pixels(batches iter.Seq2[*data.Batch, error], n int, dims ...int) (*Features, error) {
	size := graph.Shape(dims).Size()
	f := newFeatures([]string{"raw pixels"}, []int{size}, n)
	err := f.fill(batches, n, size, func(b *data.Batch) error {
		f.X[0] = append(f.X[0], b.Images...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func newFeatures(names []string, dims []int, n int) *Features {
	f := &Features{Names: names, Dims: dims, X: make([][]float32, len(dims)), Labels: make([]int32, 0, max(n, 0))}
	for i, d := range dims {
		f.X[i] = make([]float32, 0, max(n, 0)*d)
	}
	return f
}

// fill calls add for each batch, checked, and collects the labels.
func (f *Features) fill(batches iter.Seq2[*data.Batch, error], n, pixels int, add func(*data.Batch) error) error {
	if n < 1 {
		return fmt.Errorf("eval: features of %d images: must be at least 1", n)
	}
	for b, err := range batches {
		if err != nil {
			return err
		}
		rows := len(b.Labels)
		if len(b.Images) != rows*pixels {
			return fmt.Errorf("eval: a batch of %d images has %d values; must be %d, one view of %d values each", rows, len(b.Images), rows*pixels, pixels)
		}
		if len(f.Labels)+rows > n {
			return fmt.Errorf("eval: more than the %d images announced", n)
		}
		if rows == 0 {
			continue
		}
		if err := add(b); err != nil {
			return err
		}
		f.Labels = append(f.Labels, b.Labels...)
	}
	if len(f.Labels) != n {
		return fmt.Errorf("eval: %d of the %d images announced came", len(f.Labels), n)
	}
	return nil
}

func exitOutput(i int) string { return fmt.Sprint("exit.", i) }

func compile(e engine.Engine, net *model.Network, heads func(*graph.Graph, []*graph.Value) []*graph.Value, rows int) (engine.Executable, error) {
	g := graph.New()
	images := g.Input("images", graph.Float, rows, net.ImageHeight, net.ImageWidth, net.ImageChannels)
	for i, f := range heads(g, net.Encode(g, images, false)) {
		g.Output(exitOutput(i), f)
	}
	p, err := g.Build()
	if err != nil {
		return nil, err
	}
	return e.Compile(p)
}

// check says what is wrong with f as input to classifiers of the given number
// of classes.
func (f *Features) check(what string, classes int) error {
	switch {
	case f == nil || len(f.Labels) == 0:
		return fmt.Errorf("eval: no %s features", what)
	case len(f.X) == 0:
		return fmt.Errorf("eval: %s features of no exit", what)
	case len(f.Names) != len(f.X) || len(f.Dims) != len(f.X):
		return fmt.Errorf("eval: %s features of %d exits with %d names and %d dimensions", what, len(f.X), len(f.Names), len(f.Dims))
	}
	for i, x := range f.X {
		if f.Dims[i] < 1 || len(x) != len(f.Labels)*f.Dims[i] {
			return fmt.Errorf("eval: %s features of %s: %d values for %d images of %d dimensions", what, f.Names[i], len(x), len(f.Labels), f.Dims[i])
		}
	}
	if err := engine.CheckLabels(f.Labels, classes); err != nil {
		return fmt.Errorf("eval: %s features: %w", what, err)
	}
	return nil
}

// ErrNotFinite is wrapped by the error of features that are not finite.
var ErrNotFinite = errors.New("the network must have diverged")

// Finite says which feature is not a number or infinite, if any, by an error that
// wraps ErrNotFinite; what the features are of goes into it.
func (f *Features) Finite(what string) error {
	for i, x := range f.X {
		for j, v := range x {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("eval: %s features of %s: image %d has %g in dimension %d: %w", what, f.Names[i], j/f.Dims[i], v, j%f.Dims[i], ErrNotFinite)
			}
		}
	}
	return nil
}

// set is features and what they are of.
type set struct {
	*Features
	what string
}

// sameNetwork says what is wrong with two sets of features of one network, with
// labels of so many classes.
func sameNetwork(classes int, a, b set) error {
	for _, f := range []set{a, b} {
		if err := f.check(f.what, classes); err != nil {
			return err
		}
		if err := f.Finite(f.what); err != nil {
			return err
		}
	}
	if !slices.Equal(a.Names, b.Names) || !slices.Equal(a.Dims, b.Dims) {
		return fmt.Errorf("eval: %s features of %v with dimensions %v, %s features of %v with %v: must be of one network", a.what, a.Names, a.Dims, b.what, b.Names, b.Dims)
	}
	return nil
}

var errClasses = errors.New("eval: a classifier needs at least 2 classes")
