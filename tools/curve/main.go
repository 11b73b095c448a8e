// Command curve trains the same network on the embedded sample, by quickstart's
// configuration, and shows what the rounding of convolutions does to the losses:
// with direct sums, with Winograd's transforms, and, as the yardstick of what
// rounding alone does, two times more with direct sums: their operations run one
// by one, which adds in another order, and from weights of which each is off by
// its last bit.
//
//	go run ./tools/curve
//
// It prints how far the losses lie apart and writes DIR/losses.csv and
// DIR/curve.svg. It exits 1 if something fails, 2 if it is called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"selfcon/config"
	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
	"selfcon/train"
)

const (
	first = 50 // steps whose largest difference is told
	last  = 50 // steps whose mean loss is told
)

// variant is one way to compute the same training.
type variant struct {
	name string
	opt  cpu.Options
	ulp  bool // flip the last bit of each first weight that is not 0
}

// The first is what the others are compared with.
var variants = []variant{
	{name: "direct", opt: cpu.Options{Conv: "direct"}},
	{name: "winograd", opt: cpu.Options{Conv: "winograd"}},
	{name: "direct, unfused", opt: cpu.Options{Conv: "direct", Skip: []string{cpu.SkipAll}}},
	{name: "direct, 1 ulp off", opt: cpu.Options{Conv: "direct"}, ulp: true},
}

// curve is the loss of each step.
type curve struct {
	name   string
	losses []float64
}

func main() { os.Exit(run()) }

func run() int {
	steps := flag.Int("steps", 300, "training steps")
	width := flag.Int("width", 16, "channels of the first stage; Winograd's transforms need a multiple of 16")
	out := flag.String("out", "docs/curve", "folder to write losses.csv and curve.svg to")
	flag.Parse()
	if flag.NArg() > 0 || *steps < 1 || *width < 16 || *width%16 != 0 {
		fmt.Fprintln(os.Stderr, "usage: curve [-steps N] [-width N] [-out DIR], with at least 1 step and a width that is a multiple of 16")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := compare(ctx, os.Stdout, *steps, *width, *out); err != nil {
		fmt.Fprintln(os.Stderr, "curve:", err)
		if ctx.Err() != nil {
			return 130
		}
		return 1
	}
	return 0
}

// compare trains every variant, prints the figures and writes the files.
func compare(ctx context.Context, w io.Writer, steps, width int, dir string) error {
	c := config.Quickstart()
	d := config.DefaultOf(c.Method, "sgd") // whose steps are proportional to the gradients, errors and all
	c.Model.Width, c.Optimizer, c.Rate, c.WeightDecay = width, d.Optimizer, d.Rate, d.WeightDecay
	var curves []curve
	for _, v := range variants {
		losses, name, err := trainLosses(ctx, c, v, steps)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		if len(curves) == 0 {
			fmt.Fprintf(w, "%s %s, width %d, exit after stage %v, %d images a step, seed %d, %d steps; %s\n",
				c.Model.Arch, c.Method, width, c.Model.Exits, c.Batch, c.Seed, steps, name)
		} else if slices.Equal(losses, curves[0].losses) {
			return fmt.Errorf("%s: the losses are those of %s to the bit: nothing was computed otherwise", v.name, curves[0].name)
		}
		curves = append(curves, curve{v.name, losses})
	}
	if err := figures(w, curves); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "losses.csv"), []byte(csv(curves)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "curve.svg"), []byte(svg(curves)), 0o644)
}

// errEnough ends a run that has made its steps.
var errEnough = errors.New("steps enough")

// trainLosses are those of the first steps of a run, and the engine's name.
func trainLosses(ctx context.Context, c config.Run, v variant, steps int) (out []float64, name string, err error) {
	s, err := train.NewSetup(c)
	if err != nil {
		return nil, "", err
	}
	e, err := cpu.New(v.opt)
	if err != nil {
		return nil, "", err
	}
	defer e.Close()
	t, err := train.NewTrainer(s, e)
	if err != nil {
		return nil, "", err
	}
	if v.ulp {
		if err := flipLastBits(t); err != nil {
			return nil, "", err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = t.Run(ctx, func(p train.Progress) {
		if out = append(out, p.Loss); len(out) == steps {
			cancel(errEnough)
		}
	})
	switch {
	case err != nil && !errors.Is(err, errEnough):
		return nil, "", err
	case len(out) < steps:
		return nil, "", fmt.Errorf("the run has %d steps, not %d", len(out), steps)
	}
	return out, e.Name(), nil
}

// flipLastBits moves every parameter that is not 0 to a neighbouring float32, up
// or down as its last bit has it.
func flipLastBits(t *train.Trainer) error {
	for _, v := range t.Variables {
		if v.Role != graph.Parameter {
			continue
		}
		x, err := t.Engine.Read(v.Name)
		if err != nil {
			return err
		}
		data := x.Float32s()
		for i, w := range data {
			if w != 0 {
				data[i] = math.Float32frombits(math.Float32bits(w) ^ 1)
			}
		}
		if err := t.Engine.Write(v.Name, engine.Float32(data, x.Shape...)); err != nil {
			return err
		}
	}
	return nil
}

// differences are |loss − the first curve's| of each step.
func differences(curves []curve) []curve {
	var out []curve
	for _, c := range curves[1:] {
		d := make([]float64, len(c.losses))
		for i, l := range c.losses {
			d[i] = math.Abs(l - curves[0].losses[i])
		}
		out = append(out, curve{c.name, d})
	}
	return out
}

// figures prints a line for each curve.
func figures(w io.Writer, curves []curve) error {
	n := len(curves[0].losses)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "\tlargest difference from %s, first %d steps\tmean loss, last %d steps\n", curves[0].name, min(first, n), min(last, n))
	diff := differences(curves)
	for i, c := range curves {
		apart := ""
		if i > 0 {
			apart = fmt.Sprintf("%.1e", slices.Max(diff[i-1].losses[:min(first, n)]))
		}
		fmt.Fprintf(tw, "%s\t%s\t%.4f\n", c.name, apart, mean(c.losses[n-min(last, n):]))
	}
	return tw.Flush()
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// csv is a line a step (from 1), with as many digits as a float32 has.
func csv(curves []curve) string {
	var b strings.Builder
	b.WriteString("step")
	for _, c := range curves {
		b.WriteString("," + strings.ReplaceAll(c.name, ",", ""))
	}
	for i := range curves[0].losses {
		fmt.Fprintf(&b, "\n%d", i+1)
		for _, c := range curves {
			fmt.Fprintf(&b, ",%.9g", c.losses[i])
		}
	}
	return b.String() + "\n"
}
