package clean

import (
	"context"
	"errors"
	"fmt"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
)

// worker is what one cleaner thread needs.
type worker struct {
	c   *Cleaner
	in  []byte // a piece of a segment
	out []byte // what stays of it
}

// job is one log that is to be cleaned.
type job struct {
	log    *hot.Log
	plan   Plan
	policy Policy
	now    int64 // ms
}

// result is what a cleaning did.
type result struct {
	to            int64 // the log is clean below
	read, written int64 // bytes of batches, of the rewriting
	records, kept int64
	keyless       int64
	freed         int64
	utilization   float64
}

// clean compacts a log: it goes through the dirty section to find each key's newest record, then rewrites everything
// below. Without an error the log is clean up to result.to, which is less than the plan's end if the keys did not fit.
func (w *worker) clean(ctx context.Context, j *job) (result, error) {
	defer w.shrink()
	keys, err := w.index(ctx, j)
	if err != nil {
		return result{}, fmt.Errorf("reading the dirty section: %w", err)
	}
	r := result{to: keys.latest + 1, utilization: keys.utilization()}
	segs := j.log.Segments()
	cfg := j.log.Config()
	groups := Group(segs[:len(segs)-1], r.to, int64(cfg.SegmentBytes), int64(cfg.SegmentIndexBytes))
	if len(groups) == 0 {
		return r, nil
	}
	last := groups[len(groups)-1]
	if err := j.log.KeepProducers(last[len(last)-1].Next); err != nil {
		return r, err
	}
	f := newFilter()
	f.keys, f.now, f.retention, f.maxDecoded = keys, j.now, j.policy.DeleteRetentionMs, w.c.o.Unpack.MaxCleaned()
	f.roundEnd = j.plan.Uncleanable
	f.txns.find = func() ([]aborted, error) { return w.aborted(ctx, j) }
	for _, g := range groups {
		if err := w.rewrite(ctx, j, g, f, &r); err != nil {
			return r, fmt.Errorf("rewriting offsets %d to %d: %w", g[0].Base, g[len(g)-1].Next-1, err)
		}
	}
	r.records, r.kept, r.keyless = f.read, f.kept, f.keyless
	return r, nil
}

// shrink lets go of buffers that one large batch made large.
func (w *worker) shrink() {
	if len(w.in) > w.c.o.IOBuffer {
		w.in = nil
	}
	if cap(w.out) > 2*w.c.o.IOBuffer {
		w.out = nil
	}
}

// errFull ends the reading of the dirty section: no more keys fit.
var errFull = errors.New("the key map is full")

// index takes the keys of the dirty section into a map, as far as they fit.
func (w *worker) index(ctx context.Context, j *job) (*keyMap, error) {
	from, to := j.plan.FirstDirty, j.plan.Uncleanable
	keys := newKeyMap(to-from, w.c.o.DedupeBuffer/int64(w.c.o.Threads), w.c.o.LoadFactor)
	t := txns{find: func() ([]aborted, error) { return w.aborted(ctx, j) }}
	maxDecoded := w.c.o.Unpack.MaxCleaned()
	full := false
	var thinner record.Thinner
	o := record.Thinning{MaxDecoded: maxDecoded, Horizon: record.NoTimestamp, Keep: func(offset int64, key, _ []byte) bool {
		if key != nil && offset >= from && !full {
			full = !keys.put(key, offset)
		}
		return false
	}}
	for _, s := range j.log.Segments() {
		if s.Next <= from || s.Base >= to {
			continue
		}
		err := w.batches(ctx, j.log, s.Base, from, func(h *record.Header, b []byte) error {
			kind, err := controlType(h, b, maxDecoded)
			if err != nil {
				return err
			}
			drop, err := t.discard(h, kind)
			if err != nil {
				return err
			}
			if !h.IsControl() && !drop {
				if _, _, err := thinner.Thin(nil, b, &o); err != nil {
					return fmt.Errorf("batch at offset %d: %w", h.BaseOffset, err)
				}
				if full {
					return errFull
				}
			}
			if h.LastOffset() >= from {
				keys.latest = h.LastOffset()
			}
			return nil
		})
		if errors.Is(err, errFull) {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		keys.latest = s.Next - 1 // the end of the segment may have been cleaned away
	}
	return keys, nil
}

// aborted finds the aborted transactions of the log's stable part.
func (w *worker) aborted(ctx context.Context, j *job) ([]aborted, error) {
	find := abortedFinder{open: map[int64]int64{}}
	maxDecoded := w.c.o.Unpack.MaxCleaned()
	other := &worker{c: w.c} // it is called while w reads
	for _, s := range j.log.Segments() {
		err := other.batches(ctx, j.log, s.Base, s.Base, func(h *record.Header, b []byte) error {
			kind, err := controlType(h, b, maxDecoded)
			find.add(h, kind)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return find.all, nil
}

// errPolicy ends a cleaning whose topic has got other configs: what was found out under the old ones may not hold.
var errPolicy = errors.New("the topic's configs have changed")

// stands reports whether the job would still be done as it was begun.
func (w *worker) stands(j *job) error {
	now, ok := w.c.o.Policy(j.log.Partition())
	if !ok || !now.Compact || now.DeleteRetentionMs != j.policy.DeleteRetentionMs || now.MinLagMs != j.policy.MinLagMs {
		return errPolicy
	}
	return nil
}

// rewrite makes one segment of a group.
func (w *worker) rewrite(ctx context.Context, j *job, g []hot.SegmentInfo, f *filter, r *result) error {
	f.groupEnd, f.changed = g[len(g)-1].Next, len(g) > 1
	var err error
	if f.last, err = j.log.LastRecords(); err != nil {
		return err
	}
	rw, err := j.log.Rewrite(g[0].Base, f.groupEnd)
	if err != nil {
		return err
	}
	w.out = w.out[:0]
	flush := func() error {
		err := w.c.throttle.take(ctx, len(w.out))
		if err == nil {
			err = rw.Append(w.out)
		}
		r.written += int64(len(w.out))
		w.out = w.out[:0]
		return err
	}
	for _, s := range g {
		err = w.batches(ctx, j.log, s.Base, s.Base, func(h *record.Header, b []byte) (err error) {
			r.read += int64(len(b))
			if w.out, err = f.batch(w.out, b, h); err == nil && len(w.out) >= w.c.o.IOBuffer {
				err = flush()
			}
			return err
		})
		if err != nil {
			break
		}
	}
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = w.stands(j) // the last look before records are gone for good
	}
	if err != nil || !f.changed { // else it is as clean as before
		rw.Abort()
		return err
	}
	freed, err := rw.Commit()
	r.freed += freed
	return err
}

// batches calls fn for each batch of a segment, from the one that holds offset from on. Each is verified: what is wrong
// must not get a new checksum.
func (w *worker) batches(ctx context.Context, l *hot.Log, base, from int64, fn func(*record.Header, []byte) error) error {
	s, err := l.OpenSegment(base)
	if err != nil {
		return err
	}
	defer s.Close()
	pos := int64(0)
	if from > base {
		if pos, err = s.Find(from); err != nil {
			return err
		}
	}
	if len(w.in) == 0 {
		w.in = make([]byte, w.c.o.IOBuffer)
	}
	for pos < s.Size() {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.Read(pos, w.in)
		if err == nil {
			err = w.c.throttle.take(ctx, n)
		}
		if err != nil {
			return err
		}
		used := 0
		for used < n {
			h, err := record.CheckStored(w.in[used:n])
			if errors.Is(err, record.ErrTruncated) && pos+int64(n) < s.Size() {
				break // the rest comes with the next piece
			}
			if err != nil {
				return fmt.Errorf("segment %d, position %d: %w", base, pos+int64(used), err)
			}
			if err := fn(&h, w.in[used:used+h.Size()]); err != nil {
				return err
			}
			used += h.Size()
		}
		if used == 0 {
			if err := w.grow(base, pos, s.Size()-pos); err != nil {
				return err
			}
		}
		pos += int64(used)
	}
	return nil
}

// grow makes room for the batch at the beginning of w.in, of which at most limit bytes can exist.
func (w *worker) grow(base, pos, limit int64) error {
	h, err := record.ParseHeader(w.in)
	if err == nil && (h.Size() <= len(w.in) || int64(h.Size()) > limit) {
		err = fmt.Errorf("%w: %d bytes with %d left", record.ErrInvalid, h.Size(), limit)
	}
	if err != nil {
		return fmt.Errorf("segment %d, position %d: %w", base, pos, err)
	}
	w.in = make([]byte, h.Size())
	return nil
}
