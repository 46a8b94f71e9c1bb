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
