package plan

import "selfcon/graph"

// FuseNorm joins NormApply with an Add and a ReLU behind it.
func FuseNorm(l *List) {
	l.each(func(s *Step) {
		op, ok := s.Op.(NormApply)
		if !ok || op.Add || op.ReLU {
			return
		}
		parts, y := []*Step{s}, s.Out[0]
		in := append([]*graph.Value(nil), s.In...)
		next := l.only(y)
		if next != nil && next.Op == (graph.Add{}) {
			other := next.In[0]
			if other == y {
				other = next.In[1]
			}
			if l.dependsOn(other, s) {
				return
			}
			op.Add, in, parts, y = true, append(in, other), append(parts, next), next.Out[0]
			next = l.only(y)
		}
		if next != nil && next.Op == (graph.ReLU{}) {
			op.ReLU, parts, y = true, append(parts, next), next.Out[0]
		}
		if len(parts) > 1 {
			l.fuse(&Step{s.Name, op, in, []*graph.Value{y}, "FuseNorm"}, parts...)
		}
	})
}

// FuseBoth joins two norms whose results are added, as those of a block and of
// its shortcut.
func FuseBoth(l *List) {
	l.each(func(s *Step) {
		op, ok := s.Op.(NormApply)
		if !ok || !op.Add || op.Both {
			return
		}
		r := s.In[2]
		if p := l.producer[r]; p != nil && p.Op == (NormApply{}) && l.only(r) == s {
			op.Both = true
			l.fuse(&Step{s.Name, op, []*graph.Value{s.In[0], s.In[1], p.In[0], p.In[1]}, s.Out, "FuseBoth"}, p, s)
		}
	})
}

// FuseMask joins ReLUGrad → NormGradSums. Where the ReLU came straight from
// this norm and nothing else wants its derivative, the mask follows from x, and
// neither the ReLU's result nor the masked derivative is needed.
func FuseMask(l *List) {
	l.each(func(s *Step) {
		if s.Op != (graph.ReLUGrad{}) {
			return
		}
		y, dy, dz := s.In[0], s.In[1], s.Out[0]
		for _, sums := range l.users[dz] {
			if sums.Op != (NormGradSums{}) {
				continue
			}
			x, mean := sums.In[1], sums.In[2]
			if l.dependsOn(x, s) || l.dependsOn(mean, s) {
				continue
			}
			apply := l.only(sums.Out[0])
			if n := l.producer[y]; n != nil && n.Op == (NormApply{ReLU: true}) && n.In[0] == x && len(l.users[dz]) == 2 && !l.kept[dz] && apply != nil && apply.In[0] == dz {
				affine := n.In[1]
				op := apply.Op.(NormGradApply)
				op.Mask = ByInput
				in := append([]*graph.Value{dy}, apply.In[1:]...)
				l.fuse(&Step{apply.Name, op, append(in, affine), apply.Out, "FuseMask"}, apply)
				l.fuse(&Step{sums.Name, NormGradSums{ByInput}, []*graph.Value{dy, x, mean, affine}, sums.Out, "FuseMask"}, s, sums)
				return
			}
			l.fuse(&Step{sums.Name, NormGradSums{ByResult}, []*graph.Value{dy, x, mean, y}, []*graph.Value{sums.Out[0], dz}, "FuseMask"}, s, sums)
			return
		}
	})
}
