package hot

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// What a full disk kept from being removed is removed the next time, whether its log was open or not.
func TestRemoveOnAFullDisk(t *testing.T) {
	for _, opened := range []bool{true, false} {
		d, f, mem := faultyWorld(t)
		l := d.open(0, nil)
		appendTo(t, l, batch(3, 10, startMs))
		require.NoError(t, l.Flush())
		folder := l.Folder()
		if !opened {
			require.NoError(t, d.Close())
			d = openDir(t, f, "/log")
		}
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpRename && c.Name == folder {
				return disk.Fault{Err: syscall.ENOSPC}
			}
			return disk.Fault{}
		})
		for range 2 {
			require.ErrorIs(t, d.Remove(part(0)), ErrFull)
			require.True(t, d.Stored(part(0)))
		}
		require.NoError(t, d.Offline())
		f.SetHook(nil)
		require.NoError(t, d.Remove(part(0)))
		_, err := mem.Stat(folder)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Empty(t, d.Partitions())
		require.Zero(t, d.open(0, nil).End())
		require.NoError(t, d.Close())
	}
}

// I-31: whether a removal is durable is not asked twice.
func TestRemoveThatIsNotDurable(t *testing.T) {
	d, f, _ := faultyWorld(t)
	l := d.open(0, nil)
	appendTo(t, l, batch(3, 10, startMs))
	require.NoError(t, l.Flush())
	f.SetHook(disk.FailNth(disk.OpSyncDir, f.Count(disk.OpSyncDir)+1, syscall.ENOSPC))
	require.ErrorIs(t, d.Remove(part(0)), ErrOffline)
	require.ErrorIs(t, d.Offline(), syscall.ENOSPC)
	require.Error(t, d.Close())
}

// A log that was removed is not kept because it was never flushed.
func TestRemovedLogIsLetGoOf(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	for i := range int32(3) {
		appendTo(t, d.open(i, func(c *Config) { c.FlushMessages, c.FlushMs = Forever, Forever }), batch(1, 10, startMs))
	}
	require.Len(t, d.dirty.set, 3)
	require.NoError(t, d.Remove(part(1)))
	d.housekeep()
	require.Len(t, d.dirty.set, 2, "those that are still there may be flushed one day")
	require.NoError(t, d.Close())
}
