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

// cleanerKeeper runs the log cleaner as the configs want it. A cleaner does not change while it runs: another one takes
// its place, and goes on where the checkpoint is.
type cleanerKeeper struct {
	options func(brokerconfig.Cleaner) clean.Options
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
	for ctx.Err() == nil {
		k.mu.Lock()
		want := k.want
		k.mu.Unlock()
		running, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if want.Enable && want.Threads > 0 {
				clean.New(k.options(want)).Run(running)
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

// cleanOptions are the options of a cleaner that runs as the configs say.
func cleanOptions(c brokerconfig.Cleaner) clean.Options {
	o := clean.Options{
		Threads: int(c.Threads), DedupeBuffer: c.DedupeBuffer, LoadFactor: c.LoadFactor, Backoff: max(ms(c.BackoffMs), time.Millisecond),
		IOBuffer: max(int(c.IOBuffer/(2*c.Threads)), 4096), // each thread has two
	}
	if c.IOBytesPerSecond < math.MaxFloat64 {
		o.IOBytesPerSecond = c.IOBytesPerSecond
	}
	return o
}

// startCleaner begins to compact the logs of topics that ask for it, internal ones included.
func (n *Node) startCleaner() {
	k := &cleanerKeeper{changed: make(chan struct{}, 1), want: n.configs.Values().Cleaner, options: func(c brokerconfig.Cleaner) clean.Options {
		o := cleanOptions(c)
		o.Dir, o.Policy, o.Unpack = n.dir, n.cleanPolicy, n.unpack
		o.Logger, o.Registerer = n.Logger("tier.clean"), n.registry
		return o
	}}
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
