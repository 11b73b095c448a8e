// Package loss describes training objectives as typed values: which rows are
// anchors, which are contrasts, which are positives (Method), and adds them to
// a graph. Every method of the paper is a row of one table (methods.go).
package loss

import (
	"fmt"
	"math"

	"selfcon/graph"
)

// Exits chooses among a network's exits; the backbone's is the last.
type Exits uint8

const (
	All  Exits = iota // Ω: every sub-network and the backbone
	Main              // F: the backbone alone
	Subs              // G: the sub-networks alone
)

// Term is one contrast: among the rows of Rows, those of Anchors are pulled
// towards their positives. Anchors are part of Rows.
type Term struct {
	Weight    float64
	Rows      Exits
	Anchors   Exits
	Positives graph.Positives
}

// Method is a training objective.
type Method struct {
	Name   string
	Views  int    // augmented views of each image
	Labels bool   // whether labels are used
	Terms  []Term // contrasts of projections; none: cross-entropy of logits
	About  string // one line for help texts
}

// Contrastive says whether the method contrasts projections (otherwise it
// classifies).
func (m Method) Contrastive() bool { return len(m.Terms) > 0 }

// NeedsExits says whether the method is defined only for networks with at
// least one sub-network.
func (m Method) NeedsExits() bool {
	for _, t := range m.Terms {
		if t.Rows != Main {
			return true
		}
	}
	return false
}

// Temperatures of the contrast: logits are divided by Tau, the loss is scaled
// by Tau/Base (the reference's base temperature is 0.07).
type Temperatures struct{ Tau, Base float64 }

// Add adds the objective to a graph and returns the loss, a scalar.
// projections has one value for each exit, the backbone's last, each
// [Views·B × D], L2-normalised, all rows of view one before those of view two;
// labels is int[B].
func (m Method) Add(g *graph.Graph, projections []*graph.Value, labels *graph.Value, t Temperatures) *graph.Value {
	if !m.Contrastive() {
		return g.Fail("loss: %s is not a contrastive method", m.Name)
	}
	exits := len(projections)
	if exits == 0 || m.NeedsExits() && exits < 2 {
		return g.Fail("loss: %s contrasts the exits of a network and needs at least one sub-network; the network has %d exit(s)", m.Name, exits)
	}
	var total *graph.Value
	for i, term := range m.Terms {
		name := fmt.Sprintf("loss.%d", i)
		rows := projections
		if term.Rows == Main {
			rows = projections[exits-1:]
		}
		anchors := make([]bool, len(rows))
		for e := range anchors {
			main := e == len(rows)-1
			anchors[e] = term.Anchors == All || (term.Anchors == Main) == main
		}
		z := rows[0]
		if len(rows) > 1 {
			z = g.Concat(name+".features", rows...)
		}
		l := g.Contrast(name, z, labels, graph.Contrast{
			Exits: len(rows), Views: m.Views, Anchors: anchors, Positives: term.Positives,
			Temperature: t.Tau, BaseTemperature: t.Base,
		})
		if term.Weight != 1 {
			l = g.Scale(name+".weighted", l, term.Weight)
		}
		if total == nil {
			total = l
		} else {
			total = g.Add("loss", total, l)
		}
	}
	return total
}

// Uniform is the loss when every logit is the same, as with features that have
// collapsed to one point: Σ Weight·(Tau/Base)·ln(rows − 1) over the terms. 0 for
// cross-entropy.
func (m Method) Uniform(exits, batch int, t Temperatures) float64 {
	sum := 0.0
	for _, term := range m.Terms {
		rows := m.Views * batch
		if term.Rows != Main {
			rows *= exits
		}
		sum += term.Weight * t.Tau / t.Base * math.Log(float64(rows-1))
	}
	return sum
}
