package main

import (
	"encoding/xml"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompare trains four steps each way: the files have every step and curve,
// the picture is well-formed, and nothing but rounding sets the ways apart.
func TestCompare(t *testing.T) {
	const steps = 4
	dir := filepath.Join(t.TempDir(), "new")
	var told strings.Builder
	if err := compare(t.Context(), &told, steps, 16, dir); err != nil {
		t.Fatal(err)
	}
	for _, v := range variants {
		if !strings.Contains(told.String(), "\n"+v.name+" ") {
			t.Errorf("no line for %q in:\n%s", v.name, &told)
		}
	}
	table, err := os.ReadFile(filepath.Join(dir, "losses.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(table), "\n"), "\n")
	if len(lines) != 1+steps {
		t.Errorf("%d lines in losses.csv, want %d:\n%s", len(lines), 1+steps, table)
	}
	for _, l := range lines {
		if n := strings.Count(l, ","); n != len(variants) {
			t.Errorf("line %q of losses.csv has %d commas, want %d", l, n, len(variants))
		}
	}
	pic, err := os.ReadFile(filepath.Join(dir, "curve.svg"))
	if err != nil {
		t.Fatal(err)
	}
	lineCount := 0
	for d := xml.NewDecoder(strings.NewReader(string(pic))); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lineCount++
		}
	}
	if want := 2*len(variants) - 1; lineCount != want {
		t.Errorf("%d lines in the picture, want %d: a loss each, a difference of all but the first", lineCount, want)
	}
}

func TestDifferences(t *testing.T) {
	d := differences([]curve{{"a", []float64{3, 2}}, {"b", []float64{2.5, 2.25}}})
	if len(d) != 1 || d[0].name != "b" || d[0].losses[0] != 0.5 || d[0].losses[1] != 0.25 {
		t.Errorf("%v, want b: 0.5, 0.25", d)
	}
}

func TestNice(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 0.7: 1, 1.2: 2, 2.1: 5, 50: 50, 51: 100, 0.013: 0.02} {
		if got := nice(v); math.Abs(got-want) > 1e-12*want {
			t.Errorf("nice(%v) = %v, want %v", v, got, want)
		}
	}
}
