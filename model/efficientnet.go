package model

import (
	"fmt"

	"selfcon/graph"
)

// efficientNet is EfficientNet-B0 of Tan & Le 2019 as the reference has it
// (efficient_big.py): the head has 512 channels, and for small images, with the
// small stem, neither the stem nor the second group of blocks strides. With the
// large stem they do, as published. Groups 1 to 4 are stage 1, groups 5 to 7
// stage 2: there is one exit position.
type efficientNet struct {
	common
	groups               []blockGroup
	stemChannels         int
	stemStride           int
	head                 int // channels of the last convolution: the features
	dropout, dropConnect float64
}

// blockGroup is blocks of one kind; the stride is its first block's.
type blockGroup struct{ kernel, blocks, out, expand, stride int }

// firstGroups are the groups of stage 1.
const firstGroups = 4

func init() {
	architectures["efficientnet"] = architecture{exit: 1, dropout: 0.2, dropConnect: 0.2, build: func(c Config) family {
		stride := 1
		if c.Stem == LargeStem {
			stride = 2
		}
		e := efficientNet{
			groups: []blockGroup{
				{3, 1, 16, 1, 1}, {3, 2, 24, 6, stride}, {5, 2, 40, 6, 2}, {3, 3, 80, 6, 2},
				{5, 3, 112, 6, 1}, {5, 4, 192, 6, 2}, {3, 1, 320, 6, 1},
			},
			stemChannels: roundFilters(32, c.Width), stemStride: stride, head: roundFilters(512, c.Width),
			dropout: *c.Dropout, dropConnect: *c.DropConnect,
		}
		for i := range e.groups {
			e.groups[i].out = roundFilters(e.groups[i].out, c.Width)
		}
		return e
	}}
}

// roundFilters scales a number of channels to the nearest multiple of 8 that is
// at least 8 and not more than a tenth too small.
func roundFilters(n, width int) int {
	scaled := float64(n*width) / DefaultWidth
	r := max(8, int(scaled+4)/8*8)
	if float64(r) < 0.9*scaled {
		r += 8
	}
	return r
}

func (e efficientNet) stages() int { return 2 }
func (e efficientNet) dim() int    { return e.head }

// conv is a convolution with TensorFlow's SAME padding of an even size: where
// it strides, one row and column less before than after.
func (e efficientNet) conv(b *builder, name string, x *graph.Value, c conv) *graph.Value {
	c.init = torchDefault
	if c.stride == 2 {
		return b.convPadded(name, x, c, c.kernel/2-1, 1)
	}
	return b.conv(name, x, c)
}

// norm is batch norm with TensorFlow's defaults.
func (e efficientNet) norm(b *builder, name string, x *graph.Value) *graph.Value {
	return b.normWith(name, x, 1e-3, 0.01)
}

func (e efficientNet) stem(b *builder, x *graph.Value) *graph.Value {
	x = e.conv(b, "encoder._conv_stem", x, conv{out: e.stemChannels, kernel: 3, stride: e.stemStride})
	return b.g.SiLU("encoder._swish", e.norm(b, "encoder._bn0", x))
}

// stage adds the groups of a stage. Drop-connect grows with a block's place.
func (e efficientNet) stage(b *builder, p place, x *graph.Value) *graph.Value {
	first, last := 0, firstGroups
	if p.stage == 2 {
		first, last = firstGroups, len(e.groups)
	}
	before, total := 0, 0
	for i, g := range e.groups {
		n := g.blocks
		if i >= firstGroups {
			n = p.blocks(n, n/2)
		}
		if i < first {
			before += n
		}
		total += n
	}
	for i, g := range e.groups[first:last] {
		prefix, n := fmt.Sprintf("encoder.block_layers.%d", first+i), g.blocks
		if p.exit > 0 {
			prefix, n = fmt.Sprintf("%s.%d", subName(p.exit), i), p.blocks(n, n/2)
		}
		for k := range n {
			drop := e.dropConnect * float64(before) / float64(total)
			x = e.block(b, fmt.Sprintf("%s.%d", prefix, k), x, g, drop)
			g.stride = 1
			before++
		}
	}
	return x
}

// block is a mobile inverted bottleneck with squeeze-and-excitation (MBConv).
func (e efficientNet) block(b *builder, prefix string, x *graph.Value, s blockGroup, drop float64) *graph.Value {
	g, in := b.g, channels(x)
	swish := func(i int, h *graph.Value) *graph.Value {
		return g.SiLU(fmt.Sprintf("%s._swish%d", prefix, i), e.norm(b, fmt.Sprintf("%s._bn%d", prefix, i), h))
	}
	h := x
	if s.expand > 1 {
		h = swish(0, e.conv(b, prefix+"._expand_conv", h, conv{out: s.expand * in, kernel: 1}))
	}
	wide, images := channels(h), 0
	if len(h.Shape) > 0 {
		images = h.Shape[0]
	}
	h = swish(1, e.conv(b, prefix+"._depthwise_conv", h, conv{out: wide, kernel: s.kernel, stride: s.stride, groups: max(1, wide)}))

	gate := g.Reshape(prefix+"._se_pixel", g.GlobalAvgPool(prefix+"._se_pool", h), images, 1, 1, wide)
	gate = g.SiLU(prefix+"._se_swish", e.conv(b, prefix+"._se_reduce", gate, conv{out: max(1, in/4), kernel: 1, bias: true}))
	gate = g.Sigmoid(prefix+"._se_sigmoid", e.conv(b, prefix+"._se_expand", gate, conv{out: wide, kernel: 1, bias: true}))
	h = g.ScaleChannels(prefix+"._se", h, g.Reshape(prefix+"._se_gate", gate, images, wide))

	h = e.norm(b, prefix+"._bn2", e.conv(b, prefix+"._project_conv", h, conv{out: s.out, kernel: 1}))
	if s.stride == 1 && in == s.out {
		h = g.Add(prefix+".add", b.dropout(prefix+".drop_connect", h, drop, true), x)
	}
	return h
}

// pool widens to the features first; an fc sub-network does, too, and the
// linear layer comes behind that.
func (e efficientNet) pool(b *builder, p place, x *graph.Value) *graph.Value {
	name, conv1, bn := "encoder", "encoder._conv_head", "encoder._bn1"
	if p.exit > 0 {
		name = subName(p.exit)
		first := 0
		if p.size != SubFC {
			first = len(e.groups) - firstGroups // behind the sub-network's groups
		}
		conv1, bn = fmt.Sprintf("%s.%d", name, first), fmt.Sprintf("%s.%d", name, first+1)
	}
	x = e.norm(b, bn, e.conv(b, conv1, x, conv{out: e.head, kernel: 1}))
	x = b.g.GlobalAvgPool(name+"._avg_pooling", b.g.SiLU(name+"._swish_head", x))
	return b.dropout(name+"._dropout", x, e.dropout, false)
}

// fc: selfcon_layer.0 is the convolution before the pooling.
func (e efficientNet) fc(int) (string, initial) { return "encoder.selfcon_layer.1", torchDefault }
