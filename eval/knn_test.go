package eval

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"selfcon/engine/oracle"
)

// Three neighbours of four, by hand. The lengths of the features are of no
// consequence.
func TestKNN(t *testing.T) {
	train := &Features{
		Names: []string{"x"}, Dims: []int{2}, Labels: []int32{0, 1, 1, 2},
		X: [][]float32{{3, 0 /**/, 0, 0.1 /**/, 6, 8 /**/, -1, 0}}, // similarities to (1, 0): 1, 0, 0.6, −1
	}
	test := &Features{Names: []string{"x"}, Dims: []int{2}, Labels: []int32{0, 1, 1}, X: [][]float32{{2, 0 /**/, 0, 5 /**/, 0.01, 0}}}
	s, err := newSearch(oracle.New(), train.X[0], 2)
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.nearest(t.Context(), test.X[0], 3)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]float64, 3)
	if err := softmax(p, votes(found[0], train.Labels, 3, 0.5)); err != nil {
		t.Fatal(err)
	}
	e := func(s float64) float64 { return math.Exp(s / 0.5) }
	sum := e(1) + e(0) + e(0.6)
	for i, want := range []float64{e(1) / sum, (e(0) + e(0.6)) / sum, 0} {
		if !near(p[i], want) {
			t.Errorf("class %d has %g of the votes, want %g", i, p[i], want)
		}
	}
	// Image 2 lies where image 0 does and has another label.
	table, err := KNN(t.Context(), oracle.New(), train, test, 3, KNNConfig{3, 0.5}, DefaultEnsemble(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff([][]int{{1, 0, 0}, {1, 1, 0}, {0, 0, 0}}, table[0].Confusion); d != "" || len(table) != 1 {
		t.Error(d, len(table))
	}
	// So many neighbours as there are not: all.
	all, err := KNN(t.Context(), oracle.New(), train, test, 3, DefaultKNN(), DefaultEnsemble(), nil)
	if err != nil || all[0].N != 3 {
		t.Errorf("200 neighbours of 4: %+v, %v", all, err)
	}
}

// More queries and keys than a block has, many of them equally similar, against
// sorting all.
func TestNearest(t *testing.T) {
	const dim, n, k = 3, 2*knnKeys + 77, 20
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []float32 {
		x := make([]float32, n*dim)
		for i := range x {
			x[i] = float32(r.IntN(5) - 2)
		}
		return x
	}
	keys, queries := draw(n), draw(9)
	s, err := newSearch(oracle.New(), keys, dim)
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.nearest(t.Context(), queries, k)
	if err != nil {
		t.Fatal(err)
	}
	q, all := make([]float32, len(queries)), make([]float32, len(keys))
	unit(q, queries, dim)
	unit(all, keys, dim)
	order := func(a, b neighbour) int {
		return cmp.Or(cmp.Compare(b.similarity, a.similarity), cmp.Compare(a.index, b.index))
	}
	for i, got := range found {
		var want []neighbour
		for j := range n {
			sum := 0.0
			for d := range dim {
				sum += float64(q[i*dim+d]) * float64(all[j*dim+d])
			}
			want = append(want, neighbour{j, float32(sum)})
		}
		slices.SortFunc(want, order)
		slices.SortFunc(got, order)
		if !slices.Equal(got, want[:k]) {
			t.Errorf("query %d: %v, want %v", i, got, want[:k])
		}
	}
}

// Two exits and several blocks of queries: separable classes are told apart at
// each exit and by the ensemble.
func TestKNNSeparable(t *testing.T) {
	const n = knnQueries + 30
	train, test := blobs(1, 60, 3, 4, 2, 0.01), blobs(2, n, 3, 4, 2, 0.01)
	var told []int
	table, err := KNN(t.Context(), oracle.New(), train, test, 3, KNNConfig{5, 0.1}, DefaultEnsemble(), func(done, total int) { told = append(told, done, total) })
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"exit 0", "exit 1", "ensemble"} {
		if row := table[i]; row.Name != name || row.Top1 != 1 || row.N != n || !near(row.ECE, 0) {
			t.Errorf("%+v, want %s without error", row, name)
		}
	}
	if d := gocmp.Diff([]int{256, 572, 512, 572, 542, 572, 572, 572}, told); d != "" {
		t.Errorf("progress: %s", d)
	}
}

func TestKNNRefuses(t *testing.T) {
	good := blobs(1, 6, 2, 2, 1, 1)
	nan := blobs(1, 6, 2, 2, 1, 1)
	nan.X[0][3] = float32(math.NaN())
	for _, c := range []struct {
		want        string
		train, test *Features
		classes     int
		c           KNNConfig
	}{
		{"at least 2 classes", good, good, 1, DefaultKNN()},
		{"k: 0 ", good, good, 2, KNNConfig{0, 1}},
		{"temperature: 0 ", good, good, 2, KNNConfig{1, 0}},
		{"temperature: NaN ", good, good, 2, KNNConfig{1, math.NaN()}},
		{"no training features", nil, good, 2, DefaultKNN()},
		{"must have diverged", good, nan, 2, DefaultKNN()},
		{"of one network", good, blobs(1, 6, 2, 3, 1, 1), 2, DefaultKNN()},
	} {
		if _, err := KNN(t.Context(), oracle.New(), c.train, c.test, c.classes, c.c, DefaultEnsemble(), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := KNN(cancelled, oracle.New(), good, good, 2, DefaultKNN(), DefaultEnsemble(), nil); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}
