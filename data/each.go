package data

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// eachImage decodes images lo to hi-1 of a set in several goroutines, and calls
// work for each in the goroutine that decoded it, in any order. It ends early,
// with ctx's error, when ctx does. workers 0 or less means as many as Go runs at once.
func eachImage(ctx context.Context, ds Dataset, lo, hi, workers int, work func(i int, im Image, err error)) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	next.Store(int64(lo))
	var wg sync.WaitGroup
	for range min(workers, hi-lo) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= hi || ctx.Err() != nil {
					return
				}
				im, err := ds.Image(i)
				work(i, im, err)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}
