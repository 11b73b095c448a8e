package cpu

import "unsafe"

const (
	cacheLine = 64
	hugePage  = 2 << 20
)

// allocate returns n zeros that start on a cache line; much memory starts on a
// huge page, and the system is asked for such: a pass over it then misses the
// address translation's cache a few times instead of every 4 kB.
func allocate(n int) []float32 {
	align := cacheLine
	if n*4 >= 2*hugePage {
		align = hugePage
	}
	s := make([]float32, n+align/4)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&s[0])) % uintptr(align)); rest != 0 {
		skip = (align - rest) / 4
	}
	s = s[skip : skip+n : skip+n]
	if align == hugePage {
		adviseHuge(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), n*4/hugePage*hugePage))
	}
	return s
}
