package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// pool runs loops on a fixed number of goroutines, the caller's among them.
// Which of them does which iteration is open; nothing computed may depend on
// it. Between loops the others spin for a moment and then sleep.
type pool struct {
	threads int
	spin    time.Duration

	// A loop: written by the caller before gen becomes odd, read by the others
	// while it is odd and they count as running. One of the bodies is nil.
	body  func(worker, i int)
	ahead func(worker, i, next int)
	turns []turn // one a worker

	gen     atomic.Uint32 // odd while a loop is open
	running atomic.Int32
	waiting atomic.Bool // the caller sleeps until nobody runs
	idle    chan struct{}
	closed  atomic.Bool
	parked  []atomic.Bool
	wake    []chan struct{}
	ended   sync.WaitGroup

	scratch  [][]float32 // one a worker, as long as the longest any program needs
	pointers []pointers  // one a worker

	profile bool   // note every loop in loops
	loops   []Loop // until the caller empties it
}

// turn is a worker's stretch of a loop: the next iteration and where it ends.
// Others take from it when they are done with their own.
type turn struct {
	next atomic.Int64
	end  int64
	_    [112]byte // of lines that neighbours don't fetch with it
}

// Loop is a loop that a step ran on all threads: its tasks and how long they
// took together.
type Loop struct {
	Tasks int
	Time  time.Duration
}

// spinTime is as long as it takes, in a virtual machine, to wake a core that has
// gone to sleep, twice over: steps of a single image are shorter.
const spinTime = 200 * time.Microsecond

// patience is one wait's: how often it has looked and since when.
type patience struct {
	looks int
	start time.Time
}

// spins says whether to look once more before going to sleep. The clock is read
// now and then.
func (p *pool) spins(w *patience) bool {
	if w.looks++; w.looks%1024 != 1 {
		return true
	}
	if w.looks == 1 {
		w.start = time.Now()
	}
	return time.Since(w.start) < p.spin
}

func newPool(threads int) *pool {
	p := &pool{
		threads:  threads,
		turns:    make([]turn, threads),
		parked:   make([]atomic.Bool, threads),
		wake:     make([]chan struct{}, threads),
		scratch:  make([][]float32, threads),
		pointers: make([]pointers, threads),
		idle:     make(chan struct{}, 1),
	}
	if threads <= runtime.NumCPU() && threads <= runtime.GOMAXPROCS(0) {
		p.spin = spinTime
	}
	for w := 1; w < threads; w++ {
		p.wake[w] = make(chan struct{}, 1)
		p.ended.Add(1)
		go p.work(w)
	}
	return p
}

// reserve makes sure that every worker has scratch for n floats.
func (p *pool) reserve(m *memory, n int) error {
	for w, old := range p.scratch {
		if len(old) >= n {
			continue
		}
		s, err := m.allocate(n)
		if err != nil {
			return err
		}
		m.release(old)
		p.scratch[w] = s
	}
	return nil
}

// run calls body(worker, i) for every i in [0, n), on all workers at once.
func (p *pool) run(n int, body func(worker, i int)) {
	if n == 0 {
		return
	}
	p.timed(n, body, nil)
}

// runAhead is run with a body that is told what its worker does next, so that it
// can fetch that meanwhile, or -1 if that is open.
func (p *pool) runAhead(n int, body func(worker, i, next int)) {
	p.timed(n, nil, body)
}

func (p *pool) timed(n int, body func(worker, i int), ahead func(worker, i, next int)) {
	if !p.profile {
		p.each(n, body, ahead)
		return
	}
	start := time.Now()
	p.each(n, body, ahead)
	p.loops = append(p.loops, Loop{n, time.Since(start)})
}

func (p *pool) each(n int, body func(worker, i int), ahead func(worker, i, next int)) {
	p.body, p.ahead = body, ahead
	defer func() { p.body, p.ahead = nil, nil }() // they hold their engine, which must be free to go
	for w := range p.turns {
		p.turns[w].next.Store(int64(n * w / p.threads))
		p.turns[w].end = int64(n * (w + 1) / p.threads)
	}
	if n <= 1 || p.threads == 1 {
		p.loop(0)
		return
	}
	p.gen.Add(1)
	for w := 1; w < p.threads && w < n; w++ {
		if p.parked[w].CompareAndSwap(true, false) {
			p.wake[w] <- struct{}{}
		}
	}
	p.loop(0)
	p.gen.Add(1)
	p.join()
}

// join waits until nobody runs; as the loop is closed, nobody starts again.
func (p *pool) join() {
	for w := (patience{}); ; {
		if p.running.Load() == 0 {
			return
		}
		if !p.spins(&w) {
			break
		}
	}
	p.waiting.Store(true)
	if p.running.Load() == 0 && p.waiting.CompareAndSwap(true, false) {
		return
	}
	<-p.idle
}

// take is an iteration for a worker, or -1 when none is left: the next of its own
// stretch, which reads mostly what the same stretch of earlier loops has written,
// in caches that cores may not share, or of another's.
func (p *pool) take(worker int) int {
	for k := range p.threads {
		t := &p.turns[(worker+k)%p.threads]
		if t.next.Load() < t.end {
			if i := t.next.Add(1) - 1; i < t.end {
				return int(i)
			}
		}
	}
	return -1
}

func (p *pool) loop(worker int) {
	if p.ahead != nil {
		p.loopAhead(worker)
		return
	}
	for i := p.take(worker); i >= 0; i = p.take(worker) {
		p.body(worker, i)
	}
}

// loopAhead takes the next iteration before it does one, but for the last of a
// stretch, which goes to whoever comes first.
func (p *pool) loopAhead(worker int) {
	own := &p.turns[worker]
	for i := p.take(worker); i >= 0; {
		next := -1
		if own.end-own.next.Load() > 1 {
			next = p.take(worker)
		}
		p.ahead(worker, i, next)
		if i = next; i < 0 {
			i = p.take(worker)
		}
	}
}

func (p *pool) work(w int) {
	defer p.ended.Done()
	served := uint32(0)
	for !p.closed.Load() {
		g := p.await(w, served)
		p.running.Add(1)
		if g&1 == 1 && p.gen.Load() == g {
			p.loop(w)
		}
		if p.running.Add(-1) == 0 && p.waiting.CompareAndSwap(true, false) {
			p.idle <- struct{}{}
		}
		served = g
	}
}

// await waits for a loop other than the one already served and returns the
// generation it saw; it may also return for no reason.
func (p *pool) await(w int, served uint32) uint32 {
	for s := (patience{}); p.spins(&s); {
		if g := p.gen.Load(); g&1 == 1 && g != served {
			return g
		}
	}
	p.parked[w].Store(true)
	if g := p.gen.Load(); g&1 == 1 && g != served || p.closed.Load() {
		if p.parked[w].CompareAndSwap(true, false) {
			return g
		}
	}
	<-p.wake[w]
	return p.gen.Load()
}

// close ends the other goroutines.
func (p *pool) close() {
	if p.closed.Swap(true) {
		return
	}
	for w := 1; w < p.threads; w++ {
		if p.parked[w].CompareAndSwap(true, false) {
			p.wake[w] <- struct{}{}
		}
	}
	p.ended.Wait()
}
