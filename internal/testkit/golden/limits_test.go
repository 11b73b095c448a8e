package golden

import (
	"math"
	"testing"
)

// A draw of rounding errors explains what is up to spread times as far off, all
// of a kind or nothing, and never a gradient that cancels.
func TestExplain(t *testing.T) {
	errs := func(relative, zero float64) Error {
		var e Error
		e.add(1e-6, 1e-5, "well")
		e.add(relative, 1e-5, "a gradient")
		e.addZero(zero, 1e-7, "a bias ahead of batch norm")
		return e
	}
	for _, c := range []struct {
		e    Error
		draw float64
		want bool
	}{
		{errs(1e-6, 0), 0, true},
		{errs(1e-3, 0), 0, false},
		{errs(1e-3, 0), 1e-4, false},
		{errs(1e-3, 0), 2e-4, true},
		{errs(1e-6, 1e-6), 1, false},
		{errs(1e-3, 1e-6), 1, false},
		{errs(math.NaN(), 0), 1, false},
	} {
		e := c.e
		e.explain(Error{Worst: c.draw})
		if e.OK() != c.want {
			t.Errorf("%+v, a draw off by %g: ok is %v", c.e, c.draw, e.OK())
		}
	}
}
