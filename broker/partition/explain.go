package partition

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// SetArchiveNotes gives Explain what is known elsewhere of a partition's archived data: why nothing is deleted, what
// waits for its grace period. It may be called while the manager runs, and so may fn.
func (m *Manager) SetArchiveNotes(fn func(p topic.Partition) (say []string)) { m.notes.Store(&fn) }

// Explain says in sentences where an offset lives, why it is not in the archive yet, why it is still on local disk, why
// it is not deleted, and what all that waits for, as things are at this moment; offset -1 speaks of the partition as a
// whole.
func (p *Partition) Explain(ctx context.Context, offset int64) ([]string, error) {
	f, err := p.gather(ctx, offset)
	if why := p.damaged(); why != nil { // known once gather tried to open the log
		return []string{fmt.Sprintf("The log of %s is offline: %v.", p.id, why), "Until then produce and fetch are answered with KAFKA_STORAGE_ERROR, and nothing of it is deleted from the archive or from local disk."}, nil
	}
	if err != nil {
		return nil, err
	}
	return f.explain(), nil
}

// facts is all that an explanation rests on.
type facts struct {
	Status
	offset    int64
	now       int64 // ms
	here      bool  // this broker leads
	copying   bool  // remote.log.copy.disable is not set
	retention hot.RetentionInput
	entry     archiveEntry
	share     shareFacts
	readErr   error  // of trying the archive at the offset
	entryErr  error  // of finding the offset's archived segment
	last      report // of housekeeping
	notes     []string
}

// archiveEntry is what retention counts for the archived segment that holds the offset.
type archiveEntry struct {
	base, next int64
	newest     int64 // timestamp of the youngest record up to its end, ms: oldest first, so it goes no earlier than that
	after      int64 // bytes that are younger, hot and cold counted once
}

// shareFacts is the disk-share rule's view of the partition.
type shareFacts struct {
	known         bool
	share         float64
	local, budget int64
	trimTo        int64 // this partition is next up to here; 0: not
	over          int64 // by how much the rest is above the budget
}

func (p *Partition) gather(ctx context.Context, offset int64) (facts, error) {
	s, err := p.Status()
	if err != nil {
		return facts{}, err
	}
	n, log := p.news.Load(), *p.log.Load()
	f := facts{Status: s, offset: offset, now: p.m.o.Now().UnixMilli(), here: n.leader, copying: n.settings.Upload.Enabled}
	var l *ledger.Ledger
	f.retention, l = p.retentionInput(log, f.now, nil)
	if r := p.report.Load(); r != nil {
		f.last = *r
	}
	if l != nil && f.inCold() {
		f.entry, f.entryErr = p.archiveEntry(ctx, l, offset)
		if offset < s.HotStart {
			f.readErr = p.tryArchive(ctx, offset)
		}
	}
	if p.m.o.Space != nil {
		f.share = p.m.shareOf(p.id)
	}
	if notes := p.m.notes.Load(); notes != nil && s.Remote {
		f.notes = (*notes)(p.id)
	}
	return f, nil
}

// archiveEntry finds the segment that holds offset, and what the segments up to it add up to.
func (p *Partition) archiveEntry(ctx context.Context, l *ledger.Ledger, offset int64) (archiveEntry, error) {
	e := archiveEntry{newest: math.MinInt64, after: l.Bytes() + source{p}.PendingBytes(l.Next)}
	take := func(next, ts, bytes int64) {
		if next > l.Start {
			e.newest = max(e.newest, ts)
			e.after -= bytes
		}
	}
	for _, f := range l.Folds {
		if f.Next > offset {
			break
		}
		take(f.Next, f.MaxTimestamp, f.DataBytes)
	}
	found, ok := l.Find(offset)
	if !ok {
		return e, fmt.Errorf("the ledger names no segment for it")
	}
	segs := l.Recent
	if found.Fold != nil {
		if p.m.o.Archive == nil {
			return e, fmt.Errorf("no archive is configured")
		}
		var err error
		if segs, err = p.m.o.Archive.Segments(ctx, l, found.Fold.Base); err != nil {
			return e, err
		}
	}
	for _, s := range segs {
		newest := s.MaxTimestamp
		if newest < 0 {
			newest = s.CommittedAt // its records carry no time
		}
		take(s.Next, newest, s.DataBytes)
		if s.Next > offset {
			e.base, e.next = s.Base, s.Next
			break
		}
	}
	return e, nil
}

// shareOf asks the disk-share rule about one partition.
func (m *Manager) shareOf(p topic.Partition) shareFacts {
	s, err := m.sharing()
	if err != nil {
		return shareFacts{}
	}
	f := shareFacts{known: true, share: m.tuning.Load().TargetShare, local: s.local, budget: s.budget}
	trims, over := hot.PlanDiskShare(s.logs, s.budget)
	f.over = over
	for _, t := range trims {
		if t.Partition == p {
			f.trimTo = t.TrimTo
		}
	}
	return f
}

func (f *facts) inCold() bool {
	return f.Remote && f.offset >= f.ColdStart && f.offset < f.ColdEnd
}

// explain is the whole answer; it is a function of the facts.
func (f *facts) explain() []string {
	say := []string{fmt.Sprintf("Partition %s holds offsets %d to %d; consumers see up to %d.", f.Partition, f.LogStart, f.End, f.HighWatermark)}
	add := func(format string, args ...any) { say = append(say, fmt.Sprintf(format, args...)) }
	add("On local disk: offsets %d to %d in %d bytes.", f.HotStart, f.End, f.HotBytes)
	switch {
	case !f.Remote:
		add("Remote storage is off for this topic: nothing is archived (remote.storage.enable=false).")
	case f.ColdSegments == 0:
		add("Nothing is archived yet.")
	default:
		add("Archived: offsets %d to %d in %d segments, %d bytes.", f.ColdStart, f.ColdEnd, f.ColdSegments, f.ColdBytes)
	}
	if f.offset >= 0 {
		say = append(say, f.explainOffset()...)
	} else {
		say = append(say, f.uploadSays()...)
		say = append(say, f.deletion()...)
	}
	say = append(say, f.notes...)
	for _, done := range []string{f.last.local, f.last.share} {
		if done != "" {
			add("Housekeeping at %s trimmed: %s", at(f.last.at.UnixMilli()), strings.TrimSuffix(done, ".")+".")
		}
	}
	if f.last.err != nil {
		add("Housekeeping failed at %s: %v.", at(f.last.at.UnixMilli()), f.last.err)
	}
	return say
}

func (f *facts) explainOffset() []string {
	off := f.offset
	local := off >= f.HotStart
	one := func(format string, args ...any) []string { return []string{fmt.Sprintf(format, args...)} }
	var say []string
	switch {
	case off < f.LogStart:
		return one("Offset %d is gone: the log starts at %d, by retention or DeleteRecords.", off, f.LogStart)
	case off >= f.End:
		return one("Offset %d is not written yet: the next one is %d.", off, f.End)
	case local && f.inCold():
		say = one("Offset %d is on local disk and in the archive; reads are served from local disk.", off)
	case local:
		say = one("Offset %d is on local disk only.", off)
	case f.inCold():
		say = one("Offset %d is in the archive only; reads are served through the chunk cache.", off)
	default:
		return one("Offset %d is missing: it is neither on local disk, which begins at %d, nor in the archive, which ends at %d.", off, f.HotStart, f.ColdEnd)
	}
	if f.readErr != nil {
		say = append(say, fmt.Sprintf("Reading it fails: %v.", f.readErr))
	}
	if off >= f.HighWatermark {
		say = append(say, fmt.Sprintf("It is not committed yet: the high watermark is %d.", f.HighWatermark))
	}
	if f.Remote && !f.inCold() {
		say = append(say, f.uploadSays()...)
	}
	if local && f.Remote {
		say = append(say, f.trimming()...)
	}
	return append(say, f.deletion()...)
}

// uploadSays tells why what is not in the archive is not, and what the upload waits for.
func (f *facts) uploadSays() []string {
	switch u := f.Upload; {
	case !f.Remote:
		return nil
	case !f.copying:
		return []string{"Nothing is uploaded: remote.log.copy.disable=true."}
	case !f.here:
		return []string{fmt.Sprintf("It is the leader that uploads, broker %d.", f.Leader)}
	case f.offset >= 0 && f.offset >= f.HighWatermark:
		return []string{"It is not uploaded before it is committed."}
	case u == nil:
		return []string{"Nothing is uploaded: the uploader does not know the partition."}
	default:
		say := []string{fmt.Sprintf("Upload: %s.", strings.TrimSuffix(u.Waiting, "."))}
		if f.offset >= 0 {
			say[0] = fmt.Sprintf("It is not uploaded yet. %s", say[0])
		}
		if u.Uploading {
			say = append(say, "An upload is under way.")
		}
		if u.LastError != "" {
			say = append(say, fmt.Sprintf("The last upload failed at %s: %s.", at(u.LastErrAt.UnixMilli()), u.LastError))
		}
		return say
	}
}

// trimming tells why an offset of a topic with an archive is still on local disk.
func (f *facts) trimming() []string {
	if !f.inCold() {
		return []string{"It may not leave the local disk before it is archived."}
	}
	if f.offset >= f.retention.Archived {
		return []string{fmt.Sprintf("It is not confirmed yet: it may not leave the local disk before its object was seen in the store with its size and checksum, "+
			"which is so up to offset %d.", max(f.retention.Archived, f.LogStart))}
	}
	var say []string
	if why := hot.ExplainRetention(f.retention, f.offset); why != "" {
		say = append(say, "Local disk: "+why)
	}
	s := f.share
	if !s.known {
		return say
	}
	rule := fmt.Sprintf("firn.local.disk.target: local logs take %d bytes, their share of the disk (%g) is %d", s.local, s.share, s.budget)
	switch {
	case s.local <= s.budget:
		rule += fmt.Sprintf("; the oldest archived data goes when they take %d bytes more.", s.budget-s.local)
	case f.offset < s.trimTo:
		rule += ": it is among the oldest archived data and goes with the next round."
	case s.over > 0:
		rule += fmt.Sprintf(": they stay %d bytes above it, because what is not archived, and active segments, stay.", s.over)
	default:
		rule += ": older archived data goes first, and suffices."
	}
	return append(say, rule)
}

// deletion tells why an offset is not deleted for good.
func (f *facts) deletion() []string {
	c := f.retention.Config
	switch {
	case c.RetentionMs < 0 && c.RetentionBytes < 0:
		return []string{"It is kept for ever: retention.ms=-1 and retention.bytes=-1."}
	case f.offset < 0:
		return []string{fmt.Sprintf("Retention: retention.ms=%d and retention.bytes=%d.", c.RetentionMs, c.RetentionBytes)}
	case !f.Remote:
		if why := hot.ExplainRetention(f.retention, f.offset); why != "" {
			return []string{"Retention: " + why}
		}
		return nil
	case !f.inCold() && f.copying:
		return []string{fmt.Sprintf("It is not deleted before it is archived; then retention.ms=%d and retention.bytes=%d count.", c.RetentionMs, c.RetentionBytes)}
	case !f.inCold():
		in := f.retention
		cfg := *c
		cfg.RemoteStorage = false
		in.Config = &cfg
		return []string{"Retention: " + hot.ExplainRetention(in, f.offset)}
	case f.entryErr != nil:
		return []string{fmt.Sprintf("When it is due to be deleted cannot be told: %v.", f.entryErr)}
	}
	var say []string
	segment := fmt.Sprintf("Its archived segment, offsets %d to %d,", f.entry.base, f.entry.next-1)
	if c.RetentionMs >= 0 {
		due := f.entry.newest + c.RetentionMs
		if due < f.entry.newest {
			due = math.MaxInt64 // more than there is time
		}
		if due < f.now {
			say = append(say, fmt.Sprintf("%s is due since %s by retention.ms=%d and goes when the archive is tended next.", segment, at(due), c.RetentionMs))
		} else {
			say = append(say, fmt.Sprintf("%s is due at %s by retention.ms=%d.", segment, at(due), c.RetentionMs))
		}
	}
	if c.RetentionBytes >= 0 {
		if missing := c.RetentionBytes - f.entry.after; missing <= 0 {
			say = append(say, fmt.Sprintf("%s is due by retention.bytes=%d and goes when the archive is tended next: %d bytes are younger.", segment, c.RetentionBytes, f.entry.after))
		} else {
			say = append(say, fmt.Sprintf("%s is due by retention.bytes=%d after %d bytes more.", segment, c.RetentionBytes, missing))
		}
	}
	return say
}

func at(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
