package cpu

import (
	"math"
	"slices"

	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// The contrastive loss works on tiles of the similarity matrix: contrastRows
// anchors by contrastCols contrasts, made by a matrix product, used and
// forgotten. A block of rows is one task and takes its tiles in order.
const contrastRows, contrastCols = 28, 256

var ones = slices.Repeat([]float32{1}, contrastCols)

// table is what Contrast and its derivative know of the rows before they start.
type table struct {
	op        graph.Contrast
	z, packed []float32
	rows, d   int
	images    int
	keys      []int32   // of label or image; nil for SharedLabels
	total     []float64 // of a row's positives' weights
	anchors   int       // with a positive
	isAnchor  []bool
	shared    *table // SharedLabels: the images' label vectors, a row of the table each; their products are the weights
}

func (c *compiler) table(s *plan.Step, op graph.Contrast) *table {
	t := &table{op: op, rows: s.In[0].Shape[0], d: s.In[0].Shape[1], images: s.In[1].Shape[0]}
	t.isAnchor, t.total = make([]bool, t.rows), make([]float64, t.rows)
	for r := range t.isAnchor {
		_, _, exit := op.Row(r, t.images)
		t.isAnchor[r] = op.Anchors[exit]
	}
	if op.Positives == graph.SharedLabels {
		t.shared = &table{rows: t.rows, d: s.In[1].Shape[1], images: t.images}
	}
	return t
}

// temps are the sizes of the memory that place gives the table.
func (c *compiler) tableTemps(t *table) []int {
	packed := func(t *table) int {
		return (t.rows + contrastCols - 1) / contrastCols * c.set.PackedLen(t.d, contrastCols)
	}
	if t.shared == nil {
		return []int{packed(t)}
	}
	return []int{packed(t), packed(t.shared), t.rows * t.shared.d}
}

// scratch is a tile, another for weights and a row.
func (t *table) scratch() int {
	n := (contrastRows + 1) * contrastCols
	if t.shared != nil {
		n += contrastRows * contrastCols
	}
	return n
}

func (t *table) place(z []float32, temps [][]float32) {
	t.z, t.packed = z, temps[0]
	if t.shared != nil {
		t.shared.packed, t.shared.z = temps[1], temps[2]
	}
}

// filler counts positives and packs zᵀ.
func (c *compiler) filler(t *table, hard []int32, vectors []float32) func() {
	if t.shared == nil {
		return func() {
			var positives []int
			t.keys, positives, t.anchors = t.op.Keys(hard)
			for r, n := range positives {
				t.total[r] = float64(n)
			}
			c.pack(t)
		}
	}
	// The weights of an image with the others add up without cancelling; its own
	// other rows come on top.
	y := t.shared
	others, own := make([]float64, t.images), make([]float64, t.images)
	body := func(worker, i int) {
		r0 := i * contrastRows
		r1 := min(t.images, r0+contrastRows)
		tile := c.pool.scratch[worker][:contrastRows*contrastCols]
		clear(others[r0:r1])
		for q0 := 0; q0 < t.images; q0 += contrastCols {
			q1 := min(t.rows, q0+contrastCols)
			c.similarities(y, tile, r0, r1, q0, q1)
			for r := r0; r < r1; r++ {
				for j, w := range tile[(r-r0)*contrastCols:][:min(q1, t.images)-q0] {
					if q0+j == r {
						own[r] = float64(w)
					} else {
						others[r] += float64(w)
					}
				}
			}
		}
	}
	tasks := (t.images + contrastRows - 1) / contrastRows
	return func() {
		for at := 0; at < len(y.z); at += len(vectors) {
			copy(y.z[at:], vectors)
		}
		c.pack(t)
		c.pack(y)
		c.pool.run(tasks, body)
		t.anchors = 0
		copies := float64(t.rows / t.images)
		for r := range t.total {
			t.total[r] = copies*others[r%t.images] + (copies-1)*own[r%t.images]
			if t.isAnchor[r] && t.total[r] > 0 {
				t.anchors++
			}
		}
	}
}

func (c *compiler) pack(t *table) {
	size := c.set.PackedLen(t.d, contrastCols)
	for q := 0; q < t.rows; q += contrastCols {
		c.set.PackBTrans(t.packed[q/contrastCols*size:], t.d, min(contrastCols, t.rows-q), t.z[q*t.d:], t.d)
	}
}

// similarities computes rows [r0, r1) by columns [q0, q1) of z·zᵀ.
func (c *compiler) similarities(t *table, s []float32, r0, r1, q0, q1 int) {
	size := c.set.PackedLen(t.d, contrastCols)
	c.set.GemmPacked(r1-r0, q1-q0, t.d, t.z[r0*t.d:], t.d, 1, t.packed[q0/contrastCols*size:], s, contrastCols, false)
}

func (c *compiler) contrast(s *plan.Step, op graph.Contrast) work {
	t := c.table(s, op)
	terms := make([]float64, t.rows)
	pool, invT := c.pool, float32(1/op.Temperature)
	tasks := (t.rows + contrastRows - 1) / contrastRows
	return work{
		temps:   c.tableTemps(t),
		scratch: t.scratch(),
		flops:   2 * float64(t.rows) * float64(t.rows) * float64(t.d),
		build: func(temps [][]float32) func() {
			loss, lse := c.f(s.Out[0]), c.f(s.Out[1])
			t.place(c.f(s.In[0]), temps)
			fill := c.filler(t, c.ints[s.In[1]], c.floats[s.In[1]])
			body := func(worker, i int) {
				r0 := i * contrastRows
				r1 := min(t.rows, r0+contrastRows)
				tile := pool.scratch[worker][:contrastRows*contrastCols]
				weights := pool.scratch[worker][contrastRows*contrastCols:]
				var top [contrastRows]float32
				var sum, pos [contrastRows]float64
				for r := range top {
					top[r] = float32(math.Inf(-1))
				}
				for q0 := 0; q0 < t.rows; q0 += contrastCols {
					q1 := min(t.rows, q0+contrastCols)
					c.similarities(t, tile, r0, r1, q0, q1)
					if t.shared != nil {
						c.similarities(t.shared, weights, r0, r1, q0, q1)
					}
					for r := r0; r < r1; r++ {
						if !t.isAnchor[r] {
							continue
						}
						k, row := r-r0, tile[(r-r0)*contrastCols:][:q1-q0]
						highest := top[k]
						c.set.Scale(row, row, invT)
						if r >= q0 && r < q1 {
							row[r-q0] = float32(math.Inf(-1)) // not its own contrast
						}
						for _, v := range row {
							if v > highest { // a NaN shows in the sum
								highest = v
							}
						}
						if t.shared != nil {
							for j, w := range weights[(r-r0)*contrastCols:][:q1-q0] {
								if q0+j != r {
									pos[k] += float64(w) * float64(row[j])
								}
							}
						} else {
							key := t.keys[r]
							for j, other := range t.keys[q0:q1] {
								if other == key && q0+j != r {
									pos[k] += float64(row[j])
								}
							}
						}
						if highest > top[k] {
							sum[k] *= math.Exp(float64(top[k]) - float64(highest))
							top[k] = highest
						}
						c.set.ExpSub(row, row, 1, highest)
						sum[k] += float64(c.set.Dot(row, ones[:len(row)]))
					}
				}
				for r := r0; r < r1; r++ {
					terms[r], lse[r] = 0, 0
					if k := r - r0; t.isAnchor[r] && t.rows > 1 {
						l := float64(top[k]) + math.Log(sum[k])
						lse[r] = float32(l)
						if n := t.total[r]; n > 0 {
							terms[r] = l - pos[k]/n
						}
					}
				}
			}
			return func() {
				fill()
				pool.run(tasks, body)
				total := 0.0
				for _, v := range terms {
					total += v
				}
				loss[0] = 0
				if t.anchors > 0 {
					loss[0] = float32(op.Temperature / op.BaseTemperature * total / float64(t.anchors))
				}
			}
		},
	}
}

func (c *compiler) contrastGrad(s *plan.Step, op graph.ContrastGrad) work {
	t := c.table(s, op.Contrast)
	perPositive := make([]float32, t.rows) // 1/W, 0 for rows without a say
	said := make([]float32, t.rows)        // lse, +Inf for rows without a say
	pool, invT := c.pool, float32(1/op.Contrast.Temperature)
	tasks := (t.rows + contrastRows - 1) / contrastRows
	return work{
		temps:   c.tableTemps(t),
		scratch: t.scratch(),
		flops:   4 * float64(t.rows) * float64(t.rows) * float64(t.d),
		build: func(temps [][]float32) func() {
			lse, dloss, dz := c.f(s.In[2]), c.f(s.In[3]), c.f(s.Out[0])
			t.place(c.f(s.In[0]), temps)
			fill := c.filler(t, c.ints[s.In[1]], c.floats[s.In[1]])
			body := func(worker, i int) {
				r0 := i * contrastRows
				r1 := min(t.rows, r0+contrastRows)
				tile := pool.scratch[worker][:contrastRows*contrastCols]
				weights := pool.scratch[worker][contrastRows*contrastCols:]
				buffer := weights[t.scratch()-(contrastRows+1)*contrastCols:][:contrastCols]
				for q0 := 0; q0 < t.rows; q0 += contrastCols {
					q1 := min(t.rows, q0+contrastCols)
					c.similarities(t, tile, r0, r1, q0, q1)
					if t.shared != nil {
						c.similarities(t.shared, weights, r0, r1, q0, q1)
					}
					for r := r0; r < r1; r++ {
						row := tile[(r-r0)*contrastCols:][:q1-q0]
						own, ownLSE := perPositive[r], said[r]
						other, otherLSE := perPositive[q0:q1], said[q0:q1]
						c.set.ExpSub(buffer[:len(row)], row, invT, ownLSE)
						c.set.ExpAdd(row, row, otherLSE, buffer[:len(row)], invT)
						if t.shared != nil {
							for j, w := range weights[(r-r0)*contrastCols:][:q1-q0] {
								row[j] -= w * (own + other[j])
							}
						} else {
							key := t.keys[r]
							for j, k := range t.keys[q0:q1] {
								if k == key {
									row[j] -= own + other[j]
								}
							}
						}
						if r >= q0 && r < q1 {
							row[r-q0] = 0
						}
					}
					c.set.Gemm(r1-r0, t.d, q1-q0, tile, contrastCols, 1, t.z[q0*t.d:], t.d, dz[r0*t.d:], t.d, q0 > 0)
				}
				scale := float32(float64(dloss[0]) / op.Contrast.BaseTemperature / float64(max(1, t.anchors)))
				c.set.Scale(dz[r0*t.d:r1*t.d], dz[r0*t.d:r1*t.d], scale)
			}
			return func() {
				fill()
				for r, n := range t.total {
					perPositive[r], said[r] = 0, float32(math.Inf(1))
					if t.isAnchor[r] && n > 0 {
						perPositive[r], said[r] = float32(1/n), lse[r]
					}
				}
				pool.run(tasks, body)
			}
		},
	}
}
