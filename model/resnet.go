package model

import (
	"fmt"

	"selfcon/graph"
)

// resnet is He et al. 2015 with the reference's two stems (resnet_big.py).
type resnet struct {
	depths     [4]int
	bottleneck bool
	width      int
	large      bool
}

func init() {
	for name, r := range map[string]resnet{
		"resnet18":  {depths: [4]int{2, 2, 2, 2}},
		"resnet34":  {depths: [4]int{3, 4, 6, 3}},
		"resnet50":  {depths: [4]int{3, 4, 6, 3}, bottleneck: true},
		"resnet101": {depths: [4]int{3, 4, 23, 3}, bottleneck: true},
	} {
		families[name] = func(c Config) family {
			r := r
			r.width, r.large = c.Width, c.Stem == LargeStem
			return r
		}
	}
}

func (r resnet) stages() int          { return len(r.depths) }
func (r resnet) blocks(stage int) int { return r.depths[stage-1] }

// planes is the inner width of a stage's blocks.
func (r resnet) planes(stage int) int { return r.width << (stage - 1) }

func (r resnet) channels(stage int) int {
	if r.bottleneck {
		return 4 * r.planes(stage)
	}
	return r.planes(stage)
}

func (r resnet) stem(b *builder, x *graph.Value) *graph.Value {
	kernel, stride := 3, 1
	if r.large {
		kernel, stride = 7, 2
	}
	x = b.conv("encoder.conv1", x, r.width, kernel, stride)
	x = b.g.ReLU("encoder.relu", b.norm("encoder.bn1", x))
	if r.large {
		x = b.g.MaxPool2D("encoder.maxpool", x, graph.MaxPool2D{Size: 3, Stride: 2, Pad: 1})
	}
	return x
}

func (r resnet) stage(b *builder, prefix string, stage, blocks int, x *graph.Value) *graph.Value {
	stride := 2
	if stage == 1 {
		stride = 1
	}
	for i := range blocks {
		x = r.block(b, fmt.Sprintf("%s.%d", prefix, i), x, r.planes(stage), r.channels(stage), stride)
		stride = 1
	}
	return x
}

// block is a residual block: two 3×3 convolutions, or 1×1, 3×3, 1×1.
func (r resnet) block(b *builder, prefix string, x *graph.Value, planes, out, stride int) *graph.Value {
	g := b.g
	layer := func(i int, h *graph.Value, width, kernel, stride int) *graph.Value {
		h = b.conv(fmt.Sprintf("%s.conv%d", prefix, i), h, width, kernel, stride)
		return b.norm(fmt.Sprintf("%s.bn%d", prefix, i), h)
	}
	relu := func(i int, h *graph.Value) *graph.Value { return g.ReLU(fmt.Sprintf("%s.relu%d", prefix, i), h) }

	var h *graph.Value
	if r.bottleneck {
		h = relu(1, layer(1, x, planes, 1, 1))
		h = relu(2, layer(2, h, planes, 3, stride))
		h = layer(3, h, out, 1, 1)
	} else {
		h = relu(1, layer(1, x, planes, 3, stride))
		h = layer(2, h, out, 3, 1)
	}
	skip := x
	if stride != 1 || channels(x) != out {
		skip = b.norm(prefix+".shortcut.1", b.conv(prefix+".shortcut.0", x, out, 1, stride))
	}
	return g.ReLU(prefix+".relu", g.Add(prefix+".add", h, skip))
}
