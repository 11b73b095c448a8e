package tensorboard

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The checksum of a known text (RFC 3720, B.4: 32 zero bytes give 8a9136aa) and
// its mask.
func TestChecksum(t *testing.T) {
	const zeros = 0x8a9136aa
	mask := uint32(zeros)
	mask = (mask>>15 | mask<<17) + 0xa282ead8
	if got := masked(make([]byte, 32)); got != mask {
		t.Errorf("masked checksum %#x, want %#x", got, mask)
	}
}

// Every kind of event is what TensorBoard's own messages and writer make of it, to
// the byte (testdata/record.py).
func TestRecordedEvents(t *testing.T) {
	var b bytes.Buffer
	for _, e := range []message{
		event(1.5, 0, eventFileVersion, []byte("brain.Event:2")),
		event(1.5, 3, eventSessionLog, sessionStart()),
		event(1.5, 300, eventSummary, summary(scalarValue("a", 0.5))),
		event(1.5, 1, eventSummary, summary(imageValue("im", image.Pt(200, 3), []byte("png")))),
		event(1.5, 0, eventSummary, summary(textValue("run", "# hello"))),
		event(1.5, 0, eventSummary, summary(settingsValue(map[string]any{"method": "selfcon-s", "lr": 0.1, "flip": true, "other": []int{1}}, 1.5))),
	} {
		record(&b, e)
	}
	want, err := os.ReadFile("testdata/python.tfevents")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("wrote\n%q, the Python writer\n%q", b.Bytes(), want)
	}
}

// memory is a file that can run out of space.
type memory struct {
	text []byte
	room int
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	n := min(len(p), max(m.room-int(at), 0))
	m.text = append(m.text[:at], p[:n]...)
	if n < len(p) {
		return n, fmt.Errorf("no space left on device")
	}
	return n, nil
}
func (m *memory) Truncate(n int64) error { m.text = m.text[:n]; return nil }
func (m *memory) Close() error           { return nil }

// steps reads the steps of a file's events, checking its frames.
func steps(t *testing.T, text []byte) (out []uint64) {
	t.Helper()
	for len(text) > 0 {
		if len(text) < 16 {
			t.Fatalf("%d bytes are left over", len(text))
		}
		n := binary.LittleEndian.Uint64(text)
		if binary.LittleEndian.Uint32(text[8:]) != masked(text[:8]) || uint64(len(text)) < n+16 {
			t.Fatalf("a record's head is damaged")
		}
		e := text[12 : 12+n]
		if binary.LittleEndian.Uint32(text[12+n:]) != masked(e) {
			t.Fatalf("a record's checksum is wrong")
		}
		step := uint64(0)
		if e[9] == 2<<3 { // after the time, a key and eight bytes
			step, _ = binary.Uvarint(e[10:])
		}
		out = append(out, step)
		text = text[16+n:]
	}
	return out
}

// A full disk loses what could not be written, and no more: the file stays whole
// and takes up later events.
func TestFullDisk(t *testing.T) {
	now := time.Unix(100, 0)
	m := &memory{room: 1 << 20}
	w := newWriter(m, func() time.Time { return now })
	if err := w.Scalar("loss", 1, 4); err != nil {
		t.Fatal(err)
	}
	if len(m.text) != 0 {
		t.Error("written at once: a quick training would wait for the disk")
	}
	now = now.Add(flushAfter)
	if err := w.Scalar("loss", 2, 3); err != nil {
		t.Fatal(err)
	}
	m.room = len(m.text) + 5 // not even the frame's head
	now = now.Add(flushAfter)
	if err := w.Scalar("loss", 3, 2); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("on a full disk: %v", err)
	}
	if diff := cmp.Diff([]uint64{1, 2}, steps(t, m.text)); diff != "" {
		t.Error(diff)
	}
	m.room = 1 << 20
	if err := errors.Join(w.Scalar("loss", 4, 1), w.Close()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{1, 2, 4}, steps(t, m.text)); diff != "" {
		t.Error(diff)
	}
}

// square is a picture of one colour.
func square(c color.Color) image.Image {
	im := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		im.Set(i%4, i/4, c)
	}
	return im
}

// fill writes a run that is broken off at step 5 and goes on from step 3.
func fill(t *testing.T, dir string) {
	t.Helper()
	for _, attempt := range []struct{ first, last int64 }{{1, 5}, {3, 6}} {
		w, err := Create(dir, attempt.first)
		if err != nil {
			t.Fatal(err)
		}
		if attempt.first == 1 {
			err = errors.Join(w.Settings(map[string]any{"lr": 0.1, "method": "selfcon-s", "flip": true}),
				w.Text("run", 0, "# hello"), w.Image("views", 0, square(color.NRGBA{255, 0, 0, 255})))
		}
		for s := attempt.first; s <= attempt.last; s++ {
			err = errors.Join(err, w.Scalar("train/loss", s, 10*float64(attempt.first)+float64(s)))
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	p := Projector{
		Embeddings: []Embedding{{"backbone", 2, []float32{1, -2, 3, 1e-20}}, {"sub-network 2", 1, []float32{5, 6}}},
		Columns:    []string{"class", "image"},
		Points:     [][]string{{"cat\tor\ndog", "0"}, {"<b>", "1"}},
		Sprite:     square(color.White), Picture: image.Pt(2, 2),
	}
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
}

func TestProjector(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	e, columns, points, err := ReadEmbedding(dir, "backbone")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Embedding{"backbone", 2, []float32{1, -2, 3, 1e-20}}, e); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"class", "image"}, columns); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]string{{"cat or dog", "0"}, {"<b>", "1"}}, points); diff != "" {
		t.Error(diff)
	}
	if _, _, _, err := ReadEmbedding(t.TempDir(), "backbone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	for text, want := range map[string]string{"1\t2\n3\n": "1 numbers", "1\t2\n3\tx\n": `"x" is not a number`, "1\t2\n": "1 rows for 2"} {
		if err := os.WriteFile(filepath.Join(dir, embeddings, "backbone.tsv"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := ReadEmbedding(dir, "backbone"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestReader reads a run with TensorBoard itself, where a Python has it: that of
// SELFCON_PYTHON, or python3. testdata/reader.json is what it said.
func TestReader(t *testing.T) {
	python := os.Getenv("SELFCON_PYTHON")
	if python == "" {
		python = "python3"
	}
	if exec.Command(python, "-c", "import tensorboard").Run() != nil {
		t.Skip("no Python with tensorboard; SELFCON_PYTHON may name one")
	}
	logs := t.TempDir()
	dir := filepath.Join(logs, "run")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fill(t, dir)
	cmd := exec.Command(python, "testdata/read.py", logs)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	recorded, err := os.ReadFile("testdata/reader.json")
	if err != nil {
		t.Fatalf("%v; TensorBoard says\n%s", err, text)
	}
	if err := json.Unmarshal(recorded, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNumbers(t *testing.T) {
	var m message
	m.varint(1, -1)
	m.double(2, math.Pi)
	want := append([]byte{8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 17}, binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.Pi))...)
	if !bytes.Equal(m, want) {
		t.Errorf("%x, want %x", []byte(m), want)
	}
}
