package cold

import (
	"context"
	"fmt"

	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
)

// TimeResult is a record found by its timestamp.
type TimeResult struct {
	Offset    int64
	Timestamp int64 // ms
	Epoch     int32 // leader epoch of its batch
}

// OffsetForTime gives the first record at or above the log start whose timestamp is at least ts (ms), as Kafka's
// ListOffsets wants it; false when the archive has none. A batch that cannot be decoded is answered as a whole.
func (r *Reader) OffsetForTime(ctx context.Context, p topic.Partition, l *ledger.Ledger, ts int64) (TimeResult, bool, error) {
	wrap := func(err error) (TimeResult, bool, error) {
		return TimeResult{}, false, fmt.Errorf("look up time %d of %s in the archive: %w", ts, p, err)
	}
	for from := l.Start; ; {
		f, ok := l.FindTime(ts, from)
		if !ok {
			return TimeResult{}, false, nil
		}
		seg := f.Segment
		if f.Fold != nil {
			segs, err := r.fold(ctx, *f.Fold)
			if err != nil {
				return wrap(err)
			}
			if seg, ok = ledger.FindTimeIn(segs, ts, from); !ok {
				from = f.Fold.Next
				continue
			}
		}
		res, ok, err := r.timeIn(ctx, seg, ts, from)
		if err != nil {
			return wrap(err)
		}
		if ok {
			return res, true, nil
		}
		from = seg.Next
	}
}

// timeIn is OffsetForTime for one segment, at or above offset from.
func (r *Reader) timeIn(ctx context.Context, seg ledger.Segment, ts, from int64) (res TimeResult, ok bool, err error) {
	err = r.eachBatch(ctx, seg, from, ts, func(h record.Header, batch []byte) bool {
		res, ok = r.timeInBatch(h, batch, ts, from)
		return !ok
	})
	return res, ok, err
}

// timeInBatch finds the first record of a batch with a timestamp >= ts at or above offset from.
func (r *Reader) timeInBatch(h record.Header, batch []byte, ts, from int64) (TimeResult, bool) {
	res := TimeResult{Epoch: h.LeaderEpoch}
	if h.BaseOffset >= from {
		var off, t int64
		var ok bool
		err := r.o.Unpack.DoStored(h.Codec(), func(most int) (err error) {
			off, t, ok, err = record.FindTimestamp(batch, ts, most)
			return err
		})
		if err != nil { // it lies inside, and was stored as sent: the batch answers as a whole
			off, t, ok = h.BaseOffset, h.MaxTimestamp, true
		}
		res.Offset, res.Timestamp = off, t
		return res, ok
	}
	found := false
	err := r.o.Unpack.DoStored(h.Codec(), func(most int) error {
		return record.Records(batch, most, func(_ int, rec *record.Record) error {
			if off, t := h.Offset(rec), h.Timestamp(rec); !found && off >= from && t >= ts {
				res.Offset, res.Timestamp, found = off, t, true
			}
			return nil
		})
	})
	if err != nil && !found {
		res.Offset, res.Timestamp, found = from, h.MaxTimestamp, true
	}
	return res, found
}

// eachBatch calls fn, until it returns false, with the batches of a segment that reach above offset from and have a
// timestamp >= ts.
func (r *Reader) eachBatch(ctx context.Context, seg ledger.Segment, from, ts int64, fn func(record.Header, []byte) bool) error {
	a, err := r.open(ctx, seg)
	if err != nil {
		return err
	}
	var buf []byte
	for c, chunk := range a.ix.Chunks() {
		if chunk.Next <= from || chunk.MaxTimestamp < ts {
			continue
		}
		if buf, err = r.chunk(ctx, a, c, buf); err != nil {
			return err
		}
		for it := record.Batches(buf); it.Next(); {
			h := it.Header()
			if h.NextOffset() <= from || h.MaxTimestamp < ts {
				continue
			}
			if !fn(h, it.Bytes()) {
				return nil
			}
		}
	}
	return nil
}

// chunk gives a copy of one chunk's batches, in buf if it is large enough.
func (r *Reader) chunk(ctx context.Context, a *archived, c int, buf []byte) ([]byte, error) {
	v, i, err := r.waitFor(ctx, a, c)
	if err != nil {
		return buf, err
	}
	defer r.unpin(v.g)
	return v.chunkBytes(i, buf)
}

// MaxTimestamp gives the first record with the greatest timestamp at or above the log start; false when the archive
// has no record with a timestamp.
func (r *Reader) MaxTimestamp(ctx context.Context, p topic.Partition, l *ledger.Ledger) (TimeResult, bool, error) {
	best, ok, err := r.maxTimestamp(ctx, l)
	if err != nil {
		return best, false, fmt.Errorf("look up the greatest timestamp of %s in the archive: %w", p, err)
	}
	return best, ok, nil
}

func (r *Reader) maxTimestamp(ctx context.Context, l *ledger.Ledger) (TimeResult, bool, error) {
	f, ok := l.MaxTimestamp()
	if !ok {
		return TimeResult{}, false, nil
	}
	seg := f.Segment
	if f.Fold != nil {
		segs, err := r.fold(ctx, *f.Fold)
		if err != nil {
			return TimeResult{}, false, err
		}
		in := ledger.Ledger{Start: l.Start, Next: f.Fold.Next, Recent: segs}
		if f, ok = in.MaxTimestamp(); !ok {
			return TimeResult{}, false, nil
		}
		seg = f.Segment
	}
	if seg.MaxTimestamp < 0 {
		return TimeResult{}, false, nil
	}
	if seg.Base >= l.Start || seg.MaxTimestampOffset >= l.Start {
		a, err := r.open(ctx, seg)
		if err != nil {
			return TimeResult{}, false, err
		}
		return TimeResult{seg.MaxTimestampOffset, seg.MaxTimestamp, epochAt(a.ix.Epochs(), seg.MaxTimestampOffset)}, true, nil
	}
	// The record lies below the start, in the one segment that straddles it: what is left of that segment is
	// looked through, and competes with all that follow.
	best, found, err := r.maxAbove(ctx, seg, l.Start)
	if err != nil {
		return TimeResult{}, false, err
	}
	rest := *l
	rest.Start = seg.Next
	other, ok, err := r.maxTimestamp(ctx, &rest)
	if err != nil || ok && (!found || other.Timestamp > best.Timestamp) {
		return other, ok, err
	}
	return best, found, nil
}

// maxAbove gives the first record with the greatest timestamp of a segment at or above offset from.
func (r *Reader) maxAbove(ctx context.Context, seg ledger.Segment, from int64) (best TimeResult, found bool, err error) {
	err = r.eachBatch(ctx, seg, from, 0, func(h record.Header, batch []byte) bool {
		if found && h.MaxTimestamp <= best.Timestamp {
			return true
		}
		if h.BaseOffset >= from {
			best = TimeResult{Timestamp: h.MaxTimestamp, Epoch: h.LeaderEpoch}
			found = true
			_ = r.o.Unpack.DoStored(h.Codec(), func(most int) error { // only what the function returns
				best.Offset = record.MaxTimestampOffset(batch, most)
				return nil
			})
			return true
		}
		ts := int64(-1)
		if found {
			ts = best.Timestamp
		}
		for { // the batch that straddles: climb from one greater timestamp to the next
			res, ok := r.timeInBatch(h, batch, ts+1, from)
			if !ok || res.Timestamp <= ts {
				return true
			}
			best, found, ts = res, true, res.Timestamp
		}
	})
	return best, found, err
}

// epochAt is the leader epoch that wrote offset, by a lineage; -1 if unknown.
func epochAt(lineage []segment.EpochEntry, offset int64) int32 {
	e := int32(-1)
	for _, x := range lineage {
		if x.Start > offset {
			break
		}
		e = x.Epoch
	}
	return e
}

// End is what a replica needs to go on where the archive ends (I-36).
type End struct {
	Next      int64 // the first offset that the archive does not hold
	Epoch     int32 // leader epoch of the last append, -1 when nothing was ever appended
	Epochs    []segment.EpochEntry
	Producers []segment.ProducerEntry
}

// End reads the epochs and the producer state that the archive's last segment carries. They are empty when the
// ledger names no segment.
func (r *Reader) End(ctx context.Context, p topic.Partition, l *ledger.Ledger) (End, error) {
	e := End{Next: l.Next, Epoch: l.Epoch}
	if len(l.Recent) == 0 { // a ledger with folds keeps a recent segment
		if l.Empty() {
			e.Epoch = -1
		}
		return e, nil
	}
	a, err := r.open(ctx, l.Recent[len(l.Recent)-1])
	if err != nil {
		return End{}, fmt.Errorf("read the end of %s in the archive: %w", p, err)
	}
	e.Epochs, e.Producers = a.ix.Epochs(), a.ix.Producers()
	return e, nil
}

// Place is where the archive holds an offset.
type Place struct {
	Segment ledger.Segment
	Fold    string // key of the fold that names the segment; empty: the ledger itself does
	Chunk   int    // number of the chunk, from 0
	Chunks  int
	Cached  bool // the chunk can be read without asking the store
}

// Locate tells where an offset of [l.Start, l.Next) lies, for `firn tier explain`.
func (r *Reader) Locate(ctx context.Context, p topic.Partition, l *ledger.Ledger, offset int64) (Place, error) {
	a, err := r.find(ctx, l, offset)
	if err != nil {
		return Place{}, fmt.Errorf("locate offset %d of %s: %w", offset, p, err)
	}
	pl := Place{Segment: a.seg, Chunks: len(a.ix.Chunks())}
	if f, ok := l.Find(offset); ok && f.Fold != nil {
		pl.Fold = f.Fold.Key
	}
	c, ok := a.ix.FindOffset(offset)
	if !ok {
		return pl, nil
	}
	pl.Chunk = c
	if v, ok := r.resident(a, c); ok {
		pl.Cached = true
		r.unpin(v.g)
	}
	return pl, nil
}
