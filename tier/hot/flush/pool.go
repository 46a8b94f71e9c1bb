package flush

import (
	"slices"
	"sync"
)

// pool syncs logs, some at once, without anybody waiting for it: a log that takes long holds up no other. Its goroutines
// run while there is something to sync.
type pool struct {
	most   int
	failed func(error) // told of each failure
	workFn func()      // work, made once

	mu      sync.Mutex
	rest    sync.Cond // of mu: nothing runs
	queue   []Log     // guarded by mu; a log is marked anew only when its Sync has begun, so each is there at most once
	running []Log     // guarded by mu; … and here
	workers int       // guarded by mu
	closed  bool      // guarded by mu
}

func newPool(most int, failed func(error)) *pool {
	p := &pool{most: most, failed: failed}
	p.rest.L = &p.mu
	p.workFn = p.work
	return p
}

func (p *pool) add(logs []Log) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.queue = append(p.queue, logs...)
	for range min(len(logs), p.most-p.workers) {
		p.workers++
		go p.workFn()
	}
}

func (p *pool) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := p.next(); l != nil; l = p.next() {
		p.running = append(p.running, l)
		p.mu.Unlock()
		err := l.Sync()
		if err != nil {
			p.failed(err)
		}
		p.mu.Lock()
		i := slices.Index(p.running, l)
		p.running = slices.Delete(p.running, i, i+1)
	}
	if p.workers--; p.workers == 0 {
		p.rest.Broadcast()
	}
}

// next takes the first log off the queue that is not being synced; who syncs the others will find them when he is done.
func (p *pool) next() Log {
	for i, l := range p.queue {
		if !slices.Contains(p.running, l) {
			p.queue = slices.Delete(p.queue, i, i+1)
			return l
		}
	}
	return nil
}

// drop lets go of what waits, and of all that comes.
func (p *pool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	clear(p.queue)
	p.queue = p.queue[:0]
}

// close is drop that returns when nothing runs.
func (p *pool) close() {
	p.drop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.workers > 0 {
		p.rest.Wait()
	}
}
