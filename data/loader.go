package data

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Transform writes one view of im, as normalised float32 in HWC order, into
// dst. dst has the loader's Height*Width*Channels values, which hold anything:
// all must be written. r is the random stream of this view alone. A Transform
// is called from several goroutines at once, must keep neither dst nor r, and
// must not write to im.Pix.
type Transform func(dst []float32, im Image, r *rand.Rand) error

// LoaderConfig is what NewLoader needs.
type LoaderConfig struct {
	Dataset   Dataset
	Transform Transform
	// Batch is the number of images in a batch; the last may have fewer.
	Batch int
	// Views is how many times each image is transformed, each time with a random stream of its own.
	Views int
	// Height, Width and Channels are the shape of a view. Every image must have this many channels.
	Height, Width, Channels int
	// Shuffle draws a new order each epoch; otherwise it is the dataset's. Sets
	// in large pieces (Parquet, tar shards) are shuffled within windows of some
	// 256 MB of randomly chosen pieces, so that each piece is read once.
	Shuffle bool
	// Balanced, with Shuffle, makes batches of Batch/Balanced classes with so
	// many images each (at least 2, so that every image has a positive); an epoch
	// has as many batches as otherwise. 0: off. Sets in large pieces are read here
	// and there then: pack them first.
	Balanced int
	// Weights, with Shuffle, draws as many images as there are, with replacement,
	// each with a chance proportional to its weight (see ClassWeights); nil: off.
	Weights []float64
	// DropLast leaves out a last batch that is not full.
	DropLast bool
	// Seed is where all randomness comes from.
	Seed uint64
	// Workers is the number of goroutines that decode and transform; 0 means
	// as many as Go runs at once (GOMAXPROCS). It changes no bit of the result.
	Workers int
	// Prefetch is how many batches may be ready or in work ahead of the one
	// the consumer has; 0 means 2. Memory is that of Prefetch+1 batches.
	Prefetch int
}

// Batch is n images in Views views each.
type Batch struct {
	// Images is Views*n*H*W*C values: the whole of view one, then the whole of
	// view two, …, each NHWC.
	Images []float32
	// Labels are the n classes.
	Labels []int32
	// Indices are where the n images are in the dataset.
	Indices []int
}

// Loader turns a dataset into batches, in goroutines of its own.
type Loader struct {
	cfg     LoaderConfig
	batches int
	waited  atomic.Int64 // nanoseconds

	mu    sync.Mutex
	spare []*slot // not in use by any epoch
}

// NewLoader checks cfg and fills in its defaults.
func NewLoader(cfg LoaderConfig) (*Loader, error) {
	switch {
	case cfg.Dataset == nil:
		return nil, errors.New("data loader: no dataset")
	case cfg.Transform == nil:
		return nil, errors.New("data loader: no transform")
	case cfg.Batch < 1:
		return nil, fmt.Errorf("data loader: batch of %d images: must be at least 1", cfg.Batch)
	case cfg.Views < 1:
		return nil, fmt.Errorf("data loader: %d views: must be at least 1", cfg.Views)
	case cfg.Height < 1 || cfg.Width < 1 || cfg.Channels < 1:
		return nil, fmt.Errorf("data loader: views of height×width×channels %d×%d×%d: each must be at least 1", cfg.Height, cfg.Width, cfg.Channels)
	case cfg.Workers < 0:
		return nil, fmt.Errorf("data loader: %d workers: must be at least 1, or 0 for as many as there are processors", cfg.Workers)
	case cfg.Prefetch < 0:
		return nil, fmt.Errorf("data loader: prefetch of %d batches: must be at least 1, or 0 for 2", cfg.Prefetch)
	case cfg.Dataset.Len() == 0:
		return nil, errors.New("data loader: the dataset has no images")
	case cfg.DropLast && cfg.Batch > cfg.Dataset.Len():
		return nil, fmt.Errorf("data loader: a batch of %d images is more than the dataset's %d, and without the last, short batch there would be none: use a batch of at most %d",
			cfg.Batch, cfg.Dataset.Len(), cfg.Dataset.Len())
	}
	if err := checkSampling(cfg); err != nil {
		return nil, err
	}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = 2
	}
	l := &Loader{cfg: cfg, batches: cfg.Dataset.Len() / cfg.Batch}
	if !cfg.DropLast && cfg.Dataset.Len()%cfg.Batch != 0 {
		l.batches++
	}
	return l, nil
}

// Batches is the number of batches in a whole epoch.
func (l *Loader) Batches() int { return l.batches }

// Waited is how long consumers have waited for batches, in all epochs so far.
func (l *Loader) Waited() time.Duration { return time.Duration(l.waited.Load()) }

// Epoch gives the batches of an epoch, in order, leaving out the first skip of
// them: what is left is bit for bit what it would be without skip. The order
// depends only on the seed and epoch; the random stream of a view only on the
// seed, epoch, the image's index, how often it has come before in the epoch, and
// the view.
//
// A batch and its slices are valid until the loop goes on or ends; copy what
// must live longer. The first error, in the order of images, ends the loop, as
// does ctx, with its error. When the loop has ended, for whatever reason, no
// goroutine of it is left.
func (l *Loader) Epoch(ctx context.Context, epoch, skip int) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		if epoch < 0 || skip < 0 {
			yield(nil, fmt.Errorf("data loader: epoch %d, %d batches to skip: neither may be negative", epoch, skip))
			return
		}
		e := l.start(ctx, epoch, skip)
		defer e.stop()
		for range l.batches - skip {
			s, err := e.next(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&s.batch, nil) {
				return
			}
			e.free <- s
		}
	}
}

// slot is the memory of one batch, and its state.
type slot struct {
	batch   Batch
	first   int           // place of its first image in the epoch's order
	pending atomic.Int32  // images not done
	ready   chan struct{} // gets one value when pending reaches 0

	mu    sync.Mutex
	err   error // of the image errAt
	errAt int
}

// run is an epoch under way.
type run struct {
	l      *Loader
	epoch  uint64
	order  []int   // image indices in the epoch's order; nil: as in the dataset
	times  []int32 // how often each has come before in the epoch; nil: never
	cancel context.CancelFunc
	wg     sync.WaitGroup

	slots []*slot
	free  chan *slot // to the feeder
	queue chan *slot // to the consumer, in order
	tasks chan task  // to the workers
}

// task is images lo to hi of a slot's batch.
type task struct {
	s      *slot
	lo, hi int
}

func (l *Loader) start(ctx context.Context, epoch, skip int) *run {
	ctx, cancel := context.WithCancel(ctx)
	n := l.cfg.Prefetch + 1
	e := &run{
		l: l, epoch: uint64(epoch), cancel: cancel,
		slots: l.takeSlots(n),
		free:  make(chan *slot, n),
		queue: make(chan *slot, n),
		tasks: make(chan task, l.cfg.Workers),
	}
	if l.cfg.Shuffle {
		h := mix(mix(mix(0, orderTag), l.cfg.Seed), e.epoch)
		r := rand.New(rand.NewPCG(h, mix(h, 1)))
		ds := l.cfg.Dataset
		switch block := blockOf(ds); {
		case l.cfg.Balanced > 0:
			e.order = balancedOrder(ds, l.batches, l.cfg.Batch/l.cfg.Balanced, l.cfg.Balanced, r)
			e.times = repeats(e.order, ds.Len())
		case l.cfg.Weights != nil:
			e.order = weightedOrder(l.cfg.Weights, ds.Len(), r)
			e.times = repeats(e.order, ds.Len())
		case block != nil:
			e.order = blockOrder(ds.Len(), block, r)
		default:
			e.order = r.Perm(ds.Len())
		}
	}
	for _, s := range e.slots {
		e.free <- s
	}
	e.wg.Go(func() { e.feed(ctx, skip) })
	for range min(l.cfg.Workers, l.cfg.Dataset.Len()) {
		e.wg.Go(func() { e.work(ctx) })
	}
	return e
}

// stop ends the goroutines and takes the slots back.
func (e *run) stop() {
	e.cancel()
	e.wg.Wait()
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	room := e.l.cfg.Prefetch + 1 - len(e.l.spare)
	e.l.spare = append(e.l.spare, e.slots[:min(room, len(e.slots))]...)
}

func (l *Loader) takeSlots(n int) []*slot {
	l.mu.Lock()
	slots := l.spare
	l.spare = nil
	l.mu.Unlock()
	c := &l.cfg
	batch := min(c.Batch, c.Dataset.Len())
	for len(slots) < n {
		slots = append(slots, &slot{
			batch: Batch{
				Images:  make([]float32, c.Views*batch*c.Height*c.Width*c.Channels),
				Labels:  make([]int32, batch),
				Indices: make([]int, batch),
			},
		})
	}
	for _, s := range slots {
		s.ready = make(chan struct{}, 1) // an epoch that was left early may have filled the old one
	}
	return slots
}

// feed hands out the work of the batches from skip on.
func (e *run) feed(ctx context.Context, skip int) {
	defer close(e.tasks)
	c := &e.l.cfg
	for b := skip; b < e.l.batches; b++ {
		var s *slot
		select {
		case s = <-e.free:
		case <-ctx.Done():
			return
		}
		first := b * c.Batch
		n := min(c.Batch, c.Dataset.Len()-first)
		s.batch.Images = s.batch.Images[:c.Views*n*c.Height*c.Width*c.Channels]
		s.batch.Labels = s.batch.Labels[:n]
		s.batch.Indices = s.batch.Indices[:n]
		for k := range n {
			i := first + k
			if e.order != nil {
				i = e.order[i]
			}
			s.batch.Indices[k] = i
			s.batch.Labels[k] = int32(c.Dataset.Label(i))
		}
		s.first = first
		s.err = nil
		s.pending.Store(int32(n))
		e.queue <- s // has room for all slots

		// Small enough pieces that all workers end a batch at about the same
		// time, large enough that handing them out costs nothing.
		piece := min(max(n/(4*c.Workers), 1), 32)
		for lo := 0; lo < n; lo += piece {
			select {
			case e.tasks <- task{s, lo, min(lo+piece, n)}:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (e *run) work(ctx context.Context) {
	pcg := new(rand.PCG)
	r := rand.New(pcg)
	for t := range e.tasks {
		for k := t.lo; k < t.hi; k++ {
			if ctx.Err() != nil {
				return
			}
			if err := e.image(t.s, k, pcg, r); err != nil {
				t.s.fail(k, err)
			}
			if t.s.pending.Add(-1) == 0 {
				t.s.ready <- struct{}{}
			}
		}
	}
}

// image makes all views of image k of a batch.
func (e *run) image(s *slot, k int, pcg *rand.PCG, r *rand.Rand) error {
	c := &e.l.cfg
	i := s.batch.Indices[k]
	im, err := c.Dataset.Image(i)
	if err != nil {
		return err
	}
	if im.Channels != c.Channels {
		return badf(c.Dataset.Name(i), "%d channels, but the network is fed with %d: open the dataset with that many", im.Channels, c.Channels)
	}
	n, size := len(s.batch.Indices), c.Height*c.Width*c.Channels
	h := mix(mix(mix(mix(0, viewTag), c.Seed), e.epoch), uint64(i))
	if e.times != nil && e.times[s.first+k] > 0 { // another time, other views
		h = mix(h, uint64(e.times[s.first+k]))
	}
	for v := range c.Views {
		hv := mix(h, uint64(v))
		pcg.Seed(hv, mix(hv, 1))
		at := (v*n + k) * size
		if err := c.Transform(s.batch.Images[at:at+size:at+size], im, r); err != nil {
			return fmt.Errorf("%s: transform: %w", c.Dataset.Name(i), err)
		}
	}
	return nil
}

// fail notes an error; that of the first image wins.
func (s *slot) fail(k int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || k < s.errAt {
		s.err, s.errAt = err, k
	}
}

// next waits for the next batch in order.
func (e *run) next(ctx context.Context) (*slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	start := time.Now()
	defer func() { e.l.waited.Add(int64(time.Since(start))) }()
	var s *slot
	select {
	case s = <-e.queue:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s, s.err
}

// orderTag and viewTag keep the streams of orders and of views apart.
const (
	orderTag = 1
	viewTag  = 2
)

// mix folds v into the hash h: the state step and finaliser of SplitMix64
// (Steele, Lea and Flood 2014), whose outputs differ in about half their bits
// for inputs that differ in one.
func mix(h, v uint64) uint64 {
	z := (h ^ v) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
