package flush

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// logStub counts its syncs; each waits for a token on gate, if there is one.
type logStub struct {
	gate  chan error
	began chan struct{}
	syncs atomic.Int32
}

func (l *logStub) Sync() error {
	if l.began != nil {
		l.began <- struct{}{}
	}
	l.syncs.Add(1)
	if l.gate == nil {
		return nil
	}
	return <-l.gate
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, 10*time.Second, time.Millisecond)
}

// A log whose sync takes long holds up no other, is never synced twice at once, and is synced again when it was marked
// meanwhile.
func TestSlowLogHoldsUpNoOther(t *testing.T) {
	f := New(Options{})
	slow := &logStub{gate: make(chan error), began: make(chan struct{}, 10)}
	f.Mark(slow)
	<-slow.began
	a, b, c := &logStub{}, &logStub{}, &logStub{}
	f.Mark(slow)
	for _, l := range []Log{a, b, c} {
		f.Mark(l)
	}
	eventually(t, func() bool { return a.syncs.Load()+b.syncs.Load()+c.syncs.Load() == 3 })
	require.Empty(t, slow.began)
	slow.gate <- nil
	<-slow.began
	slow.gate <- nil
	f.Close()
	require.EqualValues(t, 2, slow.syncs.Load())
	f.Mark(a)
	f.Close()
	require.EqualValues(t, 1, a.syncs.Load(), "a closed flusher flushes nothing")
}

// Close waits for the syncs that run, and drops what waits for one.
func TestClose(t *testing.T) {
	f := New(Options{Parallel: 1})
	slow := &logStub{gate: make(chan error), began: make(chan struct{}, 1)}
	f.Mark(slow)
	<-slow.began
	next := &logStub{}
	f.Mark(next)
	closed := make(chan struct{})
	go func() { f.Close(); close(closed) }()
	eventually(t, func() bool {
		f.pool.mu.Lock()
		defer f.pool.mu.Unlock()
		return f.pool.closed
	})
	select {
	case <-closed:
		t.Fatal("closed while a sync runs")
	default:
	}
	slow.gate <- nil
	<-closed
	require.Zero(t, next.syncs.Load())
}

// Logs with much pending are not waited for by those that the journal takes.
func TestLargeDoesNotHoldUpSmall(t *testing.T) {
	j := testJournal(newDisk(t, 4), 1<<20)
	require.NoError(t, j.Flush([]Log{newMemLog(9)})) // makes its file
	f := New(Options{Journal: j})
	large := &logStub{gate: make(chan error), began: make(chan struct{})}
	f.Mark(large)
	<-large.began
	small := newMemLog(1)
	for i := 1; i <= 3; i++ {
		small.append([]byte("a record"))
		f.Mark(small)
		eventually(t, func() bool {
			small.mu.Lock()
			defer small.mu.Unlock()
			return small.acked == len(small.data)
		})
	}
	require.Zero(t, small.syncs)
	large.gate <- nil
	f.Close()
	require.NoError(t, j.Close())
}

// tenThreeAtOnce gives logs of which no more than three may be synced at once, and what sees to it and ends their syncs.
func tenThreeAtOnce(t *testing.T) (dirty []Log, check func()) {
	began, gate := make(chan struct{}, 10), make(chan error)
	for range 10 {
		dirty = append(dirty, &logStub{gate: gate, began: began})
	}
	return dirty, func() {
		for range 3 {
			<-began
		}
		for range 7 {
			require.Empty(t, began, "a fourth sync has begun")
			gate <- nil
			<-began
		}
		for range 3 {
			gate <- nil
		}
	}
}

// No more than the given number of syncs run at once, and all have ended when syncAll does.
func TestSyncAll(t *testing.T) {
	dirty, check := tenThreeAtOnce(t)
	done := make(chan error)
	go func() { done <- syncAll(dirty, 3) }()
	check()
	require.NoError(t, <-done)
	one := &logStub{gate: make(chan error, 1), began: make(chan struct{}, 1)}
	one.gate <- errors.New("that one")
	require.EqualError(t, syncAll([]Log{one}, 3), "that one")
}

// No more than the given number of syncs run at once.
func TestParallel(t *testing.T) {
	dirty, check := tenThreeAtOnce(t)
	f := New(Options{Parallel: 3})
	for _, l := range dirty {
		f.Mark(l)
	}
	check()
	f.Close()
}

// The first failure ends the flusher: nothing is synced after it, and it is told once (I-31).
func TestFailure(t *testing.T) {
	failed := make(chan error, 10)
	f := New(Options{OnError: func(err error) { failed <- err }})
	bad := &logStub{gate: make(chan error, 1)}
	boom := errors.New("boom")
	bad.gate <- boom
	f.Mark(bad)
	require.ErrorIs(t, <-failed, boom)
	good := &logStub{}
	f.Mark(good)
	f.Close()
	require.Zero(t, good.syncs.Load())
	require.Empty(t, failed)
}
