package eval

import (
	"context"
	"math"

	"selfcon/engine"
	"selfcon/graph"
)

// KNNConfig says how the nearest neighbours vote (Wu et al. 2018, "Unsupervised
// Feature Learning via Non-Parametric Instance Discrimination", section 3.4):
// each of the K training images of the highest cosine similarity s gives its
// class exp(s/Temperature).
type KNNConfig struct {
	K           int     `json:"k"` // at most all training images
	Temperature float64 `json:"temperature"`
}

// DefaultKNN is 200 neighbours and a temperature of 0.1.
func DefaultKNN() KNNConfig { return KNNConfig{K: 200, Temperature: 0.1} }

// Validate says which setting can't be used, if any; the error is a *SettingError.
func (c KNNConfig) Validate() error {
	switch {
	case c.K < 1:
		return bad("k", "%d is out of range: must be at least 1 nearest neighbour", c.K)
	case !(c.Temperature > 0) || math.IsInf(c.Temperature, 0):
		return bad("temperature", "%g is out of range: must be greater than 0 and finite", c.Temperature)
	}
	return nil
}

// The similarities are computed in blocks of so many rows, which bounds the
// memory: 2 MB of similarities whatever the number of images.
const (
	knnQueries = 256
	knnKeys    = 2048
)

// KNN judges the frozen features of every exit by their nearest neighbours among
// the training features; nothing is trained or chosen. The ensemble's mean is
// always that of the probabilities, the shares of the votes: a class without a
// vote has no logit. A feature vector of length 0 has similarity 0 to all. Of
// equally similar images the earlier ones are the neighbours. progress, which
// may be nil, is told after each block of test images of an exit.
func KNN(ctx context.Context, e engine.Engine, train, test *Features, classes int, c KNNConfig, ensemble Ensemble, progress func(done, total int)) (Table, error) {
	if classes < 2 {
		return nil, errClasses
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := sameNetwork(classes, set{train, "training"}, set{test, "test"}); err != nil {
		return nil, err
	}
	ensemble.Mean = MeanOfProbabilities
	j, err := newJudge(test.Names, classes, ensemble)
	if err != nil {
		return nil, err
	}
	var searches []*search
	for i, d := range test.Dims {
		s, err := newSearch(e, train.X[i], d)
		if err != nil {
			return nil, err
		}
		searches = append(searches, s)
	}
	n := len(test.Labels)
	done := 0
	for at := 0; at < n; at += knnQueries {
		end := min(at+knnQueries, n)
		all := make([][]float32, len(searches))
		for i, s := range searches {
			found, err := s.nearest(ctx, test.X[i][at*s.dim:end*s.dim], c.K)
			if err != nil {
				return nil, err
			}
			for _, neighbours := range found {
				all[i] = append(all[i], votes(neighbours, train.Labels, classes, c.Temperature)...)
			}
			done += end - at
			if progress != nil {
				progress(done, n*len(searches))
			}
		}
		if err := j.add(all, test.Labels[at:end]); err != nil {
			return nil, err
		}
	}
	return j.table(), nil
}

// votes are the logarithms of the classes' shares of the votes; −∞ without one.
func votes(neighbours []neighbour, labels []int32, classes int, temperature float64) []float32 {
	top := neighbours[0].similarity
	for _, x := range neighbours {
		top = max(top, x.similarity)
	}
	share, sum := make([]float64, classes), 0.0
	for _, x := range neighbours {
		v := math.Exp(float64(x.similarity-top) / temperature)
		share[labels[x.index]] += v
		sum += v
	}
	out := make([]float32, classes)
	for i, v := range share {
		out[i] = float32(math.Log(v / sum))
	}
	return out
}

// neighbour is a training image and its cosine similarity.
type neighbour struct {
	index      int
	similarity float32
}

// search finds the training features that are most similar to others.
type search struct {
	executable    engine.Executable // similarities of knnQueries × knnKeys rows
	keys          []float32         // as they are
	dim           int
	queries, tile []float32 // of length 1, as the executable takes them
	zero          []float32
}

func newSearch(e engine.Engine, keys []float32, dim int) (*search, error) {
	g := graph.New()
	q, k := g.Input("queries", graph.Float, knnQueries, dim), g.Input("keys", graph.Float, knnKeys, dim)
	g.Output("similarities", g.Linear("similarities", q, k, g.Input("zero", graph.Float, knnKeys)))
	p, err := g.Build()
	if err != nil {
		return nil, err
	}
	x, err := e.Compile(p)
	if err != nil {
		return nil, err
	}
	return &search{x, keys, dim, make([]float32, knnQueries*dim), make([]float32, knnKeys*dim), make([]float32, knnKeys)}, nil
}

// nearest finds the min(k, all) keys most similar to each query, at most
// knnQueries rows.
func (s *search) nearest(ctx context.Context, queries []float32, k int) ([][]neighbour, error) {
	n := len(s.keys) / s.dim
	rows := len(queries) / s.dim
	unit(s.queries, queries, s.dim)
	best := make([]nearest, rows)
	for i := range best {
		best[i].k = min(k, n)
	}
	for at := 0; at < n; at += knnKeys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		end := min(at+knnKeys, n)
		unit(s.tile, s.keys[at*s.dim:end*s.dim], s.dim)
		out, err := s.executable.Run(map[string]engine.Tensor{
			"queries": engine.Float32(s.queries, knnQueries, s.dim),
			"keys":    engine.Float32(s.tile, knnKeys, s.dim),
			"zero":    engine.Float32(s.zero, knnKeys),
		})
		if err != nil {
			return nil, err
		}
		similarities := out["similarities"].Float32s()
		for i := range best {
			for j, v := range similarities[i*knnKeys : i*knnKeys+end-at] {
				best[i].offer(neighbour{at + j, v})
			}
		}
	}
	found := make([][]neighbour, rows)
	for i := range best {
		found[i] = best[i].heap
	}
	return found, nil
}

// unit copies rows, scaled to length 1; rows of length 0, and what is left of
// dst, are 0.
func unit(dst, src []float32, dim int) {
	clear(dst[len(src):])
	for at := 0; at < len(src); at += dim {
		row, sum := src[at:at+dim], 0.0
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		scale := 0.0
		if sum > 0 {
			scale = 1 / math.Sqrt(sum)
		}
		for d, v := range row {
			dst[at+d] = float32(float64(v) * scale)
		}
	}
}

// nearest keeps the k most similar of the neighbours offered in the order of
// their indices, in a heap with the least similar, of equals the last, on top.
type nearest struct {
	k    int
	heap []neighbour
}

func (h *nearest) offer(x neighbour) {
	if len(h.heap) < h.k {
		h.heap = append(h.heap, x)
		for i := len(h.heap) - 1; i > 0 && h.farther(i, (i-1)/2); i = (i - 1) / 2 {
			h.heap[i], h.heap[(i-1)/2] = h.heap[(i-1)/2], h.heap[i]
		}
		return
	}
	if x.similarity <= h.heap[0].similarity {
		return
	}
	h.heap[0] = x
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < len(h.heap) && h.farther(child+1, child) {
			child++
		}
		if child >= len(h.heap) || !h.farther(child, i) {
			return
		}
		h.heap[i], h.heap[child] = h.heap[child], h.heap[i]
		i = child
	}
}

func (h *nearest) farther(i, j int) bool {
	a, b := h.heap[i], h.heap[j]
	return a.similarity < b.similarity || a.similarity == b.similarity && a.index > b.index
}
