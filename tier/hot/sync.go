package hot

import (
	"errors"
	"fmt"
	"io/fs"
)

// mark puts the log into the flusher's next round, once.
func (l *Log) mark() {
	if l.marked.CompareAndSwap(false, true) {
		l.dir.flusher.Mark(l)
	}
}

// Sync makes everything that was written when it is called durable in the log's own files.
func (l *Log) Sync() error {
	l.marked.Store(false) // what is written from here on marks anew
	l.wantSync.Store(false)
	moved, first, err := l.syncOnce()
	if first {
		l.dir.announceOffline()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOffline, err)
	}
	if moved {
		l.notify()
	}
	return nil
}

// syncOnce is sync, one at a time. A failure is known to the directory before the next may begin: a second fdatasync of
// pages that the kernel could not write answers that all is well (I-31). first says that it is to be announced.
func (l *Log) syncOnce() (moved, first bool, err error) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if moved, err = l.sync(); err != nil {
		err = fmt.Errorf("flushing %s: %w", l.name, err)
		first = l.dir.condemn(err)
	}
	return moved, first, err
}

// unsynced is a segment with what Sync has to make durable of it.
type unsynced struct {
	s     *segment
	size  int64
	entry bool // the folder's entry for the file, too
}

func (l *Log) sync() (moved bool, err error) {
	if err := l.dir.Offline(); err != nil {
		return false, err
	}
	todo, at := l.unsynced(l.todo[:0])
	defer func() {
		clear(todo)
		l.todo = todo[:0]
	}()
	if len(todo) == 0 {
		return l.synced(nil, at), nil
	}
	entry := false
	for i := range todo {
		if err := l.syncFile(&todo[i]); err != nil {
			return false, err
		}
		entry = entry || todo[i].entry
	}
	if entry {
		// A file that a power cut takes out of its folder takes its bytes along.
		if err := l.dir.fs.SyncDir(l.folder()); err != nil && !l.removed(err) {
			return false, err
		}
	}
	return l.synced(todo, at), nil
}

// unsynced adds to todo, under a short lock, what has been written and not flushed, oldest first, and gives the point to
// which the log will be durable.
func (l *Log) unsynced(todo []unsynced) ([]unsynced, point) {
	l.mu.Lock()
	defer l.mu.Unlock()
	segs, at := l.segments(), l.point
	for i := len(segs) - 1; i >= 0; i-- {
		s := segs[i]
		size := s.now().size
		if s.base == at.base {
			size = at.tail.size
		}
		if s.base > at.base || (s.synced >= size && s.entrySynced) {
			if s.base < at.base {
				break // what is older was flushed before
			}
			continue
		}
		todo = append(todo, unsynced{s: s, size: size, entry: !s.entrySynced})
	}
	for i, j := 0, len(todo)-1; i < j; i, j = i+1, j-1 {
		todo[i], todo[j] = todo[j], todo[i]
	}
	return todo, at
}

func (l *Log) syncFile(u *unsynced) error {
	used, open := u.s.file.lastUse()
	h, err := u.s.file.acquire(false)
	if errors.Is(err, errGone) || (err != nil && l.removed(err)) {
		return nil // trimmed meanwhile
	}
	if err != nil {
		return err
	}
	defer h.release()
	if open {
		h.used.Store(used) // that it is flushed does not mean that anybody needs it
	}
	done := l.dir.metrics.flushing()
	err = h.Datasync()
	done()
	return err
}

// removed reports whether err is what a folder that is no more leads to.
func (l *Log) removed(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed != nil
}

// synced notes that the segments are durable, and reports whether Flushed or Stable moved.
func (l *Log) synced(todo []unsynced, at point) bool {
	l.mu.Lock()
	for _, u := range todo {
		u.s.synced = max(u.s.synced, u.size)
		u.s.entrySynced = u.s.entrySynced || u.entry
		if u.s.now().size == u.size {
			u.s.file.dirty.Store(false)
		}
	}
	moved := l.acknowledge(at)
	if l.durable != at {
		l.dir.pointMoved(l.distance(&l.durable, &at))
	}
	l.durable = at
	s := l.active()
	l.mu.Unlock()
	if s.base == at.base {
		l.hints.put(l.hints.life.Load(), s, at.tail.next, at.tail.size, 0) // where the reads of the near future end
	}
	return l.raiseStable() || moved
}
