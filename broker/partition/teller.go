package partition

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// teller tells those who wait for watermarks that have moved, for all partitions of a Manager. It is not done by who moves a
// watermark: that is the flusher, and its next round should not wait for replies.
//
// It has as many goroutines as can run at once, while there is something to tell: one would send the answers to a round of
// many partitions one after the other, and one for each partition would be a thousand.
type teller struct {
	crew  *crew
	runFn func() // run, made once
	most  int    // goroutines

	mu          sync.Mutex
	first, last *Partition // to be told of, linked by nextTold; guarded by mu
	running     int        // goroutines; guarded by mu
}

func (t *teller) init(c *crew) {
	t.crew, t.runFn, t.most = c, t.run, runtime.GOMAXPROCS(0)
}

// add has Partition.tell called. The caller has set p.telling, so that p is queued once.
func (t *teller) add(p *Partition) {
	t.mu.Lock()
	t.push(p)
	start := t.running < t.most
	if start {
		t.running++
		t.crew.begin()
	}
	t.mu.Unlock()
	if start {
		go t.runFn()
	}
}

// push is called with t.mu held.
func (t *teller) push(p *Partition) {
	if t.last == nil {
		t.first = p
	} else {
		t.last.nextTold = p
	}
	t.last = p
}

// run tells until nothing is queued. A partition that has more to tell comes after the others.
func (t *teller) run() {
	var again *Partition
	for {
		t.mu.Lock()
		if again != nil {
			t.push(again)
			again = nil
		}
		p := t.first
		if p == nil {
			t.running--
			t.mu.Unlock()
			t.crew.end()
			return
		}
		if t.first = p.nextTold; t.first == nil {
			t.last = nil
		}
		p.nextTold = nil
		t.mu.Unlock()
		if p.tell() {
			again = p
		}
	}
}

// crew counts the goroutines that a Manager starts for a moment, to tell and to wake fetches, so that Close can wait for them.
// Those that wait for the disk, or may open a log, are not among them: a stop does not wait for a disk that is stuck.
type crew struct {
	there atomic.Int64
	mu    sync.Mutex
	none  sync.Cond // there is 0; with mu
}

func (c *crew) init() { c.none.L = &c.mu }

// begin is called before the goroutine is started, end as its last deed.
func (c *crew) begin() { c.there.Add(1) }

func (c *crew) end() {
	if c.there.Add(-1) == 0 {
		c.mu.Lock()
		c.none.Broadcast()
		c.mu.Unlock()
	}
}

// wait waits until there is none.
func (c *crew) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.there.Load() > 0 {
		c.none.Wait()
	}
}
