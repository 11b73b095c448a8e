package golden

import (
	"errors"
	"fmt"
	"math"

	"path/filepath"
	"slices"

	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/oracle"
	"selfcon/graph"
	"selfcon/loss"
)

// whole are the cases of which a slow engine runs every step; of the others it
// runs the first, which has all gradients and running statistics. The golden
// runner, which CI calls, runs every step of all.
var whole = map[string]bool{
	"resnet18-selfcon-s-fc.json": true,
	"resnet18-supcon-s.json":     true,
}

func TestOracle(t *testing.T) {
	run(t, Float64, true, func() (engine.Engine, error) { return oracle.New(), nil })
}

func TestCPU(t *testing.T) {
	slow := kernel.Best().Name == "generic"
	run(t, Float32, slow, func() (engine.Engine, error) { return cpu.New(cpu.Options{}) })
}

func run(t *testing.T, tol Tolerance, slow bool, open func() (engine.Engine, error)) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases in testdata: %v", err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			c, losses, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			e, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			var r Report
			if c == nil {
				r, err = RunLosses(losses, e, tol)
			} else {
				steps := c.Steps
				if slow && !whole[name] || testing.Short() {
					steps = 1
				}
				var got *outcome
				if got, err = c.train(e, steps, false); err == nil {
					r, err = c.judge(got, tol, steps)
					noticed(t, c, got, tol)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			for kind, x := range map[string]Error{"losses": r.Losses, "gradients": r.Gradients, "buffers": r.Buffers, "outputs": r.Output, "evaluation": r.Evaluation} {
				if !x.OK() {
					t.Errorf("%s: error %.2e of %.2e allowed: %s", kind, x.Value, x.Limit, x.Where)
				}
			}
			t.Logf("%d figures: losses %.1e, gradients %.1e, buffers %.1e, outputs %.1e, evaluation %.1e; %d draws", r.Figures, r.Losses.Worst, r.Gradients.Worst, r.Buffers.Worst, r.Output.Worst, r.Evaluation.Worst, r.Draws)
		})
	}
}

// wrongs are tried on one parameter's stored gradient at a time, on what an
// engine has made of the case: each must be seen. A float32 engine's limits hang
// on how many decisions rounding flips, the more the deeper the network is with
// few images and pixels at its end, and on how much hangs on each.
func noticed(t *testing.T, c *Case, got *outcome, tol Tolerance) {
	factor, element := 1+1e-6, 1e-6
	if tol.Exact == 0 {
		switch c.Arch {
		default:
			factor, element = 1.02, 0.5
		case "resnet18":
			factor, element = 1.05, 4
		case "resnet34":
			factor, element = 1.1, 4
		case "resnet50": // a decision in its third stage is 0.3 of a gradient
			factor, element = 1.3, 0
		}
	}
	for what, wrong := range map[string]func(g *summary, n float64){
		fmt.Sprintf("all of it times %g", factor): func(g *summary, _ float64) { scale(g, factor, factor) },
		fmt.Sprintf("all of it over %g", factor):  func(g *summary, _ float64) { scale(g, 1/factor, 1/factor) },
		"its sign": func(g *summary, _ float64) {
			if scale(g, 1, -1); !slices.ContainsFunc(g.Head, func(x float64) bool { return x != 0 }) {
				scale(g, 0, 0) // only the sum would tell, and where it is small no better than rounding
			}
		},
		"an element": func(g *summary, n float64) {
			if element == 0 {
				scale(g, 0, 0)
			}
			i := len(g.Head) - 1
			g.Head[i] += element * max(math.Abs(g.Head[i]), g.L2/math.Sqrt(n))
		},
		"that it is missing": func(g *summary, _ float64) { scale(g, 0, 0) },
	} {
		if passed := c.unnoticed(got, tol, wrong); len(passed) > 0 {
			t.Errorf("%s of one gradient is wrong and the case passes: %d parameters, %q …", what, len(passed), passed[:min(8, len(passed))])
		}
	}
}

func scale(g *summary, norm, all float64) {
	g.L2 *= norm
	g.Sum *= all
	for i := range g.Head {
		g.Head[i] *= all
	}
}

// unnoticed are the parameters for which a wrong stored gradient passes.
func (c *Case) unnoticed(got *outcome, tol Tolerance, wrong func(g *summary, n float64)) []string {
	var names []string
	lim := newLimits(tol, c, c.drawn)
	for i := range c.Expected.Parameters {
		p := &c.Expected.Parameters[i]
		if !p.Trainable || lim.cancels(p.Grad) {
			continue
		}
		right := p.Grad
		p.Grad.Head = slices.Clone(right.Head)
		wrong(&p.Grad, float64(graph.Shape(p.Shape).Size()))
		if c.compare(got, tol, c.drawn).OK() {
			names = append(names, p.Name)
		}
		p.Grad = right
	}
	return names
}

// The runner must see what is wrong; of gradients TestOracle and TestCPU try
// that on every parameter.
func TestRunnerNotices(t *testing.T) {
	_, losses, err := Load("testdata/losses.json")
	if err != nil {
		t.Fatal(err)
	}
	bad := losses[0]
	bad.Gradient = slices.Clone(bad.Gradient)
	bad.Gradient[5] *= 1 + 1e-7
	r, err := RunLosses([]LossCase{bad}, oracle.New(), Float64)
	if err != nil || r.OK() {
		t.Errorf("a gradient off by 1e-7 passed: %v, %+v", err, r)
	}
	bad = losses[0]
	bad.Loss *= 1 + 1e-7
	r, err = RunLosses([]LossCase{bad}, oracle.New(), Float64)
	if err != nil || r.OK() {
		t.Errorf("a loss off by 1e-7 passed: %v, %+v", err, r)
	}
}

// What no stored draw explains, further ones must not either, in a case without
// stored draws as in one with them: the oracle has to meet the case first.
func TestDrawsExplainNoWrong(t *testing.T) {
	for name, wrong := range map[string]func(c *Case){
		"wrn_16_8-selfcon-su-small-exits12": func(c *Case) { scale(&c.Expected.Parameters[9].Grad, 1.02, 1.02) },
		"vgg16_bn-selfcon-s-small": func(c *Case) {
			c.drawn = drawn{}
			for i := range c.Expected.Parameters {
				if p := &c.Expected.Parameters[i]; len(p.Shape) == 4 {
					scale(&p.Grad, 1.5, 1.5)
				}
			}
		},
		"resnet18-onestage-kd-temperature4":  func(c *Case) { c.Distill = nil },
		"resnet18-selfcon-mu-alpha-exits123": func(c *Case) { c.Alpha = new(0.41) },
	} {
		c, _, err := Load("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		wrong(c)
		e, err := cpu.New(cpu.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := c.RunSteps(e, Float32, 1); err != nil || r.OK() {
			t.Errorf("%s: what is wrong passed: %v, %+v", name, err, r)
		}
		e.Close()
	}
}

// The weights and the temperature of a case of one stage are its own.
func TestOneStage(t *testing.T) {
	m, err := loss.Parse("kd")
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&Case{Alpha: new(0.25), Beta: new(2.0), Distill: new(4.0), Gamma: new(0.0)}).weighted(m)
	if want := (loss.Classifiers{Subs: 0.25, Distill: 2, Temperature: 4}); err != nil || *got.Classifiers != want {
		t.Errorf("%+v, %v; want %+v", got.Classifiers, err, want)
	}
	if *m.Classifiers != (loss.Classifiers{Subs: 0.5, Distill: 0.5, Temperature: 3}) {
		t.Errorf("kd itself is now %+v", *m.Classifiers)
	}
	var unsupported *Unsupported
	if _, err := (&Case{Method: "kd", Gamma: new(0.5)}).weighted(m); !errors.As(err, &unsupported) {
		t.Errorf("contrasts of kd: %v", err)
	}
	if _, err := (&Case{Distill: new(0.0)}).weighted(m); err == nil {
		t.Error("kd_temperature 0 is taken")
	}
	if m, err = loss.Parse("selfcon"); err != nil {
		t.Fatal(err)
	}
	if got, err := (&Case{Gamma: new(0.3)}).weighted(m); err != nil || got.Terms[0].Weight != 0.3 || m.Terms[0].Weight != 0.8 {
		t.Errorf("gamma 0.3: %+v, %v; selfcon itself %+v", got.Terms, err, m.Terms)
	}
}
