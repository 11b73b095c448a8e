package machine

import (
	"runtime"
	"strings"
	"testing"
)

func TestHere(t *testing.T) {
	m := Here()
	t.Log(m)
	if m.Cores < 1 || m.Cores > runtime.NumCPU() || m.Arch != runtime.GOARCH || m.Go != runtime.Version() || m.OS == "" {
		t.Errorf("%+v", m)
	}
	if runtime.GOOS == "linux" && (m.CPU == "" || m.Memory < 64<<20 || !strings.Contains(m.OS, "Linux ")) {
		t.Errorf("%+v", m)
	}
	if m != Here() {
		t.Errorf("%+v at first, then %+v", m, Here())
	}
	for _, part := range []string{m.CPU, m.Instructions, m.OS, m.Go} {
		if !strings.Contains(m.String(), part) {
			t.Errorf("%q is not in %q", part, m)
		}
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct {
		m    Machine
		want string
	}{
		{Machine{CPU: "A 1", Cores: 2, Memory: 16_500_000_000, OS: "X 3", Arch: "amd64", Instructions: "fma avx2", Go: "go1.26"}, "A 1, 2 cores, 16.5 GB, amd64 with fma avx2, X 3, go1.26"},
		{Machine{Cores: 1, OS: "plan9", Arch: "386", Go: "go1.26"}, "unknown CPU, 1 core, 386, plan9, go1.26"},
	} {
		if got := c.m.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
