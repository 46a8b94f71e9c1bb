package hot

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
)

// A read that may not wait finds what a read finds that may, or says that it would have to wait; it neither waits nor opens
// anything, and what it could not do leaves nothing pinned.
func TestTryRead(t *testing.T) {
	faulty := disk.NewFaulty(disk.NewCrashable(1), nil)
	rng := rand.New(rand.NewPCG(5, 6))
	d := openDir(t, faulty, "/log")
	l := d.open(0, func(c *Config) { c.SegmentBytes = 20_000; c.IndexIntervalBytes = 300 })
	for i := range 400 {
		appendTo(t, l, batch(1+i%5, 100, startMs))
	}
	require.NoError(t, d.Close())
	d = openDir(t, faulty, "/log")
	l = d.open(0, nil)
	segs := l.segments()
	require.Greater(t, len(segs), 3)
	missing := 0 // of 100 reads
	faulty.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpReadNow && rng.IntN(100) < missing {
			return disk.Fault{Err: disk.ErrWait}
		}
		return disk.Fault{}
	})
	var data, want Data
	require.ErrorIs(t, l.TryReadTo(&data, 1, l.End(), 1000, true), disk.ErrWait, "the files are not open yet")
	found, waited := 0, 0
	for i := range 3000 {
		missing = i % 3 * 30
		offset := rng.Int64N(l.End())
		limit, size, one := offset+rng.Int64N(l.End()-offset+1), rng.IntN(5000), rng.IntN(2) == 0
		blocking := faulty.Count(disk.OpRead) + faulty.Count(disk.OpOpen)
		err := l.TryReadTo(&data, offset, limit, size, one)
		require.Equal(t, blocking, faulty.Count(disk.OpRead)+faulty.Count(disk.OpOpen))
		if errors.Is(err, disk.ErrWait) {
			waited++
			require.Empty(t, data.pins)
		} else {
			found++
			require.NoError(t, err)
		}
		l.hints.clear()
		require.NoError(t, l.ReadTo(&want, offset, limit, size, one))
		if err == nil {
			require.Equal(t, want.Regions, data.Regions)
			require.Equal(t, [3]int64{want.First, want.Next, int64(want.Bytes)}, [3]int64{data.First, data.Next, int64(data.Bytes)})
			data.Release()
		}
		want.Release()
		if i%500 == 0 {
			segs[rng.IntN(len(segs))].shut() // as the sweep does
		}
	}
	require.Greater(t, found, 500)
	require.Greater(t, waited, 500)
	for _, s := range segs {
		if h := s.file.pin(); h != nil {
			require.EqualValues(t, 2, h.refs.Load(), "a file is still pinned")
			h.release()
		}
	}
	faulty.SetHook(disk.FailFrom(disk.OpReadNow, 1, unix.EIO))
	l.hints.clear()
	require.ErrorIs(t, l.TryReadTo(&data, l.End()-2, l.End()-1, 1, true), ErrUnreadable, "a failure is no reason to wait")
	require.NoError(t, d.Close())
	require.ErrorIs(t, l.TryReadTo(&data, 1, 10, 1000, true), disk.ErrWait, "who may wait is told that the log is closed")
	require.ErrorIs(t, l.ReadTo(&data, 1, 10, 1000, true), ErrClosed)
}

// Files that the kernel was told to forget are read again, and give what was written.
func TestTryReadOfForgottenFiles(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, disk.OS(), dir)
	defer func() { require.NoError(t, d.Close()) }()
	l := d.open(0, func(c *Config) { c.SegmentBytes = 1 << 20; c.IndexIntervalBytes = 300 })
	var wrote []byte
	var ends []int64 // in bytes, by offset
	for range 8000 {
		b := batch(1, 400, startMs)
		appendTo(t, l, b)
		wrote = append(wrote, b...)
		ends = append(ends, int64(len(wrote)))
	}
	require.NoError(t, l.Flush())
	for _, s := range l.segments() {
		require.NoError(t, s.flushIndexes())
	}
	_ = all(t, l, l.End(), 1<<20) // opens what it finds closed
	var data Data
	rng := rand.New(rand.NewPCG(7, 8))
	waited := 0
	deadline := time.Now().Add(20 * time.Second) // pages that were just written may stay for a moment
	for i := 0; i < 300 || waited < 10 && time.Now().Before(deadline); i++ {
		if i%10 == 0 {
			forget(t, filepath.Join(dir, part(0).String()))
		}
		offset := rng.Int64N(l.End())
		l.hints.clear()
		err := l.TryReadTo(&data, offset, l.End(), 3000, true)
		if errors.Is(err, disk.ErrWait) {
			waited++
			err = l.ReadTo(&data, offset, l.End(), 3000, true)
		}
		require.NoError(t, err)
		got := make([]byte, data.Bytes)
		at := got
		for _, r := range data.Regions {
			require.NoError(t, readFull(r.File, at[:r.Length], r.Position))
			at = at[r.Length:]
		}
		data.Release()
		begin := int64(0)
		if offset > 0 {
			begin = ends[offset-1]
		}
		require.Equal(t, wrote[begin:ends[data.Next-1]], got)
	}
	if waited == 0 {
		t.Skip("what is not in the page cache cannot be told here")
	}
}

// forget takes a folder's files out of the page cache.
func forget(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.NoError(t, unix.Fdatasync(int(f.Fd())))
		require.NoError(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
		require.NoError(t, f.Close())
	}
}
