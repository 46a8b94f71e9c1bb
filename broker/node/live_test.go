package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/record"
)

// live is a broker that runs, and a client of it.
type live struct {
	*testing.T
	n  *Node
	cl *kgo.Client
}

func startLive(t *testing.T, settings conf) *live {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := Start(ctx, Config{BrokerID: 1, DataDir: t.TempDir(), KafkaAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Settings: settings, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, n.Stop(ctx))
	})
	return &live{t, n, client(t, n)}
}

// client is closed at the end of the test, before what was there before it.
func client(t *testing.T, n *Node) *kgo.Client {
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.KafkaAddr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordRetries(0), kgo.AllowAutoTopicCreation())
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// alter changes one config of the broker ("1") or of all brokers (""); no value deletes it.
func (l *live) alter(broker, name string, value ...string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, broker
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op = name, kmsg.IncrementalAlterConfigOpDelete
	if len(value) > 0 {
		c.Op, c.Value = kmsg.IncrementalAlterConfigOpSet, &value[0]
	}
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(l.Context(), l.cl)
	require.NoError(l, err)
	return kerr.ErrorForCode(resp.Resources[0].ErrorCode)
}

func (l *live) set(name, value string) {
	l.Helper()
	require.NoError(l, l.alter("", name, value), name)
}
func (l *live) unset(name string) { l.Helper(); require.NoError(l, l.alter("", name), name) }

func (l *live) produce(topic string, size int) error {
	return l.cl.ProduceSync(l.Context(), &kgo.Record{Topic: topic, Key: []byte("k"), Value: make([]byte, size)}).FirstErr()
}

func (l *live) join(sessionMs int32) int16 {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = "g", sessionMs, 1000, "consumer"
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	req.Protocols = append(req.Protocols, p)
	resp, err := req.RequestWith(l.Context(), l.cl)
	require.NoError(l, err)
	return resp.ErrorCode
}

func (l *live) metric(name string) float64 { return gathered(l.T, l.n.registry, name) }

// gathered returns the value of a counter or gauge, 0 if there is none.
func gathered(t *testing.T, reg *prometheus.Registry, name string) float64 {
	all, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

// TestDynamicConfigsTakeEffect changes configs of a broker that runs and sees what they do, without a restart.
func TestDynamicConfigsTakeEffect(t *testing.T) {
	l := startLive(t, conf{"group.initial.rebalance.delay.ms": "0", "num.partitions": "2", "log.cleaner.backoff.ms": "3600000"})

	// A default of topics reaches one that is there, and leaves again.
	require.NoError(t, l.produce("t", 10))
	require.Len(t, l.n.meta.Image().TopicByName("t").Partitions, 2)
	require.NotZero(t, l.fetchSession("t"))
	require.NoError(t, l.produce("t", 5000))
	l.set("message.max.bytes", "1000")
	require.ErrorIs(t, l.produce("t", 5000), kerr.MessageTooLarge)
	require.NoError(t, l.alter("1", "message.max.bytes", "7000"))
	require.NoError(t, l.produce("t", 5000), "what is set for this broker goes before what is set for all")
	require.NoError(t, l.alter("1", "message.max.bytes"))
	l.unset("message.max.bytes")
	require.NoError(t, l.produce("t", 5000))
	segmentMs := func() int64 {
		p, err := l.n.partitions.ByName("t", 0)
		require.NoError(t, err)
		return p.Settings().Log.RetentionMs
	}
	l.set("log.retention.ms", "86400000")
	require.Equal(t, int64(86400000), segmentMs())

	// Groups.
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, kerr.MemberIDRequired.Code, l.join(50_000)) }, time.Minute, time.Millisecond)
	l.set("group.max.session.timeout.ms", "40000")
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, kerr.InvalidSessionTimeout.Code, l.join(50_000)) }, time.Minute, time.Millisecond)

	// The disk's reserve.
	l.set("firn.local.disk.reserve", "4611686018427387904")
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Error(c, l.produce("t", 10)) }, time.Minute, time.Millisecond)
	l.unset("firn.local.disk.reserve")
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.NoError(c, l.produce("t", 10)) }, time.Minute, time.Millisecond)

	// The cleaner, which rests for an hour otherwise.
	l.topic("compacted", conf{"cleanup.policy": "compact", "internal.segment.bytes": "2000"})
	for range 10 {
		require.NoError(t, l.produce("compacted", 900))
	}
	require.Zero(t, l.metric("firn_clean_logs_total"))
	l.set("log.cleaner.backoff.ms", "10")
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Positive(c, l.metric("firn_clean_freed_bytes_total")) }, time.Minute, time.Millisecond)

	// Decompression, and connections.
	l.set("firn.decompress.max.bytes", "2000000")
	require.Equal(t, 2_000_000, l.n.unpack.Max())
	l.set("max.connections", fmt.Sprint(int(l.metric("firn_server_connections"))))
	conn, err := net.Dial("tcp", l.n.KafkaAddr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Read(make([]byte, 1))
	var timeout net.Error
	require.Error(t, err)
	require.NotErrorAs(t, err, &timeout, "one connection too many is closed")
	l.unset("max.connections")

	// What can only be said at the start, and what rules itself out.
	require.ErrorIs(t, l.alter("1", "num.partitions", "3"), kerr.InvalidRequest)
	require.ErrorIs(t, l.alter("", "log.cleaner.threads", "-3"), kerr.InvalidConfig)
	require.ErrorIs(t, l.alter("", "group.min.session.timeout.ms", "40001"), kerr.InvalidConfig)
}

func (l *live) topic(name string, configs conf) {
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
	for k, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, &v
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(l.Context(), l.cl)
	require.NoError(l, err)
	require.NoError(l, kerr.ErrorForCode(resp.Topics[0].ErrorCode), resp.Topics[0].ErrorMessage)
}

// TestStaticConfigsTakeEffect: what can only be said at the start, and what runs is described.
func TestStaticConfigsTakeEffect(t *testing.T) {
	l := startLive(t, conf{"auto.create.topics.enable": "false", "delete.topic.enable": "false", "broker.rack": "r1", "num.partitions": "4",
		"offsets.topic.num.partitions": "3", "offsets.topic.segment.bytes": "2000000", "offsets.topic.compression.codec": "4",
		"max.incremental.fetch.session.cache.slots": "0", "log.segment.bytes": "3000000"})
	require.ErrorIs(t, l.produce("nobody-made-it", 10), kerr.UnknownTopicOrPartition)
	l.topic("t", conf{"remote.storage.enable": "false"})
	require.Equal(t, kerr.TopicDeletionDisabled.Code, l.deleteTopic("t"))
	p, err := l.n.partitions.ByName("t", 0)
	require.NoError(t, err)
	require.Equal(t, int32(3000000), p.Settings().Log.SegmentBytes)

	meta, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), l.cl)
	require.NoError(t, err)
	require.Equal(t, "r1", *meta.Brokers[0].Rack)

	require.NoError(t, l.commitOffset("t"))
	offsets := l.n.meta.Image().TopicByName("__consumer_offsets")
	require.Len(t, offsets.Partitions, 3)
	require.Equal(t, "2000000", offsets.Configs["segment.bytes"])
	require.Equal(t, []string{"zstd"}, l.codecs("__consumer_offsets", 3))
	require.Zero(t, l.fetchSession("t"), "no session is remembered")

	require.Equal(t, "1", l.describe("node.id"))
	require.Equal(t, "PLAINTEXT://"+l.n.KafkaAddr(), l.describe("listeners"))
	require.Equal(t, l.describe("listeners"), l.describe("advertised.listeners"))
	require.Equal(t, l.n.cfg.absoluteLogDir(), l.describe("log.dirs"))
	require.Equal(t, "4", l.describe("num.partitions"))
}

func (l *live) deleteTopic(name string) int16 {
	req := kmsg.NewPtrDeleteTopicsRequest()
	r := kmsg.NewDeleteTopicsRequestTopic()
	r.Topic = &name
	req.Topics, req.TopicNames = append(req.Topics, r), []string{name}
	resp, err := req.RequestWith(l.Context(), l.cl)
	require.NoError(l, err)
	return resp.Topics[0].ErrorCode
}

func (l *live) commitOffset(topic string) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = "g", -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = topic, l.n.meta.Image().TopicByName(topic).ID
	t.Partitions = append(t.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(l.Context(), l.cl)
	require.NoError(l, err)
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// codecs are those of the batches of a topic.
func (l *live) codecs(name string, partitions int32) (all []string) {
	for i := range partitions {
		p, err := l.n.partitions.ByName(name, i)
		require.NoError(l, err)
		log, err := p.Committed()
		require.NoError(l, err)
		if log.End() == 0 {
			continue
		}
		b, err := log.Read(0, 1000)
		require.NoError(l, err)
		h, err := record.ParseHeader(b)
		require.NoError(l, err)
		all = append(all, h.Codec().String())
	}
	return all
}

// fetchSession asks for a session and gives its id, 0 if there is none.
func (l *live) fetchSession(topic string) int32 {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch, req.ReplicaID = 1<<20, 0, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, l.n.meta.Image().TopicByName(topic).ID
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<20, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(l.Context(), l.cl.SeedBrokers()[0])
	require.NoError(l, err)
	require.Zero(l, resp.ErrorCode)
	return resp.SessionID
}

// describe gives one config of the broker as DescribeConfigs tells it.
func (l *live) describe(name string) string {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, "1", []string{name}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(l.Context(), l.cl.SeedBrokers()[0])
	require.NoError(l, err)
	require.Len(l, resp.Resources[0].Configs, 1, name)
	return *resp.Resources[0].Configs[0].Value
}
