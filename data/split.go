package data

import (
	"fmt"
	"math"
	"slices"
)

// subset is some of a set's images.
type subset struct {
	Dataset
	indices []int
}

// Subset is the images of ds with these indices, in this order; an index may
// come more than once. It keeps a copy of indices. It panics if one is not in
// [0, ds.Len()).
func Subset(ds Dataset, indices []int) Dataset {
	for at, i := range indices {
		if i < 0 || i >= ds.Len() {
			panic(fmt.Sprintf("data.Subset: index %d (at %d) of a set of %d images", i, at, ds.Len()))
		}
	}
	return &subset{ds, slices.Clone(indices)}
}

func (s *subset) Len() int                   { return len(s.indices) }
func (s *subset) Label(i int) int            { return s.Dataset.Label(s.indices[i]) }
func (s *subset) Image(i int) (Image, error) { return s.Dataset.Image(s.indices[i]) }
func (s *subset) Name(i int) string          { return s.Dataset.Name(s.indices[i]) }

// HoldOut parts ds in two, class by class: of a class of n images,
// round(fraction·n) are held, but at least one and at most n-1; a class of one
// image stays whole in rest. Which ones depends only on seed and the labels.
// Both sides keep the order of ds. It panics unless 0 < fraction < 1.
func HoldOut(ds Dataset, fraction float64, seed uint64) (rest, held Dataset) {
	if !(fraction > 0 && fraction < 1) {
		panic(fmt.Sprintf("data.HoldOut: fraction %v: must be between 0 and 1", fraction))
	}
	some, others := pick(ds, seed, func(n int) int {
		if n < 2 {
			return 0
		}
		return min(max(int(math.Round(fraction*float64(n))), 1), n-1)
	})
	return others, some
}
