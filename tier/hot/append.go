package hot

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// AppendOptions say how batches are appended.
type AppendOptions struct {
	Epoch int32 // leader epoch in whose name the append is made; stamped into the batches
	Now   int64 // ms: the broker's clock
	// Check holds a client to the topic's rules: batch size, timestamps, producer sequences, record validation,
	// and LogAppendTime is stamped. Without it, what the broker itself writes is taken as it is.
	Check bool
}

// Appended says where batches are.
type Appended struct {
	BaseOffset    int64 // of the first batch; of a duplicate, that of the batch which it repeats
	NextOffset    int64 // after the last batch: it may be acknowledged once Stable is at least this
	LogAppendTime int64 // ms; -1 unless the topic has LogAppendTime
	LogStart      int64
	Duplicate     bool // it was stored before and nothing was written
}

// op is one append on its way: offsets are assigned, bytes are not written yet. Guarded by the log's mu, but for the
// writer, which reads it while it is in nobody's queue.
type op struct {
	bytes    []byte // empty for a duplicate, which only waits
	headers  []record.Header
	now      int64
	base     int64
	next     int64
	roll     bool   // begins a new segment
	snapshot []byte // with roll: the producer snapshot at base
	undo     []producer.Entry
	done     bool
	err      error
}

var ops = sync.Pool{New: func() any { return new(op) }}

func (p *op) free() {
	*p = op{undo: p.undo[:0]}
	ops.Put(p)
}

// plan is what the active segment looks like once all that is queued is written.
type plan struct {
	base      int64
	size      int64
	firstTime int64 // as segment.firstTime
	created   int64
	since     int64 // bytes since the last index entry
	entries   int64 // of the offset index
}

// Append writes whole batches, one after another in batches and described by headers (from record.Check, made by the
// caller outside of any lock), to the end of the log. Offsets and leader epoch are stamped into batches and headers in
// place. It returns once the bytes are in the segment's file and can be read; they may be acknowledged once
// Stable has reached NextOffset, also when they were a duplicate.
//
// Appends that come in while one is written are written together by the first of them. If a write fails, all
// that was in it and all that was queued behind fails, nothing of it is visible, and offsets and producer state are as
// before (I-02).
//
// Errors: ErrRecordTooLarge, ErrBatchListTooLarge, ErrTimestamp, ErrInvalidBatch, the producer errors, ErrFenced,
// ErrFull (may be repeated), ErrOffline, ErrClosed.
func (l *Log) Append(batches []byte, headers []record.Header, o AppendOptions) (Appended, error) {
	cfg := l.config()
	if err := l.dir.admit(cfg, batches, headers, &o); err != nil {
		return Appended{}, err
	}
	p := ops.Get().(*op)
	defer p.free()
	p.bytes, p.headers, p.now = batches, headers, o.Now

	l.mu.Lock()
	dup, err := l.enqueue(cfg, p, &o)
	if err != nil {
		l.mu.Unlock()
		return Appended{}, err
	}
	wrote := l.await(p)
	err = p.err
	a := Appended{BaseOffset: p.base, NextOffset: p.next, LogAppendTime: -1, LogStart: l.logStart.Load()}
	l.mu.Unlock()
	if wrote {
		l.notify()
	}
	if err != nil {
		return Appended{}, err
	}
	if cfg.LogAppendTime && o.Check {
		a.LogAppendTime = o.Now
	}
	if dup.Duplicate {
		a.Duplicate = true
		if cfg.LogAppendTime {
			a.LogAppendTime = dup.Timestamp
		}
	}
	return a, nil
}

// await waits under mu until p is done, as the writer if there is none. It reports whether it wrote.
func (l *Log) await(p *op) (wrote bool) {
	for !p.done {
		if l.writing {
			l.cond.Wait()
			continue
		}
		l.writing = true
		l.writeQueue()
		l.writing = false
		l.cond.Broadcast()
		wrote = true
	}
	return wrote
}

// enqueue decides under mu whether p may be appended, assigns its offsets and puts it into the queue. A duplicate
// whose original is written already is done.
func (l *Log) enqueue(cfg *Config, p *op, o *AppendOptions) (producer.Verdict, error) {
	if err := l.ready(o.Epoch); err != nil {
		return producer.Verdict{}, err
	}
	if o.Check {
		v, err := l.producers.Decide(p.headers[0])
		if err != nil {
			return v, err
		}
		if v.Duplicate {
			return v, l.enqueueDuplicate(p, v)
		}
	}
	before := l.plan
	l.planRoll(cfg, p)
	p.base = l.next
	if err := l.assign(cfg, p, o); err != nil {
		p.takeBack(&l.producers)
		l.next, l.plan = p.base, before
		return producer.Verdict{}, err
	}
	p.next = l.next
	l.queue = append(l.queue, p)
	return producer.Verdict{}, nil
}

// ready waits until appends of that epoch are possible, or says why they are not. It may give up mu meanwhile.
func (l *Log) ready(epoch int32) error {
	for {
		for l.frozen {
			l.cond.Wait()
		}
		if err := l.usable(); err != nil {
			return err
		}
		latest := l.latestEpoch()
		if epoch < latest {
			return fmt.Errorf("%s: epoch %d, the log is at %d: %w", l.name, epoch, latest, ErrFenced)
		}
		if epoch == latest && l.loaded && l.Stored() {
			return nil
		}
		l.mu.Unlock()
		err := l.prepare(epoch, latest)
		l.mu.Lock()
		if err != nil {
			return err
		}
	}
}

func (l *Log) prepare(epoch, latest int32) error {
	if err := l.LearnProducers(); err != nil {
		return err
	}
	if epoch > latest {
		if err := l.AssignEpoch(epoch, -1); err != nil {
			return err
		}
	}
	if !l.Stored() {
		return l.Make()
	}
	return nil
}

// enqueueDuplicate lets p wait for what is being written: its original may be among that, and may fail.
func (l *Log) enqueueDuplicate(p *op, v producer.Verdict) error {
	if len(p.headers) > 1 {
		return fmt.Errorf("%s: %d batches of which the first is stored at offset %d: %w",
			l.name, len(p.headers), v.FirstOffset, ErrDuplicateSequence)
	}
	p.bytes, p.headers = nil, nil
	p.base, p.next = v.FirstOffset, v.LastOffset+1
	if p.next <= l.end.Load() {
		p.done = true
		return nil
	}
	l.queue = append(l.queue, p)
	return nil
}

// planRoll decides whether p begins a new segment.
func (l *Log) planRoll(cfg *Config, p *op) {
	pl := &l.plan
	if pl.size == 0 {
		return
	}
	newest := int64(record.NoTimestamp)
	var count int64
	for i := range p.headers {
		newest = max(newest, p.headers[i].MaxTimestamp)
		count += int64(p.headers[i].LastOffsetDelta) + 1
	}
	age := p.now - pl.created
	if pl.firstTime >= 0 && newest >= 0 {
		age = newest - pl.firstTime
	}
	full := pl.size+int64(len(p.bytes)) > int64(cfg.SegmentBytes)
	// The relative offsets of an index are 32 bits wide.
	far := l.next+count-1-pl.base > math.MaxInt32
	old := cfg.SegmentMs > 0 && age > cfg.SegmentMs-l.jitter(cfg, pl.base)
	indexed := (pl.entries+2)*timeIndexEntry > int64(cfg.SegmentIndexBytes)
	if !full && !far && !old && !indexed {
		return
	}
	p.roll = true
	if l.producers.Len() > 0 {
		p.snapshot = producer.AppendSnapshot(nil, l.producers.Entries())
	}
	*pl = plan{base: l.next, firstTime: record.NoTimestamp, created: p.now}
}

// jitter takes a fixed share of SegmentJitterMs for each segment.
func (l *Log) jitter(cfg *Config, base int64) int64 {
	if cfg.SegmentJitterMs <= 0 {
		return 0
	}
	h := uint64(14695981039346656037)
	for i := range len(l.name) {
		h = (h ^ uint64(l.name[i])) * 1099511628211
	}
	h = (h ^ uint64(base)) * 1099511628211
	return int64(h % uint64(min(cfg.SegmentJitterMs, cfg.SegmentMs)+1))
}

// assign gives each batch its offset and epoch, and applies it to producer state and plan.
func (l *Log) assign(cfg *Config, p *op, o *AppendOptions) error {
	pl, b := &l.plan, p.bytes
	for i := range p.headers {
		h := &p.headers[i]
		if i > 0 && o.Check {
			v, err := l.producers.Decide(*h)
			if err == nil && v.Duplicate {
				err = fmt.Errorf("%s: batch %d of %d is stored at offset %d: %w",
					l.name, i, len(p.headers), v.FirstOffset, ErrDuplicateSequence)
			}
			if err != nil {
				return err
			}
		}
		record.Stamp(b, l.next, o.Epoch)
		h.BaseOffset, h.LeaderEpoch = l.next, o.Epoch
		if h.HasProducer() {
			l.past.note(&l.producers, h)
			e, _ := l.producers.Get(h.ProducerID)
			p.undo = append(p.undo, e)
		}
		l.producers.Apply(*h, l.next, o.Now)
		if pl.size == 0 {
			pl.firstTime = h.MaxTimestamp
		}
		if pl.since > int64(cfg.IndexIntervalBytes) {
			pl.entries, pl.since = pl.entries+1, 0
		}
		pl.since += int64(h.Size())
		pl.size += int64(h.Size())
		l.next = h.NextOffset()
		b = b[h.Size():]
	}
	return nil
}

// takeBack undoes what assign did to the producer state.
func (p *op) takeBack(st *producer.State) {
	for i := len(p.undo) - 1; i >= 0; i-- {
		st.Put(p.undo[i])
	}
}

// writeQueue writes all that is queued; the caller is the writer and holds mu, which is given up meanwhile.
func (l *Log) writeQueue() {
	todo := l.queue
	l.queue, l.spare, l.written = l.spare, nil, todo
	l.mu.Unlock()
	n, err := l.write(todo)
	l.mu.Lock()
	for _, p := range todo[:n] {
		p.done = true
	}
	if err != nil {
		l.rollback(todo[n:], err)
	}
	l.written = nil
	clear(todo)
	if cap(todo) <= 256 {
		l.spare = todo[:0]
	}
}

// rollback fails, under mu, the appends that were not written and all that came to rest on them (I-02).
func (l *Log) rollback(failed []*op, err error) {
	for i := len(l.queue) - 1; i >= 0; i-- {
		l.queue[i].takeBack(&l.producers)
	}
	for i := len(failed) - 1; i >= 0; i-- {
		failed[i].takeBack(&l.producers)
	}
	for _, group := range [][]*op{failed, l.queue} {
		for _, p := range group {
			p.done, p.err = true, err
		}
	}
	clear(l.queue)
	l.queue = l.queue[:0]
	l.next = l.end.Load()
	l.resetPlan()
}

// resetPlan makes the plan that of the active segment as it is. The caller holds mu and is the writer, or nobody is.
func (l *Log) resetPlan() {
	s := l.active()
	l.plan = plan{base: s.base, size: s.now().size, firstTime: s.firstTime, created: s.created,
		since: s.sinceIndex, entries: int64(s.idx.len())}
}

// write writes appends in order and returns how many, and why not the next. The caller is the writer.
func (l *Log) write(todo []*op) (int, error) {
	if err := l.dir.Offline(); err != nil {
		return 0, err
	}
	for i := 0; i < len(todo); {
		if p := todo[i]; p.roll {
			if err := l.roll(p.base, p.snapshot, p.now); err != nil {
				return i, l.writeFailed(err)
			}
		}
		j := i + 1
		for j < len(todo) && !todo[j].roll {
			j++
		}
		if err := l.writeRun(todo[i:j]); err != nil {
			return i, l.writeFailed(err)
		}
		i = j
	}
	return len(todo), nil
}

// writeRun writes appends to the active segment with one system call, and makes them visible.
func (l *Log) writeRun(run []*op) error {
	s := l.active()
	t := s.now()
	v := vectors.Get().(*vector)
	defer v.free()
	var bytes int64
	for _, p := range run {
		if len(p.bytes) > 0 {
			v.bufs = append(v.bufs, p.bytes)
			bytes += int64(len(p.bytes))
		}
	}
	if bytes == 0 {
		return nil // duplicates only
	}
	s.file.writing.Store(true)
	defer s.file.writing.Store(false)
	h, err := s.file.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	s.file.dirty.Store(true)
	s.reserve(l.config(), h, t.size, bytes)
	if n, err := writeAll(h, v.bufs, t.size); err != nil || n != bytes {
		if err == nil {
			err = fmt.Errorf("%s: wrote %d of %d bytes", h.Name(), n, bytes)
		}
		s.reserved = 0
		if terr := s.cutTorn(h, t.size); terr != nil {
			l.dir.fail(fmt.Errorf("taking back a failed write: %w", terr))
		}
		return err
	}
	interval, full := int64(l.config().IndexIntervalBytes), false
	for _, p := range run {
		for i := range p.headers {
			full = s.note(&t, &p.headers[i], interval) || full
			t.modified = p.now
		}
	}
	if full {
		if err := s.flushIndexes(); err != nil {
			l.dir.logger.Warn("writing an index failed, it stays in memory", "partition", l.name, "error", err)
		}
	}
	l.publish(s, t)
	l.dir.metrics.appended(bytes, len(v.bufs))
	l.scheduleFlush(t.modified)
	return nil
}

// cutTorn takes back what a failed write left behind a position, and has the next flush make that durable, whatever was
// flushed before, also if nothing is left: bytes between two segments would look like lost ones, and whole batches, behind
// what the journal takes next, like the log's. Until it is, the segment is not for the journal, which has no cuts.
func (s *segment) cutTorn(h *handle, size int64) error {
	if err := h.Truncate(size); err != nil {
		return err
	}
	l := s.log
	l.syncMu.Lock() // the flush that is under way may have come too early
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	s.synced = -1 // less than a file of no bytes has, either
	s.file.dirty.Store(true)
	return nil
}

// writeAll writes the buffers at a position of the file. One alone, the most common case, needs no list.
func writeAll(f disk.File, bufs [][]byte, at int64) (int64, error) {
	if len(bufs) == 1 {
		n, err := f.WriteAt(bufs[0], at)
		return int64(n), err
	}
	return f.WritevAt(bufs, at)
}

// publish lets readers see the active segment up to t.
func (l *Log) publish(s *segment, t segmentTail) {
	pt := point{base: s.base, tail: t, index: s.idx.len(), timeIndex: s.tidx.len(),
		sinceIndex: s.sinceIndex, firstTime: s.firstTime, timeAdded: s.timeAdded}
	l.mu.Lock()
	l.point = pt
	s.set(t)
	s.file.dirty.Store(true) // a flush of what was there before may have ended while this was written (I-31)
	l.end.Store(t.next)
	l.mu.Unlock()
	l.raiseStable()
}

// scheduleFlush sees to it that what was just published is flushed when the config wants that. The config is that of now:
// SetConfig stores one and then looks at End, so that one of the two marks the log.
func (l *Log) scheduleFlush(now int64) {
	cfg := l.config()
	if cfg.flushMode() || l.end.Load()-l.flushed.Load() >= cfg.FlushMessages {
		l.mark()
		return
	}
	l.mu.Lock()
	first := l.dirtyFrom == 0
	if first {
		l.dirtyFrom = max(1, now)
	}
	l.mu.Unlock()
	if first {
		l.dir.dirty.add(l)
	}
}

// writeFailed makes of a failed write what the caller is told. Only a full disk is a passing matter; after any other
// failure it is not known what the disk holds (I-31).
func (l *Log) writeFailed(err error) error {
	return fmt.Errorf("%s: %w", l.name, l.dir.writeFailed(err))
}

func (d *Dir) writeFailed(err error) error {
	switch {
	case errors.Is(err, ErrOffline) || errors.Is(err, ErrClosed):
		return err
	case disk.Full(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	d.fail(err)
	return fmt.Errorf("%w: %w", ErrOffline, err)
}

// vector is a pooled list of buffers.
type vector struct{ bufs [][]byte }

var vectors = sync.Pool{New: func() any { return new(vector) }}

func (v *vector) free() {
	clear(v.bufs)
	v.bufs = v.bufs[:0]
	vectors.Put(v)
}
