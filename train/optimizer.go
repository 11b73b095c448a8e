package train

import (
	"fmt"
	"slices"
	"strings"

	"selfcon/config"
	"selfcon/graph"
	"selfcon/model"
)

// Optimizer turns gradients into updates; the zero value is plain gradient
// descent. A parameter with one axis (a bias, or batch norm's scale and shift)
// is a vector.
type Optimizer struct {
	Kind        string  // sgd (also empty), lars or adamw
	Momentum    float64 // of SGD and LARS; AdamW's β1
	Nesterov    bool    // of SGD
	Beta2       float64 // of AdamW
	WeightDecay float64
	SkipVectors bool    // vectors do not decay, and LARS takes a plain step for them
	Trust       float64 // of LARS
	HeadFactor  float64 // the rate of what is not the encoder, as a multiple of the encoder's; 0: 1
	Average     float64 // each step keeps this share of the moving average of the weights; 0: none is kept
}

// The eps of AdamW, PyTorch's.
const adamEps = 1e-8

// NewOptimizer is the optimizer of a configuration.
func NewOptimizer(c config.Run) Optimizer {
	return Optimizer{
		Kind: c.Optimizer, Momentum: c.Momentum, Nesterov: c.Nesterov, Beta2: c.Beta2, WeightDecay: c.WeightDecay,
		SkipVectors: c.NoDecay == "vectors", Trust: c.Trust, Average: c.Average, HeadFactor: c.HeadRate / c.Rate,
	}
}

// Names of an optimizer's variables: a prefix and the parameter's name.
const (
	slotMomentum = "momentum."       // momentum, or AdamW's first moment
	slotSquare   = "square."         // AdamW's second moment
	slotAverage  = "average."        // the moving average
	counterSteps = "optimizer.steps" // of AdamW
)

// add adds the updates of params by their gradients at a rate, a scalar, and
// the moving averages of all that the program changes about the network and of
// the statistics, which another has changed.
func (o Optimizer) add(g *graph.Graph, params, grads []*graph.Value, rate *graph.Value, statistics ...*graph.Value) {
	var steps *graph.Value
	if o.Kind == "adamw" {
		steps = g.Variable(graph.Variable{Name: counterSteps, Type: graph.Type{Shape: graph.Shape{}, DType: graph.Int}, Role: graph.Counter})
		g.Update(steps, g.Apply(counterSteps+".next", graph.Increment{}, steps)[0])
	}
	encoder, heads := rate, rate
	if o.HeadFactor != 0 && o.HeadFactor != 1 {
		heads = g.Scale(InputRate+".heads", rate, o.HeadFactor)
	}
	for i, p := range params {
		if g.Err() != nil {
			return
		}
		v := p.Node.Op.(graph.Read).Variable
		rate := heads
		if strings.HasPrefix(v.Name, model.EncoderPrefix) {
			rate = encoder
		}
		slot := func(prefix string) *graph.Value {
			return g.Variable(graph.Variable{Name: prefix + v.Name, Type: v.Type, Role: graph.Slot})
		}
		decay, skip := o.WeightDecay, o.SkipVectors && len(v.Shape) <= 1
		if skip {
			decay = 0
		}
		state := []*graph.Value{p, slot(slotMomentum)}
		in := []*graph.Value{p, grads[i], state[1]}
		var op graph.Op
		switch {
		case o.Kind == "adamw":
			state = append(state, slot(slotSquare))
			in = append(in, state[2], rate, steps)
			op = graph.AdamW{Beta1: o.Momentum, Beta2: o.Beta2, Eps: adamEps, WeightDecay: decay}
		case o.Kind == "lars" && !skip:
			in = append(in, rate)
			op = graph.LARS{Momentum: o.Momentum, WeightDecay: decay, Trust: o.Trust}
		case o.Kind == "sgd" || o.Kind == "" || o.Kind == "lars":
			in = append(in, rate)
			op = graph.SGD{Momentum: o.Momentum, WeightDecay: decay, Nesterov: o.Nesterov && o.Kind != "lars"}
		default:
			g.Fail("train: unknown optimizer %q; known: sgd, lars, adamw", o.Kind)
			return
		}
		for k, out := range g.Apply("update."+v.Name, op, in...) {
			g.Update(state[k], out)
		}
	}
	if o.Average > 0 {
		o.average(g, statistics)
	}
}

// average adds the moving averages: of the new parameters and, as they go with
// the weights, of the new running statistics.
func (o Optimizer) average(g *graph.Graph, statistics []*graph.Value) {
	add := func(v *graph.Variable, next *graph.Value) {
		name := slotAverage + v.Name
		a := g.Variable(graph.Variable{Name: name, Type: v.Type, Role: graph.Slot})
		g.Update(a, g.Apply(name+".next", graph.Lerp{Weight: 1 - o.Average, Factor: 1}, a, next)[0])
	}
	for _, u := range slices.Clone(g.Updates()) { // those before the averages' own
		if averaged(u.Variable) {
			add(u.Variable, u.Value)
		}
	}
	for _, s := range statistics {
		if g.Err() == nil {
			add(s.Node.Op.(graph.Read).Variable, s)
		}
	}
}

// averaged says whether a variable that changes has a moving average.
func averaged(v *graph.Variable) bool {
	return v.Role == graph.Parameter || v.Role == graph.Statistic
}

// StartAverages gives the moving averages the values that the network starts
// from: NewTrainer's, or those that have been written over them.
func (t *Trainer) StartAverages() error {
	for _, v := range t.Variables {
		if !averaged(v) {
			continue
		}
		if _, err := t.Engine.Read(slotAverage + v.Name); err != nil {
			continue // it has none: it does not change, or none is kept
		}
		value, err := t.Engine.Read(v.Name)
		if err == nil {
			err = t.Engine.Write(slotAverage+v.Name, value)
		}
		if err != nil {
			return fmt.Errorf("train: average of %s: %w", v.Name, err)
		}
	}
	return nil
}

// AverageName is the name of the variable that holds the moving average of
// another, in runs that keep averages.
func AverageName(variable string) string { return slotAverage + variable }
