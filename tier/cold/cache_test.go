package cold_test

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/segment"
)

// A scan with a cache smaller than one segment makes progress (I-23), and leaves nothing in the folder.
func TestTinyCache(t *testing.T) {
	h := newHistory(t, 3, 400, 64<<10, segment.CompressionNone)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(folder+"/leftover", []byte("x"), 0o600))
	r := h.reader(cold.Options{CacheBytes: 10 << 10, GroupBytes: 8 << 10, CacheDir: folder})
	for range 2 {
		for o := int64(0); o < h.l.Next; {
			o = h.check(r, o, 3000)
		}
	}
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left, "I-23: leftovers are cleaned, and none are made")
}

// What is pinned stays readable whatever is evicted meanwhile (I-23).
func TestPinnedWhileEvicted(t *testing.T) {
	h := newHistory(t, 4, 400, 32<<10, segment.CompressionNone)
	r := h.reader(cold.Options{CacheBytes: 16 << 10, GroupBytes: 8 << 10})
	d, err := r.Read(context.Background(), h.p, h.l, 0, 4000)
	require.NoError(t, err)
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 8000)
	}
	require.Equal(t, h.bytes[:d.Bytes], content(t, d))
	d.Release()
}

// With a full disk reads go on from memory.
func TestFullDisk(t *testing.T) {
	h := newHistory(t, 9, 300, 32<<10, segment.CompressionNone)
	full := true
	r := h.reader(cold.Options{GroupBytes: 8 << 10, MemoryBytes: 20 << 10, Room: func(int64) bool { return !full }})
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 5000)
	}
	h2 := h.reader(cold.Options{GroupBytes: 8 << 10, MemoryBytes: 20 << 10, FS: fullFS{disk.OS(), 5000}})
	for o := int64(0); o < h.l.Next; {
		o = h.check(h2, o, 5000)
	}
}

// A disk that is full in the middle of a chunk loses nothing of what it took of it.
func TestFullDiskWithinAChunk(t *testing.T) {
	h := newHistory(t, 11, 1500, 4<<20, segment.CompressionNone)
	h.l = &ledger.Ledger{Topic: h.p.ID, Index: 3}
	h.chunks = 1 << 20
	h.archive(h.bytes, 0, segment.CompressionNone)
	r := h.reader(cold.Options{FS: fullFS{disk.OS(), 300 << 10}})
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 100<<10)
	}
}

// fullFS fails writes beyond the first bytes of a file.
type fullFS struct {
	disk.FS
	room int64
}

func (f fullFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	return fullFile{file, f.room}, err
}

type fullFile struct {
	disk.File
	room int64
}

func (f fullFile) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.room {
		return 0, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return f.File.WriteAt(p, off)
}

// A smaller budget counts at once.
func TestSetCacheBytes(t *testing.T) {
	h := newHistory(t, 14, 600, 32<<10, segment.CompressionNone)
	r := h.reader(cold.Options{GroupBytes: 8 << 10})
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 4000)
	}
	require.Greater(t, r.UsedBytes(), int64(64<<10))
	r.SetCacheBytes(64 << 10)
	require.Equal(t, int64(64<<10), r.CacheBytes())
	require.LessOrEqual(t, r.UsedBytes(), int64(64<<10))
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 4000)
	}
}

// The files of the cache are gone as soon as nothing in them is wanted, however their groups went.
func TestCacheFilesAreClosed(t *testing.T) {
	h := newHistory(t, 12, 600, 32<<10, segment.CompressionNone)
	fs := &countingFS{FS: disk.OS()}
	r, err := cold.New(cold.Options{Store: h.store, CacheDir: t.TempDir(), FS: fs, CacheBytes: 64 << 10, GroupBytes: 8 << 10})
	require.NoError(t, err)
	for range 3 {
		for o := int64(0); o < h.l.Next; {
			o = h.check(r, o, 4000)
		}
		require.LessOrEqual(t, fs.open.Load(), int64(40))
	}
	require.Greater(t, fs.made.Load(), int64(20))
	require.NoError(t, r.Close())
	require.Zero(t, fs.open.Load())
}

type countingFS struct {
	disk.FS
	open, made atomic.Int64
}

func (f *countingFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	f.open.Add(1)
	f.made.Add(1)
	return &countedFile{File: file, fs: f}, err
}

type countedFile struct {
	disk.File
	fs *countingFS
}

func (f *countedFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}
