package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"selfcon/internal/reason"
)

// Cached is the set that spec names, read from a packed copy in the folder dir;
// the copy is made on first use, and again when the source has changed: another
// list of names, labels or classes, or files of another size or time; or when the
// copy is damaged, which a note tells. form says,
// in a word, what opt.Resize of pack does ("" without): it is part of the
// copy's name. made tells whether the copy was made now.
//
// Opening the source is all that a later use costs; of its images one is read at most.
func Cached(ctx context.Context, dir, spec string, opt Options, form string, pack PackOptions) (s Splits, made bool, err error) {
	source, err := Open(spec, opt)
	if err != nil {
		return Splits{}, false, err
	}
	if strings.HasPrefix(spec, "packed:") && form == "" {
		return source, false, nil
	}
	if opt.Channels == 0 { // a run says how many it found when it is opened again, and means the same copy
		first, err := source.Train.Image(0)
		if err != nil {
			return Splits{}, false, SeeCheck(spec, err)
		}
		opt.Channels = first.Channels
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %d %q %q %q", spec, opt.Channels, opt.Order, opt.Classes, form))
	path := filepath.Join(dir, cacheName(spec)+"-"+hex.EncodeToString(key[:6])+".pack")
	pack.Source, pack.stamp = spec, stamp(source)
	notes := source.Notes
	if s, head, err := openPackedHead(path); err == nil && head.Stamp == pack.stamp {
		s.Notes = notes
		return s, false, nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		if st, e := os.Stat(path); e != nil || !st.Mode().IsRegular() {
			return Splits{}, false, err
		}
		notes = append(notes, fmt.Sprintf("the cache is made anew, as it can't be used: %v", err))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Splits{}, false, fmt.Errorf("the cache's folder %s can't be made: %w", dir, reason.Of(err))
	}
	if err := PackFile(ctx, path, source, pack); err != nil {
		return Splits{}, false, err
	}
	s, err = openPacked(path)
	s.Notes = notes
	return s, true, err
}

// PackFile is Pack into a file, which is written whole or not at all.
func PackFile(ctx context.Context, path string, s Splits, opt PackOptions) error {
	return replaceFile(path, func(w io.Writer) error { return Pack(ctx, w, s, opt) })
}

// cacheName is a short name for a spec's set.
func cacheName(spec string) string {
	name, path, _ := strings.Cut(spec, ":")
	if path != "" {
		name, _, _ = strings.Cut(filepath.Base(path), ".")
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, name)
}

// stamped is a set that can say which files it reads.
type stamped interface {
	// sources calls each with every file, once.
	sources(each func(path string))
}

// stamp sums up what a set is made of: classes, names, labels, and the sizes and
// times of its files.
func stamp(s Splits) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", s.Train.Classes())
	for _, n := range s.Named() {
		fmt.Fprintf(h, "%s %d\n", n.Name, n.Len())
		for i := range n.Len() {
			fmt.Fprintf(h, "%s\x00%d\n", n.Dataset.Name(i), n.Label(i))
		}
		ds := n.Dataset
		if r, ok := ds.(*rechannelled); ok {
			ds = r.Dataset
		}
		if f, ok := ds.(stamped); ok {
			f.sources(func(path string) {
				if st, err := os.Stat(path); err == nil {
					fmt.Fprintf(h, "%d %d\n", st.Size(), st.ModTime().UnixNano())
				}
			})
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (d *imageFiles) sources(each func(path string)) {
	if a, ok := d.tree.(*archive); ok {
		each(a.path)
		return
	}
	for i := range d.files {
		each(d.Name(i))
	}
}

func (d *parquetSplit) sources(each func(path string)) {
	for i, p := range d.pages {
		if i == 0 || p.file != d.pages[i-1].file {
			each(p.file.path)
		}
	}
}

func (d *webSplit) sources(each func(path string)) {
	for _, s := range d.shards {
		each(s.path)
	}
}

func (m *memory) sources(each func(path string)) {
	for i := range m.pix {
		// A name is a path and what in it.
		path, _, _ := strings.Cut(m.name(i), ": ")
		if i == 0 || !strings.HasPrefix(m.name(i-1), path) {
			each(path)
		}
	}
}
