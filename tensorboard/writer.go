// Package tensorboard writes what TensorBoard shows of a run: event files
// (https://github.com/tensorflow/tensorboard) with scalars, images, text and the
// run's settings, and the files of its embedding projector. Nothing of
// TensorFlow is needed to write or to look at them.
package tensorboard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// flushAfter is how long an event may wait in memory, so that others watch as it
// happens and a program that is killed loses no more than that.
const flushAfter = 2 * time.Second

// Writer appends events to a file. After an error it can be used on: the events
// since the last flush are lost, and the file stays one that can be read.
type Writer struct {
	file    file
	size    int64 // of the file, up to which it holds whole events
	pending bytes.Buffer
	flushed time.Time
	now     func() time.Time
}

// file is what a Writer needs of an *os.File.
type file interface {
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// Create begins an event file in a run's folder. Of the events in the folder's
// earlier files TensorBoard forgets those of step first and later: they are of an
// attempt that was broken off after its last checkpoint. Steps count from 1.
func Create(dir string, first int64) (*Writer, error) {
	now := time.Now()
	// TensorBoard reads a folder's files in the order of their names, so a later
	// one's must sort after an earlier one's.
	name := fmt.Sprintf("events.out.tfevents.%010d.%09d.selfcon", now.Unix(), now.Nanosecond())
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	w := newWriter(f, time.Now)
	w.add(0, eventFileVersion, []byte("brain.Event:2"))
	w.add(first, eventSessionLog, sessionStart())
	if err := w.Flush(); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return w, nil
}

func newWriter(f file, now func() time.Time) *Writer {
	return &Writer{file: f, flushed: now(), now: now}
}

// Scalar adds a point to the curve of that tag. Of a tag "a/b" TensorBoard shows
// the curve b in the section a. The value is kept in float32.
func (w *Writer) Scalar(tag string, step int64, v float64) error {
	return w.summary(step, scalarValue(tag, v))
}

// Image adds a picture.
func (w *Writer) Image(tag string, step int64, im image.Image) error {
	var text bytes.Buffer
	if err := png.Encode(&text, im); err != nil {
		return err
	}
	return w.summary(step, imageValue(tag, im.Bounds().Size(), text.Bytes()))
}

// Text adds a text in Markdown.
func (w *Writer) Text(tag string, step int64, markdown string) error {
	return w.summary(step, textValue(tag, markdown))
}

// Settings adds the run's settings to the table of the HPARAMS tab; values are
// float64, string or bool, others are left out.
func (w *Writer) Settings(settings map[string]any) error {
	return w.summary(0, settingsValue(settings, seconds(w.now())))
}

// summary adds an event, and flushes if the last time is long ago.
func (w *Writer) summary(step int64, m message) error {
	w.add(step, eventSummary, summary(m))
	if w.now().Sub(w.flushed) >= flushAfter || w.pending.Len() > 1<<20 {
		return w.Flush()
	}
	return nil
}

func (w *Writer) add(step int64, field int, what []byte) {
	record(&w.pending, event(seconds(w.now()), step, field, what))
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// Flush writes what is in memory.
func (w *Writer) Flush() error {
	w.flushed = w.now()
	if w.pending.Len() == 0 {
		return nil
	}
	n := int64(w.pending.Len())
	_, err := w.file.WriteAt(w.pending.Bytes(), w.size)
	w.pending.Reset()
	if err != nil {
		// Half an event would make all later ones unreadable.
		return errors.Join(err, w.file.Truncate(w.size))
	}
	w.size += n
	return nil
}

// Close flushes and closes the file.
func (w *Writer) Close() error {
	err := w.Flush()
	if c := w.file.Close(); !errors.Is(c, fs.ErrClosed) {
		err = errors.Join(err, c)
	}
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record frames an event as a TFRecord: its length, a checksum of that, the
// event, a checksum of it.
func record(b *bytes.Buffer, event []byte) {
	var head [12]byte
	binary.LittleEndian.PutUint64(head[:], uint64(len(event)))
	binary.LittleEndian.PutUint32(head[8:], masked(head[:8]))
	b.Write(head[:])
	b.Write(event)
	var tail [4]byte
	binary.LittleEndian.PutUint32(tail[:], masked(event))
	b.Write(tail[:])
}

// masked is a CRC-32C, turned and shifted so that a checksum of data that holds
// checksums stays a good one.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
