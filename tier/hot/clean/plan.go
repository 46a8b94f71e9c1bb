package clean

import (
	"math"

	"github.com/firnlog/firn/tier/hot"
)

// Policy is what a topic's configs mean for the cleaner. Times are ms.
type Policy struct {
	Compact           bool    // cleanup.policy has compact, and there is no remote storage
	MinDirtyRatio     float64 // min.cleanable.dirty.ratio
	MinLagMs          int64   // min.compaction.lag.ms
	MaxLagMs          int64   // max.compaction.lag.ms
	DeleteRetentionMs int64   // delete.retention.ms
}

// Input is what the plan for one log depends on.
type Input struct {
	Segments []hot.SegmentInfo // oldest first, the last one active
	LogStart int64
	Stable   int64 // high watermark or last stable offset: nothing at or above is cleaned
	End      int64
	Clean    int64 // what the checkpoint says: below, there is one record for each key; -1: nothing
	Policy   Policy
	Now      int64 // ms
	// FirstTimestamp is the greatest timestamp of the first batch of each segment. It is needed, but for the active
	// segment, where Policy.MaxLagMs is below hot.Forever.
	FirstTimestamp []int64
}

// Plan says what there is to clean in a log.
type Plan struct {
	FirstDirty  int64 // what is below is clean
	Uncleanable int64 // nothing from here on may be cleaned yet; where a segment begins
	Reset       bool  // the checkpoint does not fit the log any more: FirstDirty is to be saved
	Clean       int64 // bytes of the segments that begin below FirstDirty
	Cleanable   int64 // bytes of the segments from FirstDirty to Uncleanable
	Overdue     int64 // ms since when a record should have been cleaned by max.compaction.lag.ms; 0 if none
	Due         bool  // the log should be cleaned
}

// Ratio is the share of what could be cleaned in all that a cleaning would read.
func (p Plan) Ratio() float64 {
	if p.Clean+p.Cleanable == 0 {
		return 0
	}
	return float64(p.Cleanable) / float64(p.Clean+p.Cleanable)
}

// Examine finds out what there is to clean in a log (LogCleanerManager.cleanableOffsets, LogToClean).
func Examine(in *Input) Plan {
	var p Plan
	switch {
	case in.Clean < 0:
		p.FirstDirty = in.LogStart
	case in.Clean < in.LogStart || in.Clean > in.End:
		p.FirstDirty, p.Reset = in.LogStart, true
	default:
		p.FirstDirty = in.Clean
	}
	if len(in.Segments) < 2 {
		p.Uncleanable = p.FirstDirty
		return p
	}
	p.Uncleanable = segmentOf(in.Segments, max(p.FirstDirty, in.firstUncleanable(p.FirstDirty)))
	from := min(segmentOf(in.Segments, p.FirstDirty), p.Uncleanable)
	for _, s := range in.Segments {
		if s.Base < p.FirstDirty {
			p.Clean += s.Bytes
		}
		if s.Base >= from && s.Base < p.Uncleanable {
			p.Cleanable += s.Bytes
		}
	}
	p.Overdue = in.overdue(p.FirstDirty)
	p.Due = p.Clean+p.Cleanable > 0 && ((p.Overdue > 0 && p.Cleanable > 0) || p.Ratio() > in.Policy.MinDirtyRatio)
	return p
}

// firstUncleanable is the first offset that may not be cleaned: the stable offset, that of the active segment, or that
// of the first dirty segment with a record that is too young.
func (in *Input) firstUncleanable(firstDirty int64) int64 {
	active := in.Segments[len(in.Segments)-1].Base
	to := min(in.Stable, active)
	if in.Policy.MinLagMs <= 0 {
		return to
	}
	for _, s := range in.Segments[:len(in.Segments)-1] {
		if s.Next > firstDirty && s.MaxTimestamp > in.Now-in.Policy.MinLagMs {
			return min(to, s.Base)
		}
	}
	return to
}

// overdue is for how long the oldest dirty segment that is not active waits beyond max.compaction.lag.ms.
func (in *Input) overdue(firstDirty int64) int64 {
	until := in.Now - max(0, in.Policy.MaxLagMs)
	if in.Policy.MaxLagMs >= hot.Forever || until <= 0 {
		return 0
	}
	oldest := int64(math.MaxInt64)
	for i, s := range in.Segments[:len(in.Segments)-1] {
		if ts := in.FirstTimestamp[i]; s.Next > firstDirty && ts > 0 {
			oldest = min(oldest, ts)
		}
	}
	if oldest >= until {
		return 0
	}
	return until - oldest
}

// segmentOf returns the base of the segment that holds the offset; that of the active one beyond it.
func segmentOf(segs []hot.SegmentInfo, offset int64) int64 {
	base := segs[0].Base
	for _, s := range segs {
		if s.Base > offset {
			break
		}
		base = s.Base
	}
	return base
}

// Dirtiest returns the index of the plan that is due and has the greatest Ratio, -1 if none is due.
func Dirtiest(plans []Plan) int {
	best := -1
	for i, p := range plans {
		if p.Due && (best < 0 || p.Ratio() > plans[best].Ratio()) {
			best = i
		}
	}
	return best
}

// Group puts consecutive segments that begin below end together, so that each group can become one segment: no more
// bytes than segmentBytes, no index larger than indexBytes, and offsets that are less than 2^31 apart. Every segment is
// in a group, be it alone.
func Group(segs []hot.SegmentInfo, end int64, segmentBytes, indexBytes int64) [][]hot.SegmentInfo {
	var groups [][]hot.SegmentInfo
	for i := 0; i < len(segs) && segs[i].Base < end; {
		j := i + 1
		bytes, index, times := segs[i].Bytes, segs[i].IndexBytes-segs[i].TimeIndex, segs[i].TimeIndex
		for ; j < len(segs) && segs[j].Base < end; j++ {
			s := segs[j]
			bytes, index, times = bytes+s.Bytes, index+s.IndexBytes-s.TimeIndex, times+s.TimeIndex
			if bytes > segmentBytes || index > indexBytes || times > indexBytes || s.Next-1-segs[i].Base > math.MaxInt32 {
				break
			}
		}
		groups = append(groups, segs[i:j:j])
		i = j
	}
	return groups
}
