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
	Waiting  string // why the oldest segment stays although it is due, or when it will be due; never ""
}

// PlanRetention decides up to where a partition's hot log is trimmed: what lies below the log start, what is older than
// the retention time, and the oldest of what exceeds the retention size. With remote storage the local.retention.*
// limits count (retention.* where they are LikeOverall, or are tighter), and what is not archived stays (I-12).
func PlanRetention(in RetentionInput) RetentionPlan {
	p := RetentionPlan{LogStart: in.LogStart}
	age, size := limits(in.Config)
	var total int64
	for _, s := range in.Segments {
		total += s.Bytes
	}
	for i, s := range in.Segments {
		due, not := segmentDue(&in, s, total, age, size)
		active := i == len(in.Segments)-1
		switch {
		case due == "":
			p.Waiting = not
		case active && (s.Bytes == 0 || !expired(s, age.value, in.Now)):
			p.Waiting = fmt.Sprintf("offsets from %d on are in the active segment, which goes only by age.", s.Base)
		default:
			p.Waiting = held(&in, s)
		}
		if p.Waiting != "" {
			return p
		}
		p.TrimTo, p.Reason, p.Roll = s.Next, due, active
		if !in.Config.RemoteStorage {
			p.LogStart = max(p.LogStart, s.Next)
		}
		total -= s.Bytes
	}
	p.Waiting = fmt.Sprintf("nothing is left below offset %d.", p.TrimTo)
	return p
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

// segmentDue says in a sentence why a segment is to go; if not, why it is not.
func segmentDue(in *RetentionInput, s SegmentInfo, total int64, age, size limit) (due, not string) {
	if s.Next <= in.LogStart {
		return fmt.Sprintf("offsets %d to %d lie below the log start %d.", s.Base, s.Next-1, in.LogStart), ""
	}
	if expired(s, age.value, in.Now) {
		return fmt.Sprintf("offsets %d to %d are %s old, more than %s allows (%s).", s.Base, s.Next-1,
			span(in.Now-newest(s)), age.name, span(age.value)), ""
	}
	// As in Kafka a segment goes only if what remains is still no less than the limit.
	if size.value >= 0 && total-s.Bytes >= size.value {
		return fmt.Sprintf("offsets %d to %d are the oldest of %d bytes, and %s allows %d.", s.Base, s.Next-1,
			total, size.name, size.value), ""
	}
	not = fmt.Sprintf("offsets %d to %d stay: %s", s.Base, s.Next-1, whenDue(s, age, in.Now))
	if size.value >= 0 {
		not += fmt.Sprintf(", and without them %d bytes would be less than %s (%d)", total-s.Bytes, size.name, size.value)
	}
	return "", not + "."
}

func whenDue(s SegmentInfo, age limit, now int64) string {
	if age.value < 0 {
		return "no limit of age is set"
	}
	return fmt.Sprintf("by %s they are due in %s", age.name, span(newest(s)+age.value-now))
}

// held says in a sentence why a segment that is due must stay, "" if it may go.
func held(in *RetentionInput, s SegmentInfo) string {
	if s.Next > in.Stable {
		return fmt.Sprintf("offsets %d to %d are due but not yet committed up to %d (committed: %d).",
			s.Base, s.Next-1, s.Next, in.Stable)
	}
	if in.Config.RemoteStorage && s.Next > max(in.Archived, in.LogStart) {
		return fmt.Sprintf("offsets %d to %d are due but wait for their upload: the archive is confirmed up to %d.",
			s.Base, s.Next-1, in.Archived)
	}
	return ""
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
