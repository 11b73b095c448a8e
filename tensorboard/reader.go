package tensorboard

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
)

// SettingsTag is the tag of what Writer.Settings writes.
const SettingsTag = "_hparams_/session_start_info"

// Holds says whether the event files in a run's folder have anything with a tag,
// in an event that is whole: a program that was killed may have had it in memory
// only.
func Holds(dir, tag string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	var field message
	field.string(1, tag) // of a Summary.Value
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "events.out.tfevents.") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return false, err
		}
		const head, tail = 12, 4
		for len(text) >= head {
			n := binary.LittleEndian.Uint64(text)
			if n > uint64(len(text)-head) || uint64(len(text)-head)-n < tail {
				break // not whole, and the last
			}
			event := text[head : head+n]
			if binary.LittleEndian.Uint32(text[head+n:]) != masked(event) {
				break // TensorBoard reads no further either
			}
			if bytes.Contains(event, field) {
				return true, nil
			}
			text = text[head+n+tail:]
		}
	}
	return false, nil
}
