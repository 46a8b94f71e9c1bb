package partition

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
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

// Housekeep does one round for all partitions: logs that could not be opened, or removed, are tried again; of the others,
// what retention gives up goes, then what is above the share of the disk. What fails for one partition is told (Explain,
// log) and tried again in the next round.
//
// It takes nothing away from readers of a topic with remote storage: where such a partition begins is the ledger's
// start, and retention moves that in one place, the archive's collector, which knows whether the bucket is to be
// trusted (I-35). Here the local log only follows. A record whose retention.ms passes before it is archived
// stays until it is.
func (m *Manager) Housekeep(ctx context.Context) {
	m.reopen()
	m.removeAgain()
	now := m.o.Now()
	var segs []hot.SegmentInfo // memory of the round: nothing goes of most partitions, and then nothing is allocated for them
	for _, p := range m.All() {
		l := p.log.Load()
		if ctx.Err() != nil || l == nil || !(*l).Stored() || p.failure() != 0 {
			continue
		}
		why, err := p.retain(ctx, *l, now.UnixMilli(), &segs)
		if err != nil {
			m.o.Logger.Warn("housekeeping of a partition failed", "partition", p.id, "error", err)
		}
		var r *report
		if why != "" || err != nil {
			r = &report{at: now, local: why, err: err}
		}
		p.report.Store(r)
	}
	if m.o.Space != nil && ctx.Err() == nil {
		m.shareDisk()
	}
}

// reopen tries logs again that could not be opened, so that their uploads and retention go on although no client asks
// for them. It works in the background, because opening may wait for metadata or the archive, one batch at a time.
func (m *Manager) reopen() {
	var broken []*Partition
	for _, p := range m.All() {
		if p.openErr.Load() != nil && p.damaged() == nil && !p.IsOpen() && p.failure() == 0 {
			broken = append(broken, p)
		}
	}
	if len(broken) == 0 || m.ctx.Err() != nil || !m.reopening.CompareAndSwap(false, true) {
		return
	}
	m.running.Add(1)
	go func() {
		defer m.running.Done()
		defer m.reopening.Store(false)
		m.openEach(broken)
	}()
}

// openEach opens a few partitions at once and returns when all are through, or when the manager closes. What fails is logged where it does.
func (m *Manager) openEach(all []*Partition) {
	work := make(chan *Partition)
	var workers sync.WaitGroup
	for range m.o.OpenParallel {
		workers.Go(func() {
			for p := range work {
				_, _ = p.opened() // logged there, panics as well, and tried again by reopen and on first use
			}
		})
	}
	for _, p := range all {
		if m.ctx.Err() != nil {
			break
		}
		work <- p
	}
	close(work)
	workers.Wait()
}

// retain frees local disk of what lies below the log start, and of what retention gives up, and says why. Only a topic
// without remote storage begins later for it. segs is memory for the list of segments.
func (p *Partition) retain(ctx context.Context, log Log, now int64, segs *[]hot.SegmentInfo) (why string, err error) {
	in, l := p.retentionInput(log, now, (*segs)[:0])
	*segs = in.Segments
	if start := min(in.LogStart, log.End()); l != nil && l.Version > 0 && start > log.LogStart() {
		if err := log.AdvanceStart(start); err != nil { // as the ledger has it
			return "", fmt.Errorf("move the local log start to %d: %w", start, err)
		}
	}
	plan := hot.PlanRetention(in)
	if plan.TrimTo == 0 {
		return "", nil
	}
	if plan.Roll {
		if err := log.Roll(); err != nil {
			return plan.Reason, fmt.Errorf("roll the active segment: %w", err)
		}
	}
	if plan.LogStart > in.LogStart && p.news.Load().leader {
		if _, err := p.moveStart(ctx, log, plan.LogStart, plan.Reason); err != nil {
			return plan.Reason, fmt.Errorf("move the log start to %d: %w", plan.LogStart, err)
		}
	}
	if _, err := log.Trim(plan.TrimTo, plan.Reason); err != nil {
		return plan.Reason, fmt.Errorf("trim to %d: %w", plan.TrimTo, err)
	}
	return plan.Reason, nil
}

// retentionInput is what the retention of the local log rests on at this moment. The segments are appended to segs.
func (p *Partition) retentionInput(log Log, now int64, segs []hot.SegmentInfo) (hot.RetentionInput, *ledger.Ledger) {
	o, l := p.offsetsOf(log)
	return hot.RetentionInput{Segments: log.AppendSegments(segs), Config: &p.news.Load().settings.Log, LogStart: o.logStart,
		Archived: p.archived.Load(), Stable: o.stable, Now: now}, l
}

// HotDue tells where retention wants the log start of a partition that this broker leads and that has remote storage,
// but of which nothing is archived and nothing will be (remote.log.copy.disable): what is left is local only and
// goes by retention.ms and retention.bytes. 0: where it is.
func (p *Partition) HotDue() (to int64, why string) {
	n, log := p.news.Load(), p.log.Load()
	if log == nil || !n.leader || !n.settings.Remote || n.settings.Upload.Enabled || p.failure() != 0 {
		return 0, ""
	}
	in, l := p.retentionInput(*log, p.m.o.Now().UnixMilli(), nil)
	if l == nil || l.Next > l.Start {
		return 0, ""
	}
	cfg := *in.Config
	cfg.RemoteStorage = false
	in.Config = &cfg
	plan := hot.PlanRetention(in)
	if plan.LogStart <= in.LogStart {
		return 0, ""
	}
	return plan.LogStart, plan.Reason
}
