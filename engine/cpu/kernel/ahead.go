package kernel

// Ahead is memory to fetch into the second-level cache while products are
// computed: what they need next, or what is done with their results. The zero
// value is none. It changes no result.
//
// A core that waits for memory does not multiply, and its own prefetchers follow
// few streams; products have the load ports to spare.
type Ahead struct {
	n, at  int
	lines  int  // in all
	dense  bool // a line for each step of depth, or one for two
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
func (a *Ahead) Reset() { a.n, a.at, a.lines, a.dense = 0, 0, 0, false }

// Over says for how many steps of depth there are products: where there are
// fewer than two for a line, each step fetches one. Fewer at a time would be better
// for those products whose own lines have to wait for a place among them.
func (a *Ahead) Over(steps int) { a.dense = 2*a.lines > steps }

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

// isDense says whether what is next comes densely.
func (a *Ahead) isDense() bool {
	return a != nil && (a.at < a.n && a.dense || a.Then.isDense())
}

// take says where the next lines are and how far apart, or nil, and for how many
// of so many tiles of a depth: as many as it takes to reach a range's last row. The
// first tile fetches a line a step if it is cold, and all do where they are dense.
func (a *Ahead) take(tiles, depth int, cold, dense bool) (next *float32, step, n int) {
	if a == nil {
		return nil, 0, tiles
	}
	if a.at == a.n {
		return a.Then.take(tiles, depth, cold, dense)
	}
	each := depth / 2
	if dense {
		each = depth
	}
	lines := each
	if cold {
		lines = depth
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
