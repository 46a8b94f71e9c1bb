package upload

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
)

// jobState is what one job of a partition leaves to the next. It is never stored: the ledger and the bucket are
// the truth, this only saves work.
type jobState struct {
	confirmed atomic.Int64      // all below is committed and confirmed
	tags      map[string]string // key to ETag as of the Put, until the commit is confirmed
	futile    bool              // what was uploaded last was not worth compressing
	pending   *attempt          // stored, and offered to the ledger, but the answer is not known
}

// attempt is one uploaded segment and what was read before its upload began.
type attempt struct {
	edit ledger.Append
	tag  string // the object's ETag
}

// confirmedTo is where confirming goes on; the local log has nothing below localStart that could be trimmed.
func (j *jobState) confirmedTo(localStart int64) int64 { return max(j.confirmed.Load(), localStart) }

// unsettled reports whether the outcome of a commit is still open.
func (j *jobState) unsettled() bool { return j.pending != nil }

// DamagedError says that an object which the ledger names is missing or not what was uploaded.
type DamagedError struct {
	Key string
	Why string
}

// Error implements error.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("archived object %s is damaged: %s", e.Key, e.Why)
}

// work does one job for h: the steps in the package's doc comment. more asks for another job at once.
func (m *Manager) work(ctx context.Context, h *Handle) (more bool, err error) {
	began := m.o.Now()
	// The epoch before the ledger, and both before the upload: what the commit will compare must be older than
	// the object (I-08, I-10).
	epoch := h.src.Epoch()
	if epoch < 0 {
		return false, nil
	}
	if err := m.checkHome(ctx); err != nil {
		return false, err
	}
	l, err := m.o.Ledgers.Ledger(ctx, h.p)
	if err != nil {
		return false, fmt.Errorf("read the ledger: %w", err)
	}
	if l, err = m.settle(ctx, h, l, epoch); err != nil {
		return false, err
	}
	lost := m.confirm(ctx, h, l)
	if lost != nil && !beyondRepair(lost) {
		return false, lost
	}
	d := m.plan(h, l)
	switch d.Action {
	case Begin:
		if _, err := m.o.Ledgers.CommitLedger(ctx, h.p, ledger.TrimStart{To: d.From}); err != nil {
			return false, fmt.Errorf("begin the archive at offset %d: %w", d.From, err)
		}
		return true, nil
	case Wait, Stuck:
		return false, lost
	}
	a, err := m.upload(ctx, h, l, d, epoch)
	if err != nil {
		return false, err
	}
	if l, err = m.commit(ctx, h, a); err != nil {
		return false, err
	}
	if err := m.confirm(ctx, h, l); err != nil && !beyondRepair(err) {
		return false, err
	}
	m.metrics.seconds.Observe(m.o.Now().Sub(began).Seconds())
	return true, nil
}

// beyondRepair tells whether confirming met an object that is lost, and cannot be made again from the local log. Nothing
// from there on is confirmed and trimmed, and it is reported; what is new goes up all the same.
func beyondRepair(err error) bool {
	var bad *DamagedError
	return errors.As(err, &bad) || errors.Is(err, archive.ErrMissing) || errors.Is(err, archive.ErrDamaged) // of a fold
}

// checkHome finds out, once, whether the store is the one that the ledgers speak of. In another one, a folder whose disk
// is not mounted say, every object would seem to be missing, and would be replaced: the right one would be left with
// objects that no ledger names, and the collector would delete them.
func (m *Manager) checkHome(ctx context.Context) error {
	if m.home.Load() {
		return nil
	}
	found := false
	err := m.o.Store.List(ctx, m.o.Layout.ClusterPrefix(), "", func(object.Info) error {
		found = true
		return object.ErrStop
	})
	switch {
	case err != nil:
		return fmt.Errorf("look whether the store holds this cluster's archive: %w", err)
	case !found:
		return fmt.Errorf("%w: %s holds nothing of cluster %s, whose metadata names archived segments: is it the right store, "+
			"and is it mounted? If the archive is lost for good, store any object below %s to begin a new one",
			object.ErrUnavailable, m.o.Store.URL(), m.o.Layout.ClusterID, m.o.Layout.ClusterPrefix())
	}
	m.home.Store(true)
	return nil
}

// plan plans with the ledger as it was just read.
func (m *Manager) plan(h *Handle, l *ledger.Ledger) Decision {
	now := m.o.Now().UnixMilli()
	s := h.state(l, now)
	m.mu.Lock()
	s.Drain = m.drain
	m.mu.Unlock()
	return Plan(s, now)
}

// upload builds the segment that d asks for and stores it under a fresh key.
func (m *Manager) upload(ctx context.Context, h *Handle, l *ledger.Ledger, d Decision, epoch int32) (*attempt, error) {
	d.MaxBytes = min(d.MaxBytes, m.o.MaxBytes/int64(m.o.Workers))
	b, err := m.build(ctx, h, d)
	if err != nil {
		return nil, fmt.Errorf("build the segment at offset %d: %w", d.From, err)
	}
	defer b.close()
	b.seg.Epoch = epoch
	tag, err := m.put(ctx, h, b)
	if err != nil {
		return nil, err
	}
	edit := ledger.Append{Epoch: epoch, Base: d.From, Fence: l.Fence, Segment: b.seg}
	return &attempt{edit: edit, tag: tag}, nil
}

// put stores a built segment under a key that was never used (I-07) and fills in the key.
func (m *Manager) put(ctx context.Context, h *Handle, b *built) (tag string, err error) {
	b.seg.Key = m.o.Layout.SegmentKey(h.p.ID, h.p.Index, b.seg.Base, b.seg.Epoch)
	b.seg.CommittedAt = m.o.Now().UnixMilli()
	info, err := m.o.Store.Put(ctx, b.seg.Key, b.body, b.seg.Length, object.PutOptions{CRC32C: b.seg.CRC32C, HasCRC32C: true})
	if err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	return info.ETag, nil
}

// commit offers an attempt to the ledger. When it returns an error that is not a refusal the outcome is open:
// the attempt stays pending, and the next job settles it before anything else (I-09).
func (m *Manager) commit(ctx context.Context, h *Handle, a *attempt) (*ledger.Ledger, error) {
	h.job.pending = a
	l, err := m.o.Ledgers.CommitLedger(ctx, h.p, a.edit)
	switch {
	case err == nil:
		h.job.settled(a)
		m.metrics.uploads.Inc()
		m.metrics.bytes.Add(float64(a.edit.Segment.Length))
		return l, nil
	case refused(err):
		h.job.pending = nil
		m.metrics.refused.Inc()
		return nil, fmt.Errorf("the ledger refused %s, which is an orphan now: %w", a.edit.Segment.Key, err)
	}
	return nil, fmt.Errorf("commit of %s: outcome not known yet: %w", a.edit.Segment.Key, err)
}

// settled notes that the attempt is in the ledger.
func (j *jobState) settled(a *attempt) {
	j.pending = nil
	if a.tag != "" {
		if j.tags == nil {
			j.tags = make(map[string]string)
		}
		j.tags[a.edit.Segment.Key] = a.tag
	}
}

// refused tells whether the ledger will never take the edit.
func refused(err error) bool {
	for _, e := range []error{ledger.ErrConflict, ledger.ErrGap, ledger.ErrArchived, ledger.ErrStaleEpoch,
		ledger.ErrFenced, ledger.ErrInvalid} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// settle finds out, from a ledger that was just read, what became of a commit whose answer was lost: it is there,
// or it may be offered again as it is, or it is an orphan.
func (m *Manager) settle(ctx context.Context, h *Handle, l *ledger.Ledger, epoch int32) (*ledger.Ledger, error) {
	a := h.job.pending
	if a == nil {
		return l, nil
	}
	seg := a.edit.Segment
	if f, ok := l.Find(max(seg.Base, l.Start)); ok && f.Fold == nil && f.Segment.Key == seg.Key {
		h.job.settled(a)
		m.metrics.uploads.Inc()
		m.metrics.bytes.Add(float64(seg.Length))
		return l, nil
	}
	if l.Next != seg.Base || l.Fence != a.edit.Fence || epoch != a.edit.Epoch {
		h.job.pending = nil
		m.metrics.refused.Inc()
		m.o.Logger.Info("uploaded segment was not committed, it is left to the collector",
			"partition", h.p.String(), "key", seg.Key)
		return l, nil
	}
	return m.commit(ctx, h, a)
}

// confirm checks the objects of all committed segments that the local log may still overlap, oldest first, and
// tells the Source how far it got (I-12).
func (m *Manager) confirm(ctx context.Context, h *Handle, l *ledger.Ledger) error {
	from := h.job.confirmedTo(h.src.LocalStart())
	if l.Start > from { // deleted records need no archive
		m.confirmed(h, l.Start)
		from = l.Start
	}
	for _, f := range l.Folds {
		if f.Next <= from {
			continue
		}
		segs, err := archive.Fold(ctx, m.o.Store, f)
		if err != nil {
			return fmt.Errorf("confirm: %w", err)
		}
		for _, s := range segs {
			if err := m.confirmSegment(ctx, h, l, s, from, false); err != nil {
				return err
			}
		}
	}
	for _, s := range l.Recent {
		if err := m.confirmSegment(ctx, h, l, s, from, true); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) confirmed(h *Handle, to int64) {
	if to > h.job.confirmed.Load() {
		h.job.confirmed.Store(to)
		h.src.Archived(to)
	}
}

// confirmSegment confirms one segment, or replaces it from the local log when its object turns out bad.
func (m *Manager) confirmSegment(ctx context.Context, h *Handle, l *ledger.Ledger, s ledger.Segment, from int64, recent bool) error {
	if s.Next <= from {
		return nil
	}
	err := m.checkObject(ctx, s, h.job.tags[s.Key])
	var bad *DamagedError
	if errors.As(err, &bad) {
		m.o.Logger.Error("archived object is damaged", "partition", h.p.String(), "key", s.Key, "base", s.Base,
			"next", s.Next, "why", bad.Why)
		if recent && h.src.LocalStart() <= s.Base {
			err = m.repair(ctx, h, l, s)
		}
	}
	if err != nil {
		return fmt.Errorf("confirm offsets %d to %d: %w", s.Base, s.Next, err)
	}
	delete(h.job.tags, s.Key)
	m.confirmed(h, s.Next)
	return nil
}

// checkObject asks the store for the object: size, and the checksum where the store keeps one. Where it does not, the
// object must have the ETag that it had when the store accepted the upload, with its checksum; and where that is not
// known (after a restart), its index is read, whose own checksums cover what the segment says of itself.
func (m *Manager) checkObject(ctx context.Context, s ledger.Segment, tag string) error {
	info, err := m.o.Store.Head(ctx, s.Key)
	switch {
	case errors.Is(err, object.ErrNotExist):
		return &DamagedError{s.Key, "it is missing"}
	case err != nil:
		return err
	case info.Size < s.Position+s.Length:
		return &DamagedError{s.Key, fmt.Sprintf("it has %d bytes instead of %d", info.Size, s.Position+s.Length)}
	case info.HasCRC32C && s.Position == 0 && info.Size == s.Length:
		if info.CRC32C != s.CRC32C {
			return &DamagedError{s.Key, fmt.Sprintf("its CRC-32C is %08x instead of %08x", info.CRC32C, s.CRC32C)}
		}
		return nil
	case tag != "" && info.ETag != "" && info.ETag != tag:
		return &DamagedError{s.Key, fmt.Sprintf("its tag is %s, it was uploaded as %s", info.ETag, tag)}
	case tag != "" && info.ETag != "":
		return nil
	}
	_, err = archive.Index(ctx, m.o.Store, s)
	if errors.Is(err, archive.ErrDamaged) || errors.Is(err, archive.ErrMissing) {
		return &DamagedError{s.Key, err.Error()}
	}
	return err
}

// repair uploads the range of a damaged segment again, from the local log, which has not trimmed it because it
// was never confirmed, and swaps the two in the ledger.
func (m *Manager) repair(ctx context.Context, h *Handle, l *ledger.Ledger, s ledger.Segment) error {
	b, err := m.build(ctx, h, Decision{From: s.Base, Limit: s.Next, MaxBytes: s.DataBytes + 1})
	if err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	defer b.close()
	if b.seg.Next != s.Next {
		return fmt.Errorf("rebuild of %s ends at offset %d instead of %d", s.Key, b.seg.Next, s.Next)
	}
	b.seg.Epoch = s.Epoch
	tag, err := m.put(ctx, h, b)
	if err != nil {
		return err
	}
	_, err = m.o.Ledgers.CommitLedger(ctx, h.p, ledger.Replace{Fence: l.Fence,
		Inputs: []ledger.Segment{s}, Outputs: []ledger.Segment{b.seg}})
	if err != nil {
		return fmt.Errorf("replace %s: %w", s.Key, err)
	}
	m.o.Logger.Info("archived object was replaced from the local log", "partition", h.p.String(), "old", s.Key, "new", b.seg.Key)
	return m.checkObject(ctx, b.seg, tag)
}
