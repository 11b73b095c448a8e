package golden_test

import (
	"path/filepath"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/engine/oracle"
	"selfcon/internal/testkit/golden"
)

// whole are the cases of which a slow engine runs every step; of the others it
// runs the first, which has all gradients and running statistics. The golden
// runner, which CI calls, runs every step of all.
var whole = map[string]bool{
	"resnet18-selfcon-s-fc.json": true,
	"resnet18-supcon-s.json":     true,
}

func TestOracle(t *testing.T) {
	run(t, golden.Float64, true, func() (engine.Engine, error) { return oracle.New(), nil })
}

func TestCPU(t *testing.T) {
	slow := kernel.Best().Name == "generic"
	run(t, golden.Float32, slow, func() (engine.Engine, error) { return cpu.New(cpu.Options{}) })
}

func run(t *testing.T, tol golden.Tolerance, slow bool, open func() (engine.Engine, error)) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden cases in testdata: %v", err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			c, losses, err := golden.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			e, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			var r golden.Report
			if c != nil {
				steps := c.Steps
				if slow && !whole[name] || testing.Short() {
					steps = 1
				}
				r, err = c.RunSteps(e, tol, steps)
			} else {
				r, err = golden.RunLosses(losses, e, tol)
			}
			if err != nil {
				t.Fatal(err)
			}
			for kind, x := range map[string]golden.Error{"losses": r.Losses, "gradients": r.Gradients, "buffers": r.Buffers, "outputs": r.Output, "evaluation": r.Evaluation} {
				if !x.OK() {
					t.Errorf("%s: error %.2e of %.2e allowed: %s", kind, x.Value, x.Limit, x.Where)
				}
			}
			t.Logf("%d figures: losses %.1e, gradients %.1e, buffers %.1e, outputs %.1e, evaluation %.1e; %d draws", r.Figures, r.Losses.Worst, r.Gradients.Worst, r.Buffers.Worst, r.Output.Worst, r.Evaluation.Worst, r.Draws)
		})
	}
}

// The runner must see what is wrong: a case whose stored figures are changed
// fails.
func TestRunnerNotices(t *testing.T) {
	_, losses, err := golden.Load("testdata/losses.json")
	if err != nil {
		t.Fatal(err)
	}
	bad := losses[0]
	bad.Gradient = append([]float64(nil), bad.Gradient...)
	bad.Gradient[5] *= 1 + 1e-7
	r, err := golden.RunLosses([]golden.LossCase{bad}, oracle.New(), golden.Float64)
	if err != nil || r.OK() {
		t.Errorf("a gradient off by 1e-7 passed: %v, %+v", err, r)
	}
	bad = losses[0]
	bad.Loss *= 1 + 1e-7
	r, err = golden.RunLosses([]golden.LossCase{bad}, oracle.New(), golden.Float64)
	if err != nil || r.OK() {
		t.Errorf("a loss off by 1e-7 passed: %v, %+v", err, r)
	}
	// Draws of rounding errors must not explain a wrong figure.
	c, _, err := golden.Load("testdata/resnet18-supcon-s.json")
	if err != nil {
		t.Fatal(err)
	}
	c.Expected.Parameters[9].Grad.L2 *= 1.05
	e, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if r, err := c.RunSteps(e, golden.Float32, 1); err != nil || r.OK() {
		t.Errorf("a gradient off by 5 %% passed: %v, %+v", err, r)
	}
}
