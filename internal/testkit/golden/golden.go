package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"selfcon/engine"
	"selfcon/graph"
	"selfcon/loss"
	"selfcon/model"
	"selfcon/train"
)

// Case is a stored run of the reference: a network, or (Features set) the loss
// alone.
type Case struct {
	Name      string   `json:"name"`
	Arch      string   `json:"arch"`
	Stem      string   `json:"stem"`
	Exits     []bool   `json:"exits"`
	Sub       string   `json:"sub"`
	Method    string   `json:"method"`
	Alpha     *float64 `json:"alpha"` // of starred methods; of one stage with Beta, Gamma and Distill the weights of
	Beta      *float64 `json:"beta"`  // the sub-networks' cross-entropy, the distillation and the contrasts,
	Gamma     *float64 `json:"gamma"` // and the distillation's temperature; nil: the method's own
	Distill   *float64 `json:"kd_temperature"`
	OneStage  bool     `json:"one_stage"`
	Classes   int      `json:"classes"`
	Batch     int      `json:"batch"`
	Image     [3]int   `json:"image"` // C, H, W
	Labels    []int32  `json:"labels"`
	Seed      uint64   `json:"seed"`
	Tau       float64  `json:"temperature"`
	BaseTau   float64  `json:"base_temperature"`
	Rate      float64  `json:"lr"`
	Steps     int      `json:"steps"`
	Yardstick struct {
		Losses []float64 `json:"loss_by_step"`
	} `json:"float32_error_of_the_reference"`
	Expected *expected `json:"expected"`
	drawn    drawn     // stored beside the case
}

// expected is what the reference has computed.
type expected struct {
	Views      int       `json:"views"`
	Losses     []float64 `json:"losses"`
	Parameters []struct {
		Name      string  `json:"name"`
		Shape     []int   `json:"shape"`
		Trainable bool    `json:"trainable"`
		Grad      summary `json:"grad"`
	} `json:"parameters"`
	Buffers []struct {
		Name  string  `json:"name"`
		Shape []int   `json:"shape"`
		Value summary `json:"value"`
	} `json:"buffers"`
	SubProjections     []summary `json:"sub_projections"`
	MainProjection     *summary  `json:"main_projection"`
	SubLogits          []summary `json:"sub_logits"`
	MainLogits         *summary  `json:"main_logits"`
	EvalSubProjections []summary `json:"eval_sub_projections"`
	EvalMainProjection *summary  `json:"eval_main_projection"`
	EvalSubLogits      []summary `json:"eval_sub_logits"`
	EvalMainLogits     *summary  `json:"eval_main_logits"`
}

// LossCase is the loss alone on given features (losses.json).
type LossCase struct {
	Method   string    `json:"method"`
	Alpha    float64   `json:"alpha"` // 0: the plain method
	Exits    int       `json:"exits"`
	Tau      float64   `json:"temperature"`
	BaseTau  float64   `json:"base_temperature"`
	Labels   []int32   `json:"labels"`
	Dim      int       `json:"dim"`
	Seed     uint64    `json:"seed"`
	Loss     float64   `json:"loss"`
	Gradient []float64 `json:"gradient"`
}

// Unsupported is the error for cases that need what is not built yet.
type Unsupported struct{ Why string }

func (e *Unsupported) Error() string { return "unsupported: " + e.Why }

// Error is what was found of one kind of figure: the largest relative error,
// and of the figure that is worst in proportion to its limit, which differs
// between figures, the error, the limit and where.
type Error struct {
	Worst        float64
	Value, Limit float64
	Where        string
}

func (e *Error) add(err, limit float64, where func() string) {
	// NaN must never look like agreement.
	if math.IsNaN(err) {
		err = math.Inf(1)
	}
	e.Worst = max(e.Worst, err)
	if e.Where == "" || err/limit > e.Value/e.Limit {
		e.Value, e.Limit, e.Where = err, limit, where()
	}
}

// OK says whether the error is within its limit.
func (e Error) OK() bool { return e.Where == "" || e.Value <= e.Limit }

// Report is the comparison of one case.
type Report struct {
	Name                                           string
	Losses, Gradients, Buffers, Output, Evaluation Error // Output: of the first forward pass, with its loss
	Figures                                        int   // compared
	Draws                                          int   // of rounding errors, made beside the stored ones to explain what is off
}

// OK says whether every figure is within its limit.
func (r Report) OK() bool {
	return r.Figures > 0 && r.Losses.OK() && r.Gradients.OK() && r.Buffers.OK() && r.Output.OK() && r.Evaluation.OK()
}

// Tolerance gives the allowed relative error of a case's figures.
type Tolerance struct {
	// Exact compares every stored figure with itself at this limit; 0: as float32.
	Exact float64
}

// Float64 is the tolerance of a float64 engine.
var Float64 = Tolerance{Exact: 1e-8}

// Float32 derives a float32 engine's tolerance from the reference's own
// float32 error and from draws of rounding errors (see limits).
var Float32 = Tolerance{}

// Load reads a file of model cases (one object) or loss cases (a list), and
// the draws of rounding errors that are stored beside it.
func Load(path string) (*Case, []LossCase, error) {
	c, losses, err := parse(path)
	if c != nil {
		c.drawn, err = c.loadDrawn(drawnPath(path))
	}
	return c, losses, err
}

func parse(path string) (*Case, []LossCase, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if strings.HasPrefix(strings.TrimSpace(string(raw)), "[") {
		var l []LossCase
		if err := json.Unmarshal(raw, &l); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(l) == 0 {
			return nil, nil, fmt.Errorf("%s: no cases", path)
		}
		return nil, l, nil
	}
	var c Case
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.Expected == nil || len(c.Expected.Losses) == 0 {
		return nil, nil, fmt.Errorf("%s: not a golden case: no expected losses", path)
	}
	return &c, nil, nil
}

// network and step build what a case describes.
func (c *Case) network() (*model.Network, error) {
	if model.CheckArch(c.Arch) != nil {
		return nil, &Unsupported{"architecture " + c.Arch}
	}
	var exits []int
	for i, on := range c.Exits {
		if on {
			exits = append(exits, i+1)
		}
	}
	if !slices.Contains(model.SubNetworks(), c.Sub) {
		return nil, &Unsupported{"sub-network " + c.Sub}
	}
	none := 0.0 // in every case
	return model.New(model.Config{
		Arch: c.Arch, Stem: model.Stem(c.Stem), Exits: exits, Sub: model.SubNetwork(c.Sub), Dropout: &none, DropConnect: &none,
		ImageHeight: c.Image[1], ImageWidth: c.Image[2], ImageChannels: c.Image[0],
	})
}

func method(name string, alpha *float64, oneStage bool) (loss.Method, error) {
	m, err := loss.Parse(name)
	if err != nil || oneStage != m.OneStage() {
		return m, &Unsupported{"method " + name}
	}
	if alpha != nil && !oneStage {
		m, err = m.WithAlpha(*alpha)
	}
	return m, err
}

// weighted is a method of one stage with the case's weights and temperature.
func (c *Case) weighted(m loss.Method) (loss.Method, error) {
	classifiers := *m.Classifiers
	for _, x := range []struct {
		to   *float64
		from *float64
	}{{&classifiers.Subs, c.Alpha}, {&classifiers.Distill, c.Beta}, {&classifiers.Temperature, c.Distill}} {
		if x.from != nil {
			*x.to = *x.from
		}
	}
	if classifiers.Distill != 0 && !(classifiers.Temperature > 0) {
		return m, fmt.Errorf("%s: kd_temperature %g must be positive", c.Name, classifiers.Temperature)
	}
	m.Classifiers, m.Terms = &classifiers, slices.Clone(m.Terms)
	switch {
	case c.Gamma == nil:
	case m.Contrastive():
		m.Terms[0].Weight = *c.Gamma
	case *c.Gamma != 0:
		return m, &Unsupported{fmt.Sprintf("gamma %g of %s, which has no contrasts", *c.Gamma, c.Method)}
	}
	return m, nil
}

// start builds what a case describes: the network, its training step compiled
// with the variables filled, and the inputs of a step.
func (c *Case) start(e engine.Engine) (*model.Network, train.StepConfig, engine.Executable, map[string]engine.Tensor, error) {
	fail := func(err error) (*model.Network, train.StepConfig, engine.Executable, map[string]engine.Tensor, error) {
		return nil, train.StepConfig{}, nil, nil, err
	}
	net, err := c.network()
	if err != nil {
		return fail(err)
	}
	m, err := method(c.Method, c.Alpha, c.OneStage)
	if err == nil && c.OneStage {
		m, err = c.weighted(m)
	}
	if err != nil {
		return fail(err)
	}
	if m.Views != c.Expected.Views || len(c.Labels) != c.Batch {
		return fail(fmt.Errorf("%s: %d views and %d labels for batch %d; %s has %d views", c.Name, c.Expected.Views, len(c.Labels), c.Batch, c.Method, m.Views))
	}
	cfg := train.StepConfig{
		Method: m, Temperatures: loss.Temperatures{Tau: c.Tau, Base: c.BaseTau}, Dim: 128, Classes: c.Classes,
		Batch: c.Batch, Optimizer: train.Optimizer{Momentum: 0.9, WeightDecay: 1e-4}, Expose: true,
	}
	prog, err := train.NewStep(net, cfg)
	if err != nil {
		return fail(err)
	}
	step, err := e.Compile(prog)
	if err != nil {
		return fail(err)
	}
	if err := c.setVariables(e, prog); err != nil {
		return fail(err)
	}
	return net, cfg, step, map[string]engine.Tensor{
		train.InputImages: c.images(m.Views),
		train.InputLabels: engine.Int32(c.Labels, c.Batch),
		train.InputRate:   engine.Scalar(c.Rate),
	}, nil
}

// Run trains the case on an engine and compares every stored figure.
func (c *Case) Run(e engine.Engine, tol Tolerance) (Report, error) {
	return c.RunSteps(e, tol, c.Steps)
}

// RunSteps compares the figures of the first steps alone; those of the
// evaluation after the last step only if none is left out.
func (c *Case) RunSteps(e engine.Engine, tol Tolerance, steps int) (Report, error) {
	got, err := c.train(e, steps, false)
	if err != nil {
		return Report{Name: c.Name}, err
	}
	return c.judge(got, tol, steps)
}

func (c *Case) judge(got *outcome, tol Tolerance, steps int) (Report, error) {
	if tol.Exact > 0 {
		return c.compare(got, tol, drawn{}), nil
	}
	return c.explain(got, steps)
}

// tensor is one that an engine has computed.
type tensor struct {
	shape graph.Shape
	summary
	all []float64 // nil unless asked for
}

// outcome is what an engine makes of a case.
type outcome struct {
	losses             []float64 // one a step
	gradients, buffers map[string]tensor
	exits, evaluation  []tensor // evaluation nil: not all steps were run
}

// train runs the first steps of the case, and if these are all the evaluation.
// all keeps whole tensors beside their summaries.
func (c *Case) train(e engine.Engine, steps int, all bool) (*outcome, error) {
	net, cfg, step, in, err := c.start(e)
	if err != nil {
		return nil, err
	}
	keep := func(t engine.Tensor) tensor {
		x := t.Float64s()
		kept := tensor{shape: slices.Clone(t.Shape), summary: summarise(x)}
		kept.Head = slices.Clone(kept.Head)
		if all {
			kept.all = slices.Clone(x)
		}
		return kept
	}
	exits := func(out map[string]engine.Tensor) []tensor {
		var x []tensor
		for {
			t, ok := out[fmt.Sprint(train.OutputExit, len(x))]
			if !ok {
				return x
			}
			x = append(x, keep(t))
		}
	}
	o := &outcome{gradients: map[string]tensor{}, buffers: map[string]tensor{}}
	for s := range min(steps, c.Steps) {
		out, err := step.Run(in)
		if err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", c.Name, s, err)
		}
		o.losses = append(o.losses, out[train.OutputLoss].Item())
		if s > 0 {
			continue
		}
		for _, p := range c.Expected.Parameters {
			if t, ok := out[train.OutputGrad+p.Name]; ok {
				o.gradients[p.Name] = keep(t)
			}
		}
		for _, b := range c.Expected.Buffers {
			t, err := e.Read(b.Name)
			if err != nil {
				return nil, fmt.Errorf("%s: buffer: %w", c.Name, err)
			}
			o.buffers[b.Name] = keep(t)
		}
		o.exits = exits(out)
	}
	if steps < c.Steps {
		return o, nil
	}
	fwd, err := train.NewForward(net, cfg)
	if err != nil {
		return nil, err
	}
	eval, err := e.Compile(fwd)
	if err != nil {
		return nil, err
	}
	out, err := eval.Run(map[string]engine.Tensor{train.InputImages: in[train.InputImages]})
	if err != nil {
		return nil, fmt.Errorf("%s: evaluation: %w", c.Name, err)
	}
	o.evaluation = exits(out)
	return o, nil
}

// compare holds an outcome to the stored figures.
func (c *Case) compare(o *outcome, tol Tolerance, d drawn) Report {
	r, x, lim := Report{Name: c.Name}, c.Expected, newLimits(tol, c, d)
	for _, p := range x.Parameters {
		switch got := o.gradients[p.Name]; {
		case !p.Trainable:
		case lim.cancels(p.Grad):
			r.compareZero(&r.Gradients, p.Name, got, p.Shape, lim.noise)
		default:
			r.compare(&r.Gradients, p.Name, got, p.Shape, p.Grad, lim.gradient(p.Name))
		}
	}
	for _, b := range x.Buffers {
		r.compare(&r.Buffers, b.Name, o.buffers[b.Name], b.Shape, b.Value, lim.forward)
	}
	exits := func(into *Error, when string, got []tensor, subs []summary, main *summary, lim func(int) limit) {
		for i, want := range append(slices.Clone(subs), *main) {
			var t tensor
			if i < len(got) {
				t = got[i]
			}
			r.compare(into, fmt.Sprintf("%s, exit %d", when, i), t, t.shape, want, lim(i))
		}
	}
	subs, main, evalSubs, evalMain := x.SubProjections, x.MainProjection, x.EvalSubProjections, x.EvalMainProjection
	if c.OneStage {
		subs, main, evalSubs, evalMain = x.SubLogits, x.MainLogits, x.EvalSubLogits, x.EvalMainLogits
	}
	exits(&r.Output, "step 0", o.exits, subs, main, func(int) limit { return lim.forward })
	for s, got := range o.losses {
		off, where := math.Abs(got-x.Losses[s])/math.Abs(x.Losses[s]), func() string { return fmt.Sprintf("step %d: %.12g, not %.12g", s, got, x.Losses[s]) }
		r.Losses.add(off, lim.loss(s), where)
		if s == 0 {
			r.Output.add(off, lim.loss(s), where)
		}
		r.Figures++
	}
	if o.evaluation != nil {
		exits(&r.Evaluation, "evaluation", o.evaluation, evalSubs, evalMain, lim.evaluation)
	}
	return r
}

// setVariables fills the network as the format says, and checks that its
// parameters are exactly the reference's.
func (c *Case) setVariables(e engine.Engine, p *graph.Program) error {
	byName := map[string]*graph.Variable{}
	for _, v := range p.Variables {
		if v.Role == graph.Parameter || v.Role == graph.Statistic {
			byName[v.Name] = v
		}
	}
	check := func(name string, shape []int) error {
		v := byName[name]
		if v == nil || !v.Shape.Equal(shape) {
			return fmt.Errorf("%s: the reference has %s of shape %v, the network has %v", c.Name, name, shape, v)
		}
		delete(byName, name)
		return nil
	}
	for _, x := range c.Expected.Parameters {
		if err := check(x.Name, x.Shape); err != nil {
			return err
		}
		n := graph.Shape(x.Shape).Size()
		w := Fill(x.Name, n, c.Seed)
		for i := range w {
			switch {
			case len(x.Shape) > 1:
				w[i] *= math.Sqrt(6 / float64(n/x.Shape[0]))
			case c.isNorm(x.Name) && strings.HasSuffix(x.Name, ".weight"):
				w[i] = 1 + 0.25*w[i]
			case c.isNorm(x.Name):
				w[i] *= 0.25
			default:
				w[i] *= 0.1
			}
		}
		if err := e.Write(x.Name, engine.Tensor{Shape: x.Shape, Data: round32(w)}); err != nil {
			return err
		}
	}
	for _, x := range c.Expected.Buffers {
		if err := check(x.Name, x.Shape); err != nil {
			return err
		}
		v := make([]float64, graph.Shape(x.Shape).Size())
		if strings.HasSuffix(x.Name, "running_var") {
			for i := range v {
				v[i] = 1
			}
		}
		if err := e.Write(x.Name, engine.Tensor{Shape: x.Shape, Data: v}); err != nil {
			return err
		}
	}
	for name := range byName {
		return fmt.Errorf("%s: the reference has no %s", c.Name, name)
	}
	return nil
}

// isNorm tells batch norm's parameters from a linear layer's bias: beside them
// lies a running mean.
func (c *Case) isNorm(name string) bool {
	base := name[:strings.LastIndexByte(name, '.')+1]
	return slices.ContainsFunc(c.Expected.Buffers, func(b struct {
		Name  string  `json:"name"`
		Shape []int   `json:"shape"`
		Value summary `json:"value"`
	}) bool {
		return b.Name == base+"running_mean"
	})
}

// images makes the input (stored as NCHW) as NHWC.
func (c *Case) images(views int) engine.Tensor {
	ch, h, w := c.Image[0], c.Image[1], c.Image[2]
	n := views * c.Batch
	nchw := Fill("input", n*ch*h*w, c.Seed)
	out := make([]float64, len(nchw))
	for i := range n {
		for k := range ch {
			for p := range h * w {
				out[(i*h*w+p)*ch+k] = nchw[(i*ch+k)*h*w+p]
			}
		}
	}
	return engine.Tensor{Shape: graph.Shape{n, h, w, ch}, Data: out}
}

func (r *Report) compare(into *Error, name string, got tensor, shape []int, want summary, lim limit) {
	if got.n == 0 || !got.shape.Equal(shape) || len(want.Head) != len(got.Head) {
		into.add(math.Inf(1), lim.l2, func() string {
			return fmt.Sprintf("%s: shape %v and %d first entries, not %v and %d", name, got.shape, len(got.Head), shape, len(want.Head))
		})
		return
	}
	n := float64(got.n)
	add := func(what string, i int, got, want, scale, limit float64) {
		into.add(relative(got, want, scale), limit, func() string {
			if i >= 0 {
				what = fmt.Sprintf("[%d]", i)
			}
			return fmt.Sprintf("%s %s: %.12g, not %.12g", name, what, got, want)
		})
		r.Figures++
	}
	add("l2", -1, got.L2, want.L2, want.L2, lim.l2)
	add("sum", -1, got.Sum, want.Sum, lim.scale(want.Sum, want.L2, math.Sqrt(n)), lim.sum)
	for i := range want.Head {
		add("", i, got.Head[i], want.Head[i], lim.scale(want.Head[i], want.L2, 1/math.Sqrt(n)), lim.head)
	}
}

// compareZero holds a tensor that is zero but for rounding to that. Within its
// limit the absolute error is none of the relative ones that Worst is the
// largest of.
func (r *Report) compareZero(into *Error, name string, got tensor, shape []int, noise float64) {
	worst := into.Worst
	err := got.L2
	if got.n == 0 || !got.shape.Equal(shape) {
		err = math.Inf(1)
	}
	into.add(err, noise, func() string { return fmt.Sprintf("%s: shape %v, l2 %.3g, not 0", name, got.shape, got.L2) })
	if err <= noise {
		into.Worst = worst
	}
	r.Figures++
}

// relative is |got − want|/scale; a stored 0 is met by 0.
func relative(got, want, scale float64) float64 {
	if got == want {
		return 0
	}
	return math.Abs(got-want) / scale
}

// Run compares one loss case.
func (c LossCase) Run(e engine.Engine, tol Tolerance) (Report, error) {
	r := Report{Name: fmt.Sprintf("%s, %d exits, temperature %g, seed %d", c.Method, c.Exits, c.Tau, c.Seed)}
	var alpha *float64
	if c.Alpha != 0 {
		alpha = &c.Alpha
		r.Name = fmt.Sprintf("%s, alpha %g", r.Name, c.Alpha)
	}
	m, err := method(c.Method, alpha, false)
	if err != nil {
		return r, err
	}
	rows := m.Views * len(c.Labels)
	if len(c.Gradient) != rows*c.Exits*c.Dim {
		return r, errors.New(r.Name + ": the stored gradient does not fit the features")
	}
	// Stored rows × exits × dim; the loss takes one table an exit.
	f := Fill("loss-features", rows*c.Exits*c.Dim, c.Seed)
	for i := 0; i < len(f); i += c.Dim {
		l2 := summarise(f[i : i+c.Dim]).L2
		for j := range c.Dim {
			f[i+j] /= l2
		}
	}
	g := graph.New()
	in := map[string]engine.Tensor{"labels": engine.Int32(c.Labels, len(c.Labels))}
	z := make([]*graph.Value, c.Exits)
	for x := range z {
		name := fmt.Sprint("z", x)
		z[x] = g.Input(name, graph.Float, rows, c.Dim)
		data := make([]float64, 0, rows*c.Dim)
		for row := range rows {
			data = append(data, f[(row*c.Exits+x)*c.Dim:][:c.Dim]...)
		}
		in[name] = engine.Tensor{Shape: graph.Shape{rows, c.Dim}, Data: data}
	}
	l := m.Add(g, loss.Heads{Projections: z}, g.Input("labels", graph.Int, len(c.Labels)), loss.Temperatures{Tau: c.Tau, Base: c.BaseTau})
	g.Output("loss", l)
	needed := z
	if !m.NeedsExits() {
		needed = z[c.Exits-1:]
	}
	for x, d := range g.Gradients(l, needed) {
		g.Output(fmt.Sprint("d", x), d)
	}
	p, err := g.Build()
	if err != nil {
		return r, err
	}
	exe, err := e.Compile(p)
	if err != nil {
		return r, err
	}
	out, err := exe.Run(in)
	if err != nil {
		return r, err
	}
	lossLim, gradLim := tol.Exact, tol.Exact
	scale := summarise(c.Gradient).L2 / math.Sqrt(float64(len(c.Gradient)))
	if tol.Exact == 0 {
		lossLim, gradLim = lossFloat32(c.Tau, c.Dim), lossFloat32(c.Tau, c.Dim)
	}
	got := out["loss"].Item()
	r.Losses.add(math.Abs(got-c.Loss)/math.Abs(c.Loss), lossLim, func() string { return fmt.Sprintf("%s: %.12g, not %.12g", r.Name, got, c.Loss) })
	r.Figures++
	for x := range needed {
		d := out[fmt.Sprint("d", x)].Float64s()
		for row := range rows {
			for j := range c.Dim {
				at := (row*c.Exits+x)*c.Dim + j
				want, got := c.Gradient[at], d[row*c.Dim+j]
				s := max(math.Abs(want), scale)
				if tol.Exact > 0 {
					s = math.Abs(want)
				}
				r.Gradients.add(relative(got, want, s), gradLim, func() string { return fmt.Sprintf("%s [%d]: %.12g, not %.12g", r.Name, at, got, want) })
				r.Figures++
			}
		}
	}
	return r, nil
}

// RunLosses compares all cases of a list and reports the worst of each kind of
// figure. If a case is not supported the others are still run; the error is
// returned unless one of them fails.
func RunLosses(cases []LossCase, e engine.Engine, tol Tolerance) (Report, error) {
	var all Report
	var missing error
	for _, c := range cases {
		r, err := c.Run(e, tol)
		var unsupported *Unsupported
		if errors.As(err, &unsupported) {
			missing = err
			continue
		}
		if err != nil {
			return all, err
		}
		all.Losses.add(r.Losses.Value, r.Losses.Limit, func() string { return r.Losses.Where })
		all.Gradients.add(r.Gradients.Value, r.Gradients.Limit, func() string { return r.Gradients.Where })
		all.Figures += r.Figures
	}
	if all.Figures > 0 && !all.OK() {
		return all, nil
	}
	return all, missing
}
