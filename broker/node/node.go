// Package node puts one broker together: it opens metadata, log directory, archive and listeners in the order
// in which they need each other, and closes them in the reverse. It decides nothing; each part's logic is in its
// own package. What tends the archive (package compaction) is started beside it by cmd/firn, because broker and
// compaction do not know each other.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/firnlog/firn/broker/api"
	httpapi "github.com/firnlog/firn/broker/api/http"
	"github.com/firnlog/firn/broker/coord"
	"github.com/firnlog/firn/broker/fetchsession"
	"github.com/firnlog/firn/broker/loglevel"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/server"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/etcd"
	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/open"
	"github.com/firnlog/firn/tier/unpack"
	"github.com/firnlog/firn/tier/upload"
)

// Node is a running broker.
type Node struct {
	cfg      Config
	configs  *configs
	levels   *loglevel.Levels
	log      *slog.Logger
	registry *prometheus.Registry
	fatal    chan error
	ready    atomic.Bool
	closers  []closer // in the order in which they were opened

	descriptors descriptors

	kafkaListener, httpListener net.Listener

	store      object.Store
	meta       *etcd.Store
	unpack     *unpack.Gate
	dir        *hot.Dir
	cold       *cold.Reader
	uploads    *upload.Manager
	partitions *partition.Manager
	cleaner    *cleanerKeeper
	groups     *coord.Groups
	kafka      *server.Server

	hearing atomic.Pointer[partition.Manager] // partitions for those that were there first: log folder and cache
}

// closer is one thing to close at the end, and what to call it when that fails.
type closer struct {
	what  string
	close func(ctx context.Context) error
}

// Start opens everything and returns when the broker serves. Its errors are sentences for the person who
// started it. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg.withDefaults(), fatal: make(chan error, 1), registry: prometheus.NewRegistry(),
		descriptors: raiseDescriptors()}
	n.levels = loglevel.New(n.cfg.Logger.Handler(), lowest(n.cfg.Logger.Handler()))
	n.log = n.Logger("broker.node")
	var err error
	if n.configs, err = newConfigs(n.cfg.BrokerID, n.cfg.Settings, n.log); err != nil {
		return nil, err
	}
	n.unpack = unpack.New(unpack.Options{Registerer: n.registry})
	n.configs.onChange(func(v *brokerconfig.Values) { n.unpack.SetMax(int(v.Limits.DecompressBytes)) })
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// Ports and folder come first: whoever started firn twice should hear of it at once. Then the HTTP side, so that
	// whoever watches the broker is told that it is starting.
	steps := []func(context.Context) error{
		n.lock, n.listen, n.serveHTTP, n.openMetadata, n.openArchive, n.openLog, n.register, n.beginEpochs, n.startPartitions, n.serve,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if closeErr := n.Stop(stopCtx); closeErr != nil {
				n.log.Warn("closing after a failed start", "error", closeErr)
			}
			return nil, err
		}
	}
	n.ready.Store(true)
	return n, nil
}

func (n *Node) onStop(what string, close func(ctx context.Context) error) {
	n.closers = append(n.closers, closer{what, close})
}

// Stop drains the listeners, closes everything in the reverse of the order in which it was opened, and marks a
// clean stop. ctx bounds how long requests in flight may take.
func (n *Node) Stop(ctx context.Context) error {
	n.ready.Store(false)
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		if err := n.closers[i].close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", n.closers[i].what, err))
		}
	}
	n.closers = nil
	return errors.Join(errs...)
}

// Fatal delivers at most one error that the broker cannot go on with.
func (n *Node) Fatal() <-chan error { return n.fatal }

func (n *Node) fail(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// KafkaAddr is the address that clients are told to connect to.
func (n *Node) KafkaAddr() string {
	l, err := n.cfg.advertised(n.kafkaListener.Addr())
	if err != nil {
		return n.kafkaListener.Addr().String()
	}
	return net.JoinHostPort(l.Host, fmt.Sprint(l.Port))
}

// HTTPAddr is where the HTTP side listens.
func (n *Node) HTTPAddr() string { return n.httpListener.Addr().String() }

// StoreURL names the archive, without credentials.
func (n *Node) StoreURL() string { return n.store.URL() }

// Store is the archive.
func (n *Node) Store() object.Store { return n.store }

// Metadata is the cluster's.
func (n *Node) Metadata() metadata.Store { return n.meta }

// Registerer takes the metrics of what works beside the node.
func (n *Node) Registerer() prometheus.Registerer { return n.registry }

// Layout names the archive's objects.
func (n *Node) Layout() layout.Layout { return layoutOf(n.meta) }

func layoutOf(m metadata.Store) layout.Layout {
	img := m.Image()
	return layout.Layout{ClusterID: img.ClusterID, Generation: img.Generation}
}

func (n *Node) lock(context.Context) error {
	f, err := lockDataDir(disk.OS(), n.cfg.DataDir)
	if err != nil {
		return err
	}
	n.onStop("data folder lock", func(context.Context) error { return f.Close() })
	return nil
}

func (n *Node) listen(ctx context.Context) error {
	var err error
	if n.kafkaListener, err = n.listenOn(ctx, "--kafka", n.cfg.KafkaAddr); err != nil {
		return err
	}
	n.httpListener, err = n.listenOn(ctx, "--http", n.cfg.HTTPAddr)
	return err
}

func (n *Node) listenOn(ctx context.Context, flag, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w (choose another address with %s)", addr, err, flag)
	}
	n.onStop("listener "+addr, func(context.Context) error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return l, nil
}

func (n *Node) openMetadata(ctx context.Context) error {
	log := n.Logger("metadata.etcd")
	var client *etcd.Client
	if len(n.cfg.EtcdEndpoints) > 0 {
		var err error
		if client, err = etcd.Connect(ctx, n.cfg.EtcdEndpoints, etcd.ConnectOptions{Logger: log}); err != nil {
			return err
		}
		n.onStop("etcd client", func(context.Context) error { return client.Close() })
	} else {
		s, err := etcd.Embedded(ctx, etcd.EmbeddedOptions{Dir: n.cfg.MetadataDir, Logger: log})
		if err != nil {
			return err
		}
		n.onStop("etcd", func(context.Context) error { return s.Close() })
		client = s.Client()
	}
	var err error
	n.meta, err = etcd.OpenStore(ctx, client, etcd.StoreOptions{Logger: log, Registerer: n.registry})
	if err != nil {
		return err
	}
	n.onStop("metadata", func(context.Context) error { return n.meta.Close() })
	unwatch := n.configs.follow(n.meta, n.whatRuns())
	n.onStop("configs", func(context.Context) error { unwatch(); return nil })
	return nil
}

func (n *Node) openLog(context.Context) error {
	fs, err := disk.Root(n.cfg.logDir())
	if err != nil {
		return fmt.Errorf("log folder: %w", err)
	}
	n.dir, err = hot.OpenDir(hot.Options{
		FS: fs, Path: n.cfg.logDir(), Logger: n.Logger("tier.hot"), Registerer: n.registry, OnOffline: n.logOffline,
		MaxOpenFiles: n.descriptors.idleFiles(), Unpack: n.unpack,
	})
	if err != nil {
		return fmt.Errorf("log folder: %w", err)
	}
	n.onStop("log", func(context.Context) error { return n.dir.Close() })
	n.configs.onChange(func(v *brokerconfig.Values) { n.dir.SetProducerExpiry(ms(v.ProducerIDExpirationMs)) })
	return nil
}

// logOffline hears that the disk failed: what it held is not served any more (I-31).
func (n *Node) logOffline(err error) {
	n.log.Error("the log folder is offline: a write to its disk failed, and what is on it cannot be relied on until a restart", "folder", n.cfg.logDir(), "error", err)
	if m := n.hearing.Load(); m != nil {
		m.Offline(err)
	}
}

func (n *Node) openArchive(ctx context.Context) error {
	store, err := open.Open(ctx, n.cfg.StoreURL, open.Options{Logger: n.Logger("tier.object"), Registerer: n.registry})
	if err != nil {
		return err
	}
	if err := n.probe(ctx, store); err != nil {
		return err
	}
	n.store = store
	n.cold, err = cold.New(cold.Options{
		Store: store, CacheDir: n.cfg.cacheDir(), CacheBytes: n.configs.Values().Disk.CacheBytes, Room: n.room, Unpack: n.unpack,
		Producing: n.producing, Logger: n.Logger("tier.cold"), Registerer: n.registry,
	})
	if err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	n.onStop("cache", func(context.Context) error { return n.cold.Close() })
	n.uploads, err = upload.New(upload.Options{
		Store: store, Ledgers: n.meta, Layout: layoutOf(n.meta), Used: archives(n.meta), SpoolDir: n.cfg.spoolDir(),
		Logger: n.Logger("tier.upload"), Registerer: n.registry,
	})
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return nil
}

// producing tells whether producers write just now.
func (n *Node) producing() bool {
	m := n.hearing.Load()
	return m != nil && m.Producing()
}

// archives tells whether the metadata names any archived segment.
func archives(m metadata.Store) bool {
	for _, t := range m.Image().Topics() {
		for i := range t.Partitions {
			if !m.CachedLedger(t.Partition(int32(i))).Empty() {
				return true
			}
		}
	}
	return false
}

// probe finds out whether the store can be used. A store that does not answer stops only a broker that has
// nothing yet: one that has data serves what is hot and catches up when the store is back.
func (n *Node) probe(ctx context.Context, store object.Store) error {
	fresh := len(n.meta.Image().Topics()) == 0
	patience := 3 * time.Second
	if fresh {
		patience = 20 * time.Second
	}
	probeCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := object.Probe(probeCtx, store)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, object.ErrNoCondition):
		n.log.Warn("nothing is deleted from the archive by itself", "reason", err)
		return nil
	case errors.Is(err, object.ErrDenied), errors.Is(err, object.ErrNoBucket), fresh:
		return err
	}
	n.log.Warn("the archive does not answer; serving what is on local disk until it does", "store", store.URL(), "error", err)
	return nil
}

func (n *Node) startPartitions(context.Context) error {
	m := partition.New(partition.Options{
		BrokerID: n.cfg.BrokerID,
		Disk:     partition.OnDisk(n.dir), Metadata: n.meta, Archive: partition.OnArchive(n.cold), Uploads: n.uploads, Unpack: n.unpack,
		Settings: n.TopicSettings(), Space: partition.StatSpace(n.cfg.logDir()), Beside: n.beside,
		Tuning: tuning(n.configs.Values()), Interval: ms(n.configs.Values().RetentionCheckIntervalMs),
		Logger: n.Logger("broker.partition"), Registerer: n.registry,
	})
	n.partitions = m
	n.hearing.Store(m)
	settle := n.settleTopics()
	if err := m.Start(); err != nil {
		return err
	}
	n.onStop("partitions", func(context.Context) error { n.partitions.Close(); return nil })
	n.configs.onChange(settle)
	n.onStop("uploads", func(ctx context.Context) error { return n.uploads.Close(ctx, false) })
	n.startCleaner()
	return nil
}

func (n *Node) serve(context.Context) error {
	groups := n.startGroups()
	slots := int(n.configs.Values().FetchSessionSlots)
	if slots == 0 {
		slots = -1 // 0 is the default
	}
	handler := api.New(api.Deps{
		Config: api.Config{BrokerID: n.cfg.BrokerID}, Configs: n.configs, Loggers: n.levels,
		Sessions: fetchsession.New(fetchsession.Options{MaxSessions: slots}),
		Places: api.Places{LogDir: n.cfg.absoluteLogDir(), Space: partition.StatSpace(n.cfg.logDir()), Offline: n.dir.Offline,
			Archive: n.store.URL()},
		Cluster: n.meta, Partitions: n.partitions, ProducerIDs: n.meta, Groups: groups, Unpack: n.unpack, Logger: n.Logger("broker.api"),
	})
	kafka, err := server.New(server.Options{
		Listener: n.kafkaListener, Handler: handler, Versions: api.Versions(), Limits: limits(n.configs.Values()),
		Ceiling: n.descriptors.connections(), Logger: n.Logger("broker.server"), Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	n.kafka = kafka
	n.configs.onChange(func(v *brokerconfig.Values) { kafka.SetLimits(limits(v)) })
	go func() {
		if err := kafka.Serve(); err != nil && !errors.Is(err, net.ErrClosed) {
			n.fail(fmt.Errorf("kafka listener: %w", err))
		}
	}()
	n.onStop("kafka listener", kafka.Shutdown)
	// What waits is answered first, so that draining does not wait for it.
	n.onStop("groups", func(context.Context) error { groups.Close(); return nil })
	n.onStop("fetches that wait", func(context.Context) error { n.partitions.Drain(); return nil })
	return nil
}

func (n *Node) serveHTTP(context.Context) error {
	web := httpapi.NewServer(httpapi.Handler(n, n.registry, n.Logger("broker.http")))
	go func() {
		if err := web.Serve(n.httpListener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("http listener: %w", err))
		}
	}()
	n.onStop("http", func(ctx context.Context) error {
		if err := web.Shutdown(ctx); err != nil {
			return web.Close() // somebody holds a connection, for a CPU profile say
		}
		return nil
	})
	return nil
}

// errNotServing is what the HTTP side answers before the start is through and after the stop has begun.
var errNotServing = errors.New("the broker is starting or stopping")

// Ready implements httpapi.Broker.
func (n *Node) Ready() error {
	if !n.ready.Load() {
		return errNotServing
	}
	return n.dir.Offline()
}

// Healthy implements httpapi.Broker. A broker that is starting or stopping is well.
func (n *Node) Healthy() error {
	if !n.ready.Load() {
		return nil
	}
	return errors.Join(n.dir.Offline(), n.meta.Health())
}
