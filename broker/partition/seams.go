package partition

import (
	"context"
	"time"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/clean"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

// Log is what a partition needs of its local log. *hot.Log implements it.
type Log interface {
	Append(batches []byte, headers []record.Header, o hot.AppendOptions) (hot.Appended, error)
	Read(offset, limit int64, maxBytes int, atLeastOne bool) (*hot.Data, error)
	ReadTo(d *hot.Data, offset, limit int64, maxBytes int, atLeastOne bool) error
	TryReadTo(d *hot.Data, offset, limit int64, maxBytes int, atLeastOne bool) error
	ReadBytes(offset, limit int64, max int) ([]byte, error)
	OffsetForTime(ts, limit int64) (hot.TimeResult, bool, error)
	MaxTimestamp(limit int64) (hot.TimeResult, bool, error)
	LocalStart() int64
	LogStart() int64
	End() int64
	Flushed() int64
	Stable() int64
	OnAdvance(fn func())
	SetConfig(c *hot.Config)
	Epochs() []epoch.Entry
	EndOfEpoch(e int32) (int32, int64)
	EpochAt(offset int64) int32
	AssignEpoch(e int32, start int64) error
	Segments() []hot.SegmentInfo
	AppendSegments(out []hot.SegmentInfo) []hot.SegmentInfo
	AdvanceStart(offset int64) error
	Trim(offset int64, reason string) (int64, error)
	Roll() error
	Reset(start int64, epochs []epoch.Entry, producers []producer.Entry) error
	Producers() ([]producer.Entry, error)
	LearnProducers() error
	ProducersAt(offset int64) ([]producer.Entry, error)
	Bytes() int64
	// Stored reports whether anything of it is on disk; a log without was never written to.
	Stored() bool
	Make() error
}

// Disk is the log directory. OnDisk makes one of a *hot.Dir.
type Disk interface {
	Partitions() []topic.Partition
	Open(p topic.Partition, cfg *hot.Config) (Log, error)
	Remove(p topic.Partition) error
	// Stored reports whether anything of the partition is on disk, without looking there.
	Stored(p topic.Partition) bool
	// UnopenedBytes tells what the folders of logs that are not open hold.
	UnopenedBytes() (int64, error)
	// LogBytes tells the size of a partition's segment files as the folder shows it, 0 without one.
	LogBytes(p topic.Partition) (int64, error)
	Offline() error
}

type onDisk struct{ *hot.Dir }

func (d onDisk) Open(p topic.Partition, cfg *hot.Config) (Log, error) {
	l, err := d.Dir.Open(p, cfg)
	if err != nil {
		return nil, err // not a nil *hot.Log in an interface
	}
	return l, nil
}

// OnDisk makes a Disk of a log directory.
func OnDisk(d *hot.Dir) Disk { return onDisk{d} }

// Metadata is what this package needs of the metadata store. metadata.Store implements it.
type Metadata interface {
	Image() *metadata.Image
	Watch(fn func(*metadata.Image)) (cancel func())
	CachedLedger(p topic.Partition) *ledger.Ledger
	CommitLedger(ctx context.Context, p topic.Partition, e ledger.Edit) (*ledger.Ledger, error)
}

// Archive reads what is in object storage. OnArchive makes one of a *cold.Reader. Every method that takes a ctx blocks on
// the network until it ends.
type Archive interface {
	// Read gives whole batches from the one that holds offset, or the next one that exists, at least one.
	Read(ctx context.Context, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int) (*ColdData, error)
	// ReadCached is Read of what is on the local disk, or, unless it may wait for that, in memory, into d, which was never used
	// or was released. It reports false, with nothing to release, where that is not enough for an answer: Read has it, or the
	// reason. Where it panics, d.Held is nil or is to be released, for what it has pinned by then.
	ReadCached(d *ColdData, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int, wait bool) bool
	// OffsetForTime finds the first record at or above the ledger's start whose timestamp is ts or later.
	OffsetForTime(ctx context.Context, p topic.Partition, l *ledger.Ledger, ts int64) (hot.TimeResult, bool, error)
	// MaxTimestamp finds the first record with the largest timestamp.
	MaxTimestamp(ctx context.Context, p topic.Partition, l *ledger.Ledger) (hot.TimeResult, bool, error)
	// End is what a log needs to go on where the archive ends: the lineage of leader epochs and the producers.
	End(ctx context.Context, p topic.Partition, l *ledger.Ledger) (ArchiveEnd, error)
	// Segments lists the ledger's segments that reach above offset from, folded ones included, oldest first.
	Segments(ctx context.Context, l *ledger.Ledger, from int64) ([]ledger.Segment, error)
	// Turn tells how long an answer with so many bytes of the archive should wait before it is sent, so that producers are
	// not slowed.
	Turn(bytes int) time.Duration
	// Yielded counts time that an answer waited for its turn.
	Yielded(d time.Duration)
}

// ArchiveEnd is the state of a partition at the end of its archive.
type ArchiveEnd struct {
	Epochs    []epoch.Entry
	Producers []producer.Entry
}

// ColdData is what an Archive gives: regions of cache files, pinned until Release, which is called once.
type ColdData struct {
	Regions     []disk.Region
	First, Next int64
	Bytes       int
	Held        releaser // what the regions lie in; the Archive may use it again once it was released
}

// Release lets go of the files.
func (d *ColdData) Release() {
	d.Regions = nil
	d.Held.Release()
}

// Uploads is the uploader that partitions with an archive register with. *upload.Manager implements it.
type Uploads interface {
	Add(src upload.Source) *upload.Handle
	Remove(p topic.Partition)
	Status(p topic.Partition) (upload.Status, bool)
}

// Settings is what a topic's configs mean here.
type Settings struct {
	Log       hot.Config
	Upload    upload.Config
	Clean     clean.Policy
	Remote    bool // remote.storage.enable
	MinISR    int
	Compacted bool // cleanup.policy has compact: records need keys
	Deletes   bool // cleanup.policy has delete
	// Compression is what a batch of another codec is compressed anew with; nil: batches stay as they were sent
	// (compression.type=producer).
	Compression *record.Compression
}
