package plan

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"selfcon/graph"
)

// Cost is what steps take. Sizes are in elements.
type Cost struct {
	Work func(s *Step) float64       // its products, infinite where it may not be repeated
	Temp func(s *Step) int           // memory besides its values'
	Size func(l *List, most int) int // the memory of a list, or math.MaxInt where that is more than most
}

// Recompute trades work for memory: it cuts the forward pass of an ordered list
// into segments, keeps only what crosses the cuts, and repeats the norms of a
// segment in the backward pass where that first needs their results (Chen et
// al. 2016, arXiv 1604.06174, with cuts chosen by bytes instead of by number).
// The last segment's backward pass comes at once, so that one is not repeated.
// Steps that only serve updates aren't either.
//
// The result is the smallest of the lists tried, l itself among them. It computes the
// same bits.
func Recompute(l *List, cost Cost) *List {
	best, _ := recompute(l, norms, cost.Size)
	best.index()
	return best
}

// recompute is Recompute for the steps that may says yes to, whose results'
// choice it tells too. The list has no index yet.
func recompute(l *List, may func(*Step) bool, size func(l *List, most int) int) (*List, choice) {
	turn := l.turn()
	if turn <= 0 {
		return l, choice{}
	}
	f := l.forward(turn, may)
	best, least, chosen := l, size(l, math.MaxInt), choice{}
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
		if n := size(m, least-1); n < least {
			best, least, chosen = m, n, d
		}
	}
	return best, chosen
}

// Fit is Recompute and, where the list then takes more than budget, repeats other
// steps too, for as little work as brings it down to that. At most limit is spent, or
// what Recompute alone does; if that is not enough, the result is the smallest list
// found. It computes the same bits.
func Fit(l *List, budget int, cost Cost, limit float64) *List {
	best, chosen := recompute(l, norms, cost.Size)
	if least := cost.Size(best, math.MaxInt); least > budget && l.turn() > 0 {
		f := newFit(l, cost)
		best = f.fit(best, least, chosen, budget, max(limit, f.spent(best)))
	}
	best.index()
	return best
}

// Least is the smallest list found that repeats whatever steps, for as little work as
// it takes. It computes the same bits.
func Least(l *List, cost Cost) *List {
	best, chosen := recompute(l, func(*Step) bool { return true }, cost.Size)
	if l.turn() > 0 {
		f := newFit(l, cost)
		least := cost.Size(best, math.MaxInt)
		for before := math.MaxInt; least < before; {
			before = least
			for _, part := range []int{16, 8, 4} {
				if m, n, c := f.smaller(chosen, least-least/part, 0, math.Inf(1)); n < least {
					best, least, chosen = m, n, c
					break
				}
			}
		}
		best, _ = f.cheaper(best, chosen, least)
	}
	best.index()
	return best
}

// again says how often a result is made in the backward pass.
type again int

const (
	kept  again = iota // never
	once               // where it is first read, to stay for the others
	apart              // so for the backward pass itself, and besides anew wherever what is repeated reads it
)

// choice is what is done with the results of the forward pass.
type choice map[*graph.Value]again

// fit is what Fit knows of the steps before the first derivative.
type fit struct {
	*forward
	cost  Cost
	temp  map[*graph.Value]int            // what a step takes besides, by its first result
	temps map[*graph.Node]int             // what making a value of the node again takes besides
	made  map[*graph.Node]float64         // the work of that
	all   []*graph.Value                  // that the backward pass reads and that may be dropped, the most expensive first
	with  map[*graph.Value][]*graph.Value // what only leads to such a value, and is dropped with it
	tries int                             // of other choices, so far
}

// mostTries bounds the time that cheaper takes: a second for a hundred
// convolutions.
const mostTries = 1000

// passWork is the work of making a number without products, such as a norm's: three
// pass through memory for it, in operations of matrix products that take as long.
const passWork = 80

// Work is the work of a step whose products take so many operations.
func Work(s *Step, products float64) float64 {
	if s.Out[0] == nil {
		return products
	}
	return max(products, passWork*float64(s.Out[0].Shape.Size()))
}

func newFit(l *List, cost Cost) *fit {
	may := func(s *Step) bool { return !math.IsInf(cost.Work(s), 1) }
	f := &fit{forward: l.forward(l.turn(), may), cost: cost, temp: map[*graph.Value]int{}, temps: map[*graph.Node]int{},
		made: map[*graph.Node]float64{}, with: map[*graph.Value][]*graph.Value{}}
	for _, s := range l.Steps {
		f.temp[s.result()] = cost.Temp(s)
	}
	for _, s := range f.Steps[:f.turn] {
		v := s.Out[0]
		if v == nil || f.always(v) {
			continue
		}
		f.made[v.Node] = Work(s, cost.Work(s))
		f.temps[v.Node] = cost.Temp(s)
		if f.needed[v] {
			f.all = append(f.all, v)
			f.with[v] = f.leading(nil, v)
		}
	}
	slices.SortStableFunc(f.all, func(a, b *graph.Value) int { return cmp.Compare(f.made[b.Node], f.made[a.Node]) })
	return f
}

// leading appends the values that v is made of and that the backward pass doesn't
// read, as far as they may be dropped.
func (f *fit) leading(to []*graph.Value, v *graph.Value) []*graph.Value {
	for _, u := range f.producer[v].images().In {
		if u = through(u); !f.needed[u] && !f.always(u) && !slices.Contains(to, u) {
			to = f.leading(append(to, u), u)
		}
	}
	return to
}

// set changes what is done with a value, and with those that only lead to it.
func (f *fit) set(c choice, v *graph.Value, to again) {
	c[v] = to
	for _, u := range f.with[v] {
		c[u] = to
	}
}

// result is the first result that is wanted, or nil.
func (s *Step) result() *graph.Value {
	for _, v := range s.Out {
		if v != nil {
			return v
		}
	}
	return nil
}

// living is how many elements hold something at each of a list's steps.
func (f *fit) living(l *List) []int {
	living := Lay(l, true).Living(len(l.Steps))
	for i, s := range l.Steps {
		if s.Pass == "Recompute" {
			living[i] += f.temps[s.result().Node]
		} else {
			living[i] += f.temp[s.result()]
		}
	}
	return living
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

// cheaper is the list with another choice, as long as that saves work and takes no
// more than most: a result is made again less often, alone or with another, a
// cheaper one, dropped in its place, the most expensive first.
func (f *fit) cheaper(l *List, c choice, most int) (*List, choice) {
	now := f.spent(l)
	// try takes on the choice, if it is better.
	try := func() bool {
		if f.tries++; f.tries > mostTries {
			return false
		}
		m := f.repeat(c)
		n := f.spent(m)
		if n >= now || slices.Max(f.living(m)) > most || f.cost.Size(m, most) > most {
			return false
		}
		l, now = m, n
		return true
	}
	for improved := true; improved; {
		improved = false
		for _, v := range f.all {
			was := c[v]
			if was == kept {
				continue
			}
			c[v] = was - 1
			better := try()
			for i := len(f.all) - 1; i >= 0 && !better && f.made[f.all[i].Node] < f.made[v.Node]; i-- {
				w := f.all[i]
				if c[w] == apart {
					continue
				}
				before := maps.Clone(c)
				f.set(c, w, c[w]+1)
				if better = try(); !better {
					c = before
				}
			}
			if !better {
				c[v] = was
			}
			improved = improved || better
		}
	}
	return l, c
}

// fit is Fit where the best list so far takes more than budget.
func (f *fit) fit(best *List, least int, chosen choice, budget int, limit float64) *List {
	type found struct {
		*List
		choice
		spent float64
	}
	var fits []found
	try := func(start choice, aim int) {
		if m, n, c := f.smaller(start, aim, budget, limit); n <= budget {
			fits = append(fits, found{m, c, f.spent(m)})
		} else if n < least {
			best, least, chosen = m, n, c
		}
	}
	starts := []choice{{}, chosen}
	// Gaps take memory too, so that it may take a lower aim to fit; and what is chosen
	// for a lower one is at times the better.
	for _, start := range starts {
		for _, part := range []int{0, 1, 2, 4} {
			try(start, budget-budget/16*part)
		}
	}
	if fits == nil {
		// An aim that can be met finds better choices than one that can't: it
		// weighs the highest steps only.
		for _, start := range starts {
			for _, part := range []int{1, 2} {
				try(start, budget+(least-budget)/4*part)
			}
		}
	}
	if fits == nil {
		best, _ = f.cheaper(best, chosen, least)
		return best
	}
	slices.SortStableFunc(fits, func(a, b found) int { return cmp.Compare(a.spent, b.spent) })
	for i, t := range fits[:min(2, len(fits))] {
		if m, _ := f.cheaper(t.List, t.choice, budget); i == 0 || f.spent(m) < f.spent(best) {
			best = m
		}
	}
	return best
}

// smaller drops ever more of what a choice keeps, what takes most off the excess over
// the aim for its work first, until no more lives than that, the list takes no more
// than budget, or nothing is left to gain within the limit of work. It returns the
// smallest list on the way, its size and its choice.
func (f *fit) smaller(c choice, aim, budget int, limit float64) (best *List, least int, chosen choice) {
	// excess is what lives above the aim, summed over the steps, and the most that lives.
	excess := func(m *List) (sum float64, most int) {
		for _, n := range f.living(m) {
			sum += float64(max(0, n-aim))
			most = max(most, n)
		}
		return sum, most
	}
	type candidate struct {
		value *graph.Value
		gain  float64 // of excess for work, when last looked at

		// What it was then, with the choice it comes to.
		choice
		list         *List
		excess, work float64
		most         int
	}
	m := f.repeat(c)
	now, _ := excess(m)
	spent := f.spent(m)
	best, least, chosen = m, f.cost.Size(m, math.MaxInt), c
	var left []candidate
	for _, v := range f.all {
		if c[v] != apart {
			left = append(left, candidate{value: v, gain: math.Inf(1)})
		}
	}
	// A gain seldom grows as others are dropped, so the first whose gain, seen
	// anew, is still above all others' old ones is taken.
	for fresh := map[*graph.Value]bool{}; now > 0 && least > budget && len(left) > 0; {
		slices.SortStableFunc(left, func(a, b candidate) int { return cmp.Compare(b.gain, a.gain) })
		x := &left[0]
		if !fresh[x.value] {
			x.choice = maps.Clone(c)
			f.set(x.choice, x.value, c[x.value]+1)
			x.list = f.repeat(x.choice)
			x.excess, x.most = excess(x.list)
			x.work = f.spent(x.list) - spent
			x.gain = (now - x.excess) / max(x.work, 1)
			fresh[x.value] = true
			continue
		}
		if x.gain <= 0 {
			break
		}
		if spent+x.work > limit {
			left = left[1:]
			continue
		}
		c, now, spent = x.choice, x.excess, spent+x.work
		clear(fresh)
		if x.most < least {
			if n := f.cost.Size(x.list, least-1); n < least {
				best, least, chosen = x.list, n, c
			}
		}
		if c[x.value] == apart {
			left = left[1:]
		} else {
			x.gain = math.Inf(1)
		}
	}
	return best, least, chosen
}

// turn is the position of the first derivative, or -1.
func (l *List) turn() int {
	return slices.IndexFunc(l.Steps, func(s *Step) bool { return strings.Contains(s.Kind(), "Grad") })
}

// norms are repeated in one pass over memory each, where a convolution takes many.
func norms(s *Step) bool {
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
func (f *forward) dropped(cuts []int) choice {
	d := choice{}
	if len(cuts) == 0 {
		return d
	}
	for at, s := range f.Steps[:cuts[len(cuts)-1]] {
		for _, v := range s.Out {
			crosses := func(c int) bool { return at < c && c <= f.lastUse[v] }
			if v != nil && !f.always(v) && !slices.ContainsFunc(cuts, crosses) {
				d[v] = once
			}
		}
	}
	return d
}

// repeat is the list with dropped values made again where the backward pass reads
// them. It has no index.
func (f *forward) repeat(c choice) *List {
	m := &List{Outputs: f.Outputs, Updates: f.Updates, inputs: f.inputs, values: f.values, kept: f.kept}
	m.Steps = slices.Clone(f.Steps[:f.turn])
	made, early := map[*graph.Value]*graph.Value{}, map[*graph.Value]*graph.Value{}
	var operands func(s *Step, repeated bool) []*graph.Value
	// operands makes sure that what s reads is there, and says where.
	operands = func(s *Step, repeated bool) []*graph.Value {
		in := s.In
		for i, v := range s.In {
			p, how := f.producer[v], c[through(v)]
			if p == nil || f.at[p] >= f.turn || how == kept {
				continue
			}
			there := made
			if made[v] == nil && repeated && how == apart {
				there = early
			}
			if there[v] == nil {
				p := p.images()
				r := &Step{Name: p.Name, Op: p.Op, In: operands(p, true), Out: slices.Clone(p.Out), Pass: "Recompute"}
				for j, o := range r.Out {
					if o != nil {
						r.Out[j] = m.fresh(o.Type, o.Node, o.Index)
						there[o] = r.Out[j]
					}
				}
				m.Steps = append(m.Steps, r)
			}
			if &in[0] == &s.In[0] {
				in = slices.Clone(in)
			}
			in[i] = there[v]
		}
		return in
	}
	for _, s := range f.Steps[f.turn:] {
		clear(early)
		if in := operands(s, false); len(in) > 0 && &in[0] != &s.In[0] {
			r := *s
			r.In, s = in, &r
		}
		m.Steps = append(m.Steps, s)
	}
	return m
}
