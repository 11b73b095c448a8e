package model

import (
	"fmt"

	"selfcon/graph"
)

// vgg is Simonyan & Zisserman 2014 up to its last pooling, with the reference's
// sub-networks and classifier (vgg_big.py). It has no stem: the images go into
// the first stage, and the pooling after each of the five serves large ones.
type vgg struct {
	common
	convs   [5]int // a stage
	norm    bool
	width   int
	dropout float64 // in the classifier
}

func init() {
	for name, v := range map[string]vgg{
		"vgg13":    {convs: [5]int{2, 2, 2, 2, 2}},
		"vgg13_bn": {convs: [5]int{2, 2, 2, 2, 2}, norm: true},
		"vgg16":    {convs: [5]int{2, 2, 3, 3, 3}},
		"vgg16_bn": {convs: [5]int{2, 2, 3, 3, 3}, norm: true},
	} {
		architectures[name] = architecture{exit: 3, dropout: 0.5, build: func(c Config) family {
			v := v
			v.width, v.dropout = c.Width, *c.Dropout
			return v
		}}
	}
}

func (v vgg) stages() int { return len(v.convs) }

// channels double up to the fourth stage.
func (v vgg) channels(stage int) int { return v.width << (min(stage, 4) - 1) }

func (v vgg) dim() int { return v.channels(v.stages()) }

func (v vgg) stem(_ *builder, x *graph.Value) *graph.Value { return x }

func (v vgg) stage(b *builder, p place, x *graph.Value) *graph.Value {
	n := v.convs[p.stage-1]
	prefix, at := fmt.Sprintf("encoder.block%d", p.stage), 0
	layers := 2 // a convolution and what follows it
	if v.norm {
		layers = 3
	}
	if p.exit > 0 {
		// A sub-network has as many convolutions in all stages, in one sequence.
		n = p.blocks(v.convs[4], 1)
		prefix, at = subName(p.exit), (p.stage-p.exit-1)*(n*layers+1)
	}
	name := func() string {
		at++
		return fmt.Sprintf("%s.%d", prefix, at-1)
	}
	for range n {
		x = b.conv(name(), x, conv{out: v.channels(p.stage), kernel: 3, bias: true, init: kaimingFanOut})
		if v.norm {
			x = b.norm(name(), x)
		}
		x = b.g.ReLU(name(), x)
	}
	return b.g.MaxPool2D(name(), x, graph.MaxPool2D{Size: 2, Stride: 2})
}

func (v vgg) fc(exit int) (string, initial) {
	return subName(exit) + ".0", func(float64, float64) (weight, bias graph.Init) {
		return graph.Init{Kind: graph.Normal, Scale: 0.01}, graph.Init{}
	}
}

// classify has a hidden layer (reference: CEVGG).
func (v vgg) classify(b *builder, name string, x *graph.Value, classes int) *graph.Value {
	h := b.g.ReLU(name+".1", b.linear(name+".0", x, v.dim(), torchDefault))
	return b.linear(name+".3", b.dropout(name+".2", h, v.dropout, false), classes, torchDefault)
}
