package partition

import (
	"context"
	"fmt"
	"time"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// housekeeping runs rounds until the manager closes, and looks at the disk once a second, so that produce stops or
// goes on in time even when nobody appends.
func (m *Manager) housekeeping() {
	defer m.running.Done()
	round := time.NewTicker(m.o.Interval)
	defer round.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-look.C:
			if m.o.Space != nil {
				m.space.look(0)
			}
		case <-round.C:
			m.Housekeep(m.ctx)
		}
	}
}

// Housekeep does one round for all partitions that are open: retention, total and local, then the disk-share rule.
// What fails for one partition is told (Explain, log) and tried again in the next round.
func (m *Manager) Housekeep(ctx context.Context) {
	now := m.o.Now()
	for _, p := range m.All() {
		l := p.log.Load()
		if ctx.Err() != nil || l == nil || p.failure() != 0 {
			continue
		}
		r := &report{at: now}
		if r.err = p.retain(ctx, *l, now.UnixMilli(), r); r.err != nil {
			m.o.Logger.Warn("housekeeping of a partition failed", "partition", p.id, "error", r.err)
		}
		p.report.Store(r)
	}
	if m.o.Space != nil && ctx.Err() == nil {
		m.shareDisk()
	}
}

// retain applies a partition's retention: first what moves the log start, then what only frees local disk.
func (p *Partition) retain(ctx context.Context, log Log, now int64, r *report) error {
	n := p.news.Load()
	o, l := p.offsetsOf(log)
	cfg := n.settings.Log
	if n.leader && l != nil && !l.Empty() {
		to, why, err := p.archiveRetention(ctx, log, l, &cfg, now)
		if err != nil {
			return err
		}
		if to > o.logStart {
			r.log = fmt.Sprintf("the log start moved from %d to %d: %s", o.logStart, to, why)
			if _, err := p.moveStart(ctx, log, to, r.log); err != nil {
				return fmt.Errorf("move the log start to %d: %w", to, err)
			}
			o, l = p.offsetsOf(log)
		}
	}
	if n.settings.Remote && !n.settings.Upload.Enabled && (l == nil || l.Next <= l.Start) {
		cfg.RemoteStorage = false // nothing is archived any more: what is left goes by total retention
	}
	plan := hot.PlanRetention(hot.RetentionInput{Segments: log.Segments(), Config: &cfg, LogStart: o.logStart,
		Archived: p.archived.Load(), Stable: o.stable, Now: now})
	r.local = plan.Waiting
	if plan.TrimTo == 0 {
		return nil
	}
	r.local = plan.Reason + " " + plan.Waiting
	if plan.Roll {
		if err := log.Roll(); err != nil {
			return fmt.Errorf("roll the active segment: %w", err)
		}
	}
	if plan.LogStart > o.logStart && n.leader {
		if _, err := p.moveStart(ctx, log, plan.LogStart, plan.Reason); err != nil {
			return fmt.Errorf("move the log start to %d: %w", plan.LogStart, err)
		}
	}
	if _, err := log.Trim(plan.TrimTo, plan.Reason); err != nil {
		return fmt.Errorf("trim to %d: %w", plan.TrimTo, err)
	}
	return nil
}

// archiveRetention works out where the log start moves to. Folds are looked into only when something in the oldest one
// may be due.
func (p *Partition) archiveRetention(ctx context.Context, log Log, l *ledger.Ledger, c *hot.Config, now int64) (int64, string, error) {
	if c.RetentionMs < 0 && c.RetentionBytes < 0 {
		return l.Start, "", nil
	}
	beyond := source{p}.PendingBytes(l.Next)
	entries := l.Recent
	if len(l.Folds) > 0 {
		byAge := c.RetentionMs >= 0 && now-l.Folds[0].MinTimestamp > c.RetentionMs
		bySize := c.RetentionBytes >= 0 && l.Bytes()+beyond > c.RetentionBytes
		if !byAge && !bySize {
			return l.Start, "", nil
		}
		if p.m.o.Archive == nil {
			return l.Start, "", fmt.Errorf("no archive is configured")
		}
		var err error
		if entries, err = p.m.o.Archive.Segments(ctx, l, l.Start); err != nil {
			return l.Start, "", fmt.Errorf("list archived segments: %w", err)
		}
	}
	to, why := planArchive(entries, l.Start, beyond, c, now)
	return to, why, nil
}

// shareDisk keeps the local logs within their share of the disk (firn.local.disk.target): of what firn uses and what
// is free, together.
func (m *Manager) shareDisk() {
	info, err := m.o.Space()
	if err != nil {
		m.o.Logger.Warn("cannot find out how full the disk is", "error", err)
		return
	}
	var logs []hot.ShareLog
	var used int64
	open := map[topic.Partition]*Partition{}
	for _, p := range m.All() {
		l := p.log.Load()
		if l == nil || p.failure() != 0 {
			continue
		}
		s := hot.ShareLog{Partition: p.id, Segments: (*l).Segments(), Stable: p.hw.Load()}
		if p.Settings().Remote {
			s.Archived = p.archived.Load()
		}
		for _, seg := range s.Segments {
			used += seg.Bytes + seg.IndexBytes
		}
		logs = append(logs, s)
		open[p.id] = p
	}
	trims, over := hot.PlanDiskShare(logs, int64(m.o.TargetShare*float64(used+info.Free)))
	for _, t := range trims {
		p := open[t.Partition]
		_, err := (*p.log.Load()).Trim(t.TrimTo, t.Reason)
		r := report{at: m.o.Now()}
		if old := p.report.Load(); old != nil {
			r = *old
		}
		r.share = t.Reason
		if err != nil {
			r.err = fmt.Errorf("trim to %d: %w", t.TrimTo, err)
			m.o.Logger.Warn("cannot trim a log", "partition", t.Partition, "error", err)
		}
		p.report.Store(&r)
	}
	if over > 0 {
		m.o.Logger.Debug("local logs are above their share of the disk, and nothing more may go", "over", over)
	}
}
