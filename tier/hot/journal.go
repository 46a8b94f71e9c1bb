package hot

import (
	"errors"

	"github.com/firnlog/firn/tier/hot/flush"
)

// What a log has to do with the flush journal of its directory: it says what is pending, and hears that it is durable.
// Flushed is what the journal or the log's own files have; what the files alone have is s.synced and l.durable, of which
// the state file speaks. Whatever changes bytes that are below Flushed, or takes their place away, calls settle before.

// place is where in which segment an offset begins.
type place struct{ base, size int64 }

// Pending implements flush.Journaled. A file that only the journal has cannot be closed, so with too many open it takes
// no more.
func (l *Log) Pending() (int64, bool) {
	many := l.dir.files.len() > l.dir.o.MaxOpenFiles
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil || many {
		return 0, false
	}
	return l.pending()
}

// pending is Pending under mu. Only the segment in which everything before is durable, its own name included and what was
// cut off it, can be left to the journal: after a roll, one flush of the files themselves brings the old segment to its end.
func (l *Log) pending() (int64, bool) {
	s, at := l.active(), l.point
	if l.wantSync.Load() || s.base != at.base || l.durable.base != at.base || l.acked.base != at.base || !s.entrySynced || s.synced < 0 {
		return 0, false
	}
	return at.tail.size - l.acked.size, true
}

// Collect implements flush.Journaled. The bytes are those in the page cache: the append that brought them is done.
func (l *Log) Collect(f *flush.Frame, most int64) (next int64, added, ok bool) {
	l.marked.Store(false) // what is written from here on marks anew
	l.mu.Lock()
	n, ok := l.pending()
	s, at, from, base := l.active(), l.point, l.acked, l.flushed.Load()
	if l.closed != nil || n > most {
		ok = false
	}
	l.mu.Unlock()
	if !ok || n <= 0 {
		return 0, false, ok
	}
	h, err := s.file.acquire(false)
	if err != nil {
		return 0, false, false // Sync finds out
	}
	defer h.release()
	b := f.Add(&flush.Record{Kind: flush.Bytes, Part: l.part, Epoch: l.latestEpoch(), Segment: s.base,
		Position: from.size, Base: base, Next: at.tail.next}, int(n))
	if err := readFull(h, b, from.size); err != nil {
		f.Undo()
		return 0, false, false
	}
	l.collected = at
	return at.tail.next, true, true
}

// Written implements flush.Journaled. Only of what was collected last it is known how far the bytes go: for less it does
// nothing, and whoever writes or syncs the rest says so.
func (l *Log) Written(next int64) bool {
	life := l.hints.life.Load()
	l.mu.Lock()
	at := l.collected
	if at.tail.next != next {
		l.mu.Unlock()
		return false
	}
	moved := l.acknowledge(at)
	s := l.active()
	l.mu.Unlock()
	if s.base == at.base {
		l.hints.put(life, s, at.tail.next, at.tail.size, 0) // where the reads of the near future end
	}
	return l.raiseStable() || moved
}

// acknowledge notes under mu that everything below the point is durable, here or in the journal.
func (l *Log) acknowledge(at point) (moved bool) {
	if at.tail.next < l.flushed.Load() {
		return false
	}
	moved = at.tail.next > l.flushed.Load()
	l.flushed.Store(at.tail.next)
	l.acked = place{at.base, at.tail.size}
	if l.end.Load() == at.tail.next {
		l.dirtyFrom = 0
	}
	return moved
}

// Notify implements flush.Journaled.
func (l *Log) Notify() { l.notify() }

// Durable implements flush.Journaled.
func (l *Log) Durable() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable.tail.next
}

// writebackFrom is the least that Writeback asks for: smaller pieces cost the disk more than they spread.
const writebackFrom = 64 << 10

// Writeback implements flush.Journaled. The last page is going to be written to again, and is left out.
func (l *Log) Writeback() {
	l.mu.Lock()
	s, to := l.active(), l.point.tail.size&^4095
	from := max(s.synced, s.wroteBack)
	ok := l.closed == nil && s.base == l.point.base && to-from >= writebackFrom
	if ok {
		s.wroteBack = to
	}
	l.mu.Unlock()
	if !ok {
		return
	}
	if h, err := s.file.acquire(false); err == nil {
		_ = h.Writeback(from, to-from) // only a hint
		h.release()
	}
}

// settle makes all that was written durable in the log's own files, and the journal forget it. What the caller is about to
// change is then nowhere but there. The caller holds no syncMu.
func (l *Log) settle() error {
	if err := l.Sync(); err != nil {
		return err
	}
	return l.dir.forget(l, l.Durable())
}

// forget tells the journal that a log's records up to an offset mean nothing any more.
func (d *Dir) forget(l *Log, below int64) error {
	if d.journal == nil {
		return nil
	}
	err := d.journal.Forget(l, l.part, below)
	if err != nil && !errors.Is(err, ErrOffline) {
		err = d.writeFailed(err)
	}
	return err
}
