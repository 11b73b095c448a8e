package model

import (
	"fmt"
	"regexp"
	"strconv"

	"selfcon/graph"
)

// wide is the wide ResNet WRN-d-k of Zagoruyko & Komodakis 2016, d = 6n + 4: n
// pre-activation blocks a stage, k times as wide as a thin one (wrn_big.py).
type wide struct {
	common
	n, k    int
	thin    int // channels of the stem
	large   bool
	dropout float64 // between a block's convolutions
}

// wideNames stands for all of them in lists of known names.
const wideNames = "wrn_D_K with D = 6n+4"

func init() {
	architectures["wrn_16_8"] = wideOf(2, 8)
	patterns = append(patterns, wideNamed)
}

var widePattern = regexp.MustCompile(`^wrn_(\d{1,4})_(\d{1,3})$`)

func wideNamed(name string) (*architecture, error) {
	m := widePattern.FindStringSubmatch(name)
	if m == nil {
		return nil, nil
	}
	d, _ := strconv.Atoi(m[1])
	k, _ := strconv.Atoi(m[2])
	if d < 10 || (d-4)%6 != 0 || k < 1 {
		return nil, fmt.Errorf("%s: the depth of a wide ResNet must be 6n+4 (10, 16, 22, 28, 34, 40, …) and its factor at least 1, such as wrn_16_8", name)
	}
	a := wideOf((d-4)/6, k)
	return &a, nil
}

func wideOf(n, k int) architecture {
	return architecture{exit: 1, dropout: 0.3, build: func(c Config) family {
		thin := (16*c.Width + DefaultWidth - 1) / DefaultWidth
		return wide{n: n, k: k, thin: thin, large: c.Stem == LargeStem, dropout: *c.Dropout}
	}}
}

func (w wide) stages() int            { return 3 }
func (w wide) channels(stage int) int { return w.k * w.thin << (stage - 1) }
func (w wide) dim() int               { return w.channels(w.stages()) }

func (w wide) conv(b *builder, name string, x *graph.Value, out, kernel, stride int) *graph.Value {
	return b.conv(name, x, conv{out: out, kernel: kernel, stride: stride, bias: true, init: xavier})
}

func (w wide) stem(b *builder, x *graph.Value) *graph.Value {
	if w.large {
		return b.stemPool(w.conv(b, "encoder.conv1", x, w.thin, 7, 2))
	}
	return w.conv(b, "encoder.conv1", x, w.thin, 3, 1)
}

func (w wide) stage(b *builder, p place, x *graph.Value) *graph.Value {
	stride := 2
	if p.stage == 1 {
		stride = 1
	}
	for i := range p.blocks(w.n, (w.n+1)/2) {
		x = w.block(b, fmt.Sprintf("%s.%d", p.layer(), i), x, w.channels(p.stage), stride)
		stride = 1
	}
	return x
}

func (w wide) block(b *builder, prefix string, x *graph.Value, out, stride int) *graph.Value {
	g := b.g
	active := func(i int, h *graph.Value) *graph.Value {
		return g.ReLU(fmt.Sprintf("%s.relu%d", prefix, i), b.norm(fmt.Sprintf("%s.bn%d", prefix, i), h))
	}
	h := w.conv(b, prefix+".conv1", active(1, x), out, 3, 1)
	h = b.dropout(prefix+".dropout", h, w.dropout, false)
	h = w.conv(b, prefix+".conv2", active(2, h), out, 3, stride)
	skip := x
	if stride != 1 || channels(x) != out {
		skip = w.conv(b, prefix+".shortcut.0", x, out, 1, stride)
	}
	return g.Add(prefix+".add", h, skip)
}

// pool: behind the backbone's last block comes the norm that its successor
// would begin with; sub-networks have none. The reference lets its running
// statistics follow the last batch: momentum 0.9.
func (w wide) pool(b *builder, p place, x *graph.Value) *graph.Value {
	if p.exit == 0 {
		x = b.g.ReLU("encoder.relu", b.normWith("encoder.bn1", x, 1e-5, 0.9))
	}
	return w.common.pool(b, p, x)
}
