package run

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Log is a run's log: every line that its process prints, with the time in
// front. It never fails: a training does not end because its log can't be
// written.
type Log struct {
	mu   sync.Mutex
	file *os.File // nil: lines are kept in early
	rest []byte   // of a line that is not complete
}

// open appends to the log in dir.
func (l *Log) open(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, LogFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	l.file = f
}

// Write takes lines, which may come in pieces.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := append(time.Now().AppendFormat(nil, "2006-01-02T15:04:05.000Z07:00 "), l.rest[:i+1]...)
		l.rest = l.rest[i+1:]
		if l.file != nil {
			_, _ = l.file.Write(line) // a full disk; the next line may fit again
		}
	}
}

func (l *Log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // as in Write
		l.file = nil
	}
}
