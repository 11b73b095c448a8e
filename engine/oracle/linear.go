package oracle

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"

	"selfcon/graph"
)

func linear(n *graph.Node) kernel {
	switch o := n.Op.(type) {
	case graph.MatMul:
		a, b := n.In[0].Shape, n.In[1].Shape
		rows, cols := n.Out[0].Shape[0], n.Out[0].Shape[1]
		ta, tb, inner := blas.NoTrans, blas.NoTrans, a[1]
		if o.TransA {
			ta, inner = blas.Trans, a[0]
		}
		if o.TransB {
			tb = blas.Trans
		}
		return func(in []tensor) ([]tensor, error) {
			out := make([]float64, rows*cols)
			gemm(ta, tb, rows, cols, inner, in[0].f, a[1], in[1].f, b[1], out, cols)
			return floats(out), nil
		}
	case graph.AddBias:
		return func(in []tensor) ([]tensor, error) {
			out := make([]float64, len(in[0].f))
			for i, x := range in[0].f {
				out[i] = x + in[1].f[i%len(in[1].f)]
			}
			return floats(out), nil
		}
	case graph.SumRows:
		return func(in []tensor) ([]tensor, error) {
			out := make([]float64, n.Out[0].Shape[0])
			for i, x := range in[0].f {
				out[i%len(out)] += x
			}
			return floats(out), nil
		}
	case graph.SGD:
		return func(in []tensor) ([]tensor, error) {
			p, m := make([]float64, len(in[0].f)), make([]float64, len(in[0].f))
			lr := in[3].f[0]
			for i, old := range in[0].f {
				g := in[1].f[i] + o.WeightDecay*old
				m[i] = o.Momentum*in[2].f[i] + g
				step := m[i]
				if o.Nesterov {
					step = g + o.Momentum*m[i]
				}
				p[i] = old - lr*step
			}
			return []tensor{{f: p}, {f: m}}, nil
		}
	}
	return nil
}

// gemm adds op(a)·op(b), m×k by k×n, to c; each matrix is row-major with a row
// every lda, ldb, ldc elements.
func gemm(ta, tb blas.Transpose, m, n, k int, a []float64, lda int, b []float64, ldb int, c []float64, ldc int) {
	matrix := func(rows, cols int, t blas.Transpose, data []float64, ld int) blas64.General {
		if t == blas.Trans {
			rows, cols = cols, rows
		}
		return blas64.General{Rows: rows, Cols: cols, Data: data, Stride: ld}
	}
	blas64.Gemm(ta, tb, 1, matrix(m, k, ta, a, lda), matrix(k, n, tb, b, ldb), 1, matrix(m, n, blas.NoTrans, c, ldc))
}
