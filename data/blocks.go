package data

import (
	"container/list"
	"math/rand/v2"
	"sync"
)

// blocked is a set whose images lie in blocks that are read whole, or best in
// one go: a page of Parquet, a stretch of a tar file. The loader shuffles such a
// set block by block, and images within a window of blocks (see LoaderConfig.Shuffle).
type blocked interface {
	// block is where image i lies: a number that differs from that of every
	// other block, and the image's share of the block's bytes.
	block(i int) (id, size int64)
}

// windowBytes is how much of a blocked set is shuffled together.
const windowBytes = 256 << 20

// blockOrder is a random order of n images in which blocks come in a random
// order, are gathered into windows of some windowBytes, and images are mixed
// within a window. Small sets have one window, and any order is as likely as any
// other.
func blockOrder(n int, block func(i int) (id, size int64), r *rand.Rand) []int {
	type run struct {
		lo, hi int
		bytes  int64
	}
	var runs []run
	last := int64(0)
	for i := range n {
		id, size := block(i)
		if i == 0 || id != last {
			runs = append(runs, run{lo: i})
		}
		last = id
		at := &runs[len(runs)-1]
		at.hi = i + 1
		at.bytes += size
	}
	r.Shuffle(len(runs), func(i, j int) { runs[i], runs[j] = runs[j], runs[i] })
	order := make([]int, 0, n)
	start, bytes := 0, int64(0)
	for k, u := range runs {
		for i := u.lo; i < u.hi; i++ {
			order = append(order, i)
		}
		bytes += u.bytes
		if bytes >= windowBytes || k == len(runs)-1 {
			w := order[start:]
			r.Shuffle(len(w), func(i, j int) { w[i], w[j] = w[j], w[i] })
			start, bytes = len(order), 0
		}
	}
	return order
}

// blockOf looks for blocks under subsets and conversions.
func blockOf(ds Dataset) func(i int) (id, size int64) {
	switch d := ds.(type) {
	case *subset:
		if under := blockOf(d.Dataset); under != nil {
			return func(i int) (int64, int64) { return under(d.indices[i]) }
		}
	case *rechannelled:
		return blockOf(d.Dataset)
	case blocked:
		return d.block
	}
	return nil
}

// blockCache keeps decoded blocks, those used last, up to a number of bytes (and
// always one). A block that several goroutines want is made once.
type blockCache[T any] struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	made  map[int64]*list.Element // of *cachedBlock[T]
	order list.List               // the one used last is in front
}

type cachedBlock[T any] struct {
	id    int64
	size  int64
	ready chan struct{}
	value T
	err   error
}

// get is block id, of size bytes, made if it isn't there. Errors are not kept.
func (c *blockCache[T]) get(id, size int64, read func() (T, error)) (T, error) {
	c.mu.Lock()
	if e, ok := c.made[id]; ok {
		c.order.MoveToFront(e)
		b := e.Value.(*cachedBlock[T])
		c.mu.Unlock()
		<-b.ready
		return b.value, b.err
	}
	b := &cachedBlock[T]{id: id, size: size, ready: make(chan struct{})}
	if c.made == nil {
		c.made = map[int64]*list.Element{}
	}
	c.made[id] = c.order.PushFront(b)
	c.bytes += size
	for c.bytes > c.limit && c.order.Len() > 1 {
		c.drop(c.order.Back())
	}
	c.mu.Unlock()
	b.value, b.err = read()
	close(b.ready)
	if b.err != nil {
		c.mu.Lock()
		if e, ok := c.made[id]; ok && e.Value.(*cachedBlock[T]) == b {
			c.drop(e)
		}
		c.mu.Unlock()
	}
	return b.value, b.err
}

func (c *blockCache[T]) drop(e *list.Element) {
	b := e.Value.(*cachedBlock[T])
	c.order.Remove(e)
	delete(c.made, b.id)
	c.bytes -= b.size
}
