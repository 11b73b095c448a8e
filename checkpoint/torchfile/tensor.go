package torchfile

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"

	"selfcon/checkpoint"
	"selfcon/engine"
	"selfcon/graph"
	"selfcon/internal/pickle"
)

// storageType is a type of storage: its elements' name and size, and how a
// buffer of them becomes Go's; none where the type is known by name only.
type storageType struct {
	dtype  string
	size   int64
	decode func(raw []byte, at []int64, order binary.ByteOrder) any
}

var storageTypes = map[string]storageType{
	"torch.FloatStorage":  {"float32", 4, decoder(func(b []byte, o binary.ByteOrder) float32 { return math.Float32frombits(o.Uint32(b)) })},
	"torch.DoubleStorage": {"float64", 8, decoder(func(b []byte, o binary.ByteOrder) float64 { return math.Float64frombits(o.Uint64(b)) })},
	"torch.HalfStorage":   {"float16", 2, decoder(func(b []byte, o binary.ByteOrder) float32 { return checkpoint.FromHalf(o.Uint16(b)) })},
	"torch.BFloat16Storage": {"bfloat16", 2, decoder(func(b []byte, o binary.ByteOrder) float32 {
		return math.Float32frombits(uint32(o.Uint16(b)) << 16)
	})},
	"torch.LongStorage":          {"int64", 8, decoder(func(b []byte, o binary.ByteOrder) int64 { return int64(o.Uint64(b)) })},
	"torch.IntStorage":           {"int32", 4, decoder(func(b []byte, o binary.ByteOrder) int32 { return int32(o.Uint32(b)) })},
	"torch.ByteStorage":          {"uint8", 1, decoder(func(b []byte, _ binary.ByteOrder) int32 { return int32(b[0]) })},
	"torch.BoolStorage":          {"bool", 1, decoder(func(b []byte, _ binary.ByteOrder) int32 { return int32(b[0]) })},
	"torch.CharStorage":          {dtype: "int8", size: 1},
	"torch.ShortStorage":         {dtype: "int16", size: 2},
	"torch.ComplexFloatStorage":  {dtype: "complex64", size: 8},
	"torch.ComplexDoubleStorage": {dtype: "complex128", size: 16},
}

// decoder takes the elements that begin at bytes at.
func decoder[T any](one func([]byte, binary.ByteOrder) T) func([]byte, []int64, binary.ByteOrder) any {
	return func(raw []byte, at []int64, order binary.ByteOrder) any {
		out := make([]T, len(at))
		for i, p := range at {
			out[i] = one(raw[p:], order)
		}
		return out
	}
}

// storage is the memory of one or more tensors: a record of the file.
type storage struct {
	kind    string // a key of storageTypes
	key     string
	numel   int64
	section *io.SectionReader
	checked bool // its checksum
}

// Tensor is a view of a storage that is not read yet. Stride and Offset count
// elements.
type Tensor struct {
	Shape   graph.Shape
	Stride  []int64
	Offset  int64
	storage *storage
	file    *File
}

// Kind is for messages.
func (*Tensor) Kind() string { return "tensor" }

// DType is PyTorch's name of the elements, such as float32.
func (t *Tensor) DType() string { return storageTypes[t.storage.kind].dtype }

// persistent finds a storage: ("storage", type, key, device, elements).
func (f *File) persistent(id any) (any, error) {
	p, ok := id.(pickle.Tuple)
	if !ok || len(p) != 5 || p[0] != any("storage") {
		return nil, fmt.Errorf("it keeps a %s outside itself; storages are known", pickle.Kind(id))
	}
	g, ok1 := p[1].(pickle.Global)
	key, ok2 := p[2].(string)
	numel, ok3 := p[4].(int64)
	kind, known := storageTypes[string(g)]
	if !ok1 || !ok2 || !ok3 || !known {
		return nil, fmt.Errorf("a storage is (%s, %s, …, %s), not (type, string, …, int)", pickle.Kind(p[1]), pickle.Kind(p[2]), pickle.Kind(p[4]))
	}
	if s := f.storages[key]; s != nil {
		if s.kind != string(g) || s.numel != numel {
			return nil, fmt.Errorf("storage %q is %s of %d elements and %s of %d", key, s.kind, s.numel, g, numel)
		}
		return s, nil
	}
	section, _, err := f.section("data/" + key)
	if err != nil {
		return nil, err
	}
	if numel < 0 || numel > section.Size() || numel*kind.size != section.Size() {
		return nil, fmt.Errorf("storage %q is of %d elements of %s, but its record has %d bytes", key, numel, kind.dtype, section.Size())
	}
	s := &storage{kind: string(g), key: key, numel: numel, section: section}
	f.storages[key] = s
	return s, nil
}

// Kind is for messages.
func (*storage) Kind() string { return "storage" }

// rebuild stands for torch._utils._rebuild_tensor_v2(storage, offset, size,
// stride, requires_grad, hooks).
func (f *File) rebuild(args pickle.Tuple) (any, error) {
	if len(args) < 6 {
		return nil, fmt.Errorf("%d arguments, not 6", len(args))
	}
	s, ok1 := args[0].(*storage)
	offset, ok2 := args[1].(int64)
	size, ok3 := args[2].(pickle.Tuple)
	stride, ok4 := args[3].(pickle.Tuple)
	if !ok1 || !ok2 || !ok3 || !ok4 || len(size) != len(stride) {
		return nil, fmt.Errorf("(%s, %s, %s, %s, …), not (storage, int, tuple, tuple as long, …)", pickle.Kind(args[0]), pickle.Kind(args[1]), pickle.Kind(args[2]), pickle.Kind(args[3]))
	}
	if len(size) > 16 {
		return nil, fmt.Errorf("a tensor of %d axes; at most 16 are read", len(size))
	}
	t := &Tensor{Shape: graph.Shape{}, Offset: offset, storage: s, file: f}
	// The last element reached and the number of elements, each with care: what
	// doesn't fit the storage must not wrap round.
	last, numel := offset, int64(1)
	outside := func() error {
		return fmt.Errorf("a tensor reaches beyond its storage %q of %d elements", s.key, s.numel)
	}
	if offset < 0 || offset > s.numel {
		return nil, outside()
	}
	empty := false
	for i := range size {
		n, ok1 := size[i].(int64)
		by, ok2 := stride[i].(int64)
		if !ok1 || !ok2 || n < 0 || by < 0 || n > math.MaxInt32 {
			return nil, fmt.Errorf("a tensor's axis has size %s and stride %s", pickle.Brief(size[i]), pickle.Brief(stride[i]))
		}
		t.Shape = append(t.Shape, int(n))
		t.Stride = append(t.Stride, by)
		empty = empty || n == 0
	}
	if empty {
		return t, nil
	}
	for i, n := range t.Shape {
		if n > 1 && t.Stride[i] > (s.numel-last)/int64(n-1) {
			return nil, outside()
		}
		last += int64(n-1) * t.Stride[i]
		// A view that repeats elements (expand) could be of any size.
		if numel > s.numel/int64(n) {
			return nil, fmt.Errorf("a tensor of shape %v… has more elements than its storage %q, %d", t.Shape[:i+1], s.key, s.numel)
		}
		numel *= int64(n)
	}
	if last >= s.numel {
		return nil, outside()
	}
	return t, nil
}

// load reads a tensor. float16 and bfloat16 become []float32, bool and uint8
// []int32.
func (t *Tensor) load() (engine.Tensor, error) {
	var none engine.Tensor
	s := t.storage
	kind := storageTypes[s.kind]
	if kind.decode == nil {
		return none, fmt.Errorf("elements of type %s are not read (read: float64, float32, float16, bfloat16, int64, int32, uint8, bool)", kind.dtype)
	}
	if err := t.file.checkStorage(s); err != nil {
		return none, err
	}
	n := t.Shape.Size()
	if n == 0 {
		return engine.Tensor{Shape: t.Shape, Data: kind.decode(nil, nil, t.file.order)}, nil
	}
	last := t.Offset
	for i, d := range t.Shape {
		last += int64(d-1) * t.Stride[i]
	}
	raw := make([]byte, (last-t.Offset+1)*kind.size)
	if _, err := io.ReadFull(io.NewSectionReader(s.section, t.Offset*kind.size, int64(len(raw))), raw); err != nil {
		return none, fmt.Errorf("storage %q: %w", s.key, err)
	}
	at := make([]int64, n)
	index := make([]int, len(t.Shape))
	place := int64(0)
	for i := range at {
		at[i] = place * kind.size
		for axis := len(index) - 1; axis >= 0; axis-- {
			index[axis]++
			place += t.Stride[axis]
			if index[axis] < t.Shape[axis] {
				break
			}
			place -= int64(t.Shape[axis]) * t.Stride[axis]
			index[axis] = 0
		}
	}
	return engine.Tensor{Shape: t.Shape, Data: kind.decode(raw, at, t.file.order)}, nil
}

// checkStorage compares a storage's checksum, once.
func (f *File) checkStorage(s *storage) error {
	if s.checked {
		return nil
	}
	section, e, err := f.section("data/" + s.key)
	if err != nil {
		return err
	}
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, section); err != nil {
		return fmt.Errorf("storage %q: %w", s.key, err)
	}
	s.checked = true
	return check("data/"+s.key, e, sum.Sum32())
}

// Tensors reads the tensors of the state dictionary that the file holds: the
// dictionary itself, or the one under a key such as "model" or "state_dict" of
// a dictionary with more, as checkpoints are. They come in its order.
func (f *File) Tensors() ([]checkpoint.Named, error) {
	dict, err := f.stateDict()
	if err != nil {
		return nil, err
	}
	var out []checkpoint.Named
	// Tensors that share a storage may together be more than the file holds.
	budget := 2 * f.size
	for i, key := range dict.Keys {
		t, ok := dict.Values[i].(*Tensor)
		if !ok {
			continue
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("a tensor's name is a %s, not a string", pickle.Kind(key))
		}
		if budget -= int64(t.Shape.Size()) * storageTypes[t.storage.kind].size; budget < 0 {
			return nil, fmt.Errorf("its tensors share storages and are together more than twice the file")
		}
		v, err := t.load()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		out = append(out, checkpoint.Named{Name: name, Tensor: v})
	}
	return out, nil
}

// usualKeys are where checkpoints keep the network's state, the likeliest first.
var usualKeys = []string{"model", "state_dict", "model_state_dict"}

func (f *File) stateDict() (*pickle.Dict, error) {
	root, ok := f.Root.(*pickle.Dict)
	if !ok {
		return nil, fmt.Errorf("holds a %s, not a dictionary of tensors", pickle.Kind(f.Root))
	}
	tensors := func(d *pickle.Dict) bool {
		return slices.ContainsFunc(d.Values, func(v any) bool { _, ok := v.(*Tensor); return ok })
	}
	if tensors(root) {
		return root, nil
	}
	found := map[string]*pickle.Dict{}
	var names []string
	for i, v := range root.Values {
		name, ok1 := root.Keys[i].(string)
		if d, ok2 := v.(*pickle.Dict); ok1 && ok2 && tensors(d) {
			found[name] = d
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return found[names[0]], nil
	}
	for _, name := range usualKeys {
		if d := found[name]; d != nil {
			return d, nil
		}
	}
	if len(names) == 0 {
		return nil, errors.New("holds no dictionary of tensors")
	}
	return nil, fmt.Errorf("holds several dictionaries of tensors (%s) and none under %q; save one of them alone", strings.Join(names, ", "), usualKeys)
}

// Options are the text, numbers and truth values of the command line that a
// checkpoint keeps beside the model, under "opt" or "args"; nil if there is
// none.
func (f *File) Options() map[string]any {
	root, ok := f.Root.(*pickle.Dict)
	if !ok {
		return nil
	}
	o, ok := cmp.Or(root.Get("opt"), root.Get("args")).(*Object)
	if !ok {
		return nil
	}
	state, ok := o.State.(*pickle.Dict)
	if !ok {
		return nil
	}
	out := map[string]any{}
	for i, k := range state.Keys {
		name, ok := k.(string)
		if !ok {
			continue
		}
		switch v := state.Values[i].(type) {
		case bool, int64, float64, string:
			out[name] = v
		}
	}
	return out
}

// Metadata are the texts that Write has been given; nil if there are none.
func (f *File) Metadata() map[string]string {
	root, ok := f.Root.(*pickle.Dict)
	if !ok {
		return nil
	}
	d, ok := root.Get(metadataKey).(*pickle.Dict)
	if !ok {
		return nil
	}
	out := map[string]string{}
	for i, k := range d.Keys {
		name, named := k.(string)
		text, ok := d.Values[i].(string)
		if named && ok {
			out[name] = text
		}
	}
	return out
}
