package node

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
)

// configs are the broker's configs as they are at this moment: what it was started with, below what the metadata says
// of all brokers and of this one. Whoever acts on them hears of every change, before the commit that made it returns.
// It implements api.Configs; its methods may be called concurrently.
type configs struct {
	broker int32
	log    *slog.Logger
	now    atomic.Pointer[resolved]

	mu     sync.Mutex                   // one change at a time
	static map[string]string            // guarded by mu
	seen   [2]int64                     // versions of the dynamic layers that now was made from; guarded by mu
	hear   []func(*brokerconfig.Values) // guarded by mu
}

// resolved are layers and what they mean.
type resolved struct {
	layers brokerconfig.Layers
	values *brokerconfig.Values
}

// newConfigs takes what the broker was started with, strictly: an unknown key or a bad value is a sentence that names
// key, value and what is allowed (I-33).
func newConfigs(broker int32, given map[string]string, log *slog.Logger) (*configs, error) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if d, ok := brokerconfig.Lookup(name); ok && d.Flag != "" {
			return nil, fmt.Errorf("setting %s: it follows from %s and cannot be set by itself", name, d.Flag)
		}
	}
	c := &configs{broker: broker, log: log, static: maps.Clone(given)}
	layers := brokerconfig.Layers{Static: c.static}
	values, err := layers.Resolve()
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	c.now.Store(&resolved{layers, values})
	return c, nil
}

// Layers implements api.Configs: without what cannot be used of the dynamic layers.
func (c *configs) Layers() brokerconfig.Layers { return c.now.Load().layers }

// Values implements api.Configs.
func (c *configs) Values() *brokerconfig.Values { return c.now.Load().values }

// follow adds what runs (listeners, node.id, log.dirs) to what the broker was started with, and takes the dynamic
// configs of each image from now on.
func (c *configs) follow(meta metadata.Store, runs map[string]string) (cancel func()) {
	c.mu.Lock()
	static := maps.Clone(runs)
	maps.Copy(static, c.static)
	c.static = static
	c.seen = [2]int64{-1, -1}
	c.mu.Unlock()
	return meta.Watch(c.apply)
}

// onChange calls fn with the values as they are, and after each change, one call at a time. fn must be quick.
func (c *configs) onChange(fn func(*brokerconfig.Values)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hear = append(c.hear, fn)
	fn(c.Values())
}

// apply takes the dynamic configs of an image. What the API lets in can be used; what got in some other way and cannot
// is left out, and if the rest does not go together, the last values stay.
func (c *configs) apply(img *metadata.Image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	layers := brokerconfig.Layers{Static: c.static}
	var seen [2]int64
	if b := img.BrokerConfigs[metadata.ClusterDefaults]; b != nil {
		layers.Cluster, seen[0] = b.Configs, b.Version
	}
	if b := img.BrokerConfigs[c.broker]; b != nil {
		layers.Broker, seen[1] = b.Configs, b.Version
	}
	if seen == c.seen {
		return
	}
	c.seen = seen
	layers, errs := layers.Sound()
	for _, err := range errs {
		c.log.Error("a config in the metadata cannot be used and is left out", "error", err)
	}
	values, err := layers.Resolve()
	if err != nil {
		c.log.Error("the configs in the metadata do not go together; those from before stay", "error", err)
		return
	}
	c.now.Store(&resolved{layers, values})
	for _, fn := range c.hear {
		fn(values)
	}
}
