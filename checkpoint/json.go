package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"selfcon/internal/reason"
)

// WriteJSON writes v as indented JSON, whole or not at all.
func WriteJSON(path string, v any) error {
	text, err := Indent(v)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return WriteText(path, text)
}

// numberList is a list of nothing else, indented. JSON has no line break within
// a string, so that it does not match there.
var (
	numberList = regexp.MustCompile(`\[\n[\s\d.,eE+-]*\n\s*\]`)
	breaks     = regexp.MustCompile(`\n\s*`)
)

// WriteText writes text to a file, which is replaced whole or not at all.
func WriteText(path string, text []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// Write makes write's output the file at path, whole or not at all, even if
// the machine stops: a temporary file in the same folder is filled, synced and
// renamed. An error names path.
func Write(path string, write func(io.Writer) error) error {
	return unwritten(path, replace(path, write))
}

// unwritten is the error of what was to be at path, whatever it is called until it
// is whole; nil if there is none.
func unwritten(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: can't be written: %w", path, reason.Of(err))
}

// Indent is v as indented JSON that ends with a line break, a list of numbers
// on one line.
func Indent(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	text = numberList.ReplaceAllFunc(text, func(list []byte) []byte { return breaks.ReplaceAll(list, nil) })
	return append(text, '\n'), nil
}

// Invalid marks the error of a file that could be read and is not what it should
// be: damaged, of another kind, or of something else.
type Invalid struct{ error }

// Unwrap is the error itself.
func (e Invalid) Unwrap() error { return e.error }

// Invalidf is an Invalid of a formatted error.
func Invalidf(format string, args ...any) error { return Invalid{fmt.Errorf(format, args...)} }

// ReadJSON reads a JSON file into v. Fields that v does not have are errors;
// an error names the file and, where it can be told, the line. What it holds is
// at fault if the error is an Invalid.
func ReadJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: can't be read: %w", path, reason.Of(err))
	}
	if err := parseJSON(path, text, v); err != nil {
		return Invalid{err}
	}
	return nil
}

func parseJSON(path string, text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err := d.Token(); err != io.EOF {
			return fmt.Errorf("%s:%d: more follows after the end of the value", path, line(text, d.InputOffset()+1))
		}
		return nil
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: is empty", path)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s:%d: ends too early: it is cut short", path, line(text, int64(len(text))))
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: %w", path, line(text, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("%s:%d: %w", path, line(text, kind.Offset), err)
	}
	// encoding/json does not say where an unknown field is: it is clear where
	// the name comes once.
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		at := regexp.MustCompile(regexp.QuoteMeta(field)+`\s*:`).FindAllIndex(text, -1)
		if len(at) == 1 {
			return fmt.Errorf("%s:%d: unknown field %s", path, line(text, int64(at[0][0])), field)
		}
		return fmt.Errorf("%s: unknown field %s", path, field)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// line is the number of the line that byte offset is on.
func line(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(max(offset, 0), int64(len(text)))], []byte("\n"))
}
