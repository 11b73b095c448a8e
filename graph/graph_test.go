package graph_test

import (
	"fmt"
	"strings"
	"testing"

	"selfcon/graph"
)

func float(shape ...int) graph.Type { return graph.Type{Shape: shape} }
func integer(shape ...int) graph.Type {
	return graph.Type{Shape: shape, DType: graph.Int}
}

// TestShapes: what operations give for operands of given types.
func TestShapes(t *testing.T) {
	conv := graph.Conv2D{Stride: 2, Pad: 1, Groups: 2}
	pool := graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1}
	contrast := graph.Contrast{Exits: 2, Views: 3, Anchors: []bool{true, false}, Temperature: 1, BaseTemperature: 1}
	for _, c := range []struct {
		op   graph.Op
		in   []graph.Type
		want string
	}{
		{graph.Input{Type: integer(4)}, nil, "[int[4]]"},
		{graph.Read{Variable: &graph.Variable{Type: float(4, 1)}}, nil, "[float[4×1]]"},
		{graph.Fill{Shape: graph.Shape{2, 3}}, nil, "[float[2×3]]"},
		{graph.Add{}, []graph.Type{float(2, 3), float(2, 3)}, "[float[2×3]]"},
		{graph.Scale{}, []graph.Type{float()}, "[float[]]"},
		{graph.Reshape{Shape: graph.Shape{6}}, []graph.Type{integer(2, 3)}, "[int[6]]"},
		{graph.Reshape{}, []graph.Type{float(1, 1)}, "[float[]]"},
		{graph.Concat{}, []graph.Type{float(2, 3), float(5, 3)}, "[float[7×3]]"},
		{graph.Slice{From: 1, To: 3}, []graph.Type{float(4, 5)}, "[float[2×5]]"},
		{graph.PadRows{Before: 1, After: 2}, []graph.Type{float(4, 5)}, "[float[7×5]]"},
		{graph.Lerp{}, []graph.Type{float(3), float(3)}, "[float[3]]"},
		{graph.Increment{}, []graph.Type{integer()}, "[int[]]"},
		{conv, []graph.Type{float(2, 7, 8, 6), float(4, 3, 3, 5)}, "[float[2×4×3×4]]"},
		{graph.Conv2DGradInput{Conv: conv, Input: graph.Shape{2, 7, 8, 6}}, []graph.Type{float(2, 4, 3, 4), float(4, 3, 3, 5)}, "[float[2×7×8×6]]"},
		{graph.Conv2DGradWeight{Conv: conv, Kernel: graph.Shape{4, 3, 3, 5}}, []graph.Type{float(2, 7, 8, 6), float(2, 4, 3, 4)}, "[float[4×3×3×5]]"},
		{pool, []graph.Type{float(2, 7, 8, 6)}, "[float[2×4×4×6]]"},
		{graph.MaxPool2DGrad{Pool: pool}, []graph.Type{float(2, 7, 8, 6), float(2, 4, 4, 6)}, "[float[2×7×8×6]]"},
		{graph.GlobalAvgPool{}, []graph.Type{float(2, 7, 8, 6)}, "[float[2×6]]"},
		{graph.GlobalAvgPoolGrad{Height: 7, Width: 8}, []graph.Type{float(2, 6)}, "[float[2×7×8×6]]"},
		{graph.BatchNorm{Eps: 1}, []graph.Type{float(2, 7, 8, 6), float(6), float(6)}, "[float[2×7×8×6] float[6] float[6]]"},
		{graph.BatchNormGrad{Eps: 1}, []graph.Type{float(2, 6), float(6), float(6), float(6), float(2, 6)}, "[float[2×6] float[6] float[6]]"},
		{graph.BatchNormInference{Eps: 1}, []graph.Type{float(2, 6), float(6), float(6), float(6), float(6)}, "[float[2×6]]"},
		{graph.ReLU{}, []graph.Type{float(2, 6)}, "[float[2×6]]"},
		{graph.ReLUGrad{}, []graph.Type{float(2, 6), float(2, 6)}, "[float[2×6]]"},
		{graph.Dropout{P: 0.5}, []graph.Type{float(2, 6), integer()}, "[float[2×6]]"},
		{graph.Sigmoid{}, []graph.Type{float(2, 6)}, "[float[2×6]]"},
		{graph.SigmoidGrad{}, []graph.Type{float(2, 6), float(2, 6)}, "[float[2×6]]"},
		{graph.SiLU{}, []graph.Type{float(2, 6)}, "[float[2×6]]"},
		{graph.SiLUGrad{}, []graph.Type{float(2, 6), float(2, 6)}, "[float[2×6]]"},
		{graph.ScaleChannels{}, []graph.Type{float(2, 7, 8, 6), float(2, 6)}, "[float[2×7×8×6]]"},
		{graph.ScaleChannelsGrad{}, []graph.Type{float(2, 7, 8, 6), float(2, 7, 8, 6)}, "[float[2×6]]"},
		{graph.AddBias{}, []graph.Type{float(2, 7, 8, 6), float(6)}, "[float[2×7×8×6]]"},
		{graph.SumRows{}, []graph.Type{float(2, 7, 8, 6)}, "[float[6]]"},
		{graph.Conv2D{Stride: 2, PadEnd: 1, Groups: 1}, []graph.Type{float(2, 8, 9, 6), float(4, 6, 3, 3)}, "[float[2×4×4×4]]"},
		{graph.L2Normalize{Eps: 1e-12}, []graph.Type{float(2, 6)}, "[float[2×6]]"},
		{graph.L2NormalizeGrad{}, []graph.Type{float(2, 6), float(2, 6), float(2, 6)}, "[float[2×6]]"},
		{graph.MatMul{}, []graph.Type{float(2, 6), float(6, 3)}, "[float[2×3]]"},
		{graph.MatMul{TransA: true, TransB: true}, []graph.Type{float(6, 2), float(3, 6)}, "[float[2×3]]"},
		{graph.AddBias{}, []graph.Type{float(2, 6), float(6)}, "[float[2×6]]"},
		{graph.SumRows{}, []graph.Type{float(2, 6)}, "[float[6]]"},
		{graph.SGD{}, []graph.Type{float(2), float(2), float(2), float()}, "[float[2] float[2]]"},
		{graph.Distill{Temperature: 3}, []graph.Type{float(2, 5), float(2, 5)}, "[float[]]"},
		{graph.CrossEntropy{}, []graph.Type{float(2, 6), integer(2)}, "[float[]]"},
		{graph.CrossEntropy{}, []graph.Type{float(2, 6), float(2, 6)}, "[float[]]"},
		{graph.CrossEntropyGrad{}, []graph.Type{float(2, 6), integer(2), float()}, "[float[2×6]]"},
		{graph.CrossEntropyGrad{}, []graph.Type{float(2, 6), float(2, 6), float()}, "[float[2×6]]"},
		{contrast, []graph.Type{float(24, 6), integer(4)}, "[float[] float[24]]"},
		{graph.ContrastGrad{Contrast: contrast}, []graph.Type{float(24, 6), integer(4), float(24), float()}, "[float[24×6]]"},
	} {
		out, err := c.op.Infer(c.in)
		if got := fmt.Sprint(out); err != nil || got != c.want {
			t.Errorf("%T of %v: %s, error %v; want %s", c.op, c.in, got, err, c.want)
		}
	}
}

// TestShapeErrors: what operations say of operands that do not fit.
func TestShapeErrors(t *testing.T) {
	images := float(2, 7, 8, 6)
	conv := graph.Conv2D{Stride: 1, Groups: 1}
	contrast := func(change func(*graph.Contrast)) graph.Contrast {
		c := graph.Contrast{Exits: 2, Views: 1, Anchors: []bool{true, true}, Temperature: 1, BaseTemperature: 1}
		change(&c)
		return c
	}
	same := contrast(func(*graph.Contrast) {})
	for _, c := range []struct {
		op   graph.Op
		in   []graph.Type
		want string
	}{
		{graph.Input{Type: float(3, 0)}, nil, "shape [3×0]: every axis must have at least one"},
		{graph.Read{Variable: &graph.Variable{Type: float(-1)}}, nil, "[-1]"},
		{graph.Fill{Shape: graph.Shape{0}}, nil, "[0]"},
		{graph.Add{}, []graph.Type{float(2)}, "takes 2 operands, not 1"},
		{graph.Add{}, []graph.Type{float(2), float(3)}, "adds [2] and [3]"},
		{graph.Add{}, []graph.Type{float(2), integer(2)}, "operand 1 is int[2], not float"},
		{graph.Scale{}, []graph.Type{integer(2)}, "operand 0 is int[2], not float"},
		{graph.Reshape{Shape: graph.Shape{4}}, []graph.Type{float(3)}, "cannot reshape [3] (3 elements) to [4] (4)"},
		{graph.Reshape{Shape: graph.Shape{-3, -1}}, []graph.Type{float(3)}, "[-3×-1]"},
		{graph.Reshape{}, nil, "takes 1 operand, not 0"},
		{graph.Concat{}, nil, "at least 1 operand"},
		{graph.Concat{}, []graph.Type{float()}, "operand 0 is float[]"},
		{graph.Concat{}, []graph.Type{float(2, 3), float(2, 4)}, "operand 1 is float[2×4] and does not fit the first, float[2×3]"},
		{graph.Concat{}, []graph.Type{float(2, 3), integer(2, 3)}, "operand 1 is int"},
		{graph.Slice{To: 1}, []graph.Type{float()}, "at least one axis"},
		{graph.Slice{From: 2, To: 2}, []graph.Type{float(3)}, "rows [2, 2) of [3]"},
		{graph.Slice{From: -1, To: 2}, []graph.Type{float(3)}, "rows [-1, 2)"},
		{graph.Slice{From: 1, To: 4}, []graph.Type{float(3)}, "rows [1, 4)"},
		{graph.PadRows{Before: -1}, []graph.Type{float(3)}, "-1 rows before"},
		{graph.PadRows{}, []graph.Type{float()}, "pads []"},
		{graph.Lerp{}, []graph.Type{float(2), float(3)}, "[2] and [3]"},
		{graph.Increment{}, []graph.Type{float()}, "not int"},
		{conv, []graph.Type{images, float(4, 6, 3)}, "takes images [N×H×W×C] and a kernel [O×I×KH×KW]"},
		{conv, []graph.Type{images, float(4, 5, 3, 3)}, "takes 5 channels, but the images [2×7×8×6] have 6"},
		{graph.Conv2D{Groups: 1}, []graph.Type{images, float(4, 6, 3, 3)}, "stride 0"},
		{graph.Conv2D{Stride: 1, Pad: -1, Groups: 1}, []graph.Type{images, float(4, 6, 3, 3)}, "padding -1"},
		{graph.Conv2D{Stride: 1}, []graph.Type{images, float(4, 6, 3, 3)}, "groups 0"},
		{graph.Conv2D{Stride: 1, Groups: 2}, []graph.Type{images, float(5, 3, 3, 3)}, "5 output channels do not divide into 2 groups"},
		{conv, []graph.Type{images, float(4, 6, 8, 8)}, "images of 7×8 are too small for a 8×8 window with padding 0"},
		{graph.Conv2DGradInput{Conv: conv, Input: images.Shape}, []graph.Type{float(2, 5, 5, 4), float(4, 6, 3, 3)}, "is [2×5×5×4], not [2×5×6×4]"},
		{graph.Conv2DGradWeight{Conv: conv, Kernel: graph.Shape{4, 6, 3, 3}}, []graph.Type{images, float(1, 5, 6, 4)}, "is [1×5×6×4], not [2×5×6×4]"},
		{graph.MaxPool2D{Size: 2, Stride: 2}, []graph.Type{float(2, 6)}, "operand 0 must be images"},
		{graph.MaxPool2D{Size: 2, Stride: 2, Pad: 2}, []graph.Type{images}, "padding must be at most half the window"},
		{graph.MaxPool2D{Size: 9, Stride: 2}, []graph.Type{images}, "too small for a 9×9 window"},
		{graph.MaxPool2DGrad{Pool: graph.MaxPool2D{Size: 2, Stride: 2}}, []graph.Type{images, images}, "is [2×7×8×6], not [2×3×4×6]"},
		{graph.GlobalAvgPool{}, []graph.Type{float(2, 6)}, "must be images"},
		{graph.GlobalAvgPoolGrad{Height: 0, Width: 1}, []graph.Type{float(2, 6)}, "[2×0×1×6]"},
		{graph.BatchNorm{Eps: 1}, []graph.Type{images, float(6)}, "takes 3 operands, not 2"},
		{graph.BatchNorm{}, []graph.Type{images, float(6), float(6)}, "eps 0 must be positive"},
		{graph.BatchNorm{Eps: 1}, []graph.Type{float(6), float(6), float(6)}, "at least two axes"},
		{graph.BatchNorm{Eps: 1}, []graph.Type{images, float(6), float(8)}, "operand 2 must be float[6], one for each channel of [2×7×8×6], not float[8]"},
		{graph.BatchNormGrad{Eps: 1}, []graph.Type{images, float(6), float(6), float(6), float(2, 6)}, "dy of x's shape"},
		{graph.BatchNormInference{Eps: 1}, []graph.Type{images, float(6), float(6), float(6)}, "takes 5 operands"},
		{graph.BatchNormInferenceGrad{Eps: 1}, []graph.Type{images}, "takes x, weight, mean, var and dy"},
		{graph.ReLU{}, nil, "takes 1 operands, not 0"},
		{graph.ReLUGrad{}, []graph.Type{float(2), float(3)}, "[2] and [3]"},
		{graph.Dropout{P: 1}, []graph.Type{float(2), integer()}, "probability 1 must be in [0, 1)"},
		{graph.Dropout{P: 0.5}, []graph.Type{float(2), integer(1)}, "the step must be a scalar, not int[1]"},
		{graph.Dropout{P: 0.5}, []graph.Type{float(2), float()}, "not int"},
		{graph.Dropout{P: 0.5, Rows: true}, []graph.Type{float(), integer()}, "rows of the first axis"},
		{graph.ScaleChannels{}, []graph.Type{images, float(6)}, "one number for each channel of each image, [2×6], not [6]"},
		{graph.ScaleChannels{}, []graph.Type{float(2, 6), float(2, 6)}, "must be images"},
		{graph.ScaleChannelsGrad{}, []graph.Type{float(2, 6), float(2, 6)}, "must be images"},
		{graph.SigmoidGrad{}, []graph.Type{float(2), float(3)}, "[2] and [3]"},
		{graph.AddBias{}, []graph.Type{float(2), float(2)}, "rows [N×C] or images"},
		{graph.Conv2D{Stride: 1, PadEnd: -1, Groups: 1}, []graph.Type{images, float(4, 6, 3, 3)}, "at the end -1"},
		{graph.L2Normalize{Eps: 1e-12}, []graph.Type{images}, "operand 0 must be rows [N×D], not [2×7×8×6]"},
		{graph.L2NormalizeGrad{}, []graph.Type{float(2, 3), float(2, 3), float(3, 2)}, "x, y and dy of one shape"},
		{graph.MatMul{}, []graph.Type{float(2, 3), float(4, 5)}, "multiplies 2×3 by 4×5: inner sizes must agree"},
		{graph.MatMul{TransA: true}, []graph.Type{float(2, 3), float(4, 5)}, "multiplies 3×2 by 4×5"},
		{graph.MatMul{}, []graph.Type{float(2, 3), float(3)}, "operand 1 must be a matrix, not [3]"},
		{graph.AddBias{}, []graph.Type{float(2, 3), float(2)}, "bias [2] does not fit rows [2×3]"},
		{graph.SumRows{}, []graph.Type{float(2)}, "rows [N×C]"},
		{graph.SGD{}, []graph.Type{float(2), float(3), float(2), float()}, "not [2], [3], [2], []"},
		{graph.SGD{}, []graph.Type{float(2), float(2), float(2), float(1)}, "a scalar rate"},
		{graph.Distill{Temperature: 3}, []graph.Type{float(2, 5), float(2, 4)}, "do not fit those of the student"},
		{graph.Distill{}, []graph.Type{float(2, 5), float(2, 5)}, "temperature 0"},
		{graph.LARS{Momentum: 0.9}, []graph.Type{float(2), float(2), float(2), float()}, "trust coefficient 0"},
		{graph.LARS{Trust: 1}, []graph.Type{float(2), float(3), float(2), float()}, "not [2], [3], [2], []"},
		{graph.AdamW{Beta2: 1, Eps: 1}, []graph.Type{float(2), float(2), float(2), float(2), float(), {Shape: graph.Shape{}, DType: graph.Int}}, "below 1"},
		{graph.AdamW{Eps: 1}, []graph.Type{float(2), float(2), float(3), float(2), float(), {Shape: graph.Shape{}, DType: graph.Int}}, "of one shape"},
		{graph.AdamW{Eps: 1}, []graph.Type{float(2), float(2), float(2), float(2), float(), float()}, "operand 5"},
		{graph.SGD{Momentum: -1}, []graph.Type{float(2), float(2), float(2), float()}, "momentum -1"},
		{graph.CrossEntropy{}, []graph.Type{float(2, 3), integer(3)}, "labels [3] do not fit logits [2×3]"},
		{graph.CrossEntropy{}, []graph.Type{float(2, 3), float(2)}, "operand 1 is float[2], not int"},
		{graph.CrossEntropy{}, []graph.Type{float(2, 3), float(2, 4)}, "targets [2×4] do not fit logits [2×3]"},
		{graph.CrossEntropy{}, []graph.Type{float(2, 3)}, "takes 2 operands"},
		{graph.CrossEntropyGrad{}, []graph.Type{float(2, 3), integer(2), float(1)}, "operand 2 must be a scalar, not [1]"},
		{graph.CrossEntropyGrad{}, []graph.Type{float(2, 3), float(2, 3)}, "takes 3 operands, not 2"},
		{graph.CrossEntropyGrad{}, []graph.Type{float(2, 3), float(2, 3), integer()}, "operand 2 is int"},
		{same, []graph.Type{float(5, 3), integer(2)}, "5 rows for 2 images in 1 view(s) at 2 exit(s): must be 4"},
		{same, []graph.Type{float(4), integer(2)}, "operand 0 must be features [rows×D]"},
		{same, []graph.Type{float(4, 3), integer(2, 1)}, "operand 1 must be labels [B]"},
		{contrast(func(c *graph.Contrast) { c.Temperature = 0 }), []graph.Type{float(4, 3), integer(2)}, "temperature 0"},
		{contrast(func(c *graph.Contrast) { c.BaseTemperature = -1 }), []graph.Type{float(4, 3), integer(2)}, "base temperature -1"},
		{contrast(func(c *graph.Contrast) { c.Views = 0 }), []graph.Type{float(4, 3), integer(2)}, "0 views"},
		{contrast(func(c *graph.Contrast) { c.Anchors = []bool{true} }), []graph.Type{float(4, 3), integer(2)}, "anchors for 1 exits"},
		{contrast(func(c *graph.Contrast) { c.Anchors = []bool{false, false} }), []graph.Type{float(4, 3), integer(2)}, "no exit is an anchor"},
		{graph.ContrastGrad{Contrast: same}, []graph.Type{float(4, 3), integer(2), float(2), float()}, "lse [2] does not fit features [4×3]"},
	} {
		if out, err := c.op.Infer(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T of %v: %v, error %v; want one with %q", c.op, c.in, out, err, c.want)
		}
	}
}

// TestConstructionErrors: what builders say; the first error wins and everything
// after it does no harm.
func TestConstructionErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(g *graph.Graph)
		want  string
	}{
		{"shapes", func(g *graph.Graph) {
			g.Add("my sum", g.Input("a", graph.Float, 2), g.Input("b", graph.Float, 3))
		}, "my sum (Add): adds [2] and [3]"},
		{"nil operand", func(g *graph.Graph) { g.ReLU("my relu", nil) }, "my relu (ReLU): operand 0 is nil"},
		{"input twice", func(g *graph.Graph) {
			g.Input("x", graph.Float, 2)
			g.Input("x", graph.Float, 2)
		}, `input "x" is declared twice`},
		{"output twice", func(g *graph.Graph) {
			x := g.Input("x", graph.Float, 2)
			g.Output("y", x)
			g.Output("y", x)
		}, `output "y" is declared twice`},
		{"variable of two shapes", func(g *graph.Graph) {
			variable(g, "w", 2)
			variable(g, "w", 3)
		}, `variable "w" is declared as float[2] and as float[3]`},
		{"update twice", func(g *graph.Graph) {
			w := variable(g, "w", 2)
			g.Update(w, w)
			g.Update(w, w)
		}, `variable "w" is updated twice`},
		{"update of no variable", func(g *graph.Graph) {
			x := g.Input("x", graph.Float, 2)
			g.Update(x, x)
		}, "update of x (Input), which is not a variable"},
		{"update of another shape", func(g *graph.Graph) {
			g.Update(variable(g, "w", 2), g.Input("x", graph.Float, 3))
		}, `variable "w" of type float[2] with a value of type float[3]`},
		{"nothing to compute", func(g *graph.Graph) { g.Input("x", graph.Float, 2) }, "no output and no update"},
		{"batch norm of one value", func(g *graph.Graph) {
			c := func(name string) *graph.Value { return variable(g, name, 3) }
			g.BatchNorm2D("bn1", g.Input("x", graph.Float, 1, 1, 1, 3), graph.BatchNormVars{Weight: c("w"), Bias: c("b"), Mean: c("m"), Var: c("v")}, 1e-5, 0.1, true)
		}, "bn1 (BatchNorm): one value a channel"},
		{"the first error wins", func(g *graph.Graph) {
			x := g.Reshape("first", g.Input("x", graph.Float, 2), 3)
			x = g.Linear("second", x, x, x)
			x = g.BatchNorm2D("third", x, graph.BatchNormVars{Weight: x, Bias: x, Mean: x, Var: x}, 1e-5, 0.1, true)
			loss := g.CrossEntropy("fourth", g.GlobalAvgPool("pool", x), x)
			for _, d := range g.Gradients(loss, []*graph.Value{x, loss}) {
				g.Update(x, d)
				g.Output("d", d)
			}
			g.Fail("fifth")
		}, "first (Reshape): cannot reshape [2]"},
	} {
		g := graph.New()
		c.build(g)
		if p, err := g.Build(); err == nil || p != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: program %v, error %v; want one with %q", c.name, p, err, c.want)
		}
	}
}

func variable(g *graph.Graph, name string, shape ...int) *graph.Value {
	return g.Variable(graph.Variable{Name: name, Type: float(shape...), Trainable: true})
}

func TestGradientErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		loss func(g *graph.Graph, w *graph.Value) *graph.Value
		want string
	}{
		{"not a scalar", func(g *graph.Graph, w *graph.Value) *graph.Value { return g.ReLU("relu", w) },
			"gradients of relu, which is float[2×3] and not a float scalar"},
		{"not float", func(g *graph.Graph, w *graph.Value) *graph.Value { return g.Input("n", graph.Int) },
			"gradients of n, which is int[]"},
		{"independent", func(g *graph.Graph, w *graph.Value) *graph.Value { return g.Input("x", graph.Float) },
			"the loss does not depend on w"},
		{"no derivative", func(g *graph.Graph, w *graph.Value) *graph.Value {
			moved := g.Apply("moved", graph.Lerp{Weight: 0.5, Factor: 1}, w, w)[0]
			return g.CrossEntropy("ce", moved, g.Input("labels", graph.Int, 2))
		}, "moved (Lerp) has no derivative"},
		{"of batch statistics", func(g *graph.Graph, w *graph.Value) *graph.Value {
			c := g.Input("c", graph.Float, 3)
			mean := g.Apply("bn", graph.BatchNorm{Eps: 1}, w, c, c)[1]
			return g.CrossEntropy("ce", g.Reshape("row", mean, 1, 3), g.Input("labels", graph.Int, 1))
		}, "bn (BatchNorm): the loss depends on the batch statistics themselves"},
		{"of a contrast's lse", func(g *graph.Graph, w *graph.Value) *graph.Value {
			lse := g.Apply("con", graph.Contrast{Exits: 1, Views: 1, Anchors: []bool{true}, Temperature: 1, BaseTemperature: 1}, w, g.Input("labels", graph.Int, 2))[1]
			return g.CrossEntropy("ce", g.Reshape("row", lse, 1, 2), g.Input("label", graph.Int, 1))
		}, "con (Contrast): the loss depends on lse"},
	} {
		g := graph.New()
		w := variable(g, "w", 2, 3)
		for _, d := range g.Gradients(c.loss(g, w), []*graph.Value{w}) {
			g.Output("d", d)
		}
		if _, err := g.Build(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want one with %q", c.name, err, c.want)
		}
	}
}

// TestBuildPrunes: only what outputs and updates need is left, in order.
func TestBuildPrunes(t *testing.T) {
	g := graph.New()
	x, unused := g.Input("x", graph.Float, 2), g.Input("unused", graph.Float, 2)
	w, m := variable(g, "w", 2), variable(g, "m", 2)
	variable(g, "idle", 2)
	g.ReLU("dead", g.Add("dead too", unused, x))
	y := g.Add("y", x, w)
	g.Output("y", y)
	g.Update(m, g.Scale("half", y, 0.5)) // m is written and never read
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	var nodes, inputs, variables []string
	seen := map[*graph.Value]bool{}
	for _, n := range p.Nodes {
		nodes = append(nodes, n.Name+" "+n.Kind())
		for _, v := range n.In {
			if !seen[v] {
				t.Errorf("%s comes before its operand %s", n.Name, v.Node.Name)
			}
		}
		for _, v := range n.Out {
			seen[v] = true
		}
	}
	for _, i := range p.Inputs {
		inputs = append(inputs, i.Name)
	}
	for _, v := range p.Variables {
		variables = append(variables, v.Name)
	}
	got := fmt.Sprint(nodes, inputs, variables)
	if want := "[x Input w Read m Read y Add half Scale] [x] [w m]"; got != want {
		t.Errorf("nodes, inputs, variables are\n%s, want\n%s", got, want)
	}
}

// TestGradientsPrune: the derivative by the images, which nobody wants, costs
// nothing.
func TestGradientsPrune(t *testing.T) {
	g := graph.New()
	w := variable(g, "w", 3, 2, 1, 1)
	y := g.Conv2D("conv", g.Input("x", graph.Float, 4, 2, 2, 2), w, graph.Conv2D{Stride: 1, Groups: 1})
	loss := g.CrossEntropy("ce", g.GlobalAvgPool("pool", y), g.Input("labels", graph.Int, 4))
	g.Output("d", g.Gradients(loss, g.Trainable())[0])
	p := program(t, g)
	for _, n := range p.Nodes {
		if n.Kind() == "Conv2DGradInput" {
			t.Errorf("%s is in the program", n.Name)
		}
	}
}

func TestVariableIsFoundAgain(t *testing.T) {
	g := graph.New()
	a := variable(g, "w", 2)
	if b := variable(g, "w", 2); a != b {
		t.Error("the second declaration of w gave another value")
	}
	g.Variable(graph.Variable{Name: "fixed", Type: float(2)})
	if got := g.Trainable(); len(got) != 1 || got[0] != a {
		t.Errorf("trainable values %v, want w alone", got)
	}
}

func TestConvOut(t *testing.T) {
	for _, c := range []struct{ n, k, stride, pad, want int }{
		{32, 3, 1, 1, 32}, {32, 3, 2, 1, 16}, {33, 3, 2, 1, 17}, {224, 7, 2, 3, 112}, {1, 1, 5, 0, 1}, {2, 3, 1, 0, 0}, {1, 3, 2, 1, 1},
	} {
		if got := graph.ConvOut(c.n, c.k, c.stride, c.pad); got != c.want {
			t.Errorf("window of %d, stride %d, padding %d over %d pixels: %d positions, want %d", c.k, c.stride, c.pad, c.n, got, c.want)
		}
	}
}

// TestRandom: numbers in [0, 1) with 24 bits, of the right mean, different in
// every coordinate, and the same for ever (checkpoints rely on them).
func TestRandom(t *testing.T) {
	const n = 100000
	sum := 0.0
	for i := range uint64(n) {
		v := graph.Random(1, 2, 3, i)
		if v < 0 || v >= 1 || v*(1<<24) != float64(int(v*(1<<24))) {
			t.Fatalf("element %d is %v", i, v)
		}
		sum += v
	}
	// The mean's standard deviation is √(1/12n) = 0.0009.
	if mean := sum / n; mean < 0.495 || mean > 0.505 {
		t.Errorf("mean %g, want 1/2", mean)
	}
	at := graph.Random(1, 2, 3, 4)
	for _, other := range []float64{graph.Random(2, 2, 3, 4), graph.Random(1, 3, 3, 4), graph.Random(1, 2, 4, 4), graph.Random(1, 2, 3, 5), graph.Random(2, 1, 3, 4)} {
		if other == at {
			t.Errorf("two coordinates give %v", at)
		}
	}
	const always = "0.04992002248764038 0.6273272037506104 0.9832147359848022" // from another implementation
	if got := fmt.Sprint(graph.Random(0, 0, 0, 0), at, graph.Random(1, 2, ^uint64(0), 4)); got != always {
		t.Errorf("Random gives %s, must give %s", got, always)
	}
}
