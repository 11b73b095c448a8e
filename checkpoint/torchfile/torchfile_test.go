package torchfile

import (
	"archive/zip"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"selfcon/checkpoint"
	"selfcon/engine"
	"selfcon/graph"

	"selfcon/internal/testkit"
)

// The values of testdata/make.py.
func want() []checkpoint.Named {
	f32 := func(name string, data []float32, shape ...int) checkpoint.Named {
		return checkpoint.Named{Name: name, Tensor: engine.Float32(data, shape...)}
	}
	return []checkpoint.Named{
		f32("transposed", []float32{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}, 4, 3),
		f32("part", []float32{3, 4}, 2),
		f32("parameter", []float32{1.5, -2}, 2),
		{Name: "double", Tensor: engine.Tensor{Shape: graph.Shape{1}, Data: []float64{0.1}}},
		f32("half", []float32{1, -0.5, 65504}, 3),
		f32("bfloat", []float32{1, -0.5, math.Float32frombits(0x7f62 << 16)}, 3),
		{Name: "scalar", Tensor: engine.Tensor{Shape: graph.Shape{}, Data: []int64{1 << 40}}},
		{Name: "int", Tensor: engine.Int32([]int32{-7}, 1)},
		{Name: "byte", Tensor: engine.Int32([]int32{0, 255}, 1, 2)},
		{Name: "bool", Tensor: engine.Int32([]int32{1, 0}, 2)},
		f32("empty", []float32{}, 0, 3),
	}
}

func TestRead(t *testing.T) {
	for _, name := range []string{"checkpoint.pth", "protocol4.pth"} {
		f, err := Open(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got, err := f.Tensors()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want(), got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		options := map[string]any{"model": "resnet18", "lr": 0.5, "label": true, "seed": int64(1e12)}
		if diff := cmp.Diff(options, f.Options()); diff != "" {
			t.Errorf("%s: options (-want +got)\n%s", name, diff)
		}
	}
	f, err := Open("testdata/nochecksum.pth")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := f.Tensors(); err != nil || len(got) != 1 || f.Options() != nil {
		t.Errorf("without checksums: %v, %v", got, err)
	}
}

// record is a part of a made-up archive.
type record struct {
	name   string
	data   string
	method uint16
}

func archived(t testing.TB, records ...record) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, r := range records {
		w, err := z.CreateHeader(&zip.FileHeader{Name: r.name, Method: r.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(r.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tensorOf is the pickle of {"a": tensor}.
func tensorOf(kind, key string, numel int, offset int, shape, stride []int) string {
	var p pickler
	p.WriteString("\x80\x02}")
	p.text("a")
	p.WriteString("ctorch._utils\n_rebuild_tensor_v2\n((")
	p.text("storage")
	p.WriteString("ctorch\n" + kind + "\n")
	p.text(key)
	p.text("cpu")
	p.int(numel)
	p.WriteString("tQ")
	p.int(offset)
	p.ints(shape)
	p.ints(stride)
	p.WriteString("\x89ccollections\nOrderedDict\n)RtRs.")
	return p.String()
}

func load(raw []byte) ([]checkpoint.Named, error) {
	f, err := read(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	return f.Tensors()
}

func TestBigEndian(t *testing.T) {
	raw := archived(t, record{name: "x/data.pkl", data: tensorOf("FloatStorage", "0", 2, 0, []int{2}, []int{1})},
		record{name: "x/byteorder", data: "big"}, record{name: "x/data/0", data: "\x3f\x80\x00\x00\xc0\x00\x00\x00"})
	got, err := load(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{1, -2}, got[0].Data); diff != "" {
		t.Error(diff)
	}
}

func TestRefuses(t *testing.T) {
	file := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	pkl := func(p string) []byte {
		return archived(t, record{name: "x/data.pkl", data: p}, record{name: "x/data/0", data: "\x00\x00\x80\x3f\x00\x00\x00\x40"})
	}
	tensor := func(kind, key string, numel, offset int, shape, stride []int) []byte {
		return pkl(tensorOf(kind, key, numel, offset, shape, stride))
	}
	damaged := file("checkpoint.pth")
	at := bytes.Index(damaged, []byte("\x00\x00\x80\x3f\x00\x00\x00\x40")) // 1, 2 of the first storage
	damaged[at]++
	var shared pickler // 100 tensors, each the whole storage
	shared.WriteString("\x80\x02}(")
	one := tensorOf("FloatStorage", "0", 10000, 0, []int{10000}, []int{1})
	one = one[bytes.IndexByte([]byte(one), 'c') : len(one)-2]
	for i := range 100 {
		shared.text(strings.Repeat("a", i))
		shared.WriteString(one)
	}
	shared.WriteString("u.")
	var tar [600]byte
	copy(tar[257:], "ustar")
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"whole module": {file("module.pth"), `"torch.nn.modules.linear.Linear", which is not read: nothing that a pickle names is run; only state dictionaries`},
		"legacy":       {file("legacy.pth"), "from before 1.6"},
		"TorchScript":  {file("script.pth"), "TorchScript"},
		"tar":          {tar[:], "tar archive"},
		"text":         {[]byte("hello"), `begins with "hell"`},
		"empty":        {nil, "is not a file of torch.save"},
		"cut":          {file("checkpoint.pth")[:4000], "no whole zip archive"},
		"damaged":      {damaged, "checksum"},
		"other zip":    {archived(t, record{name: "a/b.txt"}), "no data.pkl"},
		"deep":         {archived(t, record{name: "a/b/data.pkl"}), "no data.pkl"},
		"twice":        {archived(t, record{name: "a/data.pkl"}, record{name: "a/data.pkl"}), "two records"},
		"compressed":   {archived(t, record{"a/data.pkl", "\x80\x02}.", zip.Deflate}), "is compressed"},
		"byte order":   {archived(t, record{name: "a/data.pkl", data: "\x80\x02}."}, record{name: "a/byteorder", data: "middle"}), `"middle"`},

		"os.system":  {pkl("\x80\x02cposix\nsystem\nq\x00X\x0e\x00\x00\x00touch executedq\x01\x85q\x02Rq\x03."), `"posix.system"`},
		"eval":       {pkl("\x80\x02c__builtin__\neval\nq\x00X\x12\x00\x00\x00open('executed','w')q\x01\x85q\x02Rq\x03."), `"__builtin__.eval"`},
		"by stack":   {pkl("\x80\x04\x8c\x08builtins\x94\x8c\x04exec\x94\x93\x94\x8c\x04pass\x94\x85\x94R\x94."), `"builtins.exec"`},
		"in options": {pkl("\x80\x02cargparse\nNamespace\n)\x81}X\x01\x00\x00\x00acos\nsystem\nX\x04\x00\x00\x00true\x85Rsb."), `"os.system"`},

		"no dictionary":   {pkl("\x80\x02]."), "holds a list"},
		"no tensors":      {pkl("\x80\x02}."), "no dictionary of tensors"},
		"storage":         {tensor("FloatStorage", "1", 2, 0, []int{2}, []int{1}), `no record "data/1"`},
		"path":            {tensor("FloatStorage", "../../etc/passwd", 2, 0, []int{2}, []int{1}), "no record"},
		"storage size":    {tensor("FloatStorage", "0", 3, 0, []int{2}, []int{1}), "3 elements of float32, but its record has 8 bytes"},
		"storage overrun": {tensor("FloatStorage", "0", 1<<62+2, 0, []int{2}, []int{1}), "but its record has 8 bytes"},
		"type":            {tensor("CharStorage", "0", 8, 0, []int{2}, []int{1}), `"a": elements of type int8`},
		"unknown type":    {tensor("QInt8Storage", "0", 8, 0, []int{2}, []int{1}), `"torch.QInt8Storage"`},
		"too long":        {tensor("FloatStorage", "0", 2, 0, []int{3}, []int{1}), "more elements than its storage"},
		"offset":          {tensor("FloatStorage", "0", 2, 1, []int{2}, []int{1}), "reaches beyond its storage"},
		"at the end":      {tensor("FloatStorage", "0", 2, 2, []int{1}, []int{1}), "reaches beyond"},
		"negative":        {tensor("FloatStorage", "0", 2, -1, []int{1}, []int{1}), "reaches beyond"},
		"stride":          {tensor("FloatStorage", "0", 2, 0, []int{2}, []int{2}), "reaches beyond"},
		"stride overrun":  {tensor("FloatStorage", "0", 2, 0, []int{2, 1}, []int{math.MaxInt64, math.MaxInt64}), "reaches beyond"},
		"negative size":   {tensor("FloatStorage", "0", 2, 0, []int{-1}, []int{1}), "size -1"},
		"negative stride": {tensor("FloatStorage", "0", 2, 1, []int{2}, []int{-1}), "stride -1"},
		"expanded":        {tensor("FloatStorage", "0", 2, 0, []int{1 << 30, 1 << 30}, []int{0, 0}), "more elements than its storage"},
		"shared": {archived(t, record{name: "x/data.pkl", data: shared.String()}, record{name: "x/data/0", data: strings.Repeat("\x00", 40000)}),
			"more than twice the file"},
	} {
		_, err := load(c.raw)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v does not say %q", name, err, c.want)
		}
	}
	if _, err := os.Stat("executed"); err == nil {
		t.Error("a pickle was run")
	}
	if _, err := Open("testdata"); err == nil || !strings.Contains(err.Error(), "testdata: ") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open("testdata/none"); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

// Which of several dictionaries holds the network.
func TestWhichDictionary(t *testing.T) {
	tensor := tensorOf("FloatStorage", "0", 2, 0, []int{2}, []int{1})
	dict := tensor[2 : len(tensor)-1]
	build := func(keys ...string) []byte {
		var p pickler
		p.WriteString("\x80\x02}(")
		for _, k := range keys {
			p.text(k)
			p.WriteString(dict)
		}
		p.text("epoch")
		p.WriteString("K\x01u.")
		return archived(t, record{name: "x/data.pkl", data: p.String()}, record{name: "x/data/0", data: strings.Repeat("\x00", 8)})
	}
	for _, keys := range [][]string{{"anything"}, {"ema", "state_dict"}, {"state_dict", "model"}} {
		if got, err := load(build(keys...)); err != nil || len(got) != 1 {
			t.Errorf("%v: %v, %v", keys, got, err)
		}
	}
	if _, err := load(build("student", "teacher")); err == nil || !strings.Contains(err.Error(), "student, teacher") {
		t.Errorf("two: %v", err)
	}
}

func TestWrite(t *testing.T) {
	tensors := []checkpoint.Named{
		{Name: "a.weight", Tensor: engine.Float32([]float32{1, 2, 3, 4, 5, 6}, 1, 2, 3)},
		{Name: "a.num_batches_tracked", Tensor: engine.Tensor{Shape: graph.Shape{}, Data: []int64{1 << 40}}},
		{Name: "none", Tensor: engine.Float32([]float32{}, 0, 2)},
	}
	var b bytes.Buffer
	if err := Write(&b, tensors, 7, map[string]string{"mean": "[0.5]", "ünï": "x"}); err != nil {
		t.Fatal(err)
	}
	f, err := read(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Tensors()
	if err != nil {
		t.Fatal(err)
	}
	if m := f.Metadata(); len(m) != 2 || m["mean"] != "[0.5]" || m["ünï"] != "x" {
		t.Errorf("metadata %v", m)
	}
	if diff := cmp.Diff(tensors, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, e := range f.entries { // so that PyTorch can map them into memory
		if at, err := e.DataOffset(); err != nil || at%align != 0 {
			t.Errorf("%s begins at byte %d: %v", name, at, err)
		}
	}
	for _, bad := range []checkpoint.Named{
		{Name: "a", Tensor: engine.Tensor{Shape: graph.Shape{1}, Data: []float64{1}}},
		{Name: "a", Tensor: engine.Float32([]float32{1}, 2)},
	} {
		if err := Write(&b, []checkpoint.Named{bad}, 0, nil); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

// FuzzPickle reads pickles beside a storage of 48 bytes.
func FuzzPickle(f *testing.F) {
	for _, name := range []string{"checkpoint.pth", "protocol4.pth", "module.pth"} {
		z, err := zip.OpenReader(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		defer z.Close()
		for _, e := range z.File {
			if strings.HasSuffix(e.Name, "data.pkl") {
				r, err := e.Open()
				if err != nil {
					f.Fatal(err)
				}
				var b bytes.Buffer
				b.ReadFrom(r)
				f.Add(b.Bytes())
			}
		}
	}
	f.Add([]byte(tensorOf("FloatStorage", "0", 12, 3, []int{2, 3}, []int{3, 1})))
	f.Add([]byte("\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."))
	f.Fuzz(func(t *testing.T, raw []byte) {
		sound(t, archived(t, record{name: "x/data.pkl", data: string(raw)}, record{name: "x/data/0", data: strings.Repeat("\x01", 48)}))
	})
}

func FuzzOpen(f *testing.F) {
	for _, name := range []string{"checkpoint.pth", "protocol4.pth", "module.pth", "legacy.pth", "script.pth", "nochecksum.pth"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(sound)
}

// sound checks that what is read fits itself and the file.
func sound(t *testing.T, raw []byte) {
	defer testkit.Bound(t, 4<<20+400*len(raw))()
	f, err := read(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return
	}
	f.Options()
	tensors, err := f.Tensors()
	if err != nil {
		return
	}
	total := 0
	for _, x := range tensors {
		n := 0
		switch d := x.Data.(type) {
		case []float32:
			n = len(d)
		case []float64:
			n = len(d)
		case []int32:
			n = len(d)
		case []int64:
			n = len(d)
		default:
			t.Fatalf("%q holds %T", x.Name, x.Data)
		}
		if n != x.Shape.Size() {
			t.Fatalf("%q has shape %v and %d elements", x.Name, x.Shape, n)
		}
		total += n
	}
	if total > 2*len(raw) {
		t.Fatalf("%d elements in a file of %d bytes", total, len(raw))
	}
}
