package ledger

import (
	"sort"
)

// Found is where an offset or time may be found: in Segment, or, when Fold is set, in one of the segments of
// that fold, which the caller loads (ParseFold) and searches with FindIn or FindTimeIn.
type Found struct {
	Segment Segment
	Fold    *FoldRef // the ledger's own: not to be changed
}

// Find tells which entry holds offset. It is false for offsets outside [Start, Next).
func (l *Ledger) Find(offset int64) (Found, bool) {
	if offset < l.Start || offset >= l.Next {
		return Found{}, false
	}
	if i := sort.Search(len(l.Folds), func(i int) bool { return l.Folds[i].Next > offset }); i < len(l.Folds) {
		return Found{Fold: &l.Folds[i]}, true
	}
	s, ok := FindIn(l.Recent, offset)
	return Found{Segment: s}, ok
}

// FindIn gives the first segment that ends above offset: the one that holds it, or the next one where offset
// falls into a gap.
func FindIn(segs []Segment, offset int64) (Segment, bool) {
	i := sort.Search(len(segs), func(i int) bool { return segs[i].Next > offset })
	if i == len(segs) {
		return Segment{}, false
	}
	return segs[i], true
}

// FindTime gives the first entry, in offset order, that reaches above offset from (at least Start) and may
// hold a record with a timestamp (ms) of ts or later. When the entry turns out to hold none at or above from,
// the caller goes on with from set to the entry's Next.
func (l *Ledger) FindTime(ts, from int64) (Found, bool) {
	from = max(from, l.Start)
	for i := range l.Folds {
		if f := l.Folds[i]; f.Next > from && f.MaxTimestamp >= ts {
			return Found{Fold: &f}, true
		}
	}
	s, ok := FindTimeIn(l.Recent, ts, from)
	return Found{Segment: s}, ok
}

// FindTimeIn is FindTime for the segments of one fold.
func FindTimeIn(segs []Segment, ts, from int64) (Segment, bool) {
	for _, s := range segs {
		if s.Next > from && s.MaxTimestamp >= ts {
			return s, true
		}
	}
	return Segment{}, false
}

// MaxTimestamp gives the entry with the largest record timestamp at or above Start, the earliest of several.
// For an entry that straddles Start the record in question may lie below it; the caller looks inside.
func (l *Ledger) MaxTimestamp() (Found, bool) {
	var best Found
	ok, ts := false, int64(0)
	for i := range l.Folds {
		if f := l.Folds[i]; f.Next > l.Start && (!ok || f.MaxTimestamp > ts) {
			best, ts, ok = Found{Fold: &f}, f.MaxTimestamp, true
		}
	}
	for _, s := range l.Recent {
		if s.Next > l.Start && (!ok || s.MaxTimestamp > ts) {
			best, ts, ok = Found{Segment: s}, s.MaxTimestamp, true
		}
	}
	return best, ok
}

// Empty reports whether the ledger names no segment at all.
func (l *Ledger) Empty() bool { return len(l.Recent) == 0 && len(l.Folds) == 0 }

// Oldest is the first offset that any entry covers, which may be below Start; Next when there is no entry.
func (l *Ledger) Oldest() int64 {
	switch {
	case len(l.Folds) > 0:
		return l.Folds[0].Base
	case len(l.Recent) > 0:
		return l.Recent[0].Base
	}
	return l.Next
}

// Bytes are the bytes of record batches that the ledger's entries hold, those below Start in an entry that
// straddles it included; entries wholly below Start are not counted (they are on their way out).
func (l *Ledger) Bytes() int64 {
	var n int64
	for _, f := range l.Folds {
		if f.Next > l.Start {
			n += f.DataBytes
		}
	}
	for _, s := range l.Recent {
		if s.Next > l.Start {
			n += s.DataBytes
		}
	}
	return n
}

// StoredBytes are the bytes that all entries occupy in the store, expired ones included.
func (l *Ledger) StoredBytes() int64 {
	var n int64
	for _, f := range l.Folds {
		n += f.StoredBytes
	}
	for _, s := range l.Recent {
		n += s.Length
	}
	return n
}

// Count is the number of segments that the ledger names, folded ones included.
func (l *Ledger) Count() int {
	n := len(l.Recent)
	for _, f := range l.Folds {
		n += f.Count
	}
	return n
}

// Expired lists the folds and recent segments wholly below Start: what Expire{Below: Start} will take. The
// segments inside the folds, and the fold objects themselves, are to be deleted too after the grace period.
func (l *Ledger) Expired() (folds []FoldRef, segs []Segment) { return l.below(l.Start) }

func (l *Ledger) below(offset int64) ([]FoldRef, []Segment) {
	nf, ns := 0, 0
	for nf < len(l.Folds) && l.Folds[nf].Next <= offset {
		nf++
	}
	if nf == len(l.Folds) {
		for ns < len(l.Recent) && l.Recent[ns].Next <= offset {
			ns++
		}
	}
	return l.Folds[:nf:nf], l.Recent[:ns:ns]
}
