package clean

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/unpack"
)

// Options configure a Cleaner. Dir and Policy are needed.
type Options struct {
	Tuning
	Dir *hot.Dir
	// Policy gives what the configs of the partition's topic mean; false if there is no such topic. It is called often
	// and must be quick.
	Policy func(topic.Partition) (Policy, bool)
	// Stable gives the offset below which a log may be cleaned: high watermark or last stable offset. nil: Log.Stable,
	// right for a partition with one replica and no transactions.
	Stable func(*hot.Log) int64

	Unpack     *unpack.Gate          // how far a batch may grow; nil: the default
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	// Sleep waits for the throttle, or until ctx is done, whose error it returns. nil: a timer.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Tuning is what may change between two runs of a Cleaner. Names in the comments are Kafka's broker configs.
type Tuning struct {
	Threads          int           // log.cleaner.threads; 0: 1
	DedupeBuffer     int64         // log.cleaner.dedupe.buffer.size: bytes for keys, of all threads; 0: 128 MiB
	LoadFactor       float64       // log.cleaner.io.buffer.load.factor; 0: 0.9
	IOBuffer         int           // bytes of each of a thread's two buffers (log.cleaner.io.buffer.size is all); 0: 256 KiB
	IOBytesPerSecond float64       // log.cleaner.io.max.bytes.per.second, read and written; 0: no limit
	Backoff          time.Duration // log.cleaner.backoff.ms: pause when nothing is due; 0: 15 s
}

func (t Tuning) withDefaults() Tuning {
	t.Threads = cmp.Or(t.Threads, 1)
	t.DedupeBuffer = cmp.Or(t.DedupeBuffer, 128<<20)
	t.LoadFactor = cmp.Or(t.LoadFactor, 0.9)
	t.IOBuffer = cmp.Or(t.IOBuffer, 256<<10)
	t.Backoff = cmp.Or(t.Backoff, 15*time.Second)
	return t
}

func (o Options) withDefaults() Options {
	if o.Stable == nil {
		o.Stable = (*hot.Log).Stable
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return o
}

// Cleaner cleans the logs of one log directory. Its methods, but for Tune, may be called concurrently.
type Cleaner struct {
	o        Options
	throttle throttle
	marks    *marks
	metrics  *metrics
	workers  chan *worker // those that rest

	mu    sync.Mutex
	busy  map[*hot.Log]bool         // being cleaned; guarded by mu
	aside map[topic.Partition]error // not cleaned any more, and why; guarded by mu
	ratio float64                   // of the dirtiest log at the last look; guarded by mu
	delay int64                     // ms: the longest that a record is overdue, likewise; guarded by mu
}

// New makes a Cleaner and reads cleaner-offset-checkpoint. A file that cannot be read is reported: logs are then cleaned
// from their beginning.
func New(o Options) *Cleaner {
	o = o.withDefaults()
	c := &Cleaner{o: o, busy: map[*hot.Log]bool{}, aside: map[topic.Partition]error{}}
	c.throttle = throttle{now: o.Now, sleep: o.Sleep}
	c.marks = loadMarks(o.Dir, o.Logger)
	c.metrics = newMetrics(o.Registerer, c)
	c.Tune(o.Tuning)
	return c
}

// Tune changes how the next Run or Round cleans; none may go on meanwhile. What was set aside stays set aside, and the
// metrics go on.
func (c *Cleaner) Tune(t Tuning) {
	c.o.Tuning = t.withDefaults()
	c.throttle.rate = t.IOBytesPerSecond
	c.workers = make(chan *worker, c.o.Threads)
	for range c.o.Threads {
		c.workers <- &worker{c: c}
	}
}

// Run cleans until ctx is done: end it before the Dir is closed. It runs Tuning.Threads goroutines, and may be called
// again when it has returned.
func (c *Cleaner) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range c.o.Threads {
		wg.Go(func() {
			for ctx.Err() == nil {
				if more, _ := c.Round(ctx); more { // what went wrong is logged, and said by Uncleanable
					continue
				}
				pause := time.NewTimer(c.o.Backoff)
				select {
				case <-ctx.Done():
				case <-pause.C:
				}
				pause.Stop()
			}
		})
	}
	wg.Wait()
}

// Round cleans the dirtiest log that is due and reports whether there was one. After an error, which is logged, a pause
// is in order.
func (c *Cleaner) Round(ctx context.Context) (cleaned bool, err error) {
	if err := c.o.Dir.Offline(); err != nil {
		return false, err
	}
	var w *worker
	select {
	case w = <-c.workers:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { c.workers <- w }()
	j := c.pick()
	if j == nil {
		return false, nil
	}
	from := c.o.Now()
	r, err := w.clean(ctx, j)
	c.metrics.cleaned(&r)
	err = c.done(ctx, j, &r, err)
	if err == nil {
		c.o.Logger.Debug("cleaned a log", "partition", j.log.Partition(), "from", j.plan.FirstDirty, "to", r.to,
			"records", r.records, "kept", r.kept, "freed", r.freed, "took", c.o.Now().Sub(from))
	}
	return err == nil, err
}

// pick chooses the dirtiest log that is due, which nobody else picks until it is done.
func (c *Cleaner) pick() *job {
	now := c.o.Now().UnixMilli()
	c.forget()
	var jobs []*job
	var plans []Plan
	for _, l := range c.o.Dir.Logs() {
		p := l.Partition()
		policy, ok := c.o.Policy(p)
		if !ok || !policy.Compact || c.taken(l) {
			continue
		}
		in := Input{Segments: l.Segments(), LogStart: l.LogStart(), End: l.End(), Clean: c.marks.get(p), Policy: policy, Now: now}
		if len(in.Segments) < 2 {
			continue // an active segment is not cleaned
		}
		in.Stable = min(in.End, c.o.Stable(l))
		if err := firstTimestamps(l, &in); err != nil {
			c.fail(p, err)
			continue
		}
		plan := Examine(&in)
		if plan.Reset {
			c.o.Logger.Warn("a log is cleaned from its beginning, because the checkpoint does not fit it",
				"partition", p, "checkpoint", in.Clean, "start", in.LogStart, "end", in.End)
			c.marks.set(p, plan.FirstDirty)
		}
		jobs = append(jobs, &job{log: l, plan: plan, policy: policy, now: now})
		plans = append(plans, plan)
	}
	return c.take(jobs, plans)
}

// taken reports whether the log is not to be picked: somebody cleans it, or it was set aside.
func (c *Cleaner) taken(l *hot.Log) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy[l] || c.aside[l.Partition()] != nil
}

// take returns the dirtiest of the jobs that nobody took meanwhile.
func (c *Cleaner) take(jobs []*job, plans []Plan) *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ratio, c.delay = 0, 0
	for _, p := range plans {
		c.ratio, c.delay = max(c.ratio, p.Ratio()), max(c.delay, p.Overdue)
	}
	for {
		i := Dirtiest(plans)
		if i < 0 {
			return nil
		}
		if j := jobs[i]; !c.busy[j.log] {
			c.busy[j.log] = true
			return j
		}
		plans[i].Due = false
	}
}

// firstTimestamps reads what the plan needs of segments that may be overdue.
func firstTimestamps(l *hot.Log, in *Input) error {
	if in.Policy.MaxLagMs >= hot.Forever {
		return nil
	}
	in.FirstTimestamp = make([]int64, len(in.Segments)-1)
	for i := range in.FirstTimestamp {
		if in.Segments[i].Next <= in.Clean {
			continue
		}
		var err error
		if in.FirstTimestamp[i], err = l.FirstTimestamp(in.Segments[i].Base); err != nil && !errors.Is(err, hot.ErrChanged) {
			return err
		}
	}
	return nil
}

// done notes how the cleaning of a log ended, and returns what is to be told of it.
func (c *Cleaner) done(ctx context.Context, j *job, r *result, err error) error {
	p := j.log.Partition()
	defer func() {
		c.mu.Lock()
		delete(c.busy, j.log)
		c.mu.Unlock()
	}()
	if err == nil {
		c.marks.set(p, r.to)
		if err = c.marks.save(); err == nil {
			err = c.o.Dir.SaveState()
		}
	}
	switch {
	case err == nil:
		if r.keyless > 0 {
			c.o.Logger.Warn("a compacted topic held records without a key, which were dropped", "partition", p, "records", r.keyless)
		}
		return nil
	case ctx.Err() != nil, errors.Is(err, hot.ErrClosed), errors.Is(err, hot.ErrChanged), errors.Is(err, errPolicy):
		c.o.Logger.Debug("the cleaning of a log was given up", "partition", p, "because", err)
	case errors.Is(err, hot.ErrFull), errors.Is(err, hot.ErrOffline), c.o.Dir.Offline() != nil:
		c.o.Logger.Warn("the cleaning of a log failed, and is tried again", "partition", p, "error", err)
	default:
		c.fail(p, err)
	}
	return err
}

// fail sets a partition aside.
func (c *Cleaner) fail(p topic.Partition, err error) {
	c.mu.Lock()
	c.aside[p] = err
	c.mu.Unlock()
	c.o.Logger.Error("a log cannot be cleaned and is set aside until the next start: it will only grow", "partition", p, "error", err)
}

// forget drops what is known of partitions that are not there any more.
func (c *Cleaner) forget() {
	there := map[topic.Partition]bool{}
	for _, p := range c.o.Dir.Partitions() {
		there[p] = true
	}
	c.marks.keep(there)
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.aside, func(p topic.Partition, _ error) bool { return !there[p] })
}

// Uncleanable names the partitions that were set aside, and why.
func (c *Cleaner) Uncleanable() map[topic.Partition]error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.aside)
}

// uncleanableBytes is the size of what could not be cleaned of the partitions that were set aside.
func (c *Cleaner) uncleanableBytes() (bytes int64) {
	aside := c.Uncleanable()
	if len(aside) == 0 {
		return 0
	}
	for _, l := range c.o.Dir.Logs() {
		if aside[l.Partition()] == nil {
			continue
		}
		from := c.marks.get(l.Partition())
		for _, s := range l.Segments() {
			if s.Next > from {
				bytes += s.Bytes
			}
		}
	}
	return bytes
}

// Clean returns the offset below which the partition's log is clean, -1 if it was never cleaned.
func (c *Cleaner) Clean(p topic.Partition) int64 { return c.marks.get(p) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// throttle lets rate bytes a second through.
type throttle struct {
	rate  float64 // 0: all
	now   func() time.Time
	sleep func(context.Context, time.Duration) error

	mu   sync.Mutex
	free time.Time // when the next bytes may pass; guarded by mu
}

// take waits until n more bytes may pass.
func (t *throttle) take(ctx context.Context, n int) error {
	if t.rate <= 0 || n == 0 {
		return ctx.Err()
	}
	now := t.now()
	t.mu.Lock()
	if t.free.Before(now) {
		t.free = now
	}
	wait := t.free.Sub(now)
	t.free = t.free.Add(time.Duration(float64(n) / t.rate * float64(time.Second)))
	t.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	return t.sleep(ctx, wait)
}
