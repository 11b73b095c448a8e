//go:build unix

package testkit

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Guard is memory for float32s between two pages that can't be touched, so
// that a kernel which reads or writes past either end crashes the test.
type Guard struct{ mem []float32 }

// NewGuard returns a guard with room for n elements at least. It is unmapped
// when the test ends.
func NewGuard(tb testing.TB, n int) *Guard {
	tb.Helper()
	page := unix.Getpagesize()
	size := (4*n + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		tb.Fatalf("guard pages for %d elements: %v", n, err)
	}
	tb.Cleanup(func() { _ = unix.Munmap(m) })
	for _, p := range [][]byte{m[:page], m[page+size:]} {
		if err := unix.Mprotect(p, unix.PROT_NONE); err != nil {
			tb.Fatalf("guard pages for %d elements: %v", n, err)
		}
	}
	if size == 0 {
		return &Guard{}
	}
	return &Guard{unsafe.Slice((*float32)(unsafe.Pointer(&m[page])), size/4)}
}

// Front returns n elements, the first of which lies right behind the guarded
// page.
func (g *Guard) Front(n int) []float32 { return g.mem[:n:n] }

// Back returns n elements, the last of which lies right before the guarded
// page.
func (g *Guard) Back(n int) []float32 { return g.mem[len(g.mem)-n:] }

// Place returns Back(n) or Front(n).
func (g *Guard) Place(n int, back bool) []float32 {
	if back {
		return g.Back(n)
	}
	return g.Front(n)
}

// Bytes is Place for bytes.
func (g *Guard) Bytes(n int, back bool) []byte {
	all := unsafe.Slice((*byte)(unsafe.Pointer(&g.mem[0])), 4*len(g.mem))
	if back {
		return all[len(all)-n:]
	}
	return all[:n:n]
}
