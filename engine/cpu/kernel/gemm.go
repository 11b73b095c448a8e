package kernel

import (
	"sync"
	"unsafe"
)

const (
	// maxDepth bounds the depth of a block: a panel of 32 columns of B and
	// 14 rows of A, 92 kB together, then stay in a second-level cache.
	maxDepth = 512
	// blockA bounds the elements of A in a block of rows: 256 kB, so that
	// they come from the second-level cache for every panel after the first.
	blockA = 64 << 10

	// Rows of B this far apart, or farther, lie in many pages and, often, in
	// few sets of the cache. Packing them pays when enough rows of A use
	// them: a product of 1024×1024×1024 went from 70 to 83 % of the peak with
	// avx512 on Zen 4, from 48 to 72 % with avx2.
	packStrideB = 128
	packRowsB   = 96
	// Rows of A a multiple of this apart fall in the same few sets of the
	// first-level cache, more of them than it has ways. Copying them apart
	// pays when enough columns use them: that same product, from 58 to 83 %.
	packStrideA  = 512
	packColumnsA = 128

	maxMR = 16
	maxNR = 32

	maxTiles = 32 // of a call: Go can't interrupt it
)

// gemmScratch is room for copies of parts of A, B and C. It grows with the
// products that it serves.
type gemmScratch struct {
	a, b []float32
	c    [maxMR * maxNR]float32 // a tile of C, where C is narrower
}

var gemmPool = sync.Pool{New: func() any { return new(gemmScratch) }}

// grow returns n elements of *buf, a longer one if need be.
func grow(buf *[]float32, n int) []float32 {
	if cap(*buf) < n {
		*buf = make([]float32, n)
	}
	return (*buf)[:n]
}

// blocks returns how many blocks of at most size n splits into.
func blocks(n, size int) int { return (n + size - 1) / size }

// part returns where part i of n, split evenly into parts, starts. It depends
// on nothing else: that fixes the order of every sum.
func part(n, parts, i int) int { return n * i / parts }

// tileFor returns the widest tile for n remaining columns. Columns are padded
// to the narrowest tile; the rest is a plain greedy choice: 40 = 32 + 8.
func (s *Set) tileFor(n int) *Tile {
	narrow := s.Tiles[len(s.Tiles)-1].NR
	n = (n + narrow - 1) / narrow * narrow
	for i := range s.Tiles {
		if s.Tiles[i].NR <= n {
			return &s.Tiles[i]
		}
	}
	panic("kernel: no tile for " + s.Name)
}

// Gemm computes C[m×n] = A·B, or C += A·B when acc is set: for i < m, j < n
//
//	c[i*ldc+j] = (acc ? c[i*ldc+j] : 0) + Σ_{l<k} a[i*ars+l*ads] * b[l*ldb+j]
//
// B and C are row-major; A has a stride for rows and one for depth, so it may
// be row-major (ads = 1) or depth-major (ars = 1). It runs on the calling
// goroutine. An element's sum has an order that depends on k only: any split
// of the rows or columns over several calls gives the same bits.
func (s *Set) Gemm(m, n, k int, a []float32, ars, ads int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	if !checkGemm(m, n, k, a, ars, ads, c, ldc, acc) {
		return
	}
	_ = b[(k-1)*ldb+n-1]
	s.gemm(m, n, k, a, ars, ads, b, ldb, false, c, ldc, acc)
}

// GemmPacked is [Set.Gemm] with a B that [Set.PackB] or [Set.PackBTrans] has
// packed. The result is the same, bit for bit.
func (s *Set) GemmPacked(m, n, k int, a []float32, ars, ads int, packed []float32, c []float32, ldc int, acc bool) {
	if !checkGemm(m, n, k, a, ars, ads, c, ldc, acc) {
		return
	}
	s.gemm(m, n, k, a, ars, ads, packed[:s.PackedLen(k, n)], 0, true, c, ldc, acc)
}

// checkGemm panics where a or c is too short, does a product of depth 0, and
// reports whether there is something left to do.
func checkGemm(m, n, k int, a []float32, ars, ads int, c []float32, ldc int, acc bool) bool {
	if m <= 0 || n <= 0 {
		return false
	}
	_ = c[(m-1)*ldc+n-1]
	if k <= 0 {
		if !acc {
			for i := range m {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return false
	}
	_ = a[(m-1)*ars+(k-1)*ads]
	return true
}

func (s *Set) gemm(m, n, k int, a []float32, ars, ads int, b []float32, ldb int, packed bool, c []float32, ldc int, acc bool) {
	narrow := s.Tiles[len(s.Tiles)-1].NR
	packB := !packed && ldb >= packStrideB && n > s.Tiles[0].NR && m >= packRowsB
	packA := n >= packColumnsA && (ads == 1 && ars%packStrideA == 0 || ars == 1 && ads%packStrideA == 0)
	var scratch *gemmScratch
	var tmp []float32
	if packA || packB || n%narrow != 0 {
		scratch = gemmPool.Get().(*gemmScratch)
		defer gemmPool.Put(scratch)
		tmp = scratch.c[:]
	}
	kparts := blocks(k, maxDepth)
	for kp := range kparts {
		k0 := part(k, kparts, kp)
		kc := part(k, kparts, kp+1) - k0
		// A panel of B for columns from j is at panels[j*depth+offset*NR], its
		// rows NR apart, except where B is used as it lies.
		panels, depth, offset := b, k, k0
		if packB {
			panels, depth, offset = grow(&scratch.b, s.PackedLen(kc, n)), kc, 0
			s.PackB(panels, kc, n, b[k0*ldb:], ldb)
		}
		mparts := min(m, blocks(m*kc, blockA))
		for mp := range mparts {
			m0 := part(m, mparts, mp)
			mc := part(m, mparts, mp+1) - m0
			ab, abrs, abds := a[m0*ars+k0*ads:], ars, ads
			if packA {
				ab, abrs, abds = spread(&scratch.a, ab, mc, kc, ars, ads)
			}
			for j := 0; j < n; {
				t := s.tileFor(n - j)
				w := min(t.NR, n-j)
				var bb []float32
				stride := t.NR
				switch {
				case packed || packB:
					bb = panels[j*depth+offset*t.NR:]
				case w == t.NR:
					bb, stride = b[k0*ldb+j:], ldb
				default:
					bb = grow(&scratch.b, kc*t.NR)
					if mp == 0 {
						padRows(bb, t.NR, b[k0*ldb+j:], ldb, kc, w)
					}
				}
				t.Columns(mc, kc, ab, abrs, abds, bb, stride, c[m0*ldc+j:], ldc, acc || kp > 0, w, tmp, nil)
				j += t.NR
			}
		}
	}
}

// spread copies a block of A into buf, with the dimension that is contiguous
// in A contiguous in the copy too, and an odd number of cache lines from one
// row of it to the next. It returns the copy and its strides.
func spread(buf *[]float32, a []float32, m, k, ars, ads int) (copied []float32, newARS, newADS int) {
	if ads != 1 {
		copied, newADS, newARS = spread(buf, a, k, m, ads, ars)
		return copied, newARS, newADS
	}
	stride := ((k+line-1)/line | 1) * line
	copied = grow(buf, m*stride)
	for i := range m {
		copy(copied[i*stride:i*stride+k], a[i*ars:])
	}
	return copied, stride, 1
}

// Columns computes m rows of width columns of a product as [Tile.Run] does, to C or,
// with acc, added to it.
func (t *Tile) Columns(m, depth int, a []float32, ars, ads int, b []float32, ldb int, c []float32, ldc int, acc bool, width int, tmp []float32, ahead *Ahead) {
	var add []float32
	if acc {
		add = c
	}
	t.ColumnsPlus(m, depth, a, ars, ads, b, ldb, c, ldc, add, ldc, width, tmp, ahead)
}

// ColumnsPlus computes m rows of width columns of a product as [Tile.Run] does, in
// tiles of nearly as many rows each: 64 = 4·13 + 12, not 4·14 + 8. With fewer
// columns than NR the tiles go by way of tmp, MR·NR floats; B has NR in any case.
// B is taken to be out of the caches for the first tile. What is ahead, which may
// be nil, is fetched meanwhile.
func (t *Tile) ColumnsPlus(m, depth int, a []float32, ars, ads int, b []float32, ldb int, c []float32, ldc int, add []float32, ldd, width int, tmp []float32, ahead *Ahead) {
	parts := blocks(m, t.MR)
	small, more := m/parts, m%parts
	for i := 0; i < parts; {
		rows, n := small, parts-i
		if i < more {
			rows, n = small+1, more-i
		}
		if width < t.NR {
			n = 1
		}
		dense := ahead.density()
		cold := i == 0 || dense > 0
		next, step, n := ahead.take(min(n, maxTiles), depth, dense, cold)
		if width >= t.NR {
			t.Run(n, rows, depth, &a[0], ars, ads, &b[0], ldb, &c[0], ldc, unsafe.SliceData(add), ldd, cold, next, step, dense)
		} else {
			t.Run(1, rows, depth, &a[0], ars, ads, &b[0], ldb, &tmp[0], t.NR, nil, 0, cold, next, step, dense)
			for r := range rows {
				row, from := c[r*ldc:], tmp[r*t.NR:]
				if add != nil {
					for j, d := range add[r*ldd:][:width] {
						row[j] = d + from[j]
					}
				} else {
					copy(row[:width], from)
				}
			}
		}
		if i += n; i < parts {
			a, c = a[n*rows*ars:], c[n*rows*ldc:]
			if add != nil {
				add = add[n*rows*ldd:]
			}
		}
	}
}

// padRows copies rows of w elements, ldb apart, into rows of nr, and fills
// them up with zeros.
func padRows(dst []float32, nr int, b []float32, ldb, rows, w int) {
	for i := range rows {
		d := dst[i*nr : (i+1)*nr]
		clear(d[copy(d, b[i*ldb:i*ldb+w]):])
	}
}
