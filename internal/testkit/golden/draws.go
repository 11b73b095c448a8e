package golden

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"selfcon/engine"
	"selfcon/engine/oracle"
)

// drawn is how far draws of rounding errors are off, each figure by itself: the
// largest of all draws.
//
// Where the operand of a ReLU, or the lead of a window's largest pixel, is so
// close to 0 that rounding decides, a derivative is off either by next to nothing
// or by that decision's whole share, and so is what is learnt from it. How often
// that happens, and which parameters it reaches, is a property of the network and
// the input: draws show it, without any float32 engine having a part in them.
type drawn struct {
	n          int
	gradients  map[string]measure
	losses     map[int]float64 // by step
	evaluation map[int]measure // by exit
}

// measure is how far a tensor is off: its norm, its sum, and the worst of its
// first entries or the root mean square of all, each relative to limit.scale.
type measure struct{ norm, sum, element float64 }

func (m measure) max(o measure) measure {
	return measure{max(m.norm, o.norm), max(m.sum, o.sum), max(m.element, o.element)}
}

func (m measure) ok() bool {
	return min(m.norm, m.sum, m.element) >= 0 && max(m.norm, m.sum, m.element) <= math.MaxFloat64
}

// storedDraws is how many draws of the gradients are stored beside a case. Of
// what happens in one of four draws, six miss a sixth.
const storedDraws = 6

// furtherDraws is how many are made beyond the stored ones to explain a figure.
// Of what happens in one of eight draws, eight miss a third.
const furtherDraws = 8

// jittered is the oracle with everything that is written to it off by up to
// 2⁻¹⁹. Sums of many products are then off by 2⁻¹⁹/√3 = 1.1e-6 of their size,
// which is what Winograd's transforms measure in float32 (docs/log.md).
type jittered struct {
	*oracle.Engine
	r *rand.Rand
}

func (e jittered) Write(name string, t engine.Tensor) error {
	data := slices.Clone(t.Float64s())
	for i := range data {
		data[i] *= 1 + math.Exp2(-19)*(2*e.r.Float64()-1)
	}
	return e.Engine.Write(name, engine.Tensor{Shape: t.Shape, Data: data})
}

// truth runs the case on the oracle, which must meet it: draws would explain
// away what it misses.
func (c *Case) truth(steps int) (*outcome, Report, error) {
	o, err := c.train(oracle.New(), steps, true)
	if err != nil {
		return nil, Report{}, err
	}
	return o, c.compare(o, Float64, drawn{}), nil
}

// draw adds a draw of rounding errors: the case on the oracle, from weights that
// are off, at random, by as much as makes the results of each convolution off by
// what a float32 engine's are.
func (d *drawn) draw(c *Case, truth *outcome, seed uint64, steps int) error {
	o, err := c.train(jittered{oracle.New(), rand.New(rand.NewPCG(seed, 1))}, steps, true)
	if err != nil {
		return err
	}
	if d.gradients == nil {
		d.gradients, d.losses, d.evaluation = map[string]measure{}, map[int]float64{}, map[int]measure{}
	}
	lim := newLimits(Float64, c, drawn{})
	for _, p := range c.Expected.Parameters {
		// Of a gradient that cancels only rounding is left, which has no relative error.
		if want, ok := truth.gradients[p.Name]; ok && !lim.cancels(p.Grad) {
			d.gradients[p.Name] = d.gradients[p.Name].max(off(o.gradients[p.Name], want))
		}
	}
	for s, want := range truth.losses[:len(o.losses)] {
		if s > 0 {
			d.losses[s] = max(d.losses[s], math.Abs(o.losses[s]-want)/math.Abs(want))
		}
	}
	for i := range o.evaluation {
		d.evaluation[i] = d.evaluation[i].max(off(o.evaluation[i], truth.evaluation[i]))
	}
	d.n++
	return nil
}

func off(got, want tensor) measure {
	n := math.Sqrt(float64(want.n))
	m := measure{
		norm: relative(got.L2, want.L2, want.L2),
		sum:  relative(got.Sum, want.Sum, limit{}.scale(want.Sum, want.L2, n)),
	}
	for i := range want.Head {
		m.element = max(m.element, relative(got.Head[i], want.Head[i], limit{}.scale(want.Head[i], want.L2, 1/n)))
	}
	squares := 0.0
	for i, w := range want.all {
		squares += (got.all[i] - w) * (got.all[i] - w)
	}
	if squares > 0 {
		m.element = max(m.element, math.Sqrt(squares)/want.L2)
	}
	return m
}

// explain compares a float32 engine's outcome, with the stored draws, and makes
// further ones while a figure is off that rounding may be the cause of.
func (c *Case) explain(got *outcome, steps int) (Report, error) {
	r := c.compare(got, Float32, c.drawn)
	if r.OK() || !r.Buffers.OK() || !r.Output.OK() {
		return r, nil
	}
	if r.Losses.OK() && r.Evaluation.OK() {
		steps = 1
	}
	truth, exact, err := c.truth(steps)
	if err != nil || !exact.OK() {
		return r, err
	}
	d := c.drawn.clone()
	for made := range furtherDraws {
		if err := d.draw(c, truth, uint64(c.drawn.n+made), steps); err != nil {
			return r, err
		}
		r = c.compare(got, Float32, d)
		r.Draws = made + 1
		if r.OK() {
			break
		}
	}
	return r, nil
}

func (d drawn) clone() drawn {
	d.gradients, d.losses, d.evaluation = maps.Clone(d.gradients), maps.Clone(d.losses), maps.Clone(d.evaluation)
	return d
}

// drawnPath is where the draws of a case are stored.
func drawnPath(path string) string {
	dir, name := filepath.Split(path)
	return filepath.Join(dir, "draws", strings.TrimSuffix(name, ".json")+".txt")
}

// Draw makes the draws of a model case's gradients that are stored beside it,
// and writes them. A case that the oracle does not meet is an error.
func Draw(path string) error {
	c, _, err := parse(path)
	if err != nil || c == nil {
		return err
	}
	truth, exact, err := c.truth(1)
	if err != nil {
		return err
	}
	if !exact.OK() {
		return fmt.Errorf("%s: the oracle does not meet this case: error %.2e of %.2e allowed: %s", path, exact.Gradients.Value, exact.Gradients.Limit, exact.Gradients.Where)
	}
	var d drawn
	for seed := range uint64(storedDraws) {
		if err := d.draw(c, truth, seed, 1); err != nil {
			return err
		}
	}
	to := drawnPath(path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, d.text(c), 0o644)
}

// fingerprint is of what decides draws: the case without its figures.
func (c *Case) fingerprint() string {
	only := *c
	only.Expected, only.Yardstick.Losses = nil, nil
	text, err := json.Marshal(only)
	if err != nil { // a struct of numbers and strings
		panic(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))[:16]
}

func (d drawn) text(c *Case) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "case %s draws %d\n", c.fingerprint(), d.n)
	for _, p := range c.Expected.Parameters {
		if m, ok := d.gradients[p.Name]; ok {
			fmt.Fprintf(&b, "%s %.1e %.1e %.1e\n", p.Name, m.norm, m.sum, m.element)
		}
	}
	return b.Bytes()
}

// loadDrawn reads stored draws; no file is none.
func (c *Case) loadDrawn(path string) (drawn, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return drawn{}, nil
	}
	if err != nil {
		return drawn{}, err
	}
	d := drawn{gradients: map[string]measure{}, losses: map[int]float64{}, evaluation: map[int]measure{}}
	first, rest, _ := strings.Cut(string(raw), "\n")
	var made string
	if _, err := fmt.Sscanf(first, "case %s draws %d", &made, &d.n); err != nil || d.n < 1 {
		return drawn{}, fmt.Errorf("%s:1: %q, not \"case FINGERPRINT draws NUMBER\"", path, first)
	}
	if made != c.fingerprint() {
		return drawn{}, fmt.Errorf("%s: draws of another case; make them anew (golden -draw) or remove the file", path)
	}
	for line := range strings.Lines(rest) {
		var name string
		var m measure
		if _, err := fmt.Sscan(line, &name, &m.norm, &m.sum, &m.element); err != nil || !m.ok() {
			return drawn{}, fmt.Errorf("%s: %q, not a parameter and three errors, 0 or above", path, strings.TrimSpace(line))
		}
		d.gradients[name] = m
	}
	return d, nil
}
