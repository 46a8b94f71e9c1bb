package compaction

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/topic"
)

// Metadata is what the Collector needs of metadata.Store.
type Metadata interface {
	Image() *metadata.Image
	Ledger(ctx context.Context, p topic.Partition) (*ledger.Ledger, error)
	CachedLedger(p topic.Partition) *ledger.Ledger
	CommitLedger(ctx context.Context, p topic.Partition, e ledger.Edit) (*ledger.Ledger, error)
	Tombstones(ctx context.Context) ([]metadata.TopicTombstone, error)
	ForgetTombstone(ctx context.Context, id topic.ID) error
}

// Options of New. Store, Meta and Policy are needed; zero values elsewhere mean the defaults.
type Options struct {
	Store object.Store
	Meta  Metadata
	// Policy tells how long a topic's records are kept.
	Policy func(t *metadata.Topic) Policy
	// HotBytes tells the bytes of the local log at and above an offset; nil: nothing is known of local logs.
	HotBytes func(p topic.Partition, from int64) int64
	// HotDue tells where retention wants the log start of a partition with remote storage of which nothing is archived
	// and nothing will be (remote.log.copy.disable), and why; 0: where it is. nil: the same.
	HotDue func(p topic.Partition) (to int64, why string)

	Grace       time.Duration // between un-naming an object and deleting it; 0: 1 h
	DeleteDelay time.Duration // firn.remote.delete.delay.ms; 0: 7 days
	FoldAbove   int           // recent segments of a ledger that make it fold; 0: 1000
	FoldKeep    int           // recent segments that stay; 0: 100
	Every       time.Duration // between rounds; 0: 1 min
	ListEvery   time.Duration // between listings of the bucket for orphans; 0: 1 h
	Timeout     time.Duration // for the store to answer; 0: 1 min

	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}

func (o Options) withDefaults() Options {
	dur := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	dur(&o.Grace, time.Hour)
	dur(&o.DeleteDelay, 7*24*time.Hour)
	dur(&o.Every, time.Minute)
	dur(&o.ListEvery, time.Hour)
	dur(&o.Timeout, time.Minute)
	if o.FoldAbove <= 0 {
		o.FoldAbove = 1000
	}
	if o.FoldKeep <= 0 {
		o.FoldKeep = 100
	}
	if o.HotBytes == nil {
		o.HotBytes = func(topic.Partition, int64) int64 { return 0 }
	}
	if o.HotDue == nil {
		o.HotDue = func(topic.Partition) (int64, string) { return 0, "" }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Collector tends one bucket for one cluster. Run or Round are called from one goroutine; the other methods from
// any.
type Collector struct {
	o       Options
	lay     layout.Layout
	metrics *metrics

	manual  atomic.Bool // the store has no conditional PUT: orphans are left to the operator
	claimed bool        // claim gave its verdict

	marked    bool // a marker was written, for ledgers with this sum
	markedSum uint64

	waiting  []unnamed             // un-named by this process, for the grace period
	first    map[string]time.Time  // store's clock: when an object was first seen without a name
	nextList time.Time             // when the bucket is listed again
	folds    map[string]foldedSegs // the folds that were loaded lately

	mu     sync.Mutex
	status Status                        // guarded by mu
	graces map[topic.Partition]graceNote // what waited for the grace period after the last round; guarded by mu
}

// unnamed is what one edit took out of a ledger.
type unnamed struct {
	p     topic.Partition
	keys  []string
	since time.Time // local clock, monotonic
}

type foldedSegs struct {
	segs []ledger.Segment
	used time.Time
}

// Status is what the Collector last saw.
type Status struct {
	Store     string    // its URL
	Distrust  string    // why nothing is deleted, naming the bucket; empty: nothing speaks against it
	Manual    bool      // orphans are not deleted because the store has no conditional PUT
	LastRound time.Time // end of the last whole round
	LastError string    // of the last round, empty when it had none
	Waiting   int       // objects un-named and waiting for the grace period to pass
	Orphans   int       // objects without a name at the last listing, young ones included
	Unknown   int       // objects at the last listing that belong to no partition known here: never deleted
}

// New makes a Collector; it does nothing until Run or Round.
func New(o Options) (*Collector, error) {
	o = o.withDefaults()
	o.Store = archive.Timed(o.Store, o.Timeout)
	c := &Collector{o: o, lay: layoutOf(o.Meta.Image()), first: make(map[string]time.Time), folds: make(map[string]foldedSegs)}
	if err := c.lay.Check(); err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	c.status.Store = o.Store.URL()
	c.metrics = newMetrics(o.Registerer, c)
	return c, nil
}

// Status tells what the Collector last saw.
func (c *Collector) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Distrust is empty, or a sentence that names the bucket and says why nothing in it is deleted.
func (c *Collector) Distrust() string { return c.Status().Distrust }

func (c *Collector) note(fn func(*Status)) {
	c.mu.Lock()
	fn(&c.status)
	c.mu.Unlock()
}

// Run makes rounds until ctx ends.
func (c *Collector) Run(ctx context.Context) {
	defer c.metrics.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := c.Round(ctx); err != nil && ctx.Err() == nil {
			c.o.Logger.Warn("tending the archive failed; the next round tries again", "store", c.o.Store.URL(), "error", err)
		}
		timer.Reset(c.o.Every)
	}
}

// Round does once what is due. Work on one partition that fails does not keep the others from theirs; the error
// joins what failed.
func (c *Collector) Round(ctx context.Context) error {
	err := c.round(ctx)
	graces := gracesOf(c.waiting, c.o.Grace)
	c.note(func(s *Status) {
		c.graces = graces
		s.LastError, s.Manual, s.Waiting = "", c.manual.Load(), 0
		for _, u := range c.waiting {
			s.Waiting += len(u.keys)
		}
		if err != nil {
			s.LastError = err.Error()
			return
		}
		s.LastRound = c.o.Now()
		c.metrics.rounds.Inc()
	})
	return err
}

func (c *Collector) round(ctx context.Context) error {
	if !c.claimed {
		if err := c.start(ctx); err != nil {
			return fmt.Errorf("find out whose bucket %s is: %w", c.o.Store.URL(), err)
		}
	}
	var errs []error
	// The listing comes first: it may find that the bucket is ahead of the metadata, and then no log start may move.
	if c.Distrust() == "" {
		if err := c.list(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	for _, t := range c.o.Meta.Image().Topics() {
		for i := range t.Partitions {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := c.tend(ctx, t, t.Partition(int32(i))); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, step := range []func(context.Context) error{c.deleteWaiting, c.dropTopics, c.mark} {
		if c.Distrust() != "" {
			break
		}
		if err := step(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	c.forgetFolds()
	return errors.Join(errs...)
}

// start probes the store and claims it.
func (c *Collector) start(ctx context.Context) error {
	switch err := object.Probe(ctx, c.o.Store); {
	case errors.Is(err, object.ErrNoCondition):
		c.manual.Store(true)
		c.o.Logger.Warn("the store cannot be claimed: orphaned objects are not deleted", "store", c.o.Store.URL(), "why", err)
	case err != nil:
		return err
	}
	reason, err := c.claim(ctx)
	if err != nil {
		return err
	}
	c.claimed = true
	c.distrust(reason)
	return nil
}

// distrust stops all deletion for as long as this process lives.
func (c *Collector) distrust(reason string) {
	if reason == "" {
		return
	}
	sentence := fmt.Sprintf("nothing is deleted from %s: %s", c.o.Store.URL(), reason)
	c.o.Logger.Error("the bucket is not trusted", "store", c.o.Store.URL(), "why", reason)
	c.note(func(s *Status) { s.Distrust = sentence })
}

// tend does what one live partition's ledger needs: retention, expiry, folding.
func (c *Collector) tend(ctx context.Context, t *metadata.Topic, p topic.Partition) error {
	l := c.o.Meta.CachedLedger(p)
	wrap := func(what string, err error) error { return fmt.Errorf("%s of %s: %w", what, p, err) }
	var err error
	if c.Distrust() == "" && !c.nextList.IsZero() { // moving a log start deletes, too: not before one look at the bucket
		if l, err = c.retainHot(ctx, t, p, l); err != nil {
			return wrap("retention", err)
		}
		if l.Version == 0 {
			return nil
		}
		if l, err = c.retain(ctx, t, p, l); err != nil {
			return wrap("retention", err)
		}
		if l, err = c.expire(ctx, p, l); err != nil {
			return wrap("expiry", err)
		}
	}
	if err := c.fold(ctx, p, l); err != nil {
		return wrap("folding the ledger", err)
	}
	return nil
}

// retain moves the log start as the topic's retention wants it.
func (c *Collector) retain(ctx context.Context, t *metadata.Topic, p topic.Partition, l *ledger.Ledger) (*ledger.Ledger, error) {
	policy := c.o.Policy(t)
	loaded := map[string][]ledger.Segment{}
	for {
		hot := int64(0)
		if policy.RetentionBytes >= 0 {
			hot = c.o.HotBytes(p, l.Next)
		}
		r := PlanRetention(l, loaded, hot, policy, c.o.Now().UnixMilli())
		if r.Open != nil {
			segs, err := c.loadFold(ctx, *r.Open)
			if err != nil {
				return nil, err
			}
			loaded[r.Open.Key] = segs
			continue
		}
		if r.To == 0 {
			return l, nil
		}
		n, err := c.o.Meta.CommitLedger(ctx, p, ledger.TrimStart{To: r.To})
		if err == nil {
			c.o.Logger.Info("log start moved by retention", "partition", p.String(), "from", l.Start, "to", r.To, "why", r.Reason)
		}
		return n, err
	}
}

// retainHot moves the log start over what is local only and will not be archived. It is done here as well, so that one
// place moves a ledger's start by retention, and distrust stops it.
func (c *Collector) retainHot(ctx context.Context, t *metadata.Topic, p topic.Partition, l *ledger.Ledger) (*ledger.Ledger, error) {
	if !c.o.Policy(t).Remote {
		return l, nil
	}
	to, why := c.o.HotDue(p)
	if to <= l.Start || l.Next > l.Start {
		return l, nil
	}
	n, err := c.o.Meta.CommitLedger(ctx, p, ledger.TrimStart{To: to})
	if err != nil {
		return nil, err
	}
	c.o.Logger.Info("log start moved by retention", "partition", p.String(), "from", l.Start, "to", to, "why", why)
	return n, nil
}

// expire takes what lies wholly below the log start out of the ledger. The objects wait for the grace period.
func (c *Collector) expire(ctx context.Context, p topic.Partition, l *ledger.Ledger) (*ledger.Ledger, error) {
	folds, segs := l.Expired()
	if len(folds)+len(segs) > 0 {
		var keys []string
		for _, f := range folds {
			in, err := c.loadFold(ctx, f)
			if err != nil && !errors.Is(err, archive.ErrMissing) {
				return nil, err
			}
			keys = append(keysOf(keys, in), f.Key)
		}
		keys = keysOf(keys, segs)
		n, err := c.o.Meta.CommitLedger(ctx, p, ledger.Expire{Below: l.Start})
		if err != nil {
			return nil, err
		}
		c.unname(p, keys)
		l = n
	}
	return c.refold(ctx, p, l)
}

// refold drops the expired segments out of the oldest fold.
func (c *Collector) refold(ctx context.Context, p topic.Partition, l *ledger.Ledger) (*ledger.Ledger, error) {
	if len(l.Folds) == 0 || l.Folds[0].Base >= l.Start {
		return l, nil
	}
	old := l.Folds[0]
	segs, err := c.loadFold(ctx, old)
	if err != nil {
		return nil, err
	}
	keep := PlanRefold(l, segs)
	if keep == nil {
		return l, nil
	}
	ref, err := c.putFold(ctx, p, l.Version, keep)
	if err != nil {
		return nil, err
	}
	n, err := c.o.Meta.CommitLedger(ctx, p, ledger.Refold{Fence: l.Fence, Old: old, New: ref})
	if err != nil {
		return nil, err
	}
	c.unname(p, append(keysOf(nil, segs[:len(segs)-len(keep)]), old.Key))
	return n, nil
}

func keysOf(keys []string, segs []ledger.Segment) []string {
	for _, s := range segs {
		keys = append(keys, s.Key)
	}
	return keys
}

func (c *Collector) unname(p topic.Partition, keys []string) {
	c.waiting = append(c.waiting, unnamed{p, keys, c.o.Now()})
}

// fold moves the oldest recent segments of a long ledger into an object.
func (c *Collector) fold(ctx context.Context, p topic.Partition, l *ledger.Ledger) error {
	if len(l.Recent) <= c.o.FoldAbove {
		return nil
	}
	inputs := l.PlanFold(c.o.FoldKeep, 1)
	if inputs == nil {
		return nil
	}
	ref, err := c.putFold(ctx, p, l.Version, inputs)
	if err != nil {
		return err
	}
	if _, err := c.o.Meta.CommitLedger(ctx, p, ledger.Fold{Fence: l.Fence, Ref: ref, Inputs: inputs}); err != nil {
		return err
	}
	c.metrics.folds.Inc()
	return nil
}
