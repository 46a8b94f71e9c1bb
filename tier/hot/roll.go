package hot

import (
	"fmt"
	"os"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
)

// Roll begins a new segment, unless the active one is empty.
func (l *Log) Roll() error {
	if err := l.LearnProducers(); err != nil {
		return err
	}
	return l.exclusive(func() error {
		s := l.active()
		if s.now().size == 0 {
			return nil
		}
		var snapshot []byte
		l.mu.Lock()
		if l.producers.Len() > 0 {
			snapshot = producer.AppendSnapshot(nil, l.producers.Entries())
		}
		next := l.next
		l.mu.Unlock()
		if err := l.roll(next, snapshot, l.dir.nowMs()); err != nil {
			return l.writeFailed(err)
		}
		l.mu.Lock()
		l.resetPlan()
		l.mu.Unlock()
		return nil
	})
}

// roll makes a segment that begins at base the active one. The caller is the writer. The snapshot is the producer
// state at base, nil if there are no producers.
//
// Nothing is synced here. The data of the old segment, and the folder's entry for the new one, are part of the next
// flush, which comes before Flushed passes either; the snapshot is synced before a trim makes the log depend on it.
func (l *Log) roll(base int64, snapshot []byte, now int64) error {
	d := l.dir
	old := l.active()
	if old.base == base {
		return nil // an append that had to roll failed, and this is the next one
	}
	if err := old.finish(); err != nil {
		return err
	}
	if err := old.cutFile(); err != nil {
		return err
	}
	if len(snapshot) > 0 {
		if err := writeFile(d.fs, l.snapshotName(base), snapshot); err != nil {
			return err
		}
	}
	s, err := l.createSegment(base, now)
	if err != nil {
		return err
	}
	l.mu.Lock()
	segs := l.segments()
	next := make([]*segment, len(segs)+1)
	copy(next, segs)
	next[len(segs)] = s
	l.segs.Store(&next)
	l.point = startOf(s)
	l.mu.Unlock()
	if !l.config().flushMode() {
		l.mark() // as Kafka does: the old segment is complete, so the recovery point can move past it
	}
	return nil
}

// createSegment makes the files of an empty segment. Files of that name may be left from a roll that failed.
func (l *Log) createSegment(base, now int64) (*segment, error) {
	s := newSegment(l, base)
	s.created, s.tail.modified = now, now
	for _, x := range []*index{&s.idx, &s.tidx} {
		if err := l.dir.fs.Remove(x.file.path()); err != nil && !os.IsNotExist(err) {
			return nil, err
		}
	}
	h, err := s.file.acquire(true)
	if err != nil {
		return nil, err
	}
	defer h.release()
	size, err := h.Size()
	if err == nil && size > 0 {
		err = h.Truncate(0)
	}
	if err == nil && l.config().Preallocate {
		err = h.Truncate(int64(l.config().SegmentBytes))
	}
	if err != nil {
		s.file.shut()
		// Else a log that goes on in the old segment, beyond this base, would have one in between that is not its own. So it
		// may not go on as after a full disk, whatever the two errors are.
		if rerr := l.dir.fs.Remove(s.file.path()); rerr != nil && !os.IsNotExist(rerr) {
			return nil, fmt.Errorf("a segment could not be made (%s), and what there is of it could not be removed: %s", err.Error(), rerr.Error())
		}
		return nil, err
	}
	return s, nil
}

// cutFile gives back what the file takes beyond what is in it, if anything was taken ahead. A file that is longer than that
// (Config.Preallocate, also of some time ago) is part of the next flush: zeros between two segments would look like lost
// batches. The caller is the writer and holds no syncMu.
func (s *segment) cutFile() error {
	info, err := s.log.dir.fs.Stat(s.file.path())
	if err != nil {
		return err
	}
	size := s.now().size
	longer := info.Size() > size
	if !longer && s.reserved == 0 {
		return nil
	}
	h, err := s.file.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	if longer {
		return s.cutTorn(h, size)
	}
	return h.Truncate(size)
}

// writeFile writes a file that need not survive a power cut; its content says itself whether it is whole.
func writeFile(fsys disk.FS, name string, b []byte) error {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
