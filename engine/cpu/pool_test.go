package cpu

import (
	"sync/atomic"
	"testing"
)

// TestPool runs many loops, short and long, and counts each iteration once.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := newPool(threads)
		for round := range 3000 {
			n := round % 37
			hits := make([]atomic.Int32, n)
			p.run(n, func(worker, i int) {
				if worker < 0 || worker >= threads {
					t.Errorf("worker %d of %d", worker, threads)
				}
				hits[i].Add(1)
			})
			for i := range hits {
				if h := hits[i].Load(); h != 1 {
					t.Fatalf("%d threads, round %d: iteration %d of %d ran %d times", threads, round, i, n, h)
				}
			}
		}
		p.close()
		p.close()
	}
}
