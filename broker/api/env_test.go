package api

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/coord"
	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/broker/loglevel"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// env is the handlers over real partitions on a disk in memory, and metadata in memory.
type env struct {
	t     testing.TB
	store *metatest.Memory
	parts *partition.Manager
	a     *API
}

// newEnv makes handlers of a broker that was started with the configs given, as name and value in turn.
func newEnv(t *testing.T, static ...string) *env {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	return newEnvOn(t, metatestBroker(t), disk.NewCrashable(1), quiet, static...)
}

// metatestBroker is metadata in memory that knows broker 1.
func metatestBroker(t testing.TB) *metatest.Memory {
	store := metatest.NewMemory()
	require.NoError(t, store.Register(context.Background(), metadata.Broker{ID: 1, Directory: "d", Incarnation: "i",
		Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "localhost", Port: 9092}}}))
	return store
}

// liveConfigs reads the dynamic configs from the store whenever it is asked.
type liveConfigs struct {
	static map[string]string
	store  *metatest.Memory
}

func (c liveConfigs) Layers() brokerconfig.Layers {
	l := brokerconfig.Layers{Static: c.static}
	img := c.store.Image()
	if b := img.BrokerConfigs[metadata.ClusterDefaults]; b != nil {
		l.Cluster = b.Configs
	}
	if b := img.BrokerConfigs[1]; b != nil {
		l.Broker = b.Configs
	}
	return l
}

func (c liveConfigs) Values() *brokerconfig.Values {
	v, err := c.Layers().Resolve()
	if err != nil {
		panic(err)
	}
	return v
}

func newEnvOn(t testing.TB, store *metatest.Memory, fs disk.FS, quiet *slog.Logger, static ...string) *env {
	return newEnvWith(t, store, fs, quiet, func(*partition.Options) {}, static...)
}

// newEnvWith is newEnvOn with other options of the partitions.
func newEnvWith(t testing.TB, store *metatest.Memory, fs disk.FS, quiet *slog.Logger, change func(*partition.Options), static ...string) *env {
	var m atomic.Pointer[partition.Manager]
	dir, err := hot.OpenDir(hot.Options{FS: fs, Path: "/data", Logger: quiet, BootID: "boot", OnOffline: func(err error) { m.Load().Offline(err) }})
	require.NoError(t, err)
	e := &env{t: t, store: store}
	options := partition.Options{BrokerID: 1, Disk: partition.OnDisk(dir), Metadata: store,
		Settings: partition.SettingsOf(nil, quiet), Logger: quiet, Interval: time.Hour}
	change(&options)
	e.parts = partition.New(options)
	m.Store(e.parts)
	require.NoError(t, e.parts.Start())
	t.Cleanup(func() { e.parts.Close(); _ = dir.Close() })
	configs := liveConfigs{map[string]string{"node.id": "1"}, store}
	for i := 0; i < len(static); i += 2 {
		configs.static[static[i]] = static[i+1]
	}
	loggers := loglevel.New(slog.DiscardHandler, slog.LevelInfo)
	loggers.Logger("broker.api")
	o := group.DefaultOptions()
	o.NewMemberSuffix, o.InitialRebalanceDelay = topic.NewID().String, 0
	groups := coord.NewGroups(coord.GroupsOptions{BrokerID: 1, Cluster: store, Group: o, Partitions: 3, Logger: quiet,
		Open: func(index int32) (coord.Log, error) {
			p, err := e.parts.ByName(coord.OffsetsTopic, index)
			if err != nil {
				return nil, err
			}
			return p.Committed()
		}})
	t.Cleanup(groups.Close)
	e.a = New(Deps{Config: Config{BrokerID: 1}, Configs: configs, Loggers: loggers, Cluster: store, Partitions: e.parts, ProducerIDs: store,
		Groups: groups, Logger: quiet})
	return e
}

// outcome is what a request ended with.
type outcome struct {
	body []byte // nil: none
	err  error  // the connection is closed
}

// onOpen has a function called before a log is opened.
func onOpen(fn func(topic.Partition)) func(*partition.Options) {
	return func(o *partition.Options) { o.Disk = openHook{o.Disk, fn} }
}

type openHook struct {
	partition.Disk
	fn func(topic.Partition)
}

func (d openHook) Open(p topic.Partition, cfg *hot.Config) (partition.Log, error) {
	d.fn(p)
	return d.Disk.Open(p, cfg)
}

// send gives a request to the handlers and calls back with the answer.
func (e *env) send(req kmsg.Request, version int16, done func(outcome)) {
	e.t.Helper()
	e.sendUntil(context.Background(), req, version, done)
}

// sendUntil is send for a client that goes away when ctx ends.
func (e *env) sendUntil(ctx context.Context, req kmsg.Request, version int16, done func(outcome)) {
	e.t.Helper()
	req.SetVersion(version)
	r := &wire.Request{Key: req.Key(), Version: version, CorrelationID: 7, ClientID: "test", Body: req.AppendTo(nil)}
	e.a.Serve(ctx, r, wire.NewReply(r, wire.SinkFunc(func(_ *wire.Request, resp *wire.Response, err error) {
		o := outcome{err: err}
		if resp != nil {
			all, rerr := resp.AppendAll(nil)
			if rerr != nil {
				e.t.Error(rerr)
			}
			o.body = all[8:]
			if k := req.Key(); k != 18 && req.IsFlexible() {
				o.body = o.body[1:] // no tagged fields in the header
			}
			resp.Free()
		}
		done(o)
	})))
}

// call sends a request in the version given and decodes the answer.
func call[R kmsg.Response](e *env, req kmsg.Request, version int16) R {
	e.t.Helper()
	got := make(chan outcome, 1)
	e.send(req, version, func(o outcome) { got <- o })
	o := <-got
	require.NoError(e.t, o.err)
	resp := req.ResponseKind()
	require.NoError(e.t, resp.ReadFrom(o.body))
	return resp.(R)
}

func ptr[T any](v T) *T { return &v }

func (e *env) create(name string, partitions int32, configs ...string) {
	e.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	spec := kmsg.NewCreateTopicsRequestTopic()
	spec.Topic, spec.NumPartitions, spec.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(configs); i += 2 {
		spec.Configs = append(spec.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: ptr(configs[i+1])})
	}
	req.Topics = append(req.Topics, spec)
	resp := call[*kmsg.CreateTopicsResponse](e, req, 7)
	require.Zero(e.t, resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

func batchOf(n int) []byte {
	b := record.NewBuilder(record.None)
	for i := range n {
		b.Append(1000+int64(i), []byte("k"), []byte("v"), nil)
	}
	return b.Build(0)
}

// produceRequest asks for one batch in one partition.
func produceRequest(topic string, part int32, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	t.Partitions = []kmsg.ProduceRequestTopicPartition{{Partition: part, Records: records}}
	req.Topics = append(req.Topics, t)
	return req
}

func (e *env) produce(req *kmsg.ProduceRequest, version int16) kmsg.ProduceResponseTopicPartition {
	e.t.Helper()
	resp := call[*kmsg.ProduceResponse](e, req, version)
	require.Len(e.t, resp.Topics, 1)
	require.Len(e.t, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0]
}

func fetchRequest(topic string, part int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 0, 1<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = part, offset, 1<<20, -1, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func (e *env) garbage(key, version int16, done func(error)) {
	r := &wire.Request{Key: key, Version: version, Body: []byte{0xff}}
	e.a.Serve(context.Background(), r, wire.NewReply(r, wire.SinkFunc(func(_ *wire.Request, resp *wire.Response, err error) {
		resp.Free()
		done(err)
	})))
}

var quietLog = slog.New(slog.DiscardHandler)

// inFolder puts the paths of a test below a folder of the real disk.
type inFolder struct {
	disk.FS
	root string
}

func (f inFolder) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	return f.FS.OpenFile(f.root+name, flag, perm)
}
func (f inFolder) Rename(a, b string) error    { return f.FS.Rename(f.root+a, f.root+b) }
func (f inFolder) Remove(name string) error    { return f.FS.Remove(f.root + name) }
func (f inFolder) RemoveAll(name string) error { return f.FS.RemoveAll(f.root + name) }
func (f inFolder) MkdirAll(name string, perm fs.FileMode) error {
	return f.FS.MkdirAll(f.root+name, perm)
}
func (f inFolder) ReadDir(name string) ([]fs.DirEntry, error) { return f.FS.ReadDir(f.root + name) }
func (f inFolder) Stat(name string) (fs.FileInfo, error)      { return f.FS.Stat(f.root + name) }
func (f inFolder) SyncDir(name string) error                  { return f.FS.SyncDir(f.root + name) }
