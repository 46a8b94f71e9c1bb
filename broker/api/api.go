package api

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/fetchsession"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/unpack"
)

// Cluster is what the handlers need of the metadata. metadata.Store implements it.
type Cluster interface {
	Image() *metadata.Image
	Commit(ctx context.Context, edits ...metadata.Edit) []error
	CachedLedger(p topic.Partition) *ledger.Ledger
}

// ProducerIDs hands out producer ids that nobody else gets (I-39): the first of n in a row. metadata.Store
// implements it, and takes them from etcd in blocks.
type ProducerIDs interface {
	NextProducerIDs(ctx context.Context, n int64) (first int64, err error)
}

// Configs are the broker's configs as they are at this moment: dynamic ones change while it runs, and have changed
// before the commit of what changes them returns.
type Configs interface {
	Layers() brokerconfig.Layers
	Values() *brokerconfig.Values
}

// Loggers are the broker's named loggers. *loglevel.Levels implements it.
type Loggers interface {
	Names() []string
	Level(name string) (level string, set, known bool)
	Set(name, level string) error
	Unset(name string) error
}

// Config is what does not change while the broker runs. Zero values take defaults.
type Config struct {
	BrokerID          int32
	Listener          string // name of the listener whose addresses clients are told; "": each broker's first
	MaxPartitionsCall int    // new partitions in one CreateTopics or CreatePartitions, 10000
}

// Deps are what the handlers work with. Configs, Loggers, Cluster, Partitions, ProducerIDs and Groups are needed.
type Deps struct {
	Config      Config
	Configs     Configs
	Loggers     Loggers
	Cluster     Cluster
	Partitions  *partition.Manager
	Sessions    *fetchsession.Cache // nil: one with Kafka's limits
	ProducerIDs ProducerIDs
	Groups      Groups
	Places      Places
	Unpack      *unpack.Gate     // what decompressing a producer's batch may take; nil: the default size
	Logger      *slog.Logger     // nil: slog.Default()
	Now         func() time.Time // nil: time.Now
}

// API serves requests. It implements server.Handler.
type API struct {
	Deps
	byKey     [kmsg.MaxKey + 1]handler // serve is nil for what is not served
	producers chan struct{}            // taken by who answers DescribeProducers
}

// handler is one API key: the versions served, and what serves them. serve runs on the connection's reading
// goroutine; see blocking for what must not.
type handler struct {
	key, min, max int16
	serve         func(a *API, ctx context.Context, req *wire.Request, reply *wire.Reply)
}

// handlers is the table of everything that is served. There is no other list.
func handlers() []handler {
	return []handler{
		produceHandler, fetchHandler, listOffsetsHandler, metadataHandler, findCoordinatorHandler, apiVersionsHandler,
		createTopicsHandler, deleteTopicsHandler, deleteRecordsHandler, initProducerIDHandler,
		offsetForLeaderEpochHandler, describeConfigsHandler, alterConfigsHandler, createPartitionsHandler,
		incrementalAlterConfigsHandler,
		describeClusterHandler, alterReplicaLogDirsHandler, describeLogDirsHandler, electLeadersHandler,
		alterPartitionReassignmentsHandler, listPartitionReassignmentsHandler, describeProducersHandler,
		listConfigResourcesHandler, describeTopicPartitionsHandler,
		offsetCommitHandler, offsetFetchHandler, joinGroupHandler, heartbeatHandler, leaveGroupHandler, syncGroupHandler,
		describeGroupsHandler, listGroupsHandler, deleteGroupsHandler, offsetDeleteHandler,
	}
}

// Versions is the table of what is served, for server.Options.
func Versions() []wire.Range {
	var out []wire.Range
	for _, h := range handlers() {
		out = append(out, wire.Range{Key: h.key, Min: h.min, Max: h.max})
	}
	return out
}

// New makes the handlers.
func New(d Deps) *API {
	if d.Sessions == nil {
		d.Sessions = fetchsession.New(fetchsession.Options{})
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	c := &d.Config
	if c.MaxPartitionsCall == 0 {
		c.MaxPartitionsCall = 10000
	}
	a := &API{Deps: d, producers: make(chan struct{}, 1)}
	for _, h := range handlers() {
		a.byKey[h.key] = h
	}
	return a
}

// Serve implements server.Handler.
func (a *API) Serve(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	if req.Key < 0 || int(req.Key) >= len(a.byKey) || a.byKey[req.Key].serve == nil ||
		req.Version < a.byKey[req.Key].min || req.Version > a.byKey[req.Key].max {
		reply.Close(fmt.Errorf("API key %d version %d is not served", req.Key, req.Version))
		return
	}
	a.byKey[req.Key].serve(a, ctx, req, reply)
}

// Relieve implements server.Handler: fetches that wait for records are answered.
func (a *API) Relieve(pressed func() bool) { a.Partitions.AnswerWaiting(pressed) }

// quick serves a request that kmsg parses and that is answered without waiting.
func quick[R kmsg.Request](fn func(a *API, ctx context.Context, req R) kmsg.Response) func(*API, context.Context, *wire.Request, *wire.Reply) {
	return func(a *API, ctx context.Context, req *wire.Request, reply *wire.Reply) {
		m, err := req.Decode()
		if err != nil {
			reply.Close(err)
			return
		}
		reply.Message(fn(a, ctx, m.(R)))
	}
}

// blocking serves a request whose answer may wait for metadata, disk or archive: on a goroutine of its own. The
// server bounds how many requests of a connection are under way.
func blocking[R kmsg.Request](fn func(a *API, ctx context.Context, req R) kmsg.Response) func(*API, context.Context, *wire.Request, *wire.Reply) {
	return wide(func(*API, R) int { return 0 }, fn)
}

// wide is blocking for a request whose answer may take far more memory than what it names. size tells, without waiting, how
// much that is, made and encoded; it may take out of the request what is not to be answered. The memory is taken before
// anything is made (I-32).
func wide[R kmsg.Request](size func(a *API, req R) int, fn func(a *API, ctx context.Context, req R) kmsg.Response) func(*API, context.Context, *wire.Request, *wire.Reply) {
	return func(a *API, ctx context.Context, req *wire.Request, reply *wire.Reply) {
		m, err := req.Decode()
		if err == nil {
			err = req.Reserve(size(a, m.(R)))
		}
		if err != nil {
			reply.Close(err)
			return
		}
		go func() {
			defer a.recovered(req.Key, reply)
			reply.Message(fn(a, ctx, m.(R)))
		}()
	}
}

// recovered keeps a mistake in a handler from ending the broker: the connection is closed and the rest goes on. What a handler
// starts goroutines for, it does in lanes, so that this holds for them, too; fetches, which work on many, catch what they read
// themselves (package partition).
func (a *API) recovered(key int16, reply *wire.Reply) {
	if r := recover(); r != nil {
		a.Logger.Error("request handler panicked", "api", kmsg.NameForKey(key), "panic", r, "stack", string(debug.Stack()))
		reply.Close(fmt.Errorf("handler of API key %d panicked: %v", key, r))
	}
}

// deadline bounds what a request waits for: by the timeout that the client sent, or, where it sent none, by 30 s.
func deadline(ctx context.Context, timeoutMs int32) (context.Context, context.CancelFunc) {
	d := time.Duration(timeoutMs) * time.Millisecond
	if d <= 0 {
		d = 30 * time.Second
	}
	// What was begun for a client is finished even if the client has gone: half a request helps nobody.
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}
