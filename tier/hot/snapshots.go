package hot

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/hot/producer"
)

// Producer snapshots are Kafka's: a file says what is known of the producers at the offset in its name, and its content says
// whether it is whole. They are written
//
//   - at a roll, if somebody is known, not synced: to walk through a segment at most;
//   - when recovery points are saved, and at a clean stop, at the end of the log: so that a recovery, or the first append
//     after a start, walks through little, also where the state file does not tell (noted.go);
//   - at a trim, where the log then begins, durably: what was below is known from nowhere else.
//
// Each is true as long as the batches below it are there, the empty one too, which says that nobody is known. So those above
// the end go, durably, before other batches can get there: in a recovery, which may find the log shorter, and in Truncate.
// Wherever a segment begins, an empty one is as good as the others: what is below is not needed for its producers.

const snapshotSuffix = checkpoint.SnapshotSuffix

func (l *Log) snapshotName(at int64) string {
	return filepath.Join(l.folder(), fileName(at, snapshotSuffix))
}

// newestSnapshot returns the newest good snapshot at an offset of first to last; without one, first and nil.
func (l *Log) newestSnapshot(first, last int64) (int64, []producer.Entry, error) {
	bases, err := l.snapshots()
	if err != nil {
		return 0, nil, err
	}
	for _, base := range slices.Backward(bases) {
		if base > last {
			continue
		}
		if base < first {
			break
		}
		entries, err := l.readSnapshot(l.snapshotName(base))
		if entries != nil || err != nil {
			return base, entries, err
		}
	}
	return first, nil, nil
}

// snapshots lists the offsets of the producer snapshots in the folder, in order.
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
	slices.Sort(bases)
	return bases, nil
}

// unsnapped is how many bytes lie above the newest snapshot file of the log's end; 0 while they are not known after a start.
// The caller holds mu.
func (l *Log) unsnapped() int64 {
	if !l.loaded {
		return 0
	}
	return l.past.walked + l.distance(&l.past.snap, &l.point)
}

// snapshotProducers makes what is known of the producers at the log's end durable in a snapshot file there, also when that
// is nothing, so that the first append after a crash need not walk through the batches below. It is for who saves recovery
// points, once much lies above the last (unsnapped). It waits for no append, and for nobody who changes the log: then, and
// while the state is not known yet, it does nothing and gives nil. The caller holds none of the log's locks but, perhaps,
// trimMu. After an error (a full disk, say) a start after a crash has to read more.
func (l *Log) snapshotProducers() error {
	if !l.trimMu.TryLock() {
		return nil
	}
	defer l.trimMu.Unlock()
	l.mu.Lock()
	if l.closed != nil || !l.Stored() || l.unsnapped() == 0 {
		l.mu.Unlock()
		return nil
	}
	end, at, entries := l.end.Load(), l.point, l.atEnd()
	l.mu.Unlock()
	err := disk.WriteFileSync(l.dir.fs, l.snapshotName(end), producer.AppendSnapshot(nil, entries))
	if err == nil {
		err = l.dropFormer(end)
	}
	if err != nil {
		return l.writeFailed(err)
	}
	l.mu.Lock()
	l.past.snap, l.past.walked = at, 0
	l.mu.Unlock()
	return nil
}

// saveProducers writes the producer snapshot of the log's end, if the next start would otherwise have to read much to know
// it. It is not synced: the batches say the same, as far as trims did not make another snapshot durable. The caller is the
// writer and holds trimMu and mu: the log is closed.
func (l *Log) saveProducers() error {
	n := l.unsnapped()
	if n == 0 || l.producers.Len() == 0 && n < l.dir.o.checkpointBytes {
		return nil
	}
	name := l.snapshotName(l.next)
	old, err := l.readSnapshot(name)
	if err == nil && old == nil { // else it says the same, and a trim may need it as it is
		err = writeFile(l.dir.fs, name, producer.AppendSnapshot(nil, l.producers.Entries()))
	}
	if err != nil {
		return err
	}
	return l.dropFormer(l.next)
}

// dropFormer removes the snapshots that the one at an offset takes the place of. Those of segments are of use to trims; of the
// others the last is kept, for a power cut may take this one, or the batches right below it. The caller holds trimMu.
func (l *Log) dropFormer(at int64) error {
	bases, err := l.snapshots()
	if err != nil {
		return err
	}
	segs := l.segments()
	bases = slices.DeleteFunc(bases, func(base int64) bool {
		i := segmentAt(segs, base)
		return base >= at || i >= 0 && segs[i].base == base
	})
	for _, base := range bases[:max(0, len(bases)-1)] {
		if err := l.dir.fs.Remove(l.snapshotName(base)); err != nil {
			return err
		}
	}
	return nil
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
		// Those of rolls and clean stops are not synced: after a power cut the one before is as good.
		l.dir.logger.Debug("passing over a producer snapshot", "file", name, "because", err)
		return nil, nil
	}
	if entries == nil {
		entries = []producer.Entry{}
	}
	return entries, nil
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
