package cpu

import (
	"math"

	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// The contrastive loss works on tiles of the similarity matrix: contrastRows
// anchors by contrastCols contrasts, made by a matrix product, used and
// forgotten. A block of rows is one task and takes its tiles in order.
const contrastRows, contrastCols = 28, 256

// table is what Contrast and its derivative know of the rows before they start.
type table struct {
	op        graph.Contrast
	z, packed []float32
	rows, d   int
	keys      []int32
	positives []int
	anchors   int
	isAnchor  []bool
}

func (c *compiler) packedTable(rows, d int) int {
	return (rows + contrastCols - 1) / contrastCols * c.set.PackedLen(d, contrastCols)
}

// fill counts positives and packs zᵀ.
func (c *compiler) fill(t *table, labels []int32) {
	t.keys, t.positives, t.anchors = t.op.Keys(labels)
	for r := range t.isAnchor {
		_, _, exit := t.op.Row(r, len(labels))
		t.isAnchor[r] = t.op.Anchors[exit]
	}
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
	t := &table{op: op, rows: s.In[0].Shape[0], d: s.In[0].Shape[1]}
	t.isAnchor = make([]bool, t.rows)
	terms := make([]float64, t.rows)
	pool, invT := c.pool, float32(1/op.Temperature)
	tasks := (t.rows + contrastRows - 1) / contrastRows
	return work{
		temps:   []int{c.packedTable(t.rows, t.d)},
		scratch: contrastRows * contrastCols,
		flops:   2 * float64(t.rows) * float64(t.rows) * float64(t.d),
		build: func(temps [][]float32) func() {
			labels, loss, lse := c.ints[s.In[1]], c.f(s.Out[0]), c.f(s.Out[1])
			t.z, t.packed = c.f(s.In[0]), temps[0]
			body := func(worker, i int) {
				r0 := i * contrastRows
				r1 := min(t.rows, r0+contrastRows)
				tile := pool.scratch[worker][:contrastRows*contrastCols]
				var top [contrastRows]float32
				var sum, pos [contrastRows]float64
				for r := range top {
					top[r] = float32(math.Inf(-1))
				}
				for q0 := 0; q0 < t.rows; q0 += contrastCols {
					q1 := min(t.rows, q0+contrastCols)
					c.similarities(t, tile, r0, r1, q0, q1)
					for r := r0; r < r1; r++ {
						if !t.isAnchor[r] {
							continue
						}
						k, row := r-r0, tile[(r-r0)*contrastCols:][:q1-q0]
						highest, key := top[k], t.keys[r]
						for j := range row {
							row[j] *= invT
							if q0+j == r {
								row[j] = float32(math.Inf(-1)) // not its own contrast
								continue
							}
							highest = max(highest, row[j])
							if t.keys[q0+j] == key {
								pos[k] += float64(row[j])
							}
						}
						if highest > top[k] {
							sum[k] *= math.Exp(float64(top[k]) - float64(highest))
							top[k] = highest
						}
						part := float32(0)
						for _, v := range row {
							part += exp(v - highest)
						}
						sum[k] += float64(part)
					}
				}
				for r := r0; r < r1; r++ {
					terms[r], lse[r] = 0, 0
					if k := r - r0; t.isAnchor[r] && t.rows > 1 {
						l := float64(top[k]) + math.Log(sum[k])
						lse[r] = float32(l)
						if n := t.positives[r]; n > 0 {
							terms[r] = l - pos[k]/float64(n)
						}
					}
				}
			}
			return func() {
				c.fill(t, labels)
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
	t := &table{op: op.Contrast, rows: s.In[0].Shape[0], d: s.In[0].Shape[1]}
	t.isAnchor = make([]bool, t.rows)
	perPositive := make([]float32, t.rows) // 1/|P|, 0 for rows without a say
	pool, invT := c.pool, float32(1/op.Contrast.Temperature)
	tasks := (t.rows + contrastRows - 1) / contrastRows
	return work{
		temps:   []int{c.packedTable(t.rows, t.d)},
		scratch: contrastRows * contrastCols,
		flops:   4 * float64(t.rows) * float64(t.rows) * float64(t.d),
		build: func(temps [][]float32) func() {
			labels, lse, dloss, dz := c.ints[s.In[1]], c.f(s.In[2]), c.f(s.In[3]), c.f(s.Out[0])
			t.z, t.packed = c.f(s.In[0]), temps[0]
			body := func(worker, i int) {
				r0 := i * contrastRows
				r1 := min(t.rows, r0+contrastRows)
				tile := pool.scratch[worker][:contrastRows*contrastCols]
				for q0 := 0; q0 < t.rows; q0 += contrastCols {
					q1 := min(t.rows, q0+contrastCols)
					c.similarities(t, tile, r0, r1, q0, q1)
					for r := r0; r < r1; r++ {
						row := tile[(r-r0)*contrastCols:][:q1-q0]
						key, own, ownLSE := t.keys[r], perPositive[r], lse[r]
						keys, other, otherLSE := t.keys[q0:q1], perPositive[q0:q1], lse[q0:q1]
						for j, v := range row {
							v *= invT
							g := float32(0)
							if own > 0 {
								g = exp(v - ownLSE)
							}
							if other[j] > 0 {
								g += exp(v - otherLSE[j])
							}
							if keys[j] == key {
								g -= own + other[j]
							}
							row[j] = g
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
				c.fill(t, labels)
				for r, n := range t.positives {
					perPositive[r] = 0
					if t.isAnchor[r] && n > 0 {
						perPositive[r] = 1 / float32(n)
					}
				}
				pool.run(tasks, body)
			}
		},
	}
}
