// Package reason takes the system's own words out of its errors.
package reason

import (
	"errors"
	"io/fs"
	"os"
)

// Of is why the system refused a file, without the operation and the name, for a
// message that has them in other words; other errors are as they are.
func Of(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	if l := (*os.LinkError)(nil); errors.As(err, &l) {
		return l.Err
	}
	return err
}
