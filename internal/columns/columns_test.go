package columns

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"text/tabwriter"
)

// With characters of one place it writes what text/tabwriter does.
func TestAsTabwriter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var text strings.Builder
		for range r.IntN(60) {
			text.WriteString([]string{"\t", "\t", "\n", "a", "bé–", "1.5 %", " "}[r.IntN(7)])
		}
		text.WriteString("\n") // without, text/tabwriter drops an empty cell at the end
		gap, right := r.IntN(3), r.IntN(2) == 1
		flags := uint(0)
		if right {
			flags = tabwriter.AlignRight
		}
		var want, got strings.Builder
		theirs, ours := tabwriter.NewWriter(&want, 0, 0, gap, ' ', flags), &Writer{To: &got, Gap: gap, Right: right}
		for range 2 { // it can be used again
			fmt.Fprint(theirs, text.String())
			fmt.Fprint(ours, text.String())
			if err := theirs.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := ours.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if got.String() != want.String() {
			t.Fatalf("%q, gap %d, right %t:\n%q, want\n%q", text.String(), gap, right, got.String(), want.String())
		}
	}
}

func TestWidth(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "cat": 3, "é": 1, "e\u0301": 1, "猫": 2, "ねこ": 4, "ﾈｺ": 2, "고양이": 6, "\u1100\u1169": 2, "１": 2, "🐈": 2, "кошка": 5, "𠀋": 2, "a\u200db": 2,
	} {
		if got := Width(text); got != want {
			t.Errorf("%q takes %d places, want %d", text, got, want)
		}
	}
}

// Columns are straight where names are wide.
func TestWide(t *testing.T) {
	var out strings.Builder
	w := New(&out)
	fmt.Fprint(w, "class\timages\n猫と犬の写真\t3\nbird\t4\n")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "class         images\n猫と犬の写真  3\nbird          4\n"; out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
}
