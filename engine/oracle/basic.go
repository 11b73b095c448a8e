package oracle

import (
	"slices"

	"selfcon/graph"
)

// Operations that move, add or scale numbers.

func basic(n *graph.Node) kernel {
	switch o := n.Op.(type) {
	case graph.Fill:
		return func([]tensor) ([]tensor, error) {
			return floats(slices.Repeat([]float64{o.Value}, o.Shape.Size())), nil
		}
	case graph.Add:
		return elementwise(func(a, b float64) float64 { return a + b })
	case graph.Lerp:
		return elementwise(func(a, b float64) float64 { return (1-o.Weight)*a + o.Weight*o.Factor*b })
	case graph.Scale:
		return each(func(x float64) float64 { return o.Factor * x })
	case graph.Increment:
		return func(in []tensor) ([]tensor, error) {
			out := slices.Clone(in[0].n)
			for i := range out {
				out[i]++
			}
			return []tensor{{n: out}}, nil
		}
	case graph.Reshape:
		return func(in []tensor) ([]tensor, error) { return in[:1:1], nil }
	case graph.Concat:
		return func(in []tensor) ([]tensor, error) {
			var out tensor
			for _, t := range in {
				out.f = append(out.f, t.f...)
				out.n = append(out.n, t.n...)
			}
			return []tensor{out}, nil
		}
	case graph.Slice:
		row := n.Out[0].Shape[1:].Size()
		return func(in []tensor) ([]tensor, error) {
			if in[0].n != nil {
				return []tensor{{n: in[0].n[o.From*row : o.To*row]}}, nil
			}
			return floats(in[0].f[o.From*row : o.To*row]), nil
		}
	case graph.PadRows:
		row := n.Out[0].Shape[1:].Size()
		return func(in []tensor) ([]tensor, error) {
			out := make([]float64, n.Out[0].Shape.Size())
			copy(out[o.Before*row:], in[0].f)
			return floats(out), nil
		}
	}
	return nil
}

func each(f func(x float64) float64) kernel {
	return func(in []tensor) ([]tensor, error) {
		out := make([]float64, len(in[0].f))
		for i, x := range in[0].f {
			out[i] = f(x)
		}
		return floats(out), nil
	}
}

func elementwise(f func(a, b float64) float64) kernel {
	return func(in []tensor) ([]tensor, error) {
		out := make([]float64, len(in[0].f))
		for i, a := range in[0].f {
			out[i] = f(a, in[1].f[i])
		}
		return floats(out), nil
	}
}
