package flush

import (
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// failingRun appends, flushes and forgets with small files that are used again and again, with the n-th synced write failing,
// until a step fails or all are done, and checks what a crash then leaves. It gives the error of the step in which the write
// was, and how many writes there were.
func failingRun(t *testing.T, n int) (writes int, err error) {
	t.Helper()
	mem := newDisk(t, 1)
	fail := disk.FailNth(disk.OpWriteSync, n, syscall.EIO)
	j := testJournal(disk.NewFaulty(mem, func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWriteSync {
			writes = c.N
		}
		return fail(c)
	}), 64<<10)
	logs := []*memLog{newMemLog(0), newMemLog(1)}
	steps := []func() error{
		func() error { return j.Flush(asLogs(logs...)) },
		func() error { return j.Flush(asLogs(logs...)) },
		func() error { return j.Forget(logs[0], logs[0].part, logs[0].Durable()) },
	}
	for i := 0; i < 120 && err == nil && (n == 0 || writes < n); i++ {
		for _, l := range logs {
			l.append(make([]byte, 1000))
		}
		err = steps[i%len(steps)]()
	}
	if j.failure() != nil {
		logs[0].append([]byte("x"))
		require.ErrorIs(t, j.Flush(asLogs(logs[0])), syscall.EIO, "nothing is tried again")
	}
	r, rerr := ReadJournal(mem.Crash(), "/log")
	require.NoError(t, rerr)
	for _, l := range logs {
		b, rerr := l.recovered(r)
		require.NoError(t, rerr)
		require.GreaterOrEqual(t, len(b), l.acked)
	}
	require.NoError(t, r.Close())
	require.NoError(t, j.Close())
	return writes, err
}

// TestEachJournalWriteMayFail (I-31): whichever write of the journal fails, also the mark in a file that another follows, the
// round or the Forget that it is part of says so, and nothing is flushed after it.
func TestEachJournalWriteMayFail(t *testing.T) {
	writes, err := failingRun(t, 0)
	require.NoError(t, err)
	require.Greater(t, writes, 90)
	for n := 1; n <= writes; n++ {
		_, err := failingRun(t, n)
		require.ErrorIs(t, err, syscall.EIO, "write %d of %d failed", n, writes)
	}
}

// TestFailedForget (I-31): a write that fails outside of the rounds takes the directory offline as well, and lets go who waits.
func TestFailedForget(t *testing.T) {
	f := disk.NewFaulty(newDisk(t, 1), nil)
	failed := make(chan error, 1)
	j := NewJournal(JournalOptions{FS: f, Dir: "/log", FileBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler), OnError: func(err error) { failed <- err }})
	l := newMemLog(0)
	require.Eventually(t, func() bool { // once there is a file
		l.append([]byte("x"))
		require.NoError(t, j.Flush(asLogs(l)))
		return j.Stats().Frames.Load() > 0
	}, 10*time.Second, time.Millisecond)
	f.SetHook(disk.FailFrom(disk.OpWriteSync, 1, syscall.EIO))
	require.NoError(t, l.Sync())
	require.ErrorIs(t, j.Forget(l, l.part, l.Durable()), syscall.EIO)
	select {
	case err := <-failed:
		require.ErrorIs(t, err, syscall.EIO)
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	j.mu.Lock()
	require.ErrorIs(t, j.wait(), syscall.EIO)
	j.mu.Unlock()
	require.NoError(t, j.Close())
}

// TestNothingIsForgottenAfterAFailure (I-27, I-31): a write that failed may be on the disk all the same, and the next start may
// find it. Of a log that only that write names, Forget cannot say that the journal does not speak of it.
func TestNothingIsForgottenAfterAFailure(t *testing.T) {
	mem := newDisk(t, 1)
	f := disk.NewFaulty(mem, nil)
	j := testJournal(f, 64<<10)
	known, unknown := newMemLog(0), newMemLog(1)
	for range 2 {
		known.append([]byte("x"))
		require.NoError(t, j.Flush(asLogs(known)))
	}
	require.NoError(t, j.Forget(unknown, unknown.part, 0))
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWriteSync {
			return disk.Fault{Err: syscall.EIO, Short: c.Bytes}
		}
		return disk.Fault{}
	})
	unknown.append([]byte("y"))
	require.ErrorIs(t, j.Flush(asLogs(unknown)), syscall.EIO)
	r, err := ReadJournal(mem, "/log")
	require.NoError(t, err)
	b, err := unknown.recovered(r)
	require.NoError(t, err)
	require.Equal(t, unknown.data, b, "the write reached the disk")
	require.NoError(t, r.Close())
	require.ErrorIs(t, j.Forget(unknown, unknown.part, 0), syscall.EIO)
	require.NoError(t, j.Close())
	require.ErrorIs(t, j.Forget(unknown, unknown.part, 0), syscall.EIO, "also once it is closed")
}

// TestFailedDrainForgetsNothing (I-27, I-31): the frame that would have said that nothing before it counts is not there.
func TestFailedDrainForgetsNothing(t *testing.T) {
	f := disk.NewFaulty(newDisk(t, 1), nil)
	j := testJournal(f, 64<<10)
	l := newMemLog(0)
	for range 2 {
		l.append([]byte("x"))
		require.NoError(t, j.Flush(asLogs(l)))
	}
	f.SetHook(disk.FailFrom(disk.OpWriteSync, 1, syscall.EIO))
	_, err := j.drain()
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, j.Forget(l, l.part, l.Durable()), syscall.EIO)
	require.NoError(t, j.Close())
}

// TestForgetAfterClose: of a log that a journal without a failure does not name there is nothing to forget, closed or not.
func TestForgetAfterClose(t *testing.T) {
	j := testJournal(newDisk(t, 1), 64<<10)
	named, other := newMemLog(0), newMemLog(1)
	for range 2 {
		named.append([]byte("x"))
		require.NoError(t, j.Flush(asLogs(named)))
	}
	require.NoError(t, j.Close())
	require.NoError(t, j.Forget(other, other.part, 0))
	require.ErrorIs(t, j.Forget(named, named.part, named.Durable()), errClosed)
}
