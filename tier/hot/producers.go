package hot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

const snapshotSuffix = checkpoint.SnapshotSuffix

// Producers returns what is known of the idempotent producers as of End, by ascending id.
func (l *Log) Producers() ([]producer.Entry, error) { return l.ProducersAt(l.End()) }

// ProducersAt returns what was known of the producers when the log ended at offset, which must be a batch boundary
// between LocalStart and End. At End it costs nothing; below, the batches since the newest snapshot at or below are
// walked through.
func (l *Log) ProducersAt(offset int64) ([]producer.Entry, error) {
	if err := l.loadProducers(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if offset == l.end.Load() && l.next == offset { // nothing queued: the state is that at the end
		defer l.mu.Unlock()
		return l.producers.Entries(), nil
	}
	l.mu.Unlock()
	if offset > l.End() || offset < l.LocalStart() {
		return nil, l.outOfRange(offset, l.End())
	}
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	st, err := l.replayProducers(offset)
	if err != nil {
		return nil, err
	}
	return st.Entries(), nil
}

// loadProducers reads the producer state of a log that has not needed it since it was opened.
func (l *Log) loadProducers() error {
	l.mu.Lock()
	loaded := l.loaded
	l.mu.Unlock()
	if loaded {
		return nil
	}
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	return l.loadProducersLocked()
}

// loadProducersLocked is loadProducers for who holds trimMu. Nothing is appended before it has succeeded once, so
// the end stands still.
func (l *Log) loadProducersLocked() error {
	l.mu.Lock()
	loaded := l.loaded
	l.mu.Unlock()
	if loaded {
		return nil
	}
	st, err := l.replayProducers(l.end.Load())
	if err != nil {
		return fmt.Errorf("%s: producer state: %w", l.name, err)
	}
	l.mu.Lock()
	l.producers, l.loaded = *st, true
	l.mu.Unlock()
	return nil
}

// replayProducers builds the producer state at offset from the newest snapshot that is good and the batches after it.
func (l *Log) replayProducers(offset int64) (*producer.State, error) {
	at, entries, err := l.newestSnapshot(offset)
	if err != nil {
		return nil, err
	}
	st := &producer.State{}
	st.Reset(entries, at)
	now := l.dir.nowMs()
	segs := l.segments()
	for i := max(0, segmentAt(segs, at)); i < len(segs) && segs[i].base < offset; i++ {
		s := segs[i]
		from, _, err := s.find(at)
		if err != nil {
			return nil, err
		}
		to, _, err := s.find(offset)
		if err != nil {
			return nil, err
		}
		if err := s.walk(from, to, func(h *record.Header, _ int64) { st.Apply(*h, h.BaseOffset, now) }); err != nil {
			return nil, err
		}
	}
	st.AdvanceEnd(offset)
	return st, nil
}

// newestSnapshot returns the newest readable snapshot at or below offset whose following batches are all here, or
// the log's beginning and nothing.
func (l *Log) newestSnapshot(offset int64) (int64, []producer.Entry, error) {
	first := l.segments()[0].base
	bases, err := l.snapshots()
	if err != nil {
		return 0, nil, err
	}
	slices.Sort(bases)
	for _, base := range slices.Backward(bases) {
		if base > offset || base < first {
			continue
		}
		entries, err := l.readSnapshot(filepath.Join(l.folder(), fileName(base, snapshotSuffix)))
		if err != nil {
			return 0, nil, err
		}
		if entries != nil {
			return base, entries, nil
		}
	}
	return first, nil, nil
}

// snapshots lists the offsets of the producer snapshots in the folder.
func (l *Log) snapshots() ([]int64, error) {
	entries, err := l.dir.fs.ReadDir(l.folder())
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, e := range entries {
		if base, ok := parseFileName(e.Name(), snapshotSuffix); ok {
			bases = append(bases, base)
		}
	}
	return bases, nil
}

// keepProducers makes the producer state at base durable, but for the folder's entry: once the batches below are
// trimmed, nothing else knows it (I-05).
func (l *Log) keepProducers(base int64) error {
	name := filepath.Join(l.folder(), fileName(base, snapshotSuffix))
	entries, err := l.readSnapshot(name)
	if err == nil && entries != nil {
		return l.syncSnapshot(name)
	}
	if err != nil {
		return err
	}
	// No snapshot was written when the segment began, because there were no producers, or it was lost. Without
	// producers an empty one is: it tells recovery that what is below was trimmed (recovery.trimmed).
	st, err := l.replayProducers(base)
	if err != nil {
		return err
	}
	return disk.WriteFileSync(l.dir.fs, name, producer.AppendSnapshot(nil, st.Entries()))
}

// readSnapshot returns what a producer snapshot holds; nil if there is none that is good.
func (l *Log) readSnapshot(name string) ([]producer.Entry, error) {
	b, err := disk.ReadFile(l.dir.fs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := producer.DecodeSnapshot(b)
	if err != nil {
		// It was written at a roll and not synced: after a power cut the one before is as good.
		l.dir.logger.Debug("passing over a producer snapshot", "file", name, "because", err)
		return nil, nil
	}
	if entries == nil {
		entries = []producer.Entry{}
	}
	return entries, nil
}

func (l *Log) syncSnapshot(name string) error {
	f, err := l.dir.fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Datasync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// dropSnapshots removes the snapshots for which drop says so.
func (l *Log) dropSnapshots(drop func(base int64) bool) error {
	bases, err := l.snapshots()
	if err != nil {
		return err
	}
	for _, base := range bases {
		if drop(base) {
			err = errors.Join(err, l.dir.fs.Remove(filepath.Join(l.folder(), fileName(base, snapshotSuffix))))
		}
	}
	return err
}

// expireProducers forgets producers that are idle for too long.
func (l *Log) expireProducers(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded && len(l.queue) == 0 && !l.writing { // a failed write would bring the forgotten back
		l.producers.Expire(now, l.dir.expiry.Load())
	}
}

// snapshotProducers makes what is known of the producers at the log's end durable in a snapshot file there, also when that
// is nothing, so that the first append after a crash need not walk through the batches below. It is for who saves recovery
// points, once at least snapshotBytes were appended since the last time. It waits for no append, and for nobody who changes
// the log: then, and while the state is not known yet, it does nothing and gives nil. The caller holds none of the log's
// locks but, perhaps, trimMu. An error (a full disk, say) costs nothing but reading after a crash.
func (l *Log) snapshotProducers() error { return nil }
