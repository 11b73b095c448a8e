package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"selfcon/engine"
	"selfcon/graph"
)

// Tiles cover each result once and have four rows or columns, or three where they
// must; each frequency's products are those that its tiles need, in every block;
// and tiles of one kind lie row by row.
func TestTiles(t *testing.T) {
	const most = 30
	var sizes []int
	for s := 1; s <= 17; s++ {
		sizes = append(sizes, s)
	}
	sizes = append(sizes, 28, 30, most*tileSide-2)
	for _, h := range sizes {
		for _, w := range sizes {
			for _, n := range []int{1, 3} {
				for _, block := range []int{0, 1, 5, 28} {
					g := newTiles(n, h, w, 6)
					whole := block == 0
					if whole {
						block = max(1, g.count()/3)
					} else {
						block = g.inBands(block)
					}
					checkTiles(t, fmt.Sprintf("%d×%d×%d, blocks of %d, bands %t", n, h, w, block, !whole), g, block)
				}
			}
		}
	}
}

func checkTiles(t *testing.T, what string, g *tiles, block int) {
	filled, cells := make([]int, g.n*g.h*g.w), 0
	sorted, last := g.h%tileSide == 0 && g.w%tileSide == 0, -1
	for i, a := range g.each(0, g.count()) {
		if b := g.at(i); a != b {
			t.Fatalf("%s: tile %d is %+v and %+v", what, i, a, b)
		}
		cells += a.rows * a.width
		if at := (a.im*g.h+a.y)*g.w + a.x; sorted && at <= last {
			t.Fatalf("%s: tile %d, %+v, isn't in order", what, i, a)
		} else {
			last = at
		}
		if _, k := g.run(i, g.count()-i); k < 1 || k > g.longest(g.count()) {
			t.Fatalf("%s: run of %d from tile %d", what, k, i)
		} else if b := g.at(i + k - 1); b != (tile{a.im, a.y, a.x + (k-1)*a.width, a.rows, a.width}) {
			t.Fatalf("%s: run of %d from %+v ends in %+v", what, k, a, b)
		}
	}
	if want := g.n * max(g.h, 3*blocksOf(g.h, 4)) * max(g.w, 3*blocksOf(g.w, 4)); cells != want {
		t.Errorf("%s: tiles of %d results, want %d", what, cells, want)
	}
	products := 0
	for t0 := 0; t0 < g.count(); t0 += block {
		n := min(block, g.count()-t0)
		lo, hi := g.rows(t0, n)
		for _, r := range g.regions(t0, n, 1, g.h, g.w, 0, 1, nil) {
			if r.lo >= r.hi || lo < hi && block == g.size && (r.lo < lo*g.w || r.hi > hi*g.w) {
				t.Errorf("%s: region %+v of rows %d to %d", what, r, lo, hi)
			}
			for i := r.lo; i < r.hi; i++ {
				filled[i]++
			}
		}
		for f := range g.numbers * g.numbers {
			from, count := g.need(f, t0, n)
			for i := t0; i < t0+n; i++ {
				a := g.at(i)
				need := (f/g.numbers < g.numbers-1 || a.rows == tileSide) && (f%g.numbers < g.numbers-1 || a.width == tileSide)
				if need != (i >= from && i < from+count) {
					t.Fatalf("%s: frequency %d needs %d tiles from %d, and %+v: %t", what, f, count, from, a, need)
				}
			}
			products += count
		}
	}
	if want := g.n * g.down.products(g.numbers) * g.across.products(g.numbers); products != want {
		t.Errorf("%s: %d products, want %d", what, products, want)
	}
	if i := slices.IndexFunc(filled, func(n int) bool { return n != 1 }); i >= 0 {
		t.Errorf("%s: result %d is filled %d times", what, i, filled[i])
	}
}

// What is left in memory where products are not needed reaches no result, not
// even what isn't a number.
func TestWinogradScratch(t *testing.T) {
	for _, stride := range []int{1, 2} {
		for _, z := range []struct{ n, h, w, ci, co int }{
			{4, 7, 14, 32, 32}, {2, 13, 6, 48, 64}, {3, 14, 7, 256, 272}, {9, 14, 7, 256, 256}, {20, 5, 10, 128, 128},
		} {
			z.h, z.w = z.h*stride, z.w*stride
			g, op := graph.New(), graph.Conv2D{Stride: stride, Pad: 1, Groups: 1}
			x := g.Input("x", graph.Float, z.n, z.h, z.w, z.ci)
			w := g.Input("w", graph.Float, z.co, z.ci, 3, 3)
			y := g.Conv2D("y", x, w, op)
			g.Output("y", y)
			g.Output("dx", g.Apply("dx", graph.Conv2DGradInput{Conv: op, Input: x.Shape}, y, w)[0])
			g.Output("dw", g.Apply("dw", graph.Conv2DGradWeight{Conv: op, Kernel: w.Shape}, x, y)[0])
			p, err := g.Build()
			if err != nil {
				t.Fatal(err)
			}
			in, none := map[string]engine.Tensor{}, map[string]engine.Tensor{}
			r, nan := rand.New(rand.NewPCG(1, 2)), float32(math.NaN())
			for _, v := range []*graph.Value{x, w} {
				d, e := make([]float32, v.Shape.Size()), make([]float32, v.Shape.Size())
				for i := range d {
					d[i], e[i] = float32(r.NormFloat64()), nan
				}
				in[v.Node.Name], none[v.Node.Name] = engine.Float32(d, v.Shape...), engine.Float32(e, v.Shape...)
			}
			e := onceEngine(t, Options{Threads: 2, Conv: convWinograd})
			exe, err := e.Compile(p)
			if err != nil {
				t.Fatal(err)
			}
			var got [2]map[string][]float64
			for i := range got {
				out, err := exe.Run(in)
				if err != nil {
					t.Fatal(err)
				}
				got[i] = map[string][]float64{}
				for name, v := range out {
					got[i][name] = slices.Clone(v.Float64s())
				}
				exe.Run(none) // leaves nothing but those in the arena
				for _, s := range e.pool.scratch {
					for i := range s {
						s[i] = nan
					}
				}
			}
			for name, want := range got[0] {
				if !slices.Equal(got[1][name], want) {
					t.Errorf("%+v, stride %d: %s depends on what scratch has been left with", z, stride, name)
				}
			}
		}
	}
}
