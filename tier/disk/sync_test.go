package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
)

// TestOSSyncsForReal: fdatasync(2) and fsync(2) of a pipe fail with EINVAL, whatever is below, so that who gets
// another answer from Datasync or SyncDir knows that the kernel was not asked. No power need be cut (I-01).
func TestOSSyncsForReal(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := disk.OS().OpenFile(name, os.O_RDWR, 0) // open for reading and writing, so that nobody waits for the other end
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Datasync(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Datasync of a pipe: %v, want %v", err, unix.EINVAL)
	}
	if err := disk.OS().SyncDir(name); !errors.Is(err, unix.EINVAL) {
		t.Errorf("SyncDir of a pipe: %v, want %v", err, unix.EINVAL)
	}
	// This file of the kernel's own takes bytes, but none with RWF_DSYNC.
	const adj = "/proc/self/oom_score_adj"
	same, err := os.ReadFile(adj)
	if err != nil {
		t.Fatal(err)
	}
	own, err := disk.OS().OpenFile(adj, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	if err := own.WritevSync([][]byte{same}, 0); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("WritevSync of %s: %v, want %v", adj, err, unix.EOPNOTSUPP)
	}
}

// TestMkdirAllSync: every folder on the way survives a power cut, and what fails is told.
func TestMkdirAllSync(t *testing.T) {
	mem := disk.NewCrashable(1)
	if err := disk.MkdirAllSync(mem, "/a/b/c", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := disk.MkdirAllSync(mem, "/a/b/c/", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := mem.Crash().Stat("/a/b/c"); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"/x", "/x/y"} {
		f := disk.NewFaulty(disk.NewCrashable(1), func(c disk.Call) disk.Fault {
			if c.Op == disk.OpSyncDir && c.Name == filepath.Dir(dir) {
				return disk.Fault{Err: unix.EIO}
			}
			return disk.Fault{}
		})
		if err := disk.MkdirAllSync(f, "/x/y", 0o755); !errors.Is(err, unix.EIO) {
			t.Errorf("%v although syncing %s failed", err, filepath.Dir(dir))
		}
	}
}
