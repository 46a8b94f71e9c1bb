package hot

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
)

// A recovery goes on where the state file says that a log is durable, with the index entries of what lies below, which it
// takes from their files. Those are written as they come and not synced, for an append is not to pay for three flushes. A
// kernel that lives on has them all; a power cut takes what was written in the last half minute or so. So now and then, when
// the recovery points are saved, the indexes of the logs that grew much since are made durable, and the point at which they
// are is saved along (logState.Indexed). That is where a recovery begins if what was written later is lost: of each log it
// reads at most checkpointBytes more than what is above the recovery points, or, where more are busy than take part at once
// (checkpointsASave), as much more as keeps the flushes that this takes few beside those of producers.

// checkpointsASave is how many logs have their checkpoint with a save of the recovery points, those with most above their last
// one first. Of N logs that are equally busy each has its turn every N/16 saves, and each save comes when all of them together
// got between saveBytes and saveMost: so each has up to a sixteenth of that above its last checkpoint, 16 to 64 MiB, however
// many there are, and all of them N times as much. A power cut that takes the newest index entries of all has that read again,
// and for what is not in the state file (noted.go) it is what the first appends after any crash walk through.
const checkpointsASave = 16

// checkpoint brings forward, for logs of which there is much, most of them at most, from where a start after a crash has to
// read. No lock is held by the caller. An error means that the directory is offline.
func (d *Dir) checkpoint(most int) error {
	runs := &d.checkpointRuns
	if most == allLogsDue { // who waits for one of all is not served by one of some
		runs = &d.fullCheckpointRuns
	}
	return runs.do(func() error {
		d.checkpointMu.Lock()
		defer d.checkpointMu.Unlock()
		type dueLog struct {
			l *Log
			n int64
		}
		var due []dueLog
		for _, l := range d.allLogs() {
			if n := l.checkpointDue(); n > 0 {
				due = append(due, dueLog{l, n})
			}
		}
		slices.SortFunc(due, func(a, b dueLog) int {
			return cmp.Or(cmp.Compare(b.n, a.n), strings.Compare(a.l.name, b.l.name))
		})
		return lanes(d.lanes(), due[:min(len(due), most)], func(due dueLog) error { return due.l.checkpoint() })
	})
}

// allLogsDue is for a checkpoint of all that are due.
const allLogsDue = math.MaxInt

// checkpointDue is how much lies above the log's last checkpoint; 0 if that is little.
func (l *Log) checkpointDue() int64 {
	if !l.Stored() {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := max(l.distance(l.indexed, &l.durable), l.unsnapped())
	if n < l.dir.o.checkpointBytes {
		return 0
	}
	return n
}

// indexDue reports, under mu, whether much is durable whose index entries are not.
func (l *Log) indexDue() bool {
	return l.distance(l.indexed, &l.durable) >= l.dir.o.checkpointBytes
}

// snapshotDue reports, under mu, whether much was written since the last snapshot of the producers.
func (l *Log) snapshotDue() bool {
	return l.unsnapped() >= l.dir.o.checkpointBytes
}

// distance is how many bytes lie between two points. The caller holds mu.
func (l *Log) distance(from, to *point) (n int64) {
	segs := l.segments()
	for _, s := range segs[max(0, segmentAt(segs, from.base)):] {
		if s.base > to.base {
			break
		}
		size := s.now().size
		if s.base == to.base {
			size = to.tail.size
		}
		if s.base == from.base {
			size = max(0, size-from.tail.size) // a cleaner may have made it smaller
		}
		n += size
	}
	return n
}

// checkpoint makes the indexes durable up to where the batches are, if that is much more than they were, and has the
// producers snapshotted if much was written. It is called by one goroutine at a time.
func (l *Log) checkpoint() error {
	l.mu.Lock()
	began, at, segs := l.indexed, l.durable, l.segments()
	index, snapshot := l.indexDue(), l.snapshotDue()
	l.mu.Unlock()
	if index {
		err := l.syncIndexes(segs, began, &at)
		switch {
		case errors.Is(err, ErrOffline):
			return err
		case errors.Is(err, errGone): // trimmed or replaced meanwhile
		case err != nil:
			l.dir.logger.Warn("making an index durable failed, a power cut would have to read more", "partition", l.name, "error", err)
		default:
			l.mu.Lock()
			if l.indexed == began { // nothing was cut off meanwhile
				l.indexed = &at
				l.dir.moved.Store(true)
			}
			l.mu.Unlock()
		}
	}
	if !snapshot {
		return nil
	}
	if err := l.snapshotProducers(); err != nil {
		l.dir.logger.Warn("a snapshot of the producers failed, the next start would have to read more", "partition", l.name, "error", err)
		return l.dir.Offline()
	}
	return nil
}

// syncIndexes makes the indexes of the segments from one point to another durable.
func (l *Log) syncIndexes(segs []*segment, from, to *point) error {
	var unnamed []*segment
	for _, s := range segs {
		if s.base < from.base || s.base > to.base {
			continue
		}
		named, err := s.syncIndexes()
		if err != nil {
			return err
		}
		if !named {
			unnamed = append(unnamed, s)
		}
	}
	if len(unnamed) == 0 {
		return nil
	}
	if err := l.dir.fs.SyncDir(l.folder()); err != nil {
		if l.removed(err) {
			return errGone
		}
		return l.dir.syncFailed(err)
	}
	for _, s := range unnamed {
		s.setNamed()
	}
	return nil
}

// unindex notes, under mu, that what the indexes have from a point on is made anew, or gone. A checkpoint that is under way
// comes too late, wherever the point is.
func (l *Log) unindex(from point) {
	at := *l.indexed
	if at.above(&from) {
		at = from
	}
	l.indexed = &at
}
