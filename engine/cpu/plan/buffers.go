package plan

import (
	"iter"
	"slices"

	"selfcon/graph"
)

// Buffer is a piece of memory that one or more values share.
type Buffer struct {
	Variable *graph.Variable // its storage, or nil
	Constant *graph.Value    // a Fill, kept outside the arena, or nil
	Item                     // size and lifetime; Last is the number of steps for what is used afterwards
}

// Place is where a value lies: in a buffer, Offset elements from its start.
type Place struct{ Buffer, Offset int }

// Layout says where the float values of an ordered list lie.
type Layout struct {
	Buffers []Buffer
	InPlace int // results on top of an operand

	values []*graph.Value // that lie somewhere
	places []placed       // by number
}

// placed is a place, if there is one.
type placed struct {
	Place
	ok bool
}

// Places are where values lie.
func (y *Layout) Places() iter.Seq2[*graph.Value, Place] {
	return func(yield func(*graph.Value, Place) bool) {
		for _, v := range y.values {
			if !yield(v, y.places[v.ID].Place) {
				return
			}
		}
	}
}

// put says where a value lies.
func (y *Layout) put(v *graph.Value, p Place) {
	y.values = append(y.values, v)
	y.places[v.ID] = placed{p, true}
}

// Lay finds buffers for the float values of a list that Order has put in
// order. Reshapes and slices lie in their operands and cost nothing. With
// reuse, results lie on top of operands that die with the step, and a variable
// changes in place where no later step reads it.
func Lay(l *List, reuse bool) *Layout {
	y := &Layout{Buffers: make([]Buffer, 0, l.values), values: make([]*graph.Value, 0, l.values), places: make([]placed, l.values)}
	end := len(l.Steps)
	last := l.lastUses(end)
	updates := map[*graph.Value]*graph.Variable{}
	for _, u := range l.Updates {
		updates[u.Value] = u.Variable
	}
	fresh := func(v *graph.Value, first int) *Buffer {
		y.put(v, Place{Buffer: len(y.Buffers)})
		y.Buffers = append(y.Buffers, Buffer{Item: Item{v.Shape.Size(), first, max(first, last[v.ID])}})
		return &y.Buffers[len(y.Buffers)-1]
	}
	for _, v := range l.inputs {
		if v.DType == graph.Float {
			fresh(v, 0)
		}
	}
	// Sources get their buffers when they are first seen.
	find := func(v *graph.Value) (Place, bool) {
		if p := y.places[v.ID]; p.ok {
			return p.Place, true
		}
		switch op := v.Node.Op.(type) {
		case graph.Read:
			fresh(v, 0).Variable = op.Variable
		case graph.Fill:
			fresh(v, 0).Constant = v
		default:
			return Place{}, false
		}
		return y.places[v.ID].Place, true
	}
	var taken []int // operands' buffers with a result on top
	for i, s := range l.Steps {
		for _, v := range s.In {
			if v.DType == graph.Float {
				find(v)
			}
		}
		if v := s.Out[0]; v != nil && v.DType == graph.Float && len(s.Out) == 1 {
			offset, alias := -1, s.In
			switch op := s.Op.(type) {
			case graph.Reshape:
				offset = 0
			case graph.Slice:
				offset = op.From * v.Shape[1:].Size()
			}
			if offset >= 0 {
				p, _ := find(alias[0])
				p.Offset += offset
				y.put(v, p)
				b := &y.Buffers[p.Buffer]
				b.Last = max(b.Last, last[v.ID])
				continue
			}
		}
		taken = taken[:0]
		if reuse {
			for _, c := range inPlace(s) {
				if c.out >= len(s.Out) || s.Out[c.out] == nil {
					continue
				}
				v := s.Out[c.out]
				if y.places[v.ID].ok {
					continue
				}
				p := y.places[s.In[c.in].ID].Place
				b := &y.Buffers[p.Buffer]
				if slices.Contains(taken, p.Buffer) || b.Last > i || b.Constant != nil || b.Size != v.Shape.Size() || y.shared(s, c.in) {
					continue
				}
				if b.Variable != nil && updates[v] != b.Variable {
					continue
				}
				taken = append(taken, p.Buffer)
				y.put(v, p)
				b.Last = max(b.Last, last[v.ID])
				y.InPlace++
			}
		}
		for _, v := range s.Out {
			if v == nil || v.DType != graph.Float {
				continue
			}
			if !y.places[v.ID].ok {
				fresh(v, i)
			}
		}
	}
	for _, v := range l.Outputs {
		if v.DType == graph.Float {
			find(v)
		}
	}
	for _, u := range l.Updates {
		if u.Value.DType == graph.Float {
			find(u.Value)
		}
	}
	return y
}

// Living is how many elements of the arena hold something at each of a list's
// steps.
func (y *Layout) Living(steps int) []int {
	change := make([]int, steps+1)
	for _, b := range y.Buffers {
		if b.Variable == nil && b.Constant == nil {
			change[b.First] += Aligned(b.Size)
			change[min(b.Last+1, steps)] -= Aligned(b.Size)
		}
	}
	n := 0
	for i, c := range change[:steps] {
		n += c
		change[i] = n
	}
	return change[:steps]
}

// shared says whether another operand of s lies in the buffer of operand i.
func (y *Layout) shared(s *Step, i int) bool {
	b := y.places[s.In[i].ID].Buffer
	for j, v := range s.In {
		if j != i && v.DType == graph.Float && y.places[v.ID].Buffer == b {
			return true
		}
	}
	return false
}

// lastUses says, by number, after which step each value is needed no more: end
// for those used from outside.
func (l *List) lastUses(end int) []int {
	last := make([]int, l.values)
	for i, s := range l.Steps {
		for _, v := range s.In {
			last[v.ID] = i
		}
	}
	for v := range l.kept {
		last[v.ID] = end
	}
	return last
}
