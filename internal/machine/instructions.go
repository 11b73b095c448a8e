package machine

import "golang.org/x/sys/cpu"

// instructions are the extensions that the kernels use or could use, most
// telling last.
func instructions() []string {
	var out []string
	for _, x := range []struct {
		has  bool
		name string
	}{
		{cpu.X86.HasAVX, "avx"}, {cpu.X86.HasFMA, "fma"}, {cpu.X86.HasAVX2, "avx2"},
		{cpu.X86.HasAVX512F, "avx512f"}, {cpu.X86.HasAVX512BW, "avx512bw"}, {cpu.X86.HasAVX512DQ, "avx512dq"}, {cpu.X86.HasAVX512VL, "avx512vl"},
		{cpu.X86.HasAVX512VNNI, "avx512vnni"}, {cpu.X86.HasAVX512BF16, "avx512bf16"}, {cpu.X86.HasAMXTile, "amx"},
		{cpu.ARM64.HasASIMD, "neon"}, {cpu.ARM64.HasASIMDDP, "dotprod"}, {cpu.ARM64.HasSVE, "sve"}, {cpu.ARM64.HasSVE2, "sve2"},
	} {
		if x.has {
			out = append(out, x.name)
		}
	}
	return out
}
