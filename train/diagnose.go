package train

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"selfcon/config"
	"selfcon/engine"
	"selfcon/graph"
	"selfcon/loss"
)

// ExitHealth says how the projections of an exit lie on the sphere, over the
// last batch of an epoch.
type ExitHealth struct {
	Name string `json:"name"`
	// EffectiveRank is exp of the entropy of the singular values, as shares of
	// their sum (Roy & Vetterli 2007): over how many dimensions the rows spread. 1:
	// along one line.
	EffectiveRank float64 `json:"effective_rank"`
	// Alignment is the mean squared distance of positives at this exit, nil if a
	// batch has none (Wang & Isola 2020, arXiv 2005.10242). 0: in one point.
	Alignment *float64 `json:"alignment,omitempty"`
	// Uniformity is the log of the mean of exp(−2·squared distance) over all pairs
	// (the same). 0: all rows in one point; −3 to −4: spread over the sphere.
	Uniformity float64 `json:"uniformity"`
}

// diagnosis watches a run for what goes wrong without an error, and says of each
// kind once what to try.
type diagnosis struct {
	method    loss.Method
	config    config.Run
	exits     []string
	classes   int
	uniform   float64 // the loss of features that are all the same
	warmup    int     // epochs
	said      map[string]bool
	collapsed map[string]int // epochs in a row, by exit
	began     []float64      // losses of the run's first steps; of a run that goes on, fewer
	means     []float64      // of the epochs since then

	anchors, lonely int // seen, and those without a positive
}

// When something is certain enough to warn of.
const (
	settled    = 1000 // steps after which a loss or features that do not move are not just young
	stuckShare = 0.002
	firstSteps = 50    // whose mean loss is what later ones are held against
	fallLeast  = 0.01  // share of that by which the loss must have fallen to be said to move
	learntMost = 0.5   // share of the loss of uniform logits below which something was learnt, be it elsewhere
	onePoint   = -0.05 // uniformity: squared distances of 0.025 and less
	oneLine    = 1.5   // effective rank
	lonelyMost = 0.5   // share of anchors without a positive
	healthRows = 512   // of an exit that are looked at
)

func newDiagnosis(s *Setup) *diagnosis {
	c := s.Config
	exits := s.Net.ExitNames()
	return &diagnosis{
		method: s.Method, config: c, exits: exits, classes: len(s.Classes), warmup: NewSchedule(c).Warmup,
		uniform: s.Method.Uniform(len(exits), c.Batch, len(s.Classes), loss.Temperatures{Tau: c.Temperature, Base: c.BaseTemperature}),
		said:    map[string]bool{}, collapsed: map[string]int{},
	}
}

// warn gives a warning of a kind that has not been given yet.
func (d *diagnosis) warn(kind, format string, args ...any) []string {
	if d.said[kind] {
		return nil
	}
	d.said[kind] = true
	return []string{fmt.Sprintf(format, args...)}
}

// batch looks at a step's labels, before it is known how it went.
func (d *diagnosis) batch(labels []int32, place Place) []string {
	for _, t := range d.method.Terms {
		// With more views or exits every anchor has a positive: its own other rows.
		if t.Positives != graph.SameLabel || t.Rows != loss.Main || d.method.Views > 1 {
			continue
		}
		count := map[int32]int{}
		for _, l := range labels {
			count[l]++
		}
		lonely := 0
		for _, n := range count {
			if n == 1 {
				lonely++
			}
		}
		d.anchors += len(labels)
		d.lonely += lonely
		const try = "try a larger --batch, or --sampling balanced"
		if lonely == len(labels) {
			return d.warn("positives", "in epoch %d, step %d no two of the %d images are of one class: no anchor has a positive, the loss of such a batch is 0 and it teaches nothing; %s",
				place.Epoch+1, place.Batch+1, len(labels), try)
		}
		if share := float64(d.lonely) / float64(d.anchors); d.anchors >= 50*len(labels) && share > lonelyMost {
			return d.warn("positives", "%.0f %% of the anchors so far are the only one of their class in their batch: they have no positive and are left out; %s", 100*share, try)
		}
	}
	return nil
}

// epoch looks at an epoch that is over. health is that of its last batch.
func (d *diagnosis) epoch(p Progress) []string {
	d.means = append(d.means, p.MeanLoss)
	if p.Epoch <= d.warmup {
		return nil
	}
	var out []string
	if p.Steps >= settled && math.Abs(p.MeanLoss-d.uniform) < stuckShare*d.uniform {
		what := "features which are all the same"
		try := "try another --lr, a longer --warmup-epochs, a higher --temperature, or --method ce to see whether the images can be told apart"
		if d.method.OneStage() {
			what = "a classifier that takes all classes for equally likely"
			try = "try another --lr, a longer --warmup-epochs, or a weaker --augment"
		}
		out = append(out, d.warn("stuck", "the loss stays at %.4f, that of %s: nothing is learnt; %s", d.uniform, what, try)...)
	}
	if before, now, ok := d.fall(p.Batches); ok && p.Steps >= settled && !d.said["positives"] && now > (1-fallLeast)*before && now > learntMost*d.uniform {
		try := "try a larger --lr, or a smaller one if the loss has risen"
		if !d.method.OneStage() {
			try += "; or --method ce to see whether the images can be told apart"
		}
		out = append(out, d.warn("stuck", "the loss has not fallen since the run began (%.4f in its first %d steps, %.4f now): nothing is learnt; %s", before, firstSteps, now, try)...)
	}
	for _, h := range p.Exits {
		what := ""
		switch {
		case h.Uniformity > onePoint:
			what = "lie in nearly one point of the sphere"
		case h.EffectiveRank < oneLine && d.classes > 2 && d.config.ProjectionDim > 1: // where there is more than a line
			what = "lie along one line"
		}
		if what == "" {
			d.collapsed[h.Name] = 0
			continue
		}
		if d.collapsed[h.Name]++; d.collapsed[h.Name] >= 2 && p.Steps >= settled {
			out = append(out, d.warn("collapse "+h.Name, "the projections of the %s %s (effective rank %.1f of %d, uniformity %.3f): they have collapsed; try a smaller --lr, a longer --warmup-epochs, a larger --batch, or a method with labels",
				h.Name, what, h.EffectiveRank, d.config.ProjectionDim, h.Uniformity)...)
		}
	}
	return out
}

// step looks at a step's loss; only those of a run's first steps are of interest.
func (d *diagnosis) step(p Progress) {
	if len(d.began) < firstSteps && p.Steps == len(d.began)+1 && p.Place == (Place{p.Steps / p.Batches, p.Steps % p.Batches}) {
		d.began = append(d.began, p.Loss)
	}
}

// fall is the mean loss of a run's first steps and that of its last epochs, as
// many as have half the steps that settle it; not ok before the second epoch, or
// if the beginning was not seen. A training that has learnt and comes to its end
// is below its beginning, however little moves by then.
func (d *diagnosis) fall(batches int) (before, now float64, ok bool) {
	if len(d.began) < firstSteps || len(d.means) < 2 {
		return 0, 0, false
	}
	last := min(max(1, settled/2/batches), len(d.means)-1)
	mean := func(of []float64) float64 {
		sum := 0.0
		for _, v := range of {
			sum += v / float64(len(of))
		}
		return sum
	}
	return mean(d.began), mean(d.means[len(d.means)-last:]), true
}

// diverged is the error of a step with a loss or a result that is not finite,
// nil if there is none.
func diverged(step engine.Executable, p Progress, place Place) error {
	node := ""
	if w, ok := step.(engine.Watcher); ok {
		node = w.NotFinite()
	}
	bad := math.IsNaN(p.Loss) || math.IsInf(p.Loss, 0)
	if !bad && node == "" {
		return nil
	}
	if node != "" {
		node = ", first seen in node " + node
	}
	return fmt.Errorf("%w (loss %v in epoch %d, step %d, at learning rate %g%s): %s",
		ErrDiverged, p.Loss, place.Epoch+1, place.Batch+1, p.Rate, node, convergeAdvice)
}

// convergeAdvice is what to try when a training has diverged.
const convergeAdvice = "try a smaller learning rate, a warm-up or a higher temperature"

// health measures the projections of a step's outputs, an exit each; nil for
// methods that have none.
func (d *diagnosis) health(out map[string]engine.Tensor, labels []int32) []ExitHealth {
	if !d.method.Contrastive() {
		return nil
	}
	projection := OutputExit
	if d.method.OneStage() {
		projection = OutputProjection
	}
	var all []ExitHealth
	for i, name := range d.exits {
		t, ok := out[fmt.Sprint(projection, i)]
		if !ok {
			return nil
		}
		h := d.measure(t.Float64s(), t.Shape[1], labels)
		h.Name = name
		all = append(all, h)
	}
	return all
}

// measure looks at up to healthRows rows of length dim, those of the first
// images in each view.
func (d *diagnosis) measure(z []float64, dim int, labels []int32) ExitHealth {
	images := min(len(labels), healthRows/d.method.Views)
	var rows [][]float64
	var image []int
	for v := range d.method.Views {
		for i := range images {
			rows = append(rows, z[(v*len(labels)+i)*dim:][:dim])
			image = append(image, i)
		}
	}
	gram := mat.NewSymDense(dim, nil)
	for i := range dim {
		for j := i; j < dim; j++ {
			sum := 0.0
			for _, r := range rows {
				sum += r[i] * r[j]
			}
			gram.SetSym(i, j, sum)
		}
	}
	h := ExitHealth{EffectiveRank: effectiveRank(gram)}
	near, pairs, apart, positives := 0.0, 0, 0.0, 0
	for a := range rows {
		for b := range a {
			dist := 0.0
			for k, v := range rows[a] {
				dist += (v - rows[b][k]) * (v - rows[b][k])
			}
			near += math.Exp(-2 * dist)
			pairs++
			if image[a] == image[b] || d.method.Labels && labels[image[a]] == labels[image[b]] {
				apart += dist
				positives++
			}
		}
	}
	if pairs > 0 {
		h.Uniformity = math.Log(near / float64(pairs))
	}
	if positives > 0 {
		apart /= float64(positives)
		h.Alignment = &apart
	}
	return h
}

// effectiveRank is that of rows with the given ZᵀZ, whose eigenvalues are the
// squares of their singular values.
func effectiveRank(gram *mat.SymDense) float64 {
	var e mat.EigenSym
	if !e.Factorize(gram, false) {
		return 0
	}
	values := e.Values(nil)
	sum := 0.0
	for i, v := range values {
		values[i] = math.Sqrt(max(v, 0))
		sum += values[i]
	}
	if sum == 0 {
		return 0 // no direction at all
	}
	entropy := 0.0
	for _, v := range values {
		if p := v / sum; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return math.Exp(entropy)
}
