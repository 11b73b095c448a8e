package plan

import (
	"math"
	"slices"
)

// Align is what offsets are multiples of, in elements: 64 bytes.
const Align = 16

// Item is something that needs Size elements of memory from step First to step
// Last, both included.
type Item struct{ Size, First, Last int }

// Assign finds offsets for items such that no two that live at the same time
// overlap, and the size of the arena that holds them all: math.MaxInt, and no
// offsets, where that is more than most. The largest items choose first, or the
// earliest, whichever gives the smaller arena; each takes the smallest gap that it
// fits in.
func Assign(items []Item, most int) (offsets []int, total int) {
	bySize := func(a, b int) int {
		x, y := items[a], items[b]
		if x.Size != y.Size {
			return y.Size - x.Size
		}
		return x.First - y.First
	}
	byFirst := func(a, b int) int {
		x, y := items[a], items[b]
		if x.First != y.First {
			return x.First - y.First
		}
		return y.Size - x.Size
	}
	total = math.MaxInt
	for _, less := range []func(a, b int) int{bySize, byFirst} {
		order := make([]int, len(items))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, less)
		if o, t := place(items, order, min(most, total-1)); o != nil {
			offsets, total = o, t
		}
	}
	return offsets, total
}

// Aligned is the next multiple of Align from n.
func Aligned(n int) int { return (n + Align - 1) / Align * Align }

// place gives the items their offsets in the given order, if they take no more than
// most then.
func place(items []Item, order []int, most int) (offsets []int, total int) {
	offsets = make([]int, len(items))
	type block struct{ from, to, first, last int }
	placed := make([]block, 0, len(items)) // by offset
	for _, i := range order {
		it := items[i]
		if it.Size == 0 {
			continue
		}
		size, at, best, gap := Aligned(it.Size), 0, -1, 0
		for _, b := range placed {
			if b.first > it.Last || it.First > b.last {
				continue
			}
			if free := b.from - at; free >= size && (best < 0 || free < gap) {
				best, gap = at, free
			}
			at = max(at, b.to)
		}
		if best < 0 {
			best = at
		}
		offsets[i] = best
		if total = max(total, best+size); total > most {
			return nil, 0
		}
		k, _ := slices.BinarySearchFunc(placed, best, func(b block, from int) int { return b.from - from })
		placed = slices.Insert(placed, k, block{best, best + size, it.First, it.Last})
	}
	return offsets, total
}
