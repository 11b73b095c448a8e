package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"selfcon/train"
)

// screen is what a terminal of so many columns shows of what is written to it.
// Writing past the last column is an error: the line would wrap.
type screen struct {
	columns int
	lines   [][]byte
	at      int
	wrapped bool
}

func (s *screen) Write(p []byte) (int, error) {
	if s.lines == nil {
		s.lines = [][]byte{nil}
	}
	for _, c := range p {
		last := &s.lines[len(s.lines)-1]
		switch c {
		case '\r':
			s.at = 0
		case '\n':
			s.lines, s.at = append(s.lines, nil), 0
		default:
			for len(*last) <= s.at {
				*last = append(*last, ' ')
			}
			(*last)[s.at] = c
			s.at++
			s.wrapped = s.wrapped || s.at >= s.columns
		}
	}
	return len(p), nil
}

func (s *screen) shown() []string {
	var out []string
	for _, l := range s.lines {
		out = append(out, strings.TrimRight(string(l), " "))
	}
	return out
}

func progress(epoch, batch int, elapsed, waited time.Duration) train.Progress {
	p := train.Progress{Place: train.Place{Epoch: epoch, Batch: batch}, Epochs: 2, Batches: 4, Loss: 3, MeanLoss: 3.5, Rate: 0.05, Elapsed: elapsed, Waited: waited}
	p.Steps = epoch*4 + batch
	p.EpochDone = batch == 0
	p.Images = p.Steps * 64
	return p
}

// The bar stays on one line of any terminal and leaves nothing behind.
func TestBar(t *testing.T) {
	for columns := 2; columns < 140; columns++ {
		s := &screen{columns: columns}
		b := &bar{out: s, width: func() int { return columns }}
		r := &reporter{out: s, bar: b}
		for i := 1; i <= 8; i++ {
			b.drawn = time.Time{}
			r.training(progress(i/4, i%4, time.Duration(i)*time.Second, 0))
		}
		if s.wrapped {
			t.Errorf("on %d columns the line wraps: %q", columns, s.shown())
		}
		last := s.shown()[0]
		if columns > 30 && !strings.Contains(last, "100%") || columns > 60 && !strings.Contains(last, "epoch 2/2  0s left") || columns == 139 && !strings.Contains(last, "[##############################]  epoch") {
			t.Errorf("on %d columns: %q", columns, last)
		}
		r.sayf("x")
		r.phase("y")(1, 2)
		r.end()
		if got := s.shown(); s.wrapped || len(got) != 2 || got[0] != "x" || got[1] != "" || s.at != 0 {
			t.Errorf("on %d columns the bar leaves %q", columns, got)
		}
	}
}

// In a pipe there are lines, not too many.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	r := &reporter{out: &out, said: time.Now()}
	for epoch := range 100 {
		p := progress(epoch+1, 0, time.Duration(epoch+1)*time.Second, time.Duration(epoch+1)*time.Second/4)
		p.Epochs = 100
		r.training(p)
	}
	r.warnf("careful")
	want := "epoch 1/100  1m39s left  loss 3.5000  256 images/s  25% waiting for data  lr 0.05\n" +
		"epoch 100/100  0s left  loss 3.5000  256 images/s  25% waiting for data  lr 0.05\n" +
		"warning: careful\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	p, top1 := progress(1, 0, time.Second, 0), 0.625
	p.Top1 = &top1
	r = &reporter{out: &out}
	r.training(p)
	if want := "loss 3.5000  train top-1 62.5 %  256 images/s"; !strings.Contains(out.String(), want) {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	r := &reporter{out: &out, quiet: true}
	r.sayf("hello")
	r.notef("by the way")
	r.training(progress(1, 0, time.Second, 0))
	r.phase("x")(1, 1)
	r.warnf("careful")
	r.fail(errors.New("broken"), 1)
	if want := "warning: careful\nselfcon: broken\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// Every line of the JSON is an object with a time, a level and an event.
func TestJSONLog(t *testing.T) {
	var out bytes.Buffer
	r := &reporter{out: &out, log: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: jsonNames}))}
	r.sayf("hello %q", "x")
	r.tell("train", "", "run", "runs/a")
	r.said = time.Now().Add(-silence) // or the step would not be told
	r.training(progress(0, 1, time.Second, time.Second/2))
	r.training(progress(1, 0, 4*time.Second, time.Second))
	r.phase("pack")(3, 3)
	r.warnf("careful")
	r.fail(errors.New("broken"), 3)
	var got []string
	for line := bufio.NewScanner(&out); line.Scan(); {
		var o map[string]any
		if err := json.Unmarshal(line.Bytes(), &o); err != nil {
			t.Fatalf("%q: %v", line.Text(), err)
		}
		if at, err := time.Parse(time.RFC3339, fmt.Sprint(o["time"])); err != nil || time.Since(at) > time.Minute {
			t.Errorf("time %v", o["time"])
		}
		delete(o, "time")
		text, err := json.Marshal(o) // names in order
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	want := []string{
		`{"event":"message","level":"info","message":"hello \"x\""}`,
		`{"event":"train","level":"info","run":"runs/a"}`,
		`{"data_wait":0.5,"epoch":1,"epochs":2,"event":"step","images_per_s":64,"level":"info","loss":3.5,"lr":0.05,"seconds_left":7,"step":1,"steps":8}`,
		`{"data_wait":0.25,"epoch":1,"epochs":2,"event":"epoch","images_per_s":64,"level":"info","loss":3.5,"lr":0.05,"seconds_left":4,"step":4,"steps":8}`,
		`{"done":3,"event":"progress","level":"info","phase":"pack","total":3}`,
		`{"event":"warning","level":"warning","message":"careful"}`,
		`{"event":"error","exit_code":3,"level":"error","message":"broken"}`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The pace is that of the last seconds.
func TestPace(t *testing.T) {
	var p pace
	var got speed
	for i := 1; i <= 100; i++ { // 100 images/s, always waiting; then 400, never
		at := time.Duration(i) * time.Second
		images, waited := 100*float64(i), at
		if i > 60 {
			images, waited = 6000+400*float64(i-60), time.Minute
		}
		got = p.step(train.Progress{Images: int(images), Elapsed: at, Waited: waited})
		if i == 60 && (got.images < 99 || got.images > 101 || got.wait != 1) {
			t.Errorf("while loading is slow: %+v", got)
		}
	}
	if got.images < 399 || got.images > 401 || got.wait != 0 {
		t.Errorf("while the network is slow: %+v, want 400 images/s without waiting", got)
	}
	if got := p.step(train.Progress{Images: 10, Elapsed: time.Second}); got.images != 10 {
		t.Errorf("a new training: %+v", got)
	}
}

func TestLogFlags(t *testing.T) {
	if _, stderr, code := call(t.Context(), "version", "--log-format", "xml"); code != exitUsage || !strings.Contains(stderr, `"xml"`) {
		t.Errorf("--log-format xml: exit code %d, %q", code, stderr)
	}
	if out, _, code := call(t.Context(), "--quiet", "version"); code != exitDone || out == "" {
		t.Errorf("--quiet version: exit code %d, %q", code, out)
	}
	cmd := root(io.Discard, io.Discard)
	cmd.SetArgs([]string{"version", "--log-format=json"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if newReporter(cmd).log == nil {
		t.Error("main does not see --log-format, so the last error would not be JSON")
	}
}
