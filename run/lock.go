package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"selfcon/config"
	"selfcon/internal/reason"
)

// lockName is a file that the process which trains in a folder holds a lock on,
// and which says who that is. The lock goes when the process does, however it
// ends; the file stays.
const lockName = ".lock"

// What lockFile may say besides the errors of the machine.
var (
	errLocked  = errors.New("locked")
	errNoLocks = errors.New("the file system has no locks")
)

// lock keeps other processes from doing something in dir, such as training,
// until the file is closed. Where the file system has no locks there is nothing
// to be had, and the work goes on without.
func lock(dir, doing string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: can't be opened to write: %w", path, reason.Of(err))
	}
	err = lockFile(f)
	if errors.Is(err, errLocked) {
		who, _ := io.ReadAll(io.LimitReader(f, 200)) // the error below is what matters
		f.Close()
		return nil, &config.Error{Setting: "run", Reason: fmt.Sprintf("another process is %s in %s: %s", doing, dir, strings.TrimSpace(string(who)))}
	}
	if err != nil && !errors.Is(err, errNoLocks) {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	host, _ := os.Hostname() // for people: nothing depends on it
	text := fmt.Sprintf("process %d on %s\n", os.Getpid(), host)
	if err := f.Truncate(0); err == nil { // on a full disk the lock is all that counts
		_, _ = f.WriteAt([]byte(text), 0)
	}
	return f, nil
}

// Busy says whether a process is training in dir.
func Busy(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if err != nil {
		return false // nobody ever trained there, or it can't be known
	}
	defer f.Close()
	return errors.Is(lockFile(f), errLocked)
}
