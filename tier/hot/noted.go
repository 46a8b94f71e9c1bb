package hot

import (
	"slices"

	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// The state file says of each log, beside up to where it is durable, what was known of its producers at an offset at or below
// that. From there on a recovery after a crash takes them along while it reads what lies above, and that is little however many
// logs are busy: snapshot files (snapshots.go) cost flushes, and are made for a few logs at a time.
//
// It does so before any append, for what is noted has to keep up with the recovery points. Those move with a recovery, and may
// be saved before somebody appends. Were the producers left to the first append, such a save would keep what was noted far
// below: after the next crash all that this one made necessary to read would be walked through once more, and after each further
// crash yet more.
//
// It does not become untrue. What lies below the recovery point of a state file is there for as long as the file is: who cuts
// it off or puts something else in its place (Truncate, Reset, Rewrite) first saves a state that does not vouch for it, and a
// start that finds less does not go on (ErrDamaged). What lies above may be lost to a power cut, and other batches take its
// offsets. So what is known at the end of the log waits in memory, until the recovery point has passed it:
//
//	───────┬──────────────▲────────────┬─────────▶ offset
//	    settled     recovery point   waits, for a later state file
//
// Where memory tells what was known at the recovery point itself (history), as it does where nobody is idempotent and where
// nobody wrote since, nothing has to wait.

const (
	// notedProducers is how many producers a log may have for them to be noted.
	notedProducers = 16
	// notedBytes is how much is noted of all logs together, what waits included. In the state file it is a third more.
	notedBytes = 768 << 10
)

// producersAt is what was known of a log's producers at an offset, where a batch ends. It is never changed.
type producersAt struct {
	Offset   int64  `json:"offset"`
	Snapshot []byte `json:"snapshot,omitempty"` // as in a snapshot file; nil: nobody was known
}

// noted is what a log has noted of its producers; either may be nil.
type noted struct{ settled, waits *producersAt }

func newProducersAt(offset int64, entries []producer.Entry) *producersAt {
	p := &producersAt{Offset: offset}
	if len(entries) > 0 {
		p.Snapshot = producer.AppendSnapshot(nil, entries)
	}
	return p
}

// state is the producer state that it stands for.
func (p *producersAt) state() (*producer.State, error) {
	var entries []producer.Entry
	if len(p.Snapshot) > 0 {
		var err error
		if entries, err = producer.DecodeSnapshot(p.Snapshot); err != nil {
			return nil, err
		}
	}
	st := new(producer.State)
	st.Reset(entries, p.Offset)
	return st, nil
}

func (n noted) bytes() (sum int) {
	for _, p := range []*producersAt{n.settled, n.waits} {
		if p != nil {
			sum += len(p.Snapshot)
		}
	}
	return sum
}

// upTo is what was noted last of an offset from first to last, nil if nothing was.
func (n noted) upTo(first, last int64) *producersAt {
	for _, p := range []*producersAt{n.waits, n.settled} {
		if p != nil && p.Offset >= first && p.Offset <= last {
			return p
		}
	}
	return nil
}

// noteProducers notes what is known of the producers of the logs, in so many bytes. Who is not noted keeps what was noted
// before. It is called by one goroutine at a time, for the state file that is about to be written.
func noteProducers(logs []*Log, bytes int) {
	for _, l := range logs {
		l.mu.Lock()
		bytes -= l.noted.bytes()
		l.mu.Unlock()
	}
	for _, l := range logs {
		l.mu.Lock()
		if next := l.nextNoted(); next.bytes() <= bytes+l.noted.bytes() {
			bytes += l.noted.bytes() - next.bytes()
			l.noted = next
		}
		l.mu.Unlock()
	}
}

// nextNoted is what is to be noted of the log, under mu. While it is frozen that is nothing new: its end is about to be another,
// and what lies below may be.
func (l *Log) nextNoted() noted {
	n, at, end := l.noted, l.durable.tail.next, l.end.Load()
	if !l.loaded || l.frozen || !l.Stored() || l.producers.Len() > notedProducers {
		return n
	}
	stands := n.settled != nil && n.settled.Offset == at
	if stands && at == end { // most logs of many: nothing is made for them
		return n
	}
	entries, ok := l.known(at)
	switch {
	case stands:
	case ok:
		n.settled = newProducersAt(at, entries)
	case n.waits != nil && n.waits.Offset <= at:
		n.settled = n.waits
	}
	if n.waits != nil && n.waits.Offset <= at {
		n.waits = nil
	}
	if n.waits == nil && !ok {
		n.waits = newProducersAt(end, l.atEnd())
	}
	return n
}

// forgetNoted forgets, under mu, what was noted of offsets above.
func (l *Log) forgetNoted(above int64) {
	for _, p := range []**producersAt{&l.noted.settled, &l.noted.waits} {
		if *p != nil && (*p).Offset > above {
			*p = nil
		}
	}
}

// recall makes what the state file says of the producers of a log, which nobody uses yet, what is noted of them.
func (l *Log) recall(st *logState) {
	if p := st.Producers; p != nil && p.Offset <= l.End() {
		l.noted.settled = p
	}
}

// follow has the recovery take the producers along, through the batches that it reads from the end of s's tail on: from what was
// noted of them, or from a snapshot that is nearer. Where nothing was noted of batches that it does not read, or far below, the
// first append finds out. It is of use before the first batch is read.
func (r *recovery) follow(s *segment) {
	if r.followed || r.reread {
		return
	}
	r.followed = true
	at := s.now().next
	w, err := r.producersUpTo(at)
	switch {
	case err != nil:
		r.l.dir.logger.Debug("the producers are not known before the first append", "partition", r.l.name, "offset", at, "because", err)
	case w != nil && w.st.End() >= at:
		r.producers = w
	}
}

// producersUpTo goes from what is known of the producers towards an offset, in the segments that are taken as they are, and notes
// what snapshots there are behind. It gives nil where that could be a long way.
func (r *recovery) producersUpTo(offset int64) (*walker, error) {
	first := r.segs[0].base
	st, from := new(producer.State), first
	st.AdvanceEnd(first)
	noted := r.st != nil && r.st.Producers != nil && r.st.Producers.Offset >= first // else what it was true of was trimmed
	if noted {
		var err error
		if st, err = r.st.Producers.state(); err != nil {
			return nil, err
		}
		from = st.End() + 1
	}
	at, entries, err := r.l.newestSnapshot(from, offset)
	if err != nil {
		return nil, err
	}
	if entries != nil {
		st.Reset(entries, at)
	}
	if st.End() < offset && !noted {
		return nil, nil
	}
	if r.snapshots, err = r.l.snapshots(); err != nil {
		return nil, err
	}
	r.snapshots = slices.DeleteFunc(r.snapshots, func(at int64) bool { return at <= max(offset, st.End()) })
	w := walkFrom(st)
	w.most, w.now = walkSteps*r.l.dir.o.checkpointBytes, r.l.dir.nowMs()
	return w, w.to(r.segs, offset)
}

// lead takes the producers along through a batch that was read.
func (r *recovery) lead(h *record.Header) {
	r.passSnapshots(h.BaseOffset)
	if w := r.producers; w != nil && h.NextOffset() > w.st.End() {
		w.batch(h)
	}
}

// passSnapshots has the snapshots up to an offset, which is that of a batch or the log's end, tell of the producers: they know also
// those whose batches a Rewrite left out.
func (r *recovery) passSnapshots(offset int64) {
	for r.producers != nil && len(r.snapshots) > 0 && r.snapshots[0] <= offset {
		at := r.snapshots[0]
		r.snapshots = r.snapshots[1:]
		entries, err := r.l.readSnapshot(r.l.snapshotName(at))
		if err != nil {
			r.producers = nil
			return
		}
		if entries != nil {
			st := new(producer.State)
			st.Reset(entries, at)
			now := r.producers.now
			r.producers = walkFrom(st)
			r.producers.now = now
		}
	}
}

// learn makes what was found of the producers what is known of them at the end of the log, which nobody uses yet.
func (r *recovery) learn() {
	l := r.l
	r.passSnapshots(l.End())
	w := r.producers
	if w == nil || w.st.End() > l.End() {
		return
	}
	w.st.AdvanceEnd(l.End())
	l.mu.Lock()
	l.setProducers(w)
	l.mu.Unlock()
}

// nearestNoted gives what was noted of the nearest offset from first to last, nil if nothing was.
func (l *Log) nearestNoted(first, last int64) *producer.State {
	l.mu.Lock()
	p := l.noted.upTo(first, last)
	l.mu.Unlock()
	if p == nil {
		return nil
	}
	st, err := p.state()
	if err != nil {
		l.dir.logger.Debug("passing over the producers in the state file", "partition", l.name, "offset", p.Offset, "because", err)
		return nil
	}
	return st
}
