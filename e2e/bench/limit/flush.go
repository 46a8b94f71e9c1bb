package main

import (
	"errors"
	"slices"
	"sync"
)

// flusher answers what is durable: one flush at a time, which covers all that was written when it began, then an answer
// to each connection that waited for it.
type flusher struct {
	sync func() error
	done chan struct{}

	mu      sync.Mutex
	work    sync.Cond
	waiting []*sinkConn // guarded by mu
	ended   bool        // guarded by mu
	err     error       // guarded by mu: the first failed flush. Nothing is answered after it.
}

func newFlusher(sync func() error) *flusher {
	f := &flusher{sync: sync, done: make(chan struct{})}
	f.work.L = &f.mu
	go f.run()
	return f
}

// answer hands over the connection's answers, to be sent when what was written until now is durable.
func (f *flusher) answer(c *sinkConn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	c.pending = append(c.pending, c.out...)
	if !c.queued {
		c.queued = true
		f.waiting = append(f.waiting, c)
		f.work.Signal()
	}
	return nil
}

func (f *flusher) run() {
	defer close(f.done)
	var round []*sinkConn
	for {
		f.mu.Lock()
		for len(f.waiting) == 0 && !f.ended {
			f.work.Wait()
		}
		if f.ended {
			f.mu.Unlock()
			return
		}
		round, f.waiting = f.waiting, round[:0]
		for _, c := range round {
			c.pending, c.due, c.queued = c.due[:0], c.pending, false
		}
		f.mu.Unlock()
		if err := f.sync(); err != nil {
			f.fail(err, round)
			return
		}
		for _, c := range round {
			_, _ = c.c.Write(c.due) // whose connection is closed does not wait any more
		}
	}
}

// fail closes whoever waits: none is answered (I-02's rule holds for a reference too).
func (f *flusher) fail(err error, round []*sinkConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = errors.Join(errors.New("a flush failed"), err)
	for _, c := range slices.Concat(round, f.waiting) {
		_ = c.c.Close()
	}
}

func (f *flusher) close() error {
	f.mu.Lock()
	f.ended = true
	f.work.Signal()
	f.mu.Unlock()
	<-f.done
	return f.err
}
