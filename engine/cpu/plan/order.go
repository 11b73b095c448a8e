package plan

import "selfcon/graph"

// Order puts every step behind those it depends on and otherwise keeps the
// order it finds, with two exceptions. Steps on integers come first, so that
// labels can be checked before anything changes. Steps that only serve updates
// (optimizers, running statistics) come as soon as their operands are there and
// every other reader of the variable they replace has run: then the gradient
// dies early and the variable can change in place.
// The second exception can be switched off.
func Order(l *List, hurry bool) {
	var todo, early []*Step
	updated := map[*graph.Value]*graph.Variable{}
	for _, u := range l.Updates {
		updated[u.Value] = u.Variable
	}
	var out []*Step
	done := map[*Step]bool{}
	var emit func(s *Step)
	ready := func(s *Step) bool {
		for _, v := range s.In {
			if p := l.producer[v]; p != nil && !done[p] {
				return false
			}
			r, ok := v.Node.Op.(graph.Read)
			if ok && replaces(s, r.Variable, updated) && !l.readBefore(v, s, done) {
				return false
			}
		}
		return true
	}
	flush := func() {
		for again := true; again; {
			again = false
			for i, s := range early {
				if s != nil && !done[s] && ready(s) {
					early[i], done[s], again = nil, true, true
					out = append(out, s)
				}
			}
		}
	}
	emit = func(s *Step) {
		if done[s] {
			return
		}
		done[s] = true
		for _, v := range s.In {
			if p := l.producer[v]; p != nil {
				emit(p)
			}
		}
		out = append(out, s)
	}
	l.each(func(s *Step) {
		if OnInts(s) {
			emit(s)
		}
	})
	l.each(func(s *Step) {
		switch {
		case done[s]:
		case hurry && l.servesUpdates(s, updated):
			early = append(early, s)
		default:
			todo = append(todo, s)
		}
	})
	flush()
	for _, s := range todo {
		emit(s)
		flush()
	}
	for _, s := range early { // those that wait for each other
		if s != nil {
			emit(s)
		}
	}
	l.Steps = out
	clear(l.at)
	for i, s := range out {
		l.at[s] = i
	}
}

// OnInts says whether a step computes integers only.
func OnInts(s *Step) bool {
	for _, v := range s.Out {
		if v != nil && v.DType != graph.Int {
			return false
		}
	}
	return true
}

// servesUpdates says whether the results of s are stored in variables and
// otherwise only read by steps of which that is true: a moving average's of
// parameters.
func (l *List) servesUpdates(s *Step, updated map[*graph.Value]*graph.Variable) bool {
	any := false
	for _, v := range s.Out {
		if v == nil {
			continue
		}
		for _, u := range l.users[v] {
			if updated[v] == nil || !l.servesUpdates(u, updated) {
				return false
			}
		}
		any = any || updated[v] != nil
	}
	return any
}

// replaces says whether a result of s is the new value of a variable.
func replaces(s *Step, variable *graph.Variable, updated map[*graph.Value]*graph.Variable) bool {
	for _, v := range s.Out {
		if v != nil && updated[v] == variable {
			return true
		}
	}
	return false
}

// readBefore says whether every reader of v but s has run.
func (l *List) readBefore(v *graph.Value, s *Step, done map[*Step]bool) bool {
	for _, u := range l.users[v] {
		if u != s && !done[u] {
			return false
		}
	}
	return true
}
