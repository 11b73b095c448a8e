// Package loss describes training objectives as typed values: which rows are
// anchors, which are contrasts, which are positives, what classifiers learn
// beside them (Method), and adds them to a graph. Every method of the paper is
// a row of one table (methods.go, docs/methods.md).
package loss

import (
	"fmt"
	"math"

	"selfcon/graph"
)

// Exits chooses among a network's exits; the backbone's is the last.
type Exits uint8

const (
	All   Exits = iota // Ω: every sub-network and the backbone
	Main               // F: the backbone alone
	Subs               // G: the sub-networks alone
	Pairs              // each sub-network with the backbone: a contrast for each, added up
)

// Term is one contrast: among the rows of Rows, those of Anchors are pulled
// towards their positives. Anchors are part of Rows; of Pairs, All are both.
type Term struct {
	Weight    float64
	Rows      Exits
	Anchors   Exits
	Positives graph.Positives
}

// Classifiers is what the exits' linear classifiers learn when they are
// trained together with the network, in one stage:
//
//	CE(F) + Σ_G [Subs·CE(G) + Distill·Temperature²·H(softmax(F/Temperature) held fixed, softmax(G/Temperature))]
type Classifiers struct {
	Subs, Distill float64 // α and β of the paper
	Temperature   float64 // of the distillation
}

// Method is a training objective: contrasts, or classifiers, or both.
type Method struct {
	Name        string
	Views       int          // augmented views of each image
	Labels      bool         // whether labels are used
	Terms       []Term       // contrasts of projections
	Classifiers *Classifiers // nil: the encoder is trained by contrast alone, a classifier afterwards
	About       string       // one line for help texts
}

// Contrastive says whether the method contrasts projections.
func (m Method) Contrastive() bool { return len(m.Terms) > 0 }

// OneStage says whether classifiers are trained together with the network.
func (m Method) OneStage() bool { return m.Classifiers != nil }

// NeedsExits says whether the method is defined only for networks with at
// least one sub-network.
func (m Method) NeedsExits() bool {
	for _, t := range m.Terms {
		if t.Rows != Main {
			return true
		}
	}
	c := m.Classifiers
	return c != nil && (c.Subs != 0 || c.Distill != 0)
}

// Temperatures of the contrast: logits are divided by Tau, the loss is scaled
// by Tau/Base (the reference's base temperature is 0.07).
type Temperatures struct{ Tau, Base float64 }

// Heads are the outputs of a network's exits, the backbone's last.
type Heads struct {
	// Projections are [Views·B × D] each, L2-normalised, all rows of view one
	// before those of view two; nil for methods that don't contrast.
	Projections []*graph.Value
	// Logits are [Views·B × classes] each; nil but for methods of one stage.
	Logits []*graph.Value
}

// Add adds the objective to a graph and returns the loss, a scalar. labels is
// int[B]; for contrasts of graph.SharedLabels float[B × labels]; classifiers can
// learn soft targets float[B × classes] in their place.
func (m Method) Add(g *graph.Graph, h Heads, labels *graph.Value, t Temperatures) *graph.Value {
	var total *graph.Value
	add := func(name string, l *graph.Value, weight float64) {
		if weight != 1 {
			l = g.Scale(name+".weighted", l, weight)
		}
		if total == nil {
			total = l
		} else {
			total = g.Add(name+".sum", total, l)
		}
	}
	if m.OneStage() {
		m.classify(g, h.Logits, labels, add)
	}
	exits := len(h.Projections)
	if m.Contrastive() && (exits == 0 || m.NeedsExits() && exits < 2) {
		return g.Fail("loss: %s contrasts the exits of a network and needs at least one sub-network; the network has %d exit(s)", m.Name, exits)
	}
	for i, term := range m.Terms {
		name := fmt.Sprintf("loss.%d", i)
		if term.Rows == Pairs {
			for e, z := range h.Projections[:exits-1] {
				name := fmt.Sprintf("%s.%d", name, e)
				add(name, m.contrast(g, name, []*graph.Value{z, h.Projections[exits-1]}, labels, term, t), term.Weight)
			}
			continue
		}
		rows := h.Projections
		if term.Rows == Main {
			rows = rows[exits-1:]
		}
		add(name, m.contrast(g, name, rows, labels, term, t), term.Weight)
	}
	if total == nil {
		return g.Fail("loss: method %q has neither contrasts nor classifiers", m.Name)
	}
	return total
}

// contrast adds one term, without its weight.
func (m Method) contrast(g *graph.Graph, name string, rows []*graph.Value, labels *graph.Value, term Term, t Temperatures) *graph.Value {
	anchors := make([]bool, len(rows))
	for e := range anchors {
		main := e == len(rows)-1
		anchors[e] = term.Anchors == All || (term.Anchors == Main) == main
	}
	z := rows[0]
	if len(rows) > 1 {
		z = g.Concat(name+".features", rows...)
	}
	return g.Contrast(name, z, labels, graph.Contrast{
		Exits: len(rows), Views: m.Views, Anchors: anchors, Positives: term.Positives,
		Temperature: t.Tau, BaseTemperature: t.Base,
	})
}

// classify adds the classifiers' terms.
func (m Method) classify(g *graph.Graph, logits []*graph.Value, labels *graph.Value, add func(string, *graph.Value, float64)) {
	exits, c := len(logits), m.Classifiers
	if exits == 0 || m.NeedsExits() && exits < 2 {
		g.Fail("loss: %s trains the classifiers of sub-networks and needs at least one; the network has %d exit(s)", m.Name, exits)
		return
	}
	main := logits[exits-1]
	add("loss.ce", g.CrossEntropy("loss.ce", main, labels), 1)
	for i, l := range logits[:exits-1] {
		if c.Subs != 0 {
			name := fmt.Sprintf("loss.ce.%d", i)
			add(name, g.CrossEntropy(name, l, labels), c.Subs)
		}
		if c.Distill != 0 {
			name := fmt.Sprintf("loss.kd.%d", i)
			add(name, g.Distill(name, l, main, c.Temperature), c.Distill)
		}
	}
}

// Uniform is the loss when every logit is the same, as with features that have
// collapsed to one point: Σ Weight·(Tau/Base)·ln(rows − 1) over the contrasts,
// and ln(classes) for each cross-entropy. exits are those of the network, the
// backbone's among them.
func (m Method) Uniform(exits, batch, classes int, t Temperatures) float64 {
	sum := 0.0
	for _, term := range m.Terms {
		rows, times := m.Views*batch, 1
		switch term.Rows {
		case Main:
		case Pairs:
			rows, times = 2*rows, exits-1
		default:
			rows *= exits
		}
		sum += term.Weight * float64(times) * t.Tau / t.Base * math.Log(float64(rows-1))
	}
	if c := m.Classifiers; c != nil {
		subs := float64(exits - 1)
		sum += math.Log(float64(classes)) * (1 + subs*(c.Subs+c.Distill*c.Temperature*c.Temperature))
	}
	return sum
}
