package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/graph"
)

// TestMatMulOfFewRows holds products of few rows with a large matrix, which go
// ways of their own, to float64, and their bits to the number of threads.
func TestMatMulOfFewRows(t *testing.T) {
	for _, z := range [][3]int{{1, 512, 300}, {8, 700, 500}, {16, 257, 513}, {32, 1024, 130}} {
		for _, transB := range []bool{false, true} {
			m, k, n := z[0], z[1], z[2]
			g := graph.New()
			shape := []int{k, n}
			if transB {
				shape = []int{n, k}
			}
			a, b := g.Input("a", graph.Float, m, k), g.Input("b", graph.Float, shape...)
			g.Output("y", g.Apply("y", graph.MatMul{TransB: transB}, a, b)[0])
			p, err := g.Build()
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, uint64(m)))
			x, w := make([]float32, m*k), make([]float32, k*n)
			for _, s := range [][]float32{x, w} {
				for i := range s {
					s[i] = float32(r.NormFloat64())
				}
			}
			in := map[string]engine.Tensor{"a": engine.Float32(x, m, k), "b": engine.Float32(w, shape...)}
			for _, set := range kernel.Usable() {
				var first []float32
				for _, threads := range []int{1, 3} {
					exe, err := newEngine(t, cpu.Options{Kernels: set.Name, Threads: threads}).Compile(p)
					if err != nil {
						t.Fatal(err)
					}
					out, err := exe.Run(in)
					if err != nil {
						t.Fatal(err)
					}
					y := append([]float32(nil), out["y"].Data.([]float32)...)
					what := fmt.Sprintf("%s, %d threads, %d×%d×%d, transposed %t", set.Name, threads, m, k, n, transB)
					if first == nil {
						first = y
					}
					for i := range m {
						for j := range n {
							want, size := 0.0, 0.0
							for l := range k {
								at := l*n + j
								if transB {
									at = j*k + l
								}
								v := float64(w[at])
								want += float64(x[i*k+l]) * v
								size += math.Abs(float64(x[i*k+l]) * v)
							}
							got := y[i*n+j]
							if math.Float32bits(got) != math.Float32bits(first[i*n+j]) {
								t.Fatalf("%s: [%d %d] depends on the threads", what, i, j)
							}
							if diff := math.Abs(float64(got) - want); !(diff <= 1e-6*size) {
								t.Fatalf("%s: [%d %d] is %g, want %g", what, i, j, got, want)
							}
						}
					}
				}
			}
		}
	}
}
