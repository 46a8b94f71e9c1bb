package partition

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
)

// Timestamps with a meaning of their own in ListOffsets (org.apache.kafka.common.requests.ListOffsetsRequest).
const (
	Latest                = -1 // the high watermark, or the last stable offset for read_committed
	Earliest              = -2 // log start
	MaxTimestamp          = -3 // the first record with the largest timestamp (KIP-734)
	EarliestLocal         = -4 // oldest offset on local disk (KIP-405)
	LatestTiered          = -5 // newest offset in the archive (KIP-1005)
	EarliestPendingUpload = -6 // oldest offset not in the archive (KIP-1023)
)

// Position is an offset with the timestamp and the leader epoch of the record there, -1 for what is not known.
type Position = hot.TimeResult

var nowhere = Position{Offset: -1, Timestamp: -1, Epoch: -1}

// OffsetQuery asks for one offset.
type OffsetQuery struct {
	Timestamp   int64 // ms, or one of the special ones
	LeaderEpoch int32 // that the client believes in, -1 for none
	Committed   bool  // isolation level read_committed
	Replica     bool  // asked by a follower: the log end counts, not the watermark
}

// Blocks reports whether ListOffset may have to open the log or read the archive, so that it must not run on a
// connection's reading goroutine.
func (p *Partition) Blocks(q OffsetQuery) bool {
	if !p.IsOpen() {
		return true
	}
	if q.Timestamp < 0 && q.Timestamp != MaxTimestamp {
		return false
	}
	l := p.log.Load()
	o, _ := p.offsetsOf(*l)
	return o.logStart < o.localStart
}

// ListOffset answers one query. A timestamp that no record reaches gives Position{-1, -1, -1} and no error.
func (p *Partition) ListOffset(ctx context.Context, q OffsetQuery) (Position, error) {
	log, err := p.serve(q.LeaderEpoch)
	if err != nil {
		return nowhere, err
	}
	o, l := p.offsetsOf(log)
	limit := o.hw
	switch {
	case q.Replica:
		limit = o.end
	case q.Committed:
		limit = o.stable
	}
	_, epoch := p.Leader()
	at := func(offset int64) (Position, error) {
		return Position{Offset: offset, Timestamp: -1, Epoch: p.epochAt(ctx, log, l, o, offset)}, nil
	}
	remote := p.Settings().Remote
	switch q.Timestamp {
	case Latest:
		return Position{Offset: limit, Timestamp: -1, Epoch: epoch}, nil
	case Earliest:
		return at(o.logStart)
	case EarliestLocal:
		return at(max(o.localStart, o.logStart))
	case LatestTiered:
		if !remote || l == nil || l.Empty() || o.archNext <= o.archStart {
			return nowhere, nil
		}
		return at(o.archNext - 1)
	case EarliestPendingUpload:
		if !remote {
			return nowhere, nil
		}
		return at(max(o.archNext, o.logStart))
	case MaxTimestamp:
		return p.maxTimestamp(ctx, log, l, o, limit)
	}
	if q.Timestamp < 0 {
		return nowhere, kerr.UnsupportedVersion
	}
	return p.offsetForTime(ctx, log, l, o, limit, q.Timestamp)
}

// offsetForTime searches the archive for offsets below the local start and the local log from there on. The
// ledger's timestamps tell when the archive need not be asked.
func (p *Partition) offsetForTime(ctx context.Context, log Log, l *ledger.Ledger, o offsets, limit, ts int64) (Position, error) {
	if o.logStart < o.localStart && l != nil {
		found, ok := l.FindTime(ts, o.logStart)
		if base := foundBase(found); ok && base < o.localStart {
			pos, ok, err := p.inArchive(ctx, func(ctx context.Context, a Archive) (Position, bool, error) { return a.OffsetForTime(ctx, p.id, l, ts) })
			if err != nil {
				return nowhere, err
			}
			if ok && pos.Offset < limit {
				return pos, nil
			}
		}
	}
	pos, ok, err := log.OffsetForTime(ts, limit)
	return orNowhere(pos, ok && pos.Offset >= o.logStart, err)
}

// maxTimestamp compares both sides. The ledger knows its largest timestamp without a read.
func (p *Partition) maxTimestamp(ctx context.Context, log Log, l *ledger.Ledger, o offsets, limit int64) (Position, error) {
	pos, ok, err := log.MaxTimestamp(limit)
	if err != nil {
		return orNowhere(pos, ok, err)
	}
	if o.logStart < o.localStart && l != nil {
		if found, any := l.MaxTimestamp(); any && (!ok || foundMax(found) >= pos.Timestamp) {
			c, cok, err := p.inArchive(ctx, func(ctx context.Context, a Archive) (Position, bool, error) { return a.MaxTimestamp(ctx, p.id, l) })
			if err != nil {
				return nowhere, err
			}
			// Of equal timestamps the first record counts; what both sides hold is the same record.
			if cok && (!ok || c.Timestamp > pos.Timestamp || c.Timestamp == pos.Timestamp && c.Offset < pos.Offset) {
				return c, nil
			}
		}
	}
	return orNowhere(pos, ok, nil)
}

func foundBase(f ledger.Found) int64 {
	if f.Fold != nil {
		return f.Fold.Base
	}
	return f.Segment.Base
}

func foundMax(f ledger.Found) int64 {
	if f.Fold != nil {
		return f.Fold.MaxTimestamp
	}
	return f.Segment.MaxTimestamp
}

func orNowhere(pos Position, ok bool, err error) (Position, error) {
	if err != nil {
		return nowhere, fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
	}
	if !ok {
		return nowhere, nil
	}
	return pos, nil
}

// inArchive runs one lookup in the archive in the workers that cold reads share.
func (p *Partition) inArchive(ctx context.Context, fn func(context.Context, Archive) (Position, bool, error)) (Position, bool, error) {
	if p.m.o.Archive == nil {
		return nowhere, false, fmt.Errorf("%w: no archive is configured", kerr.KafkaStorageError)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.m.ctx, cancel)()
	select {
	case p.m.cold <- struct{}{}:
		defer func() { <-p.m.cold }()
	case <-ctx.Done():
		return nowhere, false, timedOut(ctx.Err())
	}
	pos, ok, err := fn(ctx, p.m.o.Archive)
	if err != nil {
		return nowhere, false, timedOut(err)
	}
	return pos, ok, nil
}

// timedOut gives the archive's errors Kafka's codes.
func timedOut(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", kerr.RequestTimedOut, err)
	}
	return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
}

// epochAt is the leader epoch of the record at offset (or of the one that would be there), -1 when unknown. The
// local lineage knows it for everything local; for older offsets it is taken from the archive only if the local
// lineage does not reach back, which a trimmed log's need not.
func (p *Partition) epochAt(ctx context.Context, log Log, l *ledger.Ledger, o offsets, offset int64) int32 {
	if offset >= o.localStart || l == nil {
		return log.EpochAt(offset)
	}
	if e := log.EpochAt(offset); e >= 0 {
		return e
	}
	if p.m.o.Archive == nil || l.Empty() {
		return -1
	}
	end, err := p.m.o.Archive.End(ctx, p.id, l)
	if err != nil {
		return -1 // the offset is right all the same, and clients know an epoch that is not known
	}
	e, _ := epochAt(end.Epochs, offset, offset+1)
	return e
}

// EndOfEpoch answers OffsetForLeaderEpoch: the largest epoch not above the asked one, and where it ends; -1 and -1
// when there is none.
func (p *Partition) EndOfEpoch(clientEpoch, epoch int32) (int32, int64, error) {
	log, err := p.serve(clientEpoch)
	if err != nil {
		return -1, -1, err
	}
	n := p.news.Load()
	if err := p.assignEpoch(log, n.state.LeaderEpoch); err != nil {
		return -1, -1, fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
	}
	o, _ := p.offsetsOf(log)
	e, end := p.endOfEpoch(log, epoch, o)
	return e, end, nil
}

func (p *Partition) endOfEpoch(log Log, epoch int32, o offsets) (int32, int64) {
	if n := p.news.Load(); epoch == n.state.LeaderEpoch {
		return epoch, o.end
	}
	return log.EndOfEpoch(epoch)
}

// DeleteRecords moves the log start to offset, or to the high watermark for -1, on both sides of the seam, and
// gives the log start that holds afterwards. With an archive the ledger is the authority: the new start is committed
// there before anything else happens or anybody is told.
func (p *Partition) DeleteRecords(ctx context.Context, offset int64) (int64, error) {
	log, err := p.serve(-1)
	if err != nil {
		return -1, err
	}
	s := p.Settings()
	if s.Compacted && !s.Deletes {
		return -1, kerr.PolicyViolation
	}
	o, _ := p.offsetsOf(log)
	if offset == -1 {
		offset = o.hw
	}
	if offset < 0 || offset > o.hw {
		return -1, kerr.OffsetOutOfRange
	}
	if offset <= o.logStart {
		return o.logStart, nil
	}
	return p.moveStart(ctx, log, offset, "DeleteRecords moved the log start")
}

// moveStart moves the log start, ledger first.
func (p *Partition) moveStart(ctx context.Context, log Log, to int64, why string) (int64, error) {
	if p.Settings().Remote {
		l, err := p.m.o.Metadata.CommitLedger(ctx, p.id, ledger.TrimStart{To: to})
		if err != nil {
			return -1, timedOut(err)
		}
		to = l.Start
	}
	local := min(to, log.End())
	if local > log.LogStart() {
		if err := log.AdvanceStart(local); err != nil {
			return -1, fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
		}
		if _, err := log.Trim(local, why); err != nil {
			p.m.o.Logger.Warn("cannot trim a log below its start; tried again later", "partition", p.id, "error", err)
		}
	}
	o, _ := p.offsetsOf(log)
	return o.logStart, nil
}

// StartAtLocal makes the local log's start the start of the whole partition, in the ledger and on disk: before remote
// storage is turned off, because what is only archived goes then, and before it is turned on, because the archive
// cannot hold what went before.
func (p *Partition) StartAtLocal(ctx context.Context) error {
	log, err := p.serve(-1)
	if err != nil {
		return err
	}
	start := max(log.LocalStart(), log.LogStart())
	if _, err := p.m.o.Metadata.CommitLedger(ctx, p.id, ledger.TrimStart{To: start}); err != nil {
		return timedOut(err)
	}
	if err := log.AdvanceStart(start); err != nil {
		return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
	}
	return nil
}
