package cpu

import (
	"fmt"
	"sync"
	"unsafe"
)

const (
	cacheLine = 64
	hugePage  = 2 << 20
)

// memory hands out memory for floats and has it until it is released. It lies
// outside Go's heap where the system allows that: the collector lets as much
// garbage stand as there is memory in use, and an arena of a gigabyte would
// have it keep another.
type memory struct {
	mu     sync.Mutex          // the collector releases the memory of dropped programs
	blocks map[*float32][]byte // by their first float
}

// allocate returns n zeros that start on a cache line; much memory starts on a
// huge page, and the system is asked for such: a pass over it then misses the
// address translation's cache a few times instead of every 4 kB.
func (m *memory) allocate(n int) ([]float32, error) {
	if n == 0 {
		return nil, nil
	}
	align := cacheLine
	if n*4 >= 2*hugePage {
		align = hugePage
	}
	whole, err := reserveBytes(n*4 + align)
	if err != nil {
		return nil, fmt.Errorf("cpu: no memory for %.1f MB more: %w", 4*float64(n)/1e6, err)
	}
	skip := -int(uintptr(unsafe.Pointer(&whole[0]))) & (align - 1)
	if align == hugePage {
		adviseHuge(whole[skip : skip+n*4/hugePage*hugePage])
	}
	s := unsafe.Slice((*float32)(unsafe.Pointer(&whole[skip])), n)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blocks == nil {
		m.blocks = map[*float32][]byte{}
	}
	m.blocks[&s[0]] = whole
	return s, nil
}

// release gives back what allocate returned; nobody may use it any more.
// Nothing happens if free has done so already.
func (m *memory) release(s []float32) {
	if len(s) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if whole, ok := m.blocks[&s[0]]; ok {
		delete(m.blocks, &s[0])
		releaseBytes(whole)
	}
}

// free releases everything; nothing can be allocated afterwards.
func (m *memory) free() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, whole := range m.blocks {
		releaseBytes(whole)
	}
	clear(m.blocks)
}
