package tensorboard

import (
	"encoding/binary"
	"image"
	"maps"
	"math"
	"slices"
)

// The messages that an event file consists of, encoded by hand: a dozen fields of
// TensorFlow's event.proto, summary.proto, tensor.proto and of the hparams
// plugin, which say nothing of their own about how they are stored.

// message is a protocol buffer under construction.
type message []byte

const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

func (m *message) key(field, wire int) { *m = binary.AppendUvarint(*m, uint64(field<<3|wire)) }

// varint is a field of a whole number or an enumeration.
func (m *message) varint(field int, v int64) {
	m.key(field, wireVarint)
	*m = binary.AppendUvarint(*m, uint64(v)) // a negative one takes ten bytes, as an int64 field's must
}

func (m *message) double(field int, v float64) {
	m.key(field, wire64)
	*m = binary.LittleEndian.AppendUint64(*m, math.Float64bits(v))
}

func (m *message) float(field int, v float32) {
	m.key(field, wire32)
	*m = binary.LittleEndian.AppendUint32(*m, math.Float32bits(v))
}

// bytes is a field of bytes, a string or another message.
func (m *message) bytes(field int, v []byte) {
	m.key(field, wireBytes)
	*m = binary.AppendUvarint(*m, uint64(len(v)))
	*m = append(*m, v...)
}

func (m *message) string(field int, v string) { m.bytes(field, []byte(v)) }

// event is an Event: when, at which step, and one field that says what.
func event(wall float64, step int64, field int, what []byte) message {
	var m message
	m.double(1, wall)
	if step != 0 {
		m.varint(2, step)
	}
	m.bytes(field, what)
	return m
}

// The fields of an Event that are written.
const (
	eventFileVersion = 3
	eventSummary     = 5
	eventSessionLog  = 7
)

// sessionStart is a SessionLog that says START.
func sessionStart() message {
	var m message
	m.varint(1, 1)
	return m
}

// summary is a Summary of one Value.
func summary(value message) message {
	var m message
	m.bytes(1, value)
	return m
}

// value begins a Summary.Value.
func value(tag string) message {
	var m message
	m.string(1, tag)
	return m
}

func scalarValue(tag string, v float64) message {
	m := value(tag)
	m.float(2, float32(v))
	return m
}

func imageValue(tag string, size image.Point, png []byte) message {
	var picture message
	picture.varint(1, int64(size.Y))
	picture.varint(2, int64(size.X))
	picture.varint(3, 3) // RGB
	picture.bytes(4, png)
	m := value(tag)
	m.bytes(4, picture)
	return m
}

func textValue(tag, text string) message {
	m := value(tag)
	m.bytes(8, stringTensor(text))
	m.bytes(9, metadata("text", nil))
	return m
}

func settingsValue(settings map[string]any, start float64) message {
	m := value(SettingsTag)
	m.bytes(8, noTensor())
	m.bytes(9, metadata("hparams", hparams(settings, start)))
	return m
}

// metadata is a SummaryMetadata: the plugin that shows a tag and its own data, if
// it has any.
func metadata(plugin string, content []byte) message {
	var p, m message
	p.string(1, plugin)
	if content != nil {
		p.bytes(2, content)
	}
	m.bytes(1, p)
	return m
}

// stringTensor is a TensorProto of no dimensions that holds a string.
func stringTensor(s string) message {
	var m message
	m.varint(1, 7) // DT_STRING
	m.bytes(2, nil)
	m.string(8, s)
	return m
}

// noTensor is the TensorProto beside metadata that says all: one dimension of
// length 0.
func noTensor() message {
	var shape, m message
	shape.bytes(2, nil) // a Dim of the default size
	m.varint(1, 1)      // DT_FLOAT
	m.bytes(2, shape)
	return m
}

// hparams is the hparams plugin's data at a run's start: its settings and, in
// seconds, the time.
func hparams(settings map[string]any, start float64) message {
	var info message
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		var v message // a google.protobuf.Value
		switch x := settings[name].(type) {
		case float64:
			v.double(2, x)
		case string:
			v.string(3, x)
		case bool:
			n := int64(0)
			if x {
				n = 1
			}
			v.varint(4, n)
		default:
			continue
		}
		var entry message
		entry.string(1, name)
		entry.bytes(2, v)
		info.bytes(1, entry)
	}
	info.double(5, start)
	var m message
	m.bytes(3, info)
	return m
}
