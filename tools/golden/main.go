// Command golden compares an engine with stored results of the paper's
// reference code.
//
//	go run ./tools/golden -engine oracle|cpu FILE…
//	go run ./tools/golden -draw FILE…
//
// It prints for each file the worst relative error of the losses, gradients,
// buffers and outputs, and ok, FAIL or unsupported. It exits 0 if all are ok, 1
// if one fails, 2 if it is called wrongly, 3 if none fails but one needs what is
// not built yet. With -draw it writes the draws of rounding errors that a
// float32 engine's limits come from to draws/NAME.txt beside each file.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/oracle"
	"selfcon/internal/testkit/golden"
)

func main() { os.Exit(run()) }

func run() int {
	name := flag.String("engine", "oracle", "the engine to check: oracle (float64) or cpu (float32)")
	threads := flag.Int("threads", 0, "threads of the cpu engine (0: as many as there are)")
	draw := flag.Bool("draw", false, "make the draws of rounding errors that are stored beside each file")
	verbose := flag.Bool("v", false, "say where the worst errors are")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: golden [-engine oracle|cpu] [-threads N] [-v] FILE…\n       golden -draw FILE…")
		flag.PrintDefaults()
	}
	flag.Parse()
	var open func() (engine.Engine, error)
	tol := golden.Float64
	switch *name {
	case "oracle":
		open = func() (engine.Engine, error) { return oracle.New(), nil }
	case "cpu":
		tol = golden.Float32
		open = func() (engine.Engine, error) { return cpu.New(cpu.Options{Threads: *threads}) }
	default:
		fmt.Fprintf(os.Stderr, "golden: unknown engine %q; must be oracle or cpu\n", *name)
		return 2
	}
	if flag.NArg() == 0 {
		flag.Usage()
		return 2
	}
	code := 0
	if *draw {
		for _, path := range flag.Args() {
			if err := golden.Draw(path); err != nil {
				fmt.Fprintf(os.Stderr, "golden: %v\n", err)
				code = 1
			}
		}
		return code
	}
	for _, path := range flag.Args() {
		r, err := check(path, open, tol)
		var unsupported *golden.Unsupported
		switch {
		case errors.As(err, &unsupported):
			fmt.Printf("%-36s %v\n", filepath.Base(path), unsupported)
			if code == 0 {
				code = 3
			}
			continue
		case err != nil:
			fmt.Printf("%-36s FAIL %v\n", filepath.Base(path), err)
			code = 1
			continue
		}
		verdict := "ok"
		if !r.OK() {
			verdict, code = "FAIL", 1
		}
		if r.Draws > 0 {
			verdict = fmt.Sprintf("%s (%d further draws of rounding errors)", verdict, r.Draws)
		}
		fmt.Printf("%-36s losses %.1e  gradients %.1e  buffers %.1e  outputs %.1e  evaluation %.1e  (%d figures) %s\n",
			filepath.Base(path), r.Losses.Worst, r.Gradients.Worst, r.Buffers.Worst, r.Output.Worst, r.Evaluation.Worst, r.Figures, verdict)
		if *verbose || !r.OK() {
			for _, e := range []golden.Error{r.Losses, r.Gradients, r.Buffers, r.Output, r.Evaluation} {
				if e.Where != "" {
					fmt.Printf("    %.2e of %.2e allowed: %s\n", e.Value, e.Limit, e.Where)
				}
			}
		}
	}
	return code
}

// check runs one file; a file of loss cases is reported as one. Those of its
// cases that are not supported make the file so, unless another fails.
func check(path string, open func() (engine.Engine, error), tol golden.Tolerance) (golden.Report, error) {
	c, losses, err := golden.Load(path)
	if err != nil {
		return golden.Report{}, err
	}
	e, err := open()
	if err != nil {
		return golden.Report{}, err
	}
	defer e.Close()
	if c != nil {
		return c.Run(e, tol)
	}
	return golden.RunLosses(losses, e, tol)
}
