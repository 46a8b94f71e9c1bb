package partition

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

// Status is what `firn tier status` shows of a partition.
type Status struct {
	Partition   topic.Partition
	Leader      int32 // broker id, -1 for none
	LeaderEpoch int32
	Remote      bool // remote.storage.enable
	Failed      int16

	LogStart, HighWatermark, End int64
	HotStart                     int64 // oldest offset on local disk; hot data reaches to End
	HotBytes                     int64
	ColdStart, ColdEnd           int64 // the archive holds [ColdStart, ColdEnd)
	ColdBytes                    int64 // as fetched
	ColdStored                   int64 // as stored, what is on its way out included
	ColdSegments                 int
	Upload                       *upload.Status // nil when nothing is uploaded
}

// report is what the last round of housekeeping decided about a partition.
type report struct {
	at                time.Time
	local, log, share string // sentences, "" when there was nothing to say
	err               error
}

// Status opens the log if need be.
func (p *Partition) Status() (Status, error) {
	s := Status{Partition: p.id, Remote: p.Settings().Remote, Failed: p.failure()}
	s.Leader, s.LeaderEpoch = p.Leader()
	log, err := p.opened()
	if err != nil {
		return s, err
	}
	o, l := p.offsetsOf(log)
	s.LogStart, s.HighWatermark, s.End = o.logStart, o.hw, o.end
	s.HotStart, s.HotBytes = max(o.localStart, o.logStart), log.Bytes()
	if l != nil {
		s.ColdStart, s.ColdEnd = l.Start, l.Next
		s.ColdBytes, s.ColdStored, s.ColdSegments = l.Bytes(), l.StoredBytes(), l.Count()
	}
	if up := p.m.o.Uploads; up != nil {
		if u, ok := up.Status(p.id); ok {
			s.Upload = &u
		}
	}
	return s, nil
}

// Explain says in sentences where an offset lives and what it waits for; offset -1 speaks of the partition as a whole.
func (p *Partition) Explain(ctx context.Context, offset int64) ([]string, error) {
	s, err := p.Status()
	if err != nil {
		return nil, err
	}
	say := []string{fmt.Sprintf("Partition %s holds offsets %d to %d; consumers see up to %d.", p.id, s.LogStart, s.End, s.HighWatermark)}
	add := func(format string, args ...any) { say = append(say, fmt.Sprintf(format, args...)) }
	add("On local disk: offsets %d to %d in %d bytes.", s.HotStart, s.End, s.HotBytes)
	switch {
	case !s.Remote:
		add("Remote storage is off for this topic: nothing is archived (remote.storage.enable=false).")
	case s.ColdSegments == 0:
		add("Nothing is archived yet.")
	default:
		add("Archived: offsets %d to %d in %d segments, %d bytes.", s.ColdStart, s.ColdEnd, s.ColdSegments, s.ColdBytes)
	}
	if offset >= 0 {
		say = append(say, p.explainOffset(s, offset)...)
		if s.Remote && offset >= s.ColdStart && offset < min(s.ColdEnd, s.HotStart) {
			if err := p.tryArchive(ctx, offset); err != nil {
				add("Reading it fails: %v.", err)
			}
		}
	}
	if s.Upload != nil && s.Upload.Waiting != "" {
		add("Upload: %s.", s.Upload.Waiting)
	}
	if s.Upload != nil && s.Upload.LastError != "" {
		add("The last upload failed: %s.", s.Upload.LastError)
	}
	if r := p.report.Load(); r != nil {
		for _, sentence := range []string{r.log, r.local, r.share} {
			if sentence != "" {
				add("Housekeeping: %s", strings.TrimSuffix(sentence, ".")+".")
			}
		}
		if r.err != nil {
			add("Housekeeping failed at %s: %v.", r.at.UTC().Format(time.RFC3339), r.err)
		}
	}
	return say, nil
}

// tryArchive reads at an archived offset, as a fetch would: the error names an object that is missing or damaged.
func (p *Partition) tryArchive(ctx context.Context, offset int64) error {
	if p.m.o.Archive == nil {
		return errors.New("no archive is configured")
	}
	ctx, cancel := context.WithTimeout(ctx, p.m.o.ColdWait)
	defer cancel()
	data, err := p.m.o.Archive.Read(ctx, p.id, p.m.o.Metadata.CachedLedger(p.id), offset, 1)
	if err != nil {
		return err
	}
	data.Release()
	return nil
}

func (p *Partition) explainOffset(s Status, offset int64) []string {
	f := fmt.Sprintf
	switch {
	case offset < s.LogStart:
		return []string{f("Offset %d is gone: the log starts at %d, by retention or DeleteRecords.", offset, s.LogStart)}
	case offset >= s.End:
		return []string{f("Offset %d is not written yet: the next one is %d.", offset, s.End)}
	}
	var say []string
	inCold := s.Remote && offset >= s.ColdStart && offset < s.ColdEnd
	switch hot := offset >= s.HotStart; {
	case hot && inCold:
		say = append(say, f("Offset %d is on local disk and in the archive; reads are served from local disk.", offset))
	case hot:
		say = append(say, f("Offset %d is on local disk only.", offset))
	case inCold:
		say = append(say, f("Offset %d is in the archive only; reads are served through the chunk cache.", offset))
	default:
		return append(say, f("Offset %d is missing: it is neither on local disk, which begins at %d, nor in the archive, which ends at %d.", offset, s.HotStart, s.ColdEnd))
	}
	if offset >= s.HighWatermark {
		say = append(say, f("It is not committed yet: the high watermark is %d.", s.HighWatermark))
	}
	if offset >= s.HotStart && s.Remote {
		switch {
		case !inCold:
			say = append(say, "It may not leave the local disk before it is archived.")
		case offset >= p.archived.Load():
			say = append(say, "It may not leave the local disk before its object is confirmed in the store.")
		default:
			say = append(say, "It may leave the local disk when local.retention.ms, local.retention.bytes or firn.local.disk.target say so.")
		}
	}
	return say
}
