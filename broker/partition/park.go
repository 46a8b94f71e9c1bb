package partition

import (
	"sync"
	"time"
)

// parking is how a fetch waits. It is woken by a partition, its own timer, a client that goes away, others that need its
// memory (AnswerWaiting) or the end of the Manager; the first one has resume called.
type parking struct {
	waits      []Ticket // of the wait that runs or ran last; they stay where they are
	prev, next *fetch   // in the Manager's ring of those that wait; guarded by its fetchMu

	mu     sync.Mutex
	parked bool        // waits for a wake-up; guarded by mu
	armed  bool        // whoever wakes it has it resumed; until then await does; guarded by mu
	timeUp bool        // that was the wake-up: what is there is to be answered; guarded by mu
	owed   int         // wake-ups by partitions that are still to come; guarded by mu
	until  time.Time   // a timer that fires before is an earlier wait's; guarded by mu
	timer  *time.Timer // calls expire; guarded by mu
}

// settled reports whether no partition holds a ticket of the fetch any more, so that it may be used again.
func (k *parking) settled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.owed == 0
}

// park waits until a partition's watermark covers more than was read, or time is up.
func (f *fetch) park(wait time.Duration) {
	n := 0
	for i := range f.results { // worked out first: once a wake-up is possible, the results are its goroutine's
		v := &f.views[i]
		v.wait, v.need = f.req.Partitions[i].Partition != nil && !f.results[i].capped, f.results[i].next+1
		if v.wait {
			n++
		}
	}
	f.mu.Lock()
	if f.owed > 0 || cap(f.waits) < n { // a ticket that is still to be called is not used again
		f.waits = make([]Ticket, 0, n)
	}
	f.waits = f.waits[:0]
	f.parked, f.armed, f.timeUp = true, false, false
	f.until = time.Now().Add(wait)
	if f.timer == nil {
		f.timer = time.AfterFunc(wait, f.expire)
	} else {
		f.timer.Reset(wait)
	}
	f.mu.Unlock()
	f.m.waiting(f)
	if f.m.waits.Err() != nil || f.ctx.Err() != nil || f.req.Client != nil && !f.req.Client.Watch(f) {
		f.wake(true)
	}
	f.await()
}

// await takes places in the queues of the partitions, as long as nobody has woken the fetch.
func (f *fetch) await() {
	for i := range f.views {
		if !f.views[i].wait {
			continue
		}
		f.mu.Lock()
		if !f.parked {
			f.mu.Unlock()
			break
		}
		f.waits = append(f.waits, Ticket{})
		t := &f.waits[len(f.waits)-1]
		f.owed++
		f.mu.Unlock()
		// It wakes before it returns when records came in since they were read.
		f.req.Partitions[i].Partition.AwaitWith(t, f.views[i].need, f)
	}
	f.mu.Lock()
	f.armed = true
	woken, over := !f.parked, f.timeUp
	f.mu.Unlock()
	switch {
	case woken && over:
		f.resume()
	case woken: // not here: what comes in fast enough would have it wait, and go on, ever deeper in one call
		f.resumeElsewhere()
	}
}

// Wake implements Waker.
func (f *fetch) Wake(int16) {
	f.mu.Lock()
	f.owed--
	resume := f.claim(false)
	f.mu.Unlock()
	if resume {
		f.resumeElsewhere()
	}
}

// Gone is called when nobody waits for the answer any more.
func (f *fetch) Gone() { f.wake(true) }

func (f *fetch) wake(timeUp bool) {
	f.mu.Lock()
	resume := f.claim(timeUp)
	f.mu.Unlock()
	if resume {
		f.resumeElsewhere()
	}
}

// expire is called by the timer, of which one that fires late may belong to an earlier wait, even to another fetch's.
func (f *fetch) expire() {
	f.mu.Lock()
	resume := !time.Now().Before(f.until) && f.claim(true)
	f.mu.Unlock()
	if resume {
		f.resumeElsewhere()
	}
}

// claim lets the first of several wake-ups through, and reports whether its caller is to have the fetch resumed. Who
// comes too late with the news that time is up is not missed: the next wait finds out at once. The caller holds mu.
func (f *fetch) claim(timeUp bool) bool {
	if !f.parked {
		return false
	}
	f.parked, f.timeUp = false, timeUp
	return f.armed
}

// resumeElsewhere has resume called on a goroutine of its own.
func (f *fetch) resumeElsewhere() {
	f.m.crew.begin()
	go f.resumeFn()
}

func (f *fetch) resumed() {
	m := f.m // f may be another's when resume returns
	f.resume()
	m.crew.end()
}

// resume ends the wait and looks again.
func (f *fetch) resume() {
	f.mu.Lock()
	f.timer.Stop()
	f.over = f.timeUp
	f.mu.Unlock()
	f.m.waited(f)
	cancelled := 0
	for i := range f.waits {
		if f.waits[i].Cancel() {
			cancelled++
		}
	}
	f.mu.Lock()
	f.owed -= cancelled
	f.mu.Unlock()
	f.round()
}

// answerTogether is how many fetches are answered before it is asked again whether more are to be.
const answerTogether = 64

// AnswerWaiting answers fetches that wait for records, those that have waited longest first, with what there is, as if their
// time was up, while more reports true. One that begins to wait meanwhile is not missed as long as its client says so
// (Client.Watch). It waits neither for the disk nor for clients.
func (m *Manager) AnswerWaiting(more func() bool) {
	var memory [answerTogether]*fetch
	for more() {
		some := m.claimSome(memory[:0])
		if len(some) == 0 {
			return
		}
		for _, f := range some {
			f.resume()
		}
	}
}

// fetchRing is the fetches that wait.
type fetchRing struct {
	fetchMu sync.Mutex
	root    fetch // of a ring; only prev and next are used, guarded by fetchMu
}

func (r *fetchRing) init() { r.root.prev, r.root.next = &r.root, &r.root }

func (r *fetchRing) waiting(f *fetch) {
	r.fetchMu.Lock()
	f.prev, f.next = r.root.prev, &r.root
	f.prev.next, f.next.prev = f, f
	r.fetchMu.Unlock()
}

func (r *fetchRing) waited(f *fetch) {
	r.fetchMu.Lock()
	f.prev.next, f.next.prev = f.next, f.prev
	f.prev, f.next = nil, nil
	r.fetchMu.Unlock()
}

// claimSome ends the waits of as many as there is room for in some, and gives those that the caller is to resume.
func (r *fetchRing) claimSome(some []*fetch) []*fetch {
	r.fetchMu.Lock()
	defer r.fetchMu.Unlock()
	for f := r.root.next; f != &r.root && len(some) < cap(some); f = f.next {
		f.mu.Lock()
		if f.claim(true) {
			some = append(some, f)
		}
		f.mu.Unlock()
	}
	return some
}

// wakeAll ends the waits of all.
func (r *fetchRing) wakeAll() {
	r.fetchMu.Lock()
	defer r.fetchMu.Unlock()
	for f := r.root.next; f != &r.root; f = f.next {
		f.wake(true)
	}
}
