package plan

import "slices"

// Align is what offsets are multiples of, in elements: 64 bytes.
const Align = 16

// Item is something that needs Size elements of memory from step First to step
// Last, both included.
type Item struct{ Size, First, Last int }

// Assign finds offsets for items such that no two that live at the same time
// overlap, and the size of the arena that holds them all. The largest items
// choose first, or the earliest, whichever gives the smaller arena; each takes
// the smallest gap that it fits in.
func Assign(items []Item) (offsets []int, total int) {
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
	for _, less := range []func(a, b int) int{bySize, byFirst} {
		order := make([]int, len(items))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, less)
		if o, t := place(items, order); offsets == nil || t < total {
			offsets, total = o, t
		}
	}
	return offsets, total
}

// Aligned is the next multiple of Align from n.
func Aligned(n int) int { return (n + Align - 1) / Align * Align }

// place gives the items their offsets in the given order.
func place(items []Item, order []int) (offsets []int, total int) {
	offsets = make([]int, len(items))
	var placed, clash []int // placed: by offset
	for _, i := range order {
		it := items[i]
		if it.Size == 0 {
			continue
		}
		clash = clash[:0]
		for _, j := range placed {
			if items[j].First <= it.Last && it.First <= items[j].Last {
				clash = append(clash, j)
			}
		}
		size, at, best, gap := Aligned(it.Size), 0, -1, 0
		for _, j := range clash {
			if free := offsets[j] - at; free >= size && (best < 0 || free < gap) {
				best, gap = at, free
			}
			at = max(at, offsets[j]+Aligned(items[j].Size))
		}
		if best < 0 {
			best = at
		}
		offsets[i] = best
		total = max(total, best+size)
		k, _ := slices.BinarySearchFunc(placed, best, func(j, off int) int { return offsets[j] - off })
		placed = slices.Insert(placed, k, i)
	}
	return offsets, total
}
