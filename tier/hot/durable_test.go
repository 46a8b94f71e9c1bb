package hot

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// The tests here are named in tier/disk's removed_test.go: each notices when one line that makes something durable is gone,
// where other lines make up for it in most lives.

// The first mark of a directory survives a power cut as it is. One that was torn would be taken for the worst: that a flush had
// failed (I-31), so that everything is written again.
func TestFirstMarkIsDurable(t *testing.T) {
	mem := disk.NewCrashable(1)
	d := snapshotsDir(t, mem, "boot-1", 1000)
	appendTo(t, d.open(0, nil), batch(1, 100, startMs)) // its folder, and with it all names in the directory
	d.flusher.Close()
	d = snapshotsDir(t, mem.Crash(), "boot-2", 1000)
	require.Equal(t, StopCrashed, d.LastStop())
	require.False(t, d.doubt)
	require.NoError(t, d.Close())
}

// A snapshot of the producers survives a power cut: the first append after it walks through nothing (I-05).
func TestProducerSnapshotIsDurable(t *testing.T) {
	const every = 30_000
	mem := disk.NewCrashable(1)
	d := snapshotsDir(t, mem, "boot-1", every)
	l := d.open(0, nil)
	m := &written{t: t}
	for i := range 300 {
		m.put(l, m.next(int64(1+i%manyProducers), 1, 1000))
		require.NoError(t, l.Flush())
	}
	require.NoError(t, l.snapshotProducers())
	require.NoError(t, d.SaveState())
	d.flusher.Close()
	f := disk.NewFaulty(mem.Crash(), nil)
	read := bytesOf(f, disk.OpRead)
	d = snapshotsDir(t, f, "boot-2", every)
	l = d.open(0, nil)
	require.Equal(t, m.end(), l.End())
	m.again(l, 1)
	require.LessOrEqual(t, read(logSuffix), every+2*smallBuf)
	require.NoError(t, d.Close())
}

// I-01: what the journal said of a log that is damaged is known after the next power cut, too, if the state file could not
// take it over because the disk was full.
func TestDamageOnAFullDiskIsDurable(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	w.unjournaled(l, 3)
	w.put(l, 2)
	w.damage(l)
	w.off(false)
	w.faulty().SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWrite && strings.Contains(c.Name, stateFile) {
			return disk.Fault{Err: syscall.ENOSPC}
		}
		return disk.Fault{}
	})
	w.start()
	_, err := w.d.Open(w.part(0), nil)
	require.ErrorIs(t, err, ErrDamaged)
	w.wrap = nil
	w.power(false)
	_, err = w.d.Open(w.part(0), nil)
	require.ErrorIs(t, err, ErrDamaged)
}
