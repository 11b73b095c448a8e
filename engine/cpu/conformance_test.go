package cpu_test

import (
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/cpu/kernel"
	"selfcon/internal/testkit/optest"
)

func newEngine(t testing.TB, opt cpu.Options) engine.Engine {
	t.Helper()
	e, err := cpu.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestConformance(t *testing.T) {
	options := []cpu.Options{{Threads: 1, Skip: []string{cpu.SkipAll}, NoOrder: true, NoReuse: true}}
	for _, set := range kernel.Usable() {
		options = append(options, cpu.Options{Threads: 2, Kernels: set.Name})
	}
	if raceEnabled { // what races in one set of kernels races in all
		options = options[:2]
	}
	for _, opt := range options {
		name := opt.Kernels
		if name == "" {
			name = "no passes"
		}
		t.Run(name, func(t *testing.T) {
			optest.Run(t, func() engine.Engine { return newEngine(t, opt) })
		})
	}
}
