package data

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
)

// WebDataset (https://github.com/webdataset/webdataset): tar files (shards) in
// which the files of a sample follow each other and share a name up to the first
// dot: 000123.jpg beside 000123.cls, the label as text, or 000123.json with a
// field label or cls. Several shards make a set; see findShards.
//
// Opening reads the headers and labels, not the images: those are read from
// where they lie. Shuffled epochs go through the shards in stretches of tarStretch
// samples, many stretches mixed in a window (see blockOrder), which is what a
// shuffle buffer is for, but with an order that a seed fixes. Gzipped shards can't
// be read in place: they are unpacked into memory, up to maxGzippedTar of them.
const webDatasetWant = "tar files of samples such as 000123.jpg and 000123.cls, or a folder of them (train-000000.tar, …)"

// tarStretch is how many samples in a row are read together.
const tarStretch = 256

// webSplit is one split.
type webSplit struct {
	channels int
	classes  []string
	shards   []webShard
	samples  []webSample
}

type webShard struct {
	path string
	r    io.ReaderAt
}

// webSample is where an image lies.
type webSample struct {
	at     int64
	size   int32
	shard  int32
	number int32 // in its shard
	label  int32
}

func openWebDataset(spec string, opt Options) (Splits, error) {
	shards, err := findShards(spec, webDatasetWant, ".tar", ".tar.gz", ".tgz")
	if err != nil {
		return Splits{}, err
	}
	parts := map[string]*webSplit{}
	texts := map[*webSplit][]string{}
	set := labelSet{}
	room := int64(maxGzippedTar)
	for _, sh := range shards {
		f, err := openShard(sh.path, &room)
		if err != nil {
			return Splits{}, err
		}
		samples, labels, err := readShard(sh.path, f)
		if err != nil {
			if c, ok := f.(io.Closer); ok {
				c.Close()
			}
			return Splits{}, err
		}
		p := parts[sh.split]
		if p == nil {
			p = &webSplit{}
			parts[sh.split] = p
		}
		for i, l := range labels {
			set.add(l, sh.split == "train", func() string { return sh.path + ": sample " + strconv.Itoa(i) })
			samples[i].shard = int32(len(p.shards))
		}
		p.shards = append(p.shards, webShard{sh.path, f})
		p.samples = append(p.samples, samples...)
		texts[p] = append(texts[p], labels...)
	}
	labelOf, classes, err := set.classes(spec, nil, opt)
	if err != nil {
		return Splits{}, err
	}
	for split, p := range parts {
		p.classes = classes
		kept := p.samples[:0]
		for i, s := range p.samples {
			if label, ok := labelOf[texts[p][i]]; ok {
				s.label = label
				kept = append(kept, s)
			}
		}
		if p.samples = kept; len(kept) == 0 {
			return Splits{}, badf(spec, "the split %s has no images of the classes that are read", split)
		}
	}
	train := parts["train"]
	if train.channels = opt.Channels; train.channels == 0 {
		if train.channels, err = opt.probeChannels(train, 100); err != nil {
			return Splits{}, err
		}
	}
	s := Splits{Train: train}
	for split, to := range map[string]*Dataset{"val": &s.Val, "test": &s.Test} {
		if p := parts[split]; p != nil {
			p.channels = train.channels
			*to = p
		}
	}
	return s, nil
}

// openShard opens a shard, and unpacks it if it is gzipped; room is how many more
// bytes may be in memory.
func openShard(name string, room *int64) (archiveFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, readFailed(name, err)
	}
	z, zipped, err := maybeGzip(name, f)
	if err == nil && !zipped {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			f.Close()
			return nil, readFailed(name, err)
		}
		return f, nil
	}
	defer f.Close()
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, readFailed(name, err)
	}
	most := maxUnpacked(st.Size())
	raw, err := io.ReadAll(io.LimitReader(z, min(*room, most)+1)) // to gzip's checksum
	if err != nil {
		return nil, readFailed(name, err)
	}
	if int64(len(raw)) > most {
		return nil, badf(name, "unpacks to more than %d MB, which would have to be kept in memory: gunzip it, a plain .tar is read in place", most>>20)
	}
	if *room -= int64(len(raw)); *room < 0 {
		return nil, badf(name, "more than %d GiB of gzipped shards unpacked, which would have to be kept in memory: gunzip them, a plain .tar is read in place", maxGzippedTar>>30)
	}
	return bytes.NewReader(raw), nil
}

// readShard lists a shard's samples and their labels as text.
func readShard(name string, f archiveFile) (samples []webSample, labels []string, err error) {
	var key string
	var now webSample
	label := ""
	has := false // an image, since key began
	same := map[string]string{}
	end := func() error {
		switch {
		case key == "" || !has && label == "":
			return nil
		case !has:
			return badf(name, "sample %s has a label and no image", key)
		case label == "":
			return badf(name, "sample %s has no label: there should be %s.cls, or a field label or cls in %s.json", key, path.Base(key), path.Base(key))
		}
		if kept, ok := same[label]; ok {
			label = kept
		} else {
			same[label] = label
		}
		now.number = int32(len(samples))
		samples, labels = append(samples, now), append(labels, label)
		return nil
	}
	err = eachInTar(name, f, webDatasetWant, func(h *tar.Header, body io.Reader) error {
		dir, base := path.Split(h.Name)
		if isHidden(base) {
			return nil
		}
		stem, ext, _ := strings.Cut(base, ".")
		if isLink(h) {
			return badf(name+": "+h.Name, "is a link to %s: links are not read in shards, write the file itself", h.Linkname)
		}
		if k := dir + stem; k != key {
			if err := end(); err != nil {
				return err
			}
			key, now, label, has = k, webSample{}, "", false
		}
		switch {
		case isImageName("x." + ext):
			if has {
				return badf(name+": "+h.Name, "the second image of this sample")
			}
			at, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return readFailed(name, err)
			}
			now.at, now.size, has = at, int32(h.Size), true // at most maxFile
		case ext == "cls" || ext == "json":
			if h.Size > maxLine {
				return badf(name+": "+h.Name, "%d bytes: a label takes no more than %d", h.Size, maxLine)
			}
			raw, err := readExactly(body, h.Size)
			if err != nil {
				return readFailed(name+": "+h.Name, err)
			}
			if ext == "json" {
				raw = jsonLabel(raw)
			}
			if text := strings.TrimSpace(string(raw)); ext == "cls" || label == "" {
				label = text
			}
		}
		return nil
	})
	if err == nil {
		err = end()
	}
	if err == nil && len(samples) == 0 {
		err = badf(name, "no samples in this shard: it should be %s", webDatasetWant)
	}
	return samples, labels, err
}

// jsonLabel is the label in a sample's object, or nothing.
func jsonLabel(raw []byte) []byte {
	var object struct{ Cls, Label json.RawMessage }
	if json.Unmarshal(raw, &object) != nil {
		return nil
	}
	for _, v := range []json.RawMessage{object.Label, object.Cls} {
		var text string
		var number json.Number
		if json.Unmarshal(v, &text) == nil && text != "" {
			return []byte(text)
		}
		if json.Unmarshal(v, &number) == nil && number != "" {
			return []byte(number)
		}
	}
	return nil
}

func (d *webSplit) Len() int          { return len(d.samples) }
func (d *webSplit) Classes() []string { return d.classes }
func (d *webSplit) Label(i int) int   { return int(d.samples[i].label) }

func (d *webSplit) Name(i int) string {
	s := d.samples[i]
	return d.shards[s.shard].path + ": sample " + strconv.Itoa(int(s.number))
}

func (d *webSplit) block(i int) (id, size int64) {
	s := d.samples[i]
	return int64(s.shard)<<32 | int64(s.number/tarStretch), int64(s.size)
}

func (d *webSplit) raw(i int) ([]byte, error) {
	s := d.samples[i]
	raw, err := readExactly(io.NewSectionReader(d.shards[s.shard].r, s.at, int64(s.size)), int64(s.size))
	if err != nil {
		return nil, readFailed(d.Name(i), err)
	}
	return raw, nil
}

func (d *webSplit) Image(i int) (Image, error) {
	raw, err := d.raw(i)
	if err != nil {
		return Image{}, err
	}
	return decodeImage(d.Name(i), raw, d.channels)
}
