package hot

import (
	"fmt"
	"math"
	"slices"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// What was known of the producers at an offset below the end is needed for each archived segment and at trims, and at the
// end by the first append after a start, unless the recovery found out (recovery.follow). Batches are walked through only where
// neither memory, nor a snapshot file (snapshots.go), nor the state file (noted.go) tells:
//
//	     none            kept         same          end
//	──────┼───────────────┼────────────┼─────────────┼───── offset
//	nobody│ walk, from the nearest of  │ as it is now│ as it is now, without
//	known │ none, kept, noted, files   │             │ what is not written yet
//
// Who was forgotten since, because of producer.id.expiration.ms, may be missing in the answer, and is where memory gives
// it. That is right: this log does not know the producer any more, and nor should who begins a log with the answer. A
// retry that comes so late is a new batch here as there, for only time makes a log forget (I-05).

// history is what a log remembers of its producers, beside the present state.
type history struct {
	none int64           // up to here nobody is known, none below the log's start; it counts while somebody is known at the end
	same int64           // from here on no batch has a producer id; too high after a failed write, which costs reading
	kept *producer.State // what the last walk found, nil if there was none; who walks on takes it
	// What lies above the newest snapshot file, or above where a walk began that found none: so many bytes below a point, and
	// all that follows.
	walked int64
	snap   point
}

// note is told of a batch with a producer id before st is. What follows if it is taken back: none is only above the end
// when nobody is known there, and then it does not count.
func (h *history) note(st *producer.State, b *record.Header) {
	if st.Len() == 0 {
		h.none = b.BaseOffset
	}
	h.same = b.NextOffset()
}

// walkSteps is how many times checkpointBytes are walked through while a trim has to wait.
const walkSteps = 8

// Producers returns what is known of the idempotent producers as of End, by ascending id. It reads nothing but once after a
// start.
func (l *Log) Producers() ([]producer.Entry, error) {
	for {
		if err := l.LearnProducers(); err != nil {
			return nil, err
		}
		l.mu.Lock()
		entries, ok := l.known(l.end.Load())
		l.mu.Unlock()
		if ok { // else a Truncate came between
			return entries, nil
		}
	}
}

// ProducersAt returns what was known of the producers when the log ended at offset, which must be a batch boundary
// between LocalStart and End, by ascending id; but for who was forgotten since. At End, where no batch with a producer id
// follows, and where nobody is known any more it reads nothing. Elsewhere the batches since the last call's offset, the newest
// snapshot below or what was noted for the state file are walked through, whichever is nearest.
func (l *Log) ProducersAt(offset int64) ([]producer.Entry, error) {
	if err := l.LearnProducers(); err != nil {
		return nil, err
	}
	if offset > l.End() || offset < l.LocalStart() {
		return nil, l.outOfRange(offset, l.End())
	}
	l.mu.Lock()
	entries, ok := l.known(offset)
	l.mu.Unlock()
	if ok {
		return entries, nil
	}
	l.walks.Lock()
	defer l.walks.Unlock()
	var err error
	for !ok && err == nil {
		err = l.settled(func() error {
			entries, ok, err = l.walkOn(offset)
			return err
		})
	}
	return entries, err
}

// known returns, under mu, what memory tells of the producers at an offset up to End.
func (l *Log) known(offset int64) (entries []producer.Entry, ok bool) {
	switch {
	case !l.loaded:
		return nil, false
	case l.producers.Len() == 0, offset <= l.past.none:
		return nil, true
	case offset >= l.past.same:
		return l.producers.Entries(), true
	case offset == l.end.Load():
		return l.atEnd(), true
	}
	return nil, false
}

// atEnd returns, under mu, what is known of the producers at End, whatever is being written.
func (l *Log) atEnd() []producer.Entry {
	end := l.end.Load()
	if l.past.same <= end {
		return l.producers.Entries()
	}
	st := l.producers.Clone()
	for _, p := range slices.Backward(l.queue) {
		p.takeBack(st)
	}
	for _, p := range slices.Backward(l.written) {
		if p.base >= end {
			p.takeBack(st)
		}
	}
	return st.Entries()
}

// learned reports, without I/O, whether it is known who the producers are. Else the next append has to read it: after a clean
// stop a log is opened without.
func (l *Log) learned() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loaded
}

// LearnProducers reads the producer state of a log that has not needed it since it was opened. The first append does it otherwise.
func (l *Log) LearnProducers() error {
	if l.learned() {
		return nil
	}
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	return l.loadProducersLocked()
}

// loadProducersLocked is LearnProducers for who holds trimMu. Nothing is appended before it has succeeded once, so
// the end stands still.
func (l *Log) loadProducersLocked() error {
	if l.learned() {
		return nil
	}
	w, err := l.walk(l.end.Load(), math.MaxInt64)
	if err != nil {
		return fmt.Errorf("%s: producer state: %w", l.name, err)
	}
	l.mu.Lock()
	l.setProducers(w)
	l.mu.Unlock()
	return nil
}

// setProducers makes what a walk to the end found what is known of the producers. The caller holds mu, and nothing is being
// written.
func (l *Log) setProducers(w *walker) {
	l.producers, l.past, l.loaded = *w.st, w.past, true
	l.past.walked, l.past.snap = w.bytes, l.point
}

// walkOn is one step of a walk to offset, and of none if memory tells. It reports whether that was the last.
func (l *Log) walkOn(offset int64) (entries []producer.Entry, done bool, err error) {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if offset > l.End() || offset < l.LocalStart() { // it was trimmed since
		return nil, false, l.outOfRange(offset, l.End())
	}
	w, err := l.walk(offset, walkSteps*l.dir.o.checkpointBytes)
	if err != nil {
		return nil, false, err
	}
	// Else it would remember everybody who ever wrote. Not before the walk: who was idle may be about to go on.
	w.st.Expire(l.dir.nowMs(), l.dir.expiry.Load())
	if done = w.st.End() == offset; done {
		entries = w.st.Entries()
	}
	l.mu.Lock()
	if l.loaded {
		l.past.kept = w.st
	}
	l.mu.Unlock()
	return entries, done, nil
}

// walker goes through batches to find the producer state that they lead to.
type walker struct {
	st    *producer.State
	past  history
	bytes int64
	most  int64
	now   int64
}

// walkFrom begins a walk where st is what is known.
func walkFrom(st *producer.State) *walker {
	w := &walker{st: st, past: history{none: -1, same: st.End()}}
	if st.Len() == 0 {
		w.past.none = st.End()
	}
	return w
}

// walk goes from the nearest state below offset that is known to offset, or stops before, where a batch ends, after about
// so many bytes. The caller holds trimMu, so that nothing that is walked through goes away.
func (l *Log) walk(offset, most int64) (*walker, error) {
	st, err := l.nearest(offset)
	if err != nil {
		return nil, err
	}
	w := walkFrom(st)
	w.most, w.now = most, l.dir.nowMs()
	if err := w.to(l.segments(), offset); err != nil {
		return nil, err
	}
	return w, nil
}

// to goes on to an offset of the segments, or stops before, where a batch ends, after about as many bytes as it may go through.
func (w *walker) to(segs []*segment, offset int64) error {
	for i := max(0, segmentAt(segs, w.st.End())); i < len(segs) && segs[i].base < offset; i++ {
		if err := w.segment(segs[i], offset); err != nil {
			return err
		}
		if w.bytes >= w.most {
			return nil
		}
	}
	w.st.AdvanceEnd(offset)
	return nil
}

func (w *walker) segment(s *segment, offset int64) error {
	from, _, err := s.find(w.st.End())
	if err != nil {
		return err
	}
	to, _, err := s.find(offset)
	if err != nil || from >= to {
		return err
	}
	h, err := s.file.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	b := getBuf(largeBuf)
	defer putBuf(b)
	sc := b.scan(h.File, from, to, mayWait)
	for w.bytes < w.most && sc.next() {
		w.batch(&sc.h)
	}
	return sc.err
}

// batch goes through the batch that follows.
func (w *walker) batch(h *record.Header) {
	w.bytes += int64(h.Size())
	if h.HasProducer() {
		w.past.note(w.st, h)
	}
	w.st.Apply(*h, h.BaseOffset, w.now)
}

// nearest returns the state nearest below offset, or there, that is known without a walk: at the log's beginning, if nothing
// else, that there was nobody. The caller holds trimMu and may change it: what was kept is not any more.
func (l *Log) nearest(offset int64) (*producer.State, error) {
	first := l.segments()[0].base
	var st *producer.State
	l.mu.Lock()
	if l.loaded {
		if k := l.past.kept; k != nil && k.End() >= first && k.End() <= offset {
			st = k
		}
		l.past.kept = nil
		if n := l.past.none; n >= first && n <= offset && (st == nil || n > st.End()) {
			st = new(producer.State)
			st.AdvanceEnd(n)
		}
	}
	l.mu.Unlock()
	from := first
	if st != nil {
		from = st.End() + 1
	}
	if noted := l.nearestNoted(from, offset); noted != nil {
		st, from = noted, noted.End()+1
	}
	at, entries, err := l.newestSnapshot(from, offset)
	if err != nil {
		return nil, err
	}
	if st == nil || entries != nil {
		st = new(producer.State)
		st.Reset(entries, at)
	}
	return st, nil
}

// keepProducers makes the producer state at base durable, where a segment begins: once the batches below are trimmed, nothing
// else knows it (I-05). That there is none is worth a snapshot, too: it tells recovery that what is below was trimmed
// (recovery.trimmed).
func (l *Log) keepProducers(base int64) error {
	name := l.snapshotName(base)
	entries, err := l.readSnapshot(name)
	if err != nil {
		return err
	}
	if entries == nil { // there were no producers when the segment began, or it was lost
		if entries, err = l.stateAt(base); err != nil {
			return err
		}
	}
	// It is written again if it is there: it may not be durable, and nor may its name.
	return disk.WriteFileSync(l.dir.fs, name, producer.AppendSnapshot(nil, entries))
}

// stateAt is ProducersAt for who holds trimMu.
func (l *Log) stateAt(offset int64) ([]producer.Entry, error) {
	if err := l.loadProducersLocked(); err != nil { // near the end there is a snapshot more often than here
		return nil, err
	}
	l.mu.Lock()
	entries, ok := l.known(offset)
	l.mu.Unlock()
	if ok {
		return entries, nil
	}
	w, err := l.walk(offset, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	return w.st.Entries(), nil
}

// expireProducers forgets producers that are idle for too long.
func (l *Log) expireProducers(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded && len(l.queue) == 0 && !l.writing { // a failed write would bring the forgotten back
		l.producers.Expire(now, l.dir.expiry.Load())
		if l.producers.Len() == 0 {
			l.past.kept = nil
		}
	}
}
