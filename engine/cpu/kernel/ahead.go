package kernel

// Ahead is memory to fetch into the second-level cache while products are
// computed: what they need next, or what is done with their results. The zero
// value is none. It changes no result.
//
// A core that waits for memory does not multiply, and its own prefetchers follow
// few streams; products have the load ports to spare.
type Ahead struct {
	n, at  int
	lines  int // in all
	dense  int // lines for each step of depth, 0: one for two
	ranges [16]fetch

	// Then is what comes when all else has been fetched; Reset leaves it.
	Then *Ahead
}

// fetch is lines of rows, a stride apart; column and row say which is next.
type fetch struct {
	p                   *float32
	rows, stride, lines int
	row, column         int
}

const line = 16 // floats of a cache line

// Reset forgets all but Then.
func (a *Ahead) Reset() { a.n, a.at, a.lines, a.dense = 0, 0, 0, 0 }

// Over says for how many steps of depth there are products. Lines come as slowly
// as they may, one for two steps, one for each or two: those on their way hold up
// what products wait for.
func (a *Ahead) Over(steps int) {
	switch {
	case 2*a.lines <= steps:
		a.dense = 0
	case a.lines <= steps:
		a.dense = 1
	default:
		a.dense = 2
	}
}

// Add adds x.
func (a *Ahead) Add(x []float32) {
	a.AddRows(x, min(len(x), line), blocks(len(x), line), line)
}

// AddRows adds width floats of so many rows, a stride apart.
func (a *Ahead) AddRows(x []float32, width, rows, stride int) {
	if a.n == len(a.ranges) || width <= 0 || rows <= 0 {
		return
	}
	_ = x[(rows-1)*stride]
	a.ranges[a.n] = fetch{p: &x[0], rows: rows, stride: stride, lines: blocks(width, line)}
	a.lines += rows * blocks(width, line)
	a.n++
}

// density is the lines of what is next for each step of depth, 0: one for two.
func (a *Ahead) density() int {
	switch {
	case a == nil:
		return 0
	case a.at == a.n:
		return a.Then.density()
	default:
		return max(a.dense, a.Then.density())
	}
}

// take says where the next lines are and how far apart, or nil, and for how many
// of so many tiles, all of them of a depth: as many as it takes to reach a range's
// last row.
func (a *Ahead) take(tiles, depth, dense int, cold bool) (next *float32, step, n int) {
	if a == nil {
		return nil, 0, tiles
	}
	if a.at == a.n {
		return a.Then.take(tiles, depth, dense, cold)
	}
	each := dense * depth
	if dense == 0 {
		each = depth / 2
	}
	lines := each
	if cold {
		lines = max(1, dense) * depth
	}
	f := &a.ranges[a.at]
	p, n := at(f.p, f.row*f.stride+f.column*line), 1
	f.row += lines
	if rest := f.rows - f.row; rest > 0 && each > 0 {
		n += min(tiles-1, blocks(rest, each))
		f.row += (n - 1) * each
	}
	if f.row >= f.rows {
		f.row = 0
		if f.column++; f.column == f.lines {
			a.at++
		}
	}
	return p, f.stride, n
}
