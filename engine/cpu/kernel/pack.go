package kernel

// A packed B is panels of columns, one after another: as wide as the tiles
// that will read them, each k×NR and row-major, the last filled up with zeros
// to a multiple of the narrowest tile. Any depth block of a panel is then
// contiguous.

// PackedLen returns the elements that a packed B of k×n takes.
func (s *Set) PackedLen(k, n int) int {
	narrow := s.Tiles[len(s.Tiles)-1].NR
	return k * ((n + narrow - 1) / narrow * narrow)
}

// PackB packs B, with elements b[l*ldb+j] for l < k and j < n, into
// dst[:PackedLen(k, n)] as [Set.GemmPacked] wants it.
func (s *Set) PackB(dst []float32, k, n int, b []float32, ldb int) {
	if k <= 0 || n <= 0 {
		return
	}
	dst = dst[:s.PackedLen(k, n)]
	for j := 0; j < n; {
		t := s.tileFor(n - j)
		padRows(dst[:k*t.NR], t.NR, b[j:], ldb, k, min(t.NR, n-j))
		dst = dst[k*t.NR:]
		j += t.NR
	}
}

// PackBTrans is [Set.PackB] for a B that lies transposed, with elements
// bt[j*ldbt+l] for l < k and j < n.
func (s *Set) PackBTrans(dst []float32, k, n int, bt []float32, ldbt int) {
	if k <= 0 || n <= 0 {
		return
	}
	dst = dst[:s.PackedLen(k, n)]
	for j := 0; j < n; {
		t := s.tileFor(n - j)
		nr, w := t.NR, min(t.NR, n-j)
		panel := dst[:k*nr]
		// Eight source rows at a time: as many streams as a core follows,
		// and the panel's lines are written in whole pieces.
		for jj := 0; jj < nr; jj += 8 {
			for l := range k {
				d := panel[l*nr+jj : l*nr+jj+8]
				for i := range d {
					if jj+i < w {
						d[i] = bt[(j+jj+i)*ldbt+l]
					} else {
						d[i] = 0
					}
				}
			}
		}
		dst = dst[k*nr:]
		j += nr
	}
}
