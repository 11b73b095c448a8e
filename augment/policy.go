package augment

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// RandAugment applies N operations, drawn with replacement from 14, all with
// the same magnitude of 0 to 30 (Cubuk et al. 2020, arXiv 1909.13719), as
// torchvision's transform of the same name with its defaults: nearest pixels,
// black outside. N 0: off.
type RandAugment struct{ N, Magnitude int }

// maxRandOps bounds RandAugment.N.
const maxRandOps = 16

// Check says which of the two numbers can't be.
func (a RandAugment) Check() error {
	if a.N < 0 || a.N > maxRandOps || a.Magnitude < 0 || a.Magnitude >= randBins {
		return fmt.Errorf("%d operations of magnitude %d: must be from 0 to %d, and from 0 to %d", a.N, a.Magnitude, maxRandOps, randBins-1)
	}
	return nil
}

// opKind is an operation of RandAugment and AutoAugment.
type opKind uint8

const (
	opIdentity opKind = iota
	opShearX
	opShearY
	opTranslateX
	opTranslateY
	opRotate
	opBrightness
	opColor
	opContrast
	opSharpness
	opPosterize
	opSolarize
	opAutoContrast
	opEqualize
	opInvert
)

// policyOp is an operation and how strongly it is applied: for translations in
// pixels, for rotations in degrees, for enhancements the factor less 1, for
// posterize the bits kept, for solarize the threshold.
type policyOp struct {
	kind   opKind
	amount float64
}

// signed says whether half of the time the amount is taken negative.
func (k opKind) signed() bool { return k >= opShearX && k <= opSharpness }

// amount is an operation's amount at one of bins magnitudes.
// Source: torchvision transforms.autoaugment, _augmentation_space, whose tables
// are torch.linspace in float32.
func (k opKind) amount(bin, bins, height, width int) float64 {
	linspace := func(from, to float64) float64 {
		a, b := float32(from), float32(to)
		step := (b - a) / float32(bins-1)
		// Rounded once, as by torch's fused multiply-adds.
		if bin < bins/2 {
			return float64(float32(float64(a) + float64(step)*float64(bin)))
		}
		return float64(float32(float64(b) - float64(step)*float64(bins-1-bin)))
	}
	switch k {
	case opShearX, opShearY:
		return linspace(0, 0.3)
	case opTranslateX:
		return linspace(0, 150.0/331.0*float64(width))
	case opTranslateY:
		return linspace(0, 150.0/331.0*float64(height))
	case opRotate:
		return linspace(0, 30)
	case opBrightness, opColor, opContrast, opSharpness:
		return linspace(0, 0.9)
	case opPosterize:
		return 8 - math.RoundToEven(float64(float32(bin)/float32(float64(bins-1)/4)))
	case opSolarize:
		return linspace(255, 0)
	}
	return 0
}

const randBins = 31

// draw chooses the operations: for each a number below 14, then, if it has a
// sign, a number below 2, 1 being negative.
func (a RandAugment) draw(ops []policyOp, height, width int, r *rand.Rand) []policyOp {
	for range a.N {
		op := policyOp{kind: opKind(r.IntN(int(opInvert)))}
		op.amount = op.kind.amount(a.Magnitude, randBins, height, width)
		if op.kind.signed() && r.IntN(2) == 1 {
			op.amount = -op.amount
		}
		ops = append(ops, op)
	}
	return ops
}

// The policies of AutoAugment (Cubuk et al. 2019, arXiv 1805.09501).
const (
	AutoCIFAR10  = "cifar10"
	AutoImageNet = "imagenet"
	AutoSVHN     = "svhn"
)

// AutoPolicies are the values of Config.AutoAugment.
func AutoPolicies() []string { return []string{AutoCIFAR10, AutoImageNet, AutoSVHN} }

// autoStep is an operation of a policy: its probability in tenths and its
// magnitude of 0 to 9 (−1: it has none).
type autoStep struct {
	kind      opKind
	tenths    int
	magnitude int
}

// autoPolicies are pairs of operations, one of which is drawn for an image.
// Source: the paper's appendix (tables 7, 8 and 9), as torchvision has them.
var autoPolicies = map[string][][2]autoStep{
	AutoImageNet: {
		{{opPosterize, 4, 8}, {opRotate, 6, 9}}, {{opSolarize, 6, 5}, {opAutoContrast, 6, -1}},
		{{opEqualize, 8, -1}, {opEqualize, 6, -1}}, {{opPosterize, 6, 7}, {opPosterize, 6, 6}},
		{{opEqualize, 4, -1}, {opSolarize, 2, 4}}, {{opEqualize, 4, -1}, {opRotate, 8, 8}},
		{{opSolarize, 6, 3}, {opEqualize, 6, -1}}, {{opPosterize, 8, 5}, {opEqualize, 10, -1}},
		{{opRotate, 2, 3}, {opSolarize, 6, 8}}, {{opEqualize, 6, -1}, {opPosterize, 4, 6}},
		{{opRotate, 8, 8}, {opColor, 4, 0}}, {{opRotate, 4, 9}, {opEqualize, 6, -1}},
		{{opEqualize, 0, -1}, {opEqualize, 8, -1}}, {{opInvert, 6, -1}, {opEqualize, 10, -1}},
		{{opColor, 6, 4}, {opContrast, 10, 8}}, {{opRotate, 8, 8}, {opColor, 10, 2}},
		{{opColor, 8, 8}, {opSolarize, 8, 7}}, {{opSharpness, 4, 7}, {opInvert, 6, -1}},
		{{opShearX, 6, 5}, {opEqualize, 10, -1}}, {{opColor, 4, 0}, {opEqualize, 6, -1}},
		{{opEqualize, 4, -1}, {opSolarize, 2, 4}}, {{opSolarize, 6, 5}, {opAutoContrast, 6, -1}},
		{{opInvert, 6, -1}, {opEqualize, 10, -1}}, {{opColor, 6, 4}, {opContrast, 10, 8}},
		{{opEqualize, 8, -1}, {opEqualize, 6, -1}},
	},
	AutoCIFAR10: {
		{{opInvert, 1, -1}, {opContrast, 2, 6}}, {{opRotate, 7, 2}, {opTranslateX, 3, 9}},
		{{opSharpness, 8, 1}, {opSharpness, 9, 3}}, {{opShearY, 5, 8}, {opTranslateY, 7, 9}},
		{{opAutoContrast, 5, -1}, {opEqualize, 9, -1}}, {{opShearY, 2, 7}, {opPosterize, 3, 7}},
		{{opColor, 4, 3}, {opBrightness, 6, 7}}, {{opSharpness, 3, 9}, {opBrightness, 7, 9}},
		{{opEqualize, 6, -1}, {opEqualize, 5, -1}}, {{opContrast, 6, 7}, {opSharpness, 6, 5}},
		{{opColor, 7, 7}, {opTranslateX, 5, 8}}, {{opEqualize, 3, -1}, {opAutoContrast, 4, -1}},
		{{opTranslateY, 4, 3}, {opSharpness, 2, 6}}, {{opBrightness, 9, 6}, {opColor, 2, 8}},
		{{opSolarize, 5, 2}, {opInvert, 0, -1}}, {{opEqualize, 2, -1}, {opAutoContrast, 6, -1}},
		{{opEqualize, 2, -1}, {opEqualize, 6, -1}}, {{opColor, 9, 9}, {opEqualize, 6, -1}},
		{{opAutoContrast, 8, -1}, {opSolarize, 2, 8}}, {{opBrightness, 1, 3}, {opColor, 7, 0}},
		{{opSolarize, 4, 5}, {opAutoContrast, 9, -1}}, {{opTranslateY, 9, 9}, {opTranslateY, 7, 9}},
		{{opAutoContrast, 9, -1}, {opSolarize, 8, 3}}, {{opEqualize, 8, -1}, {opInvert, 1, -1}},
		{{opTranslateY, 7, 9}, {opAutoContrast, 9, -1}},
	},
	AutoSVHN: {
		{{opShearX, 9, 4}, {opInvert, 2, -1}}, {{opShearY, 9, 8}, {opInvert, 7, -1}},
		{{opEqualize, 6, -1}, {opSolarize, 6, 6}}, {{opInvert, 9, -1}, {opEqualize, 6, -1}},
		{{opEqualize, 6, -1}, {opRotate, 9, 3}}, {{opShearX, 9, 4}, {opAutoContrast, 8, -1}},
		{{opShearY, 9, 8}, {opInvert, 4, -1}}, {{opShearY, 9, 5}, {opSolarize, 2, 6}},
		{{opInvert, 9, -1}, {opAutoContrast, 8, -1}}, {{opEqualize, 6, -1}, {opRotate, 9, 3}},
		{{opShearX, 9, 4}, {opSolarize, 3, 3}}, {{opShearY, 8, 8}, {opInvert, 7, -1}},
		{{opEqualize, 9, -1}, {opTranslateY, 6, 6}}, {{opInvert, 9, -1}, {opEqualize, 6, -1}},
		{{opContrast, 3, 3}, {opRotate, 8, 4}}, {{opInvert, 8, -1}, {opTranslateY, 0, 2}},
		{{opShearY, 7, 6}, {opSolarize, 4, 8}}, {{opInvert, 6, -1}, {opRotate, 8, 4}},
		{{opShearY, 3, 7}, {opTranslateX, 9, 3}}, {{opShearX, 1, 6}, {opInvert, 6, -1}},
		{{opSolarize, 7, 2}, {opTranslateY, 6, 7}}, {{opShearY, 8, 4}, {opInvert, 8, -1}},
		{{opShearX, 7, 9}, {opTranslateY, 8, 3}}, {{opShearY, 8, 5}, {opAutoContrast, 7, -1}},
		{{opShearX, 7, 2}, {opInvert, 1, -1}},
	},
}

const autoBins = 10

// drawAuto chooses a pair of a policy, two uniform numbers that say whether each
// of the two is applied, and two signs, 0 being negative.
func drawAuto(ops []policyOp, policy string, height, width int, r *rand.Rand) []policyOp {
	pairs := autoPolicies[policy]
	pair := pairs[r.IntN(len(pairs))]
	chances := [2]float64{r.Float64(), r.Float64()}
	signs := [2]int{r.IntN(2), r.IntN(2)}
	for i, s := range pair {
		if chances[i] > float64(s.tenths)/10 {
			continue
		}
		op := policyOp{kind: s.kind, amount: s.kind.amount(max(s.magnitude, 0), autoBins, height, width)}
		if s.kind.signed() && signs[i] == 0 {
			op.amount = -op.amount
		}
		ops = append(ops, op)
	}
	return ops
}

// apply changes an image of w×h in place.
// Source: torchvision transforms.autoaugment._apply_op.
func (s *scratch) applyOp(op policyOp, pix []uint8, w, h, ch int) {
	// moved lets an operation write into other memory, and copies it back.
	moved := func(do func(dst []uint8)) {
		s.moved = grow(s.moved, len(pix))
		do(s.moved)
		copy(pix, s.moved)
	}
	switch op.kind {
	case opIdentity:
	case opShearX:
		moved(func(dst []uint8) { shear(op.amount, 0).apply(dst, pix, w, h, ch) })
	case opShearY:
		moved(func(dst []uint8) { shear(0, op.amount).apply(dst, pix, w, h, ch) })
	case opTranslateX:
		moved(func(dst []uint8) { shift(dst, pix, w, h, ch, int(op.amount), 0) })
	case opTranslateY:
		moved(func(dst []uint8) { shift(dst, pix, w, h, ch, 0, int(op.amount)) })
	case opRotate:
		if op.amount != 0 {
			moved(func(dst []uint8) { rotation(op.amount, w, h).apply(dst, pix, w, h, ch) })
		}
	case opBrightness:
		adjust{brightness, 1 + op.amount}.apply(pix, ch)
	case opColor:
		adjust{saturation, 1 + op.amount}.apply(pix, ch)
	case opContrast:
		adjust{contrast, 1 + op.amount}.apply(pix, ch)
	case opSharpness:
		s.moved = grow(s.moved, len(pix))
		sharpen(pix, s.moved, w, h, ch, 1+op.amount)
	case opPosterize:
		posterize(pix, int(op.amount))
	case opSolarize:
		solarize(pix, op.amount)
	case opAutoContrast:
		autoContrast(pix, ch)
	case opEqualize:
		equalize(pix, ch)
	case opInvert:
		invert(pix)
	default:
		panic(fmt.Sprintf("augment: operation %d", op.kind))
	}
}
