// Command contrast times the contrastive loss alone, with its gradient, on the
// CPU engine: selfcon's side of the race contrast:ROWS:DIM. It prints one line
// of JSON. Its features and labels are random; torch_contrast.py, the other
// side, reads those that -sample writes, and says how far its results are off.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "contrast:", err)
		os.Exit(1)
	}
}

func run() error {
	rows := flag.Int("rows", 8192, "features")
	dim := flag.Int("dim", 128, "their length")
	threads := flag.Int("threads", 0, "threads (0: as many as there are)")
	steps := flag.Int("steps", 6, "runs timed")
	sample := flag.String("sample", "", "write features, labels, loss and gradient to this file")
	flag.Parse()
	if *rows < 2 || *dim < 1 || *steps < 1 {
		return fmt.Errorf("%d rows of length %d in %d steps: must be at least 2, 1 and 1", *rows, *dim, *steps)
	}
	e, err := cpu.New(cpu.Options{Threads: *threads})
	if err != nil {
		return err
	}
	defer e.Close()
	g := graph.New()
	z, labels := g.Input("z", graph.Float, *rows, *dim), g.Input("labels", graph.Int, *rows)
	l := g.Contrast("contrast", z, labels, graph.Contrast{Exits: 1, Views: 1, Anchors: []bool{true}, Temperature: 0.1, BaseTemperature: 0.1})
	g.Output("loss", l)
	g.Output("dz", g.Gradients(l, []*graph.Value{z})[0])
	p, err := g.Build()
	if err != nil {
		return err
	}
	x, err := e.Compile(p)
	if err != nil {
		return err
	}
	data, classes := features(*rows, *dim)
	in := map[string]engine.Tensor{"z": engine.Float32(data, *rows, *dim), "labels": engine.Int32(classes, *rows)}
	var out map[string]engine.Tensor
	var times []float64
	for i := range 2 + *steps {
		start := time.Now()
		if out, err = x.Run(in); err != nil {
			return err
		}
		if i >= 2 {
			times = append(times, time.Since(start).Seconds())
		}
	}
	slices.Sort(times)
	peak, err := peakBytes()
	if err != nil {
		return err
	}
	if *sample != "" {
		if err := write(*sample, data, classes, float32(out["loss"].Item()), out["dz"].Float32s()); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"engine": e.Name(), "rows": *rows, "dim": *dim, "step_s": times[0], "step_s_median": times[len(times)/2], "peak_bytes": peak,
	})
}

// features are rows × dim of length 1, of up to 100 classes.
func features(rows, dim int) ([]float32, []int32) {
	r := rand.New(rand.NewPCG(1, 2))
	data, classes := make([]float32, rows*dim), make([]int32, rows)
	for i := range rows {
		row := data[i*dim:][:dim]
		sum := 0.0
		for k := range row {
			row[k] = float32(r.NormFloat64())
			sum += float64(row[k]) * float64(row[k])
		}
		for k := range row {
			row[k] /= float32(math.Sqrt(sum))
		}
		classes[i] = int32(i % min(100, rows/2)) // two of each at least: the dense forms divide by the positives
	}
	return data, classes
}

// write writes the parts one after another, little-endian.
func write(path string, parts ...any) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, part := range parts {
		if err := binary.Write(f, binary.LittleEndian, part); err != nil {
			return err
		}
	}
	return f.Close()
}

// peakBytes is the process's peak resident set, as Linux tells it.
func peakBytes() (int64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmHWM")
}
