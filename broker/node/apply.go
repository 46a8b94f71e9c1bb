package node

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/server"
	"github.com/firnlog/firn/metadata/brokerconfig"
)

// This file says what configs mean to the parts of the broker, and sees to it that they hear of changes.

// whatRuns are the configs that follow from how the broker was started.
func (n *Node) whatRuns() map[string]string {
	id := strconv.Itoa(int(n.cfg.BrokerID))
	return map[string]string{
		"node.id": id, "broker.id": id, "log.dirs": n.cfg.absoluteLogDir(),
		"listeners": "PLAINTEXT://" + n.kafkaListener.Addr().String(), "advertised.listeners": "PLAINTEXT://" + n.KafkaAddr(),
	}
}

// groupOptions are what groups go by.
func groupOptions(v *brokerconfig.Values) group.Options {
	o := group.DefaultOptions()
	g := &v.Groups
	o.InitialRebalanceDelay, o.MinSessionTimeout, o.MaxSessionTimeout = g.InitialRebalanceDelayMs, g.MinSessionTimeoutMs, g.MaxSessionTimeoutMs
	o.MaxSize, o.MetadataMaxBytes = int(g.MaxSize), int(g.MetadataMaxBytes)
	o.Retention, o.RetentionCheckInterval = g.RetentionMs, g.RetentionCheckIntervalMs
	o.NewMemberSuffix = uuid.NewString
	return o
}

// tuning is what the partitions go by.
func tuning(v *brokerconfig.Values) partition.Tuning {
	return partition.Tuning{TargetShare: v.Disk.TargetShare, Reserve: v.Disk.ReserveBytes, ColdWait: ms(int64(v.RemoteFetchWaitMs))}
}

// limits are what clients are held to.
func limits(v *brokerconfig.Values) server.Limits {
	c := &v.Limits
	l := server.Limits{
		MaxRequestBytes: int(c.MaxRequestBytes), MaxInFlight: int(c.MaxInFlight), MemoryBytes: c.MemoryBytes, AnswerBytes: c.AnswerBytes,
		MaxConnections: int(c.MaxConnections), MaxConnectionsPerIP: int(c.MaxConnectionsPerIP), PerIP: map[string]int{},
		ConnectionRate: float64(c.ConnectionRate), RequestRate: c.RequestRate, SendBuffer: int(c.SendBuffer),
		IdleTimeout: ms(c.IdleMs), FrameTimeout: ms(c.FrameTimeoutMs), WriteTimeout: ms(c.WriteTimeoutMs),
	}
	for addr, most := range c.PerIP {
		l.PerIP[addr] = int(most)
	}
	// For the server, 0 is its own default.
	switch c.MaxConnectionsPerIP {
	case 0:
		l.MaxConnectionsPerIP = -1
	case -1:
		l.MaxConnectionsPerIP = 0
	}
	if c.ConnectionRate == math.MaxInt32 {
		l.ConnectionRate = -1
	}
	if c.IdleMs == 0 {
		l.IdleTimeout = time.Millisecond
	}
	return l
}

// ms is a time of so many ms, or the longest that there is.
func ms(n int64) time.Duration {
	if n > int64(math.MaxInt64/time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(n) * time.Millisecond
}

// settleTopics lets the partitions hear of new defaults of topics.
func (n *Node) settleTopics() func(*brokerconfig.Values) {
	last := n.configs.Values().TopicDefaults
	return func(v *brokerconfig.Values) {
		n.partitions.SetTuning(tuning(v))
		n.cold.SetCacheBytes(v.Disk.CacheBytes)
		if maps.Equal(last, v.TopicDefaults) {
			return
		}
		last = v.TopicDefaults
		n.partitions.Resettle()
	}
}

// lowest is the least level that a handler lets through.
func lowest(h slog.Handler) slog.Level {
	for l := slog.LevelDebug - 4; l <= slog.LevelError; l += 4 {
		if h.Enabled(context.Background(), l) {
			return l
		}
	}
	return slog.LevelError + 4
}

// Logger is the logger of one of the broker's rooms, such as "compaction"; its level can be changed while it runs.
func (n *Node) Logger(room string) *slog.Logger { return n.levels.Logger(room) }
