package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every model case has stored draws: what golden -draw makes of it. Made anew
// for one of them.
func TestStoredDraws(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		c, _, err := Load(path)
		if err != nil {
			t.Error(err)
		} else if c != nil && c.drawn.n != storedDraws {
			t.Errorf("%s has %d draws, not %d: golden -draw", path, c.drawn.n, storedDraws)
		}
	}
	if testing.Short() {
		t.Skip("seven steps of the oracle")
	}
	const name = "resnet18-onestage-kd-temperature4.json"
	from := filepath.Join("testdata", name)
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(to, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Draw(to); err != nil {
		t.Fatal(err)
	}
	made, _, err := Load(to)
	if err != nil {
		t.Fatal(err)
	}
	stored, _, err := Load(from)
	if err != nil {
		t.Fatal(err)
	}
	// Two digits are written; the last may differ with the machine's order of sums,
	// and so may what is of the size of float64's own rounding.
	near := func(a, b float64) bool { return max(a, b) <= 1.11*min(a, b)+1e-9 }
	for p, m := range made.drawn.gradients {
		if s := stored.drawn.gradients[p]; !near(m.norm, s.norm) || !near(m.sum, s.sum) || !near(m.element, s.element) {
			t.Errorf("%s: drawn %+v, stored %+v", p, m, s)
		}
	}
	if len(made.drawn.gradients) != len(stored.drawn.gradients) {
		t.Errorf("draws of %d gradients, stored of %d", len(made.drawn.gradients), len(stored.drawn.gradients))
	}
}

// Stored draws that are of another case, or that are none, are told.
func TestLoadDrawn(t *testing.T) {
	c := &Case{Name: "x", Arch: "resnet18"}
	other := &Case{Name: "x", Arch: "resnet34"}
	d := drawn{n: 2, gradients: map[string]measure{"a.weight": {1e-3, 2e-4, 3e-2}}}
	path := filepath.Join(t.TempDir(), "x.txt")
	if got, err := c.loadDrawn(path); err != nil || got.n != 0 {
		t.Errorf("no file: %+v, %v", got, err)
	}
	text := "case " + c.fingerprint() + " draws 2\na.weight 1.0e-03 2.0e-04 3.0e-02\n"
	for what, x := range map[string]struct {
		text, err string
		c         *Case
	}{
		"well":           {text, "", c},
		"another case":   {text, "another case", other},
		"no first line":  {"a.weight 1 2 3\n", "FINGERPRINT", c},
		"no draws":       {"case " + c.fingerprint() + " draws 0\n", "NUMBER", c},
		"a short line":   {text + "b.weight 1e-3\n", "b.weight", c},
		"not a number":   {text + "b.weight x 1 1\n", "b.weight", c},
		"a negative one": {text + "b.weight -1 1 1\n", "b.weight", c},
		"infinity":       {text + "b.weight 1 1 Inf\n", "b.weight", c},
	} {
		if err := os.WriteFile(path, []byte(x.text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := x.c.loadDrawn(path)
		switch {
		case x.err == "" && (err != nil || got.n != d.n || got.gradients["a.weight"] != d.gradients["a.weight"]):
			t.Errorf("%s: %+v, %v", what, got, err)
		case x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)):
			t.Errorf("%s: error %v, want one that names %q", what, err, x.err)
		}
	}
}

// A draw is held per parameter: what explains one gradient explains no other.
func TestLimitsPerParameter(t *testing.T) {
	c := &Case{Steps: 1, Expected: &expected{}}
	d := drawn{gradients: map[string]measure{"a": {1e-3, 1e-4, 1e-2}, "b": {1e-7, 1e-7, 1e-7}}}
	lim := newLimits(Float32, c, d)
	if got, want := lim.gradient("a"), (limit{l2: 8e-3, sum: 8e-4, head: 8e-2}); got != want {
		t.Errorf("a: %+v, want %+v", got, want)
	}
	const floor = 1.0 / (1 << 16)
	for _, p := range []string{"b", "never drawn"} {
		if got, want := lim.gradient(p), (limit{l2: floor, sum: 4 * floor, head: 4 * floor}); got != want {
			t.Errorf("%s: %+v, want %+v", p, got, want)
		}
	}
}

// NaN is never within a limit, and a gradient that cancels has an absolute one.
func TestErrors(t *testing.T) {
	nan := tensor{shape: []int{1}, summary: summarise([]float64{nan()})}
	var r Report
	r.compare(&r.Gradients, "a", nan, []int{1}, summarise([]float64{1}), limit{l2: 1, sum: 1, head: 1})
	if r.Gradients.OK() {
		t.Errorf("NaN passes: %+v", r.Gradients)
	}
	r = Report{}
	r.compareZero(&r.Gradients, "a", nan, []int{1}, 1e-7)
	if r.Gradients.OK() {
		t.Errorf("NaN passes for 0: %+v", r.Gradients)
	}
	r = Report{}
	r.compareZero(&r.Gradients, "a", tensor{shape: []int{1}, summary: summarise([]float64{1e-8})}, []int{1}, 1e-7)
	if !r.Gradients.OK() || r.Gradients.Worst != 0 {
		t.Errorf("1e-8 of 1e-7 allowed: %+v", r.Gradients)
	}
}

func nan() float64 { zero := 0.0; return zero / zero }
