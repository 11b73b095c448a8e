package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	"selfcon/checkpoint"
)

// align is where PyTorch has storages begin, so that they can be mapped into
// memory.
const align = 64

// metadataKey is what Write's metadata lie under.
const metadataKey = "selfcon"

// Write writes tensors as torch.save({"model": {name: tensor, …}, "epoch": epoch,
// "selfcon": {key: text, …}}) does: what the paper's reference code keeps, without its options and
// optimizer. torch.load reads it with weights_only=True.
func Write(w io.Writer, tensors []checkpoint.Named, epoch int, metadata map[string]string) error {
	z := &archive{w: zip.NewWriter(w)}
	var p pickler
	p.WriteString("\x80\x02}(")
	p.text("model")
	p.WriteString("}(")
	var storages [][]byte
	for i, t := range tensors {
		raw, kind, err := little(t)
		if err != nil {
			return err
		}
		storages = append(storages, raw)
		p.text(t.Name)
		p.tensor(t.Shape, kind, i, t.Shape.Size())
	}
	p.WriteString("u")
	p.text("epoch")
	p.int(epoch)
	p.text(metadataKey)
	p.WriteString("}(")
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		p.text(key)
		p.text(metadata[key])
	}
	p.WriteString("uu.")
	if err := z.add("data.pkl", p.Bytes()); err != nil {
		return err
	}
	if err := z.add("byteorder", []byte("little")); err != nil {
		return err
	}
	for i, raw := range storages {
		if err := z.add("data/"+strconv.Itoa(i), raw); err != nil {
			return err
		}
	}
	if err := z.add("version", []byte("3\n")); err != nil {
		return err
	}
	return z.w.Close()
}

// little is a tensor's data in bytes, and its storage's type.
func little(t checkpoint.Named) (raw []byte, kind string, err error) {
	le := binary.LittleEndian
	n := 0
	switch d := t.Data.(type) {
	case []float32:
		n, kind = len(d), "FloatStorage"
		for _, v := range d {
			raw = le.AppendUint32(raw, math.Float32bits(v))
		}
	case []int64:
		n, kind = len(d), "LongStorage"
		for _, v := range d {
			raw = le.AppendUint64(raw, uint64(v))
		}
	default:
		return nil, "", fmt.Errorf("tensor %q holds %T; []float32 and []int64 are written", t.Name, t.Data)
	}
	if n != t.Shape.Size() {
		return nil, "", fmt.Errorf("tensor %q has shape %v but %d elements", t.Name, t.Shape, n)
	}
	return raw, kind, nil
}

// pickler writes opcodes; see package pickle.
type pickler struct{ bytes.Buffer }

func (p *pickler) text(s string) {
	p.WriteByte('X')
	binary.Write(p, binary.LittleEndian, uint32(len(s)))
	p.WriteString(s)
}

func (p *pickler) int(n int) {
	if int(int32(n)) == n {
		p.WriteByte('J')
		binary.Write(p, binary.LittleEndian, int32(n))
		return
	}
	p.WriteString("\x8a\x08")
	binary.Write(p, binary.LittleEndian, int64(n))
}

func (p *pickler) ints(n []int) {
	p.WriteByte('(')
	for _, v := range n {
		p.int(v)
	}
	p.WriteByte('t')
}

// tensor is the call that makes a tensor from its storage; see rebuild.
func (p *pickler) tensor(shape []int, kind string, key, numel int) {
	p.WriteString("ctorch._utils\n_rebuild_tensor_v2\n((")
	p.text("storage")
	p.WriteString("ctorch\n" + kind + "\n")
	p.text(strconv.Itoa(key))
	p.text("cpu")
	p.int(numel)
	p.WriteString("tQ")
	p.int(0)
	stride := make([]int, len(shape))
	by := 1
	for i := len(shape) - 1; i >= 0; i-- {
		stride[i] = by
		by *= max(1, shape[i])
	}
	p.ints(shape)
	p.ints(stride)
	p.WriteString("\x89ccollections\nOrderedDict\n)RtR")
}

// archive writes the records of a zip file, uncompressed and aligned.
type archive struct {
	w  *zip.Writer
	at int64
}

func (a *archive) add(name string, raw []byte) error {
	h := &zip.FileHeader{Name: "archive/" + name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(raw)}
	h.CompressedSize64, h.UncompressedSize64 = uint64(len(raw)), uint64(len(raw))
	// The local header has 30 bytes, the name and the extra field, which pads.
	const fixed = 30
	at := a.at + fixed + int64(len(h.Name)) + 4
	pad := (align - at%align) % align
	h.Extra = append([]byte{'F', 'B', byte(pad), 0}, bytes.Repeat([]byte{'Z'}, int(pad))...)
	w, err := a.w.CreateRaw(h)
	if err != nil {
		return err
	}
	a.at = at + pad + int64(len(raw))
	_, err = w.Write(raw)
	return err
}
