package partition

import (
	"context"
	"errors"
	"fmt"
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

// report is what the last round of housekeeping did to a partition; nil: nothing.
type report struct {
	at           time.Time
	local, share string // what was trimmed and why, "" when nothing was
	err          error
}

// Status opens the log if need be.
func (p *Partition) Status() (Status, error) {
	s := Status{Partition: p.id, Remote: p.Settings().Remote, Failed: p.failure()}
	s.Leader, s.LeaderEpoch = p.Leader()
	log, err := p.opened()
	if err != nil {
		if why := p.damaged(); why != nil {
			return s, fmt.Errorf("the log of %s is offline: %w", p.id, why)
		}
		if why := p.openErr.Load(); why != nil {
			return s, fmt.Errorf("the log of %s is not open, it is tried again: %w", p.id, *why)
		}
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

// tryArchive reads at an archived offset, as a fetch would: the error names an object that is missing or damaged.
func (p *Partition) tryArchive(ctx context.Context, offset int64) error {
	if p.m.o.Archive == nil {
		return errors.New("no archive is configured")
	}
	ctx, cancel := context.WithTimeout(ctx, p.m.tuning.Load().ColdWait)
	defer cancel()
	data, err := p.m.o.Archive.Read(ctx, p.id, p.m.o.Metadata.CachedLedger(p.id), offset, 1)
	if err != nil {
		return err
	}
	data.Release()
	return nil
}
