// Package suggest finds the known word that is nearest to a mistyped one.
package suggest

import "strings"

// Nearest is the known word with the smallest edit distance to word, if it is
// near enough to be what was meant: at most a third of the letters differ, or
// one is the beginning of the other.
func Nearest(word string, known []string) (string, bool) {
	best, at := "", 1<<30
	w := strings.ToLower(word)
	for _, k := range known {
		l := strings.ToLower(k)
		d := distance(w, l)
		if len(w) >= 2 && (strings.HasPrefix(l, w) || strings.HasPrefix(w, l)) {
			d = min(d, 1)
		}
		if d < at {
			best, at = k, d
		}
	}
	return best, best != "" && at <= max(1, (max(len(w), len(best))+2)/3)
}

// Among ends an error message about an unknown word: the nearest known one, if
// any, and all of them.
func Among(word string, known []string) string {
	s := ""
	if n, ok := Nearest(word, known); ok {
		s = "; did you mean \"" + n + "\"?"
	}
	return s + " (known: " + strings.Join(known, ", ") + ")"
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
