// Package topicconfig knows every topic config: name, type, default, allowed values, what it does; how unset
// ones are resolved when a topic is made, which values rule each other out, and which changes an existing topic
// allows. It is pure. It stores nothing and applies nothing: brokers read the typed Values.
//
// Names, types and ranges are Apache Kafka 4.3's (LogConfig, TopicConfig); firn's own begin with "firn.".
// Where a default differs from Kafka's, Def.KafkaDefault says what Kafka has. Configs that Kafka knows and that
// have no effect in firn yet are accepted, so that tools and applications work unchanged; their Doc says so.
package topicconfig

import (
	"math"
	"slices"

	"github.com/firnlog/firn/metadata/configdef"
)

// Type is a config's type with Kafka's code for DescribeConfigs.
type Type = configdef.Type

// The types in use.
const (
	Boolean = configdef.Boolean
	String  = configdef.String
	Int     = configdef.Int
	Long    = configdef.Long
	Double  = configdef.Double
	List    = configdef.List
)

// Config names that code refers to.
const (
	CleanupPolicy          = "cleanup.policy"
	CompressionType        = "compression.type"
	CompressionGzipLevel   = "compression.gzip.level"
	CompressionLZ4Level    = "compression.lz4.level"
	CompressionZstdLevel   = "compression.zstd.level"
	FlushMessages          = "flush.messages"
	FlushMs                = "flush.ms"
	LocalRetentionBytes    = "local.retention.bytes"
	LocalRetentionMs       = "local.retention.ms"
	MaxMessageBytes        = "max.message.bytes"
	MinInsyncReplicas      = "min.insync.replicas"
	RemoteStorageEnable    = "remote.storage.enable"
	RemoteCopyDisable      = "remote.log.copy.disable"
	RemoteDeleteOnDisable  = "remote.log.delete.on.disable"
	RetentionBytes         = "retention.bytes"
	RetentionMs            = "retention.ms"
	SegmentBytes           = "segment.bytes"
	InternalSegmentBytes   = "internal.segment.bytes"
	DeleteRetentionMs      = "delete.retention.ms"
	MinCompactionLagMs     = "min.compaction.lag.ms"
	MaxCompactionLagMs     = "max.compaction.lag.ms"
	MinCleanableDirtyRatio = "min.cleanable.dirty.ratio"
	RemoteSegmentBytes     = "firn.remote.segment.bytes"
	RemoteUploadMaxLagMs   = "firn.remote.upload.max.lag.ms"
	RemoteCompression      = "firn.remote.compression"
	ValidateRecords        = "firn.validate.records"
)

// Def describes one config.
type Def struct {
	Name         string
	Type         Type
	Default      string // firn's
	KafkaDefault string // Kafka's; "" for firn's own configs
	BrokerKey    string // the broker config that sets the default for all topics, "" if there is none
	Allowed      string // what is allowed, for sentences: "at least 1", "one of a, b"
	Doc          string // one or two sentences
	NoEffect     bool   // accepted, but nothing in firn depends on it yet
	Why          string // why it has no effect
	Internal     bool   // not listed by DescribeConfigs unless it was set
	check        func(v value) bool
}

// Differs reports whether firn's default is another than Kafka's.
func (d Def) Differs() bool { return d.KafkaDefault != "" && d.Default != d.KafkaDefault }

const (
	maxLong = "9223372036854775807"
	notYet  = " No effect yet: "
)

// Defs gives all configs sorted by name. The slice is shared and must not be written to.
func Defs() []Def { return defs }

// Lookup finds a config by name.
func Lookup(name string) (Def, bool) {
	i, ok := index[name]
	if !ok {
		return Def{}, false
	}
	return defs[i], true
}

var (
	defs  = sorted()
	index = byName()
)

func sorted() []Def {
	all := slices.Concat(logDefs(), retentionDefs(), messageDefs(), compactionDefs(), firnDefs())
	for i := range all {
		if all[i].KafkaDefault == "" && !isFirn(all[i].Name) {
			all[i].KafkaDefault = all[i].Default
		}
	}
	slices.SortFunc(all, func(a, b Def) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

func byName() map[string]int {
	m := make(map[string]int, len(defs))
	for i, d := range defs {
		m[d.Name] = i
	}
	return m
}

func isFirn(name string) bool { return len(name) > 5 && name[:5] == "firn." }

func logDefs() []Def {
	return []Def{
		integer(Int, SegmentBytes, "1073741824", 1<<20, math.MaxInt32, "log.segment.bytes",
			"Size in bytes at which a segment file of the local log is closed and a new one begun."),
		hidden(integer(Int, InternalSegmentBytes, "", 1, math.MaxInt32, "",
			"As segment.bytes, without its lower limit. For tests.")),
		integer(Long, "segment.ms", "604800000", 1, math.MaxInt64, "log.roll.ms",
			"Age in ms at which a segment file is closed although it is not full."),
		integer(Long, "segment.jitter.ms", "0", 0, math.MaxInt64, "log.roll.jitter.ms",
			"At most this many ms are taken off segment.ms at random, so that partitions do not all roll at once."),
		integer(Int, "segment.index.bytes", "10485760", 4, math.MaxInt32, "log.index.size.max.bytes",
			"Size in bytes at which a segment's index is full, which closes the segment."),
		integer(Int, "index.interval.bytes", "4096", 0, math.MaxInt32, "log.index.interval.bytes",
			"An index entry is written for each so many bytes of log."),
		kafka(maxLong, integer(Long, FlushMessages, "1", 1, math.MaxInt64, "log.flush.interval.messages",
			"1: a record is on disk before it is acknowledged. A larger number: a flush is begun after so many records and acknowledgement does not wait for it.")),
		integer(Long, FlushMs, maxLong, 0, math.MaxInt64, "log.flush.interval.ms",
			"A flush is begun after so many ms; acknowledgement does not wait for it. Of use when flush.messages is not 1."),
		boolean("preallocate", "false", "log.preallocate",
			"Reserve the disk space of a segment file when it is made."),
		integer(Long, "file.delete.delay.ms", "60000", 0, math.MaxInt64, "log.segment.delete.delay.ms",
			"How long in ms a removed segment file stays on disk under another name."),
		integer(Int, MinInsyncReplicas, "1", 1, math.MaxInt32, "min.insync.replicas",
			"How many replicas must hold a record before acks=all is answered; with fewer in sync, it is refused."),
		noEffect("one broker leads every partition.", boolean("unclean.leader.election.enable", "false", "unclean.leader.election.enable",
			"Let a replica lead that may lack acknowledged records, when no other is left.")),
		throttled("leader.replication.throttled.replicas"),
		throttled("follower.replication.throttled.replicas"),
	}
}

func retentionDefs() []Def {
	return []Def{
		ruled(Def{Name: CleanupPolicy, Type: List, Default: "delete", BrokerKey: "log.cleanup.policy",
			Doc: "What happens to old records: delete drops them by retention.ms and retention.bytes, compact keeps the newest of each key. Empty keeps all. A compacted topic stays on local disk."}, configdef.SubsetOf("delete", "compact")),
		kafka("604800000", integer(Long, RetentionMs, "-1", -1, math.MaxInt64, "log.retention.ms",
			"Age in ms after which records may be dropped, wherever they lie; -1 keeps them for ever.")),
		integer(Long, RetentionBytes, "-1", math.MinInt64, math.MaxInt64, "log.retention.bytes",
			"Size in bytes of a partition, local and archived counted once, beyond which the oldest segments are dropped; -1 means no limit."),
		kafka("-2", integer(Long, LocalRetentionMs, "86400000", -2, math.MaxInt64, "log.local.retention.ms",
			"Age in ms after which archived records leave the local disk; -1 never, -2 as retention.ms.")),
		integer(Long, LocalRetentionBytes, "-2", -2, math.MaxInt64, "log.local.retention.bytes",
			"Size in bytes of a partition's local log beyond which archived segments leave the local disk; -1 no limit, -2 as retention.bytes."),
		kafka("false", boolean(RemoteStorageEnable, "true", "",
			"Whether the partition's log is archived in object storage. Unset, it follows cleanup.policy when the topic is made: true for delete, false for compact and for internal topics.")),
		boolean(RemoteCopyDisable, "false", "",
			"Stop archiving; what is archived stays readable and is dropped by retention."),
		boolean(RemoteDeleteOnDisable, "false", "",
			"Must be true for remote.storage.enable to be turned off: what is only archived is then dropped."),
	}
}

func messageDefs() []Def {
	return []Def{
		integer(Int, MaxMessageBytes, "1048588", 0, math.MaxInt32, "message.max.bytes",
			"Largest record batch in bytes."),
		oneOf("message.timestamp.type", "CreateTime", "log.message.timestamp.type",
			"Whose clock stamps records: the producer's (CreateTime) or the broker's (LogAppendTime).", "CreateTime", "LogAppendTime"),
		integer(Long, "message.timestamp.before.max.ms", maxLong, 0, math.MaxInt64, "log.message.timestamp.before.max.ms",
			"How many ms a record's timestamp may lie before the broker's clock (CreateTime only)."),
		integer(Long, "message.timestamp.after.max.ms", "3600000", 0, math.MaxInt64, "log.message.timestamp.after.max.ms",
			"How many ms a record's timestamp may lie after the broker's clock (CreateTime only)."),
		oneOf(CompressionType, "producer", "compression.type",
			"How batches are compressed on disk. The broker compresses those anew that come with another codec; producer leaves every batch as it was sent.",
			"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
		{Name: CompressionGzipLevel, Type: Int, Default: "-1", BrokerKey: CompressionGzipLevel, Allowed: "1 to 9, or -1",
			Doc:   "How hard the broker tries with compression.type=gzip; -1 is gzip's own default. Batches that come with gzip stay as they are.",
			check: func(v value) bool { return v.Num == -1 || v.Num >= 1 && v.Num <= 9 }},
		integer(Int, CompressionLZ4Level, "9", 1, 17, CompressionLZ4Level,
			"How hard the broker tries with compression.type=lz4; 9 is the fast compressor, as in Kafka. Batches that come with lz4 stay as they are."),
		integer(Int, CompressionZstdLevel, "3", -131072, 22, CompressionZstdLevel,
			"How hard the broker tries with compression.type=zstd, in four steps: below 3, 3 to 5, 6 to 9, above. Batches that come with zstd stay as they are."),
	}
}

func compactionDefs() []Def {
	return []Def{
		integer(Long, DeleteRetentionMs, "86400000", 0, math.MaxInt64, "log.cleaner.delete.retention.ms",
			"How long in ms a compacted topic keeps the marker of a deleted key after the cleaner first met it."),
		integer(Long, MinCompactionLagMs, "0", 0, math.MaxInt64, "log.cleaner.min.compaction.lag.ms",
			"Age in ms below which a record is not compacted."),
		integer(Long, MaxCompactionLagMs, maxLong, 1, math.MaxInt64, "log.cleaner.max.compaction.lag.ms",
			"Age in ms by which a record is compacted at the latest; a compacted topic's segments are closed by then."),
		{Name: MinCleanableDirtyRatio, Type: Double, Default: "0.5", BrokerKey: "log.cleaner.min.cleanable.ratio",
			Allowed: "0 to 1", Doc: "Share of a log that must be uncompacted before it is compacted again.",
			check: func(v value) bool { return v.Real >= 0 && v.Real <= 1 }},
	}
}

func firnDefs() []Def {
	return []Def{
		integer(Int, RemoteSegmentBytes, "67108864", 4096, 1<<30, "firn.remote.segment.bytes",
			"Bytes of records that one archived segment aims at."),
		integer(Long, RemoteUploadMaxLagMs, "600000", 100, math.MaxInt64, "firn.remote.upload.max.lag.ms",
			"Age in ms at which records are archived although they do not fill a segment: what a lost broker can cost the archive."),
		oneOf(RemoteCompression, "zstd", "firn.remote.compression",
			"How archived chunks are stored: zstd where that saves enough, or none.", "none", "zstd"),
		boolean(ValidateRecords, "false", "firn.validate.records",
			"Decode every record at produce and refuse batches that are wrong inside."),
	}
}
