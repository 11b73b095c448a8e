package kernel

import "unsafe"

// at returns *(p + i elements).
func at(p *float32, i int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), i*4))
}

// tile4x8 is [Tile].Run in plain Go. One body serves one row and two: a second
// row that isn't there repeats the first and is not stored.
func tile4x8(tiles, rows, depth int, a *float32, ars, ads int, b *float32, ldb int, c *float32, ldc int, add *float32, ldd int, _ bool, _ *float32, _, _ int) {
	for i := 0; i < tiles*rows; i += 2 {
		n, ai, ci, di, di4 := min(2, tiles*rows-i), at(a, i*ars), at(c, i*ldc), add, add
		if add != nil {
			di, di4 = at(add, i*ldd), at(add, i*ldd+4)
		}
		tile2x4(n, depth, ai, ars, ads, b, ldb, ci, ldc, di, ldd)
		tile2x4(n, depth, ai, ars, ads, at(b, 4), ldb, at(ci, 4), ldc, di4, ldd)
	}
}

// tile2x4 has as many sums as 16 registers allow.
func tile2x4(rows, depth int, a *float32, ars, ads int, b *float32, ldb int, c *float32, ldc int, add *float32, ldd int) {
	var s00, s01, s02, s03 float32
	var s10, s11, s12, s13 float32
	r1 := (rows - 1) * ars
	ai, bi := 0, 0
	for range depth {
		bk := (*[4]float32)(unsafe.Pointer(at(b, bi)))
		b0, b1, b2, b3 := bk[0], bk[1], bk[2], bk[3]
		a0 := *at(a, ai)
		s00 += a0 * b0
		s01 += a0 * b1
		s02 += a0 * b2
		s03 += a0 * b3
		a1 := *at(a, ai+r1)
		s10 += a1 * b0
		s11 += a1 * b1
		s12 += a1 * b2
		s13 += a1 * b3
		ai += ads
		bi += ldb
	}
	s := [2][4]float32{{s00, s01, s02, s03}, {s10, s11, s12, s13}}
	for i := range rows {
		ci := (*[4]float32)(unsafe.Pointer(at(c, i*ldc)))
		if add == nil {
			*ci = s[i]
			continue
		}
		di := (*[4]float32)(unsafe.Pointer(at(add, i*ldd)))
		for j := range ci {
			ci[j] = di[j] + s[i][j]
		}
	}
}
