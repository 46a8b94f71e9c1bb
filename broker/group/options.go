package group

import "math"

// Options are the settings of a shard, named after Kafka's configs. Times are in ms. They may be changed between
// steps with [Shard.SetOptions].
type Options struct {
	// InitialRebalanceDelay (group.initial.rebalance.delay.ms) is how long the first rebalance of an empty group waits
	// for more members; each that comes extends the wait, up to the rebalance timeout.
	InitialRebalanceDelay int32
	// MinSessionTimeout and MaxSessionTimeout (group.min.session.timeout.ms, group.max.session.timeout.ms) bound what
	// members may ask for.
	MinSessionTimeout, MaxSessionTimeout int32
	// MaxSize (group.max.size) is the most members of a group.
	MaxSize int
	// NewMemberJoinTimeout is how long a new member may wait in its first join phase (five minutes in Kafka, where it
	// is no config).
	NewMemberJoinTimeout int32
	// MetadataMaxBytes (offset.metadata.max.bytes) bounds the note that comes with a committed offset. Kafka counts
	// UTF-16 units, and so does this.
	MetadataMaxBytes int
	// Retention (offsets.retention.minutes, here in ms) is how long offsets outlive their use.
	Retention int64
	// RetentionCheckInterval (offsets.retention.check.interval.ms) is the time between two looks for expired offsets.
	RetentionCheckInterval int64
	// NewMemberSuffix returns what makes a member id unique, a random UUID in text form. It is the only source of
	// chance; nil is an error of the caller.
	NewMemberSuffix func() string
}

// DefaultOptions returns Kafka's defaults. NewMemberSuffix is left to the caller.
func DefaultOptions() Options {
	return Options{
		InitialRebalanceDelay:  3000,
		MinSessionTimeout:      6000,
		MaxSessionTimeout:      1800000,
		MaxSize:                math.MaxInt32,
		NewMemberJoinTimeout:   300000,
		MetadataMaxBytes:       4096,
		Retention:              7 * 24 * 60 * 60 * 1000,
		RetentionCheckInterval: 600000,
	}
}
