// Package machine describes the computer that a program runs on, as far as it
// tells: for people who wonder why two runs took different times, or, on other
// instruction sets, ended with other bits.
package machine

import (
	"cmp"
	"fmt"
	"runtime"
	"strings"
)

// Machine is a computer. What can't be found out is empty or 0.
type Machine struct {
	CPU          string `json:"cpu,omitempty"`             // model, in its maker's words
	Cores        int    `json:"cores"`                     // logical ones that this process may use
	Memory       int64  `json:"memory_bytes,omitempty"`    // of the machine, or less where a control group allows less
	OS           string `json:"os"`                        // name and version
	Arch         string `json:"arch"`                      // as Go calls it, such as amd64
	Instructions string `json:"instruction_set,omitempty"` // vector extensions, separated by blanks
	Go           string `json:"go"`                        // version that built the program
}

// Here is the machine at hand.
func Here() Machine {
	m := Machine{
		CPU: strings.Join(strings.Fields(cpuModel()), " "), Cores: min(runtime.NumCPU(), runtime.GOMAXPROCS(0)), Memory: memory(),
		OS: cmp.Or(system(), runtime.GOOS), Arch: runtime.GOARCH, Instructions: strings.Join(instructions(), " "), Go: runtime.Version(),
	}
	return m
}

// String is the machine in a line.
func (m Machine) String() string {
	out := []string{cmp.Or(m.CPU, "unknown CPU")}
	if m.Cores == 1 {
		out = append(out, "1 core")
	} else {
		out = append(out, fmt.Sprintf("%d cores", m.Cores))
	}
	if m.Memory > 0 {
		out = append(out, fmt.Sprintf("%.1f GB", float64(m.Memory)/1e9))
	}
	set := m.Arch
	if m.Instructions != "" {
		set += " with " + m.Instructions
	}
	return strings.Join(append(out, set, m.OS, m.Go), ", ")
}
