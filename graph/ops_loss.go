package graph

import "fmt"

// CrossEntropy is the mean over rows of −log softmax(logits)[label]: operands
// logits [N×K], labels int[N]; result a scalar. In place of labels, targets
// float[N×K] are soft ones, and a row's term is −Σ_k target_k·log softmax(logits)_k:
// torch's cross_entropy with probabilities. They are held fixed: the loss has no
// derivative by them.
type CrossEntropy struct{}

func (CrossEntropy) Infer(in []Type) ([]Type, error) {
	kind := Int
	soft := len(in) > 1 && in[1].DType == Float && len(in[1].Shape) == 2
	if soft {
		kind = Float
	}
	if err := operands(in, Float, kind); err != nil {
		return nil, err
	}
	if err := rank(in, 0, 2, "logits [N×K]"); err != nil {
		return nil, err
	}
	if soft && !in[1].Shape.Equal(in[0].Shape) {
		return nil, fmt.Errorf("targets %v do not fit logits %v", in[1].Shape, in[0].Shape)
	}
	if !soft && !in[1].Shape.Equal(in[0].Shape[:1]) {
		return nil, fmt.Errorf("labels %v do not fit logits %v", in[1].Shape, in[0].Shape)
	}
	return []Type{{Shape{}, Float}}, nil
}

func (CrossEntropy) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	return []*Value{g.apply1("grad:"+n.Name, CrossEntropyGrad{}, n.In[0], n.In[1], d[0]), nil}
}

// CrossEntropy is the mean cross-entropy, a scalar, of logits [N×K] and labels
// int[N] or targets float[N×K].
func (g *Graph) CrossEntropy(name string, logits, labels *Value) *Value {
	return g.apply1(name, CrossEntropy{}, logits, labels)
}

// CrossEntropyGrad is (softmax(logits) − onehot(label))·dloss/N, of soft targets
// (softmax(logits)·Σ target − target)·dloss/N; operands logits, labels or targets,
// dloss.
type CrossEntropyGrad struct{}

func (CrossEntropyGrad) Infer(in []Type) ([]Type, error) {
	if len(in) != 3 {
		return nil, fmt.Errorf("takes 3 operands, not %d", len(in))
	}
	if err := operands(in, Float, in[1].DType, Float); err != nil {
		return nil, err
	}
	if _, err := (CrossEntropy{}).Infer(in[:2]); err != nil {
		return nil, err
	}
	return in[:1], rank(in, 2, 0, "a scalar")
}

// Positives says which rows of a contrast are positives of each other (a row
// is never its own).
type Positives uint8

const (
	SameLabel     Positives = iota // rows of the same class
	SameImage                      // rows of the same image: any exit, any view
	SameImageView                  // rows of the same view of the same image: other exits
	SharedLabels                   // all rows, weighted by the inner product of their images' label vectors
)

// Contrast is the contrastive loss over a table of rows, with its analytic
// gradient; no engine stores the rows×rows matrix. Row r of
// z [Exits·Views·B × D] is image r mod B, view (r/B) mod Views, exit r/(B·Views).
// Rows of exits with Anchors set are anchors A; all rows are contrasts. With
// s = z·zᵀ/Temperature and w_ap the weight of p ≠ a as a positive of a, W_a their
// sum,
//
//	loss = (Temperature/BaseTemperature) · mean_a −1/W_a Σ_p w_ap (s_ap − lse_a),
//	lse_a = log Σ_{q≠a} exp(s_aq)
//
// the mean over the anchors that have a positive, W_a > 0; with none it is 0.
// w_ap is 1 for positives and 0 for others (paper's eq. 1–4; reference losses.py
// ConLoss, SupConLoss, SelfConLoss). Operands z and labels int[B]; for
// SharedLabels labels float[B×K], not negative: a row of 0 and 1 for an image
// with several labels, probabilities for soft ones, and w_ap = ⟨y_a, y_p⟩, which
// for one label an image is SameLabel. Results the loss and lse [rows], which
// the derivative uses: 0 for rows that are not anchors and for an anchor that is
// the only row. Labels are held fixed: the loss has no derivative by them.
type Contrast struct {
	Exits, Views                 int
	Anchors                      []bool // one an exit
	Positives                    Positives
	Temperature, BaseTemperature float64
}

func (o Contrast) Infer(in []Type) ([]Type, error) {
	kind, axes, what := Int, 1, "labels [B]"
	if o.Positives == SharedLabels {
		kind, axes, what = Float, 2, "labels [B×K]"
	}
	if err := operands(in, Float, kind); err != nil {
		return nil, err
	}
	if err := rank(in, 0, 2, "features [rows×D]"); err != nil {
		return nil, err
	}
	if err := rank(in, 1, axes, what); err != nil {
		return nil, err
	}
	if o.Temperature <= 0 || o.BaseTemperature <= 0 {
		return nil, fmt.Errorf("temperature %g and base temperature %g must be positive", o.Temperature, o.BaseTemperature)
	}
	if o.Exits < 1 || o.Views < 1 || len(o.Anchors) != o.Exits {
		return nil, fmt.Errorf("%d exits, %d views, anchors for %d exits", o.Exits, o.Views, len(o.Anchors))
	}
	if o.Positives > SharedLabels {
		return nil, fmt.Errorf("positives %d: must be SameLabel, SameImage, SameImageView or SharedLabels", o.Positives)
	}
	any := false
	for _, a := range o.Anchors {
		any = any || a
	}
	if !any {
		return nil, fmt.Errorf("no exit is an anchor")
	}
	rows, b := in[0].Shape[0], in[1].Shape[0]
	if rows != o.Exits*o.Views*b {
		return nil, fmt.Errorf("%d rows for %d images in %d view(s) at %d exit(s): must be %d", rows, b, o.Views, o.Exits, o.Exits*o.Views*b)
	}
	return []Type{{Shape{}, Float}, {Shape{rows}, Float}}, nil
}

func (o Contrast) Gradient(g *Graph, n *Node, d []*Value) []*Value {
	if d[1] != nil {
		g.Fail("graph: %s (Contrast): the loss depends on lse, which has no derivative", n.Name)
	}
	if d[0] == nil {
		return []*Value{nil, nil}
	}
	return []*Value{g.apply1("grad:"+n.Name, ContrastGrad{o}, n.In[0], n.In[1], n.Out[1], d[0]), nil}
}

// Contrast adds the contrastive loss and returns it.
func (g *Graph) Contrast(name string, z, labels *Value, c Contrast) *Value {
	return g.apply1(name, c, z, labels)
}

// ContrastGrad is the derivative of Contrast by z; operands z, labels, lse,
// dloss. With g_aq = (softmax_q(s_a) − w_aq/W_a) / BaseTemperature / #anchors
// for anchors a that have a positive, and 0 for other rows and for q = a,
//
//	dz_i = dloss · Σ_q (g_iq + g_qi)·z_q
type ContrastGrad struct{ Contrast Contrast }

func (o ContrastGrad) Infer(in []Type) ([]Type, error) {
	if len(in) != 4 {
		return nil, fmt.Errorf("takes 4 operands, not %d", len(in))
	}
	if _, err := o.Contrast.Infer(in[:2]); err != nil {
		return nil, err
	}
	if err := operands(in[2:], Float, Float); err != nil {
		return nil, err
	}
	if !in[2].Shape.Equal(in[0].Shape[:1]) {
		return nil, fmt.Errorf("lse %v does not fit features %v", in[2].Shape, in[0].Shape)
	}
	return in[:1], rank(in, 3, 0, "a scalar")
}

// Row tells where row r of the table stands, for b images.
func (o Contrast) Row(r, b int) (image, view, exit int) {
	return r % b, r / b % o.Views, r / (b * o.Views)
}

// Pairs says how much the rows of a contrast are positives of each other.
type Pairs struct {
	Weight  func(a, q int) float64 // of row q ≠ a as a positive of row a
	Total   []float64              // of each row, over all others
	Anchors int                    // how many anchors have a positive
}

// Pairs works out the weights for labels, or, of SharedLabels, for label vectors
// [B×K].
func (o Contrast) Pairs(labels []int32, vectors []float64, b int) Pairs {
	p := Pairs{Total: make([]float64, o.Exits*o.Views*b)}
	if o.Positives == SharedLabels {
		k := len(vectors) / b
		p.Weight = func(a, q int) float64 {
			sum := 0.0
			for i, v := range vectors[a%b*k : (a%b+1)*k] {
				sum += v * vectors[q%b*k+i]
			}
			return sum
		}
		for a := range p.Total {
			for q := range p.Total {
				if q != a {
					p.Total[a] += p.Weight(a, q)
				}
			}
			if _, _, e := o.Row(a, b); o.Anchors[e] && p.Total[a] > 0 {
				p.Anchors++
			}
		}
		return p
	}
	keys, positives, anchors := o.Keys(labels)
	p.Anchors = anchors
	p.Weight = func(a, q int) float64 {
		if keys[a] == keys[q] {
			return 1
		}
		return 0
	}
	for a, n := range positives {
		p.Total[a] = float64(n)
	}
	return p
}

// Keys gives each row a number that its positives, and only they, share, and
// says for each row how many positives it has and, of the anchors, how many
// have any. Not for SharedLabels.
func (o Contrast) Keys(labels []int32) (keys []int32, positives []int, anchors int) {
	b := len(labels)
	keys = make([]int32, o.Exits*o.Views*b)
	count := map[int32]int{}
	for r := range keys {
		image, view, _ := o.Row(r, b)
		switch o.Positives {
		case SameLabel:
			keys[r] = labels[image]
		case SameImage:
			keys[r] = int32(image)
		default:
			keys[r] = int32(view*b + image)
		}
		count[keys[r]]++
	}
	positives = make([]int, len(keys))
	for r, k := range keys {
		positives[r] = count[k] - 1
		if _, _, e := o.Row(r, b); o.Anchors[e] && positives[r] > 0 {
			anchors++
		}
	}
	return keys, positives, anchors
}
