package shell

import (
	"os/exec"
	"testing"
)

func TestQuote(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	for _, word := range []string{"runs/a", "", "b 6 ünï", "it's", `a"b\c`, "$HOME", "`ls`", "*", "~", "a\nb", "-x", "é", "a;b&c|d"} {
		out, err := exec.Command(sh, "-c", "printf %s "+Quote(word)).CombinedOutput()
		if word == "-x" { // an option of printf
			continue
		}
		if err != nil || string(out) != word {
			t.Errorf("%s: %q, want %q (%v)", Quote(word), out, word, err)
		}
	}
	if q := Quote("runs/photos-selfcon-s"); q != "runs/photos-selfcon-s" {
		t.Errorf("%s is quoted in vain", q)
	}
}

func TestCommand(t *testing.T) {
	if c := Command([]string{"selfcon", "train", "--data=imagefolder:my photos"}); c != "selfcon train '--data=imagefolder:my photos'" {
		t.Error(c)
	}
}
