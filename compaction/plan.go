package compaction

import (
	"fmt"
	"time"

	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
)

// Policy is how long a topic's records are kept, hot and cold together.
type Policy struct {
	Remote         bool  // remote.storage.enable: else the local log decides alone
	RetentionMs    int64 // retention.ms; negative: for ever
	RetentionBytes int64 // retention.bytes of a partition; negative: without limit
}

// Retention is what PlanRetention found.
type Retention struct {
	To     int64           // the log start moves here; 0: it stays
	Reason string          // a sentence without a full stop, when To is set
	Open   *ledger.FoldRef // when set: part of this fold may be due; load it and plan again
}

// PlanRetention decides how far the log start of an archived partition moves. Only whole committed segments go,
// oldest first. folds holds the segments of those folds that were loaded, by key. hotBytes are the bytes of the
// local log at and above l.Next: what is both hot and cold is counted once, as cold (I-13).
func PlanRetention(l *ledger.Ledger, folds map[string][]ledger.Segment, hotBytes int64, p Policy, nowMs int64) Retention {
	if !p.Remote || p.RetentionMs < 0 && p.RetentionBytes < 0 {
		return Retention{}
	}
	w := walk{p: p, nowMs: nowMs, left: l.Bytes() + hotBytes, start: l.Start}
	for i := range l.Folds {
		f := l.Folds[i]
		if f.Next <= l.Start {
			continue
		}
		segs, loaded := folds[f.Key]
		if !loaded {
			// A fold without timestamps goes by the ages of its segments, which are only known inside.
			whole := ledger.Segment{Base: f.Base, Next: f.Next, DataBytes: f.DataBytes, MaxTimestamp: f.MaxTimestamp, CommittedAt: nowMs}
			if w.due(whole) {
				w.take(whole)
				continue
			}
			oldest := ledger.Segment{MaxTimestamp: f.MinTimestamp} // no segment of it is older
			if w.due(oldest) {
				return Retention{To: w.to, Reason: w.reason, Open: &f}
			}
			return w.result()
		}
		for _, s := range segs {
			if s.Next > l.Start && !w.takeIfDue(s) {
				return w.result()
			}
		}
	}
	for _, s := range l.Recent {
		if s.Next > l.Start && !w.takeIfDue(s) {
			break
		}
	}
	return w.result()
}

// walk goes over a ledger's segments, oldest first.
type walk struct {
	p      Policy
	nowMs  int64
	left   int64 // bytes that remain
	start  int64
	to     int64
	reason string
}

func (w *walk) takeIfDue(s ledger.Segment) bool {
	if !w.due(s) {
		return false
	}
	w.take(s)
	return true
}

// due tells whether the oldest segment that remains may go: by Kafka's rules, when its newest record is older than
// retention.ms, or when at least retention.bytes remain without it.
func (w *walk) due(s ledger.Segment) bool {
	newest := s.MaxTimestamp
	if newest < 0 {
		newest = s.CommittedAt // its records carry no time
	}
	return w.p.RetentionMs >= 0 && newest >= 0 && w.nowMs-newest > w.p.RetentionMs ||
		w.p.RetentionBytes >= 0 && w.left-s.DataBytes >= w.p.RetentionBytes
}

func (w *walk) take(s ledger.Segment) {
	if w.p.RetentionBytes >= 0 && w.left-s.DataBytes >= w.p.RetentionBytes {
		w.reason = fmt.Sprintf("%d bytes are kept without the segment at offset %d, the limit is %d (retention.bytes)",
			w.left-s.DataBytes, s.Base, w.p.RetentionBytes)
	} else {
		w.reason = fmt.Sprintf("the newest record below offset %d is %v old, the limit is %v (retention.ms)", s.Next,
			time.Duration(w.nowMs-s.MaxTimestamp)*time.Millisecond, time.Duration(w.p.RetentionMs)*time.Millisecond)
	}
	w.left -= s.DataBytes
	w.to = s.Next
}

func (w *walk) result() Retention {
	if w.to <= w.start {
		return Retention{}
	}
	return Retention{To: w.to, Reason: w.reason}
}

// PlanRefold decides whether the oldest fold is rewritten because part of its segments lies below the log start: once
// a tenth of them does, so that the rewriting costs little beside what it frees. It gives the segments that stay.
func PlanRefold(l *ledger.Ledger, segs []ledger.Segment) (keep []ledger.Segment) {
	n := 0
	for n < len(segs) && segs[n].Next <= l.Start {
		n++
	}
	if n == 0 || n == len(segs) || n*10 < len(segs) {
		return nil
	}
	return segs[n:]
}

// suspect is an object that no ledger names.
type suspect struct {
	key  string
	size int64
}

// sorted is what a listing of one partition's folder holds, besides what the ledger names.
type sorted struct {
	orphans []suspect // ours to delete once they were nameless for the grace period
	young   int       // nameless, but not for long enough
	strange int       // not named as firn names its objects: left alone
	ahead   string    // why the bucket must be ahead of the metadata, if so (I-35)
}

// sortListing decides what the objects of one partition's folder are. l was read after they were listed, so that what
// was committed meanwhile has its name. first says when an object was first seen without a name, by the store's
// clock, and is kept up to date.
func sortListing(objs []object.Info, l *ledger.Ledger, named func(key string) bool, first map[string]time.Time, storeNow time.Time, grace time.Duration) sorted {
	var out sorted
	for _, o := range objs {
		if named(o.Key) {
			delete(first, o.Key)
			continue
		}
		n, ok := layout.ParseName(o.Key)
		switch {
		case !ok:
			out.strange++
			continue
		case !n.Fold && n.Base > l.Next:
			// An uploader begins at the ledger's next, which never goes back.
			out.ahead = fmt.Sprintf("object %s begins at offset %d, but the ledger ends at %d", o.Key, n.Base, l.Next)
		case n.Fold && n.Version > l.Version:
			out.ahead = fmt.Sprintf("fold %s was made from version %d of the ledger, which is at version %d now", o.Key, n.Version, l.Version)
		}
		if _, seen := first[o.Key]; !seen {
			first[o.Key] = storeNow
		}
		if storeNow.Sub(o.LastModified) < grace || storeNow.Sub(first[o.Key]) < grace {
			out.young++
			continue
		}
		out.orphans = append(out.orphans, suspect{o.Key, o.Size})
	}
	return out
}
