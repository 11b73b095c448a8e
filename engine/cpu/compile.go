package cpu

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"

	"selfcon/engine"
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/cpu/plan"
	"selfcon/graph"
)

// compiler turns one program into an Executable.
type compiler struct {
	*Engine
	set    *kernel.Set
	pool   *pool
	list   *plan.List
	floats map[*graph.Value][]float32
	ints   map[*graph.Value][]int32
	frozen bool // the program changes no variable
	mixes  bool // the program has batch norms that mix images
}

// work is what a step needs and how to make it run. It is described first, then
// memory is planned, then built.
type work struct {
	temps   []int   // floats that only this step uses, shared with other steps
	scratch int     // floats for each worker
	flops   float64 // multiplications and additions of matrix products, by their definition
	cost    float64 // as many, by the way they are computed
	build   func(temps [][]float32) func()

	// What a step makes of a weight alone lies in temps[0], where pack puts it
	// before the step runs. Programs that change no variable keep it, and pack
	// runs only when the weight has changed.
	weight *graph.Value
	pack   func(temps [][]float32) func()
}

// products is the cost of a step's matrix products.
func (w work) products() float64 { return cmp.Or(w.cost, w.flops) }

// keeps says whether what is made of w alone is kept from run to run.
func (c *compiler) keeps(w *graph.Value) bool {
	_, variable := w.Node.Op.(graph.Read)
	return variable && c.frozen
}

// plain is the work of a step that needs no memory but its values'.
func plain(build func() func()) work {
	return work{build: func([][]float32) func() { return build() }}
}

// f is the memory of a float value; only to be called while building.
func (c *compiler) f(v *graph.Value) []float32 {
	s, ok := c.floats[v]
	if !ok {
		panic(fmt.Sprintf("cpu: value %d of %s has no memory", v.ID, v.Node.Name))
	}
	return s
}

// skips says whether a pass is left out.
func (e *Engine) skips(pass string) bool {
	return slices.Contains(e.opt.Skip, pass) || slices.Contains(e.opt.Skip, SkipAll)
}

// Compile fuses, orders, plans and builds.
func (e *Engine) Compile(p *graph.Program) (engine.Executable, error) {
	if e.closed {
		return nil, errClosed
	}
	l := plan.NewList(p)
	plan.Split(l)
	plan.LowerConv(l)
	for _, f := range plan.Fusions {
		if !e.skips(f.Name) {
			f.Run(l)
		}
	}
	plan.Order(l, !e.opt.NoOrder)
	c := &compiler{e, e.set, e.pool, l, map[*graph.Value][]float32{}, map[*graph.Value][]int32{}, len(p.Updates) == 0, l.Mixes()}
	works, err := c.describe(l)
	if err != nil {
		return nil, err
	}
	kept := 4 * c.assign(l, works, math.MaxInt).total
	if !e.skips(skipRecompute) {
		if m := c.recompute(l, works); m != l {
			l, c.list = m, m
			if works, err = c.describe(l); err != nil {
				return nil, err
			}
		}
	}
	if !e.skips(skipBefore) {
		m := *l
		plan.FuseBefore(&m, c.byRows)
		joined, err := c.describe(&m)
		if err != nil {
			return nil, err
		}
		if c.assign(&m, joined, math.MaxInt).total <= max(c.assign(l, works, math.MaxInt).total, c.spare()) {
			l, c.list, works = &m, &m, joined
		}
	}
	if err := e.declare(p); err != nil {
		return nil, err
	}

	x := &Executable{engine: e, program: p}
	x.stats.Kept = kept
	temps, err := c.place(p, works, x)
	if err != nil {
		return nil, err
	}
	for i, s := range l.Steps {
		if err := e.pool.reserve(e.memory, works[i].scratch); err != nil {
			return nil, err
		}
		if works[i].build == nil {
			continue
		}
		in := instruction{name: s.Name, kind: s.Kind(), pass: cmp.Or(s.Pass, "graph"), run: works[i].build(temps[i]), flops: works[i].flops}
		if works[i].pack != nil {
			pack, run := works[i].pack(temps[i]), in.run
			if w := works[i].weight; c.keeps(w) {
				in.pack, in.weight = pack, e.vars[w.Node.Op.(graph.Read).Variable.Name]
			} else {
				in.run = func() {
					pack()
					run()
				}
			}
		}
		for _, v := range s.In {
			if !slices.Contains(s.Out, v) { // which it makes first
				in.bytes += 4 * v.Shape.Size()
			}
		}
		for _, v := range s.Out {
			if v != nil {
				in.bytes += 4 * v.Shape.Size()
			}
		}
		if plan.OnInts(s) {
			x.ints = append(x.ints, in)
		} else {
			in.run = x.watched(c, s, in.run)
			x.steps = append(x.steps, in)
		}
		switch s.Op.(type) {
		case graph.CrossEntropy, graph.CrossEntropyGrad:
			if s.In[1].DType == graph.Int {
				x.checks = append(x.checks, check{s.Name, s.Kind(), c.ints[s.In[1]], s.In[0].Shape[1]})
			}
		}
	}
	for _, in := range p.Inputs {
		x.inputs = append(x.inputs, inout{in.Name, c.floats[in.Value], c.ints[in.Value], engine.Tensor{}})
	}
	x.results = map[string]engine.Tensor{}
	for _, o := range p.Outputs {
		t := engine.Tensor{Shape: o.Value.Shape}
		if o.Value.DType == graph.Int {
			t.Data = make([]int32, o.Value.Shape.Size())
		} else {
			t.Data = make([]float32, o.Value.Shape.Size())
		}
		x.outputs = append(x.outputs, inout{o.Name, c.floats[o.Value], c.ints[o.Value], t})
		x.results[o.Name] = t
	}
	for _, u := range l.Updates {
		to := e.vars[u.Variable.Name]
		x.changes = append(x.changes, to)
		if u.Value.DType == graph.Int {
			x.updates = append(x.updates, update{toN: to.n, n: c.ints[u.Value]})
		} else if from := c.f(u.Value); &from[0] != &to.f[0] {
			x.updates = append(x.updates, update{toF: to.f, f: from})
		}
	}
	return x, nil
}

// spare is the floats that a program may take for speed alone.
func (c *compiler) spare() int {
	switch c.opt.Memory {
	case MemoryFast:
		return math.MaxInt
	case MemoryLeast:
		return 0
	}
	return cmp.Or(c.opt.Arena, DefaultArena) / 4
}

// repeated is the most that may be repeated by itself, as a share of a program's work.
const repeated = 0.08

// recompute is the list with steps repeated in place of keeping their results,
// as far as Options.Memory asks for it.
func (c *compiler) recompute(l *plan.List, works []work) *plan.List {
	known, all := map[*plan.Step]work{}, 0.0
	for i, s := range l.Steps {
		known[s] = works[i]
		all += plan.Work(s, works[i].products())
	}
	of := func(s *plan.Step) work {
		w, ok := known[s]
		if !ok {
			w, _ = c.emit(s) // like another that is known
		}
		return w
	}
	cost := plan.Cost{
		Work: func(s *plan.Step) float64 { return of(s).products() },
		Temp: func(s *plan.Step) (n int) {
			for _, t := range of(s).temps {
				n += plan.Aligned(t)
			}
			return n
		},
		Size: func(l *plan.List, most int) int {
			works := make([]work, len(l.Steps))
			for i, s := range l.Steps {
				works[i] = of(s)
			}
			return c.assign(l, works, most).total
		},
	}
	switch c.opt.Memory {
	case MemoryFast:
		return plan.Recompute(l, cost)
	case MemoryLeast:
		return plan.Least(l, cost)
	}
	return plan.Fit(l, c.spare(), cost, all*repeated)
}

// describe is the work of every step of a list.
func (c *compiler) describe(l *plan.List) ([]work, error) {
	works := make([]work, len(l.Steps))
	for i, s := range l.Steps {
		var ok bool
		if works[i], ok = c.emit(s); !ok {
			return nil, fmt.Errorf("cpu: node %s: operation %s is not known", s.Name, s.Kind())
		}
	}
	return works, nil
}

// placement says where everything lies in the arena.
type placement struct {
	*plan.Layout
	items   []plan.Item // buffers but for variables and constants, then the steps' temporaries
	offsets []int
	total   int // floats without the constants, which lie behind the rest
}

// assign plans the memory of a list. Where it is more than most floats, there are no
// offsets and the total is math.MaxInt.
func (c *compiler) assign(l *plan.List, works []work, most int) placement {
	layout := plan.Lay(l, !c.opt.NoReuse)
	var items []plan.Item
	for _, b := range layout.Buffers {
		if b.Variable == nil && b.Constant == nil {
			items = append(items, b.Item)
		}
	}
	for i, w := range works {
		for j, n := range w.temps {
			it := plan.Item{Size: n, First: i, Last: i}
			if j == 0 && w.pack != nil && c.keeps(w.weight) {
				it.First, it.Last = 0, len(works)
			}
			items = append(items, it)
		}
	}
	if c.opt.NoReuse {
		for i := range items {
			items[i].First, items[i].Last = 0, len(works)
		}
	}
	offsets, total := plan.Assign(items, most)
	return placement{layout, items, offsets, total}
}

// place plans the memory, allocates it and returns each step's temporaries.
func (c *compiler) place(p *graph.Program, works []work, x *Executable) ([][][]float32, error) {
	layout := c.assign(c.list, works, math.MaxInt)
	total := layout.total
	for _, b := range layout.Buffers {
		if b.Constant != nil {
			total += plan.Aligned(b.Size)
		}
	}
	arena, err := c.memory.allocate(total)
	if err != nil {
		return nil, err
	}
	runtime.AddCleanup(x, c.memory.release, arena) // for a program that is dropped before its engine
	x.stats.Arena = 4 * total
	x.stats.InPlace = layout.InPlace
	for _, it := range layout.items {
		x.stats.Unshared += 4 * it.Size
	}

	memory := make([][]float32, len(layout.Buffers))
	next, constants := 0, layout.total
	for i, b := range layout.Buffers {
		switch {
		case b.Variable != nil:
			memory[i] = c.vars[b.Variable.Name].f
		case b.Constant != nil:
			memory[i] = arena[constants : constants+b.Size : constants+b.Size]
			constants += plan.Aligned(b.Size)
			for j := range memory[i] {
				memory[i][j] = float32(b.Constant.Node.Op.(graph.Fill).Value)
			}
		default:
			o := layout.offsets[next]
			memory[i] = arena[o : o+b.Size : o+b.Size]
			next++
		}
	}
	for v, at := range layout.Places() {
		n := v.Shape.Size()
		c.floats[v] = memory[at.Buffer][at.Offset : at.Offset+n : at.Offset+n]
	}

	// Integers are few: each value has memory of its own.
	for _, n := range p.Nodes {
		switch op := n.Op.(type) {
		case graph.Input:
			if op.Type.DType == graph.Int {
				c.ints[n.Out[0]] = make([]int32, op.Type.Shape.Size())
			}
		case graph.Read:
			c.ints[n.Out[0]] = c.vars[op.Variable.Name].n
		}
	}
	for _, s := range c.list.Steps {
		if plan.OnInts(s) {
			c.ints[s.Out[0]] = make([]int32, s.Out[0].Shape.Size())
		}
	}

	temps := make([][][]float32, len(works))
	for i, w := range works {
		for range w.temps {
			o, n := layout.offsets[next], layout.items[next].Size
			temps[i] = append(temps[i], arena[o:o+n:o+n])
			next++
		}
	}
	return temps, nil
}

// emit describes the work of a step. A work without build is nothing to do.
func (c *compiler) emit(s *plan.Step) (work, bool) {
	if plan.OnInts(s) {
		return c.emitInts(s)
	}
	switch op := s.Op.(type) {
	case graph.Reshape, graph.Slice:
		return work{}, true // lies in its operand
	case plan.Copy:
		return plain(func() func() { return c.copy(c.f(s.Out[0]), c.f(s.In[0])) }), true
	case graph.Concat:
		return c.concat(s), true
	case graph.PadRows:
		return c.padRows(s, op), true

	case graph.Add:
		return c.binary(s, c.set.Add), true
	case graph.Scale:
		factor := float32(op.Factor)
		return c.unary(s, func(y, x []float32) { c.set.Scale(y, x, factor) }), true
	case graph.ReLU:
		return c.unary(s, c.set.ReLU), true
	case graph.ReLUGrad:
		return c.binary(s, c.set.ReLUGrad), true
	case graph.Sigmoid:
		return c.unary(s, c.set.Sigmoid), true
	case graph.SigmoidGrad:
		return c.binary(s, c.set.SigmoidGrad), true
	case graph.SiLU:
		return c.unary(s, c.set.SiLU), true
	case graph.SiLUGrad:
		return c.binary(s, c.set.SiLUGrad), true
	case graph.ScaleChannels:
		return c.scaleChannels(s), true
	case graph.ScaleChannelsGrad:
		return c.scaleChannelsGrad(s), true
	case graph.Lerp:
		return c.lerp(s, op), true
	case graph.Dropout:
		return c.dropout(s, op), true
	case graph.SGD:
		return c.sgd(s, op), true

	case plan.Conv:
		return c.conv(s, op, nil), true
	case plan.ConvGradInput:
		return c.convGradInput(s, op, nil), true
	case plan.Before:
		return c.before(s, op), true
	case plan.ConvGradWeight:
		return c.convGradWeight(s, op), true
	case graph.MaxPool2D:
		return c.maxPool(s, op, false), true
	case plan.MaxPool2D:
		return c.maxPool(s, op.Pool, true), true
	case graph.MaxPool2DGrad:
		return c.maxPoolGrad(s, op.Pool, false), true
	case plan.MaxPool2DGrad:
		return c.maxPoolGrad(s, op.Pool, true), true
	case graph.GlobalAvgPool:
		return c.avgPool(s), true
	case graph.GlobalAvgPoolGrad:
		return c.avgPoolGrad(s, op), true

	case plan.NormStats:
		return c.normStats(s, op), true
	case plan.NormScale:
		return c.normScale(s, op), true
	case plan.NormApply:
		return c.byBlocks(s, c.normApply(s, op)), true
	case plan.NormGradSums:
		return c.normGradSums(s, op), true
	case plan.NormGradApply:
		return c.byBlocks(s, c.normGradApply(s, op)), true
	case graph.BatchNormInferenceGrad:
		return c.normInferenceGrad(s, op), true

	case graph.MatMul:
		return c.matMul(s, plan.MatMul{MatMul: op}), true
	case plan.MatMul:
		return c.matMul(s, op), true
	case graph.AddBias:
		return c.addBias(s), true
	case graph.SumRows:
		return c.sumRows(s), true
	case graph.L2Normalize:
		return c.l2Normalize(s, op), true
	case graph.L2NormalizeGrad:
		return c.l2NormalizeGrad(s, op), true
	case graph.CrossEntropy:
		return c.crossEntropy(s), true
	case graph.CrossEntropyGrad:
		return c.crossEntropyGrad(s), true
	case graph.LARS:
		return c.lars(s, op), true
	case graph.AdamW:
		return c.adamW(s, op), true
	case graph.Distill:
		return c.distill(s, op), true
	case graph.DistillGrad:
		return c.distillGrad(s, op), true
	case graph.Contrast:
		return c.contrast(s, op), true
	case graph.ContrastGrad:
		return c.contrastGrad(s, op), true
	}
	return work{}, false
}
