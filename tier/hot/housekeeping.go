package hot

import (
	"errors"
	"io/fs"
	"math"
	"slices"
	"sync"
	"time"
)

// housekeeper is the one goroutine that looks after all logs of a Dir: flush.ms, files that nobody uses, deleted
// segments, recovery points, and producers that went away.
type housekeeper struct {
	quit chan struct{}
	done chan struct{}
	full chan struct{} // buffered: a token means "the recovery points moved by saveBytes, or saveMost"

	saved   int64 // ms: the last save of the recovery points
	took    int64 // ms: that save
	expired int64 // ms: the last look for idle producers
	swept   int64 // ms: the last sweep of open files

	mu      sync.Mutex
	deleted []deleted
}

// deleted is a file that waits for its end.
type deleted struct {
	name  string
	since int64 // ms
	delay int64 // ms
}

const (
	// saveBytes is how far recovery points may move in all before they are saved, as long as that takes next to no time.
	saveBytes = 256 << 20
	// saveShare is how many times as long as a save took goes by before the next: with thousands of logs one takes a while.
	saveShare = 20
	// saveMost is how far recovery points may move in all before they are saved however long that takes. So what a recovery
	// reads above the recovery points is that many bytes in all, and those that came while a save was under way. Where somebody
	// is idempotent it walks through as much below them to know the producers: what is noted then is what was known at the save
	// before (noted.go). Of batches above headersAlone that takes the headers only.
	//
	// Two things do not count, because they move no recovery point: what the journal has and the logs' own files do not, which
	// is bounded by the journal's size; and what was never flushed. That is at most one segment of each log in page-cache mode,
	// whose recovery point moves when a segment is full, and by flush.ms and flush.messages, as in Kafka.
	//
	// Two more count for each log, however many there are. After a power cut what lies between the recovery point and the last
	// checkpoint is read, of a log whose last index entries the kernel had not written back, for which it takes half a minute or
	// so after the save: up to checkpointBytes, or 16 to 64 MiB where many logs are busy (checkpointsASave). And of a log whose
	// producers are not noted, because they are too many or those of all logs are, or far below (recovery.follow), the first
	// append walks through as much, and through what the recovery read.
	saveMost = 4 * saveBytes
)

// expireEvery is how often idle producers are looked for, in ms (Kafka: producer.id.expiration.check.interval.ms).
const expireEvery = 10 * 60 * 1000

func (k *housekeeper) start(d *Dir) {
	now := d.nowMs()
	k.saved, k.expired, k.swept = now, now, now
	k.quit, k.done, k.full = make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	if d.o.Housekeep < 0 {
		close(k.done)
		return
	}
	go func() {
		defer close(k.done)
		t := time.NewTicker(d.o.Housekeep)
		defer t.Stop()
		for {
			select {
			case <-k.quit:
				return
			case <-t.C:
				d.housekeep()
			case <-k.full:
				d.saveDue(d.nowMs())
			}
		}
	}()
}

func (k *housekeeper) close() {
	close(k.quit)
	<-k.done
}

// deleteLater has a file deleted once so many ms went by.
func (d *Dir) deleteLater(name string, delay int64) {
	k := &d.keeper
	k.mu.Lock()
	k.deleted = append(k.deleted, deleted{name, d.nowMs(), delay})
	k.mu.Unlock()
}

// elapsed is how many ms went by from then until now. If the clock was set back, nobody knows, and everything is due:
// waiting for it to catch up, the housekeeping would stand still for as long.
func elapsed(now, then int64) int64 {
	if now < then {
		return math.MaxInt64
	}
	return now - then
}

// housekeep does what is due. It is called by one goroutine.
func (d *Dir) housekeep() {
	k, now := &d.keeper, d.nowMs()
	d.flushOld(now)
	d.unlinkDeleted(false)
	d.saveDue(now)
	if d.Offline() != nil {
		return
	}
	// Two sweeps without a use are what "idle for IdleClose" means.
	if every := d.o.IdleClose.Milliseconds() / 2; elapsed(now, k.swept) >= every || d.files.len() > d.o.MaxOpenFiles {
		k.swept = now
		d.sweep()
	}
	if elapsed(now, k.expired) >= expireEvery {
		k.expired = now
		for _, l := range d.allLogs() {
			l.expireProducers(now)
		}
	}
}

// saveDue saves the recovery points when it is time.
func (d *Dir) saveDue(now int64) {
	k := &d.keeper
	since, moved := elapsed(now, k.saved), d.unsaved.Load()
	due := since >= d.o.SaveEvery.Milliseconds() || moved >= saveMost || moved >= saveBytes && since >= saveShare*k.took
	if d.Offline() != nil || !due {
		return
	}
	k.saved = now
	began := d.o.Now() // with its monotonic reading
	d.savePoints()
	k.took = max(0, d.o.Now().Sub(began).Milliseconds())
}

func (d *Dir) allLogs() []*Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.openLogs()
}

// flushOld flushes the logs in page-cache mode whose oldest unflushed batch is older than flush.ms.
func (d *Dir) flushOld(now int64) {
	d.dirty.filter(func(l *Log) bool {
		l.mu.Lock()
		from, closed := l.dirtyFrom, l.closed != nil
		l.mu.Unlock()
		if from == 0 || closed {
			// The next append enters it again, if there can be one.
			return false
		}
		if ms := l.config().FlushMs; ms != Forever && elapsed(now, from) >= ms {
			l.mark()
		}
		return true
	})
}

// unlinkDeleted removes the files whose delay is over, or all that wait: after a clean stop nobody looks for them. Whoever is
// sending from one goes on.
func (d *Dir) unlinkDeleted(all bool) {
	k := &d.keeper
	k.mu.Lock()
	now := d.nowMs() // under the lock: what is entered meanwhile is not from the future
	var due []deleted
	k.deleted = slices.DeleteFunc(k.deleted, func(f deleted) bool {
		if !all && elapsed(now, f.since) < f.delay {
			return false
		}
		due = append(due, f)
		return true
	})
	k.mu.Unlock()
	for _, f := range due {
		if err := d.fs.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.logger.Warn("deleting a trimmed file failed, it is tried again", "file", f.name, "error", err)
			d.deleteLater(f.name, f.delay)
		}
	}
}

// sweep closes the files that were not used since the sweep before the last, and of the others the ones that were
// not used for longest while there are more than MaxOpenFiles. A file with bytes that are not flushed stays open, so
// that an error of writing them back is not lost with the descriptor; it is flushed, and closed next time. Those
// of a log that is being recovered stay open, too.
func (d *Dir) sweep() {
	sweep := d.sweeps.Add(1)
	open := d.files.list()
	for i := range open {
		open[i].used, _ = open[i].file.lastUse()
	}
	slices.SortFunc(open, func(a, b usedFile) int { return int(a.used - b.used) })
	for i, u := range open {
		idle, many := sweep-u.used >= 2, len(open)-i > d.o.MaxOpenFiles
		if sweep == u.used && !many {
			return
		}
		l := u.file.log
		if l.segs.Load() == nil { // it is being recovered
			continue
		}
		if u.file.dirty.Load() {
			l.wantSync.Store(true) // one that only the journal has could not be closed, neither now nor next time
			l.mark()
			continue
		}
		if !idle && !many {
			continue
		}
		if s := l.active(); idle && s == segmentOf(l, u.file) {
			if err := s.flushIndexes(); err != nil {
				d.logger.Warn("writing an index failed, it stays in memory", "partition", l.name, "error", err)
			}
			s.idx.file.shut()
			s.tidx.file.shut()
		}
		u.file.shutClean()
	}
}

func segmentOf(l *Log, f *file) *segment {
	segs := l.segments()
	if i := segmentAt(segs, f.base); i >= 0 && segs[i].base == f.base {
		return segs[i]
	}
	return nil
}

// lastUse returns the sweep at which the file was last used, and whether it is open.
func (f *file) lastUse() (sweep int64, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.h == nil {
		return 0, false
	}
	return f.h.used.Load(), true
}

// pointMoved notes that a recovery point moved by so many bytes. When all did by saveBytes they are saved, by saveMost at
// the latest.
func (d *Dir) pointMoved(n int64) {
	d.moved.Store(true)
	now := d.unsaved.Add(n)
	if passed(now, n, saveBytes) || passed(now, n, saveMost) {
		select {
		case d.keeper.full <- struct{}{}:
		default:
		}
	}
}

// passed reports whether it was the last n that took now to the limit.
func passed(now, n, limit int64) bool { return now >= limit && now-n < limit }

// savePoints saves the recovery points if any moved.
func (d *Dir) savePoints() {
	if d.checkpoint(checkpointsASave) != nil { // offline
		return
	}
	unsaved := d.unsaved.Swap(0)
	if !d.moved.Swap(false) {
		return
	}
	if err := d.saveState(); err != nil {
		d.moved.Store(true)
		d.unsaved.Add(unsaved)
		d.logger.Warn("saving the recovery points failed, a crash would have to read more", "error", d.writeFailed(err))
	}
}
