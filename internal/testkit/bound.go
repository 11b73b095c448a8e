package testkit

import (
	"runtime"
	"testing"
)

// Bound fails a test that asks for more memory, in all, than so many bytes from
// here to the call of what it returns:
//
//	defer testkit.Bound(t, 1<<20+100*len(raw))()
//
// What other goroutines ask for counts too.
func Bound(t testing.TB, most int) func() {
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	return func() {
		t.Helper()
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > uint64(most) {
			t.Errorf("%d bytes allocated, want at most %d", got, most)
		}
	}
}
