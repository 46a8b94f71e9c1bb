package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/firnlog/firn/metadata"
)

// hub calls watchers of images in order and lets writers wait until an image has been seen by all.
type hub struct {
	turn sync.Mutex // held while watchers are called; guards nothing else, so that Watch and publish alternate

	mu     sync.Mutex
	fns    map[int]func(*metadata.Image)
	next   int
	seen   int64 // watchers have seen the image of this revision
	known  int64 // etcd says that nothing newer happened up to this revision
	moved  chan struct{}
	closed bool
}

func (h *hub) init() {
	h.fns = make(map[int]func(*metadata.Image))
	h.moved = make(chan struct{})
}

func (h *hub) watch(fn func(*metadata.Image), now func() *metadata.Image) func() {
	h.turn.Lock()
	defer h.turn.Unlock()
	fn(now())
	h.mu.Lock()
	n := h.next
	h.next++
	h.fns[n] = fn
	h.mu.Unlock()
	return func() {
		h.turn.Lock() // fn is not running once we hold it
		defer h.turn.Unlock()
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.fns, n)
	}
}

// publish calls the watchers and then releases who waits for rev. img is nil when only the revision moved.
// swap makes img visible to Image; it happens within the turn, so that a new watcher misses nothing.
func (h *hub) publish(img *metadata.Image, rev int64, swap func()) {
	if img != nil {
		h.turn.Lock()
		swap()
		h.mu.Lock()
		fns := make([]func(*metadata.Image), 0, len(h.fns))
		for i := range h.next { // in the order in which they came
			if fn := h.fns[i]; fn != nil {
				fns = append(fns, fn)
			}
		}
		h.mu.Unlock()
		for _, fn := range fns {
			fn(img)
		}
		h.turn.Unlock()
	}
	h.mu.Lock()
	h.seen = max(h.seen, rev)
	h.known = max(h.known, rev)
	h.wake()
	h.mu.Unlock()
}

// progress notes that etcd has delivered everything up to rev.
func (h *hub) progress(rev int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if rev > h.known {
		h.known = rev
		h.wake()
	}
}

func (h *hub) wake() {
	close(h.moved)
	h.moved = make(chan struct{})
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.wake()
}

// wait returns once watchers have seen rev, a revision at which a key of ours changed.
func (h *hub) wait(ctx context.Context, rev int64) error {
	return h.until(ctx, func() bool { return h.seen >= rev })
}

// waitKnown returns once everything up to rev has been seen, rev being any revision of etcd. Word of a revision
// without a change of ours comes only when etcd is asked, and an answer may get lost with its stream, so ask is
// called again now and then.
func (h *hub) waitKnown(ctx context.Context, rev int64, ask func()) error {
	for {
		h.mu.Lock()
		known := h.known >= rev
		h.mu.Unlock()
		if known {
			return nil
		}
		ask()
		round, cancel := context.WithTimeout(ctx, askAgain)
		err := h.until(round, func() bool { return h.known >= rev })
		cancel()
		if err == nil || ctx.Err() != nil || errors.Is(err, metadata.ErrClosed) {
			return err
		}
	}
}

const askAgain = 250 * time.Millisecond

func (h *hub) until(ctx context.Context, ok func() bool) error {
	for {
		h.mu.Lock()
		done, closed, moved := ok(), h.closed, h.moved
		h.mu.Unlock()
		switch {
		case done:
			return nil
		case closed:
			return metadata.ErrClosed
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
