package partition

import (
	"sync/atomic"
	"time"
)

// coldWait is what a fetch that waits for the archive waits with, kept from fetch to fetch.
type coldWait struct {
	colds   []coldRead
	alarm   *time.Timer
	news    *hotNews // never one that may still be woken by an earlier fetch's wait
	hearing bool     // news is on
	again   bool     // the local log is to be read again: it has news, or the archive has nothing up to its end
	turned  bool     // turn is known: how long the answer is to wait for its turn
	turn    time.Duration
}

// after gives a channel that tells when d is over; the one before is not to be used any more. Timers don't tell of what
// was before a Reset or Stop (Go 1.23 and later).
func (f *fetch) after(d time.Duration) <-chan time.Time {
	if f.alarm == nil {
		f.alarm = time.NewTimer(d)
	} else {
		f.alarm.Reset(d)
	}
	return f.alarm.C
}

// hotNews gives a channel that tells when a local partition has more than was read, from the first call to stopWaiting.
func (f *fetch) hotNews() <-chan struct{} {
	if f.hearing {
		return f.news.came
	}
	if f.news == nil {
		f.news = &hotNews{came: make(chan struct{}, 1)}
	}
	f.hearing = true
	n := f.news
	if cap(n.tickets) < len(f.results) {
		n.tickets = make([]Ticket, 0, len(f.results)) // they stay where they are
	}
	for i := range f.results {
		p, r := f.req.Partitions[i].Partition, &f.results[i]
		if f.views[i].log == nil || r.capped || r.Error != 0 || r.Bytes > 0 || f.isCold(i) {
			continue // nothing that may come there is for this fetch
		}
		n.tickets = append(n.tickets, Ticket{})
		n.owed.Add(1)
		p.AwaitWith(&n.tickets[len(n.tickets)-1], r.next+1, n)
	}
	return n.came
}

// stopWaiting ends what after and hotNews began.
func (f *fetch) stopWaiting() {
	if f.alarm != nil {
		f.alarm.Stop()
	}
	if f.hearing && !f.news.stop() {
		f.news = nil
	}
	f.hearing = false
}

// hotNews collects the wake-ups of local partitions for a fetch that waits for the archive.
type hotNews struct {
	came    chan struct{} // has room for one
	tickets []Ticket
	owed    atomic.Int32 // wake-ups that are still to come
}

// Wake implements Waker. Nothing is touched after the last one is not owed any more.
func (n *hotNews) Wake(int16) {
	select {
	case n.came <- struct{}{}:
	default:
	}
	n.owed.Add(-1)
}

// stop gives the places up. It reports whether n may be used again: nobody is on the way to wake it.
func (n *hotNews) stop() bool {
	for i := range n.tickets {
		if n.tickets[i].Cancel() {
			n.owed.Add(-1)
		}
	}
	if n.owed.Load() > 0 {
		return false
	}
	clear(n.tickets) // they name partitions
	n.tickets = n.tickets[:0]
	select {
	case <-n.came:
	default:
	}
	return true
}
