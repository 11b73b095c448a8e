package plan

import (
	"slices"
	"strings"

	"selfcon/graph"
)

// Recompute trades work for memory: it cuts the forward pass of an ordered list
// into segments, keeps only what crosses the cuts, and repeats the steps of a
// segment in the backward pass where that first needs their results (Chen et
// al. 2016, arXiv 1604.06174, with cuts chosen by bytes instead of by number).
// The last segment's backward pass comes at once, so that one is not repeated.
// Steps that only serve updates aren't either, nor those that may says no to:
// their results are kept.
//
// size is the memory that a list takes; the result is the smallest of the lists
// tried, l itself among them. It computes the same bits.
func Recompute(l *List, may func(*Step) bool, size func(*List) int) *List {
	turn := slices.IndexFunc(l.Steps, func(s *Step) bool { return strings.Contains(s.Kind(), "Grad") })
	if turn <= 0 {
		return l
	}
	f := l.forward(turn, may)
	best, least := l, size(l)
	var last []int
	for budget := f.stored[turn]; budget > 0; budget -= (budget + 9) / 10 {
		cuts, ok := f.cut(budget)
		if !ok {
			break
		}
		if slices.Equal(cuts, last) {
			continue
		}
		last = cuts
		m := f.repeat(cuts)
		if n := size(m); n < least {
			best, least = m, n
		}
	}
	return best
}

// Any step may be repeated.
func Any(*Step) bool { return true }

// Norms may be repeated: one pass over memory each, where a convolution takes
// many.
func Norms(s *Step) bool {
	_, ok := s.Op.(NormApply)
	return ok
}

// forward is what Recompute knows of the steps before the first derivative.
// Sizes are in elements; position i is before step i.
type forward struct {
	*List
	turn     int
	may      func(*Step) bool
	lastUse  map[*graph.Value]int // the last step of the forward pass that reads a value
	stored   []int                // at each position: what the steps before it have made for the backward pass
	crossing []int                // at each position: what was made before and is read after it in the forward pass
	small    int                  // values up to this size are always kept
}

func (l *List) forward(turn int, may func(*Step) bool) *forward {
	f := &forward{List: l, turn: turn, may: may, lastUse: map[*graph.Value]int{}, stored: make([]int, turn+1), crossing: make([]int, turn+1)}
	backward := map[*graph.Value]bool{}
	largest := 0
	for i, s := range l.Steps {
		for _, v := range s.In {
			if i < turn {
				f.lastUse[through(v)] = i
			} else {
				backward[through(v)] = true
			}
		}
		for _, v := range s.Out {
			if v != nil && i < turn {
				largest = max(largest, v.Shape.Size())
			}
		}
	}
	f.small = largest / 64
	for i, s := range l.Steps[:turn] {
		f.stored[i+1] = f.stored[i]
		for _, v := range s.Out {
			if v == nil || through(v) != v || f.always(v) {
				continue
			}
			if backward[v] {
				f.stored[i+1] += v.Shape.Size()
			}
			for j := i + 1; j <= f.lastUse[v]; j++ {
				f.crossing[j] += v.Shape.Size()
			}
		}
	}
	return f
}

// always says whether a value of the forward pass is kept whatever the cuts.
func (f *forward) always(v *graph.Value) bool {
	return v.DType != graph.Float || v.Shape.Size() <= f.small || f.kept[v] || f.producer[v] == nil || !f.may(f.producer[v])
}

// cut chooses positions such that what is kept before a segment and what the
// segment makes are never more than the budget together, and as little as
// possible is kept. It says whether there are such.
func (f *forward) cut(budget int) ([]int, bool) {
	cost := make([]int, f.turn+1) // kept up to and with a cut here; -1: impossible
	from := make([]int, f.turn+1) // the cut before
	for i := 1; i <= f.turn; i++ {
		cost[i] = -1
		for j := range i {
			if cost[j] >= 0 && cost[j]+f.stored[i]-f.stored[j] <= budget && (cost[i] < 0 || cost[j] < cost[i]) {
				cost[i], from[i] = cost[j], j
			}
		}
		if cost[i] >= 0 {
			cost[i] += f.crossing[i]
		}
	}
	if cost[f.turn] < 0 {
		return nil, false
	}
	var cuts []int
	for i := from[f.turn]; i > 0; i = from[i] {
		cuts = append(cuts, i)
	}
	slices.Reverse(cuts)
	return cuts, true
}

// repeat is the list with the segments before the last cut repeated.
func (f *forward) repeat(cuts []int) *List {
	kept := func(v *graph.Value) bool {
		v = through(v)
		at := f.at[f.producer[v]]
		if f.always(v) || len(cuts) == 0 || at >= cuts[len(cuts)-1] {
			return true
		}
		return slices.ContainsFunc(cuts, func(c int) bool { return at < c && c <= f.lastUse[v] })
	}
	steps := slices.Clone(f.Steps[:f.turn])
	again := map[*graph.Value]*graph.Value{}
	var operands func(s *Step) []*graph.Value
	// operands makes sure that what s reads is there, and says where.
	operands = func(s *Step) []*graph.Value {
		in := slices.Clone(s.In)
		for i, v := range in {
			p := f.producer[v]
			if p == nil || f.at[p] >= f.turn || kept(v) {
				continue
			}
			if again[v] == nil {
				c := &Step{Name: p.Name, Op: p.Op, In: operands(p), Out: slices.Clone(p.Out), Pass: "Recompute"}
				for j, o := range c.Out {
					if o != nil {
						c.Out[j] = &graph.Value{Type: o.Type, ID: -1, Node: o.Node, Index: o.Index}
						again[o] = c.Out[j]
					}
				}
				steps = append(steps, c)
			}
			in[i] = again[v]
		}
		return in
	}
	for _, s := range f.Steps[f.turn:] {
		in := operands(s)
		if !slices.Equal(in, s.In) {
			c := *s
			c.In, s = in, &c
		}
		steps = append(steps, s)
	}
	m := &List{Outputs: f.Outputs, Updates: f.Updates, kept: f.kept}
	m.set(steps)
	return m
}
