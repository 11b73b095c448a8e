package data

import (
	"bufio"
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// The orders in which names become labels; see Options.Order.
const (
	Lexicographic = "lexicographic" // by bytes: "100" before "2", "Z" before "a"
	Natural       = "natural"       // runs of digits by their value: "2" before "100"
)

// Orders are the values of Options.Order.
func Orders() []string { return []string{Lexicographic, Natural} }

func (opt Options) sort(names []string) {
	if opt.Order == Natural {
		slices.SortFunc(names, naturally)
		return
	}
	slices.Sort(names)
}

// naturally compares names: digits by their value, the rest by bytes; names
// that only differ in leading zeros by bytes.
func naturally(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		dx, dy := digitRun(x), digitRun(y)
		if dx > 0 && dy > 0 {
			nx, ny := strings.TrimLeft(x[:dx], "0"), strings.TrimLeft(y[:dy], "0")
			if c := cmp.Or(cmp.Compare(len(nx), len(ny)), strings.Compare(nx, ny)); c != 0 {
				return c
			}
			x, y = x[dx:], y[dy:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// digitRun is how many digits s begins with.
func digitRun(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// maxClasses bounds the number of classes of any set.
const maxClasses = 1 << 20

// ReadClassList reads a class list: a name a line, in label order. What follows
// a tab or, after a WordNet id (as in ImageNet-100's lists), a space is a remark;
// so are empty lines and lines that begin with #. Errors are *Error.
func ReadClassList(path string) ([]string, error) {
	raw, err := folder("").read(path)
	if err != nil {
		return nil, err
	}
	return parseClassList(path, raw)
}

func parseClassList(path string, raw []byte) ([]string, error) {
	var names []string
	line := map[string]int{}
	s := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; s.Scan(); n++ {
		name, _, _ := strings.Cut(s.Text(), "\t")
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if id, _, ok := strings.Cut(name, " "); ok && isWordNet(id) {
			name = id
		}
		if name == "" || name[0] == '#' {
			continue
		}
		if first := line[name]; first > 0 {
			return nil, badf(path, "line %d: class %q is on line %d already", n, name, first)
		}
		line[name] = n
		if names = append(names, name); len(names) > maxClasses {
			return nil, badf(path, "more than %d classes", maxClasses)
		}
	}
	if err := s.Err(); err != nil {
		return nil, badf(path, "not a class list, which has a name a line: %v", err)
	}
	if len(names) == 0 {
		return nil, badf(path, "no classes in it: it should have a name a line, in label order")
	}
	return names, nil
}

// isWordNet says whether a name is a WordNet id, as ImageNet's classes have: n and 8 digits.
func isWordNet(s string) bool { return len(s) == 9 && s[0] == 'n' && digitRun(s[1:]) == 8 }
