package reason

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOf(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, read := os.ReadFile(missing)
	for _, err := range []error{read, fmt.Errorf("more: %w", read), os.Rename(missing, missing+"2")} {
		if got := Of(err); strings.Contains(got.Error(), "missing") || !errors.Is(got, os.ErrNotExist) {
			t.Errorf("%v: %v", err, got)
		}
	}
	if err := fmt.Errorf("x: %w", syscall.ENOSPC); Of(err) != err {
		t.Errorf("%v becomes %v", err, Of(err))
	}
}
