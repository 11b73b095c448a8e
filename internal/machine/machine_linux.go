package machine

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// field is the first value of a key in a text of lines "key: value".
func field(text, key string) string {
	s := bufio.NewScanner(strings.NewReader(text))
	for s.Scan() {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// read is a small file's text, empty if there is none.
func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}

// cpuModel is what the kernel calls the processor; many ARM kernels name the
// board instead.
func cpuModel() string {
	text := read("/proc/cpuinfo")
	for _, key := range []string{"model name", "Model", "cpu model", "Hardware", "cpu"} {
		if v := field(text, key); v != "" {
			return v
		}
	}
	if model := strings.TrimRight(read("/proc/device-tree/model"), "\x00\n"); model != "" {
		return model
	}
	if part := field(text, "CPU part"); part != "" {
		return runtime.GOARCH + " implementer " + field(text, "CPU implementer") + " part " + part
	}
	return ""
}

// memory is the machine's, in bytes, or the limit of the control group.
func memory() int64 {
	var total int64
	if kb, ok := strings.CutSuffix(field(read("/proc/meminfo"), "MemTotal"), " kB"); ok {
		n, err := strconv.ParseInt(strings.TrimSpace(kb), 10, 64)
		if err == nil {
			total = n * 1024
		}
	}
	return limited(total, "/sys/fs/cgroup", groupOf(read("/proc/self/cgroup")))
}

// groupOf is the path of version 2's control group, which has no controllers in
// its line 0::PATH.
func groupOf(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return ""
}

// limited is total, or less if a control group from path up to the root has a
// lower limit. Within a container the root is the container's own group.
func limited(total int64, root, path string) int64 {
	for dir := filepath.Join("/", path); ; dir = filepath.Dir(dir) {
		for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
			n, err := strconv.ParseInt(strings.TrimSpace(read(filepath.Join(root, dir, name))), 10, 64)
			if err == nil && n > 0 && (total == 0 || n < total) {
				total = n
			}
		}
		if dir == "/" {
			return total
		}
	}
}

// system is the distribution and the kernel.
func system() string {
	name := "Linux"
	for line := range strings.Lines(read("/etc/os-release")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			name = strings.Trim(v, `"'`)
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return name
	}
	return name + ", Linux " + unix.ByteSliceToString(u.Release[:])
}
