//go:build !purego

package pixels

import "golang.org/x/sys/cpu"

// machineSets returns the assembly sets that this machine can run, best first.
func machineSets() []*Set {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return nil
	}
	return []*Set{{Name: "avx2", fn: funcs{
		rows:        rowsAVX2,
		rowsOfPairs: rowsOfPairsAVX2,
		columns:     columnsAVX2,
		greySum:     greySumAVX2,
		toGrey:      toGreyAVX2,
		blendBytes:  blendBytesAVX2,
		saturate:    saturateAVX2,
		hue:         hueAVX2,
		normalize:   normalizeAVX2,

		inverseDCT:   inverseDCTAVX2,
		chromaSums:   chromaSumsAVX2,
		chromaSpread: chromaSpreadAVX2,
		yccToRGB:     yccToRGBAVX2,
	}}}
}
