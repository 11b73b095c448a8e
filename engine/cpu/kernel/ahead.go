package kernel

// Ahead is memory to fetch into the second-level cache while products are
// computed: what they need next, or what is done with their results. The zero
// value is none. It changes no result.
//
// A core that waits for memory does not multiply, and its own prefetchers follow
// few streams; products have the load ports to spare.
type Ahead struct {
	n, at  int
	ranges [8]fetch
}

// fetch is lines of rows, a stride apart; column and row say which is next.
type fetch struct {
	p                   *float32
	rows, stride, lines int
	row, column         int
}

const line = 16 // floats of a cache line

// Reset forgets everything.
func (a *Ahead) Reset() { a.n, a.at = 0, 0 }

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
	a.n++
}

// take says where the next lines are and how far apart, for as many as a tile
// fetches, or nil.
func (a *Ahead) take(lines int) (*float32, int) {
	if a == nil || a.at == a.n {
		return nil, 0
	}
	f := &a.ranges[a.at]
	p := at(f.p, f.row*f.stride+f.column*line)
	f.row += lines
	if f.row >= f.rows {
		f.row = 0
		if f.column++; f.column == f.lines {
			a.at++
		}
	}
	return p, f.stride
}
