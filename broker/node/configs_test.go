package node

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/hot/clean"
)

type conf = map[string]string

// TestBadSettings (I-33): a sentence names key, value and what is allowed.
func TestBadSettings(t *testing.T) {
	for key, c := range map[string][2]string{
		"num.partition":             {"1", "Unknown"},
		"num.partitions":            {"0", "at least 1"},
		"auto.create.topics.enable": {"maybe", "true or false"},
		"firn.local.disk.target":    {"70", "share"},
		"log.retention.ms":          {"soon", "-1, or at least 1"},
		"listeners":                 {"PLAINTEXT://:9092", "--kafka"},
		"node.id":                   {"7", "--broker-id"},
		"retention.ms":              {"7", "Unknown"}, // a config of topics
	} {
		_, err := newConfigs(1, conf{key: c[0]}, slog.Default())
		require.ErrorContains(t, err, key)
		require.ErrorContains(t, err, c[1], key)
		_, err = Start(context.Background(), Config{Settings: conf{key: c[0]}, DataDir: "/nowhere/at/all"})
		require.ErrorContains(t, err, key, "and the start stops before anything is opened")
	}
	_, err := newConfigs(1, conf{"group.min.session.timeout.ms": "10", "group.max.session.timeout.ms": "9"}, slog.Default())
	require.ErrorContains(t, err, "group.min.session.timeout.ms (10)")
}

func alter(t *testing.T, m metadata.Store, broker int32, set conf, del ...string) {
	t.Helper()
	require.NoError(t, m.Commit(t.Context(), metadata.AlterBrokerConfigs{Broker: broker, Set: set, Delete: del})[0])
}

// TestConfigsFollow: what is committed counts before Commit returns, and what is wrong harms nothing else.
func TestConfigsFollow(t *testing.T) {
	var log bytes.Buffer
	c, err := newConfigs(3, conf{"log.retention.ms": "1000", "num.partitions": "4"}, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	m := metatest.NewMemory()
	alter(t, m, metadata.ClusterDefaults, conf{"log.cleaner.threads": "2"})
	stop := c.follow(m, conf{"node.id": "3"})
	defer stop()
	require.Equal(t, int32(2), c.Values().Cleaner.Threads, "what is there already counts")
	require.Equal(t, "3", c.Layers().Static["node.id"])
	var heard []*brokerconfig.Values
	c.onChange(func(v *brokerconfig.Values) { heard = append(heard, v) })
	require.Len(t, heard, 1, "at once")

	alter(t, m, 3, conf{"log.retention.ms": "5"})
	require.Equal(t, conf{"retention.ms": "5"}, c.Values().TopicDefaults)
	require.Equal(t, int32(4), c.Values().NumPartitions)
	require.Len(t, heard, 2)
	require.Same(t, c.Values(), heard[1])
	alter(t, m, 4, conf{"log.retention.ms": "6"})
	require.Len(t, heard, 2, "another broker's")
	alter(t, m, 3, nil, "log.retention.ms")
	require.Equal(t, conf{"retention.ms": "1000"}, c.Values().TopicDefaults)
	require.Empty(t, log.String())

	// Another version may have stored what this one does not know, or refuses.
	alter(t, m, metadata.ClusterDefaults, conf{"from.the.future": "1", "log.cleaner.threads": "many", "num.partitions": "9", "log.roll.ms": "77"})
	require.Equal(t, conf{"retention.ms": "1000", "segment.ms": "77"}, c.Values().TopicDefaults)
	require.Equal(t, int32(1), c.Values().Cleaner.Threads)
	require.Equal(t, int32(4), c.Values().NumPartitions)
	for _, name := range []string{"from.the.future", "log.cleaner.threads", "num.partitions"} {
		require.Contains(t, log.String(), name)
		require.NotContains(t, c.Layers().Cluster, name)
	}
	before := c.Values()
	alter(t, m, 3, conf{"log.cleaner.min.compaction.lag.ms": "10", "log.cleaner.max.compaction.lag.ms": "9"})
	require.Same(t, before, c.Values(), "what does not go together changes nothing")
	require.Contains(t, log.String(), "do not go together")
}

func values(t *testing.T, static conf) *brokerconfig.Values {
	t.Helper()
	v, err := brokerconfig.Layers{Static: static}.Resolve()
	require.NoError(t, err)
	return v
}

// Every limit gets to the server, each with a value of its own; what is no limit for Kafka is none for the server.
func TestLimits(t *testing.T) {
	l := limits(values(t, conf{"socket.request.max.bytes": "10001", "queued.max.request.bytes": "10002", "firn.answer.memory.bytes": "1048577",
		"max.connections": "11", "max.connections.per.ip": "12", "max.connections.per.ip.overrides": "::1:13", "max.connection.creation.rate": "14",
		"firn.connection.request.rate": "15.5", "firn.connection.max.in.flight": "16", "connections.max.idle.ms": "17", "firn.frame.timeout.ms": "18", "firn.write.timeout.ms": "19",
		"socket.send.buffer.bytes": "20"}))
	require.Equal(t, []any{10001, int64(10002), int64(1048577), 11, 12, map[string]int{"::1": 13}, 14.0, 15.5, 16, 17 * time.Millisecond, 18 * time.Millisecond, 19 * time.Millisecond, 20},
		[]any{l.MaxRequestBytes, l.MemoryBytes, l.AnswerBytes, l.MaxConnections, l.MaxConnectionsPerIP, l.PerIP, l.ConnectionRate, l.RequestRate, l.MaxInFlight,
			l.IdleTimeout, l.FrameTimeout, l.WriteTimeout, l.SendBuffer})
	l = limits(values(t, conf{"max.connections.per.ip": "0", "firn.connection.request.rate": "-1", "connections.max.idle.ms": "-1", "queued.max.request.bytes": "-1"}))
	require.Equal(t, []any{-1, -1.0, -1.0, -time.Millisecond, int64(512 << 20)}, []any{l.MaxConnectionsPerIP, l.ConnectionRate, l.RequestRate, l.IdleTimeout, l.MemoryBytes})
	require.Zero(t, limits(values(t, nil)).MaxConnectionsPerIP, "nobody said: the server's default")
	require.Zero(t, limits(values(t, nil)).SendBuffer, "nobody said: it depends on where the client is")
	for _, kernels := range []string{"-1", "0"} {
		require.Negative(t, limits(values(t, conf{"socket.send.buffer.bytes": kernels})).SendBuffer)
	}
	require.Positive(t, limits(values(t, conf{"connections.max.idle.ms": "0"})).IdleTimeout, "0 is not the server's default")
	require.Positive(t, limits(values(t, conf{"connections.max.idle.ms": "9223372036854775807"})).IdleTimeout)
}

func TestGroupAndCleanOptions(t *testing.T) {
	o := groupOptions(values(t, conf{"group.initial.rebalance.delay.ms": "1", "group.min.session.timeout.ms": "2", "group.max.session.timeout.ms": "3", "group.max.size": "4",
		"offset.metadata.max.bytes": "5", "offsets.retention.minutes": "6", "offsets.retention.check.interval.ms": "7"}))
	require.Equal(t, []any{int32(1), int32(2), int32(3), 4, 5, int64(360000), int64(7)},
		[]any{o.InitialRebalanceDelay, o.MinSessionTimeout, o.MaxSessionTimeout, o.MaxSize, o.MetadataMaxBytes, o.Retention, o.RetentionCheckInterval})
	require.NotNil(t, o.NewMemberSuffix)

	c := cleanTuning(values(t, conf{"log.cleaner.threads": "2", "log.cleaner.dedupe.buffer.size": "4000000", "log.cleaner.io.buffer.size": "100000",
		"log.cleaner.io.buffer.load.factor": "0.5", "log.cleaner.io.max.bytes.per.second": "7.5", "log.cleaner.backoff.ms": "8"}).Cleaner)
	require.Equal(t, clean.Tuning{Threads: 2, DedupeBuffer: 4000000, IOBuffer: 25000, LoadFactor: 0.5, IOBytesPerSecond: 7.5, Backoff: 8 * time.Millisecond}, c)
	require.Zero(t, cleanTuning(values(t, nil).Cleaner).IOBytesPerSecond, "0 is no limit")
	require.Equal(t, 256<<10, cleanTuning(values(t, nil).Cleaner).IOBuffer)
	require.Equal(t, time.Duration(math.MaxInt64), ms(math.MaxInt64))
}

func TestLowestLevel(t *testing.T) {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		require.Equal(t, l, lowest(slog.NewTextHandler(&bytes.Buffer{}, &slog.HandlerOptions{Level: l})))
	}
	require.Greater(t, lowest(slog.DiscardHandler), slog.LevelError)
}
