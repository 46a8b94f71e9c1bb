package server

import (
	"container/list"
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// budget bounds the bytes of requests in memory over all connections. Frames take it as their bytes arrive, and requests of
// many parts, or with much to answer, when they are parsed and served, first come first served. Partly read frames could block
// each other for ever, each holding a part and waiting for more, so when nothing is free the first that waits may go on beyond
// the limit: the elder. There is one at a time, until its request is answered, so memory is bounded by the limit plus what one
// request may take: the largest frame (Limits.MaxRequestBytes), and for what is made of it as much again, or leastForms if
// that is more.
//
// Requests that are parked (Handler) keep what they hold for as long as their clients like. So that they do not keep all
// others out, whoever begins to wait has them answered, and none is parked while somebody waits. Either order of the two is
// safe: a request is first registered where Relieve looks for it and then asks pressed; who waits is queued first and calls
// Relieve then. One of them sees the other.
type budget struct {
	waits   prometheus.Counter        // of requests for others' memory; nil = not counted
	relieve func(pressed func() bool) // Handler.Relieve; nil = nothing is parked

	mu        sync.Mutex
	limit     int64
	free      int64     // below 0 while an elder overdraws
	elder     *lease    // may overdraw
	waiting   list.List // of *waiter
	relieving bool      // a goroutine runs relief
	unmet     bool      // somebody began to wait since it called relieve last
}

// lease is what one request holds of the budget. It is used by one goroutine at a time.
type lease struct {
	b    *budget
	held int64
}

type waiter struct {
	lease   *lease
	n       int64
	granted chan struct{} // closed when granted
}

func newBudget(limit int64) *budget { return &budget{limit: limit, free: limit} }

// resize changes the limit. What is held beyond a lower one stays held.
func (b *budget) resize(limit int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += limit - b.limit
	b.limit = limit
	b.wake()
}

// grow takes n more bytes, waiting for them if need be. waited says whether it did.
func (l *lease) grow(ctx context.Context, n int64) (waited bool, err error) {
	b := l.b
	b.mu.Lock()
	if b.elder == l || (b.waiting.Len() == 0 && (b.free >= n || b.elder == nil)) {
		b.grant(l, n)
		b.mu.Unlock()
		return false, nil
	}
	w := &waiter{lease: l, n: n, granted: make(chan struct{})}
	at := b.waiting.PushBack(w)
	b.unmet = true
	relief := b.relieve != nil && !b.relieving
	b.relieving = b.relieving || relief
	b.mu.Unlock()
	if relief {
		go b.relief()
	}
	if b.waits != nil {
		b.waits.Inc()
	}
	select {
	case <-w.granted:
		return true, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.granted: // at the same moment; the lease holds it and release gives it back
	default:
		b.waiting.Remove(at)
		b.wake()
	}
	return true, context.Cause(ctx)
}

// try takes n more bytes if nobody has to wait for that.
func (l *lease) try(n int64) bool {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting.Len() > 0 || b.free < n {
		return false
	}
	b.grant(l, n)
	return true
}

// grant is called with b.mu held.
func (b *budget) grant(l *lease, n int64) {
	if b.free < n {
		b.elder = l
	}
	b.free -= n
	l.held += n
}

// release gives everything back.
func (l *lease) release() {
	if l.held == 0 {
		return
	}
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += l.held
	l.held = 0
	if b.elder == l {
		b.elder = nil
	}
	b.wake()
}

// wake is called with b.mu held.
func (b *budget) wake() {
	for at := b.waiting.Front(); at != nil; at = b.waiting.Front() {
		w := at.Value.(*waiter)
		if b.free < w.n && b.elder != nil && b.elder != w.lease {
			return
		}
		b.waiting.Remove(at)
		b.grant(w.lease, w.n)
		close(w.granted)
	}
}

// pressed reports whether a request waits for memory.
func (b *budget) pressed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting.Len() > 0
}

// relief has what is parked answered, once more for those who began to wait meanwhile, however many they are. There is one
// at a time, and it ends when nobody waits who came after it looked.
func (b *budget) relief() {
	for {
		b.mu.Lock()
		if b.waiting.Len() == 0 || !b.unmet {
			b.relieving = false
			b.mu.Unlock()
			return
		}
		b.unmet = false
		b.mu.Unlock()
		b.relieve(b.pressed)
	}
}

// used is the bytes held.
func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limit - b.free
}
