package loss

import (
	"fmt"
	"math"
	"slices"

	"selfcon/graph"
	"selfcon/internal/suggest"
)

// methods is the table of the paper's objectives (section 3, appendix; the
// reference's losses.py and main_ce.py).
var methods = []Method{
	{Name: "selfcon-s", Views: 1, Labels: true, About: "self-contrastive, one view: same label at any exit",
		Terms: []Term{{1, All, All, graph.SameLabel}}},
	{Name: "selfcon-m", Views: 2, Labels: true, About: "self-contrastive, two views: same label at any exit and view",
		Terms: []Term{{1, All, All, graph.SameLabel}}},
	{Name: "selfcon-su", Views: 1, About: "self-contrastive without labels, one view: own other exits",
		Terms: []Term{{1, All, All, graph.SameImage}}},
	{Name: "selfcon-mu", Views: 2, About: "self-contrastive without labels, two views: own other exits, same view",
		Terms: []Term{{1, All, All, graph.SameImageView}}},
	{Name: "supcon", Views: 2, Labels: true, About: "supervised contrastive, two views: same label",
		Terms: []Term{{1, Main, Main, graph.SameLabel}}},
	{Name: "supcon-s", Views: 1, Labels: true, About: "supervised contrastive, one view: same label",
		Terms: []Term{{1, Main, Main, graph.SameLabel}}},
	{Name: "simclr", Views: 2, About: "contrastive without labels: the other view of the image",
		Terms: []Term{{1, Main, Main, graph.SameImage}}},
	{Name: "ce", Views: 1, Labels: true, About: "one stage: cross-entropy of the backbone's classifier",
		Classifiers: &Classifiers{}},
	{Name: "subnet_ce", Views: 1, Labels: true, About: "one stage: cross-entropy of every exit's classifier",
		Classifiers: &Classifiers{Subs: 1}},
	{Name: "kd", Views: 1, Labels: true, About: "one stage: cross-entropy, and the sub-networks learn the backbone's probabilities",
		Classifiers: &Classifiers{Subs: 0.5, Distill: 0.5, Temperature: 3}},
	{Name: "selfcon", Views: 1, Labels: true, About: "one stage: cross-entropy of every exit, and each sub-network contrasted with the backbone",
		Classifiers: &Classifiers{Subs: 1}, Terms: []Term{{0.8, Pairs, All, graph.SameLabel}}},
}

// Methods lists the known objectives.
func Methods() []Method { return append([]Method(nil), methods...) }

// Parse finds a method by its name; an unknown one is an error that names the
// nearest.
func Parse(name string) (Method, error) {
	names := make([]string, len(methods))
	for i, m := range methods {
		if m.Name == name {
			return m, nil
		}
		names[i] = m.Name
	}
	return Method{}, fmt.Errorf("unknown method %q%s", name, suggest.Among(name, names))
}

// WithAlpha is the starred variant of a selfcon method: the terms with a
// backbone anchor and sub-network contrasts are left out, and the sub-networks'
// term is weighted by alpha > 0 (paper, appendix):
//
//	S* = supcon-s(F) + α·L_G   M* = supcon(F) + α·L_G   SU* = α·L_G   MU* = simclr(F) + α·L_G
func (m Method) WithAlpha(alpha float64) (Method, error) {
	if !(alpha > 0) || math.IsInf(alpha, 0) {
		return m, fmt.Errorf("alpha %g must be positive (0 would leave the sub-networks out of the loss); leave alpha out for plain %s", alpha, m.Name)
	}
	if !m.NeedsExits() || m.OneStage() {
		return m, fmt.Errorf("alpha weights the sub-networks' term of selfcon-s, -m, -su and -mu; %s has none", m.Name)
	}
	positives := graph.SameImage
	if m.Labels {
		positives = m.Terms[0].Positives // SameLabel, or SharedLabels
	}
	sub := Term{alpha, All, Subs, positives}
	m.Name += "*"
	m.Terms = []Term{{1, Main, Main, positives}, sub}
	if !m.Labels && m.Views == 1 { // one view of an image has no positive at the backbone alone
		m.Terms = m.Terms[1:]
	}
	return m, nil
}

// WithSubs is a method of one stage with another weight of its sub-networks'
// cross-entropy, α.
func (m Method) WithSubs(weight float64) (Method, error) {
	return m.withClassifiers("weight of the sub-networks' cross-entropy", weight, func(c *Classifiers) *float64 { return &c.Subs })
}

// WithDistill is a method of one stage with another weight of its distillation, β.
func (m Method) WithDistill(weight float64) (Method, error) {
	return m.withClassifiers("weight of the distillation", weight, func(c *Classifiers) *float64 { return &c.Distill })
}

// WithDistillTemperature is a method of one stage with another temperature of its
// distillation (the reference's main_ce.py --temperature).
func (m Method) WithDistillTemperature(temperature float64) (Method, error) {
	return m.withClassifiers("temperature of the distillation", temperature, func(c *Classifiers) *float64 { return &c.Temperature })
}

// WithContrast is a method of one stage with another weight of its contrast, γ.
func (m Method) WithContrast(weight float64) (Method, error) {
	if err := m.term("weight of the contrast beside classifiers", weight, m.OneStage() && m.Contrastive()); err != nil {
		return m, err
	}
	m.Terms = slices.Clone(m.Terms)
	for i := range m.Terms {
		m.Terms[i].Weight = weight
	}
	return m, nil
}

func (m Method) withClassifiers(what string, value float64, field func(*Classifiers) *float64) (Method, error) {
	if err := m.term(what, value, m.OneStage() && *field(m.Classifiers) != 0); err != nil {
		return m, err
	}
	c := *m.Classifiers
	*field(&c) = value
	m.Classifiers = &c
	return m, nil
}

// term says why what weights or divides a term can't have a value.
func (m Method) term(what string, value float64, there bool) error {
	if !there {
		return fmt.Errorf("%g: %s has no %s; leave it out", value, m.Name, what)
	}
	if !(value > 0) || math.IsInf(value, 0) {
		return fmt.Errorf("%g: the %s must be positive", value, what)
	}
	return nil
}
