package suggest

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"selfcon-s", "selfcon-m", "supcon", "supcon-s", "simclr", "ce"}
	for _, c := range []struct {
		word, want string
		ok         bool
	}{
		{"selfcons", "selfcon-s", true},
		{"SupCon", "supcon", true},
		{"simlcr", "simclr", true}, // a swap is one mistake
		{"supconn", "supcon", true},
		{"resnet", "", false},
		{"", "", false},
	} {
		got, ok := Nearest(c.word, known)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("Nearest(%q) = %q, %v; want %q, %v", c.word, got, ok, c.want, c.ok)
		}
	}
}
