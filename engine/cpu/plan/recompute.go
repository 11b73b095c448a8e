package plan

import (
	"cmp"
	"iter"
	"maps"
	"math"
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
	best, _ := recompute(l, may, size)
	return best
}

// recompute is Recompute, and says which values it drops.
func recompute(l *List, may func(*Step) bool, size func(*List) int) (*List, map[*graph.Value]bool) {
	turn := l.turn()
	if turn <= 0 {
		return l, nil
	}
	f := l.forward(turn, may)
	best, least := l, size(l)
	var dropped map[*graph.Value]bool
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
		d := f.dropped(cuts)
		m := f.repeat(d)
		if n := size(m); n < least {
			best, least, dropped = m, n, d
		}
	}
	return best, dropped
}

// Fit is Recompute for norms and, where the list then takes more than budget,
// for convolutions too: results are dropped until the list fits, those that take
// most off the excess for the work of repeating them first, and the choice is
// improved one by one. Where nothing fits, the result is the smallest list tried.
//
// work is what it takes to repeat a step, infinite where it may not be; at most
// limit of it is spent, and the improvement takes less in all, norms' work included.
// Sizes are in elements.
func Fit(l *List, budget int, work func(*Step) float64, limit float64, size func(*List) int) *List {
	best, norms := recompute(l, Norms, size)
	least, turn := size(best), l.turn()
	if least <= budget || turn <= 0 {
		return best
	}
	may := func(s *Step) bool { return Norms(s) || !math.IsInf(work(s), 1) }
	f := newFit(l.forward(turn, may), work, size)
	// Where nothing fits, an aim that can be met finds better choices than one
	// that can't: it weighs the highest steps only.
	dropped := maps.Clone(norms)
	for _, aim := range []int{budget, budget - budget/8, budget - budget/4, budget + (least-budget)/4, budget + (least-budget)/2} {
		for m, d := range f.drop(norms, f.convs, aim, limit) {
			if n := size(m); n < least {
				best, least, dropped = m, n, maps.Clone(d)
			}
			if least <= budget {
				break
			}
		}
		if least <= budget {
			break
		}
	}
	best = f.cheaper(best, dropped, max(least, budget))
	if least > budget {
		return best
	}
	for m, d := range f.drop(nil, f.all, budget, limit) { // norms too only where they help
		if size(m) <= budget {
			if m = f.cheaper(m, d, budget); f.spent(m) < f.spent(best) {
				best = m
			}
			break
		}
	}
	return best
}

// fit is what Fit knows of the steps before the first derivative.
type fit struct {
	*forward
	size  func(*List) int
	made  map[*graph.Node]float64 // what it takes to make a value of the node again
	all   []*graph.Value          // that may be dropped, the most expensive first
	convs []*graph.Value          // those of convolutions
	tries int                     // of other choices, so far
}

// mostTries bounds the time that cheaper takes: a second or two for a hundred
// convolutions.
const mostTries = 1000

// normWork is the work of normalising a number, which three pass through memory
// for, in operations of matrix products that take as long.
const normWork = 80

func newFit(l *forward, work func(*Step) float64, size func(*List) int) *fit {
	f := &fit{forward: l, size: size, made: map[*graph.Node]float64{}}
	for _, s := range f.Steps[:f.turn] {
		v := s.Out[0]
		if v == nil || f.always(v) {
			continue
		}
		f.all = append(f.all, v)
		if Norms(s) {
			f.made[v.Node] = normWork * float64(v.Shape.Size())
			continue
		}
		f.made[v.Node] = work(s)
		f.convs = append(f.convs, v)
	}
	slices.SortStableFunc(f.all, func(a, b *graph.Value) int { return cmp.Compare(f.made[b.Node], f.made[a.Node]) })
	return f
}

// spent is the work of a list's repeated steps.
func (f *fit) spent(l *List) (sum float64) {
	for _, s := range l.Steps {
		if s.Pass == "Recompute" && s.Out[0] != nil {
			sum += f.made[s.Out[0].Node]
		}
	}
	return sum
}

// cheaper is the list with other results dropped, as long as that saves work and
// takes no more than most: one is kept that was dropped, or changes places with
// another, the most expensive first.
func (f *fit) cheaper(l *List, dropped map[*graph.Value]bool, most int) *List {
	now := f.spent(l)
	// try takes on what is dropped, if that is better.
	try := func() bool {
		if f.tries++; f.tries > mostTries {
			return false
		}
		m := f.repeat(dropped)
		n := f.spent(m)
		if n >= now || slices.Max(Lay(m, true).Living(len(m.Steps))) > most || f.size(m) > most {
			return false
		}
		l, now = m, n
		return true
	}
	for again := true; again; {
		again = false
		for _, v := range f.all {
			if !dropped[v] {
				continue
			}
			delete(dropped, v)
			better := try()
			for i := len(f.all) - 1; i >= 0 && !better && f.made[f.all[i].Node] < f.made[v.Node]; i-- {
				w := f.all[i]
				if dropped[w] {
					continue
				}
				dropped[w] = true
				if better = try(); !better {
					delete(dropped, w)
				}
			}
			if !better {
				dropped[v] = true
			}
			again = again || better
		}
	}
	return l
}

// drop yields lists that drop ever more of some results, besides those given, and
// what they drop, until none lives above the aim or nothing is left to gain.
func (f *fit) drop(dropped map[*graph.Value]bool, besides []*graph.Value, aim int, limit float64) iter.Seq2[*List, map[*graph.Value]bool] {
	// What lies above the aim, summed over the steps.
	excess := func(m *List) (sum float64) {
		for _, n := range Lay(m, true).Living(len(m.Steps)) {
			sum += float64(max(0, n-aim))
		}
		return sum
	}
	type candidate struct {
		value *graph.Value
		gain  float64 // of excess for work, when last looked at
		then  float64 // excess
	}
	return func(yield func(*List, map[*graph.Value]bool) bool) {
		dropped := maps.Clone(dropped)
		if dropped == nil {
			dropped = map[*graph.Value]bool{}
		}
		now := excess(f.repeat(dropped))
		var left []candidate
		for _, v := range besides {
			if !dropped[v] && f.needed[v] {
				left = append(left, candidate{value: v, gain: math.Inf(1)})
			}
		}
		// A gain seldom grows as others are dropped, so the first whose gain, seen
		// anew, is still above all others' old ones is taken.
		for fresh := map[*graph.Value]bool{}; now > 0 && len(left) > 0; {
			slices.SortStableFunc(left, func(a, b candidate) int { return cmp.Compare(b.gain, a.gain) })
			c := &left[0]
			work := f.made[c.value.Node]
			if !fresh[c.value] {
				dropped[c.value] = true
				c.then = excess(f.repeat(dropped))
				delete(dropped, c.value)
				c.gain = (now - c.then) / work
				fresh[c.value] = true
				continue
			}
			if c.gain <= 0 {
				return
			}
			if work <= limit {
				limit -= work
				now = c.then
				dropped[c.value] = true
				clear(fresh)
				if !yield(f.repeat(dropped), dropped) {
					return
				}
			}
			left = left[1:]
		}
	}
}

// turn is the position of the first derivative, or -1.
func (l *List) turn() int {
	return slices.IndexFunc(l.Steps, func(s *Step) bool { return strings.Contains(s.Kind(), "Grad") })
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
	lastUse  map[*graph.Value]int  // the last step of the forward pass that reads a value
	stored   []int                 // at each position: what the steps before it have made for the backward pass
	needed   map[*graph.Value]bool // what the backward pass reads
	crossing []int                 // at each position: what was made before and is read after it in the forward pass
	small    int                   // values up to this size are always kept
}

func (l *List) forward(turn int, may func(*Step) bool) *forward {
	f := &forward{List: l, turn: turn, may: may, lastUse: map[*graph.Value]int{}, needed: map[*graph.Value]bool{}, stored: make([]int, turn+1), crossing: make([]int, turn+1)}
	largest := 0
	for i, s := range l.Steps {
		for _, v := range s.In {
			if i < turn {
				f.lastUse[through(v)] = i
			} else {
				f.needed[through(v)] = true
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
			if f.needed[v] {
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
	p := f.producer[v]
	return v.DType != graph.Float || v.Shape.Size() <= f.small || f.kept[v] || p == nil || !f.may(p) ||
		!slices.Contains(p.images().Out, v) // statistics are never taken twice
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

// dropped are the values that are not kept where the forward pass is cut.
func (f *forward) dropped(cuts []int) map[*graph.Value]bool {
	d := map[*graph.Value]bool{}
	if len(cuts) == 0 {
		return d
	}
	for at, s := range f.Steps[:cuts[len(cuts)-1]] {
		for _, v := range s.Out {
			crosses := func(c int) bool { return at < c && c <= f.lastUse[v] }
			if v != nil && !f.always(v) && !slices.ContainsFunc(cuts, crosses) {
				d[v] = true
			}
		}
	}
	return d
}

// repeat is the list with dropped values made again where the backward pass
// first reads them.
func (f *forward) repeat(dropped map[*graph.Value]bool) *List {
	steps := slices.Clone(f.Steps[:f.turn])
	again := map[*graph.Value]*graph.Value{}
	var operands func(s *Step) []*graph.Value
	// operands makes sure that what s reads is there, and says where.
	operands = func(s *Step) []*graph.Value {
		in := slices.Clone(s.In)
		for i, v := range in {
			p := f.producer[v]
			if p == nil || f.at[p] >= f.turn || !dropped[through(v)] {
				continue
			}
			if again[v] == nil {
				p := p.images()
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
	m := &List{Outputs: f.Outputs, Updates: f.Updates, inputs: f.inputs, kept: f.kept}
	m.set(steps)
	return m
}
