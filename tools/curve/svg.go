package main

import (
	"fmt"
	"math"
	"strings"
)

// The picture, in its own pixels: losses above, differences below.
const (
	picWidth, picHeight  = 760, 560
	left, right          = 64, 744
	lossTop, lossBottom  = 40, 280
	diffTop, diffBottom  = 330, 510
	smallest             = 1e-7 // what is less is drawn there: a float32 loss of 4 to 8 has steps of 5e-7
	axisColor, gridColor = "#444", "#e4e4e4"
)

// A curve's line, in the order of variants; later ones are thinner, so that
// curves that lie on each other are all seen.
var styles = []string{
	`stroke="#9ecae1" stroke-width="5"`,
	`stroke="#d62728" stroke-width="1.6"`,
	`stroke="#222" stroke-width="1.2" stroke-dasharray="5 4"`,
	`stroke="#2a7d2a" stroke-width="1.2" stroke-dasharray="2 3"`,
}

// svg draws the losses and, on a logarithmic axis, their differences from the
// first curve's.
func svg(curves []curve) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="%s">`+"\n", picWidth, picHeight, axisColor)
	fmt.Fprintf(&b, `<title>Losses with direct sums and with Winograd's transforms</title>`+"\n"+`<rect width="%d" height="%d" fill="#fff"/>`+"\n", picWidth, picHeight)

	steps := len(curves[0].losses)
	x := func(step int) float64 { return left + (right-left)*float64(step)/float64(steps) }
	low, high := math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for _, l := range c.losses {
			low, high = min(low, l), max(high, l)
		}
	}
	tick := nice((high - low) / 5)
	low, high = tick*math.Floor(low/tick), tick*math.Ceil(high/tick)
	y := func(loss float64) float64 { return lossBottom - (lossBottom-lossTop)*(loss-low)/(high-low) }
	for v := low; v < high+tick/2; v += tick {
		level(&b, y(v), fmt.Sprintf("%.4g", v))
	}
	for i, c := range curves {
		line(&b, c.losses, x, y, styles[i])
	}
	text(&b, left, lossTop-18, "start", "loss of each step")

	diffs := differences(curves)
	top := smallest
	for _, c := range diffs {
		for _, d := range c.losses {
			top = max(top, d)
		}
	}
	lowE, highE := math.Log10(smallest), math.Ceil(math.Log10(max(top, 10*smallest)))
	logY := func(d float64) float64 {
		return diffBottom - (diffBottom-diffTop)*(math.Log10(max(d, smallest))-lowE)/(highE-lowE)
	}
	for e := lowE; e < highE+0.5; e++ {
		level(&b, logY(math.Pow(10, e)), fmt.Sprintf("1e%+.0f", e))
	}
	for i, c := range diffs {
		line(&b, c.losses, x, logY, styles[i+1])
	}
	text(&b, left, diffTop-12, "start", "difference from "+curves[0].name+", logarithmic")

	every := int(nice(float64(steps) / 6))
	for s := 0; s <= steps; s += max(every, 1) {
		text(&b, x(s), diffBottom+18, "middle", fmt.Sprint(s))
	}
	text(&b, (left+right)/2, diffBottom+38, "middle", "step")

	for i, c := range curves { // the legend, from the right
		at := float64(right - 140*(len(curves)-i))
		fmt.Fprintf(&b, `<path d="M%.0f %d h24" fill="none" %s/>`+"\n", at, lossTop-22, styles[i])
		text(&b, at+29, lossTop-18, "start", c.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// nice is the least of 1, 2, 5 times a power of ten that is not below v.
func nice(v float64) float64 {
	if !(v > 0) {
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

// level is a horizontal line of the grid and its label.
func level(b *strings.Builder, y float64, label string) {
	fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="%s"/>`+"\n", left, y, right, gridColor)
	text(b, left-8, y+4, "end", label)
}

func text(b *strings.Builder, x, y float64, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, s)
}

// line is a curve: value i belongs to step i+1.
func line(b *strings.Builder, values []float64, x func(int) float64, y func(float64) float64, style string) {
	b.WriteString(`<polyline fill="none" stroke-linejoin="round" ` + style + ` points="`)
	for i, v := range values {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(b, "%.1f,%.1f", x(i+1), y(v))
	}
	b.WriteString(`"/>` + "\n")
}
