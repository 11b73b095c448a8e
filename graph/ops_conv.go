package graph

import "fmt"

// Conv2D is the two-dimensional cross-correlation of x [N×H×W×I] with the
// kernel w [O×I/Groups×KH×KW] (torch.nn.functional.conv2d without bias):
//
//	y[n,oy,ox,o] = Σ_{i,ky,kx} x[n, oy·Stride−Pad+ky, ox·Stride−Pad+kx, i] · w[o,i,ky,kx]
//
// with zeros outside the image; y is [N×OH×OW×O], OH = (H+2·Pad+PadEnd−KH)/Stride+1.
// PadEnd is rows and columns of zeros beyond Pad at the bottom and the right
// alone: TensorFlow's SAME padding is uneven where the stride is 2.
type Conv2D struct{ Stride, Pad, Groups, PadEnd int }

func (o Conv2D) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	out, err := o.shape(in[0].Shape, in[1].Shape)
	return []Type{{out, Float}}, err
}

func (o Conv2D) shape(x, w Shape) (Shape, error) {
	for _, t := range []Shape{x, w} {
		if _, err := positive(Type{t, Float}); err != nil {
			return nil, err
		}
	}
	if len(x) != 4 || len(w) != 4 {
		return nil, fmt.Errorf("takes images [N×H×W×C] and a kernel [O×I×KH×KW], not %v and %v", x, w)
	}
	if o.Stride < 1 || o.Pad < 0 || o.PadEnd < 0 || o.Groups < 1 {
		return nil, fmt.Errorf("stride %d, padding %d, further padding at the end %d, groups %d: must be at least 1, 0, 0 and 1", o.Stride, o.Pad, o.PadEnd, o.Groups)
	}
	if w[1]*o.Groups != x[3] {
		return nil, fmt.Errorf("kernel %v in %d group(s) takes %d channels, but the images %v have %d", w, o.Groups, w[1]*o.Groups, x, x[3])
	}
	if w[0]%o.Groups != 0 {
		return nil, fmt.Errorf("%d output channels do not divide into %d groups", w[0], o.Groups)
	}
	oh, ow := ConvOut(x[1]+o.PadEnd, w[2], o.Stride, o.Pad), ConvOut(x[2]+o.PadEnd, w[3], o.Stride, o.Pad)
	if oh < 1 || ow < 1 {
		return nil, fmt.Errorf("images of %d×%d are too small for a %d×%d window with padding %d", x[1], x[2], w[2], w[3], o.Pad)
	}
	return Shape{x[0], oh, ow, w[0]}, nil
}

// ConvOut is the number of positions of a window of k over n pixels.
func ConvOut(n, k, stride, pad int) int {
	if n+2*pad < k {
		return 0
	}
	return (n+2*pad-k)/stride + 1
}

func (o Conv2D) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	x, w := n.In[0], n.In[1]
	return []*Value{
		g.apply1("grad:"+n.Name+".input", Conv2DGradInput{o, x.Shape}, d[0], w),
		g.apply1("grad:"+n.Name+".weight", Conv2DGradWeight{o, w.Shape}, x, d[0]),
	}
}

// Conv2D adds the convolution of x [N×H×W×C] with w [O×C/Groups×KH×KW].
func (g *Graph) Conv2D(name string, x, w *Value, c Conv2D) *Value { return g.apply1(name, c, x, w) }

// Conv2DGradInput is the derivative of Conv2D by its images, of shape Input,
// from dy and w.
type Conv2DGradInput struct {
	Conv  Conv2D
	Input Shape
}

func (o Conv2DGradInput) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	return []Type{{o.Input, Float}}, o.Conv.fits(o.Input, in[1].Shape, in[0].Shape)
}

// Conv2DGradWeight is the derivative of Conv2D by its kernel, of shape Kernel,
// from x and dy.
type Conv2DGradWeight struct {
	Conv   Conv2D
	Kernel Shape
}

func (o Conv2DGradWeight) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	return []Type{{o.Kernel, Float}}, o.Conv.fits(in[0].Shape, o.Kernel, in[1].Shape)
}

func (o Conv2D) fits(x, w, dy Shape) error {
	want, err := o.shape(x, w)
	if err == nil && !want.Equal(dy) {
		err = fmt.Errorf("derivative of the output is %v, not %v", dy, want)
	}
	return err
}

// MaxPool2D takes the largest of each Size×Size window of x [N×H×W×C]
// (torch.nn.MaxPool2d; outside the image is −∞; the first of equals counts).
type MaxPool2D struct{ Size, Stride, Pad int }

func (o MaxPool2D) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float); err != nil {
		return nil, err
	}
	if err := rank(in, 0, 4, "images [N×H×W×C]"); err != nil {
		return nil, err
	}
	if o.Size < 1 || o.Stride < 1 || o.Pad < 0 || 2*o.Pad > o.Size {
		return nil, fmt.Errorf("window %d, stride %d, padding %d: padding must be at most half the window", o.Size, o.Stride, o.Pad)
	}
	x := in[0].Shape
	oh, ow := ConvOut(x[1], o.Size, o.Stride, o.Pad), ConvOut(x[2], o.Size, o.Stride, o.Pad)
	if oh < 1 || ow < 1 {
		return nil, fmt.Errorf("images of %d×%d are too small for a %d×%d window with padding %d", x[1], x[2], o.Size, o.Size, o.Pad)
	}
	return []Type{{Shape{x[0], oh, ow, x[3]}, Float}}, nil
}

func (o MaxPool2D) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.apply1("grad:"+n.Name, MaxPool2DGrad{o}, n.In[0], d[0])}
}

// MaxPool2D adds max-pooling of x [N×H×W×C].
func (g *Graph) MaxPool2D(name string, x *Value, p MaxPool2D) *Value { return g.apply1(name, p, x) }

// MaxPool2DGrad gives each dy to the pixel that was the largest of its window,
// from x and dy.
type MaxPool2DGrad struct{ Pool MaxPool2D }

func (o MaxPool2DGrad) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float, Float); err != nil {
		return nil, err
	}
	out, err := o.Pool.Infer(in[:1])
	if err == nil && !out[0].Shape.Equal(in[1].Shape) {
		err = fmt.Errorf("derivative of the output is %v, not %v", in[1].Shape, out[0].Shape)
	}
	return in[:1], err
}

// GlobalAvgPool is the mean over the pixels: [N×H×W×C] → [N×C].
type GlobalAvgPool struct{}

func (GlobalAvgPool) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float); err != nil {
		return nil, err
	}
	if err := rank(in, 0, 4, "images [N×H×W×C]"); err != nil {
		return nil, err
	}
	x := in[0].Shape
	return []Type{{Shape{x[0], x[3]}, Float}}, nil
}

func (GlobalAvgPool) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	x := n.In[0].Shape
	return []*Value{g.apply1("grad:"+n.Name, GlobalAvgPoolGrad{x[1], x[2]}, d[0])}
}

// GlobalAvgPool adds the mean over the pixels, [N×H×W×C] → [N×C].
func (g *Graph) GlobalAvgPool(name string, x *Value) *Value {
	return g.apply1(name, GlobalAvgPool{}, x)
}

// GlobalAvgPoolGrad spreads dy [N×C] evenly over Height×Width pixels.
type GlobalAvgPoolGrad struct{ Height, Width int }

func (o GlobalAvgPoolGrad) Infer(in []Type) ([]Type, error) {
	if err := operands(in, Float); err != nil {
		return nil, err
	}
	if err := rank(in, 0, 2, "[N×C]"); err != nil {
		return nil, err
	}
	d := in[0].Shape
	return positive(Type{Shape{d[0], o.Height, o.Width, d[1]}, Float})
}
