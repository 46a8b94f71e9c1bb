package hot

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/hot/producer"
)

func (l *Log) outOfRange(offset, limit int64) error {
	return fmt.Errorf("%s: offset %d is not in [%d, %d]: %w", l.name, offset, l.LocalStart(), limit, ErrOutOfRange)
}

// Trim deletes the segments that lie wholly below offset, but never the active one, and returns how many bytes of log
// that frees. Without remote storage the log start moves along. Why is for the log.
//
// The order makes every crash harmless: the producer state at the new start is durable, then the new start is, then
// files are renamed, and after FileDeleteDelayMs unlinked. Who pinned a region may still send it: the kernel frees the
// space when the last reader is done.
func (l *Log) Trim(offset int64, reason string) (freed int64, err error) {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	return l.trim(offset, reason)
}

// trim is Trim for who holds trimMu.
func (l *Log) trim(offset int64, reason string) (int64, error) {
	if err := l.changeable(); err != nil {
		return 0, err
	}
	segs := l.segments()
	n := 0
	for n < len(segs)-1 && segs[n].now().next <= offset {
		n++
	}
	if n == 0 {
		return 0, nil
	}
	// The names of the segment that will be the first, and of the snapshot that was written before it, are durable with
	// this, too: the log begins where it should, however little of it had been flushed.
	if err := l.settle(); err != nil {
		return 0, err
	}
	start := segs[n].base
	if err := l.keepProducers(start); err != nil {
		return 0, fmt.Errorf("keeping the producer state at offset %d: %w", start, l.writeFailed(err))
	}
	if err := l.saveStart(start, !l.config().RemoteStorage); err != nil {
		return 0, err
	}
	l.mu.Lock()
	now := l.segments() // it may have grown
	rest := append([]*segment(nil), now[n:]...)
	raise(&l.localStart, start) // first, so that who does not find a segment finds that it was trimmed
	l.segs.Store(&rest)
	l.mu.Unlock()
	var freed int64
	for _, s := range segs[:n] {
		freed += s.now().size
		err := l.retire(s)
		if err != nil { // it is no part of the log any more; the next start tries again
			l.dir.logger.Warn("deleting a trimmed segment failed", "partition", l.name, "segment", s.base, "error", err)
		}
	}
	l.hints.clear()
	if err := l.dropSnapshots(func(base int64) bool { return base < start }); err != nil {
		l.dir.logger.Warn("deleting old producer snapshots failed", "partition", l.name, "error", err)
	}
	l.dir.logger.Debug("trimmed", "partition", l.name, "segments", n, "bytes", freed, "start", start, "reason", reason)
	l.dir.metrics.trimmed(freed)
	return freed, nil
}

// saveStart makes the local start, and the log start if it moves along, durable before anybody sees it.
func (l *Log) saveStart(start int64, logStart bool) error {
	if logStart && start > l.logStart.Load() {
		l.wantStart.Store(start)
		if err := l.dir.saveLogStarts(); err != nil {
			l.wantStart.Store(l.logStart.Load())
			return fmt.Errorf("saving log start %d: %w", start, l.writeFailed(err))
		}
		l.logStart.Store(start)
		raise(&l.wantLocal, start)
		return nil // it implies the local start
	}
	if start <= l.logStart.Load() || start <= l.wantLocal.Load() {
		return nil // as durable as it gets
	}
	old := l.wantLocal.Swap(start)
	if err := l.dir.saveLocalStarts(); err != nil {
		l.wantLocal.Store(old)
		return fmt.Errorf("saving local start %d: %w", start, l.writeFailed(err))
	}
	return nil
}

func (l *Log) changeable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usable()
}

// retire takes a segment's files away: under another name until the delay is over, or at once.
func (l *Log) retire(s *segment) error {
	delay := l.config().FileDeleteDelayMs
	var err error
	for _, f := range []*file{&s.file, &s.idx.file, &s.tidx.file} {
		name := f.path() + deletedSuffix
		err = errors.Join(err, f.retire(delay <= 0))
		if delay > 0 {
			l.dir.deleteLater(name, delay)
		}
	}
	return err
}

// AdvanceStart moves the log start to offset, durably, and trims what is wholly below. It never moves back. Beyond
// End it is ErrOutOfRange.
func (l *Log) AdvanceStart(offset int64) error {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if err := l.changeable(); err != nil {
		return err
	}
	if offset > l.End() {
		return l.outOfRange(offset, l.End())
	}
	if offset <= l.logStart.Load() {
		return nil
	}
	if offset > l.flushed.Load() { // a power cut must not leave a log that ends before it begins
		if err := l.Sync(); err != nil {
			return err
		}
	}
	if err := l.saveStart(offset, true); err != nil {
		return err
	}
	raise(&l.localStart, offset)
	_, err := l.trim(offset, "the log start moved")
	l.notify()
	return err
}

func raise(v interface {
	Load() int64
	Store(int64)
}, to int64) {
	if to > v.Load() {
		v.Store(to)
	}
}

// Truncate cuts the log to offset, for a follower whose leader has other batches from there on (I-27). A batch that
// holds the offset goes too. Nothing is appended or read meanwhile at or above it by a caller that knows its role.
func (l *Log) Truncate(offset int64) error {
	if err := l.LearnProducers(); err != nil {
		return err
	}
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	return l.exclusive(func() error {
		if err := l.truncate(offset); err != nil {
			if errors.Is(err, ErrOutOfRange) {
				return err
			}
			// Half a truncation is no state to go on from.
			l.dir.fail(err)
			return fmt.Errorf("%s: %w: %w", l.name, ErrOffline, err)
		}
		return nil
	})
}

// truncate is Truncate for who holds trimMu and is the writer.
func (l *Log) truncate(offset int64) error {
	if offset >= l.End() {
		return l.cutEpochs(offset)
	}
	if offset < l.LocalStart() {
		return l.outOfRange(offset, l.End())
	}
	if err := l.settle(); err != nil {
		return err
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	segs := l.segments()
	i := segmentAt(segs, offset)
	s := segs[i]
	pos, end, err := s.find(offset)
	if err != nil {
		return err
	}
	if end > offset { // a cleaner removed what was there: the log ends where a batch does
		if end, err = s.endBefore(pos, offset); err != nil {
			return err
		}
	}
	// First the state file must not vouch for what will be replaced.
	l.mu.Lock()
	l.durable = startOf(s)
	l.unindex(startOf(s))
	l.forgetNoted(s.base)
	keep := append([]*segment(nil), segs[:i+1]...)
	l.segs.Store(&keep)
	l.mu.Unlock()
	l.hints.clear()
	if err := l.dir.saveState(); err != nil {
		return err
	}
	for _, later := range segs[i+1:] {
		if err := l.retire(later); err != nil {
			return err
		}
	}
	if err := l.dropSnapshots(func(base int64) bool { return base > end }); err != nil {
		return err
	}
	if err := s.cutTo(pos, end); err != nil {
		return err
	}
	if err := l.dir.fs.SyncDir(l.folder()); err != nil {
		return err
	}
	l.restart(s, end)
	l.hints.clear() // of what was found meanwhile
	if err := l.cutEpochs(end); err != nil {
		return err
	}
	return l.loadProducersLocked()
}

// endBefore returns the offset after the last batch before position pos, where the first that ends above offset begins.
func (s *segment) endBefore(pos, offset int64) (int64, error) {
	end := s.base
	from, err := s.floor(byOffset, offset-s.base, mayWait)
	if err != nil {
		return 0, err
	}
	err = s.scan(from, pos, mayWait, func(sc *scanner) bool {
		end = sc.h.NextOffset()
		return true
	})
	return end, err
}

// cutTo makes the segment end at a position where a batch does, durably, and builds its indexes again.
func (s *segment) cutTo(pos, next int64) error {
	h, err := s.file.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	t := s.now()
	t.size, t.next = pos, next
	s.set(t)
	if err := h.Truncate(pos); err != nil {
		return err
	}
	if err := h.Datasync(); err != nil {
		return err
	}
	return s.rebuild()
}

// restart makes s, all of which is durable, the end of the log.
func (l *Log) restart(s *segment, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := s.now()
	s.synced, s.wroteBack, s.entrySynced = t.size, 0, true
	s.file.dirty.Store(false)
	l.next = end
	for _, v := range []interface {
		Load() int64
		Store(int64)
	}{&l.end, &l.flushed, &l.stable} {
		v.Store(min(v.Load(), end))
	}
	l.flushed.Store(end) // everything below was synced with the file, or before
	l.point = point{base: s.base, tail: t, index: s.idx.len(), timeIndex: s.tidx.len(),
		sinceIndex: s.sinceIndex, firstTime: s.firstTime, timeAdded: s.timeAdded}
	l.durable = l.point
	l.acked = place{s.base, t.size}
	l.producers, l.loaded = producer.State{}, false
	l.resetPlan()
}

func (l *Log) cutEpochs(end int64) error {
	c, changed := l.epochs.Load().TruncateFromEnd(end)
	if !changed {
		return nil
	}
	return l.keepEpochs(c)
}

// Reset sets what the log holds aside, in a folder of its own that is kept, and begins anew at start, with the epochs
// and producers that the archive has there (I-36). If that fails half-way, the log is closed until the next start.
func (l *Log) Reset(start int64, epochs []epoch.Entry, producers []producer.Entry) error {
	cache, err := epoch.New(epochs)
	if err != nil {
		return err
	}
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	return l.exclusive(func() error {
		if err := l.reset(start, cache, producers); err != nil {
			return l.writeFailed(err)
		}
		return nil
	})
}

func (l *Log) reset(start int64, epochs epoch.Cache, producers []producer.Entry) error {
	d := l.dir
	if l.Stored() {
		if err := l.settle(); err != nil {
			return err
		}
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if !l.Stored() {
		if err := d.forgetStarts(l.part); err != nil {
			return err
		}
	}
	tmp, err := d.prepareFolder(l, start, epochs, producers)
	if err != nil {
		return err
	}
	// The state file must not vouch for offsets of the new log because of the old one's.
	l.mu.Lock()
	old := l.segments()
	l.durable = startOf(old[0])
	l.unindex(startOf(old[0]))
	l.noted = noted{}
	l.mu.Unlock()
	if err := d.saveState(); err != nil {
		return err
	}
	for _, s := range old {
		s.retired()
		s.shut()
	}
	if err := d.exchange(l, tmp, start); err != nil {
		l.mu.Lock() // else readers would look for files that they may not open again, without end
		l.closed = fmt.Errorf("%w until the next start, because it could not begin anew at offset %d: %w", ErrClosed, start, err)
		l.loaded = false // nor is anything noted of its producers
		l.mu.Unlock()
		return err
	}
	l.unmade.Store(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hints.clear()
	l.beginEmpty(start, max(start, l.logStart.Load()), epochs, producers)
	return nil
}

// exchange sets a log's folder aside and gives another its name, durably.
func (d *Dir) exchange(l *Log, tmp string, start int64) error {
	if l.Stored() {
		if err := d.setAside(l.name, fmt.Sprintf("the log begins anew at offset %d", start)); err != nil {
			return err
		}
	}
	if err := d.fs.Rename(tmp, filepath.Join(d.root, l.name)); err != nil {
		return err
	}
	return d.fs.SyncDir(d.root)
}
