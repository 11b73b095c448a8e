package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// report is what is printed and written.
type report struct {
	Machine hardware `json:"machine"`
	Races   []race   `json:"races"`
}

// hardware says what the figures were measured on, and with what.
type hardware struct {
	CPU      string   `json:"cpu"`
	Cores    int      `json:"cores"`
	Threads  int      `json:"threads"`
	System   string   `json:"system"`
	Go       string   `json:"go"`
	Vectors  []string `json:"vector_instructions"` // that the CPU has
	Engines  []string `json:"engines"`             // as they name themselves
	Measured string   `json:"measured"`
}

func machine(threads int, races []race) hardware {
	h := hardware{
		CPU: "unknown", Cores: runtime.NumCPU(), Threads: threads, System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Measured: "best time of all rounds, largest peak resident set",
	}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		h.read(bufio.NewScanner(f))
	}
	for _, r := range races {
		for _, s := range r.Sides {
			if s.Engine != "" && !slices.Contains(h.Engines, s.Engine) {
				h.Engines = append(h.Engines, s.Engine)
			}
		}
	}
	return h
}

// read takes the first processor of /proc/cpuinfo.
func (h *hardware) read(lines *bufio.Scanner) {
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "model name":
			h.CPU = value
		case "flags":
			for _, f := range strings.Fields(value) {
				if f == "avx2" || f == "fma" || strings.HasPrefix(f, "avx512") || strings.HasPrefix(f, "amx") {
					h.Vectors = append(h.Vectors, f)
				}
			}
		case "":
			return
		}
	}
}

// markdown is the table, with the machine above it.
func (r report) markdown() string {
	var b strings.Builder
	h := r.Machine
	fmt.Fprintf(&b, "%s, %d cores, %d threads, %s; %s; %s.\n\n", h.CPU, h.Cores, h.Threads, strings.Join(h.Vectors, " "), strings.Join(h.Engines, ", "), h.Measured)
	b.WriteString("| race | ours | others (the quickest in bold) | speed | memory | largest difference |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, x := range r.Races {
		var others []string
		difference := "–"
		most := 0.0
		for _, s := range x.Sides[1:] {
			text := s.Name + " " + s.measured.String()
			if s.Name == x.Against {
				text = "**" + text + "**"
			}
			others = append(others, text)
			if s.Difference != nil && *s.Difference >= most {
				most = *s.Difference
				difference = fmt.Sprintf("%.1e", most)
				if s.Largest != nil {
					difference += fmt.Sprintf(" (features up to %.1f)", *s.Largest)
				}
			}
		}
		us := x.Sides[0]
		fmt.Fprintf(&b, "| %s | %s %s | %s | %.2f× | %.2f× | %s |\n", x.What, us.Name, us.measured, strings.Join(others, "; "), x.Speed, x.Memory, difference)
	}
	return b.String()
}

func (m measured) String() string {
	return fmt.Sprintf("%.4g ms, %.0f MB", 1e3*m.Step, float64(m.Peak)/1e6)
}
