package kernel

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestUsable(t *testing.T) {
	sets := Usable()
	if last := sets[len(sets)-1]; last != generic {
		t.Errorf("the last set is %q, want generic", last.Name)
	}
	for _, s := range sets {
		if got, err := Select(s.Name); err != nil || got != s {
			t.Errorf("Select(%q) = %v, %v", s.Name, got, err)
		}
		t.Setenv(EnvVar, s.Name)
		if Best() != s {
			t.Errorf("%s=%s: Best is %q", EnvVar, s.Name, Best().Name)
		}
		narrow := s.Tiles[len(s.Tiles)-1].NR
		if !slices.IsSortedFunc(s.Tiles, func(a, b Tile) int { return b.NR - a.NR }) {
			t.Errorf("%s: tiles are not sorted, widest first", s.Name)
		}
		for _, tile := range s.Tiles {
			if tile.NR%narrow != 0 || tile.MR > maxMR || tile.NR > maxNR {
				t.Errorf("%s: tile %dx%d doesn't fit the others or the scratch", s.Name, tile.MR, tile.NR)
			}
		}
	}
	t.Setenv(EnvVar, "")
	if Best() != sets[0] {
		t.Errorf("Best is %q, want %q", Best().Name, sets[0].Name)
	}
	if _, err := Select("sse9"); err == nil || !strings.Contains(err.Error(), "generic") {
		t.Errorf("Select of an unknown set: %v; want an error that lists the usable ones", err)
	}
}

func TestPeak(t *testing.T) {
	for _, s := range Usable() {
		if p := s.Peak(time.Millisecond); p < 1e7 || p > 1e13 {
			t.Errorf("%s: a peak of %g FLOP/s can't be", s.Name, p)
		}
	}
}
