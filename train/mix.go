package train

import (
	"encoding/binary"
	"math/rand/v2"

	"selfcon/augment"
	"selfcon/config"
	"selfcon/data"
	"selfcon/engine"
	"selfcon/eval"
	"selfcon/graph"
)

// soft says whether a configuration's classifiers learn soft targets in place of
// labels.
func soft(c config.Run) bool { return c.Mixes() || c.LabelSmoothing > 0 }

// Mix says how the training batch that is next at a place is mixed. It depends on
// the seed and the place alone.
func (s *Setup) Mix(p Place) augment.Mix {
	c := s.Config
	var key [32]byte
	copy(key[:], "mixing")
	binary.LittleEndian.PutUint64(key[8:], c.Seed)
	binary.LittleEndian.PutUint64(key[16:], uint64(p.Epoch))
	binary.LittleEndian.PutUint64(key[24:], uint64(p.Batch))
	mixing := augment.Mixing{Mixup: c.Mixup, CutMix: c.CutMix}
	return mixing.Draw(c.Model.ImageHeight, c.Model.ImageWidth, rand.New(rand.NewChaCha8(key)))
}

// labels is what the classifiers learn of a batch: its labels or, where its images
// are mixed, which is done here, or labels are smoothed, soft targets in *targets.
func (s *Setup) labels(b *data.Batch, mix augment.Mix, targets *[]float32) engine.Tensor {
	c, n, classes := s.Config, len(b.Labels), len(s.Classes)
	if !soft(c) {
		return engine.Int32(b.Labels, n)
	}
	if len(*targets) != n*classes {
		*targets = make([]float32, n*classes)
	}
	mix.Apply(b.Images, n, c.Model.ImageHeight, c.Model.ImageWidth, c.Model.ImageChannels)
	mix.Targets(*targets, b.Labels, classes, c.LabelSmoothing)
	return engine.Float32(*targets, n, classes)
}

// hits is how many images of a batch have logits [B×classes] that are largest at
// their label; of a mixed image each label counts as much as its image.
func hits(logits engine.Tensor, labels []int32, mix augment.Mix) float64 {
	classes, rows, sum := logits.Shape[1], logits.Float32s(), 0.0
	for i, own := range labels {
		guess := int32(eval.Largest(rows[i*classes:][:classes]))
		if guess == own {
			sum += mix.Lambda
		}
		if guess == labels[mix.Other(i, len(labels))] {
			sum += 1 - mix.Lambda
		}
	}
	return sum
}

// labels adds the input of the labels, or of soft targets in their place.
func (c StepConfig) labels(g *graph.Graph) *graph.Value {
	if c.Soft {
		return g.Input(InputLabels, graph.Float, c.Batch, c.Classes)
	}
	return g.Input(InputLabels, graph.Int, c.Batch)
}
