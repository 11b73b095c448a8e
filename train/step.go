// Package train builds the training step as one program (step.go), schedules
// the learning rate (schedule.go) and runs the loop (loop.go).
package train

import (
	"fmt"

	"selfcon/config"
	"selfcon/graph"
	"selfcon/loss"
	"selfcon/model"
)

// StepConfig says what one training step does.
type StepConfig struct {
	Method       loss.Method
	Temperatures loss.Temperatures
	Dim          int       // of the projections (contrastive methods)
	Classes      int       // of the classifier (cross-entropy)
	Soft         bool      // classifiers learn soft targets, such as mixed labels
	Batch        int       // images a step; the network sees Method.Views of each
	Optimizer    Optimizer // of every trainable parameter
	Heads        bool      // also output each exit's projections or logits
	Expose       bool      // those, and every gradient
}

// NewStepConfig is the step that a configuration asks for.
func NewStepConfig(c config.Run, m loss.Method, classes int) StepConfig {
	return StepConfig{
		Method: m, Temperatures: loss.Temperatures{Tau: c.Temperature, Base: c.BaseTemperature},
		Dim: c.ProjectionDim, Classes: classes, Soft: soft(c), Batch: c.Batch,
		Optimizer: NewOptimizer(c),
	}
}

// Names of a step's inputs and outputs. With Heads, output OutputExit+"i" is the
// projection or the logits of exit i; with Expose, OutputGrad+name the gradient of
// a parameter as well.
const (
	InputImages = "images" // float[Views·Batch × H × W × C], all of view one first
	InputLabels = "labels" // int[Batch]; with Soft, float[Batch × Classes], each row of sum 1
	InputRate   = "lr"     // float scalar
	OutputLoss  = "loss"   // float scalar, before the update
	OutputExit  = "exit."
	OutputGrad  = "grad."

	OutputProjection = "projection." // of exit i, beside its logits, of methods that classify and contrast
)

// NewStep builds the program of a training step: forward, loss, backward,
// update, running statistics.
func NewStep(net *model.Network, c StepConfig) (*graph.Program, error) {
	if err := c.check(net); err != nil {
		return nil, err
	}
	g := graph.New()
	heads := forwardHeads(g, net, c, true)
	total := c.Method.Add(g, heads, c.labels(g), c.Temperatures)
	g.Output(OutputLoss, total)
	rate := g.Input(InputRate, graph.Float)
	params := g.Trainable()
	grads := g.Gradients(total, params)
	c.Optimizer.add(g, params, grads, rate)
	for i, p := range params {
		if c.Expose && g.Err() == nil {
			g.Output(OutputGrad+p.Node.Op.(graph.Read).Variable.Name, grads[i])
		}
	}
	return g.Build()
}

// check says what is wrong with a step of a network.
func (c StepConfig) check(net *model.Network) error {
	if c.Batch < 1 {
		return fmt.Errorf("batch %d: must be at least 1", c.Batch)
	}
	if !c.Method.NeedsExits() && len(net.Exits) > 0 {
		return fmt.Errorf("%s trains the backbone alone: of a network with %s, those would have no gradient; leave the exits out", c.Method.Name, net.SubNetworks())
	}
	if c.Soft && (c.Method.Contrastive() || !c.Method.OneStage()) {
		return fmt.Errorf("%s contrasts images by their labels and can't take soft targets; ce, subnet_ce and kd can", c.Method.Name)
	}
	return nil
}

// NewForward builds the program that computes each exit's projections or
// logits in evaluation mode (outputs OutputExit+"i").
func NewForward(net *model.Network, c StepConfig) (*graph.Program, error) {
	g := graph.New()
	c.Heads = true
	forwardHeads(g, net, c, false)
	return g.Build()
}

// NewEncoder builds the program that computes each exit's features of batch
// images in evaluation mode (outputs OutputExit+"i").
func NewEncoder(net *model.Network, batch int) (*graph.Program, error) {
	g := graph.New()
	images := g.Input(InputImages, graph.Float, batch, net.ImageHeight, net.ImageWidth, net.ImageChannels)
	for i, f := range net.Encode(g, images, false) {
		g.Output(fmt.Sprint(OutputExit, i), f)
	}
	return g.Build()
}

// forwardHeads adds the images, the network and its heads.
func forwardHeads(g *graph.Graph, net *model.Network, c StepConfig, training bool) (heads loss.Heads) {
	images := g.Input(InputImages, graph.Float, c.Method.Views*c.Batch, net.ImageHeight, net.ImageWidth, net.ImageChannels)
	features := net.Encode(g, images, training)
	m := c.Method
	if m.OneStage() {
		heads.Logits = net.Classify(g, features, c.Classes, training)
	}
	switch {
	case m.Contrastive() && m.OneStage():
		heads.Projections = net.ProjectLinear(g, features, c.Dim)
	case m.Contrastive():
		heads.Projections = net.Project(g, features, c.Dim)
	}
	if c.Expose || c.Heads {
		exits := heads.Projections
		if m.OneStage() {
			exits = heads.Logits
		}
		for i, h := range exits {
			g.Output(fmt.Sprint(OutputExit, i), h)
		}
		if m.OneStage() {
			for i, h := range heads.Projections {
				g.Output(fmt.Sprint(OutputProjection, i), h)
			}
		}
	}
	return heads
}
