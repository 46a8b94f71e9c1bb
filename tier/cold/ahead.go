package cold

import (
	"time"

	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// Reading ahead: as soon as a reader is known to be sequential, what follows is fetched in runs of several groups, a few
// at a time, so that the store is asked rarely and for much, while several answers come in side by side.

const (
	// maxRun bounds the bytes of a run, about: few enough for a slow connection to the store.
	maxRun = 16 << 20
	// runShare is which part of its window a reader gets with one GET: so many are under way for it side by side.
	runShare = 8
	// aheadShare of the cache is for what is read ahead, all readers together.
	aheadShare = 4
)

// follow notes a read, and reads ahead when it belongs to a sequential reader that came far enough since the last time.
func (r *Reader) follow(p topic.Partition, l *ledger.Ledger, from int64, d *Data) {
	now := time.Now()
	r.mu.Lock()
	first := 2 * min(r.o.GroupBytes, r.maxRaw)
	longest := max(first, min(r.o.ReadAheadBytes, r.policy.budget/aheadShare/int64(r.streams.readers(now))))
	st := r.streams.read(p, from, d.Next, int64(d.Bytes), first, longest, now)
	start := st.window > 0 && !st.busy && !r.closed && d.Next < l.Next &&
		(st.window > st.looked || st.since >= min(r.o.GroupBytes, r.maxRaw))
	if start {
		st.busy, st.looked, st.since = true, st.window, 0
		st.ledger, st.at, st.wanted = l, d.Next, st.window
		if st.readAhead == nil {
			st.readAhead = func() { r.readAhead(st) }
		}
		r.fills.Add(1)
	}
	r.mu.Unlock()
	if start {
		go st.readAhead()
	}
}

// readAhead begins to fetch what follows where the stream was, over segment ends if need be.
func (r *Reader) readAhead(st *stream) {
	defer r.fills.Done()
	l, at, window := st.ledger, st.at, st.wanted // its own while it is busy
	defer func() {
		r.mu.Lock()
		st.busy, st.ledger = false, nil
		r.mu.Unlock()
	}()
	least := max(min(window/runShare, maxRun), r.o.GroupBytes)
	for ahead := int64(0); ahead < window && at < l.Next; {
		a, err := r.find(r.ctx, l, at)
		if err != nil {
			return // the reader itself meets it and reports it
		}
		c, ok := a.ix.FindOffset(at)
		for n := a.groupOf(c); ok && n < len(a.groups) && ahead < window; {
			there, begun, room := r.prefetch(a, n, least, ahead < window/2)
			for range max(there, begun) {
				ahead += a.groups[n].raw
				n++
			}
			if !room || there+begun == 0 {
				return
			}
		}
		at = a.seg.Next
	}
}

// prefetch looks at group n of a and those that follow it: it counts those that are there or on their way, or else
// begins one run of those that are not, of about `least` bytes. A shorter one waits until more is wanted, unless it ends
// the segment or is urgent. It begins nothing that the cache has no room for.
func (r *Reader) prefetch(a *archived, n int, least int64, urgent bool) (there, begun int, room bool) {
	r.mu.Lock()
	for n+there < len(a.groups) && r.groups[a.key(n+there)] != nil {
		there++
	}
	if there > 0 || r.closed {
		r.mu.Unlock()
		return there, 0, !r.closed
	}
	to, stored := n, int64(0)
	absent := func() bool { return to < len(a.groups) && r.groups[a.key(to)] == nil }
	for ; stored < least && absent(); to++ {
		stored += a.groups[to].stored
	}
	if stored < least && to < len(a.groups) && !urgent {
		r.mu.Unlock()
		return 0, 0, false
	}
	groups, frees := make([]*group, 0, to-n), make([]func(), 0, to-n)
	for room = true; n < to; n++ {
		var g *group
		var free func()
		g, free, room = r.admit(a, n, false)
		frees = append(frees, free)
		if !room {
			break
		}
		g.unread = true
		groups = append(groups, g)
	}
	if len(groups) > 0 {
		r.metrics.prefetches.Add(float64(len(groups)))
		r.fills.Add(1)
		go r.fill(&run{groups: groups, ahead: true})
	}
	r.mu.Unlock()
	for _, free := range frees {
		free()
	}
	return 0, len(groups), room
}
