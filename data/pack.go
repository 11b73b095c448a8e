package data

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"selfcon/internal/reason"
)

// A packed set is one file of decoded pixels that is mapped into memory, so
// that reading an image costs a checksum. All numbers are little-endian:
//
//	"SELFCON PACK 1\n\x00"
//	pixels: images of all splits one after another, HWC bytes, rows from the top
//	for each split: 32 bytes an image: place (8), place of its name (8), width,
//	    height, label, CRC-32C of the pixels (4 each); then the places' ends as one
//	    more entry; then the names
//	JSON (packHead)
//	place of the JSON (8), its length (4), its CRC-32C (4), "SELFCON PACK 1\n\x00"
//
// The JSON has a CRC-32C of each split's index and names. A file of another
// length or sum than it says is refused.
const (
	packMagic = "SELFCON PACK 1\n\x00"
	packEntry = 32
	packTail  = 16 + len(packMagic)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// packHead is what the JSON of a packed set says.
type packHead struct {
	Source   string      `json:"source"` // the spec it was made from
	Stamp    string      `json:"stamp"`  // of the source as it was, see Cached
	Channels int         `json:"channels"`
	Classes  []string    `json:"classes"`
	Splits   []packSplit `json:"splits"`
}

type packSplit struct {
	Name   string `json:"name"`
	Images int    `json:"images"`
	Index  int64  `json:"index"` // place
	Names  int64  `json:"names"` // place; they end where the next split or the JSON begins
	Sum    uint32 `json:"sum"`   // of index and names
}

// PackOptions say how images are packed.
type PackOptions struct {
	// Source is the spec of the set, for messages.
	Source string
	// Resize is applied to every image; nil keeps them as they are.
	Resize func(Image) (Image, error)
	// Workers decode and resize; 0: as many as Go runs at once.
	Workers int
	// Progress, which may be nil, is told after every some hundred images.
	Progress func(done, total int)

	stamp string
}

// Pack writes all splits of a set to w as a packed set, which Open reads as
// "packed:PATH". The first image that can't be read ends it with its error.
func Pack(ctx context.Context, w io.Writer, s Splits, opt PackOptions) error {
	p := &packer{w: bufio.NewWriterSize(w, 1<<20)}
	p.write([]byte(packMagic))
	head := packHead{Source: opt.Source, Stamp: opt.stamp, Classes: s.Train.Classes()}
	splits := s.Named()
	total, done := 0, 0
	for _, n := range splits {
		total += n.Len()
	}
	index := make([][]byte, len(splits))
	for k, n := range splits {
		// Pieces small enough that memory stays that of some hundred images.
		const chunk = 256
		var images [chunk]Image
		var failed [chunk]error
		nameAt := uint64(0)
		for lo := 0; lo < n.Len(); lo += chunk {
			hi := min(lo+chunk, n.Len())
			if err := eachImage(ctx, n.Dataset, lo, hi, opt.Workers, func(i int, im Image, err error) {
				if err == nil && opt.Resize != nil {
					im, err = opt.Resize(im)
				}
				images[i-lo], failed[i-lo] = im, err
			}); err != nil {
				return err
			}
			for j := range hi - lo {
				im, i := images[j], lo+j
				if failed[j] != nil {
					return SeeCheck(opt.Source, failed[j])
				}
				if head.Channels == 0 {
					head.Channels = im.Channels
				}
				if im.Channels != head.Channels {
					return badf(n.Dataset.Name(i), "%d channels, but images before it have %d", im.Channels, head.Channels)
				}
				e := binary.LittleEndian.AppendUint64(index[k], uint64(p.at))
				e = binary.LittleEndian.AppendUint64(e, nameAt)
				for _, v := range []uint32{uint32(im.Width), uint32(im.Height), uint32(n.Label(i)), crc32.Checksum(im.Pix, castagnoli)} {
					e = binary.LittleEndian.AppendUint32(e, v)
				}
				index[k] = e
				nameAt += uint64(len(n.Dataset.Name(i)))
				p.write(im.Pix)
				images[j] = Image{}
			}
			if p.err != nil {
				return p.err
			}
			done += hi - lo
			if opt.Progress != nil {
				opt.Progress(done, total)
			}
		}
		index[k] = binary.LittleEndian.AppendUint64(index[k], uint64(p.at))
		index[k] = binary.LittleEndian.AppendUint64(index[k], nameAt)
		index[k] = append(index[k], make([]byte, packEntry-16)...)
	}
	for k, n := range splits {
		at := p.at
		p.sum = 0
		p.write(index[k])
		names := p.at
		for i := range n.Len() {
			p.write([]byte(n.Dataset.Name(i)))
		}
		head.Splits = append(head.Splits, packSplit{n.Name, n.Len(), at, names, p.sum})
	}
	text, err := json.Marshal(head)
	if err != nil {
		return err
	}
	at := uint64(p.at)
	p.write(text)
	tail := binary.LittleEndian.AppendUint64(nil, at)
	tail = binary.LittleEndian.AppendUint32(tail, uint32(len(text)))
	tail = binary.LittleEndian.AppendUint32(tail, crc32.Checksum(text, castagnoli))
	p.write(append(tail, packMagic...))
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// packer counts and sums what it writes, and keeps the first error.
type packer struct {
	w   *bufio.Writer
	at  int64
	sum uint32
	err error
}

func (p *packer) write(b []byte) {
	if p.err != nil {
		return
	}
	p.sum = crc32.Update(p.sum, castagnoli, b)
	p.at += int64(len(b))
	_, p.err = p.w.Write(b)
}

// packed is a split of a packed set, in memory that maps the file.
type packed struct {
	path     string
	raw      []byte
	index    []byte
	names    []byte
	n        int
	channels int
	classes  []string
}

// openPacked maps a packed set and checks its index; pixels are checked when
// they are read.
func openPacked(path string) (Splits, error) {
	s, _, err := openPackedHead(path)
	return s, err
}

func openPackedHead(path string) (Splits, packHead, error) {
	raw, err := mapFile(path)
	if err != nil {
		return Splits{}, packHead{}, readFailed(path, err)
	}
	return parsePacked(path, raw)
}

func parsePacked(path string, raw []byte) (Splits, packHead, error) {
	var head packHead
	fail := func(format string, args ...any) (Splits, packHead, error) {
		return Splits{}, packHead{}, badf(path, format, args...)
	}
	if !strings.HasPrefix(string(raw[:min(len(raw), len(packMagic))]), packMagic) {
		return fail("not a packed set: it should be a file that selfcon data pack has written")
	}
	if len(raw) < len(packMagic)+packTail || string(raw[len(raw)-len(packMagic):]) != packMagic {
		return fail("the packed set ends too early: is it a whole copy?")
	}
	size := int64(len(raw)) - int64(packTail)
	tail := raw[size:]
	at, n := binary.LittleEndian.Uint64(tail), binary.LittleEndian.Uint32(tail[8:])
	if at > uint64(size) || uint64(n) != uint64(size)-at {
		return fail("damaged: its description lies outside")
	}
	text := raw[at:size]
	if crc32.Checksum(text, castagnoli) != binary.LittleEndian.Uint32(tail[12:]) {
		return fail("damaged: the checksum of its description is wrong")
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fail("damaged description: %v", err)
	}
	if head.Channels != 1 && head.Channels != 3 {
		return fail("%d channels: must be 1 or 3", head.Channels)
	}
	var s Splits
	for k, sp := range head.Splits {
		end := int64(at)
		if k+1 < len(head.Splits) {
			end = head.Splits[k+1].Index
		}
		if sp.Images < 1 || int64(sp.Images) > int64(len(raw))/packEntry || sp.Index < 0 || sp.Names != sp.Index+int64(sp.Images+1)*packEntry || end < sp.Names || end > int64(at) {
			return fail("damaged: the index of split %s lies outside", sp.Name)
		}
		if crc32.Checksum(raw[sp.Index:end], castagnoli) != sp.Sum {
			return fail("damaged: the checksum of the index of split %s is wrong", sp.Name)
		}
		d := &packed{
			path: path, raw: raw[:sp.Index], index: raw[sp.Index:sp.Names], names: raw[sp.Names:end],
			n: sp.Images, channels: head.Channels, classes: head.Classes,
		}
		if err := d.check(); err != nil {
			return Splits{}, packHead{}, err
		}
		switch sp.Name {
		case "train":
			s.Train = d
		case "val":
			s.Val = d
		case "test":
			s.Test = d
		default:
			return fail("unknown split %q", sp.Name)
		}
	}
	if s.Train == nil {
		return fail("no split train")
	}
	return s, head, nil
}

// check goes once over the index, so that the methods need no checks.
func (d *packed) check() error {
	at, name := d.entry(0)
	for i := range d.n {
		e := d.index[i*packEntry:]
		w, h := int64(binary.LittleEndian.Uint32(e[16:])), int64(binary.LittleEndian.Uint32(e[20:]))
		next, nextName := d.entry(i + 1)
		if w < 1 || h < 1 || w*h > maxPixels || next != at+uint64(w*h)*uint64(d.channels) || next > uint64(len(d.raw)) {
			return badf(d.path, "damaged index: image %d of %d×%d (width×height) at bytes %d to %d", i, w, h, at, next)
		}
		if nextName < name || nextName > uint64(len(d.names)) {
			return badf(d.path, "damaged index: the name of image %d lies outside", i)
		}
		if label := binary.LittleEndian.Uint32(e[24:]); uint64(label) >= uint64(len(d.classes)) {
			return badf(d.path, "damaged index: label %d of image %d: there are %d classes", label, i, len(d.classes))
		}
		at, name = next, nextName
	}
	return nil
}

func (d *packed) entry(i int) (at, name uint64) {
	e := d.index[i*packEntry:]
	return binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[8:])
}

func (d *packed) Len() int          { return d.n }
func (d *packed) Classes() []string { return d.classes }
func (d *packed) Label(i int) int   { return int(binary.LittleEndian.Uint32(d.index[i*packEntry+24:])) }

// Name is where the image came from.
func (d *packed) Name(i int) string {
	_, from := d.entry(i)
	_, to := d.entry(i + 1)
	return string(d.names[from:to])
}

func (d *packed) Image(i int) (Image, error) {
	e := d.index[i*packEntry:]
	from, _ := d.entry(i)
	to, _ := d.entry(i + 1)
	im := Image{
		Pix:   d.raw[from:to:to],
		Width: int(binary.LittleEndian.Uint32(e[16:])), Height: int(binary.LittleEndian.Uint32(e[20:])), Channels: d.channels,
	}
	if crc32.Checksum(im.Pix, castagnoli) != binary.LittleEndian.Uint32(e[28:]) {
		return Image{}, badf(fmt.Sprintf("%s: image %d (%s)", d.path, i, d.Name(i)), "damaged: its checksum is wrong; pack the set again (a cache: delete the file, and it is made anew)")
	}
	return im, nil
}

// replaceFile writes a file whole or not at all. Its errors name path, not what
// the file is called until it is whole.
func replaceFile(path string, write func(w io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".selfcon-pack-*")
	if err != nil {
		return fmt.Errorf("%s: can't make a file in its folder: %w", path, reason.Of(err))
	}
	defer func() {
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) && pe.Path == f.Name() {
			err = fmt.Errorf("%s: can't be written: %w", path, pe.Err)
		}
	}()
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("%s: can't be written: %w", path, reason.Of(err))
	}
	return nil
}
