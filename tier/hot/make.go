package hot

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/topic"
)

// A partition that was never written to has nothing on disk: that it exists, the metadata knows, durably, and what an
// empty log holds needs no file. Its folder is made by the first append (or Reset), before offsets are handed out, so
// that making a topic costs no fsync here, and ten thousand empty partitions cost no file. After a crash such a log is
// what it was: a folder that is there under the partition's name is a whole one (build), one that is not was never
// written to in any way that somebody was told of.
//
//	           Open, no folder              first append, Reset
//	(nothing) ─────────────────▶ unmade ──────────────────────────▶ stored, for as long as the topic lives
//
// A former life of the name is not seen: Open sets its folder aside, and its starts are forgotten before the new folder
// is there (I-38). Offsets of an unmade log were never handed out, so beginning at 0 again hands none out twice (I-03).

// Stored reports whether the log has a folder on disk. One without holds nothing and never did.
func (l *Log) Stored() bool { return !l.unmade.Load() }

// Stored reports whether the partition has a folder on disk, opened or not. It does no I/O.
func (d *Dir) Stored(p topic.Partition) bool {
	name := p.String()
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.logs[name]; l != nil {
		return l.part.ID == p.ID && l.Stored()
	}
	return d.onDisk[name].ID == p.ID
}

// begin gives the log of a partition of which nothing is on disk.
func (d *Dir) begin(p topic.Partition, cfg *Config) *Log {
	l := newLog(d, p, cfg)
	l.unmade.Store(true)
	l.beginEmpty(0, 0, epoch.Cache{}, nil)
	return l
}

// beginEmpty makes l a log without records whose first segment begins at start.
func (l *Log) beginEmpty(start, logStart int64, epochs epoch.Cache, producers []producer.Entry) {
	s := newSegment(l, start)
	s.created = l.dir.nowMs()
	s.tail.modified = s.created
	l.epochs.Store(&epochs)
	l.begin([]*segment{s}, startOf(s), logStart)
	st := new(producer.State)
	st.Reset(producers, start)
	l.setProducers(walkFrom(st))
}

// Make makes the folder if there is none yet, durably. The first append does it otherwise; who is about to append to many
// logs may do it for some at once. Errors are those of Append.
func (l *Log) Make() error {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	return l.exclusive(func() error {
		if l.Stored() {
			return nil
		}
		if err := l.dir.build(l); err != nil {
			return fmt.Errorf("making the folder of %s: %w", l.name, l.dir.writeFailed(err))
		}
		l.unmade.Store(false)
		return nil
	})
}

// build makes the folder of an unmade log under another name, so that at any moment there is either no folder or a
// whole one.
func (d *Dir) build(l *Log) error {
	if err := d.forgetStarts(l.part); err != nil {
		return err
	}
	if err := d.adopt(l.name); err != nil {
		return err
	}
	tmp, err := d.prepareFolder(l, 0, *l.epochs.Load(), nil)
	if err != nil {
		if tmp != "" {
			_ = d.fs.RemoveAll(tmp) // else the next start does it
		}
		return err
	}
	if err := d.fs.Rename(tmp, filepath.Join(d.root, l.name)); err != nil {
		_ = d.fs.RemoveAll(tmp)
		return err
	}
	// What a full disk makes of this is not for the next attempt to mend: the folder has its name (I-31).
	if err := d.syncRoot(); err != nil {
		return d.syncFailed(err)
	}
	return nil
}

// syncRoot makes the names in the log directory durable. Who comes while it is being done shares the next time.
func (d *Dir) syncRoot() error {
	return d.rootRuns.do(func() error { return d.fs.SyncDir(d.root) })
}

// prepareFolder makes the folder of a log that begins at start, under a name that does not count yet.
func (d *Dir) prepareFolder(l *Log, start int64, epochs epoch.Cache, producers []producer.Entry) (string, error) {
	tmp := filepath.Join(d.root, aside(l.name, newSuffix))
	if err := d.fs.MkdirAll(tmp, 0o755); err != nil {
		return tmp, err
	}
	name := filepath.Join(tmp, fileName(start, logSuffix))
	f, err := d.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return tmp, err
	}
	if l.config().Preallocate {
		err = f.Truncate(int64(l.config().SegmentBytes))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && epochs.Len() > 0 {
		err = checkpoint.WriteEpochs(d.fs, tmp, epochs)
	}
	if err == nil && len(producers) > 0 {
		err = disk.WriteFileSync(d.fs, filepath.Join(tmp, fileName(start, snapshotSuffix)),
			producer.AppendSnapshot(nil, producers))
	}
	if err == nil {
		// Last, because it makes all entries of the folder durable.
		err = checkpoint.WriteMetadata(d.fs, tmp, l.part.ID)
	}
	if err != nil {
		return tmp, err
	}
	return tmp, nil
}
