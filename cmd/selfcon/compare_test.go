package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"selfcon/checkpoint"
	"selfcon/compare"
	"selfcon/run"
)

// asCommand in the environment makes the test binary the command: compare starts
// itself.
const asCommand = "SELFCON_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main() // exits
	}
	code := m.Run()
	for _, f := range atEnd {
		f()
	}
	os.Exit(code)
}

// atEnd is done after all tests.
var atEnd []func()

// stopAt ends a context when a text is written for the first time.
type stopAt struct {
	said bytes.Buffer
	text string
	stop func()
}

func (s *stopAt) Write(p []byte) (int, error) {
	n, err := s.said.Write(p)
	if strings.Contains(s.said.String(), s.text) {
		s.stop()
	}
	return n, err
}

// TestCompare compares two methods, is stopped in the second training, goes on,
// and gives the same again without training.
func TestCompare(t *testing.T) {
	t.Setenv(asCommand, "1")
	t.Chdir(t.TempDir())
	// The peak memory of a training is not that of the process which started it.
	ballast := bytes.Repeat([]byte{1}, 200e6)
	args := strings.Fields("compare --data sample --methods ce,selfcon-s --width 1 --per-class 8 --batch 16 --lr 0.02 --exits 2 --epochs 40 --seeds 2 --label-fraction 0.5 --for ce:augment=weak --out c")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := &stopAt{text: "selfcon-s-40ep-s1: selfcon-s on 80 images", stop: cancel}
	cmd := root(new(bytes.Buffer), stderr)
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(ctx); exitCode(err) != exitInterrupted || !strings.Contains(err.Error(), "goes on") {
		t.Fatalf("stopped: %v, %s", err, &stderr.said)
	}
	first, second := filepath.Join("c", "ce-40ep-s1"), filepath.Join("c", "selfcon-s-40ep-s1")
	if m, err := run.Open(first); err != nil || !m.Done || m.Config.Augment != "weak" || m.Config.Model.Exits != nil {
		t.Errorf("%s: %+v, %v", first, m, err)
	}
	if m, err := run.Open(second); err != nil || m.Done || m.Cost.Steps == 40*5 {
		t.Errorf("%s: %+v, %v", second, m, err)
	}
	before, err := os.Stat(filepath.Join(first, run.ModelFile))
	if err != nil {
		t.Fatal(err)
	}

	text, log, code := call(t.Context(), args...)
	if code != exitDone || !strings.Contains(log, "2 of 4: selfcon-s-40ep-s1, resumed") || strings.Contains(log, "1 of 4") || strings.Contains(log, "next: ") {
		t.Fatalf("going on: exit code %d, %s", code, log)
	}
	after, err := os.Stat(filepath.Join(first, run.ModelFile))
	if err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("a training that was done was repeated (%v)", err)
	}
	m, err := run.Open(second)
	if err != nil || !m.Done || m.Cost.Steps != 40*5 || m.Cost.Peak < 1e6 || runtime.GOOS == "linux" && m.Cost.Peak > int64(len(ballast)) || m.Cost.Seconds <= 0 || m.Config.Augment != "strong" {
		t.Errorf("%s: %+v, %v", second, m, err)
	}
	var report compare.Report
	if err := checkpoint.ReadJSON(filepath.Join("c", reportFile), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Outcomes) != 4 || report.Missing != 0 || len(report.Rows) != 2 || len(report.Rows[1].Seeds) != 2 || report.Images != 2000 {
		t.Errorf("%+v", report)
	}
	for _, o := range report.Outcomes {
		for _, j := range o.Judged {
			for _, row := range j.Table {
				if row.N != 2000 || row.Top1 < 0.05 || row.Top1 > 0.95 {
					t.Errorf("%s, %s: %+v", o.Name(), j.By, row)
				}
			}
		}
	}
	// The classifiers that a method trains, and the means of both seeds.
	ce := report.Rows[0]
	if len(ce.Judged) != 4 || ce.Judged[1].By != "classifiers trained with the network" || ce.Judged[3].By != "linear probe with 40 labels" {
		t.Errorf("%+v", ce.Judged)
	}
	seeds := ce.Judged[0].Exits[0].Top1
	if len(seeds.Values) != 2 || seeds.Values[0] == seeds.Values[1] || seeds.Mean != (seeds.Values[0]+seeds.Values[1])/2 {
		t.Errorf("%+v", seeds)
	}

	again, log, code := call(t.Context(), append(args, "--json")...)
	var same compare.Report
	if err := json.Unmarshal([]byte(again), &same); code != exitDone || err != nil || same.String() != text || strings.Contains(log, " of 4") {
		t.Errorf("again: exit code %d, %v, %s\n%s\nnot\n%s", code, err, log, same.String(), text)
	}
	// Other settings do not mix with what is there.
	if _, log, code := call(t.Context(), append(args, "--temperature", "0.2")...); code != exitUsage || !strings.Contains(log, "another --out") {
		t.Errorf("other settings: exit code %d, %s", code, log)
	}
	runtime.KeepAlive(ballast)
	// The trainings report as the comparison does.
	small := strings.Fields("compare --data sample --methods ce --width 1 --image 8 --per-class 8 --batch 16 --epochs 3 --seeds 1 --out")
	if _, log, code := call(t.Context(), append(small, "quiet", "--quiet")...); code != exitDone || log != "" {
		t.Errorf("--quiet: exit code %d, %q", code, log)
	}
	_, log, code = call(t.Context(), append(small, "json", "--log-format", "json")...)
	if code != exitDone || !strings.Contains(log, `"event":"epoch"`) {
		t.Errorf("--log-format json: exit code %d, %s", code, log)
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("--log-format json: %s", line)
		}
	}
	// A training that can't be is told by its process.
	if _, log, code := call(t.Context(), append(args, "--out", "d", "--for", "ce:threads=1025")...); code != exitUsage || !strings.Contains(log, "threads: 1025") {
		t.Errorf("wrong setting: exit code %d, %s", code, log)
	}
}

// TestCompareSeconds: the epochs that fit into a time are measured once.
func TestCompareSeconds(t *testing.T) {
	t.Setenv(asCommand, "1")
	t.Chdir(t.TempDir())
	args := strings.Fields("compare --data sample --methods supcon-s --width 1 --per-class 8 --batch 16 --seconds 1 --seeds 1 --split validation")
	text, log, code := call(t.Context(), args...)
	if code != exitDone || !strings.Contains(log, "1 s are") || !strings.Contains(text, "of the validation split") {
		t.Fatalf("exit code %d, %s, %s", code, text, log)
	}
	var report compare.Report
	if err := checkpoint.ReadJSON("compare/sample/compare.json", &report); err != nil {
		t.Fatal(err)
	}
	off := report.Outcomes[0].OffBudget() // as the machine pleases
	if !strings.Contains(log, "its budget of 1 s") || strings.Contains(log, "warning: supcon-s-1s-s1 took") != off || strings.Contains(text, "Off their budget") != off || !strings.Contains(text, "budget") || !strings.Contains(text, " 1s ") {
		t.Errorf("off its budget: %t, but %s, %s", off, log, text)
	}
	m, err := run.Open("compare/sample/supcon-s-1s-s1")
	if err != nil || m.Config.Epochs < 2 {
		t.Errorf("%+v, %v", m, err)
	}
	again, log, code := call(t.Context(), args...)
	if code != exitDone || strings.Contains(log, "1 s are") || strings.Contains(log, "took") || again != text {
		t.Errorf("again: exit code %d, %s, %s", code, again, log)
	}
	// A warm-up that is too long for the epochs that fit is found before anything
	// is trained, and can be mended in the same folder.
	args = append(args, "--out", "w", "--warmup-epochs")
	_, log, code = call(t.Context(), append(args, "100000")...)
	if _, err := os.Stat("w/" + planFile); code != exitUsage || !strings.Contains(log, "supcon-s within a budget of 1s: --warmup-epochs: 100000: must be at most half of the ") || err == nil {
		t.Errorf("a long warm-up: exit code %d, %s, %v", code, log, err)
	}
	if _, log, code := call(t.Context(), append(args, "0")...); code != exitDone {
		t.Errorf("a warm-up that fits: exit code %d, %s", code, log)
	}
}

// TestCompareTimings: of a comparison that is interrupted while methods are timed,
// those that were are not timed again.
func TestCompareTimings(t *testing.T) {
	if testing.Short() {
		t.Skip("times trainings")
	}
	t.Chdir(t.TempDir())
	args := strings.Fields("compare --data sample --width 1 --image 8 --per-class 8 --batch 16 --seconds 1 --seeds 1 --methods")
	interrupt := func(methods, after string) string {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		log := &stopAt{text: after, stop: cancel}
		cmd := root(io.Discard, log)
		cmd.SetArgs(append(args, methods))
		if err := cmd.ExecuteContext(ctx); !errors.As(err, new(interrupted)) {
			t.Fatalf("%v, %s", err, &log.said)
		}
		return log.said.String()
	}
	if log := interrupt("ce,supcon-s", "ce: a step takes"); strings.Contains(log, "supcon-s: a step takes") {
		t.Fatalf("not interrupted in time: %s", log)
	}
	if log := interrupt("ce,supcon-s,simclr", "supcon-s: a step takes"); strings.Contains(log, "ce: a step takes") {
		t.Errorf("timed again: %s", log)
	}
}

// TestCompareHelp: what each method has of its own is not said to be that of all.
func TestCompareHelp(t *testing.T) {
	help, _, _ := call(t.Context(), "compare", "--help")
	for line := range strings.Lines(help) {
		for _, flag := range []string{"--lr ", "--optimizer ", "--weight-decay "} {
			if strings.HasPrefix(strings.TrimSpace(line), flag) && (strings.Count(line, "(default") != 1 || !strings.Contains(line, "(default for ")) {
				t.Error(line)
			}
		}
	}
}
