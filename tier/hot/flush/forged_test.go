package flush

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// forged is n bytes of a client who knows the format: at every block of the journal's file stands the header of a frame.
func forged(n int) []byte {
	var head [frameHeader]byte
	putHeader(head[:], header{life: 4711, seq: 1 << 40, floor: 1 << 40})
	b := make([]byte, n)
	for at := block - frameHeader - recHeader - len("logs"); at < n; at += block {
		copy(b[at:], head[:])
	}
	return b
}

// TestForgedFrames (I-01, I-32): what clients write is not taken for a frame, where it is left of an earlier use of a file
// as where it is left of a write that was torn.
func TestForgedFrames(t *testing.T) {
	mem := newDisk(t, 1)
	faulty := disk.NewFaulty(mem, nil)
	j := testJournal(faulty, 64<<10)
	l := newMemLog(0)
	check := func(mem *disk.Crashable) {
		r, err := ReadJournal(mem, "/log")
		require.NoError(t, err)
		b, err := l.recovered(r)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(b), l.acked)
		require.True(t, bytes.HasPrefix(l.data, b))
		require.NoError(t, r.Close())
	}
	for i := 0; j.Stats().Recycled.Load() < 4; i++ {
		b := forged(13_000)
		l.append(b[:1+i%2*12_999])
		require.NoError(t, j.Flush(asLogs(l)))
		check(mem.Crash())
	}
	faulty.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWriteSync {
			return disk.Fault{Err: syscall.EIO, Short: c.Bytes}
		}
		return disk.Fault{}
	})
	l.append(forged(13_000))
	require.ErrorIs(t, j.Flush(asLogs(l)), syscall.EIO)
	for range 50 {
		check(mem.CrashTorn())
	}
}

// TestTornFirstWrite (I-01): the power goes at each moment of a journal's first steps, in its first write, too, which is
// full of forged headers.
func TestTornFirstWrite(t *testing.T) {
	mem := newDisk(t, 1)
	l := newMemLog(0)
	l.append(forged(13_000))
	for _, mem := range moments(mem, func(fsys disk.FS) {
		j := testJournal(fsys, 64<<10)
		require.NoError(t, j.Flush(asLogs(l)))
		l.append(forged(13_000))
		fsys.(*disk.Faulty).SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpWriteSync {
				return disk.Fault{Err: syscall.EIO, Short: c.Bytes}
			}
			return disk.Fault{}
		})
		_ = j.Flush(asLogs(l))
	}) {
		r, err := ReadJournal(mem, "/log")
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
	// One that had nothing before it: nobody was told of it.
	mem, l = newDisk(t, 1), newMemLog(0)
	l.append(forged(13_000))
	j := testJournal(disk.NewFaulty(mem, func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWriteSync && c.Bytes > block {
			return disk.Fault{Err: syscall.EIO, Short: c.Bytes}
		}
		return disk.Fault{}
	}), 64<<10)
	require.ErrorIs(t, j.Flush(asLogs(l)), syscall.EIO)
	for range 50 {
		r, err := ReadJournal(mem.CrashTorn(), "/log")
		require.NoError(t, err)
		_, err = l.recovered(r)
		require.NoError(t, err)
	}
}

// TestFirstBlockIsDamaged: without the first block of a file it is not known what in it is a frame.
func TestFirstBlockIsDamaged(t *testing.T) {
	mem := newDisk(t, 1)
	j := testJournal(mem, 64<<10)
	l := newMemLog(0)
	l.append([]byte("x"))
	require.NoError(t, j.Flush(asLogs(l)))
	for at := range int64(frameHeader) {
		_, err := damaged(t, mem, at)
		require.ErrorIs(t, err, ErrJournal, "byte %d", at)
	}
}
