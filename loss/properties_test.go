package loss

import (
	"math"
	"math/rand/v2"
	"testing"

	"selfcon/engine"
	"selfcon/engine/cpu"
	"selfcon/engine/oracle"
	"selfcon/graph"
)

// variants are all contrastive methods, plain and starred.
func variants(t *testing.T) []Method {
	var out []Method
	for _, m := range Methods() {
		if m.OneStage() {
			continue
		}
		out = append(out, m)
		if m.NeedsExits() {
			starred, err := m.WithAlpha(0.4)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, starred)
		}
	}
	if len(out) != 11 {
		t.Fatalf("%d contrastive variants, want 7 plain and 4 starred", len(out))
	}
	return out
}

// features draws unit vectors, a table an exit.
func features(r *rand.Rand, exits, rows, dim int) [][]float64 {
	z := make([][]float64, exits)
	for e := range z {
		z[e] = make([]float64, rows*dim)
		for i := 0; i < len(z[e]); i += dim {
			sum := 0.0
			for k := range dim {
				z[e][i+k] = r.NormFloat64()
				sum += z[e][i+k] * z[e][i+k]
			}
			for k := range dim {
				z[e][i+k] /= math.Sqrt(sum)
			}
		}
	}
	return z
}

func someLabels(r *rand.Rand, n, classes int) []int32 {
	labels := make([]int32, n)
	for i := range labels {
		labels[i] = r.Int32N(int32(classes))
	}
	return labels
}

// The order of the images of a batch means nothing: permuting them permutes
// the gradients and leaves the loss.
func TestPermutation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tau := Temperatures{Tau: 0.1, Base: 0.07}
	const images, dim, exits = 11, 7, 3
	for _, m := range variants(t) {
		labels := someLabels(r, images, 4)
		z := features(r, exits, m.Views*images, dim)
		perm := r.Perm(images)
		move := func(in []float64) []float64 {
			out := make([]float64, len(in))
			for v := range m.Views {
				for i, from := range perm {
					copy(out[(v*images+i)*dim:][:dim], in[(v*images+from)*dim:][:dim])
				}
			}
			return out
		}
		zp, lp := make([][]float64, exits), make([]int32, images)
		for e := range z {
			zp[e] = move(z[e])
		}
		for i, from := range perm {
			lp[i] = labels[from]
		}
		loss, grads := run(t, m, z, labels, dim, tau)
		permuted, moved := run(t, m, zp, lp, dim, tau)
		if math.Abs(loss-permuted) > 1e-12*math.Abs(loss) {
			t.Errorf("%s: loss %.15g, of the same images in another order %.15g", m.Name, loss, permuted)
		}
		for e, g := range grads {
			for i, want := range move(g) {
				if math.Abs(moved[e][i]-want) > 1e-12 {
					t.Fatalf("%s: exit %d: gradient %.15g at %d, want that of the image, %.15g", m.Name, e, moved[e][i], i, want)
				}
			}
		}
	}
}

// dense is the loss of docs/methods.md written down with the whole matrix, and
// its gradient by z, rows of exits by views by images.
func dense(m Method, z [][]float64, labels []int32, dim int, t Temperatures) (float64, [][]float64) {
	type row struct {
		exit, view, image int
		z, d              []float64
	}
	var rows []row
	grads := make([][]float64, len(z))
	for e := range z {
		grads[e] = make([]float64, len(z[e]))
		for i := range len(z[e]) / dim {
			rows = append(rows, row{e, i / len(labels), i % len(labels), z[e][i*dim:][:dim], grads[e][i*dim:][:dim]})
		}
	}
	last := len(z) - 1
	starred := m.Name[len(m.Name)-1] == '*'
	type term struct {
		weight           float64
		anchor, contrast func(row) bool
		positive         func(a, p row) bool
	}
	sameLabel := func(a, p row) bool { return labels[a.image] == labels[p.image] }
	sameImage := func(a, p row) bool { return a.image == p.image }
	every := func(row) bool { return true }
	main := func(r row) bool { return r.exit == last }
	sub := func(r row) bool { return r.exit != last }
	var terms []term
	switch m.Name {
	case "selfcon-s", "selfcon-m":
		terms = []term{{1, every, every, sameLabel}}
	case "selfcon-su", "selfcon-mu":
		terms = []term{{1, every, every, func(a, p row) bool { return sameImage(a, p) && a.view == p.view }}}
	case "supcon", "supcon-s":
		terms = []term{{1, main, main, sameLabel}}
	case "simclr":
		terms = []term{{1, main, main, sameImage}}
	case "selfcon-s*", "selfcon-m*":
		terms = []term{{1, main, main, sameLabel}, {0.4, sub, every, sameLabel}}
	case "selfcon-su*":
		terms = []term{{0.4, sub, every, sameImage}}
	case "selfcon-mu*":
		terms = []term{{1, main, main, sameImage}, {0.4, sub, every, sameImage}}
	}
	if starred != (len(terms) > 0 && terms[len(terms)-1].weight == 0.4) {
		panic("dense: " + m.Name)
	}
	total := 0.0
	for _, w := range terms {
		anchors := 0
		for _, a := range rows {
			for _, p := range rows {
				if w.anchor(a) && w.contrast(p) && &a.z[0] != &p.z[0] && w.positive(a, p) {
					anchors++
					break
				}
			}
		}
		for _, a := range rows {
			if !w.anchor(a) {
				continue
			}
			var q []row
			var e []float64
			sum, positives := 0.0, 0.0
			for _, b := range rows {
				if !w.contrast(b) || &a.z[0] == &b.z[0] {
					continue
				}
				s := 0.0
				for k := range dim {
					s += a.z[k] * b.z[k]
				}
				q, e = append(q, b), append(e, math.Exp(s/t.Tau))
				sum += e[len(e)-1]
				if w.positive(a, b) {
					positives++
				}
			}
			for i, b := range q {
				if positives == 0 {
					break
				}
				g := e[i] / sum
				if w.positive(a, b) {
					total -= w.weight * t.Tau / t.Base / float64(anchors) / positives * math.Log(e[i]/sum)
					g -= 1 / positives
				}
				g *= w.weight / t.Base / float64(anchors)
				for k := range dim {
					a.d[k] += g * b.z[k]
					b.d[k] += g * a.z[k]
				}
			}
		}
	}
	return total, grads
}

// The loss in tiles is that with the whole matrix, over more rows than a tile
// has and no multiple of them. In float32 a logit is off by up to
// (dim+1)·2⁻²⁴/τ, a loss and a gradient by a few times that.
func TestTiledIsDense(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	tau := Temperatures{Tau: 0.1, Base: 0.07}
	const images, dim, exits = 151, 19, 3
	float32s := 4 * float64(dim+1) * math.Exp2(-24) / tau.Tau
	for _, m := range variants(t) {
		labels := someLabels(r, images, 60) // some images are alone in their class
		z := features(r, exits, m.Views*images, dim)
		if !m.NeedsExits() {
			z = z[exits-1:]
		}
		for e := range z { // what float32 holds, so that both engines start from it
			for i, v := range z[e] {
				z[e][i] = float64(float32(v))
			}
		}
		want, wantGrads := dense(m, z, labels, dim, tau)
		for _, c := range []struct {
			e         engine.Engine
			tolerance float64
		}{{oracle.New(), 1e-12}, {quick(t), float32s}} {
			got, grads := runOn(t, c.e, m, z, labels, dim, tau)
			if !(math.Abs(got-want) <= c.tolerance*want) {
				t.Errorf("%s on %s: loss %.12g, of the whole matrix %.12g", m.Name, c.e.Name(), got, want)
			}
			for e := range grads {
				largest, worst := 0.0, 0.0
				for i, g := range wantGrads[e] {
					largest, worst = max(largest, math.Abs(g)), max(worst, math.Abs(grads[e][i]-g))
				}
				if !(worst <= c.tolerance*largest) {
					t.Errorf("%s on %s: exit %d: gradient off by %.3g of %.3g", m.Name, c.e.Name(), e, worst, largest)
				}
			}
		}
	}
}

func quick(t *testing.T) engine.Engine {
	e, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// One label an image is a case of several: vectors with a single 1 give what
// the labels give.
func TestSharedLabels(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const images, dim, classes, exits = 90, 11, 5, 2
	labels := someLabels(r, images, classes)
	z := features(r, exits, images, dim)
	vectors := make([]float64, images*classes)
	for i, l := range labels {
		vectors[i*classes+int(l)] = 1
	}
	m, _ := Parse("selfcon-s")
	tau := Temperatures{Tau: 0.1, Base: 0.07}
	want, wantGrads := run(t, m, z, labels, dim, tau)
	m.Terms = []Term{{1, All, All, graph.SharedLabels}}
	for _, c := range []struct {
		e         engine.Engine
		tolerance float64
	}{{oracle.New(), 1e-13}, {quick(t), 4 * float64(dim+1) * math.Exp2(-24) / tau.Tau}} {
		g := graph.New()
		a, b := g.Input("a", graph.Float, images, dim), g.Input("b", graph.Float, images, dim)
		l := m.Add(g, Heads{Projections: []*graph.Value{a, b}}, g.Input("labels", graph.Float, images, classes), tau)
		g.Output("loss", l)
		for i, d := range g.Gradients(l, []*graph.Value{a, b}) {
			g.Output([]string{"da", "db"}[i], d)
		}
		out := execute(t, c.e, g, map[string]engine.Tensor{
			"a": {Shape: graph.Shape{images, dim}, Data: z[0]}, "b": {Shape: graph.Shape{images, dim}, Data: z[1]},
			"labels": {Shape: graph.Shape{images, classes}, Data: vectors},
		})
		if got := out["loss"].Item(); !(math.Abs(got-want) <= c.tolerance*want) {
			t.Errorf("%s: loss %.12g, want %.12g", c.e.Name(), got, want)
		}
		for i, name := range []string{"da", "db"} {
			for k, d := range out[name].Float64s() {
				if !(math.Abs(d-wantGrads[i][k]) <= c.tolerance) {
					t.Fatalf("%s: gradient %s[%d] is %g, want %g", c.e.Name(), name, k, d, wantGrads[i][k])
				}
			}
		}
	}
}

// softLoss is the definition of the contrast with label vectors, and its
// derivative, dense and in float64: every exit's rows are anchors but those
// left out.
func softLoss(z [][]float64, vectors []float64, dim, classes int, anchor []bool, tau Temperatures) (float64, [][]float64) {
	images, exits := len(z[0])/dim, len(z)
	n := exits * images
	row := func(r int) []float64 { return z[r/images][r%images*dim:][:dim] }
	label := func(r int) []float64 { return vectors[r%images*classes:][:classes] }
	dot := func(a, b []float64) float64 {
		sum := 0.0
		for i, v := range a {
			sum += v * b[i]
		}
		return sum
	}
	loss, anchors := 0.0, 0
	g := make([][]float64, n) // of the loss by the logits
	for a := range n {
		g[a] = make([]float64, n)
		total, norm := 0.0, 0.0
		for p := range n {
			if p != a {
				total += dot(label(a), label(p))
				norm += math.Exp(dot(row(a), row(p)) / tau.Tau)
			}
		}
		if !anchor[a/images] || total == 0 {
			continue
		}
		anchors++
		for p := range n {
			if p != a {
				s, w := dot(row(a), row(p))/tau.Tau, dot(label(a), label(p))/total
				loss -= w * (s - math.Log(norm))
				g[a][p] = math.Exp(s)/norm - w
			}
		}
	}
	grads := make([][]float64, exits)
	for e := range grads {
		grads[e] = make([]float64, images*dim)
	}
	for a := range n {
		for p := range n {
			for k := range dim {
				d := g[a][p] / tau.Base / float64(anchors)
				grads[a/images][a%images*dim+k] += d * row(p)[k]
				grads[p/images][p%images*dim+k] += d * row(a)[k]
			}
		}
	}
	return loss * tau.Tau / tau.Base / float64(anchors), grads
}

// Soft labels and images with several labels, or none at all, are what the
// definition says; also in the starred variant.
func TestSoftLabels(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const images, dim, classes = 90, 11, 5
	z := features(r, 2, images, dim)
	vectors := make([]float64, images*classes)
	for i := range images {
		y := vectors[i*classes:][:classes]
		switch i % 3 {
		case 0: // probabilities, as mixed images have them
			a, b, l := r.IntN(classes), r.IntN(classes), r.Float64()
			y[a] += float64(float32(l))
			y[b] += float64(float32(1 - l))
		case 1: // several labels
			for k := range y {
				y[k] = float64(r.IntN(2))
			}
		} // 2: mostly one, now and then none
		if i%3 == 2 && i%4 != 0 {
			y[r.IntN(classes)] = 1
		}
	}
	tau := Temperatures{Tau: 0.1, Base: 0.07}
	m, _ := Parse("selfcon-s")
	m.Terms = []Term{{1, All, All, graph.SharedLabels}}
	const alpha = 0.4
	starred, err := m.WithAlpha(alpha)
	if err != nil {
		t.Fatal(err)
	}
	plain, plainGrads := softLoss(z, vectors, dim, classes, []bool{true, true}, tau)
	main, mainGrads := softLoss(z[1:], vectors, dim, classes, []bool{true}, tau)
	sub, subGrads := softLoss(z, vectors, dim, classes, []bool{true, false}, tau)
	both := [][]float64{make([]float64, images*dim), make([]float64, images*dim)}
	for k := range both[0] {
		both[0][k] = alpha * subGrads[0][k]
		both[1][k] = alpha*subGrads[1][k] + mainGrads[0][k]
	}
	for _, c := range []struct {
		m     Method
		want  float64
		grads [][]float64
	}{{m, plain, plainGrads}, {starred, main + alpha*sub, both}} {
		for _, x := range []struct {
			e         engine.Engine
			tolerance float64 // float64's rounding; float32's of products of length dim, divided by tau
		}{{oracle.New(), 1e-12}, {quick(t), 4 * float64(dim+1) * math.Exp2(-24) / tau.Tau}} {
			g := graph.New()
			a, b := g.Input("a", graph.Float, images, dim), g.Input("b", graph.Float, images, dim)
			l := c.m.Add(g, Heads{Projections: []*graph.Value{a, b}}, g.Input("labels", graph.Float, images, classes), tau)
			g.Output("loss", l)
			for i, d := range g.Gradients(l, []*graph.Value{a, b}) {
				g.Output([]string{"da", "db"}[i], d)
			}
			out := execute(t, x.e, g, map[string]engine.Tensor{
				"a": {Shape: graph.Shape{images, dim}, Data: z[0]}, "b": {Shape: graph.Shape{images, dim}, Data: z[1]},
				"labels": {Shape: graph.Shape{images, classes}, Data: vectors},
			})
			if got := out["loss"].Item(); !(math.Abs(got-c.want) <= x.tolerance*c.want) {
				t.Errorf("%s, %s: loss %.15g, want %.15g", x.e.Name(), c.m.Name, got, c.want)
			}
			for i, name := range []string{"da", "db"} {
				for k, d := range out[name].Float64s() {
					if !(math.Abs(d-c.grads[i][k]) <= x.tolerance) {
						t.Fatalf("%s, %s: gradient %s[%d] is %g, want %g", x.e.Name(), c.m.Name, name, k, d, c.grads[i][k])
					}
				}
			}
		}
	}
}
