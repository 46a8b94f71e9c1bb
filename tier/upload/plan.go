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

	why   why // what Reason says, of the state and the time that were planned for
	state State
	nowMs int64
}

// why names what a Decision rests on.
type why int

const (
	remoteOff why = iota
	notLeader
	setBack
	localBefore
	hole
	archiveAhead
	allArchived
	fullSize
	onDemand
	ageUnknown
	waitedLong
	mayWait
)

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
	d := Decision{state: s, nowMs: nowMs}
	c := s.Config
	switch {
	case !c.Enabled:
		d.why = remoteOff
	case !s.Leader:
		d.why = notLeader
	case s.LogStart > s.Next && s.Start < s.Next:
		// Whoever moves a log start does so in the ledger first, so this ledger is an older one: the metadata was
		// set back. Moving its start would drop what it still names (I-35).
		d.Action, d.why = Stuck, setBack
	case s.LogStart > s.Next:
		d.Action, d.From, d.why = Begin, s.LogStart, localBefore
	case s.LocalStart > s.Next:
		d.Action, d.why = Stuck, hole
	case s.Stable < s.Next:
		d.why = archiveAhead
	case s.Stable == s.Next:
		d.why = allArchived
	default:
		if d.why = s.pending(nowMs); d.why == mayWait {
			d.DueMs = s.due()
		} else {
			d.Action, d.From, d.Limit, d.MaxBytes = Upload, s.Next, s.Stable, c.segmentBytes()
		}
	}
	return d
}

// pending says why records that are not archived are to be, or that they may wait.
func (s *State) pending(nowMs int64) why {
	switch {
	case s.PendingBytes >= s.Config.segmentBytes():
		return fullSize
	case s.Drain:
		return onDemand
	case !s.SinceKnown:
		// Without an age the lag promise could be broken in silence; an early upload breaks nothing.
		return ageUnknown
	case nowMs >= s.due():
		return waitedLong
	}
	return mayWait
}

// due is when the record at Next is to be archived however little is pending, ms.
func (s *State) due() int64 { return s.SinceMs + s.Config.maxLagMs() }

// Reason is a sentence without a full stop, for `firn tier explain`. It is made when it is asked for: a broker plans for each
// busy partition a few times a second.
func (d *Decision) Reason() string {
	s, c := &d.state, d.state.Config
	switch d.why {
	case remoteOff:
		return "remote storage is off for this topic (remote.storage.enable=false)"
	case notLeader:
		return "this broker does not lead the partition, only the leader uploads"
	case setBack:
		return fmt.Sprintf("the local log begins at offset %d but the archive ends at %d: "+
			"the metadata is older than the log, and what the archive holds is not given up for it", s.LogStart, s.Next)
	case localBefore:
		return fmt.Sprintf("the log begins at offset %d and the archive ends at %d: the archive's start moves up first", s.LogStart, s.Next)
	case hole:
		return fmt.Sprintf("the archive ends at offset %d but the local log begins "+
			"at %d: the offsets between are in neither, and nothing is uploaded beyond the hole", s.Next, s.LocalStart)
	case archiveAhead:
		return fmt.Sprintf("the archive already ends at offset %d, above the last stable offset %d", s.Next, s.Stable)
	case allArchived:
		return fmt.Sprintf("everything below the last stable offset %d is archived", s.Stable)
	case fullSize:
		return fmt.Sprintf("%d bytes are pending, the target is %d (firn.remote.segment.bytes)", s.PendingBytes, c.segmentBytes())
	case onDemand:
		return "the tail is uploaded on demand"
	case ageUnknown:
		return "the age of the oldest pending record is not known"
	case waitedLong:
		return fmt.Sprintf("the oldest pending record has waited %v, the limit is %v (firn.remote.upload.max.lag.ms)",
			ms(d.nowMs-s.SinceMs), ms(c.maxLagMs()))
	}
	return fmt.Sprintf("%d of %d bytes are pending; they go up when the target is "+
		"reached (firn.remote.segment.bytes) or in %v at the latest (firn.remote.upload.max.lag.ms)",
		s.PendingBytes, c.segmentBytes(), ms(d.DueMs-d.nowMs))
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
