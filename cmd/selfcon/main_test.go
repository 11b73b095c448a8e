package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"selfcon/checkpoint"
	"selfcon/config"
	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"
	"selfcon/model"
	"selfcon/run"
)

var update = flag.Bool("update", false, "write the docs that tests hold against the program anew")

// call runs the command in-process.
func call(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	cmd := root(&out, &errs)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		errs.WriteString(err.Error())
	}
	return out.String(), errs.String(), exitCode(err)
}

func TestWrongUse(t *testing.T) {
	t.Chdir(t.TempDir())
	empty := t.TempDir()
	notAnImage := filepath.Join(empty, "x.jpg")
	if err := os.WriteFile(notAnImage, []byte("not an image"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string // in the message
	}{
		{"trian", exitUsage, `did you mean "train"?`},
		{"help trian", exitUsage, `unknown command "trian" of selfcon; did you mean "train"?`},
		{"help data shwo", exitUsage, `did you mean "show"?`},
		{"help completion bahs", exitUsage, `did you mean "bash"?`},
		{"help train now", exitUsage, `selfcon train has no command "now"`},
		{"nonsense", exitUsage, "known: bench, compare, completion, config, data, export, finetune, help, import, models, predict, presets, probe, quickstart, runs, train, version"},
		{"train --epoch 3", exitUsage, "did you mean --epochs?"},
		{"train --epochs three", exitUsage, `"three"`},
		{"train", exitUsage, "--data imagefolder:PATH"},
		{"train extra", exitUsage, "train --help"},
		{"train --data sampel", exitUsage, `did you mean "sample"?`},
		{"train --data imagefolder", exitUsage, "needs a path"},
		{"train --data imagefolder:no/such/folder", exitBadData, "no such file or folder"},
		{"train --data imagefolder:" + empty, exitBadData, empty},
		{"train --data sample --method selfcons", exitUsage, `did you mean "selfcon-s"?`},
		{"train --preset small-sampel-ce", exitUsage, `did you mean "small-sample-ce"?`},
		{"train --preset cifar100-resnet18-ce", exitUsage, "needs a path"},
		{"train --preset small-sample-ce --resume " + empty, exitUsage, "leave out --preset"},
		{"train --preset imagenet100-resnet18-supcon --data imagenet:" + empty, exitUsage, "--classes FILE"},
		{"presets imagenet-resnet43-supcon", exitUsage, `did you mean "imagenet-resnet34-supcon"?`},
		{"presets nosuch", exitUsage, "the names are DATA-NETWORK-METHOD"},
		{"presets cifar10-supcon", exitUsage, `did you mean "small-cifar10-supcon", "small-cifar10-supcon-s", "cifar10-resnet18-supcon" or one of 3 others?`},
		{"models --arch resnt18", exitUsage, `did you mean "resnet18"?`},
		{"export --out x.pth runs/a", exitUsage, "--format pth"},
		{"data pack sample", exitUsage, `FILE is missing after "sample"`},
		{"config now", exitUsage, `"now" is no setting: write key=value`},
		{"runs lsit", exitUsage, `did you mean "list"?`},
		{"runs diff a", exitUsage, `RUN is missing after "a"`},
		{"models resnt18", exitUsage, `did you mean "resnet18"?`},
		{"models wrn_17_8", exitUsage, "must be 6n+4"},
		{"models vgg13 --image 8", exitUsage, "vgg13 on images of 8×8"},
		{"models --image 0", exitUsage, "between 1 and 4096"},
		{"models resnet18 --exits 4", exitUsage, "exits after stages 1 to 3"},
		{"models --exits some", exitUsage, "whole number"},
		{"models --sub full", exitUsage, "known: fc, small, same, large"},
		{"train --data sample --arch efficientnet --exits 2", exitUsage, "has one exit"},
		{"train --data sample --dropout 0.5", exitUsage, "resnet18 has none"},
		{"train --data sample --arch resnet81", exitUsage, `did you mean "resnet18"?`},
		{"train --data sample --sub full", exitUsage, "known: fc, small, same"},
		{"train --data sample --stem smal", exitUsage, `did you mean "small"?`},
		{"train --data sample --exits 4", exitUsage, "exits after stages 1 to 3"},
		{"train --data sample --exits 2,1", exitUsage, "ascending"},
		{"train --data sample --exits two", exitUsage, "whole number"},
		{"train --data sample --method supcon --exits 2", exitUsage, "backbone alone"},
		{"train --data sample --method selfcon-s --exits none", exitUsage, "at least one exit"},
		{"train --data sample --alpha 0", exitUsage, "must be positive"},
		{"train --data sample --method supcon --alpha 1", exitUsage, "supcon has none"},
		{"train --data sample --lr 0", exitUsage, "lr: 0 is out of range: must be greater than 0"},
		{"train --data sample --lr NaN", exitUsage, `lr: "NaN" is not a number`},
		{"train --data sample --momentum 1", exitUsage, "less than 1"},
		{"train --data sample --crop-min 1.5", exitUsage, "at most 1"},
		{"train --data sample --batch 1", exitUsage, "batch: 1 is out of range"},
		{"train --data sample --width 100000000000", exitUsage, "at most 4096"},
		{"train --data sample --batch 100000", exitUsage, "more than the 9000 training images"},
		{"train --data sample --schedule step", exitUsage, "--milestones 60,80"},
		{"train --data sample --milestones 60", exitUsage, "--schedule step"},
		{"train --data sample --optimizer adam", exitUsage, `did you mean "adamw"?`},
		{"train --data sample --optimizer lars --nesterov", exitUsage, "--optimizer sgd"},
		{"train --data sample --no-decay bias", exitUsage, "known: none, vectors"},
		{"train --data sample --average 1", exitUsage, "average: 1 is out of range"},
		{"train --data sample --augment stong", exitUsage, `did you mean "strong"?`},
		{"train --data sample --memory leats", exitUsage, `did you mean "least"?`},
		{"train --data sample --threads -1", exitUsage, "threads: -1"},
		{"train --data sample --channels 2", exitUsage, "must be 1 (grey) or 3 (RGB)"},
		{"train --data sample --out " + empty, exitUsage, "not empty"},
		{"train --resume " + empty, exitUsage, "not the folder of a run"},
		{"train --resume x --lr 1", exitUsage, "leave out --lr"},
		{"compare", exitUsage, "--data imagefolder:PATH"},
		{"compare --data sample --methods ce,supconn", exitUsage, `did you mean "supcon"?`},
		{"compare --data sample --method ce", exitUsage, "did you mean --methods?"},
		{"compare --data sample --methods ce,ce", exitUsage, "method ce is there twice"},
		{"compare --data sample --epochs 0", exitUsage, "0 epochs"},
		{"compare --data sample --epochs 3 --seconds 3", exitUsage, "one kind of budget"},
		{"compare --data sample --seeds 0", exitUsage, "--seeds 0"},
		{"compare --data sample --split tset", exitUsage, `did you mean "test"?`},
		{"compare --data sample --label-fraction 1", exitUsage, "less than 1"},
		{"compare --data sample --for ce", exitUsage, "METHOD:FLAG=VALUE"},
		{"compare --data sample --for c:lr=1", exitUsage, "not among the --methods"},
		{"compare --data sample --for ce:l=1", exitUsage, "did you mean --lr?"},
		{"compare --data sample --for ce:seed=1", exitUsage, "can't be that of one method"},
		{"compare --data sample --preset small", exitUsage, `unknown name "small-ce"`},
		{"probe", exitUsage, "probe --help"},
		{"probe --lr 0 " + empty, exitUsage, "--lr: 0 is out of range"},
		{"probe --knn --k 0 " + empty, exitUsage, "--k: 0 is out of range"},
		{"probe --knn --knn-temperature 0 " + empty, exitUsage, "--knn-temperature: 0 is out of range"},
		{"probe --k 5 " + empty, exitUsage, "--k is of the nearest neighbours: give --knn as well"},
		{"probe --knn-temperature 0.5 " + empty, exitUsage, "--knn-temperature is of the nearest neighbours"},
		{"probe --weight-decay -1 " + empty, exitUsage, "--weight-decay: -1 is out of range"},
		{"probe --ensemble-exits backbone " + empty, exitUsage, "--ensemble-exits: backbone alone is no ensemble"},
		{"probe --ensemble-exits= " + empty, exitUsage, "--ensemble-exits: nothing is no ensemble"},
		{"probe --epochs 3 --milestones 3 " + empty, exitUsage, "--milestones: after epoch 3 nothing is left"},
		{"compare --data sample --val-fraction 0 --epochs 1", exitUsage, "no validation images"},
		{"models --exits 9", exitUsage, "none of the networks fits"},
		{"probe --label-fraction 0 " + empty, exitUsage, "label-fraction: 0"},
		{"probe --milestones 3,2 " + empty, exitUsage, "ascending"},
		{"probe " + empty, exitUsage, "not the folder of a run"},
		{"finetune", exitUsage, "finetune --help"},
		{"finetune " + empty, exitUsage, "not the folder of a run"},
		{"predict", exitUsage, "predict --help"},
		{"predict x.jpg", exitUsage, "no probed run under runs/"},
		{"bench", exitUsage, "step"},
		{"bench setp", exitUsage, `did you mean "step"?`},
		{"bench step --steps 0", exitUsage, "at least 1"},
		{"bench step --batch 6 --micro-batch 4", exitUsage, "must be a multiple"},
		{"bench step --explain --micro-batch 4", exitUsage, "leave out --micro-batch"},
		{"bench step --conv fourier", exitUsage, "winograd"},
		{"bench step --memory most", exitUsage, "memory: unknown value"},
		{"bench step --arch vgg", exitUsage, "known: efficientnet, resnet18"},
		{"bench inference --batch 0", exitUsage, "at least 1"},
		{"bench loading", exitUsage, "arg"},
		{"bench loading sample --augment fierce", exitUsage, "strong, weak or none"},
		{"bench loading sample --steps 0", exitUsage, "at least 1"},
		{"bench loading sample --image 0", exitUsage, "at least 1"},
		{"bench inference --conv fourier", exitUsage, "winograd"},
		{"bench inference --arch vgg", exitUsage, "known: efficientnet, resnet18"},
		{"completion", exitUsage, "bash"},
	} {
		_, stderr, code := call(t.Context(), strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("selfcon %s: exit code %d, message %q; want %d and %q", c.args, code, stderr, c.code, c.want)
		}
		if entries, _ := os.ReadDir("."); len(entries) > 0 {
			t.Fatalf("selfcon %s left %v behind", c.args, entries)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"", "train", "compare", "probe", "finetune", "predict", "models", "presets", "quickstart", "bench", "bench step", "bench inference", "version", "completion", "data", "data pack", "runs", "import", "export"} {
		stdout, _, code := call(t.Context(), append(strings.Fields(args), "--help")...)
		if code != exitDone || !strings.Contains(stdout, "Examples:") {
			t.Errorf("selfcon %s --help: exit code %d, no examples in %q", args, code, stdout)
		}
	}
	for _, args := range []string{"help", "help data pack"} {
		stdout, _, code := call(t.Context(), strings.Fields(args)...)
		if code != exitDone || !strings.Contains(stdout, "Usage:") {
			t.Errorf("selfcon %s: exit code %d, %q", args, code, stdout)
		}
	}
	stdout, _, code := call(t.Context(), "completion", "bash")
	if code != exitDone || !strings.Contains(stdout, "complete") {
		t.Errorf("completion bash: exit code %d", code)
	}
	stdout, _, code = call(t.Context(), "__complete", "train", "--method", "self")
	if code != exitDone || !strings.Contains(stdout, "selfcon-s\t") {
		t.Errorf("completing --method self: exit code %d, %q", code, stdout)
	}
	stdout, _, code = call(t.Context(), "version")
	if code != exitDone || !strings.Contains(stdout, "generic") {
		t.Errorf("version: exit code %d, %q", code, stdout)
	}
}

// shapes writes an image folder of two classes that differ by brightness.
func shapes(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for split, n := range map[string]int{"train": 20, "test": 6} {
		for c, class := range []string{"dark", "light"} {
			path := filepath.Join(dir, split, class)
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				im := image.NewRGBA(image.Rect(0, 0, 18, 14))
				for k := range im.Pix {
					im.Pix[k] = uint8(200*c + (i*7+k*k)%50)
				}
				f, err := os.Create(filepath.Join(path, string(rune('a'+i))+".png"))
				if err != nil {
					t.Fatal(err)
				}
				if err := png.Encode(f, im); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return dir
}

// Runs that can't be looked for are not said to be none.
func TestPredictWithoutRuns(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("runs", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := call(t.Context(), "predict", "x.jpg"); code != exitFailed || !strings.Contains(stderr, "runs: can't be read: ") || !strings.Contains(stderr, "--run") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// TestOwnImages goes the whole way on a folder of images: train, probe, predict.
func TestOwnImages(t *testing.T) {
	photos := shapes(t)
	t.Chdir(t.TempDir())
	spec := "imagefolder:" + photos
	stdout, stderr, code := call(t.Context(), "train", "--data", spec, "--width", "4", "--epochs", "30", "--batch", "12", "--lr", "0.02", "--image", "16", "--augment", "weak", "--out", "runs/a")
	if code != exitDone || strings.TrimSpace(stdout) != "runs/a" {
		t.Fatalf("train: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if strings.Contains(stderr, "\x1b") {
		t.Errorf("train writes terminal codes into a pipe: %q", stderr)
	}
	raw, err := os.ReadFile("runs/a/" + run.MetricsFile)
	if err != nil || strings.Count(string(raw), "\n") != 30 {
		t.Errorf("metrics of 30 epochs: %q, %v", raw, err)
	}
	if _, _, code := call(t.Context(), "predict", "--run", "runs/a", filepath.Join(photos, "test/dark/a.png")); code != exitUsage {
		t.Errorf("predict before probe: exit code %d", code)
	}
	stdout, stderr, code = call(t.Context(), "probe", "--json", "runs/a")
	if code != exitDone {
		t.Fatalf("probe: exit code %d, %q", code, stderr)
	}
	var res results
	if err := json.Unmarshal([]byte(stdout), &res); err != nil {
		t.Fatal(err)
	}
	if len(res.Table) != 3 || res.Images != 12 || res.Split != "test" {
		t.Fatalf("probe: %+v, want sub-network, backbone, ensemble on 12 test images", res)
	}
	for _, row := range res.Table {
		if row.Top1 < 0.9 { // the classes differ by brightness alone
			t.Errorf("%s: top-1 %v on classes that any network tells apart", row.Name, row.Top1)
		}
		if len(row.PerClass) != 2 || row.PerClass[0].N != 6 || len(row.Confusion) != 2 {
			t.Errorf("%s: %+v, want 6 images of each of two classes", row.Name, row)
		}
	}
	stdout, stderr, code = call(t.Context(), "probe", "--epochs", "3", "--milestones", "2", "--ensemble", "probabilities", "--ensemble-exits", "backbone,2", "--per-class", "--confusion", "runs/a")
	if code != exitDone || strings.Count(stdout, "dark") != 4 || !strings.Contains(stdout, "ECE") {
		t.Errorf("probe --per-class --confusion: exit code %d, %q, %q", code, stdout, stderr)
	}
	// Few labels: 18 training images a class, a tenth is 2; nothing is saved.
	before, err := os.ReadFile("runs/a/" + run.ProbeFile)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code = call(t.Context(), "probe", "--json", "--knn", "--label-fraction", "0.1", "runs/a")
	var few results
	if err := json.Unmarshal([]byte(stdout), &few); code != exitDone || err != nil {
		t.Fatalf("probe --knn --label-fraction: exit code %d, %q, %v", code, stderr, err)
	}
	if few.Labels != 4 || few.KNN == nil || few.KNN.K != 4 || len(few.KNN.Table) != 3 || few.KNN.Table[1].N != 12 {
		t.Errorf("probe --knn --label-fraction: %+v, want 4 labels and as many neighbours", few)
	}
	if after, err := os.ReadFile("runs/a/" + run.ProbeFile); err != nil || !bytes.Equal(before, after) {
		t.Errorf("probe --label-fraction changed the run's classifiers (%v)", err)
	}
	for _, c := range [][2]string{{"--ensemble=logit", `did you mean "logits"?`}, {"--ensemble-exits=2,3", `no exit "sub-network 3"`}} {
		if _, stderr, code := call(t.Context(), "probe", c[0], "runs/a"); code != exitUsage || !strings.Contains(stderr, c[1]) {
			t.Errorf("probe %s: exit code %d, %q", c[0], code, stderr)
		}
	}
	stdout, stderr, code = call(t.Context(), "predict", "--json", filepath.Join(photos, "test/dark/a.png"), filepath.Join(photos, "test/light/b.png"))
	if code != exitDone {
		t.Fatalf("predict: exit code %d, %q", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	for i, want := range []string{"dark", "light"} {
		var p prediction
		if err := json.Unmarshal([]byte(lines[i]), &p); err != nil {
			t.Fatal(err)
		}
		if len(p.Exits) != 3 || p.Exits[2].Class != want || p.Exits[2].Probability <= 0.5 {
			t.Errorf("predict: %+v, want %s at the ensemble", p, want)
		}
		// As probe was asked last: the mean of the probabilities, not of the logits.
		if mean := (p.Exits[0].Probability + p.Exits[1].Probability) / 2; p.Exits[0].Class != want || p.Exits[1].Class != want || math.Abs(p.Exits[2].Probability-mean) > 1e-6 {
			t.Errorf("predict: %+v, want the mean of the exits' probabilities at the ensemble", p)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.png")
	if err := os.WriteFile(bad, []byte("\x89PNG\r\n\x1a\nrubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ folder, want string }{{"runs/a", "--run runs/a"}, {filepath.Join(photos, "test"), "/*"}} {
		if _, stderr, code := call(t.Context(), "predict", c.folder); code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("predict %s: exit code %d, %q lacks %q", c.folder, code, stderr, c.want)
		}
	}
	if _, stderr, code := call(t.Context(), "predict", bad); code != exitBadData || !strings.Contains(stderr, bad) {
		t.Errorf("predict of a broken image: exit code %d, %q", code, stderr)
	}
	// A bad image among good ones costs no more than itself.
	stdout, stderr, code = call(t.Context(), "predict", "--json", bad, filepath.Join(photos, "test/dark/a.png"))
	if code != exitBadData || !strings.Contains(stderr, bad) || !strings.Contains(stdout, `"class":"dark"`) || strings.Count(stdout, "\n") != 1 {
		t.Errorf("predict of a broken and a good image: exit code %d, %q, %q", code, stdout, stderr)
	}
	// Classifiers trained with the last two stages: the others stay as they were.
	stdout, stderr, code = call(t.Context(), "finetune", "--freeze", "2", "--epochs", "4", "--batch", "12", "runs/a")
	if code != exitDone || !strings.Contains(stdout, "runs/a-tuned\ntest, 12 images\n") {
		t.Fatalf("finetune: exit code %d, %q, %q", code, stdout, stderr)
	}
	tuned, err := run.Open("runs/a-tuned")
	if err != nil || !tuned.Done || tuned.Config.Method != "subnet_ce" || filepath.Base(tuned.From) != "a" {
		t.Errorf("%+v, %v", tuned, err)
	}
	was, is := tensors(t, filepath.Join("runs/a", run.ModelFile)), tensors(t, filepath.Join("runs/a-tuned", run.ModelFile))
	for name, want := range map[string]bool{
		"encoder.conv1.weight": true, "encoder.bn1.running_mean": true, "encoder.layer2.1.bn2.weight": true, "encoder.layer2.1.bn2.running_var": true,
		"encoder.layer3.0.conv1.weight": false, "encoder.layer4.1.bn2.running_mean": false, "encoder.selfcon_layer.1.1.0.conv1.weight": false,
	} {
		if same := slices.Equal(was[name].Float32s(), is[name].Float32s()); same != want {
			t.Errorf("%s after fine-tuning with stages 1 and 2 frozen: equal is %v", name, same)
		}
	}
	// It has not been probed: its own classifiers answer.
	stdout, stderr, code = call(t.Context(), "predict", "--json", "--run", "runs/a-tuned", filepath.Join(photos, "test/dark/a.png"))
	if code != exitDone || strings.Count(stdout, `"class":"dark"`) != 3 {
		t.Errorf("predict by a fine-tuned run: exit code %d, %q, %q", code, stdout, stderr)
	}
	if _, stderr, code := call(t.Context(), "finetune", "--freeze", "5", "runs/a"); code != exitUsage || !strings.Contains(stderr, "freeze: 5: resnet18 has 4 stages") {
		t.Errorf("finetune --freeze 5: exit code %d, %q", code, stderr)
	}
	// What there is to look at, and the runs side by side.
	for _, name := range []string{"report.html", "views.png", "projector_config.pbtxt", "embeddings/points.tsv", "events.out.tfevents.*"} {
		if found, err := filepath.Glob("runs/a-tuned/" + name); err != nil || len(found) != 1 {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	for _, c := range []struct {
		args []string
		want string // a pattern
	}{
		{[]string{"runs", "list"}, `(?s)^run .*runs/a +done +selfcon-s .*runs/a-tuned +done +subnet_ce .* 4/4 .*% ensemble`},
		{[]string{"runs", "list", "--json"}, `"run": "runs/a",\s+"state": "done",\s+"method": "selfcon-s"`},
		{[]string{"runs", "show", "runs/a-tuned"}, `(?s)state +done.*top-1, ensemble +\d.*method +subnet_ce.*freeze +2`},
		{[]string{"runs", "diff", "runs/a", "runs/a-tuned"}, `(?s)method +selfcon-s +subnet_ce.*freeze +0 +2.*state +done +done`},
		{[]string{"runs", "tail", "-f", "-n", "1", "runs/a-tuned"}, `^\d{4}-\d\d-\d\dT\S+ .+\n$`},
		{[]string{"runs", "report", "runs/a"}, `^runs/a.report.html\n$`},
	} {
		stdout, stderr, code := call(t.Context(), c.args...)
		if code != exitDone || !regexp.MustCompile(c.want).MatchString(stdout) {
			t.Errorf("%v: exit code %d, %q, %q", c.args, code, stdout, stderr)
		}
	}
	// Classifiers of another network are refused.
	probeFile := "runs/a/" + run.ProbeFile
	err = checkpoint.WriteTensors(probeFile, checkpoint.File{Tensors: []checkpoint.Named{
		{Name: "0.weight", Tensor: engine.Float32(make([]float32, 6), 2, 3)}, {Name: "0.bias", Tensor: engine.Float32(make([]float32, 2), 2)}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := call(t.Context(), "predict", filepath.Join(photos, "test/dark/a.png")); code != exitFailed || !strings.Contains(stderr, "must be float[2×32]; probe the run again") {
		t.Errorf("predict with classifiers of another network: exit code %d, %q", code, stderr)
	}
	// Data with other classes is refused.
	if err := os.Rename(filepath.Join(photos, "train/dark"), filepath.Join(photos, "train/dusk")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(photos, "test/dark"), filepath.Join(photos, "test/dusk")); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := call(t.Context(), "probe", "runs/a"); code != exitUsage || !strings.Contains(stderr, "dusk") {
		t.Errorf("probe on other classes: exit code %d, %q", code, stderr)
	}
}

// With all images in training there is nothing to judge by: fine-tuning says so,
// and trains.
func TestFinetuneWithoutJudge(t *testing.T) {
	photos := shapes(t)
	if err := os.RemoveAll(filepath.Join(photos, "test")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if _, stderr, code := call(t.Context(), "train", "--data", "imagefolder:"+photos, "--val-fraction", "0", "--width", "1", "--image", "8", "--epochs", "1", "--batch", "12", "--out", "a"); code != exitDone {
		t.Fatal(stderr)
	}
	stdout, stderr, code := call(t.Context(), "finetune", "--epochs", "1", "--batch", "12", "--out", "b", "a")
	if code != exitDone || stdout != "b\n" || !strings.Contains(stderr, "has neither test nor validation images") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if m, err := run.Open("b"); err != nil || !m.Done {
		t.Errorf("%+v, %v", m, err)
	}
	stdout, stderr, code = call(t.Context(), "finetune", "--json", "--epochs", "1", "--batch", "12", "--out", "c", "a")
	var res results
	if err := json.Unmarshal([]byte(stdout), &res); code != exitDone || err != nil || res.Split != "none" || res.Images != 0 {
		t.Errorf("exit code %d, %v, %q, %q", code, err, stdout, stderr)
	}
	if _, stderr, code := call(t.Context(), "probe", "b"); code != exitUsage || !strings.Contains(stderr, "no validation images") {
		t.Errorf("probe: exit code %d, %q", code, stderr)
	}
}

// TestFinetuneFewImages: the default batch becomes as small as few images and the
// micro-batches ask for; one that is given is kept to.
func TestFinetuneFewImages(t *testing.T) {
	photos := shapes(t) // of which 36 are trained on
	t.Chdir(t.TempDir())
	if _, stderr, code := call(t.Context(), "train", "--data", "imagefolder:"+photos, "--width", "1", "--image", "8", "--epochs", "1", "--batch", "12", "--out", "a"); code != exitDone {
		t.Fatal(stderr)
	}
	for _, c := range []struct {
		flags string
		batch int
	}{{"", 36}, {"--micro-batch 8", 32}, {"--sampling balanced --class-images 4", 8}, {"--batch 12", 12}} {
		out := filepath.Join(t.TempDir(), "tuned")
		_, stderr, code := call(t.Context(), slices.Concat([]string{"finetune", "--epochs", "1", "--out", out}, strings.Fields(c.flags), []string{"a"})...)
		if code != exitDone {
			t.Errorf("%s: exit code %d, %q", c.flags, code, stderr)
			continue
		}
		m, err := run.Open(out)
		if err != nil || m.Config.Batch != c.batch {
			t.Errorf("%s: batch %d, want %d (%v)", c.flags, m.Config.Batch, c.batch, err)
		}
		if said := strings.Contains(stderr, fmt.Sprintf("note: batch %d, as there are 36 training images; by default it is 64", c.batch)); said != (c.batch != 12) {
			t.Errorf("%s: %q", c.flags, stderr)
		}
	}
	for _, flag := range []string{"--batch=37", "--micro-batch=64"} {
		if _, stderr, code := call(t.Context(), "finetune", flag, "a"); code != exitUsage || !strings.Contains(stderr, "is more than the 36 training images") {
			t.Errorf("%s: exit code %d, %q", flag, code, stderr)
		}
	}
}

// TestFinetuneImported: an imported network has no data of its own, and is trained
// on what it is given, whatever its classes.
func TestFinetuneImported(t *testing.T) {
	photos := "imagefolder:" + shapes(t)
	t.Chdir(t.TempDir())
	for _, args := range []string{
		"train --data sample --per-class 20 --image 8 --width 2 --epochs 1 --batch 16 --validate-every 0 --out a",
		"export --format safetensors a", "import --out b a-export/model.safetensors",
	} {
		if _, stderr, code := call(t.Context(), strings.Fields(args)...); code != exitDone {
			t.Fatalf("%s: %s", args, stderr)
		}
	}
	args := strings.Fields("finetune --epochs 1 --batch 12 b")
	if _, stderr, code := call(t.Context(), args...); code != exitUsage || !strings.Contains(stderr, "b was imported and has no data yet: name some with --data") {
		t.Errorf("without data: exit code %d, %s", code, stderr)
	}
	if stdout, stderr, code := call(t.Context(), append(args, "--data", photos)...); code != exitDone || !strings.Contains(stdout, "test, ") || strings.Contains(stderr, "warning") {
		t.Errorf("exit code %d, %s, %s", code, stdout, stderr)
	}
	m, err := run.Open("b-tuned")
	if err != nil || len(m.Classes) != 2 || m.Config.Data == "" {
		t.Errorf("%v, classes %v of %s", err, m.Classes, m.Config.Data)
	}
}

// A run whose last update ruins the weights fails, and leaves neither a model nor
// a checkpoint of them.
func TestDivergedAtTheEnd(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, flags := range map[string]string{"validated": "", "not": "--val-fraction 0", "micro": "--micro-batch 8 --val-fraction 0"} {
		args := strings.Fields("train --data sample --width 1 --per-class 4 --batch 32 --epochs 1 --lr 1e38 --warmup-epochs 0 --out " + name + " " + flags)
		_, stderr, code := call(t.Context(), args...)
		if code != exitFailed || !strings.Contains(stderr, "the training has diverged") || !strings.Contains(stderr, "try a smaller learning rate") || strings.Contains(stderr, "--resume") {
			t.Errorf("%s: exit code %d, %q", name, code, stderr)
		}
		if m, err := run.Open(name); err != nil || m.Done {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		for _, file := range []string{run.ModelFile, run.CheckpointsDir} {
			if _, err := os.Stat(filepath.Join(name, file)); !os.IsNotExist(err) {
				t.Errorf("%s: there is %s (%v)", name, file, err)
			}
		}
	}
}

// What a training's diagnosis finds is told on the terminal and in the log, once.
func TestWarnings(t *testing.T) {
	t.Chdir(t.TempDir())
	_, stderr, code := call(t.Context(), strings.Fields("train --data sample --method ce --image 8 --width 1 --per-class 4 --batch 4 --epochs 102 --validate-every 0 --lr 1e-12 --warmup-epochs 0 --out a")...)
	log, err := os.ReadFile("a/" + run.LogFile)
	const want = "nothing is learnt; try"
	if code != exitDone || err != nil || strings.Count(stderr, want) != 1 || strings.Count(string(log), want) != 1 {
		t.Errorf("exit code %d, %v, %q\n%s", code, err, stderr, log)
	}
	// A moving average over more steps than there are.
	_, stderr, code = call(t.Context(), strings.Fields("train --data sample --method ce --image 8 --width 1 --per-class 4 --batch 4 --epochs 20 --validate-every 0 --average 0.999 --out b")...)
	if code != exitDone || !strings.Contains(stderr, "after the 200 steps of this run 82 % of the average") || !strings.Contains(stderr, "try 0.99 or less") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// TestInterrupt: a signal saves, says how to go on, and going on works.
func TestInterrupt(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	photos := shapes(t)
	_, stderr, code := call(ctx, "train", "--data", "imagefolder:"+photos, "--width", "2", "--epochs", "2", "--batch", "16", "--lr", "0.01", "--out", "runs/b")
	if code != exitInterrupted || !strings.Contains(stderr, "selfcon train --resume runs/b") {
		t.Fatalf("interrupted: exit code %d, %q", code, stderr)
	}
	// Images that have moved are the same, wherever they are; the run can be gone
	// on with at once.
	gone := photos
	photos += "-moved"
	if err := os.Rename(gone, photos); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code = call(t.Context(), "train", "--resume", "runs/b"); code != exitBadData || !strings.Contains(stderr, "no such file or folder; if the data have moved") {
		t.Errorf("resume on images that have moved: exit code %d, %q", code, stderr)
	}
	if _, stderr, code = call(t.Context(), "train", "--resume", "runs/b", "--data", "sample"); code != exitBadData || !strings.Contains(stderr, "Say where that lies, or begin anew") {
		t.Errorf("resume on other data: exit code %d, %q", code, stderr)
	}
	if _, stderr, code = call(ctx, "train", "--resume", "runs/b", "--data", "imagefolder:"+photos); code != exitInterrupted || !strings.Contains(stderr, "no longer at imagefolder:"+gone) {
		t.Errorf("resume on images that have moved, named: exit code %d, %q", code, stderr)
	}
	// Other images than the run began with are refused.
	light := filepath.Join(photos, "train/light")
	away := filepath.Join(t.TempDir(), "a.png")
	if err := os.Rename(filepath.Join(light, "a.png"), away); err != nil {
		t.Fatal(err)
	}
	_, stderr, code = call(t.Context(), "train", "--resume", "runs/b")
	if code != exitBadData || !strings.Contains(stderr, "39 train images, not 40") {
		t.Errorf("resume on fewer images: exit code %d, %q", code, stderr)
	}
	if err := os.Rename(away, filepath.Join(light, "a.png")); err != nil {
		t.Fatal(err)
	}
	// A broken image stops the run, but what was learnt is saved.
	whole := map[string][]byte{}
	for c := 'b'; c < 'a'+20; c++ { // all but the first, which opening the data looks at
		path := filepath.Join(light, string(c)+".png")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole[path] = raw
		if err := os.WriteFile(path, raw[:len(raw)/2], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr, code = call(t.Context(), "train", "--resume", "runs/b")
	if code != exitBadData || !strings.Contains(stderr, "bytes of train images, not") || !strings.Contains(stderr, "--accept-data") {
		t.Errorf("resume on other images: exit code %d, %q", code, stderr)
	}
	_, stderr, code = call(t.Context(), "train", "--resume", "runs/b", "--accept-data")
	if code != exitBadData || !strings.Contains(stderr, "damaged") || !strings.Contains(stderr, "go on with: selfcon train --resume runs/b") || !strings.Contains(stderr, "listed by: selfcon data check imagefolder:"+photos) {
		t.Errorf("resume on broken images: exit code %d, %q", code, stderr)
	}
	for path, raw := range whole {
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr, code = call(t.Context(), "train", "--resume", "runs/b", "--accept-data", "--threads", "1", "--memory", "least")
	if code != exitDone {
		t.Fatalf("resume: exit code %d, %q", code, stderr)
	}
	// All parts together took two steps of 16 images in each of two epochs.
	m, err := run.Open("runs/b")
	if err != nil || m.Cost.Steps != 4 || m.Cost.Seconds <= 0 || m.Cost.Peak < 1e6 {
		t.Errorf("cost %+v (%v)", m.Cost, err)
	}
	if _, stderr, code := call(t.Context(), "train", "--resume", "runs/b"); code != exitUsage || !strings.Contains(stderr, "nothing to resume") {
		t.Errorf("resume of a run that is done: exit code %d, %q", code, stderr)
	}
}

// TestModels holds the listing to published figures: torchvision gives ResNet-50
// 25,557,032 parameters with a classifier of 2,049,000, and 4.09 G
// multiply-accumulates with one of 2.05 M.
func TestModels(t *testing.T) {
	stdout, stderr, code := call(t.Context(), "models", "resnet50", "--image", "224", "--exits", "all", "--json")
	if code != exitDone {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var list []modelInfo
	if err := json.Unmarshal([]byte(stdout), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || len(list[0].Exits) != 4 {
		t.Fatalf("%+v", list)
	}
	m := list[0]
	last := m.Exits[3]
	if m.Stem != "large" || m.Positions != 3 || m.Dim != 2048 || last.Exit != "backbone" || last.Parameters != 25_557_032-2_049_000 {
		t.Errorf("%+v", m)
	}
	if g := float64(last.MACs) / 1e9; g < 4.08 || g > 4.10 {
		t.Errorf("%.3f G multiply-accumulates, want 4.09", g)
	}
	// Images of 112×112×64 floats live beside those that pooling makes of them.
	if least := 4 * 112 * 112 * 64; last.Memory < least || last.Memory > 3*least || m.Training < 5*least {
		t.Errorf("%d bytes an image, %d in training; the largest layer takes %d", last.Memory, m.Training, least)
	}
	for i, x := range m.Exits[:3] {
		if next := m.Exits[i+1]; x.Parameters >= next.Parameters || x.MACs >= next.MACs {
			t.Errorf("%+v costs no less than %+v", x, next)
		}
	}

	// The sub-networks are those that train makes by default.
	stdout, _, _ = call(t.Context(), "models", "--arch", "resnet18", "--width", "4", "--json")
	if want := string(config.Default().Model.Sub); !strings.Contains(stdout, `"sub":"`+want+`"`) {
		t.Errorf("no sub-network %s in %s", want, stdout)
	}

	// All of them; those that need larger images say so.
	stdout, stderr, code = call(t.Context(), "models", "--image", "8", "--width", "4")
	for _, want := range append(model.Archs(), "sub-network 1", "backbone", "does not fit", "too small") {
		if code != exitDone || !strings.Contains(stdout, want) {
			t.Fatalf("exit code %d, no %q in:\n%s%s", code, want, stdout, stderr)
		}
	}
}

// With exits that a network does not have the others are listed all the same.
func TestModelsExits(t *testing.T) {
	stdout, stderr, code := call(t.Context(), "models", "--width", "4", "--exits", "2")
	for _, want := range append(model.Archs(), "does not fit", "efficientnet has one exit, after stage 1") {
		if code != exitDone || !strings.Contains(stdout, want) || strings.Count(stdout, "sub-network 2") != len(model.Archs())-1 {
			t.Fatalf("exit code %d, no %q in:\n%s%s", code, want, stdout, stderr)
		}
	}
}

func TestBenchStep(t *testing.T) {
	stdout, stderr, code := call(t.Context(), "bench", "step", "--width", "2", "--image", "8", "--batch", "4", "--steps", "2", "--threads", "2", "--memory", "least", "--explain", "--json")
	if code != exitDone || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"arch", "method", "batch", "image", "steps", "threads", "precision", "device", "engine", "first_step_s", "step_s", "step_s_median", "images_per_s", "peak_bytes", "arena_bytes", "arena_bytes_kept"} {
		if got[key] == nil {
			t.Errorf("no %q in %s", key, stdout)
		}
	}
	for _, want := range []string{"balance: ", "memory: arena "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in %s", want, stderr)
		}
	}
}

func TestBenchLoading(t *testing.T) {
	procs := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(procs)
	spec := "imagefolder:" + shapes(t)
	stdout, stderr, code := call(t.Context(), "bench", "loading", spec, "--image", "8", "--views", "2", "--steps", "2", "--workers", "1", "--json")
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); code != exitDone || err != nil {
		t.Fatalf("exit code %d, %q, %q, %v", code, stdout, stderr, err)
	}
	for _, key := range []string{"step_s", "step_s_median", "images_per_s", "peak_bytes"} {
		if v, ok := got[key].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v in %s", key, got[key], stdout)
		}
	}
	if stdout, _, code := call(t.Context(), "bench", "loading", spec, "--image", "8", "--augment", "none", "--steps", "1"); code != exitDone || !strings.Contains(stdout, "images/s") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

func TestBenchInference(t *testing.T) {
	dir := t.TempDir()
	weights, sample := filepath.Join(dir, "w.safetensors"), filepath.Join(dir, "s.safetensors")
	stdout, stderr, code := call(t.Context(), "bench", "inference", "--width", "2", "--image", "8", "--batch", "3", "--steps", "2", "--threads", "2", "--explain", "--json", "--weights", weights, "--sample", sample)
	if code != exitDone || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, "memory: arena ") {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"arch", "batch", "image", "width", "steps", "threads", "engine", "first_step_s", "step_s", "step_s_median", "images_per_s", "peak_bytes", "arena_bytes"} {
		if got[key] == nil {
			t.Errorf("no %q in %s", key, stdout)
		}
	}
	w, err := checkpoint.ReadTensors(weights)
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.ReadTensors(sample)
	if err != nil {
		t.Fatal(err)
	}
	// The definition computes the same features from the two files.
	net, err := model.New(model.Config{Arch: "resnet18", Width: 2, ImageHeight: 8, ImageWidth: 8, ImageChannels: 3})
	if err != nil {
		t.Fatal(err)
	}
	g := graph.New()
	g.Output("features", net.Encode(g, g.Input("images", graph.Float, 3, 8, 8, 3), false)[0])
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	e := oracle.New()
	defer e.Close()
	x, err := e.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.Restore(e, p.Variables, w); err != nil {
		t.Fatal(err)
	}
	tensors := map[string]engine.Tensor{}
	for _, n := range s.Tensors {
		tensors[n.Name] = n.Tensor
	}
	out, err := x.Run(map[string]engine.Tensor{"images": tensors["images"]})
	if err != nil {
		t.Fatal(err)
	}
	want, features := out["features"].Float64s(), tensors["features"].Float64s()
	if len(features) != len(want) {
		t.Fatalf("%d features, want %d", len(features), len(want))
	}
	for i, v := range want {
		// 20 layers of float32 on features of about 1.
		if math.Abs(features[i]-v) > 1e-5 {
			t.Fatalf("feature %d is %g, want %g", i, features[i], v)
		}
	}
}
