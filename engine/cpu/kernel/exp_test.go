package kernel

import (
	"math"
	"testing"
)

func TestExp(t *testing.T) {
	worst := 0.0
	for i := range 200000 {
		x := float32(-87 + 175*float64(i)/200000)
		want := math.Exp(float64(x))
		worst = max(worst, math.Abs(float64(Exp(x))-want)/want)
	}
	if worst > 2.0/(1<<23) { // two units in the last place
		t.Errorf("relative error up to %g", worst)
	}
	inf := float32(math.Inf(1))
	if Exp(-inf) != 0 || Exp(inf) != inf || Exp(0) != 1 || !math.IsNaN(float64(Exp(float32(math.NaN())))) {
		t.Errorf("Exp(−∞, ∞, 0, NaN) = %g, %g, %g, %g", Exp(-inf), Exp(inf), Exp(0), Exp(float32(math.NaN())))
	}
}
