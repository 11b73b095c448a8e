package augment

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// replay is a random stream that gives recorded numbers: a share u of a range, or k
// of n whole ones.
type replay struct {
	t    *testing.T
	next [][2]float64 // u, or k and n
}

// Uint64 is such that rand.Rand makes of it the number: Float64 takes the low 53
// bits, IntN the low bits if n is a power of two and else the high 32 as a share.
func (p *replay) Uint64() uint64 {
	if len(p.next) == 0 {
		p.t.Fatal("more random numbers are drawn than torchvision draws")
	}
	v := p.next[0]
	p.next = p.next[1:]
	if v[1] == 0 {
		return uint64(v[0] * (1 << 53))
	}
	k, n := uint64(v[0]), uint64(v[1])
	return ((2*k+1)<<31/n)<<32 | k
}

// TestDrawsRecorded: of the same random numbers in the same order, torchvision
// chooses the same crops, erased rectangles, operations and deviations.
func TestDrawsRecorded(t *testing.T) {
	raw, err := os.ReadFile("testdata/draws.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Cases []struct {
			Kind            string
			Height, Width   int
			Setting, Result json.RawMessage
			Draws           []json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		t.Fatal(err)
	}
	read := func(text json.RawMessage, to any) {
		t.Helper()
		if err := json.Unmarshal(text, to); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	for _, c := range rec.Cases {
		seen[c.Kind]++
		p := &replay{t: t}
		for _, d := range c.Draws {
			var v [2]float64
			if d[0] == '[' {
				read(d, &v)
			} else {
				read(d, &v[0])
			}
			p.next = append(p.next, v)
		}
		r := rand.New(p)
		switch c.Kind {
		case "crop", "erase":
			var want [4]int
			read(c.Result, &want)
			got, scale := rect{}, 0.0
			if c.Kind == "crop" {
				read(c.Setting, &scale)
				got = randomCrop(c.Height, c.Width, scale, r)
			} else {
				got = randomErase(c.Height, c.Width, r)
				if want == [4]int{0, 0, c.Height, c.Width} { // torchvision's way to leave the image alone
					want = [4]int{}
				}
			}
			if got != (rect{want[0], want[1], want[2], want[3]}) {
				t.Errorf("%s of %d×%d by %s: %+v, want %v", c.Kind, c.Height, c.Width, c.Draws, got, want)
			}
		case "rand", "auto":
			var want [][2]any
			read(c.Result, &want)
			var got []policyOp
			if c.Kind == "rand" {
				var n [2]int
				read(c.Setting, &n)
				got = RandAugment{N: n[0], Magnitude: n[1]}.draw(nil, c.Height, c.Width, r)
			} else {
				var policy string
				read(c.Setting, &policy)
				got = drawAuto(nil, policy, c.Height, c.Width, r)
			}
			same := len(got) == len(want)
			for i := 0; same && i < len(got); i++ {
				same = got[i] == policyOp{kinds[want[i][0].(string)], want[i][1].(float64)}
			}
			if !same {
				t.Errorf("%s %s of %d×%d by %s: %v, want %v", c.Kind, c.Setting, c.Height, c.Width, c.Draws, got, want)
			}
		case "blur":
			var want float64
			read(c.Result, &want)
			lo, hi := Blur{}.sigmas()
			if got := uniform(lo, hi, r); math.Abs(got-want) > 1e-6 { // torch draws in float32
				t.Errorf("deviation %v, want %v", got, want)
			}
		default:
			t.Fatalf("unknown kind %q", c.Kind)
		}
		if len(p.next) > 0 {
			t.Errorf("%s of %d×%d: %d of torchvision's random numbers are not drawn", c.Kind, c.Height, c.Width, len(p.next))
		}
	}
	if seen["crop"] != 120 || seen["erase"] != 60 || seen["rand"] != 120 || seen["auto"] != 180 || seen["blur"] != 5 {
		t.Errorf("cases %v", seen)
	}
}
