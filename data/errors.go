package data

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"selfcon/internal/reason"
	"selfcon/internal/shell"
)

// Error is bad or missing data: a file that is not what its name, its header
// or the other files promise. It is never a mistake in the spec itself (see
// SpecError).
type Error struct {
	// Path is the file or folder; for a member of an archive "archive: member".
	Path string
	// Reason says what is wrong and what would be right.
	Reason string
	// Err is the cause, if another error was one.
	Err error
}

// Error is "path: reason".
func (e *Error) Error() string { return e.Path + ": " + e.Reason }

// Unwrap is the cause, so that errors.Is(err, fs.ErrNotExist) works.
func (e *Error) Unwrap() error { return e.Err }

// SpecError is a dataset spec that can't be understood, whatever is on disk: an
// unknown format, a path that is missing or not wanted, options that no format
// takes. It is a usage error.
type SpecError struct {
	// Spec is the spec as given.
	Spec string
	// Reason says what is wrong and what would be right.
	Reason string
}

// Error is `dataset "spec": reason`.
func (e *SpecError) Error() string { return fmt.Sprintf("dataset %q: %s", e.Spec, e.Reason) }

// badf is an Error for path with a formatted reason. An error among the
// arguments becomes the cause.
func badf(path, format string, args ...any) *Error {
	e := &Error{Path: path, Reason: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			e.Err = err
		}
	}
	return e
}

// SeeCheck adds to the error of an image of the set that spec names where all
// that are like it can be seen.
func SeeCheck(spec string, err error) error {
	var bad *Error
	if spec == "" || !errors.As(err, &bad) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return badf(bad.Path, "%s; all images with faults are listed by: selfcon data check %s", bad.Reason, shell.Quote(spec)).because(err)
}

// readFailed words an error met while opening or reading path.
func readFailed(path string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return badf(path, "no such file or folder").because(err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badf(path, "the file ends too early: is it a whole copy?").because(err)
	}
	return badf(path, "can't be read: %v", reason.Of(err)).because(err)
}

func (e *Error) because(err error) *Error {
	e.Err = err
	return e
}
