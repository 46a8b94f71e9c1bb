package partition

import (
	"fmt"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/topic"
)

// sharing is the disk-share rule's picture of one moment.
type sharing struct {
	open   map[topic.Partition]*Partition
	logs   []hot.ShareLog
	local  int64 // bytes of all local logs, unopened ones included
	budget int64 // what they may take
}

// sharing looks at the logs and the disk. What the local logs may take (firn.local.disk.target) is a share of what firn
// uses and what is free, together. What firn uses is its logs, those that are not open included, and what
// Options.Beside knows of.
func (m *Manager) sharing() (sharing, error) {
	s := sharing{open: map[topic.Partition]*Partition{}}
	info, err := m.o.Space()
	if err != nil {
		return s, fmt.Errorf("how full the disk is: %w", err)
	}
	unopened, err := m.o.Disk.UnopenedBytes()
	if err != nil {
		return s, err
	}
	for _, p := range m.All() {
		l := p.log.Load()
		if l == nil || !(*l).Stored() || p.failure() != 0 {
			continue
		}
		x := hot.ShareLog{Partition: p.id, Segments: (*l).Segments(), Stable: p.hw.Load()}
		if p.Settings().Remote {
			x.Archived = p.archived.Load()
		}
		for _, seg := range x.Segments {
			s.local += seg.Bytes + seg.IndexBytes
		}
		s.logs = append(s.logs, x)
		s.open[p.id] = p
	}
	// What is not open takes its share like the others and gives nothing up: like an active segment.
	s.logs = append(s.logs, hot.ShareLog{Segments: []hot.SegmentInfo{{Bytes: unopened}}})
	s.local += unopened
	used := s.local
	if m.o.Beside != nil {
		used += m.o.Beside()
	}
	s.budget = int64(m.tuning.Load().TargetShare * float64(used+info.Free))
	return s, nil
}

// shareDisk keeps the local logs within their share of the disk: the oldest archived data goes first, across
// partitions. What is not archived and confirmed stays (I-12).
func (m *Manager) shareDisk() {
	s, err := m.sharing()
	if err != nil {
		m.o.Logger.Warn("the share of the disk is not kept: it is not known", "error", err)
		return
	}
	trims, over := hot.PlanDiskShare(s.logs, s.budget)
	for _, t := range trims {
		p := s.open[t.Partition]
		r := report{at: m.o.Now()}
		if old := p.report.Load(); old != nil {
			r = *old
		}
		r.share = t.Reason
		if _, err := (*p.log.Load()).Trim(t.TrimTo, t.Reason); err != nil {
			r.err = fmt.Errorf("trim to %d: %w", t.TrimTo, err)
			m.o.Logger.Warn("cannot trim a log", "partition", t.Partition, "error", err)
		}
		p.report.Store(&r)
	}
	if over > 0 {
		m.o.Logger.Debug("local logs are above their share of the disk, and nothing more may go", "over", over)
	}
}
