package hot

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/epoch"
)

// A partition that was never written to is no file and no fsync, and answers like any empty log.
func TestUnmade(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := openDir(t, f, "/log")
	before := []int{f.Count(disk.OpDatasync), f.Count(disk.OpSyncDir), f.Count(disk.OpOpen), f.Count(disk.OpMkdir)}
	l := d.open(0, nil)
	require.NoError(t, l.AssignEpoch(0, -1))
	e, end := l.EndOfEpoch(0)
	require.Equal(t, []int64{0, 0}, []int64{int64(e), end})
	require.NoError(t, l.Roll())
	require.NoError(t, l.Flush())
	require.NoError(t, l.AdvanceStart(0))
	freed, err := l.Trim(0, "test")
	require.NoError(t, err)
	require.Zero(t, freed)
	require.NoError(t, l.Truncate(0))
	data, err := l.Read(0, 0, 1000, true)
	require.NoError(t, err)
	require.Zero(t, data.Bytes)
	data.Release()
	_, ok, err := l.OffsetForTime(0, 0)
	require.NoError(t, err)
	require.False(t, ok)
	_, ok, err = l.MaxTimestamp(0)
	require.NoError(t, err)
	require.False(t, ok)
	require.Empty(t, producersOf(l))
	require.Zero(t, l.Bytes())
	require.NoError(t, d.SaveState())
	// SaveState itself replaces a file: a datasync, an open, a synced folder.
	after := []int{f.Count(disk.OpDatasync), f.Count(disk.OpSyncDir), f.Count(disk.OpOpen), f.Count(disk.OpMkdir)}
	require.Equal(t, []int{before[0] + 1, before[1] + 1, before[2] + 1, before[3]}, after)
	require.False(t, l.Stored())
	require.NoError(t, d.Remove(part(0)))
	require.NoError(t, d.Close())

	d = openDir(t, f, "/log")
	require.Empty(t, d.Partitions(), "nothing of it is on disk")
	require.NoError(t, d.Close())
}

// The folder cannot be made: the append fails, nothing was stored, and the next one tries again (I-02, I-03).
func TestUnmadeOnFullDisk(t *testing.T) {
	d, f, _ := faultyWorld(t)
	l := d.open(0, nil)
	f.SetHook(disk.FailNth(disk.OpMkdir, f.Count(disk.OpMkdir)+1, syscall.ENOSPC))
	_, err := tryAppend(l, batch(1, 10, startMs), 0)
	require.ErrorIs(t, err, ErrFull)
	require.False(t, l.Stored())
	require.Zero(t, appendTo(t, l, batch(1, 10, startMs)).BaseOffset)
	require.True(t, l.Stored())
}

// A log that begins where its archive ends has its folder from then on.
func TestResetMakes(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(1)
	require.NoError(t, l.Reset(100, []epoch.Entry{{Epoch: 3, Start: 7}}, nil))
	require.True(t, l.Stored())
	w.power(false)
	l = w.open(1)
	require.Equal(t, int64(100), l.End())
	require.Equal(t, int32(3), l.latestEpoch())
}

// TestUnmadeLives (I-38, I-03): a new life of a name begins empty, whatever the former one left: its folder, its start,
// and a power cut between the two.
func TestUnmadeLives(t *testing.T) {
	for _, cut := range []bool{false, true} {
		w := newWorld(1, "")
		l := w.open(0)
		w.putMany(l, 2)
		require.NoError(t, l.AdvanceStart(l.End()))
		w.id[3]++ // deleted and made again while the broker was away
		if cut {
			w.power(false)
		}
		l = w.open(0)
		require.Zero(t, l.End())
		require.Zero(t, l.LogStart())
		require.Len(t, w.d.Strays(), 1)
		want := w.put(l, 2)
		w.power(false)
		l = w.open(0)
		holds(l, want)
		require.Zero(t, l.LogStart())
		require.Equal(t, int64(2), l.End())
	}
}
