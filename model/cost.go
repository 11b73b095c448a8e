package model

import (
	"fmt"

	"selfcon/graph"
)

// Cost is what it takes to come to an exit: of the backbone up to there and of
// the exit's own sub-network.
type Cost struct {
	Exit       string `json:"exit"`       // as in ExitNames
	Parameters int    `json:"parameters"` // weights, without running statistics and heads
	MACs       int64  `json:"macs"`       // multiply-accumulates an image, of convolutions and linear layers; twice as many FLOPs
}

// Costs lists what each exit costs, the backbone's last.
func (n *Network) Costs() ([]Cost, error) {
	var costs []Cost
	for i, name := range n.ExitNames() {
		p, err := n.Inference(i, 1)
		if err != nil {
			return nil, err
		}
		c := Cost{Exit: name}
		for _, v := range p.Variables {
			if v.Role == graph.Parameter {
				c.Parameters += v.Shape.Size()
			}
		}
		for _, node := range p.Nodes {
			c.MACs += macs(node)
		}
		costs = append(costs, c)
	}
	return costs, nil
}

// macs is the multiply-accumulates of a node of a forward pass.
func macs(n *graph.Node) int64 {
	switch op := n.Op.(type) {
	case graph.Conv2D:
		return int64(n.Out[0].Shape.Size()) * int64(n.In[1].Shape[1:].Size())
	case graph.MatMul:
		inner := n.In[0].Shape[1]
		if op.TransA {
			inner = n.In[0].Shape[0]
		}
		return int64(n.Out[0].Shape.Size()) * int64(inner)
	}
	return 0
}

// Inference is the program that takes images [batch×…] as far as exit i, in the
// order of ExitNames: input "images", output "features" [batch×Dim].
func (n *Network) Inference(i, batch int) (*graph.Program, error) {
	g := graph.New()
	images := g.Input("images", graph.Float, batch, n.ImageHeight, n.ImageWidth, n.ImageChannels)
	features := n.Encode(g, images, false)
	g.Output("features", features[i])
	p, err := g.Build()
	if err != nil {
		return nil, fmt.Errorf("%s on images of %d×%d: %w", n.Arch, n.ImageHeight, n.ImageWidth, err)
	}
	return p, nil
}
