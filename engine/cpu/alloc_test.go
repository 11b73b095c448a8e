package cpu

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"selfcon/engine"
	"selfcon/graph"
)

func TestAllocate(t *testing.T) {
	var m memory
	for _, n := range []int{1, 15, 1000, hugePage/4 - 1, hugePage / 2, hugePage/2 + 17} {
		s, err := m.allocate(n)
		if err != nil {
			t.Fatal(err)
		}
		align := uintptr(cacheLine)
		if 4*n >= 2*hugePage {
			align = hugePage
		}
		if at := uintptr(unsafe.Pointer(&s[0])); len(s) != n || at%align != 0 {
			t.Errorf("%d floats at %#x, want %d at a multiple of %d", len(s), at, n, align)
		}
		for i := range s {
			if s[i] != 0 {
				t.Fatalf("float %d of %d is %g", i, n, s[i])
			}
			s[i] = 1
		}
		if n == 1000 {
			m.release(s)
		}
	}
	if len(m.blocks) != 5 {
		t.Errorf("%d blocks, want 5", len(m.blocks))
	}
	if s, err := m.allocate(0); err != nil || s != nil {
		t.Errorf("no floats: %v, %v", s, err)
	}
	m.free()
	if len(m.blocks) != 0 {
		t.Errorf("%d blocks after free", len(m.blocks))
	}
}

// collected waits until collections have left want blocks, and says how many
// there are.
func (m *memory) collected(want int) int {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		m.mu.Lock()
		n := len(m.blocks)
		m.mu.Unlock()
		if n == want || time.Now().After(end) {
			return n
		}
	}
}

// Programs and engines that nobody holds any more give their memory back, and
// the engine its threads.
func TestDropped(t *testing.T) {
	g := graph.New()
	const n = 4 * chunk
	x := g.Input("x", graph.Float, n)
	v := g.Variable(graph.Variable{Name: "v", Type: graph.Type{Shape: graph.Shape{n}}})
	g.Output("y", g.Add("y", g.ReLU("r", x), v))
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	m, pool := e.memory, e.pool
	run := func() {
		exe, err := e.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := exe.Run(map[string]engine.Tensor{"x": engine.Float32(make([]float32, n), n)}); err != nil {
			t.Fatal(err)
		}
	}
	run()
	run()
	if n := m.collected(1); n != 1 {
		t.Errorf("%d blocks after dropping the programs, want that of the variable", n)
	}
	if _, err := e.Read("v"); err != nil {
		t.Error(err)
	}
	e = nil
	if n := m.collected(0); n != 0 {
		t.Errorf("%d blocks after dropping the engine", n)
	}
	if !pool.closed.Load() {
		t.Error("the threads still run")
	}
}
