package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"selfcon/engine"
	"selfcon/engine/oracle"
	"selfcon/graph"

	"selfcon/internal/testkit"
)

func sample() File {
	return File{
		Metadata: map[string]string{"epoch": "3", "who": `"ü" <&>`},
		Tensors: []Named{
			{"encoder.weight", engine.Float32([]float32{1.5, -2, 3e-45, math.MaxFloat32, 0, 6}, 3, 2)},
			{"step", engine.Int32([]int32{41})}, // a scalar, which the F64 after it must not be misaligned by
			{"exact", engine.Tensor{Shape: graph.Shape{2}, Data: []float64{0.1, -1e300}}},
			{"seen", engine.Tensor{Shape: graph.Shape{1, 1}, Data: []int64{1 << 40}}},
			{"none", engine.Float32([]float32{}, 0, 5)},
		},
	}
}

// encoded is the file's bytes.
func encoded(t testing.TB, f File) []byte {
	t.Helper()
	header, order, err := layout(f)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := encode(&b, header, order); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	want := sample()
	for range 2 { // the second replaces the first
		if err := WriteTensors(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTensors(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("read back (-want +got):\n%s", d)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if again := encoded(t, want); !bytes.Equal(b, again) {
		t.Error("the same File gave other bytes")
	}
	if n := binary.LittleEndian.Uint64(b); n%8 != 0 {
		t.Errorf("header of %d bytes: must be a multiple of 8", n)
	}
	if _, entries, err := parseHeader(b[8 : 8+binary.LittleEndian.Uint64(b)]); err != nil {
		t.Fatal(err)
	} else {
		for _, e := range entries {
			if e.from%int64(e.kind.size) != 0 {
				t.Errorf("%s at byte %d is not aligned to its %d bytes", e.name, e.from, e.kind.size)
			}
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("folder holds %v: temporary files are left", left)
	}
}

func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.safetensors")
	if err := WriteTensors(path, File{}); err != nil {
		t.Fatal(err)
	}
	f, err := ReadTensors(path)
	if err != nil || len(f.Tensors) != 0 || f.Metadata != nil {
		t.Errorf("read %v, %v", f, err)
	}
}

// A write that fails leaves the old file and nothing else.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	if err := WriteJSON(path, 1); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(path, math.NaN()); err == nil {
		t.Error("NaN was written as JSON")
	}
	bad := sample()
	bad.Tensors[0].Shape = graph.Shape{7}
	if err := WriteTensors(path, bad); err == nil {
		t.Error("a tensor of the wrong shape was written")
	}
	if err := Write(path, func(w io.Writer) error {
		w.Write([]byte("half"))
		return os.ErrDeadlineExceeded
	}); err == nil {
		t.Error("the failure was swallowed")
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "1\n" {
		t.Errorf("file holds %q, %v", b, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("folder holds %v: temporary files are left", left)
	}
	missing := filepath.Join(dir, "no such folder", "x")
	if err := WriteTensors(missing, File{}); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	one := engine.Float32([]float32{1}, 1)
	for name, f := range map[string]File{
		"two tensors are called":   {Tensors: []Named{{"a", one}, {"b", one}, {"a", engine.Tensor{Shape: graph.Shape{1}, Data: []float64{1}}}}},
		"no tensor may be called":  {Tensors: []Named{{"__metadata__", one}}},
		"holds []uint8":            {Tensors: []Named{{"a", engine.Tensor{Shape: graph.Shape{1}, Data: []uint8{1}}}}},
		"holds <nil>":              {Tensors: []Named{{"a", engine.Tensor{}}}},
		"but 1 elements":           {Tensors: []Named{{"a", engine.Float32([]float32{1}, -1, -1)}}},
		"is not UTF-8":             {Tensors: []Named{{"\xff", one}}},
		`metadata "k": "\xff" is`:  {Metadata: map[string]string{"k": "\xff"}},
		`has shape [2] but 1 elem`: {Tensors: []Named{{"a", engine.Float32([]float32{1}, 2)}}},
	} {
		_, _, err := layout(f)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// raw is a file with this header and data.
func raw(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func tensorJSON(dtype, shape, offsets string) string {
	return fmt.Sprintf(`{"dtype":%q,"shape":%s,"data_offsets":%s}`, dtype, shape, offsets)
}

// broken are files that must be refused, with a part of the reason.
var broken = []struct {
	reason string
	file   []byte
}{
	{"takes 8", []byte("1234567")},
	{"at most 100000000", append([]byte{0, 0, 0, 0, 1, 0, 0, 0}, make([]byte, 100)...)},
	{"at most 100000000", bytes.Repeat([]byte{0xFF}, 16)},
	{"cut short", raw("{}", 0)[:9]},
	{`does not begin with "{"`, raw(" {}", 0)},
	{`does not begin with "{"`, raw("", 0)},
	{"must be an object", raw(`{"a":1}`, 0)},
	{"goes on after its end", raw("{}{}", 0)},
	{"unexpected EOF", raw("{", 0)},
	{"invalid character", raw(`{"a":}`, 0)},
	{"is not UTF-8", raw("{\"\xff\":1}", 0)},
	{`"a" comes twice`, raw(`{"a":`+tensorJSON("F32", "[1]", "[0,4]")+`,"a":`+tensorJSON("F32", "[1]", "[4,8]")+`}`, 8)},
	{`"dtype" comes twice`, raw(`{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4)},
	{`"k" comes twice`, raw(`{"__metadata__":{"k":"1","k":"2"}}`, 0)},
	{`"__metadata__" comes twice`, raw(`{"__metadata__":{},"__metadata__":{}}`, 0)},
	{"must be a string", raw(`{"__metadata__":{"k":1}}`, 0)},
	{"must be a string", raw(`{"a":{"dtype":null,"shape":[1],"data_offsets":[0,4]}}`, 4)},
	{"must be an array", raw(`{"a":{"dtype":"F32","shape":null,"data_offsets":[0,4]}}`, 4)},
	{"must be a number", raw(`{"a":`+tensorJSON("F32", "[null]", "[0,4]")+`}`, 4)},
	{"must be an integer", raw(`{"a":`+tensorJSON("F32", "[1.0]", "[0,4]")+`}`, 4)},
	{"must be an integer", raw(`{"a":`+tensorJSON("F32", "[-1]", "[0,4]")+`}`, 4)},
	{"must be an integer", raw(`{"a":`+tensorJSON("F32", "[9223372036854775808]", "[0,4]")+`}`, 4)},
	{`"DType": is not a field`, raw(`{"a":{"DType":"F32","shape":[1],"data_offsets":[0,4]}}`, 4)},
	{"needs dtype, shape", raw(`{"a":{"dtype":"F32"}}`, 0)},
	{`dtype "U8" is not supported`, raw(`{"a":`+tensorJSON("U8", "[1]", "[0,1]")+`}`, 1)},
	{"a beginning and an end", raw(`{"a":`+tensorJSON("F32", "[1]", "[0,4,8]")+`}`, 4)},
	{"a beginning and an end", raw(`{"a":`+tensorJSON("F32", "[1]", "[4,0]")+`}`, 4)},
	{"takes 8 bytes", raw(`{"a":`+tensorJSON("F32", "[2]", "[0,4]")+`}`, 4)},
	// 2^31·2^31·4 bytes is 2^64, which wraps to 0.
	{"too large", raw(`{"a":`+tensorJSON("F32", "[2147483648,2147483648]", "[0,0]")+`}`, 0)},
	{"takes 4611686018427387904 bytes", raw(`{"a":`+tensorJSON("F32", "[1152921504606846976]", "[0,4]")+`}`, 4)},
	{"cut short", raw(`{"a":`+tensorJSON("F32", "[1152921504606846976]", "[0,4611686018427387904]")+`}`, 4)},
	{"cut short", raw(`{"a":`+tensorJSON("F32", "[2]", "[0,8]")+`}`, 4)},
	{"begins at byte 4", raw(`{"a":`+tensorJSON("F32", "[1]", "[4,8]")+`}`, 8)},
	{"begins at byte 2", raw(`{"a":`+tensorJSON("F32", "[1]", "[0,4]")+`,"b":`+tensorJSON("F32", "[1]", "[2,6]")+`}`, 6)},
	{"begins at byte 0", raw(`{"a":`+tensorJSON("F32", "[1]", "[0,4]")+`,"b":`+tensorJSON("F32", "[1]", "[0,4]")+`}`, 4)},
	{"more than 16 numbers", raw(`{"a":`+tensorJSON("F32", "["+strings.Repeat("1,", 16)+"1]", "[0,4]")+`}`, 4)},
	{"end at byte 4", raw(`{"a":`+tensorJSON("F32", "[1]", "[0,4]")+`}`, 5)},
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	for i, c := range broken {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadTensors(path)
		if err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v, want the path and %q", c.file, err, c.reason)
		}
	}
	if _, err := ReadTensors(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder: %v", err)
	}
}

// Every shortened file is refused: all bytes are accounted for.
func TestCutShort(t *testing.T) {
	b := encoded(t, sample())
	for n := range b {
		if _, err := decode(bytes.NewReader(b[:n]), int64(n)); err == nil {
			t.Fatalf("the first %d of %d bytes pass for a file", n, len(b))
		}
	}
}

// The golden file was written by Hugging Face's library (testdata/golden.py).
func TestGolden(t *testing.T) {
	got, err := ReadTensors("testdata/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	inf := float32(math.Inf(1))
	want := map[string]engine.Tensor{
		"f32":   engine.Float32([]float32{1.5, -2.25, 3e-45, inf, 1e38, 0.1}, 2, 3),
		"f64":   {Shape: graph.Shape{2}, Data: []float64{0.1, -1e300}},
		"i32":   engine.Int32([]int32{math.MinInt32, math.MaxInt32, 7}, 1, 3, 1),
		"i64":   {Shape: graph.Shape{}, Data: []int64{-1 << 62}},
		"empty": engine.Float32([]float32{}, 0, 3),
		// 2^-24 is the smallest half, 1023·2^-24 the largest that is not normal.
		"f16":  engine.Float32([]float32{0, float32(math.Copysign(0, -1)), 1, -2, 65504, 0x1p-24, 1023 * 0x1p-24, 700 * 0x1p-24, inf, -inf}, 10),
		"bf16": engine.Float32([]float32{1, -3.140625, 0x1p-133, inf}, 4),
	}
	have := map[string]engine.Tensor{}
	for _, n := range got.Tensors {
		have[n.Name] = n.Tensor
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if v := have["f16"].Data.([]float32)[1]; !math.Signbit(float64(v)) {
		t.Error("-0 lost its sign")
	}
	if got.Metadata["ü"] != "☃ <&>" || !strings.HasPrefix(got.Metadata["made by"], "safetensors ") {
		t.Errorf("metadata %q", got.Metadata)
	}
}

// Every half: with 11 bits it fits a float32, so its value is its definition.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		sign := 1 - 2*float64(h>>15)
		exp, frac := h>>10&31, float64(h&1023)
		want := sign * (1 + frac/1024) * math.Ldexp(1, exp-15)
		switch {
		case exp == 0:
			want = sign * frac / 1024 * 0x1p-14
		case exp == 31 && frac == 0:
			want = math.Inf(int(sign))
		case exp == 31:
			want = math.NaN()
		}
		got := float64(FromHalf(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%#04x is %g, not %g", h, got, want)
		}
	}
}

// Hugging Face's reader, where there is one, must read what we write.
func TestPythonReads(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 in PATH")
	}
	if out, err := exec.Command(python, "-c", "import safetensors.numpy").CombinedOutput(); err != nil {
		t.Skipf("python3 lacks safetensors (pip install safetensors numpy): %s", bytes.TrimSpace(out))
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := WriteTensors(path, sample()); err != nil {
		t.Fatal(err)
	}
	const script = `
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1], "np") as f:
    m = f.metadata()
    t = {k: f.get_tensor(k) for k in f.keys()}
print(json.dumps({"metadata": m, "tensors": {k: [str(v.dtype), list(v.shape), v.astype(float).ravel().tolist()] for k, v in t.items()}}))
`
	out, err := exec.Command(python, "-c", script, path).Output()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	var got any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	tensors := map[string]any{}
	for _, n := range sample().Tensors {
		values := []any{}
		dtype := map[string]string{"F32": "float32", "F64": "float64", "I32": "int32", "I64": "int64"}
		kind, _, _ := dtypeOf(n.Data)
		if wide, ok := n.Data.([]int64); ok {
			for _, v := range wide {
				values = append(values, float64(v))
			}
		}
		for _, v := range n.Float64s() {
			values = append(values, v)
		}
		shape := []any{}
		for _, s := range n.Shape {
			shape = append(shape, float64(s))
		}
		tensors[n.Name] = []any{dtype[kind], shape, values}
	}
	want := any(map[string]any{"metadata": map[string]any{"epoch": "3", "who": `"ü" <&>`}, "tensors": tensors})
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range broken {
		f.Add(c.file)
	}
	f.Add(encoded(f, sample()))
	golden, err := os.ReadFile("testdata/golden.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Fuzz(func(t *testing.T, b []byte) {
		done := testkit.Bound(t, 1<<20+64*len(b))
		got, err := decode(bytes.NewReader(b), int64(len(b)))
		done()
		if err != nil {
			return
		}
		once := encoded(t, got)
		again, err := decode(bytes.NewReader(once), int64(len(once)))
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		if !bytes.Equal(once, encoded(t, again)) {
			t.Fatal("written twice, the files differ")
		}
	})
}

// TestManyTensors: a header of a million tensors is refused after the first
// 65,536, and what is read until then stays in bounds.
func TestManyTensors(t *testing.T) {
	var h strings.Builder
	h.WriteString("{")
	for i := range 200_000 {
		fmt.Fprintf(&h, `"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},`, i)
	}
	h.WriteString(`"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`)
	b := raw(h.String(), 0)
	defer testkit.Bound(t, 1<<20+64*len(b))()
	if _, err := decode(bytes.NewReader(b), int64(len(b))); err == nil || !strings.Contains(err.Error(), `more than 65536 members, from "65536" on`) {
		t.Errorf("error %v", err)
	}
}

func TestJSON(t *testing.T) {
	type inner struct {
		C int `json:"c"`
	}
	type state struct {
		A int    `json:"a"`
		B string `json:"b"`
		I inner  `json:"i"`
	}
	path := filepath.Join(t.TempDir(), "state.json")
	want := state{3, "x <y>", inner{4}}
	if err := WriteJSON(path, want); err != nil {
		t.Fatal(err)
	}
	var got state
	if err := ReadJSON(path, &got); err != nil || got != want {
		t.Errorf("read %+v, %v", got, err)
	}
	for text, reason := range map[string]string{
		"{\n\"a\": 1,\n\"z\": 2}":          `:3: unknown field "z"`,
		"{\"i\": {\n\"z\": 1},\n\"z\": 2}": `: unknown field "z"`,
		"{\n\"a\": \"one\"}":               ":2: ",
		"{\n\"a\": 1\n\"b\"":               ":3: invalid character",
		"{\n\"a\": 1,\n":                   "cut short",
		"":                                 "is empty",
		"{}\n\n{}":                         ":3: more follows",
		"{}\n}":                            ":2: more follows",
		"{\"a\": 99999999999999999999999999999999999}": ":1: ",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := ReadJSON(path, &got)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: error %v, want the path and %q", text, err, reason)
		}
	}
}

// network compiles a program with variables of three kinds.
func network(t *testing.T, e engine.Engine) []*graph.Variable {
	t.Helper()
	g := graph.New()
	x := g.Input("x", graph.Float, 1, 3)
	w := g.Variable(graph.Variable{Name: "w", Type: graph.Type{Shape: graph.Shape{2, 3}}, Trainable: true})
	b := g.Variable(graph.Variable{Name: "b", Type: graph.Type{Shape: graph.Shape{2}}, Trainable: true})
	step := g.Variable(graph.Variable{Name: "step", Type: graph.Type{Shape: graph.Shape{}, DType: graph.Int}, Role: graph.Counter})
	g.Output("y", g.Linear("linear", x, w, b))
	g.Update(step, g.Apply("next", graph.Increment{}, step)[0])
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Compile(p); err != nil {
		t.Fatal(err)
	}
	return p.Variables
}

func TestSnapshotRestore(t *testing.T) {
	e := oracle.New()
	vars := network(t, e)
	values := map[string]engine.Tensor{
		"w":    {Shape: graph.Shape{2, 3}, Data: []float64{0.1, 2, 3, 4, 5, 6}},
		"b":    {Shape: graph.Shape{2}, Data: []float64{7, 8}},
		"step": engine.Int32([]int32{9}),
	}
	for name, v := range values {
		if v.Shape == nil {
			v.Shape = graph.Shape{}
		}
		if err := e.Write(name, v); err != nil {
			t.Fatal(err)
		}
	}
	saved, err := Snapshot(e, vars)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x")
	if err := WriteTensors(path, File{Tensors: saved}); err != nil {
		t.Fatal(err)
	}
	f, err := ReadTensors(path)
	if err != nil {
		t.Fatal(err)
	}
	other := oracle.New()
	if _, err := Snapshot(other, vars); err == nil {
		t.Error("a snapshot of variables that the engine does not hold")
	}
	if err := Restore(other, network(t, other), f); err != nil {
		t.Fatal(err)
	}
	again, err := Snapshot(other, vars)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(saved, again, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("restored (-want +got):\n%s", d)
	}

	// PyTorch's counters are I64.
	wide := f
	wide.Tensors = append([]Named(nil), f.Tensors...)
	for i, n := range wide.Tensors {
		if n.Name == "step" {
			wide.Tensors[i].Data = []int64{10}
		}
	}
	if err := Restore(other, vars, wide); err != nil {
		t.Error(err)
	} else if s, _ := other.Read("step"); s.Item() != 10 {
		t.Errorf("step is %v", s)
	}
}

func TestRestoreRefuses(t *testing.T) {
	e := oracle.New()
	vars := network(t, e)
	good := []Named{
		{"w", engine.Float32(make([]float32, 6), 2, 3)},
		{"b", engine.Float32([]float32{1, 1}, 2)},
		{"step", engine.Tensor{Shape: graph.Shape{}, Data: []int32{1}}},
	}
	with := func(extra ...Named) []Named { return append(append([]Named(nil), good[:2]...), extra...) }
	var many []Named
	for i := range 7 {
		many = append(many, Named{fmt.Sprint("x", i), good[0].Tensor})
	}
	for reason, tensors := range map[string][]Named{
		"1 missing: step": with(),
		"7 not known to the network: x0, x1, x2, x3, x4, …": append(many, good...),
		"step is float[], must be int[]":                    with(Named{"step", engine.Tensor{Shape: graph.Shape{}, Data: []float32{1}}}),
		"needs more than 32 bits":                           with(Named{"step", engine.Tensor{Shape: graph.Shape{}, Data: []int64{1 << 31}}}),
		"step is int[2], must be int[]":                     with(Named{"step", engine.Int32([]int32{1, 1}, 2)}),
		"1 missing: step; 1 not known to the network: Step": with(Named{"Step", good[2].Tensor}),
	} {
		err := Restore(e, vars, File{Tensors: tensors})
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("error %v, want %q", err, reason)
		}
		if b, _ := e.Read("b"); b.Float64s()[0] != 0 {
			t.Fatalf("%s: a variable was written all the same", reason)
		}
	}
}

// What can't be written or read is named as the caller does, not by the hidden
// file that becomes it, and stays an error that errors.Is knows.
func TestWriteNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	into, nowhere := filepath.Join(dir, "folder"), filepath.Join(dir, "none", "a.json")
	if err := os.MkdirAll(filepath.Join(into, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteText(into, nil); err == nil || !strings.HasPrefix(err.Error(), into+": can't be written: ") || strings.Contains(err.Error(), ".folder") {
		t.Errorf("onto a folder: %v", err)
	}
	for _, err := range []error{WriteText(nowhere, nil), WriteTensors(nowhere, File{})} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), nowhere+": can't be written: ") || strings.Contains(err.Error(), ".a.json") {
			t.Errorf("into no folder: %v", err)
		}
	}
	if err := ReadJSON(nowhere, new(int)); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), nowhere+": can't be read: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// What can't be written or removed is named as it is called when it is whole.
func TestFolderErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "step-3")
	for what, err := range map[string]error{
		"written": WriteFolder(path, []Part{BytesPart("missing/file", nil)}),
		"removed": RemoveFolder(path),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), path+": can't be "+what+": ") || strings.Contains(err.Error(), ".new") || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what can't be %s: %v", what, err)
		}
	}
}
