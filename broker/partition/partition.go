package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

// Partition is one replica on this broker. All methods may be called concurrently.
type Partition struct {
	m  *Manager
	id topic.Partition

	news    atomic.Pointer[news]  // what the image says; never nil
	log     atomic.Pointer[Log]   // set once, when the log is open
	openMu  sync.Mutex            // one opener at a time; I/O happens under it, but only of this partition's opening
	failed  time.Time             // when opening failed last, guarded by openMu
	openErr atomic.Pointer[error] // why opening failed last; nil: it did not
	hw      atomic.Int64          // core.hw for readers without the lock

	epochSet atomic.Int32                  // the newest leader epoch that the log's lineage knows from us
	archived atomic.Int64                  // confirmed in the archive: below it the local log may be trimmed (I-12)
	uploads  atomic.Pointer[upload.Handle] // nil while the topic has no archive; changed under regMu
	regMu    sync.Mutex                    // one registration with the uploader at a time
	report   atomic.Pointer[report]        // of the last round of housekeeping, for Explain

	mu      sync.Mutex
	core    core      // guarded by mu; no I/O happens under mu
	ready   []*waiter // covered by the watermark and not told yet; guarded by mu
	told    []*waiter // memory to exchange with ready, of whoever tells
	telling bool      // the teller has it, queued or in tell; guarded by mu

	nextTold *Partition // in the teller's queue; guarded by its mu
}

// news is what the image says of a partition.
type news struct {
	state    metadata.Partition
	settings *Settings
	leader   bool // this broker leads
}

// ID names the partition.
func (p *Partition) ID() topic.Partition { return p.id }

// Leader gives the current leader's broker id (-1 for none) and its epoch, as far as this broker knows.
func (p *Partition) Leader() (id, epoch int32) {
	n := p.news.Load()
	return n.state.Leader, n.state.LeaderEpoch
}

// Settings gives what the topic's configs mean.
func (p *Partition) Settings() *Settings { return p.news.Load().settings }

// HighWatermark is the offset below which records are committed; 0 until the log is open.
func (p *Partition) HighWatermark() int64 { return p.hw.Load() }

// serve gives the log of a partition that this broker leads at the epoch that the client believes in (-1 for
// none), opening it on first use. Errors are Kafka's.
func (p *Partition) serve(clientEpoch int32) (Log, error) {
	n := p.news.Load()
	switch checkEpoch(clientEpoch, n.state.LeaderEpoch) {
	case epochFenced:
		return nil, kerr.FencedLeaderEpoch
	case epochUnknown:
		return nil, kerr.UnknownLeaderEpoch
	}
	if !n.leader {
		return nil, kerr.NotLeaderForPartition
	}
	return p.opened()
}

// IsOpen reports whether the next operation will find the log open and so not wait for its recovery.
func (p *Partition) IsOpen() bool { return p.log.Load() != nil }

// Stored reports, without I/O, whether anything of the partition is on disk. One of which nothing is was never written to.
func (p *Partition) Stored() bool {
	if l := p.log.Load(); l != nil {
		return (*l).Stored()
	}
	return p.m.o.Disk.Stored(p.id)
}

// opened gives the log, opening it if need be.
func (p *Partition) opened() (Log, error) {
	if l := p.log.Load(); l != nil {
		if code := p.failure(); code != 0 {
			return nil, kerr.TypedErrorForCode(code)
		}
		return *l, nil
	}
	p.openMu.Lock()
	defer p.openMu.Unlock()
	if l := p.log.Load(); l != nil {
		return *l, nil
	}
	if code := p.failure(); code != 0 {
		return nil, kerr.TypedErrorForCode(code)
	}
	if p.damaged() != nil || !p.failed.IsZero() && p.m.o.Now().Sub(p.failed) < openPause {
		return nil, kerr.KafkaStorageError // clients ask again; they need not all wait for the same failure
	}
	log, err := p.tryOpen()
	if err != nil {
		p.failed = p.m.o.Now()
		p.openErr.Store(&err)
		return nil, kerr.KafkaStorageError
	}
	p.openErr.Store(nil)
	return log, nil
}

// damaged is why the log stays closed until somebody has decided what to do about it and started the broker again; nil
// if it does not.
func (p *Partition) damaged() error {
	if err := p.openErr.Load(); err != nil && errors.Is(*err, hot.ErrDamaged) {
		return *err
	}
	return nil
}

// openPause is how long a partition whose log could not be opened is left alone.
const openPause = time.Second

func (p *Partition) failure() int16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.core.failed
}

// tryOpen is open that logs what fails, and what panics, too, which is an error like any other: it costs this partition and no
// more, whoever opens it (I-32). A start opens all that is on disk; one log that nobody has thought of must not end each start.
func (p *Partition) tryOpen() (log Log, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.m.panicked("opening the log of a partition panicked", r, "partition", p.id)
			log, err = nil, fmt.Errorf("opening it panicked: %v", r)
		}
	}()
	if log, err = p.open(); err != nil {
		p.m.o.Logger.Error("cannot open the log of a partition", "partition", p.id, "error", err)
	}
	return log, err
}

// open makes or recovers the log and brings it in line with its archive. Caller holds p.openMu.
func (p *Partition) open() (Log, error) {
	p.m.waitRemoved(p.id)
	n := p.news.Load()
	log, err := p.m.o.Disk.Open(p.id, &n.settings.Log)
	if err != nil {
		return nil, err
	}
	if n.settings.Remote {
		if err := p.reconcile(log); err != nil {
			return nil, err
		}
	}
	if n.leader {
		if err := p.assignEpoch(log, n.state.LeaderEpoch); err != nil {
			return nil, err
		}
	}
	log.OnAdvance(p.advanced)
	p.log.Store(&log)
	if now := p.news.Load(); now != n { // configs changed while the log was opened
		log.SetConfig(&now.settings.Log)
	}
	p.advanced()
	p.register()
	return log, nil
}

// reconcile compares the log with its archive (I-36). The ledger that has reached us will do: an append to it compares
// the leader epoch, so all that leaders before this one archived was in before this epoch began, and news of ledgers and
// partitions comes in the order in which they changed. A request each would be ten thousand at a start.
func (p *Partition) reconcile(log Log) error {
	ctx, cancel := context.WithTimeout(p.m.ctx, p.m.o.OpenTimeout)
	defer cancel()
	l := p.m.o.Metadata.CachedLedger(p.id)
	if l.Version == 0 {
		if log.LogStart() == 0 {
			return nil
		}
		// The topic was local before: the archive begins where the log does.
		var err error
		if l, err = p.m.o.Metadata.CommitLedger(ctx, p.id, ledger.TrimStart{To: log.LogStart()}); err != nil {
			return fmt.Errorf("begin the ledger of %s at %d: %w", p.id, log.LogStart(), err)
		}
	}
	lineage := func() ([]Epoch, error) { return p.archivedEpochs(ctx, l) }
	why, err := disagreement(logFacts{End: log.End(), LocalStart: log.LocalStart(), Epochs: log.Epochs}, l, lineage)
	if err != nil {
		return fmt.Errorf("compare the log of %s with its archive: %w", p.id, err)
	}
	if why == "" {
		return nil
	}
	p.m.o.Logger.Warn("local log set aside in favour of the archive", "partition", p.id, "reason", why, "next", l.Next)
	if err := p.adopt(ctx, l, log); err != nil {
		return fmt.Errorf("adopt the archive of %s: %w", p.id, err)
	}
	if log.End() < l.Next {
		return fmt.Errorf("%s: log ends at %d after adopting an archive that ends at %d", p.id, log.End(), l.Next)
	}
	return nil
}

// assignEpoch notes in the log's lineage where a leader epoch begins, once an epoch.
func (p *Partition) assignEpoch(log Log, epoch int32) error {
	if p.epochSet.Load() >= epoch {
		return nil
	}
	// At the end, which is for the log to tell: a batch of the epoch before may be on its way.
	if err := log.AssignEpoch(epoch, -1); err != nil {
		return fmt.Errorf("begin leader epoch %d of %s: %w", epoch, p.id, err)
	}
	p.epochSet.Store(epoch)
	return nil
}

// register tells the uploader of a partition that has an archive, and something to put there.
func (p *Partition) register() {
	up := p.m.o.Uploads
	if log := p.log.Load(); up == nil || log == nil || !(*log).Stored() {
		return
	}
	p.regMu.Lock()
	defer p.regMu.Unlock()
	remote := p.news.Load().settings.Remote && p.failure() == 0
	switch h := p.uploads.Load(); {
	case remote && h == nil:
		p.uploads.Store(up.Add(source{p}))
	case !remote && h != nil:
		p.uploads.Store(nil)
		up.Remove(p.id)
	case h != nil:
		h.Notify()
	}
}

// apply takes news from the image. It is called by one goroutine at a time and does no I/O.
func (p *Partition) apply(n *news) {
	old := p.news.Swap(n)
	p.mu.Lock()
	var lost []*waiter
	if n.leader {
		p.core.become(n.state.LeaderEpoch)
	} else {
		lost = p.core.resign(n.state.LeaderEpoch)
	}
	p.mu.Unlock()
	release(lost, kerr.NotLeaderForPartition.Code)
	if l := p.log.Load(); l != nil && (old == nil || old.settings != n.settings) {
		(*l).SetConfig(&n.settings.Log)
		p.advanced() // flush mode may have ended
	}
	p.register()
}

// advanced is called by the log, without locks, when its end or flushed offset moved.
func (p *Partition) advanced() {
	l := p.log.Load()
	if l == nil {
		return
	}
	stable := (*l).Stable()
	if stable > p.hw.Load() {
		p.mu.Lock()
		p.ready = p.core.advance(stable, p.ready)
		p.hw.Store(p.core.hw)
		start := len(p.ready) > 0 && !p.telling
		p.telling = p.telling || start
		p.mu.Unlock()
		if start {
			p.m.teller.add(p)
		}
	}
	if h := p.uploads.Load(); h != nil {
		h.Notify()
	}
}

// fail ends the replica's life: everything that waits gets the code, and so does whoever comes later.
func (p *Partition) fail(code int16) {
	p.mu.Lock()
	lost := p.core.fail(code)
	p.mu.Unlock()
	release(lost, code)
	p.regMu.Lock()
	defer p.regMu.Unlock()
	if h := p.uploads.Swap(nil); h != nil {
		p.m.o.Uploads.Remove(p.id)
	}
}

// tell wakes those whom the watermark covers. It reports whether there are more by then: it is to be called again, and no
// other call is made until then.
func (p *Partition) tell() (more bool) {
	p.mu.Lock()
	now := p.ready
	p.ready, p.told = p.told[:0], nil
	p.mu.Unlock()
	release(now, 0)
	clear(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(now) <= keepReady {
		p.told = now
	}
	p.telling = len(p.ready) > 0
	return p.telling
}

// keepReady is how many places for waiters a partition keeps in memory when nobody waits.
const keepReady = 1 << 10

func release(ws []*waiter, code int16) {
	for _, w := range ws {
		w.w.Wake(code)
	}
}

// Ticket is a place in the queue of those who wait for a high watermark. The zero Ticket is none. It may be used again
// once its Waker was called or Cancel returned true.
type Ticket struct {
	p *Partition
	w waiter
}

// Await calls fn(0) once the high watermark has reached offset, or fn with an error code once it cannot any more:
// at once on this goroutine if that is so already, else later on another. fn is called exactly once unless Cancel
// returns true before.
func (p *Partition) Await(offset int64, fn func(code int16)) *Ticket {
	t := new(Ticket)
	p.AwaitWith(t, offset, WakerFunc(fn))
	return t
}

// AwaitWith is Await with a ticket and a waker that the caller has at hand. t must stay where it is until the wait is
// over.
func (p *Partition) AwaitWith(t *Ticket, offset int64, w Waker) {
	t.p, t.w = p, waiter{need: offset, w: w, at: -1}
	p.mu.Lock()
	var code int16
	var parked bool
	switch {
	case offset <= p.core.hw:
	case p.core.failed != 0:
		code = p.core.failed
	case !p.core.leader:
		code = kerr.NotLeaderForPartition.Code
	default:
		parked = p.core.park(&t.w)
	}
	p.mu.Unlock()
	if !parked {
		w.Wake(code)
	}
}

// Cancel gives the place up. It reports whether fn will never be called; false when it was or is being called.
func (t *Ticket) Cancel() bool {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	return t.p.core.unpark(&t.w)
}

// Appended says where a batch went.
type Appended struct {
	Base          int64 // of the batch, or of the earlier one that it repeats
	Next          int64 // acknowledge once the high watermark has reached this
	LogAppendTime int64 // ms, -1 unless the topic uses LogAppendTime
	LogStart      int64
}

// Append writes a producer's batch, checked by record.Check, and returns when it is in the page cache. Nobody
// may be told of it before Await(Next), unless the producer asked for no more (acks=1 in page-cache mode, or
// acks=0). Errors are Kafka's where the client is to blame, else wrap one. batch is stamped in place, or a copy of it that is
// compressed as the topic wants it.
func (p *Partition) Append(batch []byte, h record.Header, acksAll bool) (Appended, error) {
	log, err := p.serve(-1)
	if err != nil {
		return Appended{}, err
	}
	n := p.news.Load()
	if acksAll && len(n.state.ISR) < min(n.settings.MinISR, len(n.state.Replicas)) {
		return Appended{}, kerr.NotEnoughReplicas
	}
	if c := n.settings.Compression; c != nil && c.Codec != h.Codec() && !h.IsControl() {
		if batch, h, err = p.m.recompress(n.settings, batch, h); err != nil {
			return Appended{}, err
		}
	}
	take := p.m.space.take
	internal := metadata.IsInternal(p.id.Topic)
	if internal {
		take = p.m.space.takeInternal
	}
	if !take(len(batch)) {
		return Appended{}, fmt.Errorf("%w: free space is below firn.local.disk.reserve", hot.ErrFull)
	}
	if err := p.assignEpoch(log, n.state.LeaderEpoch); err != nil {
		return Appended{}, err
	}
	now := p.m.o.Now().UnixMilli()
	if !internal {
		p.m.produced.note(now)
	}
	headers := headerPool.Get().(*[1]record.Header)
	defer headerPool.Put(headers)
	headers[0] = h
	a, err := log.Append(batch, headers[:], hot.AppendOptions{Epoch: n.state.LeaderEpoch, Now: now, Check: true})
	if err != nil {
		if errors.Is(err, hot.ErrClosed) {
			if code := p.failure(); code != 0 {
				return Appended{}, kerr.TypedErrorForCode(code)
			}
		}
		return Appended{}, err
	}
	if n.settings.Remote && p.uploads.Load() == nil {
		p.register() // the first record of all
	}
	return Appended{Base: a.BaseOffset, Next: a.NextOffset, LogAppendTime: a.LogAppendTime, LogStart: p.logStart(log)}, nil
}

// headerPool holds the headers of batches on their way into a log, which would escape to the heap.
var headerPool = sync.Pool{New: func() any { return new([1]record.Header) }}

// FlushMode reports whether an append counts as written only once it is flushed (flush.messages=1).
func (p *Partition) FlushMode() bool { return p.news.Load().settings.Log.FlushMessages == 1 }
