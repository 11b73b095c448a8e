package cpu_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/graph"
)

// contrastProgram is the loss of rows features of length d and its gradient,
// compiled, with inputs to run it on.
func contrastProgram(tb testing.TB, e engine.Engine, rows, d int) (engine.Executable, map[string]engine.Tensor) {
	g := graph.New()
	z, labels := g.Input("z", graph.Float, rows, d), g.Input("labels", graph.Int, rows)
	l := g.Contrast("contrast", z, labels, graph.Contrast{Exits: 1, Views: 1, Anchors: []bool{true}, Temperature: 0.1, BaseTemperature: 0.07})
	g.Output("loss", l)
	g.Output("dz", g.Gradients(l, []*graph.Value{z})[0])
	p, err := g.Build()
	if err != nil {
		tb.Fatal(err)
	}
	x, err := e.Compile(p)
	if err != nil {
		tb.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	data, classes := make([]float32, rows*d), make([]int32, rows)
	for i := range rows {
		sum := 0.0
		row := data[i*d : (i+1)*d]
		for k := range row {
			row[k] = float32(r.NormFloat64())
			sum += float64(row[k]) * float64(row[k])
		}
		for k := range row {
			row[k] /= float32(math.Sqrt(sum))
		}
		classes[i] = r.Int32N(100)
	}
	return x, map[string]engine.Tensor{"z": engine.Float32(data, rows, d), "labels": engine.Int32(classes, rows)}
}

// BenchmarkContrast is the loss of 8,192 features of length 128 and its
// gradient: 268 MB as a matrix of similarities.
func BenchmarkContrast(b *testing.B) {
	e, err := cpu.New(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	x, in := contrastProgram(b, e, 8192, 128)
	for b.Loop() {
		if _, err := x.Run(in); err != nil {
			b.Fatal(err)
		}
	}
	s := x.(*cpu.Executable).Stats()
	b.ReportMetric(float64(s.Arena+s.Scratch)/1e6, "MB")
}

// 8,192 features of length 128: their similarities alone would be 268 MB.
func TestContrastMemory(t *testing.T) {
	e, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	x, _ := contrastProgram(t, e, 8192, 128)
	if s := x.(*cpu.Executable).Stats(); s.Arena+s.Scratch > 100e6 {
		t.Errorf("the loss and its gradient take %.0f MB, want at most 100", float64(s.Arena+s.Scratch)/1e6)
	}
}
