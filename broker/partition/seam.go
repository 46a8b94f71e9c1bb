package partition

import (
	"context"
	"fmt"

	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/ledger"
)

// Epoch is one entry of a lineage of leader epochs.
type Epoch = epoch.Entry

// logFacts is what disagreement needs to know of a log.
type logFacts struct {
	End, LocalStart int64
	Epochs          func() []Epoch
}

// disagreement says in a sentence why a log cannot go on beside its archive, or "" when it can (I-36). The
// archive holds only committed records, so it wins. lineage is asked for, at the price of a read from the store,
// only when something cheaper looks wrong: the archive's lineage lies in its last object.
func disagreement(log logFacts, l *ledger.Ledger, lineage func() ([]Epoch, error)) (string, error) {
	if log.End < l.Next {
		return fmt.Sprintf("the local log ends at offset %d, the archive at %d", log.End, l.Next), nil
	}
	last := l.Next - 1
	if l.Empty() || log.LocalStart > last {
		return "", nil
	}
	// Two logs that know the same epoch agree up to where it began, and, where it wrote both, beyond. So a log
	// that was once led at, or followed, the epoch of the archive's last append agrees with the archive.
	ours := log.Epochs()
	for _, e := range ours {
		if e.Epoch == l.Epoch {
			return "", nil
		}
	}
	theirs, err := lineage()
	if err != nil {
		return "", err
	}
	if off, ok := diverge(ours, theirs, log.LocalStart, l.Next); ok {
		return fmt.Sprintf("from offset %d on the local log was written by another leader than the archive", off), nil
	}
	return "", nil
}

// diverge finds the first offset in [from, to) that two lineages ascribe to different epochs.
func diverge(ours, theirs []Epoch, from, to int64) (int64, bool) {
	for from < to {
		a, aEnd := epochAt(ours, from, to)
		b, bEnd := epochAt(theirs, from, to)
		if a != b {
			return from, true
		}
		from = min(aEnd, bEnd)
	}
	return 0, false
}

// epochAt gives the epoch that wrote offset (-1: none known) and where it ends, at most limit.
func epochAt(lineage []Epoch, offset, limit int64) (int32, int64) {
	e, end := int32(-1), limit
	for _, x := range lineage {
		if x.Start > offset {
			end = min(limit, x.Start)
			break
		}
		e = x.Epoch
	}
	return e, end
}

func (p *Partition) archivedEpochs(ctx context.Context, l *ledger.Ledger) ([]Epoch, error) {
	if p.m.o.Archive == nil {
		return nil, fmt.Errorf("no archive is configured")
	}
	end, err := p.m.o.Archive.End(ctx, p.id, l)
	return end.Epochs, err
}

// adopt sets a local log that lies behind its archive, or differs from it, aside and lets it go on at the ledger's
// next with the epochs and producers of the last object (I-36).
func (p *Partition) adopt(ctx context.Context, l *ledger.Ledger, log Log) error {
	var end ArchiveEnd
	if !l.Empty() {
		if p.m.o.Archive == nil {
			return fmt.Errorf("no archive is configured")
		}
		var err error
		if end, err = p.m.o.Archive.End(ctx, p.id, l); err != nil {
			return err
		}
	}
	return log.Reset(l.Next, end.Epochs, end.Producers)
}

// offsetsOf takes one moment's picture; see offsets for the order.
func (p *Partition) offsetsOf(log Log) (offsets, *ledger.Ledger) {
	o := offsets{localStart: log.LocalStart(), logStart: log.LogStart()}
	var l *ledger.Ledger
	if p.news.Load().settings.Remote {
		if l = p.m.o.Metadata.CachedLedger(p.id); l.Version > 0 {
			// The ledger's start is the authority: it is committed before anybody is told.
			o.logStart, o.archStart, o.archNext = l.Start, l.Start, l.Next
		}
	}
	if l == nil || l.Version == 0 {
		o.logStart = max(o.logStart, o.localStart)
	}
	o.hw = p.hw.Load()
	o.stable = o.hw // no transactions yet: what is committed is decided
	o.end = max(log.End(), o.hw)
	return o, l
}

func (p *Partition) logStart(log Log) int64 {
	o, _ := p.offsetsOf(log)
	return o.logStart
}
