package plan

import (
	"fmt"
	"strings"

	"selfcon/graph"
)

// Step is one instruction: an operation of the graph or a fused one of this
// package, on values of the graph.
type Step struct {
	Name string
	Op   any
	In   []*graph.Value
	Out  []*graph.Value // nil for a result that nothing wants
	Pass string         // the pass that made it; empty for an operation of the graph
}

// Kind is the operation's name, such as "Conv2D".
func (s *Step) Kind() string {
	op := s.Op
	if b, ok := op.(Before); ok {
		op = b.Then
	}
	k := fmt.Sprintf("%T", op)
	return k[strings.LastIndexByte(k, '.')+1:]
}

// Copy gives its operand a place of its own.
type Copy struct{}

// List is a program as steps, operands before the steps that use them.
// Inputs, variables and constants are values without a step.
type List struct {
	Steps   []*Step
	Outputs []*graph.Value
	Updates []graph.Update

	inputs   []*graph.Value
	values   int                      // how many have numbers: IDs are smaller
	kept     map[*graph.Value]bool    // outputs and updates: used from outside
	users    map[*graph.Value][]*Step // one entry a use
	producer map[*graph.Value]*Step
	at       map[*Step]int // position in Steps
}

// NewList makes the list of a program's steps, as yet unfused.
func NewList(p *graph.Program) *List {
	l := &List{kept: map[*graph.Value]bool{}}
	for _, in := range p.Inputs {
		l.inputs = append(l.inputs, in.Value)
	}
	for _, n := range p.Nodes {
		for _, v := range n.Out {
			l.values = max(l.values, v.ID+1)
		}
		if !source(n.Op) {
			l.Steps = append(l.Steps, &Step{Name: n.Name, Op: n.Op, In: n.In, Out: n.Out})
		}
	}
	for _, o := range p.Outputs {
		l.Outputs = append(l.Outputs, o.Value)
		l.kept[o.Value] = true
	}
	for _, u := range p.Updates {
		if r, ok := through(u.Value).Node.Op.(graph.Read); ok && r.Variable != u.Variable {
			// The old value of another variable, which may be about to change.
			c := l.fresh(u.Value.Type, u.Value.Node, 0)
			l.Steps = append(l.Steps, &Step{Name: u.Variable.Name + ".copy", Op: Copy{}, In: []*graph.Value{u.Value}, Out: []*graph.Value{c}})
			u.Value = c
		}
		l.Updates = append(l.Updates, u)
		l.kept[u.Value] = true
	}
	l.set(l.Steps)
	return l
}

// fresh is a value besides the program's.
func (l *List) fresh(t graph.Type, n *graph.Node, index int) *graph.Value {
	l.values++
	return &graph.Value{Type: t, ID: l.values - 1, Node: n, Index: index}
}

// set makes steps the list's.
func (l *List) set(steps []*Step) {
	l.Steps = steps
	l.index()
}

// index finds who makes and who reads each value.
func (l *List) index() {
	l.users, l.producer, l.at = map[*graph.Value][]*Step{}, map[*graph.Value]*Step{}, map[*Step]int{}
	for i, s := range l.Steps {
		l.link(s, i)
	}
}

func source(op graph.Op) bool {
	switch op.(type) {
	case graph.Input, graph.Read, graph.Fill:
		return true
	}
	return false
}

// through follows reshapes and slices back to the value whose numbers v shows.
func through(v *graph.Value) *graph.Value {
	for {
		switch v.Node.Op.(type) {
		case graph.Reshape, graph.Slice:
			v = v.Node.In[0]
		default:
			return v
		}
	}
}

func (l *List) link(s *Step, i int) {
	l.at[s] = i
	for _, v := range s.In {
		l.users[v] = append(l.users[v], s)
	}
	for _, v := range s.Out {
		if v != nil {
			l.producer[v] = s
		}
	}
}

// only returns the step that is the sole user of v, if there is one.
func (l *List) only(v *graph.Value) *Step {
	if u := l.users[v]; len(u) == 1 && !l.kept[v] {
		return u[0]
	}
	return nil
}

// dependsOn says whether v needs the results of s.
func (l *List) dependsOn(v *graph.Value, s *Step) bool {
	seen := map[*Step]bool{}
	var walk func(v *graph.Value) bool
	walk = func(v *graph.Value) bool {
		p := l.producer[v]
		if p == s {
			return true
		}
		if p == nil || seen[p] {
			return false
		}
		seen[p] = true
		for _, in := range p.In {
			if walk(in) {
				return true
			}
		}
		return false
	}
	return walk(v)
}

// fuse puts f in the place of the last of parts and takes the others out.
// Order has to mend the order afterwards.
func (l *List) fuse(f *Step, parts ...*Step) {
	last := 0
	for _, p := range parts {
		last = max(last, l.at[p])
		l.remove(p)
	}
	l.Steps[last] = f
	l.link(f, last)
}

// remove takes out a step whose results nothing needs any more.
func (l *List) remove(s *Step) {
	l.Steps[l.at[s]] = nil
	delete(l.at, s)
	for _, v := range s.In {
		u := l.users[v]
		for j, t := range u {
			if t == s {
				l.users[v] = append(u[:j:j], u[j+1:]...)
				break
			}
		}
	}
	for _, v := range s.Out {
		if v != nil && l.producer[v] == s {
			delete(l.producer, v)
		}
	}
}

// each calls f for every step that is still there.
func (l *List) each(f func(s *Step)) {
	for i := range l.Steps {
		if s := l.Steps[i]; s != nil {
			f(s)
		}
	}
}
