package oracle

import (
	"math"

	"selfcon/engine"
	"selfcon/graph"
)

func loss(n *graph.Node) kernel {
	switch o := n.Op.(type) {
	case graph.CrossEntropy:
		rows, classes := n.In[0].Shape[0], n.In[0].Shape[1]
		return func(in []tensor) ([]tensor, error) {
			targets, err := targets(in[1], classes)
			if err != nil {
				return nil, err
			}
			sum := 0.0
			for r := range rows {
				logits := in[0].f[r*classes : (r+1)*classes]
				lse := logSumExp(logits, -1)
				for k, t := range targets[r*classes : (r+1)*classes] {
					if t != 0 { // 0·∞ is no term
						sum += t * (lse - logits[k])
					}
				}
			}
			return floats([]float64{sum / float64(rows)}), nil
		}
	case graph.CrossEntropyGrad:
		rows, classes := n.In[0].Shape[0], n.In[0].Shape[1]
		return func(in []tensor) ([]tensor, error) {
			targets, err := targets(in[1], classes)
			if err != nil {
				return nil, err
			}
			scale := in[2].f[0] / float64(rows)
			dx := make([]float64, rows*classes)
			for r := range rows {
				logits, target := in[0].f[r*classes:(r+1)*classes], targets[r*classes:(r+1)*classes]
				lse, total := logSumExp(logits, -1), 0.0
				for _, t := range target {
					total += t
				}
				for k, v := range logits {
					dx[r*classes+k] = (math.Exp(v-lse)*total - target[k]) * scale
				}
			}
			return floats(dx), nil
		}
	case graph.Contrast:
		d := n.In[0].Shape[1]
		return func(in []tensor) ([]tensor, error) {
			loss, lse := contrast(o, in[0].f, d, o.Pairs(in[1].n, in[1].f, n.In[1].Shape[0]))
			return []tensor{{f: []float64{loss}}, {f: lse}}, nil
		}
	case graph.ContrastGrad:
		d := n.In[0].Shape[1]
		return func(in []tensor) ([]tensor, error) {
			pairs := o.Contrast.Pairs(in[1].n, in[1].f, n.In[1].Shape[0])
			return floats(contrastGrad(o.Contrast, in[0].f, d, pairs, in[2].f, in[3].f[0])), nil
		}
	}
	if k := distill(n); k != nil {
		return k
	}
	return update(n)
}

// targets are those of a cross-entropy: soft ones, or 1 at each row's label.
func targets(t tensor, classes int) ([]float64, error) {
	if t.f != nil {
		return t.f, nil
	}
	if err := engine.CheckLabels(t.n, classes); err != nil {
		return nil, err
	}
	out := make([]float64, len(t.n)*classes)
	for r, label := range t.n {
		out[r*classes+int(label)] = 1
	}
	return out, nil
}

// contrast works by one row of similarities at a time. The lse of an anchor
// that is the table's only row is 0.
func contrast(o graph.Contrast, z []float64, d int, pairs graph.Pairs) (loss float64, lse []float64) {
	rows := len(pairs.Total)
	lse = make([]float64, rows)
	if rows == 1 {
		return 0, lse
	}
	terms := make([]float64, rows)
	parallel(rows, func(a int) {
		if !isAnchor(o, a, rows) {
			return
		}
		s := similarities(o, z, d, a)
		lse[a] = logSumExp(s, a)
		for q := range s {
			if w := pairs.Weight(a, q); q != a && w != 0 && pairs.Total[a] > 0 {
				terms[a] -= w * (s[q] - lse[a]) / pairs.Total[a]
			}
		}
	})
	if pairs.Anchors == 0 {
		return 0, lse
	}
	for _, t := range terms {
		loss += t
	}
	return o.Temperature / o.BaseTemperature * loss / float64(pairs.Anchors), lse
}

func contrastGrad(o graph.Contrast, z []float64, d int, pairs graph.Pairs, lse []float64, dloss float64) []float64 {
	rows := len(pairs.Total)
	dz := make([]float64, len(z))
	for a := range rows {
		if !isAnchor(o, a, rows) || !(pairs.Total[a] > 0) {
			continue
		}
		for q, s := range similarities(o, z, d, a) {
			if q == a {
				continue
			}
			g := math.Exp(s-lse[a]) - pairs.Weight(a, q)/pairs.Total[a]
			g *= dloss / o.BaseTemperature / float64(pairs.Anchors)
			for k := range d {
				dz[a*d+k] += g * z[q*d+k]
				dz[q*d+k] += g * z[a*d+k]
			}
		}
	}
	return dz
}

// isAnchor says whether row a of rows is an anchor.
func isAnchor(o graph.Contrast, a, rows int) bool { return o.Anchors[a/(rows/o.Exits)] }

// similarities are those of row a of z with every row.
func similarities(o graph.Contrast, z []float64, d, a int) []float64 {
	s := make([]float64, len(z)/d)
	for q := range s {
		s[q] = dot(z[a*d:(a+1)*d], z[q*d:(q+1)*d]) / o.Temperature
	}
	return s
}

// logSumExp is log Σ exp(v), without element skip (−1 for none).
func logSumExp(v []float64, skip int) float64 {
	largest := math.Inf(-1)
	for i, x := range v {
		if i != skip {
			largest = max(largest, x)
		}
	}
	sum := 0.0
	for i, x := range v {
		if i != skip {
			sum += math.Exp(x - largest)
		}
	}
	return largest + math.Log(sum)
}
