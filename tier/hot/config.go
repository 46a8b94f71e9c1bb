package hot

import "math"

// Forever as FlushMessages, FlushMs, SegmentMs or a timestamp bound means "never" or "without bound".
const Forever = math.MaxInt64

// Local retention values with a meaning of their own.
const (
	Unlimited   = -1 // retention.ms, retention.bytes and their local.* kin: no limit
	LikeOverall = -2 // local.retention.*: as retention.* says
)

// Config is what a topic's configs mean for a log. Fields are named as Kafka's topic configs. A *Config is
// immutable once it was passed on.
type Config struct {
	SegmentBytes       int32 // a segment is rolled before it grows past this
	SegmentMs          int64 // … or when its first batch is older than this at an append
	SegmentJitterMs    int64 // at most this much is taken off SegmentMs, so that not all roll at once
	IndexIntervalBytes int32 // about so many bytes of log for an index entry
	SegmentIndexBytes  int32 // a segment is rolled when an index of it would grow past this

	FlushMessages int64 // 1: flush mode, Stable is Flushed. Else unflushed messages that cause a flush
	FlushMs       int64 // longest that a message stays unflushed in page-cache mode

	MaxMessageBytes      int32 // of a batch, as sent
	LogAppendTime        bool  // message.timestamp.type
	TimestampBeforeMaxMs int64 // CreateTime may lie so far before the broker's time
	TimestampAfterMaxMs  int64 // … and so far after it
	ValidateRecords      bool  // firn.validate.records: decode every batch and check its records
	RetentionMs          int64 // Unlimited, or the age at which a record may go
	RetentionBytes       int64 // Unlimited, or the size above which the oldest may go
	LocalRetentionMs     int64 // of archived data; LikeOverall, or ms
	LocalRetentionBytes  int64 // of archived data; LikeOverall, or bytes
	RemoteStorage        bool  // the partition has an archive: nothing that it does not hold is trimmed
	Preallocate          bool  // a new segment's file gets its full length at once
	FileDeleteDelayMs    int64 // trimmed segments stay on disk for so long
}

// DefaultConfig gives Kafka's defaults, but flush mode (FlushMessages 1), which is firn's.
func DefaultConfig() Config {
	return Config{
		SegmentBytes:         1 << 30,
		SegmentMs:            7 * 24 * 3600 * 1000,
		IndexIntervalBytes:   4096,
		SegmentIndexBytes:    10 << 20,
		FlushMessages:        1,
		FlushMs:              Forever,
		MaxMessageBytes:      1<<20 + 12,
		TimestampBeforeMaxMs: Forever,
		TimestampAfterMaxMs:  3600 * 1000,
		RetentionMs:          7 * 24 * 3600 * 1000,
		RetentionBytes:       Unlimited,
		LocalRetentionMs:     LikeOverall,
		LocalRetentionBytes:  LikeOverall,
		FileDeleteDelayMs:    60 * 1000,
	}
}

// flushMode reports whether an append counts as stable only once it is flushed.
func (c *Config) flushMode() bool { return c.FlushMessages == 1 }
