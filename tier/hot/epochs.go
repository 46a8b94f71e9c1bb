package hot

import (
	"fmt"

	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/hot/epoch"
)

// Epochs returns the leader epochs of the log, oldest first.
func (l *Log) Epochs() []epoch.Entry { return l.epochs.Load().Entries() }

// EndOfEpoch answers OffsetForLeaderEpoch: the greatest epoch up to e and the offset at which it ends; both are
// epoch.Undefined if the log does not know.
func (l *Log) EndOfEpoch(e int32) (int32, int64) { return l.epochs.Load().EndFor(e, l.End()) }

// EpochAt returns the epoch of the batch at the offset, epoch.Undefined if the log does not know.
func (l *Log) EpochAt(offset int64) int32 { return l.epochs.Load().At(offset) }

// latestEpoch returns the newest epoch, -1 if there is none.
func (l *Log) latestEpoch() int32 {
	e, ok := l.epochs.Load().Latest()
	if !ok {
		return -1
	}
	return e.Epoch
}

// AssignEpoch notes, durably, that leader epoch e begins at offset start, or at End if start is negative. From then on
// appends in the name of an older epoch are ErrFenced. (A log that was never written to keeps it in memory until it is:
// the first append makes it durable before anything is written.) To assign the newest epoch again changes nothing; an older one
// is ErrFenced. Other errors are those of Append.
func (l *Log) AssignEpoch(e int32, start int64) error {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	return l.exclusive(func() error {
		latest := l.latestEpoch()
		if e < latest {
			return fmt.Errorf("%s: epoch %d, the log is at %d: %w", l.name, e, latest, ErrFenced)
		}
		if start < 0 {
			start = l.End()
		}
		c, changed := l.epochs.Load().Assign(e, start)
		if !changed {
			return nil
		}
		if err := l.keepEpochs(c); err != nil {
			return fmt.Errorf("epoch %d: %w", e, l.writeFailed(err))
		}
		return nil
	})
}

// keepEpochs makes c the log's lineage, durably if the log is on disk at all. The caller is the writer.
func (l *Log) keepEpochs(c epoch.Cache) error {
	if l.Stored() {
		if err := checkpoint.WriteEpochs(l.dir.fs, l.folder(), c); err != nil {
			return err
		}
	}
	l.epochs.Store(&c)
	return nil
}
