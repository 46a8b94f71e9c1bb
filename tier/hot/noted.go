package hot

import (
	"github.com/firnlog/firn/tier/hot/producer"
)

// The state file says of each log, beside up to where it is durable, what was known of its producers at an offset at or below
// that. So the first append to a log after a crash walks through what lies above, and that is little however many logs are
// busy: snapshot files (snapshots.go) cost flushes, and are made for a few logs at a time.
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
