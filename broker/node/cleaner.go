package node

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/tier/hot/clean"
	"github.com/firnlog/firn/tier/topic"
)

// cleanerKeeper runs the log cleaner as the configs want it. How a cleaner works does not change while it runs: it is
// stopped, tuned and started again, and goes on where the checkpoint is.
type cleanerKeeper struct {
	options clean.Options // but for the tuning
	changed chan struct{} // capacity 1

	mu   sync.Mutex
	want brokerconfig.Cleaner // guarded by mu
}

// set says how the cleaner is to run from now on.
func (k *cleanerKeeper) set(want brokerconfig.Cleaner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.want == want {
		return
	}
	k.want = want
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// run cleans until ctx is done.
func (k *cleanerKeeper) run(ctx context.Context) {
	cleaner := clean.New(k.options)
	for ctx.Err() == nil {
		k.mu.Lock()
		want := k.want
		k.mu.Unlock()
		running, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if want.Enable && want.Threads > 0 {
				cleaner.Tune(cleanTuning(want))
				cleaner.Run(running)
			}
		}()
		select {
		case <-k.changed:
		case <-ctx.Done():
		}
		cancel()
		<-done
	}
}

// cleanTuning is how a cleaner works as the configs say. They have a thread at least.
func cleanTuning(c brokerconfig.Cleaner) clean.Tuning {
	t := clean.Tuning{
		Threads: int(c.Threads), DedupeBuffer: c.DedupeBuffer, LoadFactor: c.LoadFactor, Backoff: max(ms(c.BackoffMs), time.Millisecond),
		IOBuffer: max(int(c.IOBuffer/(2*c.Threads)), 4096), // each thread has two
	}
	if c.IOBytesPerSecond < math.MaxFloat64 {
		t.IOBytesPerSecond = c.IOBytesPerSecond
	}
	return t
}

// startCleaner begins to compact the logs of topics that ask for it, internal ones included.
func (n *Node) startCleaner() {
	k := &cleanerKeeper{changed: make(chan struct{}, 1), want: n.configs.Values().Cleaner, options: clean.Options{
		Dir: n.dir, Policy: n.cleanPolicy, Unpack: n.unpack, Logger: n.Logger("tier.clean"), Registerer: n.registry,
	}}
	n.cleaner = k
	n.configs.onChange(func(v *brokerconfig.Values) { k.set(v.Cleaner) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.run(ctx)
	}()
	n.onStop("cleaner", func(context.Context) error { cancel(); <-done; return nil })
}

func (n *Node) cleanPolicy(p topic.Partition) (clean.Policy, bool) {
	hot, err := n.partitions.ByID(p.ID, p.Index)
	if err != nil {
		return clean.Policy{}, false
	}
	return hot.Settings().Clean, true
}
