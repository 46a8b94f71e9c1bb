package upload

import (
	"fmt"
	"time"
)

// Defaults of Config.
const (
	DefaultSegmentBytes = 64 << 20
	DefaultMaxLagMs     = 10 * 60 * 1000
)

// Action is what a Decision asks for.
type Action int

const (
	// Wait means that there is nothing to do until something changes or DueMs comes.
	Wait Action = iota
	// Upload the batches of [From, Limit), MaxBytes of them at most but at least one.
	Upload
	// Begin asks to move the ledger's start to From first; the log began above the ledger's end before the topic was
	// archived.
	Begin
	// Stuck means that an operator has to look at it.
	Stuck
)

// State is everything that Plan looks at.
type State struct {
	Leader bool // this broker leads the partition
	Config Config
	Drain  bool // upload what is there, however little

	Start int64 // the ledger's: the archive holds [Start, Next)
	Next  int64 // the ledger's: where the next upload begins

	LogStart   int64 // the local log's first readable offset, by its own account
	LocalStart int64 // the oldest offset that the local log has
	Stable     int64 // the last stable offset

	PendingBytes int64 // estimate of the local bytes from Next on
	SinceMs      int64 // when the record at Next was appended, ms
	SinceKnown   bool
}

// Decision is the planner's answer.
type Decision struct {
	Action   Action
	From     int64
	Limit    int64
	MaxBytes int64
	// DueMs is when a Wait ends by itself, ms; 0: only by a change.
	DueMs int64
	// Reason is a sentence without a full stop, for `firn tier explain`.
	Reason string
}

func (c Config) segmentBytes() int64 {
	if c.SegmentBytes <= 0 {
		return DefaultSegmentBytes
	}
	return c.SegmentBytes
}

func (c Config) maxLagMs() int64 {
	if c.MaxLagMs <= 0 {
		return DefaultMaxLagMs
	}
	return c.MaxLagMs
}

// Plan decides what to upload next of a partition. It only ever proposes what lies in [ledger next, last stable
// offset) and what the local log has (I-08).
func Plan(s State, nowMs int64) Decision {
	c := s.Config
	switch {
	case !c.Enabled:
		return Decision{Reason: "remote storage is off for this topic (remote.storage.enable=false)"}
	case !s.Leader:
		return Decision{Reason: "this broker does not lead the partition, only the leader uploads"}
	case s.LogStart > s.Next && s.Start < s.Next:
		// Whoever moves a log start does so in the ledger first, so this ledger is an older one: the metadata was
		// set back. Moving its start would drop what it still names (I-35).
		return Decision{Action: Stuck, Reason: fmt.Sprintf("the local log begins at offset %d but the archive ends at %d: "+
			"the metadata is older than the log, and what the archive holds is not given up for it", s.LogStart, s.Next)}
	case s.LogStart > s.Next:
		return Decision{Action: Begin, From: s.LogStart, Reason: fmt.Sprintf(
			"the log begins at offset %d and the archive ends at %d: the archive's start moves up first", s.LogStart, s.Next)}
	case s.LocalStart > s.Next:
		return Decision{Action: Stuck, Reason: fmt.Sprintf("the archive ends at offset %d but the local log begins "+
			"at %d: the offsets between are in neither, and nothing is uploaded beyond the hole", s.Next, s.LocalStart)}
	case s.Stable < s.Next:
		return Decision{Reason: fmt.Sprintf("the archive already ends at offset %d, above the last stable offset %d",
			s.Next, s.Stable)}
	case s.Stable == s.Next:
		return Decision{Reason: fmt.Sprintf("everything below the last stable offset %d is archived", s.Stable)}
	}
	up := Decision{Action: Upload, From: s.Next, Limit: s.Stable, MaxBytes: c.segmentBytes()}
	due := s.SinceMs + c.maxLagMs()
	switch {
	case s.PendingBytes >= c.segmentBytes():
		up.Reason = fmt.Sprintf("%d bytes are pending, the target is %d (firn.remote.segment.bytes)",
			s.PendingBytes, c.segmentBytes())
	case s.Drain:
		up.Reason = "the tail is uploaded on demand"
	case !s.SinceKnown:
		// Without an age the lag promise could be broken in silence; an early upload breaks nothing.
		up.Reason = "the age of the oldest pending record is not known"
	case nowMs >= due:
		up.Reason = fmt.Sprintf("the oldest pending record has waited %v, the limit is %v (firn.remote.upload.max.lag.ms)",
			ms(nowMs-s.SinceMs), ms(c.maxLagMs()))
	default:
		return Decision{DueMs: due, Reason: fmt.Sprintf("%d of %d bytes are pending; they go up when the target is "+
			"reached (firn.remote.segment.bytes) or in %v at the latest (firn.remote.upload.max.lag.ms)",
			s.PendingBytes, c.segmentBytes(), ms(due-nowMs))}
	}
	return up
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
