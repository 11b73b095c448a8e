// Package shell writes words as a shell reads them.
package shell

import "strings"

// Quote is a word as sh, bash and zsh read it back: as it is where that is safe,
// otherwise in single quotes.
func Quote(word string) string {
	plain := word != ""
	for _, r := range word {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:,+@%=", r)) {
			plain = false
		}
	}
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
