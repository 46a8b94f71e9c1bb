package group

import "github.com/twmb/franz-go/pkg/kmsg"

// Token names a request whose reply is owed. The runtime chooses it, unique in a shard's life; 0 is no token.
type Token uint64

// WriteID names something whose end the shard waits for. 0 is none. IDs grow and are never used twice by a shard.
type WriteID uint64

// Record is one record for the shard's partition of __consumer_offsets. A nil Value is a tombstone.
type Record struct {
	Key, Value []byte
}

// Reply answers the request of Token. Response has the version of the request, its throttle time is not set.
type Reply struct {
	Token    Token
	Response kmsg.Response
}

// TimerKind says what a timer is for.
type TimerKind uint8

// The kinds of timers.
const (
	TimerSession TimerKind = iota + 1 // a member's session, or a pending member's time to come back
	TimerJoin                         // the end of a group's join phase
	TimerSync                         // the end of a group's sync phase
	TimerExpiry                       // the next look for expired offsets; Group and Member are empty
)

// TimerKey names a timer; setting one again replaces it.
type TimerKey struct {
	Kind          TimerKind
	Group, Member string
}

// Timer is a timer to set, or to cancel.
type Timer struct {
	Key    TimerKey
	At     int64 // ms since the epoch at which [Shard.Fire] is due; without meaning if Cancel
	Cancel bool
}

// Outcome is what a step of the machine asks of its runtime. See the package's contract.
type Outcome struct {
	// Records are to be appended as one batch, all or nothing, unless Split allows several batches.
	Records []Record
	Split   bool
	// Write, if not 0, wants [Shard.Done] exactly once: when Records and all that was appended before are committed,
	// or with an error code when that failed. It may come without Records: a reply that speaks of what earlier
	// records did and must not be sent before they are committed.
	Write WriteID
	// Replies are to be sent now.
	Replies []Reply
	// Timers are to be set or cancelled, in this order.
	Timers []Timer
}

// Client is what is known of who sent a request.
type Client struct {
	ID   string // client.id
	Host string // as Kafka writes it: a slash and the address, like "/192.0.2.7"
}
