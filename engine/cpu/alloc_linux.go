package cpu

import "syscall"

// adviseHuge asks for huge pages; a system without them declines, and nothing
// is lost.
func adviseHuge(b []byte) {
	const hugePages = 14 // MADV_HUGEPAGE
	_ = syscall.Madvise(b, hugePages)
}
