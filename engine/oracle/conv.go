package oracle

import (
	"math"

	"gonum.org/v1/gonum/blas"

	"selfcon/graph"
)

func convolution(n *graph.Node) kernel {
	switch o := n.Op.(type) {
	case graph.Conv2D:
		s := newConv(o, n.In[0].Shape, n.In[1].Shape, n.Out[0].Shape)
		return func(in []tensor) ([]tensor, error) { return floats(s.forward(in[0].f, in[1].f)), nil }
	case graph.Conv2DGradInput:
		s := newConv(o.Conv, o.Input, n.In[1].Shape, n.In[0].Shape)
		return func(in []tensor) ([]tensor, error) { return floats(s.gradInput(in[0].f, in[1].f)), nil }
	case graph.Conv2DGradWeight:
		s := newConv(o.Conv, n.In[0].Shape, o.Kernel, n.In[1].Shape)
		return func(in []tensor) ([]tensor, error) { return floats(s.gradWeight(in[0].f, in[1].f)), nil }
	case graph.MaxPool2D:
		return func(in []tensor) ([]tensor, error) {
			out := make([]float64, n.Out[0].Shape.Size())
			maxPool(o, n.In[0].Shape, n.Out[0].Shape, in[0].f, func(y, largest int) { out[y] = in[0].f[largest] })
			return floats(out), nil
		}
	case graph.MaxPool2DGrad:
		return func(in []tensor) ([]tensor, error) {
			dx := make([]float64, len(in[0].f))
			maxPool(o.Pool, n.In[0].Shape, n.In[1].Shape, in[0].f, func(y, largest int) { dx[largest] += in[1].f[y] })
			return floats(dx), nil
		}
	case graph.GlobalAvgPool:
		x := n.In[0].Shape
		pixels, channels := x[1]*x[2], x[3]
		return func(in []tensor) ([]tensor, error) {
			out := make([]float64, x[0]*channels)
			for i, v := range in[0].f {
				out[i/(pixels*channels)*channels+i%channels] += v / float64(pixels)
			}
			return floats(out), nil
		}
	case graph.GlobalAvgPoolGrad:
		pixels, channels := o.Height*o.Width, n.In[0].Shape[1]
		return func(in []tensor) ([]tensor, error) {
			dx := make([]float64, n.Out[0].Shape.Size())
			for i := range dx {
				dx[i] = in[0].f[i/(pixels*channels)*channels+i%channels] / float64(pixels)
			}
			return floats(dx), nil
		}
	}
	return nil
}

// conv is a convolution of known shapes. It is computed as a product: a row of
// columns for every pixel of the output holds, in the order [ky][kx][i], the
// part of the image (of one group's channels) that its window covers.
type conv struct {
	graph.Conv2D
	images, h, w, c int // x
	oh, ow, o       int // y
	i, kh, kw       int // the kernel, with o
	pixels, window  int // the sizes of the columns: oh·ow rows of kh·kw·i
}

func newConv(op graph.Conv2D, x, w, y graph.Shape) conv {
	return conv{op, x[0], x[1], x[2], x[3], y[1], y[2], y[3], w[1], w[2], w[3], y[1] * y[2], w[1] * w[2] * w[3]}
}

// y = columns(x)·wᵀ
func (s conv) forward(x, w []float64) []float64 {
	y := make([]float64, s.images*s.pixels*s.o)
	kernel := s.packKernel(w)
	perGroup := s.o / s.Groups
	parallel(s.images, func(n int) {
		cols := make([]float64, s.pixels*s.window)
		for g := range s.Groups {
			s.columns(n, g, func(col, pixel int) { copy(cols[col:col+s.i], x[pixel:]) })
			gemm(blas.NoTrans, blas.Trans, s.pixels, perGroup, s.window,
				cols, s.window, kernel[g*perGroup*s.window:], s.window, y[n*s.pixels*s.o+g*perGroup:], s.o)
		}
	})
	return y
}

// columns(dx) = dy·w, pixels that several windows cover summed.
func (s conv) gradInput(dy, w []float64) []float64 {
	dx := make([]float64, s.images*s.h*s.w*s.c)
	kernel := s.packKernel(w)
	perGroup := s.o / s.Groups
	parallel(s.images, func(n int) {
		for g := range s.Groups {
			cols := make([]float64, s.pixels*s.window)
			gemm(blas.NoTrans, blas.NoTrans, s.pixels, s.window, perGroup,
				dy[n*s.pixels*s.o+g*perGroup:], s.o, kernel[g*perGroup*s.window:], s.window, cols, s.window)
			s.columns(n, g, func(col, pixel int) {
				for i, v := range cols[col : col+s.i] {
					dx[pixel+i] += v
				}
			})
		}
	})
	return dx
}

// dw = dyᵀ·columns(x), summed over the images: by parts of the batch, then over
// the parts, so that the order of the sum is fixed.
func (s conv) gradWeight(x, dy []float64) []float64 {
	perGroup := s.o / s.Groups
	parts := make([][]float64, min(s.images, 4))
	parallel(len(parts), func(p int) {
		part := make([]float64, s.o*s.window)
		cols := make([]float64, s.pixels*s.window)
		for n := p * s.images / len(parts); n < (p+1)*s.images/len(parts); n++ {
			for g := range s.Groups {
				s.columns(n, g, func(col, pixel int) { copy(cols[col:col+s.i], x[pixel:]) })
				gemm(blas.Trans, blas.NoTrans, perGroup, s.window, s.pixels,
					dy[n*s.pixels*s.o+g*perGroup:], s.o, cols, s.window, part[g*perGroup*s.window:], s.window)
			}
		}
		parts[p] = part
	})
	dw := make([]float64, s.o*s.window)
	for _, part := range parts {
		s.kernelOrder(func(oihw, packed int) { dw[oihw] += part[packed] })
	}
	return dw
}

// columns visits the pixels that group g's windows cover in image n: the i
// elements from col of the columns are those from pixel of the images. Pixels
// outside are not visited (and stay 0 in the columns).
func (s conv) columns(n, g int, visit func(col, pixel int)) {
	for oy := range s.oh {
		for ox := range s.ow {
			for ky := range s.kh {
				for kx := range s.kw {
					y, x := oy*s.Stride-s.Pad+ky, ox*s.Stride-s.Pad+kx
					if y < 0 || y >= s.h || x < 0 || x >= s.w {
						continue
					}
					col := (oy*s.ow+ox)*s.window + (ky*s.kw+kx)*s.i
					pixel := ((n*s.h+y)*s.w+x)*s.c + g*s.i
					visit(col, pixel)
				}
			}
		}
	}
}

// packKernel turns [o][i][ky][kx] into [o][ky][kx][i].
func (s conv) packKernel(w []float64) []float64 {
	out := make([]float64, len(w))
	s.kernelOrder(func(oihw, packed int) { out[packed] = w[oihw] })
	return out
}

func (s conv) kernelOrder(visit func(oihw, packed int)) {
	area := s.kh * s.kw
	for o := range s.o {
		for i := range s.i {
			for k := range area {
				visit((o*s.i+i)*area+k, (o*area+k)*s.i+i)
			}
		}
	}
}

// maxPool visits every element of the output y with the element of x that is
// the largest of its window.
func maxPool(o graph.MaxPool2D, x, y graph.Shape, data []float64, visit func(y, largest int)) {
	h, w, c := x[1], x[2], x[3]
	for n := range y[0] {
		for oy := range y[1] {
			for ox := range y[2] {
				for ch := range c {
					best, largest := math.Inf(-1), -1
					for iy := max(0, oy*o.Stride-o.Pad); iy < min(h, oy*o.Stride-o.Pad+o.Size); iy++ {
						for ix := max(0, ox*o.Stride-o.Pad); ix < min(w, ox*o.Stride-o.Pad+o.Size); ix++ {
							at := ((n*h+iy)*w+ix)*c + ch
							if v := data[at]; largest < 0 || v > best || math.IsNaN(v) {
								best, largest = v, at
							}
						}
					}
					visit(((n*y[1]+oy)*y[2]+ox)*c+ch, largest)
				}
			}
		}
	}
}
