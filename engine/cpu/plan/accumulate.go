package plan

import "selfcon/graph"

// ConvGradInputAdd is the derivative of a convolution by its images, added to
// another derivative: operands dy, w and the one to add to.
type ConvGradInputAdd struct{ Grad graph.Conv2DGradInput }

// FuseAccumulate joins Conv2DGradInput → Add where the other summand dies
// there, so that the convolution can add to it in place.
func FuseAccumulate(l *List) {
	l.each(func(s *Step) {
		if s.Op != (graph.Add{}) || s.In[0] == s.In[1] {
			return
		}
		for i, dx := range s.In {
			p, other := l.producer[dx], s.In[1-i]
			if p == nil || l.only(dx) != s || l.only(other) != s {
				continue
			}
			op, ok := p.Op.(graph.Conv2DGradInput)
			if !ok || l.dependsOn(other, p) {
				continue
			}
			l.fuse(&Step{p.Name, ConvGradInputAdd{op}, []*graph.Value{p.In[0], p.In[1], other}, s.Out, "FuseAccumulate"}, p, s)
			return
		}
	})
}
