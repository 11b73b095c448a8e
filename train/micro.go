package train

import (
	"fmt"
	"slices"
	"strings"

	"selfcon/config"
	"selfcon/engine"
	"selfcon/graph"
	"selfcon/loss"
	"selfcon/model"
)

// microStep is a training step whose images go through the network a
// micro-batch at a time, so that its memory does not grow with the batch; the
// loss is that of the whole batch all the same (Gao et al. 2021, arXiv
// 2101.06983, "GradCache"):
//
//  1. encode: each micro-batch's heads (projections, logits), nothing else kept;
//  2. loss: of the heads of the whole batch, and its derivatives by them;
//  3. backward: each micro-batch through the network again, its heads'
//     derivatives back through it; the parameters' gradients add up;
//  4. update.
//
// Without batch norm and dropout that is the step of the whole batch, up to
// rounding. Batch norm normalises by the micro-batch, and its running
// statistics move once for each.
//
// It takes and gives what the program of NewStep with Heads does.
type microStep struct {
	engine                         engine.Engine
	batch, micro, views            int
	encode, loss, backward, update engine.Executable
	counters, accumulators         []*graph.Variable
	heads, derivatives             []head            // in the order of headNames
	outputs                        map[string]string // names of results by the prefixes of heads' names
	images                         engine.Tensor
	notFinite                      string // the first such node of the last step
}

// CompileStep compiles a training step, of micro images at a time (0: of all),
// gives its variables their first values for a seed and returns both, without
// the variables that only matter within a step. A network that can't be trained
// by one image at a time is a *config.Error.
func CompileStep(e engine.Engine, net *model.Network, c StepConfig, micro int, seed uint64) (step engine.Executable, variables []*graph.Variable, err error) {
	var programs []*graph.Program
	if micro > 0 && micro < c.Batch {
		step, programs, err = compileMicro(e, net, c, micro)
	} else {
		var p *graph.Program
		if p, err = NewStep(net, c); err == nil {
			programs = []*graph.Program{p}
			step, err = e.Compile(p)
		}
	}
	if micro == 1 && c.Batch > 1 && c.Method.Views == 1 && err != nil { // batch norm of a single value
		return nil, nil, &config.Error{Setting: "micro_batch", Reason: fmt.Sprintf("1 image at a time is too few for this network at this size: give at least 2 (%v)", err)}
	}
	if err != nil {
		return nil, nil, err
	}
	known := map[string]bool{}
	for _, p := range programs {
		if err := engine.Initialize(e, p, seed); err != nil {
			return nil, nil, err
		}
		for _, v := range p.Variables {
			if !known[v.Name] && !strings.HasPrefix(v.Name, slotSum) {
				variables = append(variables, v)
			}
			known[v.Name] = true
		}
	}
	return step, variables, nil
}

// head is an output of the network for all rows of the batch, or its derivative.
type head struct {
	name  string
	width int
	data  engine.Tensor // [views·batch × width]
	part  engine.Tensor // [views·micro × width]
}

// Names of what goes from one program to another.
const (
	slotSum          = "sum."        // of a parameter's gradients; zero between steps
	inputDerivative  = "derivative." // by a head
	outputDerivative = inputDerivative
)

// compileMicro compiles the four programs of a step in micro-batches and
// returns it with its programs, whose variables are those of a run but for
// sums of gradients.
func compileMicro(e engine.Engine, net *model.Network, c StepConfig, micro int) (*microStep, []*graph.Program, error) {
	if micro < 1 || c.Batch%micro != 0 {
		return nil, nil, fmt.Errorf("a batch of %d images cannot be cut into micro-batches of %d: the batch must be a multiple", c.Batch, micro)
	}
	if err := c.check(net); err != nil {
		return nil, nil, err
	}
	s := &microStep{engine: e, batch: c.Batch, micro: micro, views: c.Method.Views, outputs: map[string]string{headProjection: OutputExit}}
	if c.Method.OneStage() {
		s.outputs = map[string]string{headLogits: OutputExit, headProjection: OutputProjection}
	}
	c.Expose, c.Heads = false, false
	small := c
	small.Batch = micro

	// 1: running statistics wait for the backward pass.
	g := graph.New()
	named := headNames(forwardHeads(g, net, small, true))
	for _, h := range named {
		g.Output(h.name, h.value)
	}
	g.DropUpdates(func(v *graph.Variable) bool { return v.Role == graph.Statistic })
	encode, err := g.Build()
	if err != nil {
		return nil, nil, err
	}
	for _, v := range encode.Variables {
		if v.Role == graph.Counter {
			s.counters = append(s.counters, v)
		}
	}

	// 2
	g = graph.New()
	var heads loss.Heads
	var values []*graph.Value
	for _, h := range named {
		width := h.value.Shape[1]
		v := g.Input(h.name, graph.Float, c.Method.Views*c.Batch, width)
		values = append(values, v)
		if strings.HasPrefix(h.name, headLogits) {
			heads.Logits = append(heads.Logits, v)
		} else {
			heads.Projections = append(heads.Projections, v)
		}
		s.heads = append(s.heads, head{name: h.name, width: width})
		s.derivatives = append(s.derivatives, head{name: inputDerivative + h.name, width: width})
	}
	total := c.Method.Add(g, heads, c.labels(g), c.Temperatures)
	g.Output(OutputLoss, total)
	for i, d := range g.Gradients(total, values) {
		g.Output(outputDerivative+s.heads[i].name, d)
	}
	lossProgram, err := g.Build()
	if err != nil {
		return nil, nil, err
	}

	// 3
	g = graph.New()
	var of, by []*graph.Value
	for _, h := range headNames(forwardHeads(g, net, small, true)) {
		of = append(of, h.value)
		by = append(by, g.Input(inputDerivative+h.name, graph.Float, h.value.Shape...))
	}
	params := g.Trainable()
	grads := g.Pullback(of, by, params)
	var trained []*graph.Variable // the program need not read them all: the gradient of a bias does not depend on it
	if g.Err() == nil {
		for i, p := range params {
			v := p.Node.Op.(graph.Read).Variable
			trained = append(trained, v)
			s.accumulators = append(s.accumulators, &graph.Variable{Name: slotSum + v.Name, Type: v.Type, Role: graph.Slot})
			sum := g.Variable(*s.accumulators[i])
			g.Update(sum, g.Add(slotSum+v.Name+".next", sum, grads[i]))
		}
	}
	backward, err := g.Build()
	if err != nil {
		return nil, nil, err
	}

	// 4
	g = graph.New()
	rate := g.Input(InputRate, graph.Float)
	params, grads = nil, nil
	var statistics []*graph.Value
	for i, v := range trained {
		params = append(params, g.Variable(*v))
		grads = append(grads, g.Variable(*s.accumulators[i]))
	}
	for _, v := range backward.Variables {
		if v.Role == graph.Statistic && c.Optimizer.Average > 0 {
			statistics = append(statistics, g.Variable(*v))
		}
	}
	c.Optimizer.add(g, params, grads, rate, statistics...)
	for _, sum := range grads {
		g.Update(sum, g.Apply("zero", graph.Fill{Shape: sum.Shape})[0])
	}
	update, err := g.Build()
	if err != nil {
		return nil, nil, err
	}

	programs := []*graph.Program{encode, lossProgram, backward, update}
	for i, to := range []*engine.Executable{&s.encode, &s.loss, &s.backward, &s.update} {
		if *to, err = e.Compile(programs[i]); err != nil {
			return nil, nil, err
		}
	}
	return s, programs, nil
}

// Names of heads: a prefix and the exit.
const headLogits, headProjection = "logits.", "projections."

type namedHead struct {
	name  string
	value *graph.Value
}

// headNames lists heads in a fixed order.
func headNames(h loss.Heads) []namedHead {
	var out []namedHead
	for i, v := range h.Logits {
		out = append(out, namedHead{fmt.Sprint(headLogits, i), v})
	}
	for i, v := range h.Projections {
		out = append(out, namedHead{fmt.Sprint(headProjection, i), v})
	}
	return out
}

// Run implements engine.Executable. After an error the network is as after a
// part of the step.
func (s *microStep) Run(in map[string]engine.Tensor) (out map[string]engine.Tensor, err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, v := range s.accumulators { // what a half-done step has left there
			_ = s.engine.Write(v.Name, engine.InitialValue(v, 0))
		}
	}()
	s.notFinite = ""
	// Both passes see the same random numbers, of dropout for example.
	counts := make([]engine.Tensor, len(s.counters))
	for i, v := range s.counters {
		if counts[i], err = s.engine.Read(v.Name); err != nil {
			return nil, err
		}
	}
	for at := 0; at < s.batch; at += s.micro {
		heads, err := s.run(s.encode, map[string]engine.Tensor{InputImages: s.cut(&s.images, in[InputImages], at)})
		if err != nil {
			return nil, err
		}
		for i := range s.heads {
			s.paste(&s.heads[i].data, heads[s.heads[i].name], at)
		}
	}
	for i, v := range s.counters {
		if err := s.engine.Write(v.Name, counts[i]); err != nil {
			return nil, err
		}
	}

	given := map[string]engine.Tensor{InputLabels: in[InputLabels]}
	for _, h := range s.heads {
		given[h.name] = h.data
	}
	got, err := s.run(s.loss, given)
	if err != nil {
		return nil, err
	}

	for at := 0; at < s.batch; at += s.micro {
		given := map[string]engine.Tensor{InputImages: s.cut(&s.images, in[InputImages], at)}
		for i := range s.derivatives {
			d := &s.derivatives[i]
			given[d.name] = s.cut(&d.part, got[d.name], at)
		}
		if _, err := s.run(s.backward, given); err != nil {
			return nil, err
		}
	}
	if _, err := s.run(s.update, map[string]engine.Tensor{InputRate: in[InputRate]}); err != nil {
		return nil, err
	}
	out = map[string]engine.Tensor{OutputLoss: got[OutputLoss]}
	for _, h := range s.heads {
		for prefix, as := range s.outputs {
			if exit, ok := strings.CutPrefix(h.name, prefix); ok {
				out[as+exit] = h.data
			}
		}
	}
	return out, nil
}

// NotFinite implements engine.Watcher, if the engine does.
func (s *microStep) NotFinite() string { return s.notFinite }

// run runs one of the programs.
func (s *microStep) run(x engine.Executable, in map[string]engine.Tensor) (map[string]engine.Tensor, error) {
	out, err := x.Run(in)
	if w, ok := x.(engine.Watcher); ok && s.notFinite == "" {
		s.notFinite = w.NotFinite()
	}
	return out, err
}

// cut copies the micro-batch that begins at image at out of a tensor of the
// batch's rows, view by view, into part, which it makes if need be.
func (s *microStep) cut(part *engine.Tensor, from engine.Tensor, at int) engine.Tensor {
	shape := append(graph.Shape{s.views * s.micro}, from.Shape[1:]...)
	switch data := from.Data.(type) {
	case []float32:
		*part = engine.Tensor{Shape: shape, Data: cutRows(held[float32](*part), data, s, at)}
	case []float64:
		*part = engine.Tensor{Shape: shape, Data: cutRows(held[float64](*part), data, s, at)}
	}
	return *part
}

// paste copies the rows of a micro-batch to where they belong in a tensor of
// the batch's, which it makes if need be.
func (s *microStep) paste(to *engine.Tensor, part engine.Tensor, at int) {
	shape := append(graph.Shape{s.views * s.batch}, part.Shape[1:]...)
	switch data := part.Data.(type) {
	case []float32:
		*to = engine.Tensor{Shape: shape, Data: pasteRows(held[float32](*to), data, s, at)}
	case []float64:
		*to = engine.Tensor{Shape: shape, Data: pasteRows(held[float64](*to), data, s, at)}
	}
}

// held is the memory of a tensor, nil if it is of another kind.
func held[T float32 | float64](t engine.Tensor) []T {
	data, _ := t.Data.([]T)
	return data
}

func cutRows[T float32 | float64](part, from []T, s *microStep, at int) []T {
	row := len(from) / (s.views * s.batch)
	part = slices.Grow(part[:0], s.views*s.micro*row)[:0]
	for v := range s.views {
		part = append(part, from[(v*s.batch+at)*row:(v*s.batch+at+s.micro)*row]...)
	}
	return part
}

func pasteRows[T float32 | float64](to, part []T, s *microStep, at int) []T {
	row := len(part) / (s.views * s.micro)
	if len(to) == 0 {
		to = make([]T, s.views*s.batch*row)
	}
	for v := range s.views {
		copy(to[(v*s.batch+at)*row:], part[v*s.micro*row:(v+1)*s.micro*row])
	}
	return to
}
