package dir

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSyncsForReal: fsync(2) of a pipe fails with EINVAL, so that who gets another answer knows that the kernel was
// not asked. TestDurableBeforePutReturns says when a store asks.
func TestSyncsForReal(t *testing.T) {
	s := open(t)
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0) // both ends, so that nobody waits for the other
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.sync.file(f); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("syncing a pipe as a file: %v, want %v", err, syscall.EINVAL)
	}
	if err := s.sync.folder(name); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("syncing a pipe as a folder: %v, want %v", err, syscall.EINVAL)
	}
}
