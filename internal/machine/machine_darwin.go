package machine

import "golang.org/x/sys/unix"

func text(name string) string {
	v, err := unix.Sysctl(name)
	if err != nil {
		return ""
	}
	return v
}

func cpuModel() string { return text("machdep.cpu.brand_string") }

func memory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}

func system() string {
	if v := text("kern.osproductversion"); v != "" {
		return "macOS " + v
	}
	return "macOS"
}
