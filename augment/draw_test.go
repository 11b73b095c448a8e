package augment

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A fixed seed makes these tests repeatable; the bounds are such that a seed
// at random would fail less than once in 10^8 runs.

// sixSigma is a bound on the deviation of a binomial count from its mean.
func sixSigma(n int, p float64) float64 { return 6 * math.Sqrt(float64(n)*p*(1-p)) }

// checkUniform holds the samples' distribution function against that of
// [lo, hi]: by the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart it
// is farther away than √(ln(2/α)/2n) with probability at most α = 1e-9. slack
// is added, in units of x, for samples that were rounded.
func checkUniform(t *testing.T, what string, samples []float64, lo, hi, slack float64) {
	t.Helper()
	slices.Sort(samples)
	n := len(samples)
	if samples[0] < lo-slack || samples[n-1] > hi+slack {
		t.Errorf("%s: in [%v, %v], want within [%v, %v]", what, samples[0], samples[n-1], lo, hi)
	}
	bound := math.Sqrt(math.Log(2/1e-9)/(2*float64(n))) + slack/(hi-lo)
	for i, x := range samples {
		want := (x - lo) / (hi - lo)
		if d := max(math.Abs(float64(i)/float64(n)-want), math.Abs(float64(i+1)/float64(n)-want)); d > bound {
			t.Errorf("%s: distribution function is off by %.4f at %v, want ≤ %.4f", what, d, x, bound)
			return
		}
	}
}

func TestRandomCropDistribution(t *testing.T) {
	const n, side, minArea = 100_000, 2000, 0.2
	r := rand.New(rand.NewPCG(1, 2))
	var area, logRatio, place []float64
	large := 0
	for range n {
		c := randomCrop(side, side, minArea, r)
		a := float64(c.height*c.width) / (side * side)
		if a > 0.75 {
			large++
			continue
		}
		// Up to 3/4 of the area every aspect ratio fits, so nothing is rejected
		// and area and log ratio stay uniform.
		area = append(area, a)
		logRatio = append(logRatio, math.Log(float64(c.width)/float64(c.height)))
		if c.height < side && c.width < side {
			place = append(place, float64(c.top)/float64(side-c.height))
			place = append(place, float64(c.left)/float64(side-c.width))
		}
	}
	// Sides are at least √(0.2·3/4)·2000 = 774, rounding moves each by up to
	// 1/2: 1/774 of an area, and of a logarithm of a ratio. A place is one of at
	// least 1 + 2000(1−√(.75·4/3)) values, so not smooth for the largest crops;
	// of the crops' sides those above 1900 are 1 %.
	checkUniform(t, "area", area, minArea, 0.75, 1./774)
	checkUniform(t, "log ratio", logRatio, math.Log(3./4), math.Log(4./3), 1./774)
	checkUniform(t, "place", place, 0, 1, 0.01)

	// Above, a crop of area a fits with probability −ln a/ln(4/3). The chance
	// of a try to land there and fit is ∫ −ln a da / ln(4/3) over [3/4, 1]; the
	// integral of −ln a is a − a·ln a.
	high := (1 - (0.75 - 0.75*math.Log(0.75))) / math.Log(4./3)
	p := high / (0.75 - minArea + high)
	// Rounding to whole pixels moves areas across 3/4, by 1/774 at a density below 2.
	if d := math.Abs(float64(large) - n*p); d > sixSigma(n, p)+n*2./774 {
		t.Errorf("%d of %d crops above 3/4 of the area, want %.0f", large, n, n*p)
	}
}

func TestRandomCropInside(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		h, w := 1+r.IntN(40), 1+r.IntN(40)
		least := r.Float64()
		c := randomCrop(h, w, max(least, 1e-9), r)
		if c.height < 1 || c.width < 1 || c.top < 0 || c.left < 0 || c.top+c.height > h || c.left+c.width > w {
			t.Fatalf("crop %+v of an image of %d×%d (height×width)", c, h, w)
		}
	}
}

// Images so long that no try fits get torchvision's central crop.
func TestCropFallback(t *testing.T) {
	for _, row := range loadRecording(t).CentralCrops {
		want := rect{row[2], row[3], row[4], row[5]}
		if got := centralCrop(row[0], row[1]); got != want {
			t.Errorf("central crop of %d×%d (height×width) is %+v, want %+v", row[0], row[1], got, want)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		// At least 0.9 of the area is 94 wide at 3/4: never inside 10.
		if got, want := randomCrop(1000, 10, 0.9, r), (rect{493, 0, 13, 10}); got != want {
			t.Fatalf("crop of a tall image: %+v, want %+v", got, want)
		}
		if got, want := randomCrop(10, 1000, 0.9, r), (rect{0, 493, 10, 13}); got != want {
			t.Fatalf("crop of a wide image: %+v, want %+v", got, want)
		}
	}
}

func TestChoices(t *testing.T) {
	const n = 50_000
	c := Strong(32, 32, []float64{0, 0, 0}, []float64{1, 1, 1})
	r := rand.New(rand.NewPCG(7, 8))
	flips, greys, jitters := 0, 0, 0
	orders := map[[4]adjustment]int{}
	factors := map[adjustment][]float64{}
	for range n {
		p := c.draw(32, 32, nil, r)
		if p.flip {
			flips++
		}
		if p.gray {
			greys++
		}
		if p.ops == 0 {
			continue
		}
		jitters++
		var order [4]adjustment
		for i, op := range p.jitter[:p.ops] {
			order[i] = op.kind
			factors[op.kind] = append(factors[op.kind], op.factor)
		}
		orders[order]++
	}
	for _, c := range []struct {
		what     string
		got, all int
		p        float64
	}{{"flipped", flips, n, 0.5}, {"jittered", jitters, n, 0.8}, {"grey", greys, n, 0.2}} {
		if math.Abs(float64(c.got)-c.p*float64(c.all)) > sixSigma(c.all, c.p) {
			t.Errorf("%d of %d %s, want %v of them", c.got, c.all, c.what, c.p)
		}
	}
	if len(orders) != 24 {
		t.Errorf("%d orders of four adjustments, want 24", len(orders))
	}
	for order, got := range orders {
		if math.Abs(float64(got)-float64(jitters)/24) > sixSigma(jitters, 1./24) {
			t.Errorf("order %v %d times of %d, want 1/24 of them", order, got, jitters)
		}
	}
	for _, kind := range []adjustment{brightness, contrast, saturation} {
		checkUniform(t, "factor", factors[kind], 0.6, 1.4, 0)
	}
	checkUniform(t, "hue", factors[hue], -0.1, 0.1, 0)
}

func TestJitterParts(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 1000 {
		ops, n := Jitter{Brightness: 3, Hue: 0.5}.draw(r)
		if n != 2 || ops[0].kind == ops[1].kind {
			t.Fatalf("two of four adjustments are on, got %v", ops[:n])
		}
		for _, op := range ops[:n] {
			switch {
			case op.kind == brightness && op.factor >= 0 && op.factor <= 4:
			case op.kind == hue && math.Abs(op.factor) <= 0.5:
			default:
				t.Fatalf("got %+v, want brightness in [0, 4] or hue in [−0.5, 0.5]", op)
			}
		}
	}
}

// A stage that is off reads nothing from the stream.
func TestDrawsNothing(t *testing.T) {
	one := []float64{0.5}
	r, untouched := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(1, 1))
	c := Eval(8, 8, one, one)
	c.draw(20, 30, nil, r)
	if r.Uint64() != untouched.Uint64() {
		t.Error("evaluation read from the random stream")
	}
}
