package hot

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// Open returns the partition's log, recovering it if need be; cfg nil means Options.Config. Opening it again returns the
// same Log and leaves its config alone. Many may be opened at once. After a clean stop this costs one stat a segment, and on
// another kernel the reading of the active segment's indexes; after a crash what is above the log's recovery point is read and
// checked, or from where its indexes are durable, if a power cut took entries of what lies between (see checkpoint). A flush
// that fails in that takes the directory offline (I-31).
//
// A partition that was never written to has nothing on disk, and its log has nothing there until something is written
// (Log.Stored). A folder of that name with another topic id, or with none, is set aside under another name, kept and reported
// (I-38).
func (d *Dir) Open(p topic.Partition, cfg *Config) (*Log, error) {
	if p.ID.IsZero() || p.Topic == "" || p.Index < 0 {
		return nil, fmt.Errorf("partition %q with topic id %s cannot be opened", p, p.ID)
	}
	if cfg == nil {
		cfg = d.defaults
	}
	name := p.String()
	l, done, err := d.enter(name)
	if err != nil {
		return nil, err
	}
	defer done()
	if l != nil {
		if l.part.ID == p.ID {
			return l, nil
		}
		if err := d.abandon(l); err != nil {
			return nil, err
		}
		if l.Stored() {
			if err := d.setAside(name, fmt.Sprintf("topic id %s is now %s", l.part.ID, p.ID)); err != nil {
				return nil, err
			}
		}
	}
	if l, err = d.open(p, cfg); err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	d.mu.Lock()
	st := d.unopened[name]
	d.logs[name] = l
	delete(d.onDisk, name)
	delete(d.unopened, name)
	all := len(d.onDisk) == 0 && len(d.opening) == 1 && !d.overlooked // the one that is opening is this
	d.mu.Unlock()
	if all {
		d.allOpened()
	}
	// Else each crash before the next save has to read it again, with all that came since. Only now would a save include it.
	if n := st.lacks(l); n > 0 {
		d.pointMoved(n)
	}
	return l, nil
}

// enter makes the caller the only one at the partition's folder until done is called.
func (d *Dir) enter(name string) (l *Log, done func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.opening[name] {
		d.cond.Wait()
	}
	if d.closed {
		return nil, nil, ErrClosed
	}
	if err := d.Offline(); err != nil {
		return nil, nil, err
	}
	d.opening[name] = true
	return d.logs[name], func() {
		d.mu.Lock()
		delete(d.opening, name)
		d.cond.Broadcast()
		d.mu.Unlock()
	}, nil
}

func (d *Dir) open(p topic.Partition, cfg *Config) (*Log, error) {
	name := p.String()
	folder := filepath.Join(d.root, name)
	d.mu.Lock()
	found, known := d.onDisk[name]
	st := d.unopened[name]
	d.mu.Unlock()
	if !known {
		if _, err := d.fs.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			return d.begin(p, cfg), d.giveUpKept(name)
		} else if err != nil {
			return nil, err
		}
		id, err := checkpoint.ReadMetadata(d.fs, folder)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, checkpoint.ErrCorrupt):
			if err := d.setAside(name, "it has no usable partition.metadata"); err != nil {
				return nil, err
			}
			return d.begin(p, cfg), nil
		case err != nil: // it may be this one (I-01)
			return nil, err
		}
		found.ID = id // the start could not read it
	}
	if found.ID != p.ID {
		if err := d.setAside(name, fmt.Sprintf("its topic id is %s, not %s", found.ID, p.ID)); err != nil {
			return nil, err
		}
		return d.begin(p, cfg), nil
	}
	if err := d.keptDamaged(name); err != nil {
		return nil, err
	}
	l := newLog(d, p, cfg)
	err := l.load(st)
	vouched, ok := d.vouch(name)
	switch {
	case errors.Is(err, ErrDamaged):
		if st != nil {
			again := *st // the one in the map may be being written at this moment
			again.Damaged = true
			d.mu.Lock()
			d.unopened[name] = &again
			d.mu.Unlock()
		}
		if ok {
			err = errors.Join(err, d.vouchFor(p, vouched))
		}
	case err == nil && ok:
		err = d.dropKept(name)
	}
	if err != nil {
		d.files.shutAll(l)
	}
	return l, err
}

// setAside renames a partition's folder so that it is never loaded, and keeps it.
func (d *Dir) setAside(name, why string) error {
	stray := aside(name, straySuffix)
	if err := d.dropKept(name); err != nil {
		return err
	}
	if err := d.fs.Rename(filepath.Join(d.root, name), filepath.Join(d.root, stray)); err != nil {
		return err
	}
	if err := d.fs.SyncDir(d.root); err != nil {
		return err
	}
	d.mu.Lock()
	d.strays = append(d.strays, stray)
	delete(d.onDisk, name)
	delete(d.unopened, name)
	d.orphan(name)
	d.mu.Unlock()
	d.logger.Warn("a partition's folder was set aside", "folder", name, "as", stray, "because", why)
	return nil
}

// begin makes segs, all durable, what the log consists of. Their indexes are durable up to indexed.
func (l *Log) begin(segs []*segment, indexed point, logStart int64) {
	s := segs[len(segs)-1]
	t := s.now()
	l.segs.Store(&segs)
	if !l.config().RemoteStorage {
		logStart = max(logStart, segs[0].base)
	}
	l.logStart.Store(logStart)
	l.wantStart.Store(logStart)
	l.wantLocal.Store(max(segs[0].base, logStart))
	l.localStart.Store(max(segs[0].base, logStart))
	for _, v := range []interface{ Store(int64) }{&l.end, &l.flushed, &l.stable} {
		v.Store(t.next)
	}
	for _, s := range segs {
		s.synced, s.entrySynced = s.now().size, true
	}
	l.next = t.next
	l.point = point{base: s.base, tail: t, index: s.idx.len(), timeIndex: s.tidx.len(),
		sinceIndex: s.sinceIndex, firstTime: s.firstTime, timeAdded: s.timeAdded}
	l.durable = l.point
	l.indexed = &indexed
	l.acked = place{s.base, t.size}
	l.resetPlan()
}

// Remove deletes the partition, opened or not: its folder is renamed, which is durable when Remove returns, and then
// deleted. Regions that were read can still be sent. It is no error if there is no such partition. After an error, of a full
// disk for one, it may be called again.
func (d *Dir) Remove(p topic.Partition) error {
	name := p.String()
	l, done, err := d.enter(name)
	if err != nil {
		return err
	}
	defer done()
	d.mu.Lock()
	found, known := d.onDisk[name]
	d.mu.Unlock()
	switch {
	case l != nil && l.part.ID == p.ID:
		d.drop(l)
		// The folder goes, and what the journal holds of it must not bring it back (I-38).
		if err := d.forget(l, everything); err != nil {
			return fmt.Errorf("removing %s: %w", name, err)
		}
		if !l.Stored() {
			return nil
		}
		d.mu.Lock()
		d.onDisk[name] = p // the log is gone, the folder is not: should this fail, the next Remove finds it
		d.mu.Unlock()
	case l == nil && known && found.ID == p.ID:
	default:
		return nil // the folder, if any, is that of another life
	}
	if err := d.dropKept(name); err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	gone := filepath.Join(d.root, aside(name, deleteSuffix))
	if err := d.fs.Rename(filepath.Join(d.root, name), gone); err != nil {
		return fmt.Errorf("removing %s: %w", name, d.writeFailed(err))
	}
	if err := d.syncRoot(); err != nil { // the folder has its name, and there is nothing to try again (I-31)
		return fmt.Errorf("removing %s: %w", name, d.syncFailed(err))
	}
	d.mu.Lock()
	delete(d.onDisk, name)
	delete(d.unopened, name)
	d.orphan(name)
	d.startsGone(key(p))
	d.mu.Unlock()
	if err := d.fs.RemoveAll(gone); err != nil {
		d.logger.Warn("deleting a removed partition's files failed, the next start tries again",
			"folder", gone, "error", err)
	}
	return nil
}

// abandon is drop of a log whose folder is kept, whole.
func (d *Dir) abandon(l *Log) error {
	if l.Stored() {
		if err := l.Sync(); err != nil {
			return err
		}
	}
	d.drop(l)
	return d.forget(l, everything)
}

// drop closes a log whose folder is about to go, without flushing it. Appends that wait fail with ErrClosed.
func (d *Dir) drop(l *Log) {
	l.trimMu.Lock() // a swap or trim that is under way ends before
	defer l.trimMu.Unlock()
	_ = l.exclusive(func() error { return nil }) // what is being written may finish
	l.close(ErrClosed)
	d.mu.Lock()
	delete(d.logs, l.name)
	d.mu.Unlock()
}

// close ends the log's use, for the reason err, and lets go of its files.
func (l *Log) close(err error) {
	l.mu.Lock()
	for l.frozen || l.writing {
		l.cond.Wait()
	}
	l.closed = err
	l.cond.Broadcast()
	if len(l.queue) > 0 {
		l.rollback(nil, err)
	}
	segs := l.segments()
	l.mu.Unlock()
	l.syncMu.Lock() // a flush that runs ends before
	defer l.syncMu.Unlock()
	for _, s := range segs {
		s.retired()
		s.shut()
	}
	l.notify()
}

// retired keeps the segment's files from being opened again.
func (s *segment) retired() {
	for _, f := range []*file{&s.file, &s.idx.file, &s.tidx.file} {
		f.bar()
	}
}

// noTime is the tail of a segment that holds nothing.
func noTime(base int64) segmentTail {
	return segmentTail{next: base, maxTime: record.NoTimestamp, maxTimeOffset: base}
}
