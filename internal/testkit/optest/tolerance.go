package optest

import (
	"fmt"
	"math"

	"selfcon/engine"
	"selfcon/graph"
)

// unit is float32's unit roundoff: a correctly rounded operation is off by at
// most unit times its result.
const unit = 1.0 / (1 << 24)

// tiny is float32's smallest normal number: below it, engines may flush to zero.
const tiny = 1.2e-38

// terms bounds the error of a sum of k rounded products in any order, relative
// to the sum of their absolute values. The certain bound is k·unit; rounding
// errors are as good as independent, and then λ·√k·unit holds with a probability
// of 1 − 2·exp(−λ²/2) an element (Higham & Mary, SIAM J. Sci. Comput. 41, 2019).
// With λ = 4 and 16 more for the few operations around the sum.
func terms(k int) float64 { return (16 + 4*math.Sqrt(float64(k))) * unit }

// bound says for each element of each result how far float32 arithmetic may be
// from out, given the exact operands in. A nil entry stands for an exact result.
func (s *single) bound(in, out []engine.Tensor) [][]float64 {
	f := make([][]float64, len(in))
	for i := range in {
		f[i], _ = in[i].Data.([]float64)
	}
	result := func(i int) []float64 { return out[i].Data.([]float64) }
	scaled := func(c float64, v []float64) []float64 {
		b := make([]float64, len(v))
		for i, x := range v {
			b[i] = c * math.Abs(x)
		}
		return b
	}
	switch o := s.node.Op.(type) {
	// These move numbers or choose between them.
	case graph.Reshape, graph.Concat, graph.Slice, graph.PadRows, graph.Increment, graph.ReLU, graph.ReLUGrad, graph.MaxPool2D:
		return make([][]float64, len(out))

	// A few roundings of the result, or of the terms that it is made of.
	case graph.Fill:
		if o.Value == float64(float32(o.Value)) {
			return [][]float64{nil}
		}
		return [][]float64{scaled(unit, result(0))}
	case graph.Scale, graph.Dropout, graph.GlobalAvgPoolGrad, graph.ScaleChannels, graph.SigmoidGrad:
		return [][]float64{scaled(4*unit, result(0))}
	case graph.Add, graph.AddBias, graph.Lerp:
		return [][]float64{scaled(4*unit, s.absolute(in)[0])}
	case graph.Sigmoid, graph.SiLU:
		return [][]float64{gateBound(f[0], result(0))}
	case graph.SiLUGrad: // dy·σ(x)·(1 + x·(1 − σ(x))): its terms may cancel
		b := make([]float64, len(f[0]))
		for i, x := range f[0] {
			sigma := 1 / (1 + math.Exp(-x))
			b[i] = 8*unit*math.Abs(f[1][i])*sigma*(1+math.Abs(x)*(1-sigma)) + math.Abs(f[1][i]*x)*gateTiny
		}
		return [][]float64{b}
	case graph.MaxPool2DGrad: // at most Size² windows share a pixel
		return [][]float64{scaled(terms(o.Pool.Size*o.Pool.Size), s.absolute(in, 0)[0])}
	case graph.SGD: // p − lr·m, with −lr for the sum of absolute values
		p, g, m, rate := f[0], f[1], f[2], math.Abs(f[3][0])
		bp, bm := make([]float64, len(p)), make([]float64, len(p))
		for i := range p {
			grad := math.Abs(g[i]) + o.WeightDecay*math.Abs(p[i])
			mom := o.Momentum*math.Abs(m[i]) + grad
			step := mom
			if o.Nesterov {
				step = grad + o.Momentum*mom
			}
			bm[i] = 8 * unit * mom
			bp[i] = 8 * unit * (math.Abs(p[i]) + rate*step)
		}
		return [][]float64{bp, bm}

	case graph.LARS: // the ratio of two norms is off by their sums' roundings
		p, g, m, rate := f[0], f[1], f[2], math.Abs(f[3][0])
		bp, bm := make([]float64, len(p)), make([]float64, len(p))
		np, ng := 0.0, 0.0
		for i := range p {
			np, ng = np+p[i]*p[i], ng+g[i]*g[i]
		}
		ratio := 1.0
		if np > 0 && ng > 0 {
			ratio = o.Trust * math.Sqrt(np) / (math.Sqrt(ng) + o.WeightDecay*math.Sqrt(np))
		}
		for i := range p {
			step := ratio * (math.Abs(g[i]) + o.WeightDecay*math.Abs(p[i]))
			bm[i] = 8*unit*(o.Momentum*math.Abs(m[i])+step) + 2*terms(len(p))*step
			bp[i] = 4*unit*(math.Abs(p[i])+rate*(o.Momentum*math.Abs(m[i])+step)) + rate*bm[i]
		}
		return [][]float64{bp, bm}
	case graph.AdamW: // m is a sum; it is divided by a root of positive numbers
		p, g, m, v, rate, t := f[0], f[1], f[2], f[3], math.Abs(f[4][0]), float64(in[5].Data.([]int32)[0])+1
		bp, bm := make([]float64, len(p)), make([]float64, len(p))
		c1, c2 := 1-math.Pow(o.Beta1, t), 1-math.Pow(o.Beta2, t)
		for i := range p {
			size := o.Beta1*math.Abs(m[i]) + (1-o.Beta1)*math.Abs(g[i])
			root := math.Sqrt((o.Beta2*v[i]+(1-o.Beta2)*g[i]*g[i])/c2) + o.Eps
			bm[i] = 8 * unit * size
			bp[i] = 8 * unit * (math.Abs(p[i])*(1+rate*o.WeightDecay) + 4*rate*size/c1/root)
		}
		return [][]float64{bp, bm, scaled(8*unit, result(2))}

	// Sums of products.
	case graph.SumRows:
		return [][]float64{scaled(terms(in[0].Shape.Size()/out[0].Shape.Size()), s.absolute(in)[0])}
	case graph.GlobalAvgPool, graph.ScaleChannelsGrad:
		return [][]float64{scaled(terms(in[0].Shape[1]*in[0].Shape[2]), s.absolute(in)[0])}
	case graph.MatMul:
		k := in[0].Shape[1]
		if o.TransA {
			k = in[0].Shape[0]
		}
		return [][]float64{scaled(terms(k), s.absolute(in)[0])}
	// Convolutions by transform (Winograd) mix the pixels of a tile and so spread
	// their errors: the bound holds for the largest element, not each of its own.
	// The transform's own amplification (about 10 for F(4×4, 3×3)) is well within
	// λ, since the errors of a tile average.
	case graph.Conv2D:
		return s.convBound(in, in[1].Shape[1:].Size())
	case graph.Conv2DGradInput:
		w := in[1].Shape
		return s.convBound(in, w[0]/o.Conv.Groups*w[2]*w[3])
	case graph.Conv2DGradWeight:
		return s.convBound(in, in[1].Shape[:3].Size())

	case graph.BatchNorm:
		return batchNormBound(f, result(1), result(2), o.Eps, true)
	case graph.BatchNormInference:
		return batchNormBound(f, f[3], f[4], o.Eps, false)
	case graph.BatchNormGrad:
		return batchNormGradBound(f, o.Eps, true)
	case graph.BatchNormInferenceGrad:
		return batchNormGradBound(f, o.Eps, false)

	case graph.L2Normalize:
		return [][]float64{scaled(terms(in[0].Shape[1]), result(0))}
	case graph.L2NormalizeGrad:
		return [][]float64{l2GradBound(f, in[0].Shape[1], o.Eps)}
	case graph.CrossEntropy:
		return [][]float64{{crossEntropyBound(f[0], in[1], in[0].Shape)}}
	case graph.CrossEntropyGrad:
		return [][]float64{crossEntropyGradBound(f[0], in[1], in[0].Shape, f[2][0])}
	case graph.Distill:
		return [][]float64{{distillBound(f[0], f[1], in[0].Shape, o.Temperature)}}
	case graph.DistillGrad:
		return [][]float64{distillGradBound(f[0], f[1], in[0].Shape, o.Temperature, f[2][0])}
	case graph.Contrast:
		return contrastBound(o, f[0], in[0].Shape, labelsEach(in[1]), result(1))
	case graph.ContrastGrad:
		return [][]float64{contrastGradBound(o.Contrast, f[0], in[0].Shape, in[1], f[2], f[3][0])}
	}
	panic(fmt.Sprintf("optest: no rounding bound for %s: add it to tolerance.go", s.node.Kind()))
}

// gateTiny is what a sigmoid may be where it is less: the exponential of the
// other side then leaves float32's range.
const gateTiny = 1e-38

// gateBound: an exponential good to two units, of an exact operand, and a few
// roundings; y is at most |x| times what the sigmoid may be instead of less.
func gateBound(x, y []float64) []float64 {
	b := make([]float64, len(x))
	for i, v := range y {
		b[i] = 8*unit*math.Abs(v) + max(1, math.Abs(x[i]))*gateTiny
	}
	return b
}

func (s *single) convBound(in []engine.Tensor, k int) [][]float64 {
	b := s.absolute(in)[0]
	largest := 0.0
	for _, v := range b {
		largest = max(largest, v)
	}
	for i := range b {
		b[i] = terms(k) * largest
	}
	return [][]float64{b}
}

// batchNormBound: the mean is a sum; the variance a sum of squares of
// differences from it, so off by its own rounding and by the square of the
// mean's error (E[x²] − mean², in float32, is worse when the mean is large, and
// fails); y is allowed to be computed as x·a + b, which loses to |x| + |mean|.
func batchNormBound(f [][]float64, mean, variance []float64, eps float64, training bool) [][]float64 {
	x, weight, bias := f[0], f[1], f[2]
	c := len(weight)
	rows := len(x) / c
	size := make([]float64, c) // mean of |x|
	for i, v := range x {
		size[i%c] += math.Abs(v) / float64(rows)
	}
	dm, dv := make([]float64, c), make([]float64, c)
	if training {
		for i := range c {
			dm[i] = terms(rows) * size[i]
			dv[i] = terms(rows)*variance[i] + dm[i]*dm[i]
		}
	}
	dy := make([]float64, len(x))
	for i, v := range x {
		ch := i % c
		r := 1 / math.Sqrt(variance[ch]+eps)
		xhat := math.Abs(v-mean[ch]) * r
		dxhat := r*(dm[ch]+4*unit*(math.Abs(v)+math.Abs(mean[ch]))) + xhat*(dv[ch]*r*r/2+8*unit)
		dy[i] = math.Abs(weight[ch])*dxhat + 4*unit*(xhat*math.Abs(weight[ch])+math.Abs(bias[ch]))
	}
	if !training {
		return [][]float64{dy}
	}
	return [][]float64{dy, dm, dv}
}

// batchNormGradBound: x̂ may be computed as x·r − mean·r, which rounds numbers
// as large as |x| and |mean|; but Σ dy·x − mean·Σ dy for dweight, in float32, is
// worse when the mean is large, and fails. dx adds the errors of its terms.
func batchNormGradBound(f [][]float64, eps float64, training bool) [][]float64 {
	x, weight, mean, variance, dy := f[0], f[1], f[2], f[3], f[4]
	c := len(weight)
	rows := len(x) / c
	root := make([]float64, c)
	for ch := range root {
		root[ch] = 1 / math.Sqrt(variance[ch]+eps)
	}
	xhat := func(i int) (size, err float64) {
		ch := i % c
		size = math.Abs(x[i]-mean[ch]) * root[ch]
		return size, 4*unit*size + 2*unit*(math.Abs(x[i])+math.Abs(mean[ch]))*root[ch]
	}
	db, dw := make([]float64, c), make([]float64, c)      // Σ|dy|, Σ|dy·x̂|
	bias, scale := make([]float64, c), make([]float64, c) // the bounds
	for i, d := range dy {
		ch := i % c
		size, err := xhat(i)
		db[ch] += math.Abs(d)
		dw[ch] += math.Abs(d) * size
		scale[ch] += math.Abs(d) * err
	}
	for ch := range c {
		bias[ch] = terms(rows) * db[ch]
		scale[ch] += terms(rows) * dw[ch]
	}
	dx := make([]float64, len(x))
	for i, d := range dy {
		ch := i % c
		dx[i] = 8 * unit * math.Abs(d)
		if training {
			size, err := xhat(i)
			dx[i] += (8*unit*(db[ch]+size*dw[ch]) + bias[ch] + size*scale[ch] + err*dw[ch]) / float64(rows)
		}
		dx[i] *= math.Abs(weight[ch]) * root[ch]
	}
	return [][]float64{dx, scale, bias}
}

// l2GradBound: the terms dy and y·⟨y, dy⟩ may cancel.
func l2GradBound(f [][]float64, d int, eps float64) []float64 {
	x, y, dy := f[0], f[1], f[2]
	out := make([]float64, len(x))
	for at := 0; at < len(x); at += d {
		length, along := 0.0, 0.0
		for i := at; i < at+d; i++ {
			length += x[i] * x[i]
			along += math.Abs(y[i] * dy[i])
		}
		length = max(math.Sqrt(length), eps)
		for i := at; i < at+d; i++ {
			out[i] = terms(d) * (math.Abs(dy[i]) + math.Abs(y[i])*along) / length
		}
	}
	return out
}

func largestOf(v []float64) float64 {
	m := 0.0
	for _, x := range v {
		m = max(m, math.Abs(x))
	}
	return m
}

// targetRows are a cross-entropy's soft targets, or 1 at each row's label, and the
// sum of each row; extra is of how many numbers an engine makes such a sum.
func targetRows(t engine.Tensor, s graph.Shape) (targets, sums []float64, extra int) {
	sums = make([]float64, s[0])
	if labels, ok := t.Data.([]int32); ok {
		targets = make([]float64, s.Size())
		for r, label := range labels {
			targets[r*s[1]+int(label)], sums[r] = 1, 1
		}
		return targets, sums, 0
	}
	targets = t.Float64s()
	for i, v := range targets {
		sums[i/s[1]] += v
	}
	return targets, sums, s[1]
}

// crossEntropyBound: a row's lse and logit are off by roundings of numbers as
// large as the largest logit, plus that of a sum of exponentials; soft targets
// weight a sum of such terms.
func crossEntropyBound(logits []float64, labels engine.Tensor, s graph.Shape) float64 {
	_, sums, extra := targetRows(labels, s)
	return largestOf(sums) * terms(s[0]+s[1]+extra) * (2*largestOf(logits) + math.Log(float64(s[1])) + 1)
}

// crossEntropyGradBound: a probability is exp of a difference; an error in the
// difference is a relative error of the probability, which the sum of the row's
// targets multiplies.
func crossEntropyGradBound(logits []float64, labels engine.Tensor, s graph.Shape, dloss float64) []float64 {
	rows, classes := s[0], s[1]
	out := make([]float64, len(logits))
	scale := math.Abs(dloss) / float64(rows)
	targets, sums, extra := targetRows(labels, s)
	for r := range rows {
		row := logits[r*classes : (r+1)*classes]
		for k, p := range softmax(row, -1) {
			out[r*classes+k] = scale * (sums[r]*p*(terms(classes+extra)+8*unit*largestOf(row)) + 4*unit*targets[r*classes+k])
		}
	}
	return out
}

// distillBound: the teacher's probabilities are off relatively, as in
// crossEntropyGradBound, and multiply log-probabilities that are off as in
// crossEntropyBound; those are as large as the logits are apart.
func distillBound(student, teacher []float64, s graph.Shape, temperature float64) float64 {
	apart := 2*largestOf(student)/temperature + math.Log(float64(s[1]))
	p := terms(s[1]) + 8*unit*largestOf(teacher)/temperature
	return temperature * temperature * (p*apart + terms(s[0]+s[1])*(apart+1))
}

// distillGradBound: the difference of two probabilities, each off relatively.
func distillGradBound(student, teacher []float64, s graph.Shape, temperature, dloss float64) []float64 {
	rows, classes := s[0], s[1]
	out := make([]float64, len(student))
	for r := range rows {
		for _, logits := range [][]float64{student, teacher} {
			row := make([]float64, classes)
			for k := range row {
				row[k] = logits[r*classes+k] / temperature
			}
			for k, p := range softmax(row, -1) {
				out[r*classes+k] += temperature * math.Abs(dloss) / float64(rows) * p * (terms(classes) + 8*unit*largestOf(row))
			}
		}
	}
	return out
}

func softmax(v []float64, skip int) []float64 {
	largest, sum := math.Inf(-1), 0.0
	for i, x := range v {
		if i != skip {
			largest = max(largest, x)
		}
	}
	out := make([]float64, len(v))
	for i, x := range v {
		if i != skip {
			out[i] = math.Exp(x - largest)
			sum += out[i]
		}
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// similarityBound is the error of z·z/Temperature, and the largest of them.
func similarityBound(o graph.Contrast, z []float64, d int) (err, largest float64) {
	for at := 0; at < len(z); at += d {
		sum := 0.0
		for _, v := range z[at : at+d] {
			sum += v * v
		}
		largest = max(largest, sum/o.Temperature)
	}
	return terms(d) * largest, largest
}

// contrastBound: an lse is off as its similarities are, plus the rounding of a
// sum of exponentials and of numbers as large as the similarities.
func contrastBound(o graph.Contrast, z []float64, s graph.Shape, labels int, lse []float64) [][]float64 {
	ds, largest := similarityBound(o, z, s[1])
	dlse := ds + terms(s[0])*(1+math.Log(float64(s[0]))) + 8*unit*(largest+largestOf(lse))
	out := make([]float64, len(lse))
	for i := range out {
		out[i] = dlse
	}
	loss := o.Temperature / o.BaseTemperature * (ds + dlse + (terms(s[0])+terms(labels))*2*(largest+largestOf(lse)))
	return [][]float64{{loss}, out}
}

// labelsEach is of how many products the weight of a positive is a sum.
func labelsEach(labels engine.Tensor) int {
	if len(labels.Shape) == 2 {
		return labels.Shape[1]
	}
	return 1
}

// contrastGradBound carries the error of each weight g_aq (of a probability:
// relative, as in crossEntropyGradBound) through the two products, and adds the
// rounding of these.
func contrastGradBound(o graph.Contrast, z []float64, s graph.Shape, labels engine.Tensor, lse []float64, dloss float64) []float64 {
	rows, d := s[0], s[1]
	out := make([]float64, len(z))
	hard, _ := labels.Data.([]int32)
	vectors, _ := labels.Data.([]float64)
	pairs := o.Pairs(hard, vectors, labels.Shape[0])
	ds, largest := similarityBound(o, z, d)
	relative := ds + 8*unit*(largest+largestOf(lse)) + terms(rows)
	for a := range rows {
		if _, _, exit := o.Row(a, labels.Shape[0]); !o.Anchors[exit] || pairs.Total[a] == 0 {
			continue
		}
		for q := range rows {
			if q == a {
				continue
			}
			sim := 0.0
			for k := range d {
				sim += z[a*d+k] * z[q*d+k]
			}
			p := math.Exp(sim/o.Temperature - lse[a])
			e := p*relative + (4*unit+terms(rows)+terms(labelsEach(labels)))*pairs.Weight(a, q)/pairs.Total[a]
			e *= math.Abs(dloss) / o.BaseTemperature / float64(pairs.Anchors)
			for k := range d {
				out[a*d+k] += e * math.Abs(z[q*d+k])
				out[q*d+k] += e * math.Abs(z[a*d+k])
			}
		}
	}
	return out
}
