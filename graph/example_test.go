package graph_test

import (
	"fmt"
	"log"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

// A network of two linear layers learns exclusive or: forward, derivative and
// update are one program, which the engine runs again and again. Programs that
// name the same variables share them.
func Example() {
	network := func(g *graph.Graph, x *graph.Value) *graph.Value {
		parameter := func(name string, scale float64, shape ...int) *graph.Value {
			return g.Variable(graph.Variable{
				Name: name, Type: graph.Type{Shape: shape}, Trainable: true,
				Init: graph.Init{Kind: graph.Uniform, Scale: scale},
			})
		}
		h := g.ReLU("relu", g.Linear("fc1", x, parameter("fc1.weight", 1, 8, 2), parameter("fc1.bias", 1, 8)))
		return g.Linear("fc2", h, parameter("fc2.weight", 0.5, 2, 8), parameter("fc2.bias", 0.5, 2))
	}

	g := graph.New()
	logits := network(g, g.Input("x", graph.Float, 4, 2))
	loss := g.CrossEntropy("loss", logits, g.Input("label", graph.Int, 4))
	params := g.Trainable()
	rate := g.Constant("lr", 0.5)
	for i, d := range g.Gradients(loss, params) {
		p := params[i]
		m := g.Variable(graph.Variable{Name: "momentum." + p.Node.Name, Type: p.Type, Role: graph.Slot})
		step := g.Apply("sgd:"+p.Node.Name, graph.SGD{Momentum: 0.9}, p, d, m, rate)
		g.Update(p, step[0])
		g.Update(m, step[1])
	}
	training, err := g.Build()
	if err != nil {
		log.Fatal(err)
	}

	g = graph.New()
	g.Output("logits", network(g, g.Input("x", graph.Float, 4, 2)))
	inference, err := g.Build()
	if err != nil {
		log.Fatal(err)
	}

	e := oracle.New()
	train, err := e.Compile(training)
	if err != nil {
		log.Fatal(err)
	}
	infer, err := e.Compile(inference)
	if err != nil {
		log.Fatal(err)
	}
	if err := engine.Initialize(e, training, 1); err != nil {
		log.Fatal(err)
	}
	x := engine.Float32([]float32{0, 0, 0, 1, 1, 0, 1, 1}, 4, 2)
	for range 200 {
		if _, err := train.Run(map[string]engine.Tensor{"x": x, "label": engine.Int32([]int32{0, 1, 1, 0}, 4)}); err != nil {
			log.Fatal(err)
		}
	}
	out, err := infer.Run(map[string]engine.Tensor{"x": x})
	if err != nil {
		log.Fatal(err)
	}
	l := out["logits"].Float64s()
	for i := range 4 {
		fmt.Println(x.Float32s()[2*i:2*i+2], l[2*i+1] > l[2*i])
	}
	// Output:
	// [0 0] false
	// [0 1] true
	// [1 0] true
	// [1 1] false
}
