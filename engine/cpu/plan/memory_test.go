package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAssign places random items and checks what a plan must keep: no two items
// that live at the same time overlap, offsets are aligned, and the arena is
// neither larger than all items together nor smaller than what lives at once.
func TestAssign(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		items := make([]Item, r.IntN(60))
		steps := 1 + r.IntN(30)
		for i := range items {
			first := r.IntN(steps)
			items[i] = Item{r.IntN(200), first, first + r.IntN(steps-first)}
		}
		offsets, total := Assign(items, math.MaxInt)
		sum := 0
		for i, a := range items {
			sum += Aligned(a.Size)
			if offsets[i]%Align != 0 || offsets[i] < 0 || offsets[i]+a.Size > total {
				t.Fatalf("item %d: offset %d, size %d in an arena of %d", i, offsets[i], a.Size, total)
			}
			for j, b := range items[:i] {
				if a.First <= b.Last && b.First <= a.Last && a.Size > 0 && b.Size > 0 &&
					offsets[i] < offsets[j]+b.Size && offsets[j] < offsets[i]+a.Size {
					t.Fatalf("items %d %+v at %d and %d %+v at %d overlap", i, a, offsets[i], j, b, offsets[j])
				}
			}
		}
		if o, n := Assign(items, total-1); total > 0 && (o != nil || n != math.MaxInt) {
			t.Fatalf("an arena of %d, where %d was said to be the least", n, total)
		}
		if o, n := Assign(items, total); !slices.Equal(o, offsets) || n != total {
			t.Fatalf("an arena of %d, where %d is enough", n, total)
		}
		least := 0
		for s := range steps {
			live := 0
			for _, a := range items {
				if a.First <= s && s <= a.Last {
					live += Aligned(a.Size)
				}
			}
			least = max(least, live)
		}
		if total > sum || total < least {
			t.Fatalf("arena of %d; the items are %d together, %d at once", total, sum, least)
		}
	}
}

func TestAssignReuses(t *testing.T) {
	// A chain: each value dies as the next but one is made.
	var items []Item
	for i := range 20 {
		items = append(items, Item{1000, i, i + 1})
	}
	if _, total := Assign(items, math.MaxInt); total != 2*Aligned(1000) {
		t.Errorf("a chain of 20 takes an arena of %d, not of two items, %d", total, 2*Aligned(1000))
	}
}
