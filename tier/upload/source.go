package upload

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
)

// What a segment carries besides its batches, under the names that a Source knows.
type (
	// EpochEntry says where a leader's epoch begins.
	EpochEntry = segment.EpochEntry
	// ProducerEntry is the state of one idempotent producer.
	ProducerEntry = segment.ProducerEntry
	// AbortedTxn is an aborted transaction.
	AbortedTxn = segment.AbortedTxn
)

// Source is one partition that this broker leads: where the uploader takes the records from. Methods may be
// called from any goroutine, must not block on the network, and may be called after leadership was lost.
type Source interface {
	Partition() topic.Partition
	// Epoch is the leader epoch at which this broker leads the partition, -1 when it does not lead.
	Epoch() int32
	// Stable is the offset below which every record is committed and its transaction decided (the last stable
	// offset). Only what lies below is uploaded (I-08).
	Stable() int64
	// LogStart is the log's first readable offset by the local log's own account: what lies below was deleted, by
	// DeleteRecords or retention, not merely trimmed because it is archived. LocalStart is the oldest offset that
	// the local log still has; it is at least LogStart but for a log that is being reset.
	LogStart() int64
	LocalStart() int64
	// Read gives whole batches from the one that contains off, as stored, all of them below limit: as many as fit
	// in max bytes, at least one when there is one, none when off has reached limit.
	Read(off, limit int64, max int) (Batches, error)
	// PendingBytes estimates the bytes of the local log from offset from to its end. It is called about once a
	// second for a busy partition, and must not read the disk.
	PendingBytes(from int64) int64
	// PendingSince says when, in ms of this broker's clock, the record at offset from was appended, as well as
	// that is known (the last change of an older segment file is good enough); false when it is not. It must not
	// read the disk.
	PendingSince(from int64) (ms int64, ok bool)
	// ProducersAt is the producer state as of offset off (all batches below it applied). It goes into the object
	// that ends there, for replicas that start from the archive.
	ProducersAt(off int64) ([]ProducerEntry, error)
	// Epochs is the lineage of leader epochs, oldest first.
	Epochs() []EpochEntry
	// AbortedTxns are the aborted transactions that overlap [from, to).
	AbortedTxns(from, to int64) ([]AbortedTxn, error)
	Config() Config
	// Archived says that all offsets below to are committed in the ledger and their objects were confirmed after
	// the commit: the local log may trim them (I-12). It is called with growing values, from one goroutine at a
	// time, and again from the ledger's start after a restart.
	Archived(to int64)
}

// Batches are whole batches where the local log has them.
type Batches struct {
	Regions []disk.Region // what they hold can be read, whatever becomes of the log, until Release
	Bytes   int           // length of all regions
	Release func()        // nil: nothing is held
}

// copyTo fills p, which has b.Bytes bytes.
func (b *Batches) copyTo(p []byte) error {
	for _, r := range b.Regions {
		if r.File == nil {
			p = p[copy(p, r.Bytes):]
			continue
		}
		if n, err := r.File.ReadAt(p[:r.Length], r.Position); n < int(r.Length) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("%s at %d: %w", r.File.Name(), r.Position, err)
		}
		p = p[r.Length:]
	}
	return nil
}

// Config is what the planner needs of a topic's configuration.
type Config struct {
	Enabled      bool   // remote.storage.enable
	SegmentBytes int64  // firn.remote.segment.bytes: target size of an object's data; 0: 64 MiB
	MaxLagMs     int64  // firn.remote.upload.max.lag.ms: a shorter tail is due after so long; 0: 10 min
	Compression  string // firn.remote.compression: "none" or "zstd"; empty: none
}

// Ledgers is what the uploader needs of the metadata. metadata.Store implements it.
type Ledgers interface {
	// Ledger reads the partition's ledger linearizably.
	Ledger(ctx context.Context, p topic.Partition) (*ledger.Ledger, error)
	// CachedLedger is the newest ledger known here, possibly stale, never nil.
	CachedLedger(p topic.Partition) *ledger.Ledger
	// CommitLedger applies the edit to the ledger as it is when the edit commits, and settles an ambiguous answer
	// by a linearizable read (I-09).
	CommitLedger(ctx context.Context, p topic.Partition, e ledger.Edit) (*ledger.Ledger, error)
}
