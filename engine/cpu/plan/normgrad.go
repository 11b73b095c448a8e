package plan

import "selfcon/graph"

// NormGrad is the derivative of a ReLU and of the batch norm before it:
// operands x, weight, mean, var, dy and the ReLU's result y; results dx,
// dweight, dbias and, where something else wants it, dy behind the ReLU.
type NormGrad struct{ Eps float64 }

// FuseNormGrad joins ReLUGrad → BatchNormGrad.
func FuseNormGrad(l *List) {
	l.each(func(s *Step) {
		if s.Op != (graph.ReLUGrad{}) {
			return
		}
		dz := s.Out[0]
		for _, u := range l.users[dz] {
			op, ok := u.Op.(graph.BatchNormGrad)
			if !ok || u.In[4] != dz {
				continue
			}
			x, w, mean, variance := u.In[0], u.In[1], u.In[2], u.In[3]
			if l.dependsOn(x, s) || l.dependsOn(w, s) || l.dependsOn(mean, s) || l.dependsOn(variance, s) {
				continue
			}
			f := &Step{u.Name, NormGrad(op), []*graph.Value{x, w, mean, variance, s.In[1], s.In[0]}, append(append([]*graph.Value(nil), u.Out...), nil), "FuseNormGrad"}
			if l.used(dz, u) {
				f.Out[3] = dz
			}
			l.fuse(f, s, u)
			return
		}
	})
}
