// Package columns writes tables in columns that are straight on a terminal, also
// where names are Chinese, Japanese or Korean, which take two places a character,
// or have accents of their own, which take none. text/tabwriter counts characters.
package columns

import (
	"bytes"
	"io"
	"strings"
	"unicode"
)

// Writer keeps lines of cells, each ended by a tab but the last of a line, until
// Flush. As with text/tabwriter, a column is of the lines one after another that
// have a cell in it, and what follows a line's last tab is in none.
type Writer struct {
	To    io.Writer
	Gap   int  // blanks between columns
	Right bool // cells stand at the right of their column

	text bytes.Buffer
}

// New is a writer of cells at the left of their columns, two blanks apart.
func New(to io.Writer) *Writer { return &Writer{To: to, Gap: 2} }

func (w *Writer) Write(p []byte) (int, error) { return w.text.Write(p) }

// Flush writes the lines; the next ones are another table's.
func (w *Writer) Flush() error {
	var lines [][]string
	for line := range strings.SplitSeq(w.text.String(), "\n") {
		lines = append(lines, strings.Split(line, "\t"))
	}
	w.text.Reset()
	var out bytes.Buffer
	var widths []int // of the columns that the line before has
	for i, cells := range lines {
		last := len(cells) - 1
		for c := min(len(widths), last); c < last; c++ { // columns begin here
			width := 0
			for k := i; k < len(lines) && c < len(lines[k])-1; k++ {
				width = max(width, Width(lines[k][c])+w.Gap)
			}
			widths = append(widths, width)
		}
		widths = widths[:last]
		if i > 0 {
			out.WriteByte('\n')
		}
		for c, width := range widths {
			blanks := strings.Repeat(" ", width-Width(cells[c]))
			if w.Right {
				out.WriteString(blanks + cells[c])
			} else {
				out.WriteString(cells[c] + blanks)
			}
		}
		out.WriteString(cells[last])
	}
	_, err := w.To.Write(out.Bytes())
	return err
}

// Width is how many places of a terminal a text takes.
func Width(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, joining):
		case unicode.Is(wide, r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// joining are the vowels and final consonants of Korean syllables in parts, as file
// names on a Mac have them: they stand in the place of the first consonant.
var joining = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x1160, Hi: 0x11ff, Stride: 1}, {Lo: 0xd7b0, Hi: 0xd7ff, Stride: 1}}}

// wide are the blocks whose characters are wide by Unicode's annex 11, and the
// emoji outside the symbols that are older than them.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, // Hangul's consonants
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1}, // radicals, punctuation
		{Lo: 0x3041, Hi: 0xa4cf, Stride: 1}, // kana, Chinese characters, Yi
		{Lo: 0xa960, Hi: 0xa97f, Stride: 1}, // more of Hangul
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1}, // its syllables
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1}, // compatibility
		{Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff01, Hi: 0xff60, Stride: 1}, // full width
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1}, // emoji
		{Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1},
		{Lo: 0x1f900, Hi: 0x1f9ff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1}, // rare Chinese characters
	},
}
