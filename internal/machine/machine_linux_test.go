package machine

import (
	"os"
	"path/filepath"
	"testing"
)

// A container's limit is below the machine's memory.
func TestLimited(t *testing.T) {
	const gb = 1 << 30
	for name, c := range map[string]struct {
		files map[string]string
		path  string
		want  int64
	}{
		"none":             {nil, "/", 8 * gb},
		"max":              {map[string]string{"a/memory.max": "max\n"}, "/a", 8 * gb},
		"own":              {map[string]string{"a/memory.max": "1073741824\n"}, "/a", gb},
		"above":            {map[string]string{"a/memory.max": "1073741824\n", "a/b/memory.max": "max\n"}, "/a/b", gb},
		"version 1":        {map[string]string{"memory/memory.limit_in_bytes": "2147483648\n"}, "", 2 * gb},
		"version 1's none": {map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n"}, "", 8 * gb},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := limited(8*gb, root, c.path); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := groupOf("12:memory:/x\n0::/user.slice/a\n"); got != "/user.slice/a" {
		t.Errorf("group %q", got)
	}
	if got := field("processor\t: 0\nmodel name\t: A B\nmodel name\t: C\n", "model name"); got != "A B" {
		t.Errorf("field %q", got)
	}
}
