package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"selfcon/config"
	"selfcon/model"
)

// What runs show tells: where the weights come from, and no setting that is as
// published; a folder's name that needs quotes has them in what to do next.
func TestShow(t *testing.T) {
	t.Chdir(t.TempDir())
	const args = "train --data sample --image 8 --width 1 --per-class 4 --batch 16 --epochs 1 --lr 0.01 "
	if _, log, code := call(t.Context(), strings.Fields(args+"--out a")...); code != exitDone {
		t.Fatal(log)
	}
	const name = "b 6 ünï"
	_, log, code := call(t.Context(), append(strings.Fields(args+"--dropout 0 --init a --out"), name)...)
	if code != exitDone || !strings.Contains(log, "next: selfcon probe '"+name+"'\n") {
		t.Fatal(log)
	}
	for dir, want := range map[string]int{".": 2, "a": 1} { // the runs in a folder, or the one that it is
		if text, _, code := call(t.Context(), "runs", "list", dir); code != exitDone || strings.Count(text, "\n") != 1+want {
			t.Errorf("runs list %s: exit code %d, %q", dir, code, text)
		}
	}
	if _, log, code := call(t.Context(), "import", name); code != exitUsage || !strings.Contains(log, "is a run's, to be used as it is") || !strings.Contains(log, "selfcon export '"+name+"'") {
		t.Errorf("import of a run's folder: exit code %d, %q", code, log)
	}
	if _, log, code := call(t.Context(), "predict", "--run", name, filepath.Join(name, "views.png")); code != exitUsage || !strings.HasSuffix(log, "first: selfcon probe '"+name+"'") {
		t.Errorf("predict with a run that was not probed: exit code %d, %q", code, log)
	}
	text, _, code := call(t.Context(), "runs", "show", name)
	if code != exitDone || strings.Contains(text, "dropout") || strings.Contains(text, "drop_connect") {
		t.Error(text)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, say := range [][]string{{"runs", "show", name}, {"runs", "diff", "a", name}} {
		if text, _, _ := call(t.Context(), say...); !strings.Contains(text, "began with the weights in") || !strings.Contains(text, here) {
			t.Errorf("%v: %s", say, text)
		}
	}
	half := 0.5
	for arch, dropout := range map[string]*float64{"wrn_16_8": nil, "efficientnet": nil, "vgg16_bn": &half} {
		net, err := model.New(model.Config{Arch: arch, Width: 64, ImageHeight: 32, ImageWidth: 32, ImageChannels: 3, Dropout: dropout})
		if err != nil {
			t.Fatal(err)
		}
		if c := asPublished(net.Config); c.Dropout != nil || c.DropConnect != nil {
			t.Errorf("%s: %v, %v", arch, c.Dropout, c.DropConnect)
		}
	}
	none := 0.0
	net, err := model.New(model.Config{Arch: "wrn_16_8", Width: 64, ImageHeight: 32, ImageWidth: 32, ImageChannels: 3, Dropout: &none})
	if err != nil {
		t.Fatal(err)
	}
	r := config.Run{Model: asPublished(net.Config)}
	if got := config.FindSetting("dropout").Text(&r); got != "0" {
		t.Errorf("dropout %q, which is not wrn_16_8's own", got)
	}
}
