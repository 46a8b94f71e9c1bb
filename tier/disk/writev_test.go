package disk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestShortWrites lets the kernel take part of what it is given, be interrupted, or fail midway.
func TestShortWrites(t *testing.T) {
	defer func(real func(int, [][]byte, int64) (int, error)) { pwritev = real }(pwritev)
	rng := rand.New(rand.NewPCG(1, 2))
	name := t.TempDir() + "/f"
	for round := range 200 {
		f, err := OS().OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		var bufs [][]byte
		for range rng.IntN(3000) {
			b := make([]byte, rng.IntN(20))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			bufs = append(bufs, b)
		}
		want := bytes.Join(bufs, nil)
		failAt, calls := -1, 0
		if round%4 == 0 {
			failAt = rng.IntN(5)
		}
		pwritev = func(fd int, iov [][]byte, off int64) (int, error) {
			calls++
			if len(iov) > iovMax {
				t.Fatalf("%d buffers in one call", len(iov))
			}
			if calls-1 == failAt {
				return -1, unix.ENOSPC
			}
			if rng.IntN(4) == 0 {
				return -1, unix.EINTR
			}
			all := bytes.Join(iov, nil)
			return unix.Pwrite(fd, all[:1+rng.IntN(len(all))], off)
		}
		n, err := f.WritevAt(bufs, 0)
		switch {
		case errors.Is(err, unix.ENOSPC) && failAt >= 0:
		case err != nil || n != int64(len(want)):
			t.Fatalf("round %d: wrote %d of %d, %v", round, n, len(want), err)
		}
		if got, err := ReadFile(OS(), name); err != nil || !bytes.Equal(got, want[:n]) {
			t.Fatalf("round %d: the file has other bytes than the %d reported ones, %v", round, n, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	pwritev = func(int, [][]byte, int64) (int, error) { return 0, nil }
	f, err := OS().OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WritevAt([][]byte{[]byte("x")}, 0); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a kernel that never writes: %v", err)
	}
}

func BenchmarkWritevAt(b *testing.B) {
	b.ReportAllocs()
	f, err := OS().OpenFile(b.TempDir()+"/f", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	bufs := [][]byte{make([]byte, 1024), make([]byte, 1024)}
	b.SetBytes(2048)
	for b.Loop() {
		if _, err := f.WritevAt(bufs, 0); err != nil {
			b.Fatal(err)
		}
	}
}
