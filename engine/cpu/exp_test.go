package cpu

import (
	"math"
	"testing"
)

func TestExp(t *testing.T) {
	worst := 0.0
	for i := range 200000 {
		x := float32(-87 + 175*float64(i)/200000)
		want := math.Exp(float64(x))
		worst = max(worst, math.Abs(float64(exp(x))-want)/want)
	}
	if worst > 2.0/(1<<23) { // two units in the last place
		t.Errorf("relative error up to %g", worst)
	}
	inf := float32(math.Inf(1))
	if exp(-inf) != 0 || exp(inf) != inf || exp(0) != 1 || !math.IsNaN(float64(exp(float32(math.NaN())))) {
		t.Errorf("exp(−∞, ∞, 0, NaN) = %g, %g, %g, %g", exp(-inf), exp(inf), exp(0), exp(float32(math.NaN())))
	}
}
