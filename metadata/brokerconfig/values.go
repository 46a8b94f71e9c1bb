package brokerconfig

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
	MaxRequestBytes         int32            // socket.request.max.bytes
	MemoryBytes             int64            // queued.max.request.bytes
	MaxConnections          int32            // max.connections
	MaxConnectionsPerIP     int32            // max.connections.per.ip
	PerIPOverrides          map[string]int32 // max.connections.per.ip.overrides
	ConnectionRate          int32            // max.connection.creation.rate, a second
	IdleMs                  int64            // connections.max.idle.ms; negative: never
	ConnectionRequestRate   float64          // firn.connection.request.rate, a second; 0: no limit
	ConnectionInFlight      int32            // firn.connection.max.in.flight
	FrameTimeoutMs          int64            // firn.frame.timeout.ms
	WriteTimeoutMs          int64            // firn.write.timeout.ms
	DecompressedBatchMaxLen int32            // firn.decompress.max.bytes
}

// Disk is how much of the disk firn takes.
type Disk struct {
	TargetShare  float64 // firn.local.disk.target
	ReserveBytes int64   // firn.local.disk.reserve; 0: firn decides
}
