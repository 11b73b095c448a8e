package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"selfcon/run"
)

// plot is curves over the epochs.
type plot struct {
	Title  string
	About  string // what is good
	Curves []curve
}

type curve struct {
	Name string
	X, Y []float64
}

// colours is how many the page's style has.
const colours = 10

// Class is the style of a curve.
func (plot) Class(i int) string { return fmt.Sprintf("c%d", i%colours) }

// Key is the number of a curve's colour.
func (plot) Key(i int) int { return i % colours }

// plots are the curves of a run's metrics, without those that have no point.
func plots(epochs []run.Epoch) []plot {
	all := []plot{
		{Title: "Loss", About: "mean over each epoch"},
		{Title: "Validation, top-1", About: "share of held-out images whose class was found, for each exit"},
		{Title: "Effective rank", About: "over how many dimensions the rows of the last batch spread; near 1 they have collapsed"},
		{Title: "Alignment", About: "mean squared distance of positives; less is nearer"},
		{Title: "Uniformity", About: "0: all in one point; −3 to −4: spread over the sphere"},
		{Title: "Learning rate", About: "of each epoch's last step"},
		{Title: "Images a second", About: "labelled images"},
		{Title: "Share of time waiting for images", About: "near 0 the network takes the time, near 1 loading and augmenting"},
		{Title: "Training, top-1", About: "share of training images, as augmented, whose class was found; of mixed images each class counts by its share"},
	}
	add := func(plot int, name string, x int, y float64) {
		p := &all[plot]
		for i := range p.Curves {
			if p.Curves[i].Name == name {
				p.Curves[i].X, p.Curves[i].Y = append(p.Curves[i].X, float64(x)), append(p.Curves[i].Y, y)
				return
			}
		}
		p.Curves = append(p.Curves, curve{name, []float64{float64(x)}, []float64{y}})
	}
	for _, e := range epochs {
		add(0, "loss", e.Epoch, e.Loss)
		if e.Validation != nil {
			for _, x := range e.Validation.Exits {
				add(1, x.Name, e.Epoch, x.Top1)
			}
		}
		for _, x := range e.Exits {
			add(2, x.Name, e.Epoch, x.EffectiveRank)
			if x.Alignment != nil {
				add(3, x.Name, e.Epoch, *x.Alignment)
			}
			add(4, x.Name, e.Epoch, x.Uniformity)
		}
		add(5, "lr", e.Epoch, e.Rate)
		add(6, "images/s", e.Epoch, e.Speed)
		if e.Seconds > 0 {
			add(7, "waiting", e.Epoch, e.Waited/e.Seconds)
		}
		if e.Top1 != nil {
			add(8, "training", e.Epoch, *e.Top1)
		}
	}
	var some []plot
	for _, p := range all {
		if len(p.Curves) > 0 {
			some = append(some, p)
		}
	}
	return some
}

// The pictures, in their own pixels.
const (
	plotWidth, plotHeight = 480, 240
	plotLeft, plotRight   = 58, 470
	plotTop, plotBottom   = 12, 206
	mapSide               = 360
)

// Last says where the curves end.
func (p plot) Last() string {
	var out []string
	for _, c := range p.Curves {
		out = append(out, fmt.Sprintf("%s %.4g", c.Name, c.Y[len(c.Y)-1]))
	}
	return strings.Join(out, ", ")
}

// SVG draws the curves.
func (p plot) SVG() template.HTML {
	lowX, highX, low, high := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, c := range p.Curves {
		for i, y := range c.Y {
			lowX, highX = min(lowX, c.X[i]), max(highX, c.X[i])
			low, high = min(low, y), max(high, y)
		}
	}
	if !(low < high) {
		pad := max(math.Abs(low)/10, 1e-9)
		low, high = low-pad, high+pad
	}
	if lowX == highX {
		lowX, highX = lowX-1, highX+1
	}
	tick := nice((high - low) / 4)
	low, high = tick*math.Floor(low/tick), tick*math.Ceil(high/tick)
	x := func(v float64) float64 { return plotLeft + (plotRight-plotLeft)*(v-lowX)/(highX-lowX) }
	y := func(v float64) float64 { return plotBottom - (plotBottom-plotTop)*(v-low)/(high-low) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s: %s">`, plotWidth, plotHeight, template.HTMLEscapeString(p.Title), template.HTMLEscapeString(p.Last()))
	for v := low; v < high+tick/2; v += tick {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`, plotLeft, y(v), plotRight, plotLeft-6, y(v)+4, clean(v, tick))
	}
	every := max(1, nice((highX-lowX)/6))
	for v := every * math.Ceil(lowX/every); v <= highX; v += every {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.4g</text>`, x(v), plotBottom+16, v)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">epoch</text>`, (plotLeft+plotRight)/2, plotBottom+31)
	for i, c := range p.Curves {
		if len(c.Y) == 1 {
			fmt.Fprintf(&b, `<circle class="%s dot" cx="%.1f" cy="%.1f" r="3"/>`, p.Class(i), x(c.X[0]), y(c.Y[0]))
			continue
		}
		fmt.Fprintf(&b, `<polyline class="%s" points="`, p.Class(i))
		for k, v := range c.Y {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(c.X[k]), y(v))
		}
		b.WriteString(`"/>`)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// clean is a tick's value without what adding up has left of zero.
func clean(v, tick float64) float64 {
	if math.Abs(v) < tick/1e6 {
		return 0
	}
	return v
}

// nice is the least of 1, 2, 5 times a power of ten that is not below v.
func nice(v float64) float64 {
	if !(v > 0) || math.IsInf(v, 0) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= v {
			return m * p
		}
	}
	return 10 * p
}

// scatter is a map of points by their first two principal components.
type scatter struct {
	Name   string
	Share  float64 // of the variance that the map shows
	X, Y   []float64
	Labels []int
}

// newScatter maps points of dim numbers each.
func newScatter(name string, x []float32, dim int, labels []int) scatter {
	a, b, share := components(x, dim)
	return scatter{name, share, a, b, labels}
}

// SVG draws the points.
func (s scatter) SVG() template.HTML {
	bound := 0.0
	for i := range s.X {
		bound = max(bound, math.Abs(s.X[i]), math.Abs(s.Y[i]))
	}
	if bound == 0 {
		bound = 1
	}
	at := func(v float64) float64 { return mapSide/2 + v/bound*(mapSide/2-6) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="features at %s by class">`, mapSide, mapSide, template.HTMLEscapeString(s.Name))
	for i := range s.X {
		fmt.Fprintf(&b, `<circle class="c%d dot" cx="%.1f" cy="%.1f" r="3"/>`, s.Labels[i]%colours, at(s.X[i]), at(-s.Y[i]))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// components are each point's coordinates along the two directions of most
// variance, and the share of the variance that these have. The directions come
// from power iterations with a fixed beginning, their signs from their largest
// part: the same points give the same map.
func components(x []float32, dim int) (first, second []float64, share float64) {
	n := len(x) / dim
	rows := make([][]float64, n)
	mean := make([]float64, dim)
	for i := range rows {
		rows[i] = make([]float64, dim)
		for j := range dim {
			rows[i][j] = float64(x[i*dim+j])
			mean[j] += rows[i][j] / float64(n)
		}
	}
	total := 0.0
	for _, r := range rows {
		for j := range r {
			r[j] -= mean[j]
			total += r[j] * r[j]
		}
	}
	coordinates := [2][]float64{make([]float64, n), make([]float64, n)}
	kept := 0.0
	for k := range coordinates {
		v := direction(rows, dim)
		for i, r := range rows {
			c := inner(r, v)
			coordinates[k][i] = c
			kept += c * c
			for j := range r { // the next one is at a right angle
				r[j] -= c * v[j]
			}
		}
	}
	if total > 0 {
		share = kept / total
	}
	return coordinates[0], coordinates[1], share
}

// direction is the unit vector along which rows of mean 0 vary most.
func direction(rows [][]float64, dim int) []float64 {
	v := make([]float64, dim)
	for j := range v {
		v[j] = 1 + float64(j%7)/7
	}
	for range 100 {
		next := make([]float64, dim)
		for _, r := range rows {
			c := inner(r, v)
			for j := range next {
				next[j] += c * r[j]
			}
		}
		length := math.Sqrt(inner(next, next))
		if length == 0 {
			break
		}
		for j := range next {
			next[j] /= length
		}
		v = next
	}
	largest := 0
	for j := range v {
		if math.Abs(v[j]) > math.Abs(v[largest]) {
			largest = j
		}
	}
	length := math.Copysign(math.Sqrt(inner(v, v)), v[largest])
	for j := range v {
		v[j] /= length
	}
	return v
}

func inner(a, b []float64) float64 {
	sum := 0.0
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}
