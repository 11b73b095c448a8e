//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

// machineSets returns the assembly sets that this machine can run, best
// first.
func machineSets() []*Set {
	var sets []*Set
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA {
		return nil
	}
	if x.HasAVX512F && x.HasAVX512VL && x.HasBMI2 {
		if x.HasAVX512BF16 && !x.HasAVXVNNI {
			avx512.Lanes = 16 // Zen 4 takes its vectors of 512 bits in two halves
		}
		// Measured on an Ice Lake, and on a Zen 4 and a Zen 5, which it is not true of;
		// other Intels are taken for the former: Sapphire Rapids has AMX.
		avx512.SlowStores = !x.HasAVX512BF16 || x.HasAMXTile
		sets = append(sets, &avx512)
	}
	return append(sets, &avx2)
}

var avx512 = Set{
	Name: "avx512", Lanes: 32,
	Tiles: []Tile{
		{MR: 14, NR: 32, Run: tile14x32AVX512},
		{MR: 14, NR: 16, Run: tile14x16AVX512},
		{MR: 14, NR: 8, Run: tile14x8AVX512},
	},
	fn: funcs{
		add:       addAVX512,
		scale:     scaleAVX512,
		relu:      reluAVX512,
		reluGrad:  reluGradAVX512,
		addReLU:   addReLUAVX512,
		sigmoid:   sigmoidAVX512,
		sigmoidG:  sigmoidGradAVX512,
		silu:      siluAVX512,
		siluGrad:  siluGradAVX512,
		dot:       dotAVX512,
		sgd:       sgdAVX512,
		sgdNest:   sgdNestAVX512,
		colSums:   colSumsAVX512,
		colVar:    colVarAVX512,
		colDot2:   colDot2AVX512,
		scaleSh:   scaleShiftAVX512,
		scaleShR:  scaleShiftReLUAVX512,
		scaleShA:  scaleShiftAddAVX512,
		scaleShAR: scaleShiftAddReLUAVX512,
		scaleShRG: scaleShiftReLUGradAVX512,
		bnGrad:    bnGradAVX512,
		expSub:    expSubAVX512,
		expAdd:    expAddAVX512,
		transpose: transposeAVX512,
		addRows:   addRowsAVX512,
		subRows:   subRowsAVX512,
		quarters:  quarterSumsAVX512,
		windows:   windows{maxPoolAVX512, maxPoolGradAVX512, depthwiseAVX512, depthwiseGradAVX512},
		winograd:  winograd{16, winoInAVX512, winoOutAVX512, winoKernelAVX512, winoGradAVX512, winoKernelGradAVX512, wino2InAVX512, wino2OutAVX512, wino2KernelAVX512},
		winostride: winostride{
			in:         [Phases]strideIn{strideIn45AVX512, strideIn55AVX512, strideIn54AVX512, strideIn44AVX512},
			out:        [Phases]strideOut{strideOut45AVX512, strideOut55AVX512, strideOut54AVX512, strideOut44AVX512},
			kernel:     [Phases]strideKernel{strideKernel45AVX512, strideKernel55AVX512, strideKernel54AVX512, strideKernel44AVX512},
			grad:       strideGrad55AVX512,
			kernelGrad: [Phases]strideKernelGrad{strideKernelGrad45AVX512, strideKernelGrad55AVX512, strideKernelGrad54AVX512, strideKernelGrad44AVX512},
		},
		peak:     peakAVX512,
		peakFLOP: 24 * 16 * 2,
	},
}

var avx2 = Set{
	Name: "avx2", Lanes: 16,
	Tiles: []Tile{
		{MR: 6, NR: 16, Run: tile6x16AVX2},
		{MR: 12, NR: 8, Run: tile12x8AVX2},
	},
	fn: funcs{
		add:       addAVX2,
		scale:     scaleAVX2,
		relu:      reluAVX2,
		reluGrad:  reluGradAVX2,
		addReLU:   addReLUAVX2,
		sigmoid:   sigmoidAVX2,
		sigmoidG:  sigmoidGradAVX2,
		silu:      siluAVX2,
		siluGrad:  siluGradAVX2,
		dot:       dotAVX2,
		sgd:       sgdAVX2,
		sgdNest:   sgdNestAVX2,
		colSums:   colSumsAVX2,
		colVar:    colVarAVX2,
		colDot2:   colDot2AVX2,
		scaleSh:   scaleShiftAVX2,
		scaleShR:  scaleShiftReLUAVX2,
		scaleShA:  scaleShiftAddAVX2,
		scaleShAR: scaleShiftAddReLUAVX2,
		scaleShRG: scaleShiftReLUGradAVX2,
		bnGrad:    bnGradAVX2,
		expSub:    expSubAVX2,
		expAdd:    expAddAVX2,
		transpose: transposeAVX2,
		addRows:   addRowsAVX2,
		subRows:   subRowsAVX2,
		quarters:  quarterSumsAVX2,
		windows:   windows{maxPoolAVX2, maxPoolGradAVX2, depthwiseAVX2, depthwiseGradAVX2},
		winograd:  winograd{8, winoInAVX2, winoOutAVX2, winoKernelAVX2, winoGradAVX2, winoKernelGradAVX2, wino2InAVX2, wino2OutAVX2, wino2KernelAVX2},
		winostride: winostride{
			in:         [Phases]strideIn{strideIn45AVX2, strideIn55AVX2, strideIn54AVX2, strideIn44AVX2},
			out:        [Phases]strideOut{strideOut45AVX2, strideOut55AVX2, strideOut54AVX2, strideOut44AVX2},
			kernel:     [Phases]strideKernel{strideKernel45AVX2, strideKernel55AVX2, strideKernel54AVX2, strideKernel44AVX2},
			grad:       strideGrad55AVX2,
			kernelGrad: [Phases]strideKernelGrad{strideKernelGrad45AVX2, strideKernelGrad55AVX2, strideKernelGrad54AVX2, strideKernelGrad44AVX2},
		},
		peak:     peakAVX2,
		peakFLOP: 12 * 8 * 2,
	},
}
