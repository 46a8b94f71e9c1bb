package brokerconfig

import (
	"cmp"
	"fmt"

	"github.com/firnlog/firn/metadata/configdef"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// Values are a broker's configs, typed: what brokers act on. Sizes are bytes, times ms. They must not be written to.
type Values struct {
	AutoCreateTopics         bool              // auto.create.topics.enable
	DeleteTopics             bool              // delete.topic.enable
	NumPartitions            int32             // num.partitions
	DefaultReplicationFactor int32             // default.replication.factor
	TopicDefaults            map[string]string // what was set of topics' defaults, by topic config name and in its unit

	FetchMaxBytes        int32 // fetch.max.bytes
	FetchSessionSlots    int32 // max.incremental.fetch.session.cache.slots
	MaxRequestPartitions int32 // max.request.partition.size.limit

	RetentionCheckIntervalMs int64  // log.retention.check.interval.ms
	ProducerIDExpirationMs   int64  // producer.id.expiration.ms
	RemoteFetchWaitMs        int32  // remote.fetch.max.wait.ms
	Rack                     string // broker.rack

	Groups       Groups
	OffsetsTopic OffsetsTopic
	Cleaner      Cleaner
	Limits       Limits
	Disk         Disk
}

// Groups is what the group coordinator goes by.
type Groups struct {
	InitialRebalanceDelayMs  int32 // group.initial.rebalance.delay.ms
	MinSessionTimeoutMs      int32 // group.min.session.timeout.ms
	MaxSessionTimeoutMs      int32 // group.max.session.timeout.ms
	MaxSize                  int32 // group.max.size
	MetadataMaxBytes         int32 // offset.metadata.max.bytes
	RetentionMs              int64 // offsets.retention.minutes
	RetentionCheckIntervalMs int64 // offsets.retention.check.interval.ms
}

// OffsetsTopic is how __consumer_offsets is made and written.
type OffsetsTopic struct {
	Partitions   int32 // offsets.topic.num.partitions
	SegmentBytes int32 // offsets.topic.segment.bytes
	Codec        int8  // offsets.topic.compression.codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd
}

// Cleaner is what the log cleaner goes by.
type Cleaner struct {
	Enable           bool    // log.cleaner.enable
	Threads          int32   // log.cleaner.threads
	DedupeBuffer     int64   // log.cleaner.dedupe.buffer.size, of all threads
	LoadFactor       float64 // log.cleaner.io.buffer.load.factor
	IOBuffer         int32   // log.cleaner.io.buffer.size, of all threads
	IOBytesPerSecond float64 // log.cleaner.io.max.bytes.per.second; math.MaxFloat64 is no limit
	BackoffMs        int64   // log.cleaner.backoff.ms
}

// Limits bound what clients can take.
type Limits struct {
	MaxRequestBytes     int32            // socket.request.max.bytes
	MemoryBytes         int64            // queued.max.request.bytes
	AnswerBytes         int64            // firn.answer.memory.bytes
	MaxConnections      int32            // max.connections
	MaxConnectionsPerIP int32            // max.connections.per.ip; -1: not set, half of what there is room for
	PerIP               map[string]int32 // max.connections.per.ip.overrides, by address
	ConnectionRate      int32            // max.connection.creation.rate: a second; 0 is none at all, math.MaxInt32 no limit
	RequestRate         float64          // firn.connection.request.rate: a second, of one connection; -1 is no limit
	MaxInFlight         int32            // firn.connection.max.in.flight
	SendBuffer          int32            // socket.send.buffer.bytes; 0: not set
	IdleMs              int64            // connections.max.idle.ms; negative: never
	FrameTimeoutMs      int64            // firn.frame.timeout.ms
	WriteTimeoutMs      int64            // firn.write.timeout.ms
	DecompressBytes     int32            // firn.decompress.max.bytes
}

// Disk is how much of the disk firn takes.
type Disk struct {
	TargetShare  float64 // firn.local.disk.target
	ReserveBytes int64   // firn.local.disk.reserve; 0: firn decides
	CacheBytes   int64   // firn.remote.cache.bytes
}

// reader reads typed values of layers that were validated.
type reader struct{ l Layers }

func (r reader) value(name string) configdef.Value {
	d, ok := Lookup(name)
	if !ok {
		panic("brokerconfig: no config " + name) // a slip in this file, which any test finds
	}
	text := effective(&d, r.l.given(&d))
	if text == nil {
		return configdef.Value{}
	}
	v, _ := d.Type.Parse(*text)
	return v
}

func (r reader) int(name string) int32    { return int32(r.value(name).Num) }
func (r reader) long(name string) int64   { return r.value(name).Num }
func (r reader) real(name string) float64 { return r.value(name).Real }
func (r reader) flag(name string) bool    { return r.value(name).Flag }

func (l Layers) read() *Values {
	r := reader{l}
	return &Values{
		AutoCreateTopics: r.flag("auto.create.topics.enable"), DeleteTopics: r.flag("delete.topic.enable"),
		NumPartitions: r.int("num.partitions"), DefaultReplicationFactor: r.int("default.replication.factor"), TopicDefaults: l.topicDefaults(),
		FetchMaxBytes: r.int("fetch.max.bytes"), FetchSessionSlots: r.int("max.incremental.fetch.session.cache.slots"),
		MaxRequestPartitions:     r.int("max.request.partition.size.limit"),
		RetentionCheckIntervalMs: r.long("log.retention.check.interval.ms"), ProducerIDExpirationMs: r.long("producer.id.expiration.ms"),
		RemoteFetchWaitMs: r.int("remote.fetch.max.wait.ms"), Rack: r.value("broker.rack").Text,
		Groups: Groups{
			InitialRebalanceDelayMs: r.int("group.initial.rebalance.delay.ms"),
			MinSessionTimeoutMs:     r.int("group.min.session.timeout.ms"), MaxSessionTimeoutMs: r.int("group.max.session.timeout.ms"),
			MaxSize: r.int("group.max.size"), MetadataMaxBytes: r.int("offset.metadata.max.bytes"),
			RetentionMs: r.long("offsets.retention.minutes") * 60_000, RetentionCheckIntervalMs: r.long("offsets.retention.check.interval.ms"),
		},
		OffsetsTopic: OffsetsTopic{
			Partitions: r.int("offsets.topic.num.partitions"), SegmentBytes: r.int("offsets.topic.segment.bytes"),
			Codec: int8(r.int("offsets.topic.compression.codec")),
		},
		Cleaner: Cleaner{
			Enable: r.flag("log.cleaner.enable"), Threads: r.int("log.cleaner.threads"), DedupeBuffer: r.long("log.cleaner.dedupe.buffer.size"),
			LoadFactor: r.real("log.cleaner.io.buffer.load.factor"), IOBuffer: r.int("log.cleaner.io.buffer.size"),
			IOBytesPerSecond: r.real("log.cleaner.io.max.bytes.per.second"), BackoffMs: r.long("log.cleaner.backoff.ms"),
		},
		Limits: r.limits(),
		Disk:   Disk{TargetShare: r.real("firn.local.disk.target"), ReserveBytes: r.long("firn.local.disk.reserve"), CacheBytes: r.long("firn.remote.cache.bytes")},
	}
}

func (r reader) limits() Limits {
	v := Limits{
		MaxRequestBytes: r.int("socket.request.max.bytes"), MemoryBytes: r.long("queued.max.request.bytes"), AnswerBytes: r.long("firn.answer.memory.bytes"),
		MaxConnections: r.int("max.connections"), MaxConnectionsPerIP: r.int("max.connections.per.ip"),
		ConnectionRate: r.int("max.connection.creation.rate"), RequestRate: r.real("firn.connection.request.rate"),
		MaxInFlight: r.int("firn.connection.max.in.flight"), IdleMs: r.long("connections.max.idle.ms"),
		FrameTimeoutMs: r.long("firn.frame.timeout.ms"), WriteTimeoutMs: r.long("firn.write.timeout.ms"),
		DecompressBytes: r.int("firn.decompress.max.bytes"),
	}
	if r.value("max.connections.per.ip").Text == "" {
		v.MaxConnectionsPerIP = -1
	}
	if r.value("socket.send.buffer.bytes").Text != "" {
		v.SendBuffer = cmp.Or(r.int("socket.send.buffer.bytes"), -1)
	}
	if v.MemoryBytes < 0 {
		v.MemoryBytes = 512 << 20
	}
	v.PerIP, _ = parsePerAddress(r.value("max.connections.per.ip.overrides").Text)
	return v
}

// topicDefaults are the defaults of topic configs that were set, in the units of the topic configs.
func (l Layers) topicDefaults() map[string]string {
	set := map[string]string{}
	for i := range defs {
		d := &defs[i]
		if d.Topic == "" {
			continue
		}
		if given := l.given(d); len(given) > 0 && given[0].Source != Default {
			set[d.Topic] = *effective(d, given)
		}
	}
	return set
}

// check refuses values that rule each other out.
func (v *Values) check(l Layers) error {
	g, c, m := &v.Groups, &v.Cleaner, &v.Limits
	switch {
	case g.MinSessionTimeoutMs > g.MaxSessionTimeoutMs:
		return configdef.Invalid("", "group.min.session.timeout.ms (%d) must not be greater than group.max.session.timeout.ms (%d)", g.MinSessionTimeoutMs, g.MaxSessionTimeoutMs)
	case c.Threads > 0 && c.DedupeBuffer/int64(c.Threads) < 1<<20:
		return configdef.Invalid("", "log.cleaner.dedupe.buffer.size (%d) must be at least 1048576 for each of the %d log.cleaner.threads", c.DedupeBuffer, c.Threads)
	case m.MemoryBytes < int64(m.MaxRequestBytes):
		return configdef.Invalid("", "queued.max.request.bytes (%d) must not be less than socket.request.max.bytes (%d)", m.MemoryBytes, m.MaxRequestBytes)
	}
	if _, err := topicconfig.Resolve(v.TopicDefaults, nil); err != nil {
		return fmt.Errorf("the defaults of topics: %w", err)
	}
	return nil
}
