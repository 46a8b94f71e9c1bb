package flush

import (
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// TestForgetNeedsNoRoom: on a full disk, rounds and what makes logs forgotten use up what is filled. Who wants to forget
// one then is not left waiting: what frees space does that.
func TestForgetNeedsNoRoom(t *testing.T) {
	f := disk.NewFaulty(newDisk(t, 1), nil)
	j := NewJournal(JournalOptions{FS: f, Dir: "/log", FileBytes: 8 << 20, Logger: slog.New(slog.DiscardHandler)})
	locked := func(fn func() bool) func() bool {
		return func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			return fn()
		}
	}
	wait := func(fn func() bool) { t.Helper(); require.Eventually(t, locked(fn), 10*time.Second, time.Millisecond) }
	var logs []*memLog
	for i := range 70 {
		logs = append(logs, newMemLog(i))
	}
	j.wake()
	wait(func() bool { return len(j.free) == 1 && j.free[0].ready == slice })
	f.SetHook(disk.FailFrom(disk.OpWrite, 1, syscall.ENOSPC))
	for { // until there is no room for rounds, with each log named
		for _, l := range logs {
			l.append(make([]byte, 8<<10))
		}
		before := j.Stats().Frames.Load()
		require.NoError(t, j.Flush(asLogs(logs...)))
		wait(func() bool { return !j.fullAt.IsZero() && !j.draining })
		if j.Stats().Frames.Load() == before {
			break
		}
	}
	for locked(func() bool { return j.fits(block, barrierRoom) })() {
		logs[0].append([]byte("x"))
		require.NoError(t, j.Flush(asLogs(logs[0])))
	}
	var wg sync.WaitGroup
	for _, l := range logs {
		require.NoError(t, l.Sync())
		wg.Go(func() {
			if err := j.Forget(l, l.part, l.Durable()); err != nil {
				t.Error(err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("somebody waits for room that there will not be")
	}
	require.NoError(t, j.Close())
	<-ended
}
