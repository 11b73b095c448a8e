package cpu

// span is positions in a row whose windows have the same taps inside the image:
// all of them, or at the border fewer or none.
type span struct {
	first, count int // positions
	tap, taps    int
	at           int // the pixel under the first position's first tap
}

// spans cuts positions, of windows of k pixels at every stride-th pixel of size,
// the first at -pad, into spans.
func spans(positions, k, stride, pad, size int) []span {
	var all []span
	for o := range positions {
		at := o*stride - pad
		tap := max(0, -at)
		s := span{o, 1, tap, min(k, size-at) - tap, at + tap}
		if s.taps <= 0 {
			s = span{first: o, count: 1}
		}
		if n := len(all); n > 0 && all[n-1].tap == s.tap && all[n-1].taps == s.taps {
			all[n-1].count++
			continue
		}
		all = append(all, s)
	}
	return all
}

// rowSpans is for each position the span of that position alone.
func rowSpans(positions, k, stride, pad, size int) []span {
	rows := make([]span, 0, positions)
	for _, s := range spans(positions, k, stride, pad, size) {
		for i := range s.count {
			rows = append(rows, span{s.first + i, 1, s.tap, s.taps, s.at + i*stride})
		}
	}
	return rows
}

// blockRows is how many rows of width floats a task takes: some hundred
// kilobytes.
func blockRows(width int) int { return max(1, 32768/width) }
