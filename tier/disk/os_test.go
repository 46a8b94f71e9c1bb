package disk_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/disk/disktest"
)

func TestOS(t *testing.T) {
	disktest.Run(t, func(t *testing.T) (disk.FS, string) { return disk.OS(), t.TempDir() })
}

func TestRoot(t *testing.T) {
	disktest.Run(t, func(t *testing.T) (disk.FS, string) {
		root := t.TempDir() + "/logs"
		fsys, err := disk.Root(root)
		if err != nil {
			t.Fatal(err)
		}
		if err := fsys.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		return fsys, root
	})
}

func TestFree(t *testing.T) {
	total, free, err := disk.Free(t.TempDir())
	if err != nil || total == 0 || free > total {
		t.Errorf("%d of %d bytes free, %v", free, total, err)
	}
	if _, _, err := disk.Free("/no/such/folder"); err == nil {
		t.Error("no error for a missing folder")
	}
}

func TestBootID(t *testing.T) {
	a, err := disk.BootID()
	if err != nil || len(a) != 36 {
		t.Fatalf("%q, %v", a, err)
	}
	if b, _ := disk.BootID(); a != b {
		t.Errorf("%q, then %q", a, b)
	}
}

// Reads leave the inode alone.
func TestReadsDoNotNoteTheTime(t *testing.T) {
	name := t.TempDir() + "/f"
	for _, flag := range []int{os.O_RDWR | os.O_CREATE | os.O_EXCL, os.O_RDONLY} {
		f, err := disk.OS().OpenFile(name, flag, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		flags, err := unix.FcntlInt(f.OS().Fd(), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NOATIME == 0 {
			t.Errorf("opened with %#x: flags %#x, %v", flag, flags, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
