package cpu

// tiles cuts images of h×w results into tiles of 4×4, or of 3 where a side is no
// multiple of 4: 14 = 4 + 4 + 3 + 3. Transforms are of the same numbers either
// way, but what a tile of three rows has at infinity, down, only enters the
// fourth: those products it doesn't need, nor one of three columns those across.
//
// They come in bands of rows of tiles. In a band those with four rows are before
// those with three and, of the former those with three columns first, of the
// latter last: four kinds. So those that need products at infinity, down, across
// or both ways, lie side by side.
type tiles struct {
	n, h, w      int
	numbers      int // of a transform a side, infinity's last
	down, across cut
	size         int // tiles of a band
	bands        []band
}

// band is how many rows of four and of three come before a band, and where its
// kinds begin and it ends.
type band struct {
	full, short int
	start       [5]int
}

const tileSide = 4

// cut is how a side is cut: into so many of 4, then so many of 3.
type cut struct{ full, short int }

func cutOf(n int) cut {
	k := blocksOf(n, tileSide)
	full := max(0, n-(tileSide-1)*k)
	return cut{full, k - full}
}

func (c cut) count() int { return c.full + c.short }

// products is those along a side, of which one of four takes so many.
func (c cut) products(each int) int { return c.full*each + c.short*(each-1) }

// tile is where a tile is: its first result, and how many it has a side.
type tile struct {
	im, y, x    int
	rows, width int // 3 or 4, with those outside of the image
}

// newTiles is tiles in one band.
func newTiles(n, h, w, numbers int) *tiles {
	g := &tiles{n: n, h: h, w: w, numbers: numbers, down: cutOf(h), across: cutOf(w)}
	g.cutBands(n * g.down.count())
	return g
}

func (g *tiles) cutBands(rows int) {
	g.size, g.bands = rows*g.across.count(), nil
	all, before := g.n*g.down.count(), 0 // rows, and of four before a band
	for r := 0; r < all; r += rows {
		end := min(all, r+rows)
		full := end/g.down.count()*g.down.full + min(end%g.down.count(), g.down.full) - before
		short := end - r - full
		b := band{full: before, short: r - before}
		b.start[0] = r * g.across.count()
		for k, n := range [4]int{full * g.across.short, full * g.across.full, short * g.across.full, short * g.across.short} {
			b.start[k+1] = b.start[k] + n
		}
		g.bands = append(g.bands, b)
		before += full
	}
}

// inBands cuts tiles of several kinds into bands that are a task's block, of
// about so many, so that it has whole rows of images, and returns how many.
func (g *tiles) inBands(block int) int {
	if block < g.across.count() || g.down.short+g.across.short == 0 {
		return block
	}
	g.cutBands(even(g.n*g.down.count(), block/g.across.count()))
	return g.size
}

func (g *tiles) count() int { return g.n * g.down.count() * g.across.count() }

func (g *tiles) at(t int) tile {
	b, k := &g.bands[t/g.size], 0
	for t >= b.start[k+1] {
		k++
	}
	t -= b.start[k]
	rows, ny, nx := b.full, g.down.full, g.across.full
	a := tile{rows: tileSide, width: tileSide}
	if k >= 2 {
		a.y, a.rows = tileSide*ny, tileSide-1
		rows, ny = b.short, g.down.short
	}
	if k == 0 || k == 3 {
		a.x, a.width = tileSide*nx, tileSide-1
		nx = g.across.short
	}
	rows += t / nx
	a.im = rows / ny
	a.y += rows % ny * a.rows
	a.x += t % nx * a.width
	return a
}

// need is the tiles, of n from t0 in one band, that need the products of a
// frequency.
func (g *tiles) need(f, t0, n int) (from, count int) {
	b := &g.bands[t0/g.size]
	lo, hi := t0, min(t0+n, b.start[4])
	if f/g.numbers == g.numbers-1 {
		hi = min(hi, b.start[2])
	}
	if f%g.numbers == g.numbers-1 {
		lo, hi = max(lo, b.start[1]), min(hi, b.start[3])
	}
	if lo >= hi {
		return t0, 0
	}
	return lo, hi - lo
}

// products is those of a pair of channels that n tiles from t0, in one band, need.
func (g *tiles) products(t0, n int) int {
	sum := 0
	for f := range g.numbers * g.numbers {
		_, count := g.need(f, t0, n)
		sum += count
	}
	return sum
}

// run is tile t and how many from there lie side by side in a row, at most n.
func (g *tiles) run(t, n int) (tile, int) {
	a := g.at(t)
	if a.width == tileSide {
		return a, min(n, g.across.full-a.x/tileSide)
	}
	return a, min(n, blocksOf(g.w-a.x, a.width))
}

// each is n tiles from t0, with their numbers from there.
func (g *tiles) each(t0, n int) func(yield func(i int, a tile) bool) {
	return func(yield func(i int, a tile) bool) {
		for i := 0; i < n; {
			a, k := g.run(t0+i, n-i)
			for range k {
				if !yield(i, a) {
					return
				}
				a.x += a.width
				i++
			}
		}
	}
}

// longest is the most tiles side by side, at most n.
func (g *tiles) longest(n int) int { return min(n, max(g.across.full, g.across.short)) }

// rows is the rows of results, counted over all images, of n tiles from t0: of
// whole bands or from the first tile to the last, which may be more than the
// tiles' own; none where the last lies above the first.
func (g *tiles) rows(t0, n int) (lo, hi int) {
	row := func(r int) int { // where a row of tiles begins
		im, r := r/g.down.count(), r%g.down.count()
		return im*g.h + tileSide*r - max(0, r-g.down.full)
	}
	if end := t0 + n; t0%g.size == 0 && (end%g.size == 0 || end == g.count()) {
		return row(t0 / g.across.count()), row(end / g.across.count())
	}
	first, last := g.at(t0), g.at(t0+n-1)
	lo = first.im*g.h + first.y
	return lo, max(lo, last.im*g.h+min(g.h, last.y+last.rows))
}

// regions appends the pixels that n tiles, from t0, have, each k times as many a
// side, in images of h×w.
func (g *tiles) regions(t0, n, k, h, w, c0, c1 int, to []region) []region {
	for t := t0; t < t0+n; {
		a, run := g.run(t, t0+n-t)
		for y := k * a.y; y < min(h, k*(a.y+a.rows)); y++ {
			row := (a.im*h + y) * w
			to = append(to, region{row + k*a.x, row + min(w, k*(a.x+run*a.width)), c0, c1})
		}
		t += run
	}
	return to
}

// pixels is images of h×w pixels of c channels or a part of one, x: it begins with
// the pixel of row y0 and column x0, and rows and images are so many pixels apart.
type pixels struct {
	x          []float32
	h, w, c    int
	y0, x0     int
	row, image int
}

func wholeImages(x []float32, h, w, c int) pixels {
	return pixels{x: x, h: h, w: w, c: c, row: w, image: h * w}
}

// point lets p, rows of side numbers, point at every step-th pixel from the first
// of a; outside of the image and past a's rows and width at other.
func (v *pixels) point(p []*float32, side int, a tile, step int, other *float32) {
	lo, hi := 0, min(side, a.width) // columns inside
	for lo < hi && a.x+step*lo < 0 {
		lo++
	}
	for lo < hi && a.x+step*(hi-1) >= v.w {
		hi--
	}
	at := (a.im*v.image + (a.y-v.y0)*v.row + a.x + step*lo - v.x0) * v.c
	for i := range side {
		row := p[side*i : side*i+side : side*i+side]
		if y := a.y + step*i; i < a.rows && uint(y) < uint(v.h) {
			from := at
			for j := range row {
				if j < lo || j >= hi {
					row[j] = other
					continue
				}
				row[j] = &v.x[from]
				from += step * v.c
			}
		} else {
			for j := range row {
				row[j] = other
			}
		}
		at += step * v.row * v.c
	}
}
