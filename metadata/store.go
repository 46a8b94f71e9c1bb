package metadata

import (
	"context"
	"errors"

	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// Errors of Commit and of the ledger methods, wrapped with what is meant; each maps to one Kafka error code.
var (
	ErrConflict        = errors.New("changed in the meantime")           // the version that the edit read is gone
	ErrTopicExists     = errors.New("topic exists")                      // TOPIC_ALREADY_EXISTS
	ErrUnknownTopic    = errors.New("unknown topic")                     // UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID
	ErrInvalidTopic    = errors.New("invalid topic name")                // INVALID_TOPIC_EXCEPTION
	ErrInvalid         = errors.New("invalid edit")                      // INVALID_REQUEST
	ErrPartitions      = errors.New("invalid number of partitions")      // INVALID_PARTITIONS
	ErrBrokerID        = errors.New("broker id is taken")                // DUPLICATE_BROKER_REGISTRATION
	ErrArchived        = errors.New("topic has archived segments")       // INVALID_CONFIG
	ErrNotRemote       = errors.New("topic has no remote storage")       // the config was switched off meanwhile
	ErrStaleEpoch      = errors.New("leader epoch is no longer current") // a deposed leader's ledger append
	ErrUnavailable     = errors.New("metadata store is not available")   // nothing happened; may be tried again
	ErrAmbiguous       = errors.New("outcome of the edit is unknown")    // ctx ended before it could be settled
	ErrClosed          = errors.New("metadata store is closed")
	ErrLeaseLost       = errors.New("this broker's registration has run out")
	ErrStoreDiskFull   = errors.New("metadata store is out of space")
	ErrDirectoryLocked = errors.New("metadata folder is in use")
)

// Store keeps the cluster's state. All methods may be called concurrently.
type Store interface {
	// Image is the newest snapshot that has reached this process. Never nil.
	Image() *Image
	// Watch calls fn with the present image before it returns, then with each later one, in order, on one
	// goroutine and without locks. fn must not block for long and must not call Commit or cancel. Commit returns
	// only after fn has seen the edit. cancel returns when fn is not and will not be running.
	Watch(fn func(*Image)) (cancel func())
	// Commit makes the edits, each one atomically and on its own, in order, and returns an error for each. A
	// nil error means that it is durable and Image includes it. ErrAmbiguous means that ctx ended or the store
	// vanished before the outcome was known: the edit may be in, or may still go in.
	Commit(ctx context.Context, edits ...Edit) []error
	// Register announces this broker under a lease that the store keeps alive, and announces it anew should
	// the lease run out. ErrBrokerID when another data folder holds the id.
	Register(ctx context.Context, b Broker) error
	// Health is nil when all is well, else a sentence: lease lost, store unreachable, out of space.
	Health() error

	LedgerStore

	// NextProducerIDs gives the first of n ids in a row that are never handed out again (I-39).
	NextProducerIDs(ctx context.Context, n int64) (first int64, err error)
	// Tombstones lists deleted topics still remembered; it reads the store, not the image.
	Tombstones(ctx context.Context) ([]TopicTombstone, error)
	// ForgetTombstone drops a deleted topic's tombstone, partitions and ledgers. Call it when its objects are gone.
	ForgetTombstone(ctx context.Context, id topic.ID) error
	Close() error
}

// LedgerStore keeps the partitions' ledgers.
type LedgerStore interface {
	// Ledger reads the ledger as it is now (linearizable), also that of a tombstoned topic. A ledger that was
	// never written has Version 0.
	Ledger(ctx context.Context, p topic.Partition) (*ledger.Ledger, error)
	// CachedLedger is the newest snapshot that has reached this process; never nil. It includes every
	// commit of this process.
	CachedLedger(p topic.Partition) *ledger.Ledger
	// CommitLedger applies e to the ledger and writes it, trying again with a fresh ledger when somebody else
	// was faster. It gives the ledger that includes e. Errors of ledger.Apply come through (errors.Is). An
	// append is refused with ErrStaleEpoch when the partition's leader epoch has moved on, with ErrUnknownTopic
	// when the topic is gone, with ErrNotRemote when its remote storage is off. An ambiguous answer is settled
	// by a linearizable read first (I-09); ErrAmbiguous means that ctx ended before that: then nothing that e
	// names may be deleted or uploaded again, and the same e may be committed again, which finds out.
	CommitLedger(ctx context.Context, p topic.Partition, e ledger.Edit) (*ledger.Ledger, error)
	// OnLedger calls fn with each ledger that changed, in order for each partition, until cancel; as Watch does,
	// without a first call. Topic is empty in p when the image does not know the topic (any more).
	OnLedger(fn func(p topic.Partition, l *ledger.Ledger)) (cancel func())
}
