package flush

import (
	"errors"
	"sync"
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

// What is marked while a round runs is in the next one, together.
func TestRounds(t *testing.T) {
	var rounds [][]Log
	var mu sync.Mutex
	f := New(Options{Backend: backend(func(dirty []Log) error {
		mu.Lock()
		rounds = append(rounds, append([]Log(nil), dirty...))
		mu.Unlock()
		return PerFile(2).Flush(dirty)
	})})
	slow := &logStub{gate: make(chan error), began: make(chan struct{})}
	f.Mark(slow)
	<-slow.began
	a, b, c := &logStub{}, &logStub{}, &logStub{}
	for _, l := range []Log{a, b, c} {
		f.Mark(l)
	}
	slow.gate <- nil
	require.Eventually(t, func() bool { return a.syncs.Load()+b.syncs.Load()+c.syncs.Load() == 3 },
		10*time.Second, time.Millisecond)
	f.Close()
	require.Equal(t, [][]Log{{slow}, {a, b, c}}, rounds)
	f.Mark(a)
	f.Close()
	require.Equal(t, int32(1), a.syncs.Load(), "a closed flusher flushes nothing")
}

type backend func([]Log) error

func (b backend) Flush(dirty []Log) error { return b(dirty) }

// No more than the given number of syncs run at once, and all of a round have ended when it ends.
func TestParallel(t *testing.T) {
	began := make(chan struct{}, 10)
	gate := make(chan error)
	var dirty []Log
	for range 10 {
		dirty = append(dirty, &logStub{gate: gate, began: began})
	}
	done := make(chan error)
	go func() { done <- PerFile(3).Flush(dirty) }()
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
	require.NoError(t, <-done)
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
