package hot

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// blocks is what a file takes on the disk, in bytes.
func blocks(t *testing.T, name string) int64 {
	info, err := os.Stat(name)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// A log that is written to in large pieces and flushed has room ahead of its end, which is not longer for it; what is left
// of it goes when the segment is complete, and at a stop.
func TestReserve(t *testing.T) {
	folder := t.TempDir()
	f, err := disk.OS().OpenFile(filepath.Join(folder, "try"), os.O_RDWR|os.O_CREATE, 0o644)
	require.NoError(t, err)
	refused := f.Reserve(0, 1<<20)
	require.NoError(t, f.Close())
	if errors.Is(refused, errors.ErrUnsupported) {
		t.Skip("the file system of the temporary folder takes no room ahead")
	}
	require.NoError(t, refused)

	d := openDir(t, disk.OS(), filepath.Join(folder, "log"))
	l := d.open(0, func(c *Config) { c.FlushMessages = 1 })
	fill := func(bytes int64, size int) {
		for from := l.active().now().size; l.active().now().size < from+bytes; {
			appendTo(t, l, batch(1, size, startMs))
		}
		require.NoError(t, l.Sync())
	}
	name := l.active().file.path()
	over := func() int64 {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, l.active().now().size, info.Size())
		return blocks(t, name) - info.Size()
	}
	fill(5<<20, 1<<10)
	require.Zero(t, l.active().reserved, "small pieces are the journal's")
	fill(64<<10, 64<<10)
	require.Greater(t, over(), int64(1<<20))
	fill(8<<20, 64<<10)
	require.Less(t, over(), l.Bytes()/2, "a part of what is there")

	size := l.active().now().size
	require.NoError(t, l.Roll())
	require.NoError(t, l.Sync())
	require.Less(t, blocks(t, name), size+1<<20)

	name = l.active().file.path()
	fill(11<<19, 64<<10)
	require.Greater(t, over(), int64(1<<19))
	size = l.active().now().size
	require.NoError(t, d.Close())
	require.Less(t, blocks(t, name), size+1<<20)
}

// Who asks for no flushes, or has the whole file made at once, gets nothing ahead; nor does a disk that will not.
func TestNothingIsReserved(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		fault  error
		asked  int
	}{
		"page cache":       {func(c *Config) { c.FlushMessages = Forever }, nil, 0},
		"preallocated":     {func(c *Config) { c.FlushMessages, c.Preallocate, c.SegmentBytes = 1, true, 64<<20 }, nil, 0},
		"the disk refuses": {func(c *Config) { c.FlushMessages = 1 }, syscall.EOPNOTSUPP, 1},
		"the disk is full": {func(c *Config) { c.FlushMessages = 1 }, syscall.ENOSPC, 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			d := openDir(t, reserving{disk.NewCrashable(1), func() error { asked++; return c.fault }}, "/log")
			l := d.open(0, c.change)
			for range 200 {
				appendTo(t, l, batch(1, 64<<10, startMs))
			}
			require.Equal(t, c.asked, asked)
			require.EqualValues(t, 200, l.End())
			require.NoError(t, d.Close())
		})
	}
}

// reserving is a disk that is told of each Reserve.
type reserving struct {
	disk.FS
	reserve func() error
}

type reservingFile struct {
	disk.File
	reserve func() error
}

func (r reserving) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := r.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return reservingFile{f, r.reserve}, nil
}

func (r reservingFile) Reserve(int64, int64) error { return r.reserve() }
