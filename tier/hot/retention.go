package hot

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// RetentionInput is what the local retention of one partition depends on. It is data; PlanRetention is pure.
type RetentionInput struct {
	Segments []SegmentInfo // of the hot log, oldest first, the last one active
	Config   *Config
	LogStart int64 // log start offset of the partition; with remote storage, the ledger's
	Archived int64 // with remote storage: the offset below which all is archived and confirmed (I-12)
	Stable   int64 // nothing at or above is trimmed: high watermark or last stable offset
	Now      int64 // ms
}

// RetentionPlan says what is to be done and why.
type RetentionPlan struct {
	TrimTo int64 // Log.Trim to here; 0: nothing
	Roll   bool  // the active segment is due as well: Log.Roll before
	// LogStart is where the partition begins afterwards. With remote storage it is what it was: local retention takes
	// nothing away from readers.
	LogStart int64
	Reason   string // why TrimTo is what it is, a sentence; "" if nothing is trimmed
}

// PlanRetention decides up to where a partition's hot log is trimmed: what lies below the log start, what is older than
// the retention time, and the oldest of what exceeds the retention size. With remote storage the local.retention.*
// limits count (retention.* where they are LikeOverall, or are tighter), and what is not archived stays (I-12). Where
// nothing goes, which is what it is asked all the time, it allocates nothing.
func PlanRetention(in RetentionInput) RetentionPlan {
	p := RetentionPlan{LogStart: in.LogStart}
	w := walkRetention(in)
	for i, s := range in.Segments {
		f := w.next(i)
		if !f.goes() {
			break
		}
		p.TrimTo, p.Reason, p.Roll = s.Next, w.say(f, s), i == len(in.Segments)-1
		if !in.Config.RemoteStorage {
			p.LogStart = max(p.LogStart, s.Next)
		}
	}
	return p
}

// fate is what becomes of a segment, and why.
type fate int

const (
	fresh       fate = iota // it stays: no limit is reached
	growing                 // it stays: it is active, and its age is not what is due
	uncommitted             // it is due, but not committed yet
	unarchived              // it is due, but not archived yet
	outside                 // it goes: it lies below the log start
	aged                    // it goes: it is older than allowed
	excess                  // it goes: it is the oldest of more bytes than allowed
)

// goes reports whether the segment goes, if those before it do.
func (f fate) goes() bool { return f >= outside }

// retentionWalk looks at the segments of a log, oldest first.
type retentionWalk struct {
	in        RetentionInput
	age, size limit
	above     int64 // bytes of the segments above the one that it is at
}

func walkRetention(in RetentionInput) retentionWalk {
	w := retentionWalk{in: in}
	w.age, w.size = limits(in.Config)
	for _, s := range in.Segments {
		w.above += s.Bytes
	}
	return w
}

// next goes to segment i, the one after the last, and tells its fate.
func (w *retentionWalk) next(i int) fate {
	in, s := &w.in, w.in.Segments[i]
	w.above -= s.Bytes
	old := expired(s, w.age.value, in.Now)
	var due fate
	switch {
	case s.Next <= in.LogStart:
		due = outside
	case old:
		due = aged
	case w.size.value >= 0 && w.above >= w.size.value: // as in Kafka, what remains is no less than the limit
		due = excess
	default:
		return fresh
	}
	switch active := i == len(in.Segments)-1; {
	case active && (s.Bytes == 0 || !old):
		return growing
	case s.Next > in.Stable:
		return uncommitted
	case in.Config.RemoteStorage && s.Next > max(in.Archived, in.LogStart):
		return unarchived
	}
	return due
}

// say tells in a sentence the fate of the segment that the walk is at.
func (w *retentionWalk) say(f fate, s SegmentInfo) string {
	in, last := &w.in, s.Next-1
	switch f {
	case growing:
		return fmt.Sprintf("offsets from %d on are in the active segment, which goes only by age: %s.", s.Base, w.whenDue(s))
	case uncommitted:
		return fmt.Sprintf("offsets %d to %d are due but not yet committed up to %d (committed: %d).", s.Base, last, s.Next, in.Stable)
	case unarchived:
		return fmt.Sprintf("offsets %d to %d are due but wait for their upload: the archive is confirmed up to %d.", s.Base, last, in.Archived)
	case outside:
		return fmt.Sprintf("offsets %d to %d lie below the log start %d.", s.Base, last, in.LogStart)
	case aged:
		return fmt.Sprintf("offsets %d to %d are %s old, more than %s allows (%s).", s.Base, last,
			span(in.Now-newest(s)), w.age.name, span(w.age.value))
	case excess:
		return fmt.Sprintf("offsets %d to %d are the oldest of %d bytes, and %s allows %d.", s.Base, last,
			w.above+s.Bytes, w.size.name, w.size.value)
	}
	stays := fmt.Sprintf("offsets %d to %d stay: %s", s.Base, last, w.whenDue(s))
	if w.size.value >= 0 {
		stays += fmt.Sprintf(", and without them %d bytes would be less than %s (%d)", w.above, w.size.name, w.size.value)
	}
	return stays + "."
}

func (w *retentionWalk) whenDue(s SegmentInfo) string {
	if w.age.value < 0 {
		return "no limit of age is set"
	}
	return fmt.Sprintf("by %s they are due in %s", w.age.name, span(newest(s)+w.age.value-w.in.Now))
}

// limit is a retention limit, Unlimited or some other negative number for none, and the config that sets it.
type limit struct {
	value int64
	name  string
}

// limits returns the limits of age and size that count for the hot log.
func limits(c *Config) (age, size limit) {
	age, size = limit{c.RetentionMs, "retention.ms"}, limit{c.RetentionBytes, "retention.bytes"}
	if c.RemoteStorage {
		age = tighter(limit{c.LocalRetentionMs, "local.retention.ms"}, age)
		size = tighter(limit{c.LocalRetentionBytes, "local.retention.bytes"}, size)
	}
	return age, size
}

func tighter(local, overall limit) limit {
	if local.value < 0 || (overall.value >= 0 && overall.value < local.value) {
		return overall // LikeOverall, no limit of its own, or looser than what holds anyway
	}
	return local
}

// newest is the time that a segment's age is counted from: its greatest record timestamp, or, without one, its last
// append.
func newest(s SegmentInfo) int64 {
	if s.MaxTimestamp == record.NoTimestamp {
		return s.Modified
	}
	return s.MaxTimestamp
}

func expired(s SegmentInfo, ms, now int64) bool { return ms >= 0 && now-newest(s) > ms }

func span(ms int64) string {
	return (time.Duration(ms) * time.Millisecond).Round(time.Millisecond).String()
}

// ShareLog is one log in the disk-share rule.
type ShareLog struct {
	Partition topic.Partition
	Segments  []SegmentInfo // oldest first, the last one active
	Archived  int64         // the offset below which all is archived and confirmed; 0 without remote storage
	Stable    int64         // nothing at or above is trimmed
}

// ShareTrim is one log that gives up local space.
type ShareTrim struct {
	Partition topic.Partition
	TrimTo    int64
	Bytes     int64 // log and index bytes that this frees
	Reason    string
}

// PlanDiskShare decides which logs are trimmed so that all together take at most budget bytes (firn.local.disk.target of
// what firn uses and what is free): the oldest archived data goes first, across partitions. Each log's segments go in
// order. Active segments and what is not archived stay, so the outcome may be above the budget: over is by how much.
func PlanDiskShare(logs []ShareLog, budget int64) (trims []ShareTrim, over int64) {
	var candidates []shareSegment
	total := int64(0)
	for i, l := range logs {
		age := int64(-1 << 63)
		free := true
		for j, s := range l.Segments {
			total += s.Bytes + s.IndexBytes
			free = free && j < len(l.Segments)-1 && s.Next <= min(l.Archived, l.Stable)
			if free {
				// A segment cannot go before the ones below it, so it is as young as the youngest of them.
				age = max(age, newest(s))
				candidates = append(candidates, shareSegment{log: i, info: s, age: age})
			}
		}
	}
	over = total - budget
	if over <= 0 {
		return nil, 0
	}
	slices.SortStableFunc(candidates, func(a, b shareSegment) int {
		return cmp.Or(cmp.Compare(a.age, b.age), cmp.Compare(a.log, b.log), cmp.Compare(a.info.Base, b.info.Base))
	})
	at := map[int]int{} // log → its place in trims
	for _, c := range candidates {
		if over <= 0 {
			break
		}
		k, ok := at[c.log]
		if !ok {
			k = len(trims)
			at[c.log] = k
			trims = append(trims, ShareTrim{Partition: logs[c.log].Partition})
		}
		trims[k].TrimTo = c.info.Next
		trims[k].Bytes += c.info.Bytes + c.info.IndexBytes
		over -= c.info.Bytes + c.info.IndexBytes
	}
	for i := range trims {
		trims[i].Reason = fmt.Sprintf("local logs take %d bytes and their share of the disk is %d: "+
			"the oldest archived data goes first, here everything below offset %d.", total, budget, trims[i].TrimTo)
	}
	return trims, max(0, over)
}

type shareSegment struct {
	log  int
	info SegmentInfo
	age  int64
}
