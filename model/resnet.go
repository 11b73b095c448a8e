package model

import (
	"fmt"

	"selfcon/graph"
)

// resnet is He et al. 2015 with the reference's two stems (resnet_big.py).
type resnet struct {
	common
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
		architectures[name] = architecture{exit: 2, build: func(c Config) family {
			r := r
			r.width, r.large = c.Width, c.Stem == LargeStem
			return r
		}}
	}
}

func (r resnet) stages() int { return len(r.depths) }

// planes is the inner width of a stage's blocks.
func (r resnet) planes(stage int) int { return r.width << (stage - 1) }

func (r resnet) channels(stage int) int {
	if r.bottleneck {
		return 4 * r.planes(stage)
	}
	return r.planes(stage)
}

func (r resnet) dim() int { return r.channels(r.stages()) }

func (r resnet) conv(b *builder, name string, x *graph.Value, out, kernel, stride int) *graph.Value {
	return b.conv(name, x, conv{out: out, kernel: kernel, stride: stride, init: kaimingFanOut})
}

func (r resnet) stem(b *builder, x *graph.Value) *graph.Value {
	kernel, stride := 3, 1
	if r.large {
		kernel, stride = 7, 2
	}
	x = r.conv(b, "encoder.conv1", x, r.width, kernel, stride)
	x = b.g.ReLU("encoder.relu", b.norm("encoder.bn1", x))
	if r.large {
		x = b.stemPool(x)
	}
	return x
}

func (r resnet) stage(b *builder, p place, x *graph.Value) *graph.Value {
	n := r.depths[p.stage-1]
	stride := 2
	if p.stage == 1 {
		stride = 1
	}
	for i := range p.blocks(n, n/2) {
		x = r.block(b, fmt.Sprintf("%s.%d", p.layer(), i), x, r.planes(p.stage), r.channels(p.stage), stride)
		stride = 1
	}
	return x
}

// block is a residual block: two 3×3 convolutions, or 1×1, 3×3, 1×1.
func (r resnet) block(b *builder, prefix string, x *graph.Value, planes, out, stride int) *graph.Value {
	g := b.g
	layer := func(i int, h *graph.Value, width, kernel, stride int) *graph.Value {
		h = r.conv(b, fmt.Sprintf("%s.conv%d", prefix, i), h, width, kernel, stride)
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
		skip = b.norm(prefix+".shortcut.1", r.conv(b, prefix+".shortcut.0", x, out, 1, stride))
	}
	return g.ReLU(prefix+".relu", g.Add(prefix+".add", h, skip))
}
