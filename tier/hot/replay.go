package hot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/hot/flush"
	"github.com/firnlog/firn/tier/topic"
)

// keptPrefix and keptSuffix enclose, with the partition's name between them, the names of files in the log directory that
// hold what the journal had of a log whose own files are not what it goes on from. As long as one is there its log is opened
// only if it is whole. Whoever puts the log's files back gets it back with all that was acknowledged.
//
// Files of earlier versions are without the suffix, and count as long as there is none with it. What has such a name and is a
// folder is a partition of a topic that somebody called so.
const (
	keptPrefix = "firn-journal-kept."
	keptSuffix = ".kept"
)

// errUnread means that the journal, or what was kept of it, could not be read.
var errUnread = errors.New("the flush journal cannot be read")

// replayAll brings the logs' files to where the journal, and what was kept of former ones, says they are, durably. Only then is
// the directory looked at: to all that follows but endReplay there is no journal.
func (d *Dir) replayAll() error {
	err := d.replayJournal()
	if err == nil {
		err = d.applyKept()
	}
	if err != nil && d.dropped.Load() && !d.rebooted {
		// What else of that file was in memory alone may be gone from there, too, while the page cache shows it (I-31).
		if merr := d.remark(func(m *mark) { m.doubt = true }); merr != nil {
			err = fmt.Errorf("%w; that it failed could not be noted (restart the machine, not only firn): %w", err, merr)
		}
	}
	return err
}

// replayJournal takes as long as what is in the journal takes to be read and written, and an fdatasync of each log that is in
// it, some at once, whatever the logs hold.
func (d *Dir) replayJournal() error {
	if d.stop == StopClean { // all of it is in the logs
		return nil
	}
	switch err := d.replay(); {
	case errors.Is(err, errUnread):
		return fmt.Errorf("%w. What was acknowledged last may be in it alone. Put the file back, or, to go on without it, "+
			"move the files firn-journal.* away from %s", err, d.root)
	case err != nil:
		return fmt.Errorf("replaying the flush journal: %w", err)
	}
	return nil
}

// endReplay deletes the journal, after the state file took over what it said of the logs, for they may not be opened in the
// life of this process.
func (d *Dir) endReplay() error {
	if d.stop != StopClean && len(d.vouched) > 0 {
		err := d.saveState()
		if disk.Full(err) { // no reason to serve nobody
			d.logger.Warn("how far the flush journal had the logs could not be saved: damage might not be told from what a crash left", "error", err)
		} else if err != nil {
			return err
		}
	}
	_, err := flush.RemoveJournal(d.fs, d.root)
	return err
}

func (d *Dir) replay() (err error) {
	r, err := flush.ReadJournal(d.fs, d.root)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnread, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	d.replayed = r.Bytes
	if err := d.applyReplay(r); err != nil {
		return err
	}
	if r.Frames > 0 {
		d.logger.Info("replayed the flush journal", "writes", r.Frames, "partitions", len(r.Logs), "bytes", r.Bytes)
	}
	return nil
}

func (d *Dir) applyReplay(r *flush.Replay) error {
	return lanes(d.lanes(), r.Logs, func(s *flush.Survivor) error {
		if err := d.apply(r, s); err != nil {
			return fmt.Errorf("%s: %w", s.Part, err)
		}
		return nil
	})
}

// apply writes what the journal holds of one log into its file. What does not go on from there is kept apart.
func (d *Dir) apply(r *flush.Replay, s *flush.Survivor) error {
	name := s.Part.String()
	id, err := checkpoint.ReadMetadata(d.fs, filepath.Join(d.root, name))
	_, gone := d.fs.Stat(filepath.Join(d.root, name))
	switch {
	case errors.Is(gone, fs.ErrNotExist):
		d.logger.Error("a partition's folder is gone, and what the flush journal holds of it goes, too", "partition", name)
		return d.dropKept(name)
	case err == nil && id != s.Part.ID:
		d.logger.Warn("the flush journal holds something of another life of a partition", "partition", name, "id", s.Part.ID)
		return nil
	}
	last := s.Extents[len(s.Extents)-1]
	end := last.Position + int64(last.Length)
	d.mu.Lock()
	d.vouched[name] = place{s.Segment, end}
	d.mu.Unlock()
	at, err := d.write(r, s, filepath.Join(d.root, name, fileName(s.Segment, logSuffix)))
	if err != nil {
		return err
	}
	if at < end {
		return d.keep(r, s)
	}
	return nil
}

// write brings one segment up to date and returns up to where; a file that is not there ends at -1. Bytes that seem to be
// there already are written all the same: after an fdatasync that failed, the page cache shows them and the disk does not
// have them, and no later one would tell (I-31).
func (d *Dir) write(r *flush.Replay, s *flush.Survivor, name string) (int64, error) {
	f, err := d.fs.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	at, err := f.Size()
	if err != nil {
		return 0, err
	}
	whole := true
	var b []byte
	for i := range s.Extents {
		e := &s.Extents[i]
		if e.Position > at {
			return e.Position - 1, nil
		}
		b = slices.Grow(b[:0], int(e.Length))[:e.Length]
		err := r.ReadAt(e, b)
		if errors.Is(err, flush.ErrDamaged) { // the file may have them all the same: recovery looks
			whole = whole && e.Position+int64(e.Length) <= at
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errUnread, err)
		}
		if _, err = f.WriteAt(b, e.Position); err != nil {
			return 0, err
		}
		at = max(at, e.Position+int64(e.Length))
	}
	if !whole {
		return -1, nil
	}
	if err := f.Datasync(); err != nil {
		d.dropped.Store(true)
		return at, err
	}
	return at, nil
}

// keep writes what the journal holds of a log into a file of its own, durably.
func (d *Dir) keep(r *flush.Replay, s *flush.Survivor) error {
	b, err := r.Keep(s)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnread, err)
	}
	return disk.WriteFileSync(d.fs, d.keptName(s.Part.String()), b)
}

// keptName is where that is. It is no partition's folder, whose names end in a number.
func (d *Dir) keptName(name string) string { return d.formerKeptName(name) + keptSuffix }

// formerKeptName is where earlier versions had it. Kafka's names may be so long that nothing can be added to them.
func (d *Dir) formerKeptName(name string) string {
	if len(name) > 180 {
		sum := sha256.Sum256([]byte(name))
		name = name[:180] + "." + hex.EncodeToString(sum[:8])
	}
	return filepath.Join(d.root, keptPrefix+name)
}

// keptNames are all the places where something may be kept of a log, the newer one last: it must not go before the other.
func (d *Dir) keptNames(name string) [2]string {
	return [2]string{d.formerKeptName(name), d.keptName(name)}
}

// isKept reports whether there is a file of that name.
func (d *Dir) isKept(path string) (bool, error) {
	info, err := d.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && !info.IsDir(), err
}

// dropKept forgets what was kept of a log, if anything was; durable once the directory is synced.
func (d *Dir) dropKept(name string) error {
	for _, path := range d.keptNames(name) {
		there, err := d.isKept(path)
		if there {
			err = d.fs.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.vouched, name)
	for _, path := range d.keptNames(name) {
		delete(d.unreadable, path)
	}
	return nil
}

// applyKept tries again what was kept, at a start of whatever kind. What cannot be read keeps its own log from being
// opened, and no other.
func (d *Dir) applyKept() error {
	entries, err := d.fs.ReadDir(d.root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), keptPrefix) || disk.IsTmp(e.Name()) || e.IsDir() {
			continue
		}
		name := filepath.Join(d.root, e.Name())
		if newer, err := d.isKept(name + keptSuffix); err != nil {
			return err
		} else if newer { // as new as that, or newer, for it was kept later
			continue
		}
		switch err := d.replayKept(name); {
		case errors.Is(err, errUnread):
			d.logger.Error("what the flush journal held of a partition cannot be read, the partition stays offline", "file", name, "error", err)
			d.unreadable[name] = err
		case err != nil:
			return fmt.Errorf("what the flush journal held, in %s: %w", name, err)
		}
	}
	return nil
}

func (d *Dir) replayKept(name string) (err error) {
	r, err := flush.ReadKept(d.fs, name)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnread, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if len(r.Logs) == 0 {
		return fmt.Errorf("%w: it is empty", errUnread)
	}
	return d.applyReplay(r)
}

// keptDamaged says why a log is not opened because of what was kept of it, if so.
func (d *Dir) keptDamaged(name string) error {
	var kept string
	var err error
	d.mu.Lock()
	for _, path := range d.keptNames(name) {
		if unread := d.unreadable[path]; unread != nil {
			kept, err = path, unread
		}
	}
	d.mu.Unlock()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: what was flushed last may be in %s alone, which cannot be read: %w. The partition stays offline and its segments "+
		"as they are. Stop firn, then put that file back, or move it away to go on without it, or delete the folder %s: "+
		"firn then begins the partition anew, with all of it that is in the archive",
		ErrDamaged, kept, err, filepath.Join(d.root, name))
}

// giveUpKept forgets what cannot be read of a log whose folder was deleted. That is durable once the log's new folder is.
func (d *Dir) giveUpKept(name string) error {
	if d.keptDamaged(name) == nil {
		return nil
	}
	return d.dropKept(name)
}

// vouchFor makes a log that was found damaged because of what the journal said be found so again.
func (d *Dir) vouchFor(p topic.Partition, v place) error {
	for _, path := range d.keptNames(p.String()) {
		if there, err := d.isKept(path); err == nil && there {
			return nil
		}
	}
	b := flush.KeepBound(p, v.base, v.size)
	return disk.WriteFileSync(d.fs, d.keptName(p.String()), b)
}

// vouch returns up to where the journal said that the log's last segment is whole.
func (d *Dir) vouch(name string) (place, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.vouched[name]
	return v, ok
}

// everything is above every offset.
const everything = math.MaxInt64
