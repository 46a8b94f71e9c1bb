package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// ReadNow gives what is in the page cache and says ErrWait for the rest; where the kernel does not know the question, it
// asks once a file and waits from there on. Errors and the end of the file are ReadAt's.
func TestReadNow(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("some text"), 0o600); err != nil {
		t.Fatal(err)
	}
	real := preadNow
	defer func() { preadNow = real }()
	for _, c := range []struct {
		name  string
		n     int // that the kernel gives; -1: as many as asked for
		err   error
		want  error
		asked int // by two reads
	}{
		{"all is there", -1, nil, nil, 2},
		{"nothing is there", -1, unix.EAGAIN, ErrWait, 2},
		{"some is there", 3, nil, ErrWait, 2},
		{"the disk fails", -1, unix.EIO, nil, 2},
		{"the file system cannot tell", -1, unix.EOPNOTSUPP, nil, 1},
		{"the kernel cannot tell", -1, unix.ENOSYS, nil, 1},
		{"a filter of system calls", -1, unix.EPERM, nil, 1},
	} {
		f, err := OS().OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		preadNow = func(_ int, p []byte, off int64) (int, error) {
			asked++
			if c.err != nil {
				return 0, c.err
			}
			n := copy(p, "some text"[off:])
			if c.n >= 0 {
				n = c.n
			}
			return n, nil
		}
		for range 2 {
			b := make([]byte, 4)
			_, err := f.ReadNow(b, 5)
			if !errors.Is(err, c.want) || c.want == nil && string(b) != "text" {
				t.Errorf("%s: %q, %v; want %v", c.name, b, err, c.want)
			}
		}
		if f.Waits() != (c.asked == 1) {
			t.Errorf("%s: it waits: %v", c.name, f.Waits())
		}
		if asked != c.asked {
			t.Errorf("%s: the kernel was asked %d times, want %d", c.name, asked, c.asked)
		}
		preadNow = real
		if n, err := f.ReadNow(make([]byte, 1), 9); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("beyond the end: %d bytes, %v", n, err)
		}
		if _, err := f.ReadNow(make([]byte, 1), -1); err == nil {
			t.Error("no error before the beginning")
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A read from the page cache allocates nothing.
func TestReadNowAllocations(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("some text"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OS().OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 9)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := f.ReadNow(b, 0); err != nil && !errors.Is(err, ErrWait) {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
