// Package epoch knows which leader epoch wrote which offsets of one partition: an ordered list of (epoch,
// first offset), as Kafka's LeaderEpochFileCache keeps it (KIP-101, KIP-279). Followers truncate by it,
// consumers detect truncation by it (KIP-320), and each archived object carries the piece that covers it.
//
// It is pure. A Cache is an immutable value: a change gives a new one, so a log may publish the current one
// to readers without a lock. Invariant: epochs and start offsets both strictly increase. It does not read or
// write files (package checkpoint does) and does not decide when an epoch begins.
package epoch

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// Undefined stands for "no such epoch" and "no such offset" in answers, as in Kafka's OffsetForLeaderEpoch.
const Undefined = -1

// ErrOrder says that a list of entries is not a lineage: an epoch or a start offset is negative or does not
// increase.
var ErrOrder = errors.New("leader epochs out of order")

// Entry says that the leader of Epoch began to write at offset Start.
type Entry struct {
	Epoch int32
	Start int64
}

// Cache is a partition's lineage of leader epochs. The zero Cache is empty and ready to use.
type Cache struct {
	entries []Entry // never written to, nor appended to in place, once the Cache is built
}

// New builds a Cache from entries in order; they are copied. It returns ErrOrder unless epochs and starts are
// at least 0 and strictly increase.
func New(entries []Entry) (Cache, error) {
	for i, e := range entries {
		if e.Epoch < 0 || e.Start < 0 {
			return Cache{}, fmt.Errorf("entry %d (epoch %d at offset %d): negative: %w", i, e.Epoch, e.Start, ErrOrder)
		}
		if i > 0 && (e.Epoch <= entries[i-1].Epoch || e.Start <= entries[i-1].Start) {
			return Cache{}, fmt.Errorf("entry %d (epoch %d at offset %d) after epoch %d at offset %d: %w",
				i, e.Epoch, e.Start, entries[i-1].Epoch, entries[i-1].Start, ErrOrder)
		}
	}
	return Cache{slices.Clone(entries)}, nil
}

// Entries returns a copy of the lineage, oldest first.
func (c Cache) Entries() []Entry { return slices.Clone(c.entries) }

// Len returns the number of entries.
func (c Cache) Len() int { return len(c.entries) }

// Latest returns the newest entry; false when there is none.
func (c Cache) Latest() (Entry, bool) {
	if len(c.entries) == 0 {
		return Entry{Undefined, Undefined}, false
	}
	return c.entries[len(c.entries)-1], true
}

// Earliest returns the oldest entry; false when there is none.
func (c Cache) Earliest() (Entry, bool) {
	if len(c.entries) == 0 {
		return Entry{Undefined, Undefined}, false
	}
	return c.entries[0], true
}

// Assign says that epoch begins at offset start and reports whether that changed anything. A repetition of the
// latest epoch at a later offset changes nothing, so it may be called for every batch. Entries that contradict
// the new one (a higher or equal epoch, or a start at or after it) are dropped: they were never committed.
// A negative epoch or start names nothing (batches from before epochs carry -1) and changes nothing.
func (c Cache) Assign(epoch int32, start int64) (Cache, bool) {
	if epoch < 0 || start < 0 {
		return c, false
	}
	if last, ok := c.Latest(); ok && last.Epoch == epoch && start >= last.Start {
		return c, false
	}
	n := len(c.entries)
	for n > 0 && (c.entries[n-1].Epoch >= epoch || c.entries[n-1].Start >= start) {
		n--
	}
	next := make([]Entry, n, n+1)
	copy(next, c.entries)
	return Cache{append(next, Entry{epoch, start})}, true
}

// EndFor answers OffsetForLeaderEpoch: the largest known epoch that is not above the asked one, and the offset
// where that epoch ends, which is the start of the next epoch, or leo (the log end offset) for the latest.
// An unknown epoch above all known ones, and -1, give (Undefined, Undefined). An epoch below all known ones
// gives itself and the start of the first known one: what it wrote is gone from the log.
func (c Cache) EndFor(epoch int32, leo int64) (int32, int64) {
	if epoch == Undefined {
		return Undefined, Undefined
	}
	if last, ok := c.Latest(); ok && last.Epoch == epoch {
		return epoch, leo
	}
	higher := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].Epoch > epoch })
	switch {
	case higher == len(c.entries):
		return Undefined, Undefined
	case higher == 0:
		return epoch, c.entries[0].Start
	default:
		return c.entries[higher-1].Epoch, c.entries[higher].Start
	}
}

// At returns the epoch that wrote (or would write) the offset: that of the last entry that starts at or below
// it; Undefined when the offset lies before the first entry or there is none.
func (c Cache) At(offset int64) int32 {
	i := c.after(offset)
	if i == 0 {
		return Undefined
	}
	return c.entries[i-1].Epoch
}

// after returns the index of the first entry that starts above offset.
func (c Cache) after(offset int64) int {
	return sort.Search(len(c.entries), func(i int) bool { return c.entries[i].Start > offset })
}

// TruncateFromEnd drops the entries that start at end or later, for a log cut to end, and reports whether
// there were any. A negative end changes nothing.
func (c Cache) TruncateFromEnd(end int64) (Cache, bool) {
	if end < 0 {
		return c, false
	}
	n := c.after(end - 1)
	if n == len(c.entries) {
		return c, false
	}
	return Cache{c.entries[:n]}, true
}

// TruncateFromStart drops the epochs that ended at or below start, for a log whose first offset is now start,
// and lets the epoch that covers start begin there. It reports whether anything changed.
func (c Cache) TruncateFromStart(start int64) (Cache, bool) {
	i := c.after(start)
	if i == 0 || (i == 1 && c.entries[0].Start == start) {
		return c, false
	}
	next := slices.Clone(c.entries[i-1:])
	next[0].Start = start
	return Cache{next}, true
}

// Range returns the lineage of the offsets in [from, to): the entry that covers from, moved to from, and all
// that start before to.
func (c Cache) Range(from, to int64) Cache {
	c, _ = c.TruncateFromStart(from)
	c, _ = c.TruncateFromEnd(to)
	return c
}

// FirstDifference compares who wrote the offsets of [from, to) according to two lineages, and returns the
// first offset about which they disagree; false when they agree. An offset that only one of them covers is a
// disagreement.
func (c Cache) FirstDifference(other Cache, from, to int64) (int64, bool) {
	for at := from; at < to; {
		if c.At(at) != other.At(at) {
			return at, true
		}
		at = min(c.nextChange(at), other.nextChange(at), to)
	}
	return 0, false
}

// nextChange returns the first offset above at where another epoch begins, or the largest offset.
func (c Cache) nextChange(at int64) int64 {
	if i := c.after(at); i < len(c.entries) {
		return c.entries[i].Start
	}
	return 1<<63 - 1
}
