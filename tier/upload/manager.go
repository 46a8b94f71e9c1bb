package upload

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/topic"
)

// Options of New. Store, Ledgers, Layout and SpoolDir are needed; zero values elsewhere mean the defaults.
type Options struct {
	Store   object.Store
	Ledgers Ledgers
	Layout  layout.Layout
	FS      disk.FS // of the spool; nil: disk.OS()
	// SpoolDir is a folder for segments under construction, next to the data. Its content is deleted by New.
	SpoolDir string

	// Used says that the metadata names archived segments. A store that holds nothing of this cluster is then not its
	// archive, or was emptied, and gets nothing.
	Used bool

	Workers    int           // jobs at once; 0: 2
	MaxBytes   int64         // of segments under construction, all jobs together; 0: 512 MiB
	ChunkBytes int           // target size of a chunk; 0: 1 MiB
	Settle     time.Duration // a busy partition is looked at once in so long; 0: 500 ms
	Timeout    time.Duration // for the store to answer, uploads are given more by their size; 0: 1 min
	BackoffMin time.Duration // first pause after a failure; 0: 500 ms
	BackoffMax time.Duration // longest pause after failures; 0: 1 min

	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	Rand       func() float64        // jitter, in [0, 1); nil: math/rand
}

func (o Options) withDefaults() Options {
	def := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.Settle, 500*time.Millisecond)
	def(&o.Timeout, time.Minute)
	def(&o.BackoffMin, 500*time.Millisecond)
	def(&o.BackoffMax, time.Minute)
	if o.Workers <= 0 {
		o.Workers = 2
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 512 << 20
	}
	if o.ChunkBytes <= 0 {
		o.ChunkBytes = 1 << 20
	}
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return o
}

// Manager uploads the partitions given to it. All methods may be called concurrently.
type Manager struct {
	o       Options
	metrics *metrics
	wake    chan struct{} // capacity 1: the scheduler looks again
	stop    context.CancelFunc
	ctx     context.Context // of all jobs
	done    chan struct{}   // closed when the scheduler has ended
	home    atomic.Bool     // the store is this cluster's archive
	due     []*Handle       // memory of the scheduler, for takeDue

	mu     sync.Mutex
	parts  map[topic.Partition]*Handle // guarded by mu
	timers timerHeap                   // guarded by mu
	ready  []*Handle                   // due for a job, first come first served; guarded by mu
	active int                         // jobs running; guarded by mu
	gate   gate                        // guarded by mu
	drain  bool                        // guarded by mu
	closed bool                        // guarded by mu
}

// Handle is a partition in the Manager's care.
type Handle struct {
	m     *Manager
	src   Source
	p     topic.Partition
	dirty atomic.Bool // Notify was called since the scheduler last looked

	// guarded by m.mu
	due       time.Time // when to look; valid while slot >= 0
	slot      int       // index in m.timers, -1: not there
	queued    bool      // in m.ready
	running   bool
	removed   bool
	looking   bool      // the scheduler is about to plan for it
	stuck     bool      // the last plan said so
	failures  int       // in a row
	notBefore time.Time // back-off
	since     int64     // ms: when pending records were first noticed; 0: none pending
	sinceNext int64     // the ledger's next that since belongs to
	lastErr   string
	lastErrAt time.Time
	cancel    context.CancelFunc // of the running job

	job jobState // owned by the running job
}

// New starts a Manager. It empties the spool folder.
func New(o Options) (*Manager, error) {
	o = o.withDefaults()
	if err := o.Layout.Check(); err != nil {
		return nil, fmt.Errorf("uploader: %w", err)
	}
	if err := disk.EmptyDir(o.FS, o.SpoolDir); err != nil {
		return nil, fmt.Errorf("uploader: spool folder: %w", err)
	}
	o.Store = archive.Timed(o.Store, o.Timeout)
	m := &Manager{
		o: o, wake: make(chan struct{}, 1), done: make(chan struct{}),
		parts: make(map[topic.Partition]*Handle),
		gate:  gate{min: o.BackoffMin, max: o.BackoffMax, rand: o.Rand},
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.home.Store(!o.Used)
	m.metrics = newMetrics(o.Registerer, m)
	go m.schedule()
	return m, nil
}

// Add takes a partition into care, in place of an earlier Source for it. The Source's leader epoch may change
// while it is here; a Source that does not lead costs nothing once it was looked at.
func (m *Manager) Add(src Source) *Handle {
	h := &Handle{m: m, src: src, p: src.Partition(), slot: -1}
	m.mu.Lock()
	if old := m.parts[h.p]; old != nil {
		m.forget(old)
	}
	m.parts[h.p] = h
	m.at(h, m.o.Now())
	m.mu.Unlock()
	m.poke()
	return h
}

// Remove ends the care for a partition: a running job is cancelled, and what it uploaded so far is an orphan. It
// does not wait; the Source may still be called for a moment.
func (m *Manager) Remove(p topic.Partition) {
	m.mu.Lock()
	if h := m.parts[p]; h != nil {
		m.forget(h)
		delete(m.parts, p)
	}
	m.mu.Unlock()
}

// forget takes h out of every list; m.mu is held.
func (m *Manager) forget(h *Handle) {
	h.removed = true
	m.timers.remove(h)
	if h.cancel != nil {
		h.cancel()
	}
}

// Notify says that the partition's stable offset moved, or its configuration, leadership or ledger changed. It
// costs an atomic load while the partition is busy anyway.
func (h *Handle) Notify() {
	if h.dirty.Load() || !h.dirty.CompareAndSwap(false, true) {
		return
	}
	m := h.m
	m.mu.Lock()
	m.at(h, m.o.Now().Add(m.o.Settle))
	m.mu.Unlock()
	m.poke()
}

// Notify is Handle.Notify for callers without the Handle.
func (m *Manager) Notify(p topic.Partition) {
	m.mu.Lock()
	h := m.parts[p]
	m.mu.Unlock()
	if h != nil {
		h.Notify()
	}
}

// Close stops the Manager. With tails set it first uploads what every partition has pending, however little,
// until ctx ends. It returns when all jobs have ended; those that had not finished leave orphans.
func (m *Manager) Close(ctx context.Context, tails bool) error {
	var err error
	if tails {
		err = m.Drain(ctx)
	}
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.poke()
	<-m.done
	m.metrics.close()
	return err
}

// Drain uploads all tails without waiting for their size or age and returns when nothing is pending any more or
// ctx ends. Partitions that are stuck or keep failing are given up after one more attempt and named in the error.
func (m *Manager) Drain(ctx context.Context) error {
	m.mu.Lock()
	m.drain = true
	m.gate.succeeded() // one more attempt, whatever was before
	for _, h := range m.parts {
		h.failures, h.notBefore = 0, time.Time{}
		m.at(h, m.o.Now())
	}
	m.mu.Unlock()
	m.poke()
	defer func() {
		m.mu.Lock()
		m.drain = false
		m.mu.Unlock()
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		busy, failed := m.drained()
		if busy == 0 {
			if failed != "" {
				return fmt.Errorf("uploader: not everything could be uploaded: %s", failed)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("uploader: %d partitions still have records to upload: %w", busy, ctx.Err())
		case <-tick.C:
		}
	}
}

// drained counts the partitions that Drain still waits for and names one that failed.
func (m *Manager) drained() (busy int, failed string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.o.Now()
	for _, h := range m.parts {
		switch {
		case h.failures > 0 && !h.running && (!h.queued || !m.gate.open(now, m.active)):
			failed = h.p.String() + ": " + h.lastErr
		case h.queued || h.running || h.looking || h.slot >= 0 && !h.due.After(now):
			busy++
		}
	}
	return busy, failed
}

func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// at makes the scheduler look at h at t, or earlier if that was planned; m.mu is held. While h is being looked at, waits
// for a job or has one, it does nothing: those end by looking at h.dirty.
func (m *Manager) at(h *Handle, t time.Time) {
	if h.removed || h.queued || h.running || h.looking || h.slot >= 0 && !t.Before(h.due) {
		return
	}
	h.due = t
	m.timers.put(h)
}

// schedule is the one goroutine that looks at partitions and starts jobs.
func (m *Manager) schedule() {
	defer close(m.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due := m.takeDue()
		for _, h := range due {
			m.look(h)
		}
		clear(due)
		next, closed := m.startJobs()
		if closed {
			break
		}
		timer.Reset(next)
		select {
		case <-m.wake:
		case <-timer.C:
		}
	}
	for { // wait for the jobs, which poke when they end
		m.mu.Lock()
		n := m.active
		m.mu.Unlock()
		if n == 0 {
			return
		}
		<-m.wake
	}
}

// takeDue takes those off the timers that are to be looked at. What it returns is valid until its next call.
func (m *Manager) takeDue() []*Handle {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.o.Now()
	m.due = m.due[:0]
	for len(m.timers) > 0 && !m.timers[0].due.After(now) {
		h := m.timers[0]
		m.timers.remove(h)
		h.looking = true
		m.due = append(m.due, h)
	}
	return m.due
}

// look plans for one partition with the ledger that is known here; a job plans again with the real one.
func (m *Manager) look(h *Handle) {
	h.dirty.Store(false) // before the state is read: what moves from here on notifies again
	now := m.o.Now()
	l := m.o.Ledgers.CachedLedger(h.p)
	s := h.state(l, now.UnixMilli())
	d := Plan(s, now.UnixMilli())

	m.mu.Lock()
	defer m.mu.Unlock()
	h.looking = false
	if h.removed || m.closed {
		return
	}
	s.Drain = m.drain
	if s.Drain {
		d = Plan(s, now.UnixMilli())
	}
	if h.stuck && d.Action != Stuck {
		h.stuck, h.failures = false, 0
	}
	confirm := s.Leader && s.Config.Enabled && l.Next > h.job.confirmedTo(s.LocalStart)
	switch {
	case d.Action == Upload || d.Action == Begin || confirm || h.job.unsettled():
		if now.Before(h.notBefore) {
			m.at(h, h.notBefore)
			return
		}
		h.queued = true
		m.ready = append(m.ready, h)
	case d.Action == Stuck:
		if !h.stuck {
			m.o.Logger.Error("uploads are stuck", "partition", h.p.String(), "why", d.Reason())
		}
		h.stuck = true
		h.fail(now, d.Reason())
	case d.DueMs > 0:
		m.at(h, time.UnixMilli(d.DueMs))
	}
	if h.dirty.Load() { // since the look began
		m.at(h, now.Add(m.o.Settle))
	}
}

// state collects what Plan looks at. Called by the scheduler or by h's job.
func (h *Handle) state(l *ledger.Ledger, nowMs int64) State {
	src := h.src
	s := State{
		Leader: src.Epoch() >= 0, Config: src.Config(), Start: l.Start, Next: l.Next,
		LogStart: src.LogStart(), LocalStart: src.LocalStart(), Stable: src.Stable(),
	}
	if s.Stable > s.Next && s.LocalStart <= s.Next {
		s.PendingBytes = src.PendingBytes(s.Next)
		s.SinceMs, s.SinceKnown = src.PendingSince(s.Next)
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	switch {
	case s.Stable <= s.Next:
		h.since = 0
	case h.since == 0 || h.sinceNext != s.Next:
		h.since, h.sinceNext = nowMs, s.Next
	}
	if !s.SinceKnown && h.since > 0 {
		s.SinceMs, s.SinceKnown = h.since, true
	}
	return s
}

// startJobs starts what may start and says how long the scheduler may sleep.
func (m *Manager) startJobs() (sleep time.Duration, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, true
	}
	now := m.o.Now()
	for len(m.ready) > 0 && m.active < m.o.Workers && m.gate.open(now, m.active) {
		h := m.ready[0]
		m.ready = m.ready[1:]
		h.queued = false
		if h.removed {
			continue
		}
		h.running = true
		m.active++
		ctx, cancel := context.WithCancel(m.ctx)
		h.cancel = cancel
		go m.runJob(ctx, h)
	}
	sleep = time.Hour
	if len(m.timers) > 0 {
		sleep = min(sleep, m.timers[0].due.Sub(now))
	}
	if len(m.ready) > 0 && m.active < m.o.Workers {
		sleep = min(sleep, m.gate.until.Sub(now))
	}
	return max(sleep, 0), false
}

// runJob does one job and plans the partition's next look.
func (m *Manager) runJob(ctx context.Context, h *Handle) {
	more, err := m.work(ctx, h)
	m.mu.Lock()
	h.cancel()
	h.cancel, h.running = nil, false
	m.active--
	now := m.o.Now()
	switch {
	case h.removed || m.closed:
	case err != nil:
		h.fail(now, err.Error())
		if storeFault(err) {
			m.gate.failed(now)
		}
		h.notBefore = now.Add(backoff(h.failures, m.o.BackoffMin, m.o.BackoffMax, m.o.Rand))
		m.at(h, h.notBefore)
		m.metrics.failures.Inc()
		m.o.Logger.Warn("upload failed", "partition", h.p.String(), "error", err, "failures", h.failures,
			"retry_at", h.notBefore)
	default:
		if h.failures > 0 {
			m.o.Logger.Info("upload recovered", "partition", h.p.String(), "failures", h.failures)
		}
		h.failures, h.notBefore = 0, time.Time{}
		m.gate.succeeded()
		if more || m.drain || h.dirty.Load() {
			m.at(h, now)
		} else {
			m.at(h, now.Add(m.o.Settle)) // what became pending meanwhile has its due time planned then
		}
	}
	m.mu.Unlock()
	m.poke()
}

// fail notes an error; m.mu is held.
func (h *Handle) fail(now time.Time, err string) {
	h.failures++
	h.lastErr, h.lastErrAt = err, now
}
