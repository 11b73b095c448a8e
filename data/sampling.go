package data

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// Fraction is a part of ds, class by class: of a class of n images
// round(fraction·n), but at least one. Which ones depends only on seed and the
// labels, and those of a smaller fraction are among those of a larger one. It
// panics unless 0 < fraction ≤ 1.
func Fraction(ds Dataset, fraction float64, seed uint64) Dataset {
	if !(fraction > 0 && fraction <= 1) {
		panic(fmt.Sprintf("data.Fraction: fraction %v: must be greater than 0 and at most 1", fraction))
	}
	some, _ := pick(ds, seed, func(n int) int { return max(int(math.Round(fraction*float64(n))), 1) })
	return some
}

// PerClass is count images of every class of ds, or all of a class that has
// fewer; otherwise as Fraction. It panics if count is less than 1.
func PerClass(ds Dataset, count int, seed uint64) Dataset {
	if count < 1 {
		panic(fmt.Sprintf("data.PerClass: %d images: must be at least 1", count))
	}
	some, _ := pick(ds, seed, func(n int) int { return min(count, n) })
	return some
}

// pick parts ds in two, class by class: some has count(n) images of a class of
// n, drawn by seed, rest the others. Both keep the order of ds.
func pick(ds Dataset, seed uint64, count func(n int) int) (some, rest *subset) {
	picked := make([]bool, ds.Len())
	for class, members := range byClass(ds) {
		if len(members) == 0 {
			continue
		}
		r := rand.New(rand.NewPCG(seed, uint64(class)))
		r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		for _, i := range members[:count(len(members))] {
			picked[i] = true
		}
	}
	some, rest = &subset{Dataset: ds}, &subset{Dataset: ds}
	for i, p := range picked {
		if p {
			some.indices = append(some.indices, i)
		} else {
			rest.indices = append(rest.indices, i)
		}
	}
	return some, rest
}

// byClass lists the images of every class.
func byClass(ds Dataset) [][]int {
	out := make([][]int, len(ds.Classes()))
	for i := range ds.Len() {
		out[ds.Label(i)] = append(out[ds.Label(i)], i)
	}
	return out
}

// ClassWeights give every class the same chance in LoaderConfig.Weights: each
// image one over the size of its class.
func ClassWeights(ds Dataset) []float64 {
	classes := byClass(ds)
	w := make([]float64, ds.Len())
	for _, members := range classes {
		for _, i := range members {
			w[i] = 1 / float64(len(members))
		}
	}
	return w
}

// BalancedImages is the least number k ≥ 2 of images of a class for batches of
// as many images as given in m = batch/k classes, or an error if there is none.
func BalancedImages(ds Dataset, batch int) (int, error) {
	classes := 0
	for _, members := range byClass(ds) {
		if len(members) > 0 {
			classes++
		}
	}
	for k := 2; k <= batch; k++ {
		if batch%k == 0 && batch/k <= classes {
			return k, nil
		}
	}
	return 0, fmt.Errorf("a batch of %d images can't be parted evenly into at most %d classes with at least 2 images each", batch, classes)
}

// checkSampling says what is wrong with a loader's sampling.
func checkSampling(c LoaderConfig) error {
	switch {
	case c.Balanced == 0 && c.Weights == nil:
		return nil
	case c.Balanced != 0 && c.Weights != nil:
		return fmt.Errorf("data loader: balanced batches and weights: choose one")
	case !c.Shuffle:
		return fmt.Errorf("data loader: balanced or weighted sampling is random, and Shuffle is off")
	}
	if c.Weights != nil {
		if len(c.Weights) != c.Dataset.Len() {
			return fmt.Errorf("data loader: %d weights for %d images: must be one an image", len(c.Weights), c.Dataset.Len())
		}
		sum := 0.0
		for i, w := range c.Weights {
			if !(w >= 0) || math.IsInf(w, 0) {
				return fmt.Errorf("data loader: weight %v of image %d: must be at least 0 and finite", w, i)
			}
			sum += w
		}
		if !(sum > 0) || math.IsInf(sum, 0) {
			return fmt.Errorf("data loader: the weights sum up to %v: must be positive and finite", sum)
		}
		return nil
	}
	if c.Balanced < 2 || c.Batch%c.Balanced != 0 {
		return fmt.Errorf("data loader: %d images of a class in a batch of %d: must be at least 2 and divide it", c.Balanced, c.Batch)
	}
	classes := 0
	for _, members := range byClass(c.Dataset) {
		if len(members) > 0 {
			classes++
		}
	}
	if m := c.Batch / c.Balanced; m > classes {
		return fmt.Errorf("data loader: a batch of %d with %d images of a class needs %d classes, and there are %d: take more images of a class or a smaller batch", c.Batch, c.Balanced, m, classes)
	}
	if !c.DropLast {
		return fmt.Errorf("data loader: balanced batches are all full: DropLast must be on")
	}
	return nil
}

// balancedOrder draws batches of m classes with k images each. Classes come
// from a shuffled list, the images of a class from a shuffled list of its own,
// each used up before it is begun again: over time all classes come equally
// often, and in a class all images. A class of fewer than k images has some twice
// in a batch.
func balancedOrder(ds Dataset, batches, m, k int, r *rand.Rand) []int {
	members := byClass(ds)
	var classes []int
	for c, list := range members {
		if len(list) > 0 {
			classes = append(classes, c)
		}
	}
	shuffle := func(s []int) {
		r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	used := make([]int, len(members))
	for _, c := range classes {
		shuffle(members[c])
	}
	// next takes an image of a class.
	next := func(c int) int {
		if used[c] == len(members[c]) {
			shuffle(members[c])
			used[c] = 0
		}
		used[c]++
		return members[c][used[c]-1]
	}
	shuffle(classes)
	order := make([]int, 0, batches*m*k)
	at := 0
	for range batches {
		now := classes[at:min(at+m, len(classes))]
		at += len(now)
		if more := m - len(now); more > 0 {
			// A new round begins within the batch, with classes that the batch hasn't yet.
			left := slices.Clone(now)
			fresh := slices.Clone(classes[:len(classes)-len(left)])
			shuffle(fresh)
			later := slices.Concat(fresh[more:], left)
			shuffle(later)
			classes = slices.Concat(fresh[:more], later)
			now = append(left, classes[:more]...)
			at = more
		}
		batch := len(order)
		for _, c := range now {
			for range k {
				order = append(order, next(c))
			}
		}
		shuffle(order[batch:])
	}
	return order
}

// weightedOrder draws n images, each time image i with a probability
// proportional to weights[i].
func weightedOrder(weights []float64, n int, r *rand.Rand) []int {
	upTo := make([]float64, len(weights))
	sum := 0.0
	for i, w := range weights {
		sum += w
		upTo[i] = sum
	}
	order := make([]int, n)
	for k := range order {
		x := r.Float64() * sum
		i := sort.Search(len(upTo), func(i int) bool { return upTo[i] > x })
		for i == len(upTo) || weights[i] == 0 { // rounding at the end
			i--
		}
		order[k] = i
	}
	return order
}

// repeats is, for every place in an order of images below n, how often its image
// has come before.
func repeats(order []int, n int) []int32 {
	seen := make([]int32, n)
	out := make([]int32, len(order))
	for k, i := range order {
		out[k] = seen[i]
		seen[i]++
	}
	return out
}
