package hot

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/firnlog/firn/tier/hot/flush"
)

// cleanMark is what Kafka writes into the file.
const cleanMark = `{"version":0,"brokerEpoch":-1}` + "\n"

// Close flushes all logs, saves their producer states and where they end, and marks the stop as clean. Appends that
// are under way finish before. Without errors the next OpenDir need not look at any log that was open; what it has to know of
// the others is saved as well. A Dir that is offline is closed, but not marked.
func (d *Dir) Close() error {
	d.mu.Lock()
	for len(d.opening) > 0 {
		d.cond.Wait()
	}
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	logs := d.openLogs()
	d.mu.Unlock()
	d.keeper.close()
	d.flusher.Close()

	err := d.closeLogs(logs)
	if err == nil {
		err = d.Offline()
	}
	if d.journal != nil {
		err = errors.Join(err, d.journal.Close())
	}
	if err == nil {
		d.unlinkDeleted(true)
	}
	if err == nil { // all of it is in the logs' own files; durable with the state file
		_, err = flush.RemoveJournal(d.fs, d.root)
	}
	if err == nil {
		err = d.checkpoint(allLogsDue)
	}
	if err == nil {
		err = d.saveState()
	}
	if err == nil {
		err = d.markStop()
	}
	if err == nil {
		err = d.markClean()
	}
	for _, l := range logs {
		l.close(ErrClosed)
	}
	d.metrics.close()
	return errors.Join(err, d.lock.Close())
}

// markClean makes the clean marker. Only that it is there counts, so its content is not synced.
func (d *Dir) markClean() error {
	if err := writeFile(d.fs, filepath.Join(d.root, cleanFile), []byte(cleanMark)); err != nil {
		return err
	}
	return d.fs.SyncDir(d.root)
}

// closeLogs brings the logs to rest, some at once, for each may have to wait for the disk.
func (d *Dir) closeLogs(logs []*Log) error {
	return lanes(diskLanes, logs, func(l *Log) error {
		if err := l.rest(); err != nil {
			return fmt.Errorf("closing %s: %w", l.name, err)
		}
		return nil
	})
}

// rest makes everything of the log durable, so that it can be opened without a look at it. Nothing can be appended
// any more.
func (l *Log) rest() error {
	l.trimMu.Lock() // a swap or trim that is under way ends before
	defer l.trimMu.Unlock()
	return l.exclusive(func() error {
		if !l.Stored() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.closed = ErrClosed
			return nil
		}
		s := l.active()
		if err := s.finish(); err != nil {
			return err
		}
		if err := s.cutFile(); err != nil {
			return err
		}
		if err := l.Sync(); err != nil {
			return err
		}
		s.shut() // else a stop would open the files of all logs, and have them open at once
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closed = ErrClosed
		l.durable = point{base: s.base, tail: s.now(), index: s.idx.len(), timeIndex: s.tidx.len(),
			sinceIndex: s.sinceIndex, firstTime: s.firstTime, timeAdded: s.timeAdded}
		return l.saveProducers()
	})
}
